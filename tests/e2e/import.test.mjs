// Events of the past come in by `breakglass import`: gaps are filled, nothing is entered twice, what cannot be read is
// said with its line.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { Actor, words } from '../world/actor.mjs';
import { breakglass, startBroker } from '../world/broker.mjs';
import { until } from '../world/children.mjs';
import { connect } from '../world/client.mjs';
import { ended, lent } from './steps.mjs';

const world = connect();
const payments = ['-n', 'payments'];
const dir = mkdtempSync(join(tmpdir(), 'import-'));
const fresh = (name) => `${name}-${process.pid}-${Date.now().toString(36)}`;
let broker;
let compliance;
let auditor;

before(async () => {
  broker = await startBroker({ config: world.broker.config });
  compliance = await Actor.signedIn(world, 'compliance');
  auditor = await Actor.signedIn(world, 'auditor');
});
after(async () => {
  await world.tap.clear('broker');
  await broker?.stop();
  await world.kubectl([...payments, 'delete', 'configmaps', '-l', 'made-by=import']);
  await world.kubectl([...payments, 'scale', 'deployment', 'payments-api', '--replicas=3']);
  rmSync(dir, { recursive: true, force: true });
});

const file = (name, content) => {
  writeFileSync(join(dir, name), content);
  return join(dir, name);
};
const imported = (files, { token = world.broker.auditToken, cluster = 'demo' } = {}) => breakglass(
  ['import', '--url', world.url, '--cluster', cluster, ...files], { anyStatus: true, env: { BREAKGLASS_AUDIT_TOKEN: token } },
);
const begun = new Date().toISOString();
/** The API server's own log since this file began; what other brokers lent before is theirs. The last line may be half written. */
const ownLog = () => {
  const text = readFileSync(world.cluster.auditLog, 'utf8');
  return text.slice(0, text.lastIndexOf('\n')).split('\n').filter((line) => JSON.parse(line).requestReceivedTimestamp >= begun);
};
const told = async (grant, what) => words((await auditor.open(`/grants/${grant}`)).text).split(what).length - 1;
test('what was lost on its way comes in from the API server\'s log, and what is known does not come twice', async () => {
  const engineer = await Actor.signedIn(world, 'oncall');
  const approver = await Actor.signedIn(world, 'approver');
  const { grant, key } = await lent({ engineer, approver, dir });
  await world.kubectl([...payments, 'scale', 'deployment', 'payments-api', '--replicas=4'], { kubeconfig: key });
  await engineer.sees(`/grants/${grant}`, /scaled Deployment payments\/payments-api/);
  const lost = fresh('lost');
  await world.tap.drop('broker', { requestURI: { contains: lost } });
  await world.kubectl([...payments, 'annotate', 'deployment', 'payments-api', `lost=${lost}`, `--field-manager=${lost}`], { kubeconfig: key });
  await world.kubectl([...payments, 'create', 'configmap', lost, `--field-manager=${lost}`], { kubeconfig: world.cluster.ownerKubeconfig });
  await until('both to have passed by', () => world.events({ requestURI: { contains: lost }, stage: 'ResponseComplete' }).length >= 2);
  await new Promise((later) => { setTimeout(later, 1_000); });
  await world.tap.clear('broker');
  await world.kubectl([...payments, 'label', 'configmap', lost, 'made-by=import']);
  const log = await until('the API server\'s log to have it', async () => {
    const lines = ownLog();
    return lines.filter((line) => line.includes(lost) && line.includes('ResponseComplete')).length >= 2 && lines;
  });
  await ended(engineer, grant);
  assert.equal(await told(grant, lost), 0, 'it is not in the record');
  // Rotated: the older half is packed.
  const half = Math.floor(log.length / 2);
  const files = [file('audit-1.log.gz', gzipSync(`${log.slice(0, half).join('\n')}\n`)), file('audit-2.log', `${log.slice(half).join('\n')}\n`)];
  const first = await imported(files);
  assert.equal(first.status, 0, first.stderr);
  assert.match(first.stdout, new RegExp(`^${log.length} events of demo in ${log.length} lines were sent; \\d+ entries came`));
  await auditor.sees(`/grants/${grant}`, new RegExp(`lost = ${lost}`));
  const times = await told(grant, lost);
  const found = words((await compliance.open('/feed')).text);
  assert.match(found, new RegExp(`cluster-owner changed .* on demo without a grant`));
  const changes = JSON.parse((await compliance.browser.request(`${world.url}/feed.json?flag=bypass&cluster=demo`)).text).items.map((item) => item._breakglass);
  assert.equal(changes.filter(({ facts }) => facts.bypass?.object?.name === lost && facts.event?.verb === 'create').length, 1);
  assert.match(words((await compliance.open('/feed?flag=gap')).text), /events of demo came by import from the API server's log; \d+ of them that concern people or grants are new/);
  const again = await imported(files);
  assert.equal(again.status, 0, again.stderr);
  assert.match(again.stdout, /; 0 entries came of what was new/);
  assert.equal(await told(grant, lost), times, 'nothing came twice');
});

test('what clouds make of it is read, a foreign schema is said to be partial, and what cannot be read is said line by line', async () => {
  const event = (name, verb = 'delete') => JSON.stringify({
    kind: 'Event', apiVersion: 'audit.k8s.io/v1', level: 'Metadata', auditID: fresh(name), stage: 'ResponseComplete', requestURI: `/api/v1/namespaces/payments/configmaps/${name}`, verb,
    user: { username: fresh(name), groups: ['people'] }, sourceIPs: ['203.0.113.7'], objectRef: { resource: 'configmaps', namespace: 'payments', name, apiVersion: 'v1' },
    responseStatus: { metadata: {}, code: 200 }, requestReceivedTimestamp: '2026-03-01T10:00:00.000000Z', stageTimestamp: '2026-03-01T10:00:00.010000Z',
  });
  const [eks, aks, gke] = ['by-eks', 'by-aks', 'by-gke'].map(fresh);
  const subscription = JSON.stringify({ messageType: 'DATA_MESSAGE', owner: '1', logGroup: '/aws/eks/demo/cluster', logStream: 'kube-apiserver-audit-1', subscriptionFilters: ['all'], logEvents: [{ id: '1', timestamp: 1, message: event(eks) }] });
  const lines = [
    JSON.stringify({ awslogs: { data: gzipSync(subscription).toString('base64') } }),
    'this is no event',
    JSON.stringify({ records: [{ category: 'kube-audit', properties: { log: event(aks) } }, { category: 'guard', properties: { log: 'x' } }] }),
    JSON.stringify({
      insertId: fresh('insert'), timestamp: '2026-03-01T10:00:00.123456Z', logName: 'projects/p/logs/cloudaudit.googleapis.com%2Factivity',
      protoPayload: { serviceName: 'k8s.io', methodName: 'io.k8s.core.v1.configmaps.delete', resourceName: `core/v1/namespaces/payments/configmaps/${gke}`, authenticationInfo: { principalEmail: fresh(gke) }, requestMetadata: { callerIp: '203.0.113.8' }, status: {} },
    }),
    '{"auditID":"torn"',
  ];
  const done = await imported([file('clouds.ndjson', `${lines.join('\n')}\n`)]);
  assert.equal(done.status, 1, 'not everything was read');
  assert.match(done.stderr, /clouds\.ndjson:2: it is no JSON/);
  assert.match(done.stderr, /clouds\.ndjson:5: it is no JSON/);
  assert.match(done.stdout, /^3 events of demo in 5 lines were sent/);
  assert.match(done.stdout, /1 records of other logs/);
  assert.match(done.stdout, /1 of the events are partial/);
  assert.match(done.stdout, /2 could not be read/);
  const feed = words((await compliance.open('/feed')).text);
  for (const name of [eks, aks, gke]) assert.match(feed, new RegExp(`deleted ConfigMap payments/${name}`));
  assert.match(words((await compliance.open('/feed?flag=gap')).text), /from Cloud Logging \(GKE\), which is partial/);
});

test('who cannot prove to be of the cluster imports nothing', async () => {
  const log = file('one.log', `${ownLog()[0]}\n`);
  for (const wrong of [{ token: 'f'.repeat(64) }, { cluster: 'no-such' }]) {
    const refused = await imported([log], wrong);
    assert.equal(refused.status, 2);
    assert.match(refused.stderr, /the broker does not know this token or certificate/);
  }
  const none = await breakglass(['import', '--url', world.url, '--cluster', 'demo', log], { anyStatus: true, env: { BREAKGLASS_AUDIT_TOKEN: '' } });
  assert.match(none.stderr, /nothing proves/);
});
