// What `breakglass manifests` prints, applied to a real API server: whether the broker and a session can
// do their work under it, and nothing else.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { start } from '../world/cluster.mjs';
import { run, until } from '../world/children.mjs';
import { tool } from '../world/tools.mjs';

const top = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const breakglass = process.env.BREAKGLASS_BIN ?? join(process.env.CARGO_TARGET_DIR ?? join(top, 'target'), 'debug', 'breakglass');
const example = join(top, 'breakglass.example.yaml');

const grants = 'breakglass-grants';
const label = 'breakglass/grant';
const session = 'breakglass-payments-admin-0123456789ab';
const nodeSession = 'breakglass-node-repair-0123456789ab';
const unknownProfile = 'breakglass-payments-0123456789ab';

let world;
let dir;
let broker;
let grant;

/** kubectl with a bearer token and nothing else: a client certificate would speak first. */
const as = (token) => (args, input) => run(
  [tool('kubectl'), '--kubeconfig=/dev/null', `--server=${world.server}`, `--certificate-authority=${world.caFile}`, `--token=${token}`, ...args],
  { anyStatus: true, input: typeof input === 'object' ? JSON.stringify(input) : input, env: { KUBECACHEDIR: join(dir, 'cache') } },
);

async function allowed(asked) {
  const { status, stderr, stdout } = await asked;
  assert.equal(status, 0, stderr);
  return stdout.trim();
}

/** Refused by the admission policy of that name, in these words. */
async function refusedByPolicy(asked, policy, words) {
  const { status, stderr } = await asked;
  assert.notEqual(status, 0, `it was allowed; expected: ${words}`);
  assert.match(stderr, new RegExp(`ValidatingAdmissionPolicy '${policy}'`));
  assert.match(stderr, words);
}

async function refusedByRights(asked) {
  const { status, stderr } = await asked;
  assert.notEqual(status, 0, 'it was allowed');
  assert.match(stderr, /is forbidden: User|cannot .* resource|attempting to grant RBAC permissions not currently held/);
  assert.doesNotMatch(stderr, /ValidatingAdmissionPolicy/);
}

const create = (who, object, ...more) => who(['create', '-f', '-', ...more], object);
const labels = { [label]: '0193a5c0-0000-7000-8000-0123456789ab' };

const account = (name, over = {}) => ({ apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name, namespace: grants, labels, ...over } });
const revealSecret = (name, over = {}) => ({
  apiVersion: 'v1', kind: 'Secret', type: 'breakglass/reveal', metadata: { name, namespace: grants, labels }, ...over,
});
const binding = ({ kind = 'RoleBinding', name = session, namespace = 'payments', role = 'breakglass-workloads', subjects, meta = {} } = {}) => ({
  apiVersion: 'rbac.authorization.k8s.io/v1',
  kind,
  metadata: { name, labels, ...(kind === 'RoleBinding' ? { namespace } : {}), ...meta },
  roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: role },
  subjects: subjects ?? [{ kind: 'ServiceAccount', name: session, namespace: grants }],
});
const pod = (spec = {}, container = {}, namespace = 'payments') => ({
  apiVersion: 'v1', kind: 'Pod', metadata: { name: 'tried', namespace }, spec: { containers: [{ name: 'c', image: 'app', ...container }], ...spec },
});
const template = (spec) => ({ metadata: { labels: { app: 'tried' } }, spec: { containers: [{ name: 'c', image: 'app' }], ...spec } });
const workload = (kind, spec) => {
  const metadata = { name: 'tried', namespace: 'payments' };
  const selector = { matchLabels: { app: 'tried' } };
  switch (kind) {
    case 'CronJob': return { apiVersion: 'batch/v1', kind, metadata, spec: { schedule: '* * * * *', jobTemplate: { spec: { template: template({ restartPolicy: 'Never', ...spec }) } } } };
    case 'Job': return { apiVersion: 'batch/v1', kind, metadata, spec: { template: template({ restartPolicy: 'Never', ...spec }) } };
    case 'StatefulSet': return { apiVersion: 'apps/v1', kind, metadata, spec: { selector, serviceName: 'x', template: template(spec) } };
    default: return { apiVersion: 'apps/v1', kind, metadata, spec: { selector, template: template(spec) } };
  }
};

