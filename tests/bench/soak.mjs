// A day of a busy shop, sixty times as fast: 200 emergencies on five clusters, each with an API server of its own,
// and audit of 500 events a second (30,000 here) over real HTTP. Memory stays flat, and at the end all is whole.
// node soak.mjs [MINUTES]

import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { Agent, request as send } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { publicKey } from '../e2e/crash_tools.mjs';
import { Emergency } from '../e2e/emergency.mjs';
import { assertWhole } from '../e2e/whole.mjs';
import { Actor } from '../world/actor.mjs';
import { binary, breakglass, startBroker } from '../world/broker.mjs';
import { connect } from '../world/client.mjs';
import { start as startCluster, prepare } from '../world/cluster.mjs';
import { copyConfig } from '../world/config.mjs';
import { startTap } from '../world/tap.mjs';
import { startWorld } from '../world/world.mjs';
import { printed } from './figures.mjs';
import { median } from './loop.mjs';

const minutes = Number(process.argv[2] ?? 24);
const speed = 60;
const emergencies = Math.round((200 * minutes) / 24);
const others = ['north', 'south', 'east', 'west'];
const wanted = 500 * speed;
const senders = 8;
const batch = 400;
const later = (ms) => new Promise((done) => { setTimeout(done, ms); });

/** Four more clusters beside the world's own, whose API servers send their audit straight to the broker. */
async function moreClusters(world, dir) {
  const clusters = [];
  const made = {};
  for (const name of others) {
    const base = await prepare({ dir: join(dir, name) });
    made[name] = { base, key: join(dir, `${name}.kubeconfig`), token: randomBytes(24).toString('hex'), tokenFile: join(dir, `${name}.token`) };
    writeFileSync(made[name].tokenFile, made[name].token, { mode: 0o600 });
    writeFileSync(made[name].key, '{}', { mode: 0o600 });
  }
  const config = copyConfig(world.broker.config, world.broker.config, (whole) => {
    for (const name of others) {
      const { base, key, tokenFile } = made[name];
      whole.clusters[name] = {
        access: { kubeconfig: { file: key } }, engineer_server: base.server, engineer_ca_file: base.caFile, audit: { token: { file: tokenFile } }, settle_window: '10s',
      };
    }
    whole.profiles['payments-admin'].clusters.push(...others);
  });
  for (const name of others) {
    const { base, key, token } = made[name];
    const policy = join(dir, `${name}.policy.yaml`);
    writeFileSync(policy, (await breakglass(['manifests', '--audit-policy', '--cluster', name, config])).stdout);
    // An API server keeps its token to itself where the address is plain http: the tap is spoken to encrypted.
    const tap = await startTap({ token, tls: await base.ca.server('tap'), file: join(dir, `${name}.ndjson`) });
    tap.subscribe({ name: 'broker', url: `${world.url}/hooks/audit/${name}`, token });
    const cluster = await startCluster({ dir: base.dir, auditPolicy: policy, tap: { url: tap.url, token, caFile: base.caFile } });
    clusters.push(cluster, tap);
    const manifests = (await breakglass(['manifests', '--cluster', name, config])).stdout;
    await cluster.applyYaml(manifests).catch(() => cluster.applyYaml(manifests));
    await cluster.kubectl(['create', 'namespace', 'payments']);
    const { stdout } = await cluster.kubectl(['create', 'token', 'breakglass', '-n', 'breakglass', '--duration=720h']);
    writeFileSync(key, JSON.stringify({
      apiVersion: 'v1', kind: 'Config', 'current-context': name,
      clusters: [{ name, cluster: { server: cluster.server, 'certificate-authority': cluster.caFile } }],
      users: [{ name, user: { token: stdout.trim() } }], contexts: [{ name, context: { cluster: name, user: name } }],
    }));
    console.error(`cluster ${name} runs`);
  }
  return { clusters, tokens: Object.fromEntries(others.map((name) => [name, made[name].token])) };
}

