// The ways an emergency can go, each walked by people who do not give up: (world, emergency, started).

import { Actor } from '../world/actor.mjs';
import { until } from '../world/children.mjs';
import { Browser, signIn } from '../world/http.mjs';

/** Form to closed follow-up. */
async function whole(_world, emergency) {
  await emergency.through();
}

/** Denied, withdrawn, and approved by two of two. */
async function decided(_world, denied, started) {
  await denied.filed();
  await denied.tough('denied', async () => {
    if (await denied.requestState() === 'denied') return true;
    await denied.page('approver', `/requests/${denied.request}`);
    await (await denied.person('approver')).press(`/requests/${denied.request}/deny`, { reason: 'Not tonight: the bank is down, not we.' });
    return false;
  });
  const withdrawn = started('withdrawn');
  await withdrawn.filed();
  await withdrawn.tough('withdrawn', async () => {
    if (await withdrawn.requestState() === 'withdrawn') return true;
    await withdrawn.page('oncall', `/requests/${withdrawn.request}`);
    await (await withdrawn.person('oncall')).press(`/requests/${withdrawn.request}/withdraw`);
    return false;
  });
  const two = started('two');
  await two.filed({ profile: 'orders-admin', namespaces: ['orders'] });
  await two.tough('approved by two', async () => {
    for (const person of ['approver', 'approver2']) {
      if (await two.requestState() === 'pending') await (await two.person(person)).approve(two.request);
    }
    return await two.requestState() === 'approved';
  });
}

/** Extended, shortened, revealed again, ended without a change: no drift. */
async function undrifted(_world, emergency, started) {
  await emergency.filed();
  await emergency.approved();
  await emergency.key();
  const longer = started('longer');
  await longer.filed({ minutes: 15, extends: emergency.grant });
  await longer.approved();
  await emergency.tough('shorter', async () => {
    await emergency.page('oncall', `/grants/${emergency.grant}`);
    return (await (await emergency.person('oncall')).press(`/grants/${emergency.grant}/shorten`, { minutes: '10' })).status < 500;
  });
  await emergency.key();
  await emergency.tough('a read', async () => (await emergency.kubectl('-n', 'payments', 'get', 'pods')).status === 0);
  await emergency.done();
  await emergency.is('ended');
  await emergency.follows('no-drift');
}

/** Up to a change that git is owed. */
async function owing(emergency) {
  await emergency.filed();
  await emergency.approved();
  await emergency.key();
  await emergency.acted();
  await emergency.done();
  await emergency.follows('owed');
}

/** Closed unmerged, explained, opened again, closed again, and the cluster brought back: reverted. */
async function rejected(world, emergency) {
  await owing(emergency);
  await emergency.atForge('second-approver', 'close');
  await emergency.follows('rejected');
  await emergency.tough('explained', async () => {
    await emergency.page('oncall', `/follow-ups/${emergency.followUp}`);
    const page = await (await emergency.person('oncall')).press(`/follow-ups/${emergency.followUp}/explain`, { reason: 'It must stay until the bank answers faster.' });
    return page.status < 400;
  });
  await emergency.tough('revert chosen', async () => {
    await emergency.page('oncall', `/follow-ups/${emergency.followUp}`);
    return (await (await emergency.person('oncall')).press(`/follow-ups/${emergency.followUp}/revert`)).status < 400;
  });
  await emergency.tough('reverted', async () => (await world.kubectl(['-n', 'payments', 'scale', 'deployment', emergency.target, `--replicas=${emergency.scaleTo - 1}`])).status === 0);
  await emergency.follows('reverted');
}

/** Let go by compliance; reviewed by compliance before. */
async function waived(world, emergency) {
  await owing(emergency);
  await emergency.tough('reviewed', async () => {
    await emergency.page('compliance', `/follow-ups/${emergency.followUp}`);
    return (await (await emergency.person('compliance')).press(`/follow-ups/${emergency.followUp}/review`, { note: 'The replicas were raised and nothing else.' })).status < 500;
  });
  await emergency.tough('waived', async () => {
    if (await emergency.followUpState() === 'waived') return true;
    await emergency.page('compliance', `/follow-ups/${emergency.followUp}`);
    await (await emergency.person('compliance')).press(`/follow-ups/${emergency.followUp}/waive`, { reason: 'The worker goes away tomorrow.' });
    return false;
  });
  await world.kubectl(['-n', 'payments', 'scale', 'deployment', emergency.target, `--replicas=${emergency.scaleTo - 1}`]);
}

