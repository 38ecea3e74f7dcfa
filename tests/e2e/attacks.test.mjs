// Attacks on the access, the record and the cluster, each by somebody with a real key: refused, or found and named
// on the feed within five seconds.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Actor, words } from '../world/actor.mjs';
import { startBroker } from '../world/broker.mjs';
import { byHand } from '../world/by_hand.mjs';
import { until } from '../world/children.mjs';
import { connect } from '../world/client.mjs';
import { copyConfig } from '../world/config.mjs';
import { ended, lent } from './steps.mjs';

const world = connect();
const dir = mkdtempSync(join(tmpdir(), 'attacks-'));
const payments = ['-n', 'payments'];
const grants = ['-n', 'breakglass-grants'];
const config = copyConfig(world.broker.config, world.broker.config.replace(/yaml$/, 'attacks.yaml'), (all) => {
  all.clusters.demo.canary = { every: '2s', alarm_after: '30s' };
});
let broker;
let engineer;
let approver;
let compliance;
/** One access that several tests use; none of them ends it. */
let shared;
const others = [];

async function everybody() {
  engineer = await Actor.signedIn(world, 'oncall');
  approver = await Actor.signedIn(world, 'approver');
  compliance = await Actor.signedIn(world, 'compliance');
}

before(async () => {
  broker = await startBroker({ config });
  await everybody();
  shared = await lent({ engineer, approver, dir });
});
after(async () => {
  // Waiting for the caches of the API server is what takes long: they all wait at once.
  const all = [shared, ...others].filter(Boolean);
  for (const { grant } of all) {
    await engineer.open(`/grants/${grant}`);
    await engineer.press(`/grants/${grant}/done`).catch(() => {}); // over already
  }
  for (const { grant } of all) await engineer.sees(`/grants/${grant}`, /This access is dead/);
  await broker?.stop();
  rmSync(dir, { recursive: true, force: true });
});

const feed = async () => words((await compliance.open('/feed')).text);
/** The feed names it, within five seconds. */
const found = (pattern, ms = 5_000) => until(`the feed to say ${pattern}`, async () => pattern.exec(await feed())?.[0], { ms });
const accountOf = async (grant) => (await world.kubectl([...grants, 'get', 'serviceaccounts', '-l', `breakglass/grant=${grant}`, '-o', 'jsonpath={.items[0].metadata.name}'])).stdout;
/** kubectl with a bearer token and nothing else. */
const as = (token, ...args) => world.kubectl(
  ['--server', world.cluster.server, '--certificate-authority', world.cluster.caFile, '--token', token, ...args], { kubeconfig: '/dev/null', anyStatus: true },
);
const withKey = (key, ...args) => world.kubectl(args, { kubeconfig: key, anyStatus: true });
const escape = (text) => text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');

test('what a session does with the account of a Pod it was in is found and is its own, also after the end', async () => {
  // A Pod and an account that no session had before.
  const name = 'of-the-pod';
  await world.kubectl([...payments, 'create', 'serviceaccount', name]);
  await world.kubectl([...payments, 'create', 'rolebinding', name, '--clusterrole=edit', `--serviceaccount=payments:${name}`]);
  await world.applyYaml(JSON.stringify({
    apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace: 'payments' },
    spec: { serviceAccountName: name, containers: [{ name: 'main', image: 'registry.example.test/nothing:1' }] },
  }));
  const uid = (await world.kubectl([...payments, 'get', 'pod', name, '-o', 'jsonpath={.metadata.uid}'])).stdout;
  await until('the Pod', async () => (await world.kubectl([...payments, 'get', 'pod', name, '-o', 'jsonpath={.status.phase}'])).stdout === 'Running', { ms: 60_000 });
  try {
    // As the node issues the token that it mounts in the Pod.
    const token = (await world.kubectl([...payments, 'create', 'token', name, '--bound-object-kind=Pod', `--bound-object-name=${name}`, `--bound-object-uid=${uid}`])).stdout.trim();
    const { grant, key } = await lent({ engineer, approver, dir });
    const account = await accountOf(grant);
    assert.equal((await as(token, ...payments, 'create', 'configmap', 'pods-own')).status, 0);
    await world.event({ verb: 'create', objectRef: { name: 'pods-own' } });
    assert.doesNotMatch(await feed(), /pods-own/, 'what the Pod did before is its own');
    assert.match((await withKey(key, ...payments, 'exec', name, '--', 'echo', 'inside')).stdout, /inside/);
    assert.equal((await as(token, ...payments, 'create', 'configmap', 'borrowed')).status, 0);
    const said = await found(new RegExp(`system:serviceaccount:payments:of-the-pod acted from Pod payments/${escape(name)}, which this access had got hold of: created ConfigMap payments/borrowed.{0,200}`));
    assert.match(said, new RegExp(`The access is .+'s, ${escape(account)}`));
    await engineer.sees(`/grants/${grant}`, /created ConfigMap payments\/borrowed \S? ?as another account as system:serviceaccount:payments:of-the-pod, from Pod payments\//);
    await ended(engineer, grant);
    assert.equal((await as(token, ...payments, 'delete', 'configmap', 'borrowed')).status, 0);
    await engineer.sees(`/grants/${grant}`, /deleted ConfigMap payments\/borrowed \S? ?as another account as system:serviceaccount:payments:of-the-pod/, 15_000);
  } finally {
    await world.kubectl([...payments, 'delete', `rolebinding/${name}`, `pod/${name}`, `serviceaccount/${name}`, 'configmap/pods-own', 'configmap/borrowed', '--ignore-not-found', '--force']);
  }
});