/** One event of a controller, of the size they have (1.4 kB), around its ids. */
function eventParts() {
  const event = {
    kind: 'Event', apiVersion: 'audit.k8s.io/v1', level: 'Metadata', auditID: '@ID', stage: 'ResponseComplete', requestURI: '/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/controller?timeout=5s', verb: 'update',
    user: { username: 'system:serviceaccount:kube-system:replicaset-controller', uid: '0b5f6a3e-0000-4000-8000-000000000000', groups: ['system:serviceaccounts', 'system:serviceaccounts:kube-system', 'system:authenticated'] },
    sourceIPs: ['10.0.0.7'], userAgent: `kube-controller-manager/v1.36.3 (linux/amd64) ${'x'.repeat(560)}`,
    objectRef: { resource: 'leases', namespace: 'kube-system', name: 'controller', uid: '0b5f6a3e-0000-4000-8000-000000000001', apiGroup: 'coordination.k8s.io', apiVersion: 'v1', resourceVersion: '12345' },
    responseStatus: { metadata: {}, code: 200 }, requestReceivedTimestamp: '@AT', stageTimestamp: '@AT',
    annotations: { 'authorization.k8s.io/decision': 'allow', 'authorization.k8s.io/reason': 'RBAC: allowed by ClusterRoleBinding "system:controller:replicaset-controller" of ClusterRole "system:controller:replicaset-controller"' },
  };
  return JSON.stringify(event).split(/@ID|@AT/);
}

/** Sends batches to the five hooks until told to stop, as fast as wanted and no faster. */
async function audit(world, tokens, told) {
  const [before, middle, next, rest] = eventParts();
  const agent = new Agent({ keepAlive: true, maxSockets: senders });
  const hooks = Object.entries(tokens);
  const said = { events: 0, refused: 0, slowest: 0 };
  const begun = performance.now();
  let number = 0;
  const post = ([name, token], body) => new Promise((resolve, reject) => {
    const at = performance.now();
    const sent = send(`${world.url}/hooks/audit/${name}`, { agent, method: 'POST', headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) } }, (answer) => {
      answer.resume();
      answer.on('end', () => {
        said.slowest = Math.max(said.slowest, performance.now() - at);
        resolve(answer.statusCode);
      });
    });
    sent.on('error', (error) => (sent.reusedSocket && error.code === 'ECONNRESET' ? resolve(post([name, token], body)) : reject(error)));
    sent.end(body);
  });
  await Promise.all(Array.from({ length: senders }, async (_, lane) => {
    while (!told.over) {
      const ahead = (said.events / wanted) * 1000 - (performance.now() - begun);
      if (ahead > 0) await later(ahead);
      const at = new Date().toISOString().replace('Z', '000Z');
      const items = Array.from({ length: batch }, () => `${before}soak-${lane}-${(number += 1)}${middle}${at}${next}${at}${rest}`);
      const body = `{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":[${items.join(',')}]}`;
      const status = await post(hooks[number % hooks.length], body);
      if (status === 200) said.events += batch;
      else said.refused += 1;
    }
  }));
  agent.destroy();
  return { ...said, rate: said.events / ((performance.now() - begun) / 1000) };
}

/** One emergency: with a change and its pull request on the shop's own cluster, a look around on the others. */
async function emergency(client, people, n, folder) {
  const cluster = [...others, 'demo'][n % 5];
  const one = new Emergency(client, { tag: `INC-soak-${n}`, patience: 180_000, dir: folder });
  for (const [id, actor] of Object.entries(people)) one.people.set(id, actor);
  one.request = await people.oncall.ask({ incident: one.tag, cluster, minutes: 15 });
  await one.approved();
  await one.key();
  if (cluster === 'demo') {
    // Others do the same beside it: each to a number of its own, so that none finds its work done.
    one.scaleTo = 3 + (Math.floor(n / 5) % 40);
    await one.acted();
  } else {
    await one.kubectl('-n', 'payments', 'get', 'pods');
    await one.kubectl('-n', 'payments', 'get', 'configmaps', '-o', 'yaml');
  }
  await one.done();
  await one.is('ended');
  if (cluster === 'demo') {
    await one.follows('owed', 'merged', 'converged');
    await one.merged();
    await one.follows('converged');
  } else {
    await one.follows('no-drift');
  }
  return one.keys;
}