/** What is not of an emergency: a refused sign-in, a sign-out, an export, a payload nobody can read, an account nobody knows. */
async function beside(world, emergency) {
  await emergency.tough('refused sign-in', async () => (await signIn(new Browser(), `${world.url}/sign-in`, 'many-groups')).status === 403);
  await emergency.tough('signed out', async () => {
    const leaving = await Actor.signedIn(world, 'second');
    return (await leaving.press('/sign-out')).status < 400;
  });
  await emergency.tough('the ledger read', async () => (await emergency.person('auditor')).open('/ledger').then((page) => page.status === 200));
  await emergency.tough('quarantined', async () => (await fetch(`${world.url}${world.broker.auditPath}`, {
    method: 'POST', headers: { authorization: `Bearer ${world.broker.auditToken}`, 'content-type': 'application/json' }, body: `{"kind":"EventList","items":[{"level":${process.pid}}]}`,
  })).ok);
  await emergency.tough('imported', async () => (await fetch(`${world.url}/hooks/import/demo?from=plain`, {
    method: 'POST', headers: { authorization: `Bearer ${world.broker.auditToken}`, 'content-type': 'application/json' },
    body: JSON.stringify({ kind: 'EventList', apiVersion: 'audit.k8s.io/v1', items: [{
      level: 'Metadata', auditID: `import-${process.pid}`, stage: 'ResponseComplete', requestURI: '/api/v1/namespaces/payments/pods/gone', verb: 'delete', user: { username: `import-${process.pid}` },
      objectRef: { resource: 'pods', namespace: 'payments', name: 'gone', apiVersion: 'v1' }, responseStatus: { code: 200 },
      requestReceivedTimestamp: '2026-03-01T10:00:00.000000Z', stageTimestamp: '2026-03-01T10:00:00.000000Z',
    }] }),
  })).ok);
  await emergency.tough('the installation applied again', async () => {
    const entries = async () => ((await emergency.page('auditor', '/ledger?kind=manifests-applied')).match(/prints it/g) ?? []).length;
    const known = await entries();
    const { stdout: role } = await world.kubectl(['-n', 'breakglass-grants', 'get', 'role', 'breakglass-broker', '-o', 'json']);
    await world.kubectl(['replace', '-f', '-'], { input: role });
    return until('its entry', async () => await entries() > known, { ms: 5_000 });
  });
  await world.mail.setFault('permanent');
  await emergency.filed();
  await emergency.tough('a notice that nobody gets', async () => /Could not tell/.test(await emergency.page('compliance', '/feed')));
  await world.mail.setFault(null);
  await until('an account nobody knows', async () => {
    await world.kubectl(['-n', 'breakglass-grants', 'create', 'serviceaccount', 'nobody-knows-it'], { anyStatus: true });
    const { stdout: token } = await world.kubectl(['-n', 'breakglass-grants', 'create', 'token', 'nobody-knows-it']);
    const { server, caFile } = world.cluster;
    return world.kubectl(['--server', server, '--certificate-authority', caFile, '--token', token.trim(), 'get', 'pods', '-n', 'payments'], { anyStatus: true, kubeconfig: '/dev/null' });
  });
  await emergency.tough('the finding', async () => /nobody-knows-it/.test(await emergency.page('compliance', '/feed')));
  await world.kubectl(['-n', 'breakglass-grants', 'delete', 'serviceaccount', 'nobody-knows-it']);
}

/** What somebody changed past the broker, twice: attached to a request, and expected. */
async function bypassed(world, emergency) {
  await emergency.filed();
  const settled = async (person, way, fields) => {
    await emergency.tough(`${person} found`, async () => {
      await world.kubectl(['-n', 'payments', '--as', person, '--as-group', 'system:masters', 'annotate', 'serviceaccount', 'default', `by=${Date.now()}`, '--overwrite']);
      return (await emergency.page('compliance', '/feed')).includes(`${person} (through`);
    });
    await emergency.tough(`${person} settled`, async () => {
      const page = await emergency.page('compliance', '/feed');
      const item = page.split('<li ').find((one) => one.includes(`${person} (through`) && one.includes('/expected'));
      if (!item) return page.includes(`${person} (through`);
      const [path] = /\/feed\/findings\/[0-9a-f-]{36}\//.exec(item);
      await (await emergency.person('compliance')).press(`${path}${way}`, { changes: /name="changes" value="(\d+)"/.exec(item)[1], ...fields });
      return false;
    });
  };
  const name = `${process.pid}-${Date.now().toString(36)}`;
  await settled(`attached-${name}`, 'attach', { request: emergency.request });
  await settled(`expected-${name}`, 'expected', { reason: 'planned' });
}

/** In the order in which they are walked. */
export const ways = { whole, decided, undrifted, rejected, waived, bypassed, beside };