/** A token of a grant's ServiceAccount, made as the broker makes one: bound to a Secret of its own. */
async function sessionToken(name) {
  await allowed(create(broker, account(name)));
  await allowed(create(broker, revealSecret(`${name}-1`)));
  return allowed(broker(['create', 'token', name, '-n', grants, '--bound-object-kind=Secret', `--bound-object-name=${name}-1`, '--duration=1h']));
}

before(async () => {
  dir = mkdtempSync(join(tmpdir(), 'manifests-'));
  const policy = join(dir, 'audit-policy.yaml');
  writeFileSync(policy, (await run([breakglass, 'manifests', example, '--audit-policy'])).stdout);
  world = await start({ dir: join(dir, 'cluster'), auditPolicy: policy });
  await world.applyYaml(['payments', 'billing', 'argocd'].map((name) => `apiVersion: v1\nkind: Namespace\nmetadata: {name: ${name}}\n`).join('---\n'));
  await world.applyYaml((await run([breakglass, 'manifests', example, '--cluster', 'production'])).stdout);
  await world.kubectl(['create', 'serviceaccount', 'payments-api', '-n', 'payments']);
  await world.kubectl(['create', 'serviceaccount', 'powerful', '-n', 'payments']);
  await world.kubectl(['create', 'deployment', 'shop', '--image=app', '-n', 'payments']);
  broker = as((await world.kubectl(['create', 'token', 'breakglass', '-n', 'breakglass'])).stdout.trim());

  // Policies take a moment to be enforced.
  await until('the broker policy', async () =>
    (await create(broker, account('foreign'), '--dry-run=server')).stderr.includes("'breakglass-broker'"));
  grant = as(await sessionToken(session));
  await allowed(create(broker, binding()));
  await until('the session policy', async () => (await create(grant, pod({ hostPID: true }), '--dry-run=server')).stderr.includes("'breakglass-session'"));
});

after(async () => {
  await world?.stop();
  rmSync(dir, { recursive: true, force: true });
});

test('both policies are understood by the API server', async () => {
  for (const name of ['breakglass-session', 'breakglass-broker']) {
    const status = await until(`the type check of ${name}`, async () => {
      const policy = JSON.parse((await world.kubectl(['get', 'validatingadmissionpolicy', name, '-o', 'json'])).stdout);
      return policy.status?.observedGeneration && policy.status;
    });
    assert.deepEqual(status.typeChecking?.expressionWarnings ?? [], []);
  }
});

test('a session does the work its profile is for', async () => {
  await allowed(grant(['scale', 'deployment', 'shop', '--replicas=2', '-n', 'payments']));
  await allowed(grant(['set', 'image', 'deployment/shop', '*=app:2', '-n', 'payments']));
  await allowed(grant(['rollout', 'restart', 'deployment/shop', '-n', 'payments']));
  await allowed(grant(['create', 'configmap', 'tried', '--from-literal=a=b', '-n', 'payments']));
  await allowed(create(grant, pod(), '--dry-run=server'));
  await allowed(create(grant, pod({ serviceAccountName: 'payments-api' }, { securityContext: { capabilities: { add: ['NET_BIND_SERVICE'] } } }), '--dry-run=server'));
  for (const kind of ['Deployment', 'StatefulSet', 'DaemonSet', 'Job', 'CronJob']) {
    await allowed(create(grant, workload(kind, { serviceAccountName: 'payments-api' }), '--dry-run=server'));
  }
  const running = await until('a Pod of the shop', async () =>
    (await grant(['get', 'pods', '-n', 'payments', '-l', 'app=shop', '--field-selector=status.phase=Running', '-o', 'jsonpath={.items[0].metadata.name}'])).stdout);
  assert.match(await allowed(grant(['exec', running, '-n', 'payments', '--', 'echo', 'inside'])), /inside/);
  await allowed(grant(['label', 'pod', running, 'seen=yes', '-n', 'payments']));
  await allowed(grant(['delete', 'pod', running, '-n', 'payments', '--wait=false']));
});

