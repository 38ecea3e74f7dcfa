// A real API server that proves itself to the audit hook by a client certificate, to a broker that ends TLS.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { binary, breakglass } from '../world/broker.mjs';
import { authority, writeWhole } from '../world/certificates.mjs';
import { Child, freePort, until } from '../world/children.mjs';
import { connect } from '../world/client.mjs';
import { prepare, start } from '../world/cluster.mjs';
import { clusterName, copyConfig, paths } from '../world/config.mjs';

const world = connect();
const dir = mkdtempSync(join(tmpdir(), 'certificates-'));
const log = join(dir, 'broker.log');
const caFile = join(dir, 'audit-ca.crt');
let cluster;
let broker;
let port;
let own;
let other;

before(async () => {
  const base = await prepare({ dir: join(dir, 'cluster') });
  [own, other] = [await authority(join(dir, 'own')), await authority(join(dir, 'other'))];
  writeWhole(caFile, readFileSync(own.caFile, 'utf8'));
  port = await freePort();
  const tls = await base.ca.server('broker');
  const file = copyConfig(world.broker.config, join(dir, 'breakglass.yaml'), (config) => {
    config.server = { listen: `127.0.0.1:${port}`, public_url: `https://127.0.0.1:${port}`, tls: { cert_file: tls.certFile, key_file: tls.keyFile } };
    config.store = { sqlite: join(dir, 'breakglass.db') };
    Object.assign(config.clusters[clusterName], {
      access: { kubeconfig: { file: base.adminKubeconfig } }, engineer_server: base.server, engineer_ca_file: base.caFile, audit: { client_ca_file: caFile },
    });
  });
  const auditPolicy = join(dir, 'audit-policy.yaml');
  writeWhole(auditPolicy, (await breakglass(['manifests', '--audit-policy', file])).stdout);
  broker = await Child.start({ name: 'breakglass', command: [binary(), 'serve', '--config', file], log });
  await until('the broker', () => {
    broker.alive();
    return /listening, encrypted/.test(readFileSync(log, 'utf8'));
  });
  const client = await own.client('api-server', 'kube-apiserver');
  cluster = await start({
    dir: base.dir, auditPolicy, tap: { url: `https://127.0.0.1:${port}${paths.audit}`, caFile: base.caFile, ...client },
  });
});
after(async () => {
  await cluster?.stop();
  await broker?.stop();
  rmSync(dir, { recursive: true, force: true });
});

/** How the hook answered so far, by the broker's own log. */
const answers = () => readFileSync(log, 'utf8').split('\n').filter((line) => line.includes('"answered"') && line.includes(paths.audit))
  .map((line) => JSON.parse(line).status);

/** Something happens in the cluster, and its batch is answered with `status`. */
const arrives = (what, status) => until(what, async () => {
  const before = answers().length;
  await cluster.kubectl(['get', 'namespaces']);
  await new Promise((resolve) => { setTimeout(resolve, 1500); });
  return answers().slice(before).includes(status);
}, { ms: 60_000 });

/** Sends an empty batch as somebody with these files; the status, or nothing where the handshake already failed. */
const send = ({ certFile, keyFile } = {}) => new Promise((resolve) => {
  const asked = request(`https://127.0.0.1:${port}${paths.audit}`, {
    method: 'POST', ca: readFileSync(cluster.caFile), agent: false, ...(certFile ? { cert: readFileSync(certFile), key: readFileSync(keyFile) } : {}),
  }, (answer) => {
    answer.resume();
    resolve(answer.statusCode);
  });
  asked.on('error', () => resolve(undefined));
  asked.end('{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":[]}');
});

test('an API server is heard by its certificate, and nobody without one of that authority', async () => {
  await arrives('the audit of the API server', 200);
  assert.equal(answers().filter((status) => status !== 200).length, 0);
  assert.equal(await send(), 401);
  assert.equal(await send(await other.client('guest', 'kube-apiserver')), undefined);
  assert.equal(await send(await own.server('server-alone')), undefined);
  assert.equal(await send(await own.client('second', 'kube-apiserver')), 200);
});

test('an exchanged authority shuts the API server out, and the old one lets it in again, without a restart', async () => {
  writeWhole(caFile, readFileSync(other.caFile, 'utf8'));
  await arrives('a refusal on the connection that is open', 401);
  writeWhole(caFile, readFileSync(own.caFile, 'utf8'));
  await arrives('the audit of the API server', 200);
  assert.match(readFileSync(log, 'utf8'), /the certificates were read again/);
});