test('a token that never expires is found when it is used', async () => {
  await world.kubectl(['create', 'namespace', 'lasting']);
  try {
    await world.kubectl(['-n', 'lasting', 'create', 'serviceaccount', 'lasting']);
    await world.kubectl(['create', '-f', '-'], { input: JSON.stringify({
      apiVersion: 'v1', kind: 'Secret', type: 'kubernetes.io/service-account-token',
      metadata: { name: 'lasting', namespace: 'lasting', annotations: { 'kubernetes.io/service-account.name': 'lasting' } },
    }) });
    const token = await until('the token', async () => Buffer.from((await world.kubectl(['-n', 'lasting', 'get', 'secret', 'lasting', '-o', 'jsonpath={.data.token}'])).stdout, 'base64').toString());
    await as(token, ...payments, 'get', 'pods');
    await found(/ServiceAccount lasting\/lasting used a token without an id: one from a Secret, which never expires/);
  } finally {
    await world.kubectl(['delete', 'namespace', 'lasting', '--wait=false']);
  }
});

test('a token that somebody else has issued for an access, and acting as it, are found', async () => {
  const { grant } = shared;
  const account = await accountOf(grant);
  const token = (await world.kubectl([...grants, 'create', 'token', account])).stdout.trim();
  await found(new RegExp(`admin had a token issued for ${escape(account)}`));
  await as(token, ...payments, 'get', 'pods');
  await found(new RegExp(`a grant's account was used with token \\S+, which the broker did not have issued. The access is .{1,80}'s, ${escape(account)}`));
  await world.kubectl([...payments, 'get', 'pods', `--as=system:serviceaccount:breakglass-grants:${account}`], { anyStatus: true });
  await found(new RegExp(`admin acted as ${escape(account)}`));
});

test('one audit id on two requests hides neither, and is found', async () => {
  const { grant, key } = shared;
  const headers = { 'Audit-ID': `chosen-${grant}`, 'Content-Type': 'application/merge-patch+json' };
  const path = '/api/v1/namespaces/payments/configmaps/payments-config';
  for (const [method, body] of [['GET', undefined], ['PATCH', '{"metadata":{"annotations":{"chosen":"1"}}}']]) {
    const answer = await byHand(key, { method, path, headers, body });
    assert.equal(answer.status, 200, answer.text);
  }
  await found(new RegExp(`two requests carry the audit id chosen-${grant}`));
  // Minutes later is no other request's turn: what was in another batch is compared as well.
  await byHand(key, { method: 'PATCH', path, headers, body: '{"metadata":{"annotations":{"chosen":null}}}' });
  const page = await engineer.sees(`/grants/${grant}`, /changed ConfigMap payments\/payments-config[\s\S]*changed ConfigMap payments\/payments-config/);
  assert.match(page, /read ConfigMap payments\/payments-config/);
});

test('a URL padded with 120 kB does not keep its request out of the record', async () => {
  const { grant, key } = shared;
  const path = `/apis/apps/v1/namespaces/payments/deployments/payments-api?fieldManager=pad&pretty=${'x'.repeat(120_000)}`;
  const headers = { 'Content-Type': 'application/merge-patch+json' };
  for (const value of ['"1"', 'null']) {
    const answer = await byHand(key, { method: 'PATCH', path, headers, body: `{"metadata":{"annotations":{"padded":${value}}}}` });
    assert.equal(answer.status, 200, answer.text.slice(0, 500));
  }
  await engineer.sees(`/grants/${grant}`, /annotations.padded = 1/, 15_000);
});

