// A real Kubernetes cluster on this machine: etcd, the API server with its audit webhook, the
// controller-manager (without it aggregated roles are empty and namespaces never finish deleting), the
// scheduler, and kwok as the kubelet of one node, on which Pods run and `kubectl exec` works.

import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { generateKeyPairSync } from 'node:crypto';
import { request } from 'node:https';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { authority, writeWhole } from './certificates.mjs';
import { Child, freePort, run, until } from './children.mjs';
import { tool } from './tools.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const nodeName = 'node-1';

/** The audit policy used where none is given. */
export const recommendedAuditPolicy = join(here, 'audit-policy.yaml');

function kubeconfig({ server, ca, user, token, certFile, keyFile, name = 'world' }) {
  const base64 = (path) => readFileSync(path).toString('base64');
  return stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name, cluster: { server, 'certificate-authority-data': base64(ca) } }],
    users: [{
      name: user,
      user: token ? { token } : { 'client-certificate-data': base64(certFile), 'client-key-data': base64(keyFile) },
    }],
    contexts: [{ name, context: { cluster: name, user } }],
    'current-context': name,
  });
}

/**
 * The addresses and certificates of the cluster in `dir`, made on first use and kept, so that kubeconfigs
 * stay valid over restarts and a configuration can name them before the cluster runs.
 */
export async function prepare({ dir }) {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const ca = await authority(join(dir, 'pki'));
  const portsFile = join(dir, 'ports.json');
  const kept = existsSync(portsFile) ? JSON.parse(readFileSync(portsFile, 'utf8')) : {};
  const ports = {};
  for (const part of ['etcd', 'etcdPeer', 'api', 'kubelet']) ports[part] = await freePort(kept[part]);
  writeWhole(portsFile, JSON.stringify(ports));

  const keys = { keyFile: join(dir, 'pki', 'service-accounts.key'), publicFile: join(dir, 'pki', 'service-accounts.pub') };
  if (!existsSync(keys.publicFile)) {
    const pair = generateKeyPairSync('rsa', { modulusLength: 2048 });
    writeWhole(keys.keyFile, pair.privateKey.export({ type: 'pkcs8', format: 'pem' }));
    writeWhole(keys.publicFile, pair.publicKey.export({ type: 'spki', format: 'pem' }));
  }
  const server = `https://127.0.0.1:${ports.api}`;
  /** A kubeconfig for `user` of `groups` by client certificate; `<name>.kubeconfig` in the cluster's folder. */
  async function kubeconfigFor(name, user, groups = []) {
    const path = join(dir, `${name}.kubeconfig`);
    writeWhole(path, kubeconfig({ server, ca: ca.caFile, user, ...await ca.client(name, user, groups) }));
    return path;
  }
  return {
    dir, ca, ports, keys, server, caFile: ca.caFile, kubeconfigFor,
    // This world's own hand; what it does is no person's.
    adminKubeconfig: await kubeconfigFor('admin', 'admin', ['system:masters']),
    // A person with rights of their own.
    ownerKubeconfig: await kubeconfigFor('owner', 'cluster-owner', ['system:masters']),
  };
}

/**
 * Starts a cluster whose data lives in `dir` and waits until Pods can run in it.
 * `auditPolicy`: path of the policy file. `tap`: { url, token, caFile, certFile, keyFile } of the audit webhook's
 * receiver (`tapUrl` alone will do when it asks for nothing); none, and audit goes to its file only.
 * `bindAddress`: 0.0.0.0 where the address that the EndpointSlice `kubernetes` publishes has to answer.
 * `apiFlags`: added to the API server's, the last word wins.
 */
