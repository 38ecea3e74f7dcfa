// A cluster for one test file, beside the one that all share: its API servers send their audit each by a hook path and a
// tap of its own, to a broker with a store of its own.

import { randomBytes } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { breakglass, startBroker } from '../world/broker.mjs';
import { freePort } from '../world/children.mjs';
import { prepare, start as startCluster } from '../world/cluster.mjs';
import { copyConfig } from '../world/config.mjs';
import { startTap } from '../world/tap.mjs';
import { storeFacts } from './facts.mjs';

/** It gives a batch up after a second or two, and holds few: what takes the real thing minutes and thousands. */
const impatient = ['--audit-webhook-initial-backoff=100ms', '--audit-webhook-batch-buffer-size=100', '--audit-webhook-batch-max-size=20', '--audit-webhook-batch-throttle-qps=2', '--audit-webhook-batch-throttle-burst=2'];

/**
 * Starts it. `servers`: names of its API servers, the first of which everybody is sent to. `flags`: added to each's.
 * `env`: of the broker.
 */
export async function ownCluster(world, { file, name = 'extra', servers = ['one'], flags = impatient, env = {} }) {
  const dir = join(world.dir, `${file}-${process.pid}`);
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const token = randomBytes(24).toString('hex');
  const hook = (server) => `${world.url}/hooks/audit/${name}/${server}`;
  const base = await prepare({ dir: join(dir, 'cluster') });
  const [first, ...others] = servers;
  const ports = Object.fromEntries(await Promise.all(others.map(async (own) => [own, await freePort()])));
  const address = (own) => (own === first ? base.server : `https://127.0.0.1:${ports[own]}`);
  writeFileSync(join(dir, 'token'), token, { mode: 0o600 });
  writeFileSync(join(dir, 'kubeconfig'), '{}', { mode: 0o600 });
  const config = copyConfig(world.broker.config, join(dir, 'breakglass.yaml'), (all) => {
    all.store = { sqlite: join(dir, 'breakglass.db') };
    all.clusters[name] = {
      access: { kubeconfig: { file: join(dir, 'kubeconfig') } }, engineer_server: base.server, engineer_ca_file: base.caFile,
      audit: { token: { file: join(dir, 'token') } }, settle_window: '10s', lost_after: '15s', canary: { every: '2s' },
      api_servers: Object.fromEntries(servers.map((own) => [own, { address: address(own) }])),
    };
    all.profiles['payments-admin'].clusters.push(name);
  });
  const taps = {};
  const stops = [];
  async function stop() {
    for (const one of stops.reverse()) await one();
    rmSync(dir, { recursive: true, force: true });
  }
  try {
    for (const own of servers) {
      taps[own] = await startTap({ token, tls: await base.ca.server(`tap-${own}`), file: join(dir, `audit-${own}.ndjson`) });
      stops.push(() => taps[own].stop());
      taps[own].subscribe({ name: 'broker', url: hook(own), token });
    }
    const policy = join(dir, 'policy.yaml');
    writeFileSync(policy, (await breakglass(['manifests', '--audit-policy', '--cluster', name, config])).stdout);
    const to = (own) => ({ url: taps[own].url, token, caFile: base.caFile });
    const cluster = await startCluster({ dir: base.dir, auditPolicy: policy, tap: to(first), apiFlags: flags });
    stops.push(() => cluster.stop());
    const api = { [first]: { server: cluster.server, ...cluster.api } };
    for (const own of others) api[own] = await cluster.addApiServer({ name: own, port: ports[own], tap: to(own), flags });
    const manifests = (await breakglass(['manifests', '--cluster', name, config])).stdout;
    await cluster.applyYaml(manifests).catch(() => cluster.applyYaml(manifests));
    const { stdout } = await cluster.kubectl(['create', 'token', 'breakglass', '-n', 'breakglass', '--duration=24h']);
    writeFileSync(join(dir, 'kubeconfig'), JSON.stringify({
      apiVersion: 'v1', kind: 'Config', 'current-context': name,
      clusters: [{ name, cluster: { server: cluster.server, 'certificate-authority': cluster.caFile } }],
      users: [{ name, user: { token: stdout.trim() } }], contexts: [{ name, context: { cluster: name, user: name } }],
    }));
    const broker = await startBroker({ config, env });
    stops.push(() => broker.stop());
    const store = join(dir, 'breakglass.db');

    /** The entries of those kinds about an API server, with their facts. */
    async function entries(server, ...kinds) {
      const { entries: all } = await storeFacts(store);
      return all.filter((one) => kinds.includes(one.kind) && one.payload?.facts?.server === server).map(({ kind, payload }) => ({ kind, says: payload.says, ...payload.facts }));
    }

    /** How many events of an API server the ledger says are lost now, by all its gaps. */
    async function named(server) {
      const left = new Map();
      for (const one of await entries(server, 'gap', 'gap-filled')) {
        if (one.why === 'lost') left.set(one.gap, one.events);
        else if (one.kind === 'gap-filled' && left.has(one.gap)) left.set(one.gap, one.left);
      }
      return [...left.values()].reduce((sum, each) => sum + each, 0);
    }

    return { dir, name, token, config, store, cluster, taps, api, broker, hook, entries, named, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
