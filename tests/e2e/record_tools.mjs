// What the tests of the record's faults share: a broker with a store of its own, which a test may break; batches whose
// events are found again; a witness that is really there.

import { randomBytes } from 'node:crypto';
import { mkdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { breakglass, startBroker } from '../world/broker.mjs';
import { Child, freePort, run, until } from '../world/children.mjs';
import { copyConfig } from '../world/config.mjs';
import { post } from '../world/post.mjs';
import { tool } from '../world/tools.mjs';
import { publicKey } from './crash_tools.mjs';
import { storeFacts } from './facts.mjs';

/** How many entries a checkpoint is of. */
export const sizeOf = (note) => Number(note.split('\n')[1]);

/** Mulberry32: small, and the same on every machine. */
export function generator(from) {
  let state = from >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

const event = (id) => {
  const time = new Date().toISOString().replace(/Z$/, '000Z');
  const name = `settlement-worker-7c9f8b5d4-${id}`;
  return {
    kind: 'Event', level: 'Metadata', auditID: id, stage: 'ResponseComplete', requestURI: `/api/v1/namespaces/payments/pods/${name}/status`, verb: 'patch',
    user: { username: 'system:node:node-7', groups: ['system:nodes', 'system:authenticated'] }, sourceIPs: ['10.0.0.7'], userAgent: 'kubelet/v1.36.3 (linux/amd64)',
    objectRef: { resource: 'pods', namespace: 'payments', name, apiVersion: 'v1', subresource: 'status' }, responseStatus: { metadata: {}, code: 200 },
    requestReceivedTimestamp: time, stageTimestamp: time, annotations: { 'authorization.k8s.io/decision': 'allow' },
  };
};

/** A batch of `count` events of others, whose audit ids are NAME-0, NAME-1, …, as text. */
export const batch = (name, count = 25) => JSON.stringify({
  kind: 'EventList', apiVersion: 'audit.k8s.io/v1', metadata: {}, items: Array.from({ length: count }, (_, n) => event(`${name}-${n}`)),
});

/**
 * A broker whose store lies in a folder of its own and keeps every event; the world's own must not run beside it.
 * `change(config)`: made to the configuration. `env`: of its process. Not started yet.
 */
export function recorder(world, name, { change = () => {}, env = {} } = {}) {
  const dir = join(realpathSync(world.dir), `record-${name}-${process.pid}`);
  mkdirSync(join(dir, 'store'), { recursive: true, mode: 0o700 });
  const token = randomBytes(32).toString('hex');
  writeFileSync(join(dir, 'reader'), token, { mode: 0o600 });
  const store = join(dir, 'store', 'breakglass.db');
  const configure = (more) => copyConfig(world.broker.config, join(dir, 'breakglass.yaml'), (all) => {
    all.store = { sqlite: store };
    all.clusters.demo.audit.keep = 'everything';
    all.ledger.readers = { auditor: { token: { file: join(dir, 'reader') } } };
    more(all);
  });
  const config = configure(change);
  const read = (path) => fetch(`${world.url}/log/${path}`, { headers: { authorization: `Bearer ${token}` } });
  let held = 0;
  return {
    dir,
    store,
    config,
    env,
    configure,
    broker: undefined,
    async start() {
      this.key ??= await publicKey({ broker: { config } });
      this.broker = await startBroker({ config, env: this.env });
      return this.broker;
    },
    /** Sends one body as the API server does: the status of the answer, 0 where none came. */
    send: (body) => post(`${world.url}${world.broker.auditPath}`, { token: world.broker.auditToken, body }).then(({ status }) => status, () => 0),
    /** A file of the log as its readers get it. */
    log: read,
    /** The newest checkpoint that it serves. */
    async checkpoint() {
      const answer = await read('checkpoint');
      if (!answer.ok) throw new Error(`no checkpoint: ${answer.status}`);
      return answer.text();
    },
    /** `breakglass verify` of its store, against these checkpoints and API server logs: { status, text }. */
    async verify({ against = [], auditLogs = [] } = {}) {
      const notes = join(dir, `held-${held += 1}.txt`);
      writeFileSync(notes, against.join('\n'));
      const said = await breakglass(['verify', '--key', this.key, ...(against.length ? ['--against', notes] : []),
        ...auditLogs.flatMap((file) => ['--audit-log', file]), store], { anyStatus: true });
      return { status: said.status, text: said.stdout + said.stderr };
    },
    /** How often each event stands in the ledger, by its audit id. */
    async entered() {
      const { lines } = await storeFacts(store);
      const times = new Map();
      for (const line of lines) {
        const id = line.startsWith('{"entry"') && /"auditID":"([^"]+)"/.exec(line)?.[1];
        if (id) times.set(id, (times.get(id) ?? 0) + 1);
      }
      return times;
    },
    async end() {
      await this.broker?.stop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** A witness that is really there and countersigns what extends what it saw: { url, key, stop }. */
export async function witness(name, { logKey, log }) {
  const [secret, key] = (await run([tool('log-witness'), '-new', `${name}.example.test`])).stdout.trim().split('\n');
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const child = await Child.start({ name, env: { WITNESS_KEY: secret }, log, command: [tool('log-witness'), '-listen', `127.0.0.1:${port}`, '-log', logKey] });
  await until(name, async () => (await fetch(`${url}/healthz`)).ok);
  return { url, key, stop: () => child.stop() };
}