if (!existsSync(join(dirname(binary()), 'examples', 'dump'))) throw new Error('a store is told whole by examples/dump: run cargo build --release --bins --examples');
const dir = mkdtempSync(join(tmpdir(), 'soak-'));
const world = await startWorld({ dir: join(dir, 'world') });
const told = { over: false };
let broker;
let clusters = [];
let failed = 0;
try {
  for (const folder of ['more', 'keys']) mkdirSync(join(dir, folder));
  const more = await moreClusters(world, join(dir, 'more'));
  clusters = more.clusters;
  const client = connect(world.file);
  broker = await startBroker({ config: world.broker.config, env: { RUST_LOG: 'warn' } });
  client.ledgerKey = await publicKey(client);
  const resident = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${broker.pid}/status`, 'utf8'))[1]) / 1024;
  const people = async () => ({ oncall: await Actor.signedIn(client, 'oncall'), approver: await Actor.signedIn(client, 'approver') });
  const samples = [];
  const begun = Date.now();
  const over = begun + minutes * 60_000;
  const sending = audit(world, { demo: world.broker.auditToken, ...more.tokens }, told);
  const watching = (async () => {
    while (!told.over) {
      samples.push(resident());
      if (samples.length % 6 === 0) console.error(`${Math.round((Date.now() - begun) / 60_000)} min: ${samples.at(-1).toFixed(0)} MB, ${done} emergencies`);
      await later(10_000);
    }
  })();
  let done = 0;
  let next = 0;
  const keys = [];
  // As many at once as that each has its turn in time; two people in each lane, as each has a browser.
  await Promise.all(Array.from({ length: 6 }, async () => {
    const mine = await people();
    while (next < emergencies && Date.now() < over) {
      const n = next;
      next += 1;
      await later(Math.max(0, begun + (n * minutes * 60_000) / emergencies - Date.now()));
      try {
        keys.push(...await emergency(client, mine, n, join(dir, 'keys')));
        done += 1;
      } catch (error) {
        failed += 1;
        console.error(`emergency ${n}: ${error.message}`);
      }
    }
  }));
  await later(Math.max(0, over - Date.now()));
  told.over = true;
  const load = await sending;
  await watching;
  // The first minute is the filling of caches; an hour of the day is one of its twenty-four parts.
  const steady = samples.slice(6);
  const hour = Math.max(1, Math.floor(steady.length / 24));
  const flat = median(steady.slice(-hour)) / median(steady.slice(0, hour));
  const one = new Emergency(client, { tag: 'INC-soak-reader', dir: join(dir, 'keys') });
  const torn = await assertWhole(client, { keys, actors: await one.readers(), ms: 120_000 }).then(() => 0, (error) => {
    console.error(`not whole: ${error.message}`);
    return 1;
  });
  console.error(`${load.events} events, ${load.refused} batches refused, slowest answer ${Math.round(load.slowest)} ms, at most ${Math.max(...samples).toFixed(0)} MB`);
  process.exitCode = printed([
    { figure: 'soak-memory-last-hour-over-first', value: flat, goal: '<=1.1' },
    { figure: 'soak-not-whole-at-the-end', value: torn, goal: '<=0' },
    { figure: 'soak-emergencies-done', value: done, goal: `>=${emergencies}` },
    { figure: 'soak-emergencies-failed', value: failed, goal: '<=0' },
    { figure: 'soak-audit-events-per-second', value: load.rate, goal: `>=${wanted}` },
    { figure: 'soak-batches-refused', value: load.refused, goal: '<=0' },
  ]) ? 1 : 0;
} finally {
  told.over = true;
  await broker?.stop();
  for (const part of clusters) await part.stop();
  await world.stop();
  rmSync(dir, { recursive: true, force: true });
}
process.exit();