export async function start({ dir, auditPolicy = recommendedAuditPolicy, tap, tapUrl, bindAddress = '127.0.0.1', apiFlags = [], say = () => {} }) {
  const base = await prepare({ dir });
  const { ports, ca, keys, server } = base;
  const log = (name) => join(dir, 'logs', `${name}.log`);
  const children = {};

  const etcdTls = await ca.server('etcd', { both: true });
  const apiTls = await ca.server('kube-apiserver', { dns: ['kubernetes', 'kubernetes.default', 'kubernetes.default.svc'] });
  const kubeletTls = await ca.server('kubelet');
  const apiToEtcd = await ca.client('apiserver-etcd', 'kube-apiserver');
  const apiToKubelet = await ca.client('apiserver-kubelet', 'kube-apiserver-kubelet', ['system:masters']);

  async function startEtcd() {
    const peer = `http://127.0.0.1:${ports.etcdPeer}`;
    const client = `https://127.0.0.1:${ports.etcd}`;
    children.etcd = await Child.start({
      name: 'etcd',
      log: log('etcd'),
      command: [tool('etcd'), '--name=world', `--data-dir=${join(dir, 'etcd')}`, '--unsafe-no-fsync', '--log-level=warn',
        `--listen-client-urls=${client}`, `--advertise-client-urls=${client}`,
        `--listen-peer-urls=${peer}`, `--initial-advertise-peer-urls=${peer}`, `--initial-cluster=world=${peer}`,
        `--cert-file=${etcdTls.certFile}`, `--key-file=${etcdTls.keyFile}`, '--client-cert-auth', `--trusted-ca-file=${ca.caFile}`],
    });
  }

  /** The file that tells an API server where its audit goes; its flags, or none where it goes nowhere. */
  function webhookFlags(file, webhook) {
    if (!webhook) return [];
    writeWhole(file, stringify({
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'tap', cluster: { server: webhook.url, ...(webhook.caFile ? { 'certificate-authority': webhook.caFile } : {}) } }],
      users: [{
        name: 'api-server',
        user: {
          ...(webhook.token ? { token: webhook.token } : {}),
          ...(webhook.certFile ? { 'client-certificate': webhook.certFile, 'client-key': webhook.keyFile } : {}),
        },
      }],
      contexts: [{ name: 'tap', context: { cluster: 'tap', user: 'api-server' } }],
      'current-context': 'tap',
    }));
    return [`--audit-webhook-config-file=${file}`, '--audit-webhook-batch-max-wait=1s',
      // One event that cannot be sent is dropped alone; without these, the batch it is in goes with it.
      '--audit-webhook-truncate-enabled', '--audit-webhook-truncate-max-event-size=8388608'];
  }

  let policy = auditPolicy;

  /** Starts an API server of this cluster as the child of that key: on its own port, its audit to its own receiver. */
  async function startApiServer({ key = 'api', name = 'kube-apiserver', port = ports.api, auditLog = join(dir, 'audit.log'), webhookFile = join(dir, 'audit-webhook.yaml'), webhook, flags }) {
    children[key] = await Child.start({
      name,
      log: log(name),
      command: [tool('kube-apiserver'),
        `--etcd-servers=https://127.0.0.1:${ports.etcd}`, `--etcd-cafile=${ca.caFile}`,
        `--etcd-certfile=${apiToEtcd.certFile}`, `--etcd-keyfile=${apiToEtcd.keyFile}`,
        '--service-cluster-ip-range=10.0.0.0/24', '--allow-privileged=true', '--authorization-mode=RBAC',
        `--bind-address=${bindAddress}`, `--secure-port=${port}`,
        `--tls-cert-file=${apiTls.certFile}`, `--tls-private-key-file=${apiTls.keyFile}`, `--client-ca-file=${ca.caFile}`,
        `--kubelet-certificate-authority=${ca.caFile}`,
        `--kubelet-client-certificate=${apiToKubelet.certFile}`, `--kubelet-client-key=${apiToKubelet.keyFile}`,
        '--service-account-issuer=https://kubernetes.default.svc',
        `--service-account-key-file=${keys.publicFile}`, `--service-account-signing-key-file=${keys.keyFile}`,
        `--audit-policy-file=${policy}`, `--audit-log-path=${auditLog}`, '--audit-log-maxsize=200', '--audit-log-maxbackup=2',
        ...webhookFlags(webhookFile, webhook), ...flags],
    });
    await until('the API server', async () => {
      children[key].alive();
      return await get('/readyz', `https://127.0.0.1:${port}`) === 200;
    }, { ms: 90_000 });
  }

  const startApi = () => startApiServer({ webhook: tap ?? (tapUrl ? { url: tapUrl } : undefined), flags: apiFlags });

  const admin = await ca.client('admin', 'admin', ['system:masters']);
  const tls = { ca: readFileSync(ca.caFile), cert: readFileSync(admin.certFile), key: readFileSync(admin.keyFile) };
  const get = (path, at = server) => new Promise((resolve, reject) => {
    const asked = request(`${at}${path}`, { ...tls, agent: false, timeout: 3000 }, (answer) => {
      answer.resume();
      resolve(answer.statusCode);
    });
    asked.on('timeout', () => asked.destroy(new Error('time-out')));
    asked.on('error', reject);
    asked.end();
  });

  const kubectl = (args, options = {}) => run([tool('kubectl'), '--kubeconfig', options.kubeconfig ?? base.adminKubeconfig, ...args],
    // A cache of its own: kubectl otherwise mixes up two worlds that had the same port one after the other.
    { ...options, env: { KUBECACHEDIR: join(dir, 'kubectl-cache'), ...options.env } });

  async function startOthers() {
    const own = async (name) => base.kubeconfigFor(name, `system:${name}`);
    children.controllers = await Child.start({
      name: 'kube-controller-manager',
      log: log('kube-controller-manager'),
      command: [tool('kube-controller-manager'), `--kubeconfig=${await own('kube-controller-manager')}`, '--leader-elect=false',
        `--service-account-private-key-file=${keys.keyFile}`, `--root-ca-file=${ca.caFile}`, '--use-service-account-credentials=true', '--secure-port=0'],
    });
    children.scheduler = await Child.start({
      name: 'kube-scheduler',
      log: log('kube-scheduler'),
      command: [tool('kube-scheduler'), `--kubeconfig=${await own('kube-scheduler')}`, '--leader-elect=false', '--secure-port=0'],
    });
    const podDir = join(dir, 'pods');
    mkdirSync(podDir, { recursive: true });
    const podLog = join(podDir, 'log');
    if (!existsSync(podLog)) writeWhole(podLog, `${new Date().toISOString()} stdout F ready\n`);
    writeWhole(join(dir, 'kwok.yaml'), readFileSync(join(here, 'kwok.yaml'), 'utf8').replaceAll('POD_DIR', podDir).replaceAll('POD_LOG', podLog));
    children.kwok = await Child.start({
      name: 'kwok',
      log: log('kwok'),
      env: { HOME: dir },
      bare: true, // what runs in a Pod inherits it
      command: [tool('kwok'), `--kubeconfig=${await base.kubeconfigFor('kwok', 'kwok', ['system:masters'])}`, `--config=${join(dir, 'kwok.yaml')}`,
        '--manage-all-nodes', '--node-ip=127.0.0.1', `--node-port=${ports.kubelet}`, `--server-address=127.0.0.1:${ports.kubelet}`,
        `--tls-cert-file=${kubeletTls.certFile}`, `--tls-private-key-file=${kubeletTls.keyFile}`, '--node-lease-duration-seconds=40'],
    });
  }

  const applyYaml = (text, { namespace } = {}) => kubectl(['apply', '-f', '-', ...(namespace ? ['-n', namespace] : [])], { input: text });

  async function stop() {
    const others = Object.keys(children).filter((name) => name.startsWith('api-'));
    for (const name of ['kwok', 'scheduler', 'controllers', ...others, 'api', 'etcd']) await children[name]?.stop();
  }

  /** The fault handle: what may happen to an API server. */
  const handle = (key, again) => ({
    /** Stands still: connections open, no answer. */
    pause: () => children[key].signal('SIGSTOP'),
    resume: () => children[key].signal('SIGCONT'),
    kill9: () => children[key].kill9(),
    stop: () => children[key].stop(15_000),
    /** Starts it again after `kill9` or `stop`. */
    start: again,
    async restart({ auditPolicy: next } = {}) {
      if (next) policy = next;
      await children[key].stop(15_000);
      await again();
    },
  });

  /**
   * One more API server of this cluster, over the same etcd, on `port`; `tap` and `flags` as `start` has them. Returns
   * its address and what may happen to it.
   */
  async function addApiServer({ name, port, tap: webhook, flags = [] }) {
    const key = `api-${name}`;
    const again = () => startApiServer({
      key, name: `kube-apiserver-${name}`, port, webhook, auditLog: join(dir, `audit-${name}.log`), webhookFile: join(dir, `audit-webhook-${name}.yaml`),
      // Both would publish the one address of this machine, each with its own port, and take it from one another.
      flags: ['--endpoint-reconciler-type=none', ...flags],
    });
    await again();
    return { server: `https://127.0.0.1:${port}`, auditLog: join(dir, `audit-${name}.log`), ...handle(key, again) };
  }

  const begun = Date.now();
  const said = (what) => say(`${what} (${((Date.now() - begun) / 1000).toFixed(1)} s)`);
  try {
    await startEtcd();
    await startApi();
    said('API server ready');
    await startOthers();
    await applyYaml(stringify({ apiVersion: 'v1', kind: 'Node', metadata: { name: nodeName, labels: { 'kubernetes.io/hostname': nodeName, 'kubernetes.io/os': 'linux' } } }));
    await until('the node', async () => {
      Object.values(children).forEach((child) => child.alive());
      const { stdout } = await kubectl(['get', 'node', nodeName, '-o', 'jsonpath={.status.conditions[?(@.type=="Ready")].status}{.spec.taints[*].key}']);
      return stdout === 'True';
    }, { ms: 60_000 });
    // The aggregated roles are filled by the controller-manager some moments after it starts.
    await until('the ClusterRole view', async () => (await kubectl(['get', 'clusterrole', 'view', '-o', 'jsonpath={.rules[0].verbs}'])).stdout !== '');
    await until('the ServiceAccount default', () => kubectl(['get', 'serviceaccount', 'default', '-n', 'default']));
    said('node ready');
  } catch (error) {
    await stop();
    throw error;
  }

  return {
    ...base,
    children,
    kubectl,
    applyYaml,
    stop,
    auditLog: join(dir, 'audit.log'),
    addApiServer,
    api: handle('api', startApi),
  };
}