test('a session reaches no Secret, no other namespace and no right', async () => {
  await refusedByRights(grant(['get', 'secrets', '-n', 'payments']));
  await refusedByRights(grant(['get', 'pods', '-n', 'billing']));
  await refusedByRights(grant(['get', 'secrets', '-n', grants]));
  await refusedByRights(grant(['create', 'token', 'powerful', '-n', 'payments']));
  await refusedByRights(grant(['get', 'pods', '-n', 'payments', '--as=system:serviceaccount:payments:powerful']));
  await refusedByRights(create(grant, binding({ name: 'wider' })));
});

test('a session makes no Pod that is more than its profile', async () => {
  const tries = [
    [{ serviceAccountName: 'powerful' }, {}, /may not run as that ServiceAccount/],
    [{ hostNetwork: true }, {}, /share the node's namespaces/],
    [{ hostPID: true }, {}, /share the node's namespaces/],
    [{ hostIPC: true }, {}, /share the node's namespaces/],
    [{ volumes: [{ name: 'v', hostPath: { path: '/' } }] }, {}, /see a node's own files/],
    [{ nodeName: 'node-1' }, {}, /choose a Pod's node/],
    [{}, { securityContext: { privileged: true } }, /privileged containers/],
    [{ initContainers: [{ name: 'i', image: 'app', securityContext: { privileged: true } }] }, {}, /privileged containers/],
    [{}, { securityContext: { capabilities: { add: ['SYS_ADMIN'] } } }, /capabilities beyond/],
  ];
  for (const [spec, container, words] of tries) {
    await refusedByPolicy(create(grant, pod(spec, container), '--dry-run=server'), 'breakglass-session', words);
  }
});

test('nor through anything that makes Pods', async () => {
  for (const kind of ['Deployment', 'StatefulSet', 'DaemonSet', 'Job', 'CronJob']) {
    const tried = (spec) => create(grant, workload(kind, spec), '--dry-run=server');
    await refusedByPolicy(tried({ serviceAccountName: 'powerful' }), 'breakglass-session', /may not run as/);
    await refusedByPolicy(tried({ serviceAccount: 'powerful' }), 'breakglass-session', /may not run as/);
    await refusedByPolicy(tried({ hostPID: true }), 'breakglass-session', /node's namespaces/);
    await refusedByPolicy(tried({ nodeName: 'node-1' }), 'breakglass-session', /choose a Pod's node/);
    await refusedByPolicy(tried({ volumes: [{ name: 'v', hostPath: { path: '/' } }] }), 'breakglass-session', /own files/);
  }
  const patch = JSON.stringify({ spec: { template: { spec: { serviceAccountName: 'powerful' } } } });
  await refusedByPolicy(grant(['patch', 'deployment', 'shop', '-n', 'payments', '-p', patch]), 'breakglass-session', /may not run as/);
});

test('nor by a debug container in a running Pod', async () => {
  const name = await until('a Pod of the shop', async () =>
    (await grant(['get', 'pods', '-n', 'payments', '-l', 'app=shop', '--field-selector=status.phase=Running', '-o', 'jsonpath={.items[0].metadata.name}'])).stdout);
  const debug = (securityContext) => grant(['patch', 'pod', name, '-n', 'payments', '--subresource=ephemeralcontainers', '--dry-run=server',
    '-p', JSON.stringify({ spec: { ephemeralContainers: [{ name: 'd', image: 'app', securityContext }] } })]);
  await allowed(debug({}));
  await refusedByPolicy(debug({ privileged: true }), 'breakglass-session', /privileged containers/);
});

test('what proves the policy before a reveal is refused by it, also where Pod Security is strict', async () => {
  await world.kubectl(['label', 'namespace', 'payments', 'pod-security.kubernetes.io/enforce=restricted']);
  const strict = {
    automountServiceAccountToken: false,
    securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
  };
  const container = { securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } } };
  await allowed(create(grant, pod(strict, container), '--dry-run=server'));
  await refusedByPolicy(create(grant, pod({ ...strict, nodeName: 'breakglass-probe' }, container), '--dry-run=server'), 'breakglass-session', /choose a Pod's node/);
  await world.kubectl(['label', 'namespace', 'payments', 'pod-security.kubernetes.io/enforce-']);
});

test('a session with every right there is stays behind the second wall', async () => {
  const admin = await sessionToken(unknownProfile);
  await world.kubectl(['create', 'clusterrolebinding', 'planted', '--clusterrole=cluster-admin', `--serviceaccount=${grants}:${unknownProfile}`]);
  const wide = as(admin);
  const tried = (object) => create(wide, object, '--dry-run=server');
  const tokenSecret = {
    apiVersion: 'v1', kind: 'Secret', type: 'kubernetes.io/service-account-token',
    metadata: { name: 'tried', namespace: 'payments', annotations: { 'kubernetes.io/service-account.name': 'powerful' } },
  };
  const volume = (source) => ({ apiVersion: 'v1', kind: 'PersistentVolume', metadata: { name: 'tried' }, spec: { capacity: { storage: '1Gi' }, accessModes: ['ReadWriteOnce'], ...source } });
  const configMap = (namespace) => ({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'tried-wide', namespace } });
  await until('the planted right', async () => (await wide(['auth', 'can-i', '*', '*'])).stdout.includes('yes'));
  await allowed(tried(configMap('payments')));
  await refusedByPolicy(wide(['create', 'token', 'powerful', '-n', 'payments']), 'breakglass-session', /may not make tokens/);
  await refusedByPolicy(tried(tokenSecret), 'breakglass-session', /token that never expires/);
  await refusedByPolicy(tried(binding({ name: 'wider' })), 'breakglass-session', /may not change rights/);
  await refusedByPolicy(wide(['delete', 'clusterrolebinding', 'planted']), 'breakglass-session', /may not change rights/);
  await refusedByPolicy(wide(['delete', 'rolebindings', '--all', '-n', 'payments']), 'breakglass-session', /may not change rights/);
  for (const namespace of ['kube-system', 'breakglass', grants, 'argocd']) {
    await refusedByPolicy(tried(configMap(namespace)), 'breakglass-session', /namespace is protected/);
  }
  await refusedByPolicy(wide(['label', 'namespace', 'kube-system', 'x=y']), 'breakglass-session', /namespace is protected/);
  await refusedByPolicy(wide(['delete', 'endpointslice', 'kubernetes', '-n', 'default']), 'breakglass-session', /own address/);
  // One merely labelled as the API server's would be believed by whoever looks for the label.
  await refusedByPolicy(tried({
    apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice', addressType: 'IPv4', endpoints: [{ addresses: ['10.9.9.9'] }], ports: [{ name: 'https', port: 6443 }],
    metadata: { name: 'planted', namespace: 'default', labels: { 'kubernetes.io/service-name': 'kubernetes' } },
  }), 'breakglass-session', /own address/);
  await refusedByPolicy(tried(volume({ hostPath: { path: '/' } })), 'breakglass-session', /node's own files/);
  await refusedByPolicy(tried(volume({ local: { path: '/' }, nodeAffinity: { required: { nodeSelectorTerms: [{ matchExpressions: [{ key: 'a', operator: 'Exists' }] }] } } })), 'breakglass-session', /node's own files/);
  await refusedByPolicy(wide(['create', '--raw', '/api/v1/nodes/node-1/proxy/run', '-f', '-'], '{}'), 'breakglass-session', /node's proxy/);
  // Its name is of no profile, though it begins like one: it may run nothing.
  await refusedByPolicy(tried(pod()), 'breakglass-session', /may not run as/);
  await world.kubectl(['delete', 'clusterrolebinding', 'planted']);
});

test('the policy holds sessions alone', async () => {
  await world.kubectl(['create', '-f', '-', '--dry-run=server'], { input: JSON.stringify(pod({ hostPID: true })) });
});

test('the broker binds its own grants to its own roles and nobody else', async () => {
  const tried = (over) => create(broker, binding({ name: 'breakglass-tried', ...over }), '--dry-run=server');
  const own = [{ kind: 'ServiceAccount', name: nodeSession, namespace: grants }];
  await allowed(tried({}));
  await allowed(tried({ kind: 'ClusterRoleBinding', role: 'breakglass-nodes', subjects: own }));
  for (const subjects of [
    [{ kind: 'User', apiGroup: 'rbac.authorization.k8s.io', name: 'mallory' }],
    [{ kind: 'Group', apiGroup: 'rbac.authorization.k8s.io', name: `system:serviceaccounts:${grants}` }],
    [{ kind: 'ServiceAccount', name: 'breakglass-x', namespace: 'payments' }],
    [{ kind: 'ServiceAccount', name: 'default', namespace: grants }],
    [...own, { kind: 'ServiceAccount', name: 'powerful', namespace: 'payments' }],
    [],
  ]) {
    await refusedByPolicy(tried({ subjects }), 'breakglass-broker', /binds, and unbinds, its grants/);
  }
  await refusedByPolicy(tried({ name: 'other' }), 'breakglass-broker', /name prefix and its label/);
  await refusedByPolicy(tried({ meta: { labels: {} } }), 'breakglass-broker', /name prefix and its label/);
  for (const namespace of ['kube-system', 'argocd', grants, 'breakglass']) {
    await refusedByPolicy(tried({ namespace }), 'breakglass-broker', /protected namespace/);
  }
  await refusedByPolicy(tried({ kind: 'ClusterRoleBinding', role: 'breakglass-workloads' }), 'breakglass-broker', /profiles' ClusterRoles/);
  await refusedByRights(tried({ role: 'cluster-admin' }));
  await refusedByRights(tried({ role: 'edit' }));
});

test('a stolen broker token repoints no GitOps object, even with every right there is', async () => {
  const names = { plural: 'kustomizations', singular: 'kustomization', kind: 'Kustomization' };
  await world.applyYaml(JSON.stringify({
    apiVersion: 'apiextensions.k8s.io/v1', kind: 'CustomResourceDefinition', metadata: { name: 'kustomizations.kustomize.toolkit.fluxcd.io' },
    spec: {
      group: 'kustomize.toolkit.fluxcd.io', names, scope: 'Namespaced',
      versions: [{ name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } } }],
    },
  }));
  const shop = { apiVersion: 'kustomize.toolkit.fluxcd.io/v1', kind: 'Kustomization', metadata: { name: 'shop', namespace: 'payments' }, spec: { sourceRef: { kind: 'GitRepository', name: 'shop' }, path: './apps' } };
  await until('the kind to be served', async () => (await world.kubectl(['apply', '-f', '-'], { input: JSON.stringify(shop), anyStatus: true })).status === 0);
  const repoint = () => broker(['patch', 'kustomizations.kustomize.toolkit.fluxcd.io', 'shop', '-n', 'payments', '--type=merge', '-p', '{"spec":{"sourceRef":{"name":"theirs"}}}']);
  await refusedByRights(repoint());
  await world.kubectl(['create', 'clusterrolebinding', 'stolen', '--clusterrole=cluster-admin', '--serviceaccount=breakglass:breakglass']);
  try {
    await until('the right', async () => (await broker(['auth', 'can-i', '*', '*'])).stdout.includes('yes'));
    await refusedByPolicy(repoint(), 'breakglass-broker', /writes bindings, .* and nothing else/);
  } finally {
    await world.kubectl(['delete', 'clusterrolebinding', 'stolen']);
  }
});

test('the broker deletes what is its own and nothing that is not', async () => {
  await world.applyYaml(JSON.stringify({ ...binding({ name: 'theirs', subjects: [{ kind: 'User', apiGroup: 'rbac.authorization.k8s.io', name: 'somebody' }], role: 'view' }) }));
  await world.applyYaml(JSON.stringify({ ...binding({ name: 'breakglass-lookalike', subjects: [{ kind: 'User', apiGroup: 'rbac.authorization.k8s.io', name: 'somebody' }], role: 'view' }) }));
  await refusedByPolicy(broker(['delete', 'rolebinding', 'theirs', '-n', 'payments']), 'breakglass-broker', /name prefix and its label/);
  await refusedByPolicy(broker(['delete', 'rolebinding', 'breakglass-lookalike', '-n', 'payments']), 'breakglass-broker', /binds, and unbinds/);
  await refusedByPolicy(broker(['delete', 'clusterrolebinding', 'cluster-admin']), 'breakglass-broker', /name prefix and its label/);
  await refusedByPolicy(broker(['delete', 'clusterrolebinding', 'breakglass-broker']), 'breakglass-broker', /name prefix and its label/);
  await refusedByPolicy(broker(['delete', 'serviceaccount', 'default', '-n', grants]), 'breakglass-broker', /name prefix and its label/);
  await allowed(create(broker, binding({ name: 'breakglass-mine' })));
  await allowed(broker(['delete', 'rolebinding', 'breakglass-mine', '-n', 'payments']));
});

test('the broker makes no token that outlives or escapes its grant', async () => {
  const lasting = revealSecret('breakglass-lasting', { type: 'kubernetes.io/service-account-token' });
  lasting.metadata.annotations = { 'kubernetes.io/service-account.name': session };
  await refusedByPolicy(create(broker, lasting, '--dry-run=server'), 'breakglass-broker', /of its own type/);
  const token = (...more) => broker(['create', 'token', session, '-n', grants, ...more]);
  const bound = ['--bound-object-kind=Secret', `--bound-object-name=${session}-1`];
  await refusedByPolicy(token('--duration=1h'), 'breakglass-broker', /bound to a Secret/);
  await refusedByPolicy(token('--duration=48h', ...bound), 'breakglass-broker', /no longer than a grant may/);
  await allowed(token('--duration=1h', '--audience=breakglass-probe', ...bound));
  await refusedByRights(broker(['create', 'token', 'powerful', '-n', 'payments']));
  await refusedByRights(broker(['create', 'token', 'breakglass', '-n', 'breakglass']));
});

test('the broker sees what sessions may change, and no Secret of others', async () => {
  for (const args of [['deployments', '-A'], ['configmaps', '-n', 'payments'], ['nodes'], ['namespaces'],
    ['endpointslice', 'kubernetes', '-n', 'default'], ['clusterrole', 'breakglass-workloads'], ['rolebindings', '-A'],
    ['secrets', '-n', grants], ['validatingadmissionpolicy', 'breakglass-session']]) {
    await allowed(broker(['get', ...args, '-o', 'name']));
  }
  await allowed(broker(['get', '--raw', '/metrics']).then(({ status, stderr, stdout }) => ({ status, stderr, stdout: stdout.slice(0, 1) })));
  for (const args of [['secrets', '-n', 'payments'], ['secrets', '-A'], ['secrets', '-n', 'kube-system'], ['clusterrole', 'cluster-admin']]) {
    await refusedByRights(broker(['get', ...args]));
  }
  await refusedByRights(broker(['scale', 'deployment', 'shop', '--replicas=9', '-n', 'payments']));
  await refusedByRights(broker(['get', 'pods', '-A', '--as=admin']));
  await refusedByRights(broker(['label', 'serviceaccount', session, '-n', grants, 'a=b']));
});

test('no Pod runs as the ServiceAccount of a grant', async () => {
  const { status, stderr } = await world.kubectl(['create', '-f', '-'], { input: JSON.stringify(pod({ serviceAccountName: session }, {}, grants)), anyStatus: true });
  assert.notEqual(status, 0);
  assert.match(stderr, /PodSecurity|quota/);
});

test('audit holds what a session sent and got, and no token', async () => {
  await allowed(grant(['scale', 'deployment', 'shop', '--replicas=3', '-n', 'payments']));
  const events = () => readFileSync(world.auditLog, 'utf8').split('\n').filter(Boolean).map((line) => JSON.parse(line));
  const scaled = await until('the event', () => events().find((event) =>
    event.user.username === `system:serviceaccount:${grants}:${session}` && event.verb === 'patch' && event.objectRef?.subresource === 'scale'
    && event.requestObject?.spec?.replicas === 3));
  assert.equal(scaled.level, 'RequestResponse');
  assert.equal(scaled.responseObject.spec.replicas, 3);
  assert.match(scaled.user.extra['authentication.kubernetes.io/credential-id'][0], /^JTI=/);
  const issued = events().filter((event) => event.objectRef?.subresource === 'token');
  assert.ok(issued.length > 0);
  for (const event of issued) assert.equal(event.level, 'Metadata');
  assert.ok(!readFileSync(world.auditLog, 'utf8').includes('"token":"ey'));
  const refused = events().find((event) => event.annotations?.['validation.policy.admission.k8s.io/validation_failure']);
  assert.ok(refused, 'a refusal is noted in its event');
});
