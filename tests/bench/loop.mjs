// The loop of one emergency: how long people wait, against what the API server itself needs for the same.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Actor } from '../world/actor.mjs';
import { startBroker } from '../world/broker.mjs';
import { byHand } from '../world/by_hand.mjs';
import { until } from '../world/children.mjs';
import { startWorld } from '../world/world.mjs';

const grants = '/api/v1/namespaces/breakglass-grants';
const rounds = 3;
const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

/** The bare calls of an access and one audit round trip, one after another where they must be; milliseconds. */
async function floor(world, role, n, dir) {
  const key = world.facts.cluster.brokerKubeconfig;
  const name = `breakglass-bench-${n}`;
  const metadata = { name, labels: { 'breakglass/grant': `bench-${n}` } };
  const send = async (method, path, body, as = key) => {
    const answer = await byHand(as, { method, path, headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
    return { ...answer, json: JSON.parse(answer.text) };
  };
  const made = async (path, body) => {
    const answer = await send('POST', path, body);
    if (answer.status !== 201) throw new Error(`${path}: ${answer.text}`);
    return answer.json;
  };
  const begun = performance.now();
  await made(`${grants}/serviceaccounts`, { metadata });
  await made('/apis/rbac.authorization.k8s.io/v1/namespaces/payments/rolebindings', {
    metadata, roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: role },
    subjects: [{ kind: 'ServiceAccount', name, namespace: 'breakglass-grants' }],
  });
  const secret = await made(`${grants}/secrets`, { metadata, type: 'breakglass/reveal' });
  const token = async (audiences) => made(`${grants}/serviceaccounts/${name}/token`, {
    spec: { audiences, expirationSeconds: 600, boundObjectRef: { kind: 'Secret', apiVersion: 'v1', name, uid: secret.metadata.uid } },
  });
  const [credential] = await Promise.all([token(), token(['breakglass-probe'])]);
  const session = join(dir, name);
  const { server, caFile } = world.facts.cluster;
  writeFileSync(session, JSON.stringify({
    clusters: [{ cluster: { server, 'certificate-authority-data': readFileSync(caFile).toString('base64') } }],
    users: [{ user: { token: credential.status.token } }],
  }), { mode: 0o600 });
  await send('POST', '/apis/authorization.k8s.io/v1/selfsubjectrulesreviews', { spec: { namespace: 'payments' } }, session);
  await until('its event', () => world.tap.events((one) => one.user?.username?.endsWith(`:${name}`) && one.stage === 'ResponseComplete')[0], { every: 10 });
  const took = performance.now() - begun;
  await send('DELETE', `/apis/rbac.authorization.k8s.io/v1/namespaces/payments/rolebindings/${name}`);
  await send('DELETE', `${grants}/secrets/${name}`);
  await send('DELETE', `${grants}/serviceaccounts/${name}`);
  return took;
}

/** One emergency; milliseconds from approval to key, and from "I am done" to the first 403, the first 401 and the proof. */
async function round(world, engineer, approver, dir) {
  const request = await engineer.ask();
  await approver.approve(request);
  const approved = performance.now();
  const grant = await engineer.grantOf(request);
  const key = await engineer.key(grant, dir);
  const shown = performance.now() - approved;
  await engineer.open(`/grants/${grant}`);
  const seen = {};
  const begun = performance.now();
  const watch = (async () => {
    while (!seen[401]) {
      const { status } = await byHand(key, { method: 'GET', path: '/api/v1/namespaces/payments/pods?limit=1' });
      seen[status] ??= performance.now() - begun;
      await new Promise((later) => { setTimeout(later, 20); });
    }
  })();
  await engineer.press(`/grants/${grant}/done`);
  await watch;
  const page = await engineer.sees(`/grants/${grant}`, /proved dead after [\d.]+ s/);
  const proof = Number(/proved dead after ([\d.]+) s/.exec(page)[1]) * 1000;
  const ended = performance.now();
  const followUp = /\/follow-ups\/[0-9a-f-]{36}/.exec((await engineer.open(`/grants/${grant}`)).text)[0];
  await engineer.sees(followUp, /No drift|nothing drifted/i, 60_000);
  return { shown, refused: seen[403], dead: seen[401], proof, captured: performance.now() - ended };
}

export async function loop(dir) {
  const world = await startWorld({ dir });
  let broker;
  try {
    mkdirSync(join(dir, 'keys'));
    const roles = (await world.cluster.kubectl(['get', 'clusterroles', '-o', 'name'])).stdout.split('\n').map((line) => line.split('/').at(-1));
    const role = roles.find((name) => /payments-admin/.test(name));
    const bare = [];
    for (let n = 0; n < rounds; n += 1) bare.push(await floor(world, role, n, join(dir, 'keys')));
    const begun = performance.now();
    broker = await startBroker({ config: world.broker.config });
    const ready = performance.now() - begun;
    const [engineer, approver] = [await Actor.signedIn(world, 'oncall'), await Actor.signedIn(world, 'approver')];
    const found = [];
    for (let n = 0; n < rounds; n += 1) found.push(await round(world, engineer, approver, join(dir, 'keys')));
    const of = (name) => median(found.map((one) => one[name]));
    return [
      { figure: 'loop-approved-to-key-over-bare-calls', value: of('shown') / median(bare), goal: '<=1.2' },
      { figure: 'loop-done-to-403-ms', value: of('refused'), goal: '<=1000' },
      { figure: 'loop-done-to-401-ms', value: of('dead'), goal: '<=11000' },
      { figure: 'loop-proof-after-401-ms', value: median(found.map((one) => one.proof - one.dead)), goal: '<=2000' },
      { figure: 'loop-proof-never-early-ms', value: Math.min(...found.map((one) => one.proof - one.dead)), goal: '>=-100' },
      { figure: 'loop-ready-after-start-ms', value: ready, goal: '<=300' },
    ];
  } finally {
    await broker?.stop();
    await world.stop();
  }
}