test('a request that timed out and was applied all the same is in the record as one that changed, or may have', async () => {
  const { grant, key } = shared;
  const names = [];
  const applied = await until('an answer 504 to what was stored', async () => {
    const name = `timed-out-${names.length}`;
    names.push(name);
    const body = JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name } });
    const answer = await byHand(key, { method: 'POST', path: `/api/v1/namespaces/payments/configmaps?timeout=${1 + names.length % 6}ms`, headers: { 'Content-Type': 'application/json' }, body });
    if (answer.status !== 504) return false;
    return (await world.kubectl([...payments, 'get', 'configmap', name], { anyStatus: true })).status === 0 && name;
  }, { every: 1, ms: 60_000 });
  await world.kubectl([...payments, 'delete', 'configmap', '--ignore-not-found', ...names]);
  // The client may be told 504 where the event says 201: the handler went on and came to its end.
  await engineer.sees(`/grants/${grant}`, new RegExp(`(may have )?created ConfigMap payments/${applied}\\b`), 15_000);
});

test('bodies of lists stay out of the record, which they would burst', async () => {
  const { grant, key } = shared;
  const account = await accountOf(grant);
  await withKey(key, ...payments, 'get', 'configmaps');
  const listed = await world.event({ verb: 'list', user: { username: { contains: account } }, objectRef: { resource: 'configmaps' } });
  assert.equal(listed.level, 'Metadata');
  assert.equal(listed.responseObject, undefined);
});

test('a finding is written with the batch that shows it, whatever happens to the broker after', async () => {
  await broker.stop();
  await world.tap.hold('broker');
  try {
    const mortal = await startBroker({ config, env: { FAILPOINTS: 'commit.batch-count.after=return' } });
    const account = `breakglass-once-${process.pid}`;
    const time = new Date().toISOString().replace(/Z$/, '000Z');
    const event = {
      level: 'Metadata', auditID: `once-${process.pid}`, stage: 'ResponseComplete', requestURI: '/api/v1/pods', verb: 'list', user: { username: `system:serviceaccount:breakglass-grants:${account}` },
      sourceIPs: ['10.0.0.9'], responseStatus: { code: 200 }, requestReceivedTimestamp: time, stageTimestamp: time,
    };
    const sent = fetch(`${world.url}${world.broker.auditPath}`, {
      method: 'POST', headers: { authorization: `Bearer ${world.broker.auditToken}`, 'content-type': 'application/json' },
      body: JSON.stringify({ kind: 'EventList', apiVersion: 'audit.k8s.io/v1', metadata: {}, items: [event] }),
    });
    // It gets no answer, and this sender sends it once.
    await assert.rejects(sent);
    await until('the broker to have ended itself', () => !mortal.running);
    broker = await startBroker({ config });
    await everybody();
    await found(new RegExp(`${account} in breakglass-grants was used and no grant has it`));
  } finally {
    await world.tap.release('broker');
  }
});

test('an audit policy that hides the user of a shown key is found', async () => {
  const lately = await lent({ engineer, approver, dir });
  others.push(lately);
  const { grant } = lately;
  const account = await accountOf(grant);
  const file = join(world.broker.dir, 'audit-policy.yaml');
  const policy = readFileSync(file, 'utf8');
  writeFileSync(file, policy.replace(/^rules:$/m, `rules:\n- {level: None, users: ["system:serviceaccount:breakglass-grants:${account}"]}`));
  try {
    await world.api.restart();
    const said = await found(new RegExp(`what ${escape(account)} does on demo has not been recorded since \\S+ UTC, though audit is alive: the audit policy hides that user.{0,80}`), 180_000);
    assert.match(said, /The access is .+'s/);
  } finally {
    writeFileSync(file, policy);
    await world.api.restart();
  }
});

test('a role widened after the approval is found and ends the access', async () => {
  const widened = await lent({ engineer, approver, dir });
  others.push(widened);
  const { key } = widened;
  const role = JSON.parse((await world.kubectl(['get', 'clusterrole', 'breakglass-workloads', '-o', 'json'])).stdout);
  delete role.metadata.resourceVersion;
  const wider = structuredClone(role);
  wider.rules.push({ apiGroups: [''], resources: ['secrets'], verbs: ['get', 'list'] });
  await world.kubectl(['replace', '-f', '-'], { input: JSON.stringify(wider) });
  try {
    await found(/the rules of ClusterRole breakglass-workloads changed after the approval; the access of .+? ends/);
    await until('the key to be refused', async () => (await withKey(key, ...payments, 'get', 'secrets')).status !== 0);
  } finally {
    await world.kubectl(['replace', '-f', '-'], { input: JSON.stringify(role) });
  }
});
