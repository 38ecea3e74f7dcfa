// What a person changes past the broker is found, with who, what and from where, and settled by compliance.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Actor, words } from '../world/actor.mjs';
import { startBroker } from '../world/broker.mjs';
import { until } from '../world/children.mjs';
import { connect } from '../world/client.mjs';

const world = connect();
const payments = ['-n', 'payments'];
const owner = { kubeconfig: world.cluster.ownerKubeconfig };
/** Names that nobody had before: the world is shared. */
const fresh = (name) => `${name}-${process.pid}-${Date.now().toString(36)}`;
let broker;
let compliance;

before(async () => {
  broker = await startBroker({ config: world.broker.config });
  compliance = await Actor.signedIn(world, 'compliance');
});
after(async () => {
  await broker?.stop();
  await world.kubectl([...payments, 'delete', 'configmaps,serviceaccounts,rolebindings', '-l', 'made-by=bypass']);
});

/** Makes a ConfigMap as somebody who comes through this world's gateway, as Teleport's or Rancher's would be. */
async function changedBy(person, name = fresh('outside')) {
  await world.kubectl([...payments, '--as', person, '--as-group', 'system:masters', 'create', 'configmap', name]);
  await world.kubectl([...payments, 'label', 'configmap', name, 'made-by=bypass']);
  return name;
}

/** The pinned finding that names `who`: its words, and the forms it offers. */
async function pinned(who, ms = 5_000) {
  return until(`a finding about ${who}`, async () => {
    const html = (await compliance.open('/feed')).text;
    const item = html.split('<li ').find((one) => one.includes(`${who} `) && /\/feed\/findings\/[0-9a-f-]{36}\/expected/.test(one));
    if (!item) return false;
    const [, id] = /\/feed\/findings\/([0-9a-f-]{36})\/expected/.exec(item);
    return { id, html: item, text: words(`<li ${item}`), changes: /name="changes" value="(\d+)"/.exec(item)[1] };
  }, { ms });
}

/** What the feed tells of changes without a grant, as a program reads it. */
async function told() {
  const answer = await compliance.browser.request(`${world.url}/feed.json?flag=bypass&cluster=demo`);
  return JSON.parse(answer.text).items.map((item) => item._breakglass);
}

test('a change by a person with rights of their own is on the feed within five seconds, with its evidence', async () => {
  const name = fresh('owner');
  await world.kubectl([...payments, 'create', 'configmap', name], owner);
  const found = await pinned('cluster-owner');
  await world.kubectl([...payments, 'label', 'configmap', name, 'made-by=bypass']);
  assert.match(found.text, /cluster-owner changed .* on demo without a grant, from 127\.0\.0\.1: /);
  const entries = (await told()).filter(({ facts }) => facts.bypass?.object?.name === name);
  assert.equal(entries.length, 1, 'one change, one entry');
  const [{ kind, facts }] = entries;
  const asked = words((await compliance.open(`/ledger?object=${encodeURIComponent(`ConfigMap payments/${name}`)}`)).text);
  assert.match(asked, new RegExp(`cluster-owner created ConfigMap payments/${name} without a grant`), 'who changed this object');
  assert.deepEqual([kind, facts.bypass.source_ip, facts.event.verb, facts.event.user.username], ['bypass', '127.0.0.1', 'create', 'cluster-owner']);
});

test('many changes are one finding that counts them, and what the world does itself is none', async () => {
  const person = fresh('many');
  const all = Array.from({ length: 40 }, (_, n) => ({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: `${person}-${n}`, namespace: 'payments', labels: { 'made-by': 'bypass' } } }));
  await world.kubectl(['--as', person, '--as-group', 'system:masters', 'create', '-f', '-'], { input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items: all }) });
  const found = await until('all of them', async () => {
    const one = await pinned(person);
    return one.changes === '40' && one;
  }, { ms: 10_000 });
  assert.match(found.text, new RegExp(`${person} \\(through admin\\) changed 40 things on demo without a grant, from 127\\.0\\.0\\.1: created ConfigMap payments/${person}-0; .*and 35 more`));
  const users = new Set((await told()).map(({ facts }) => facts.bypass?.user).filter(Boolean));
  for (const own of ['admin', 'kwok', 'shop-sync', 'system:kube-controller-manager', 'system:apiserver']) assert.ok(!users.has(own), `${own} is no person`);
  assert.ok(![...users].some((user) => /^system:(node:|serviceaccount:kube-system:|serviceaccount:breakglass:)/.test(user)), [...users].join(', '));
});

test('an account is a person as soon as somebody holds a token of it that is no Pod\'s', async () => {
  const account = fresh('outsider');
  await world.applyYaml(JSON.stringify({ apiVersion: 'v1', kind: 'List', items: [
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: account, namespace: 'payments', labels: { 'made-by': 'bypass' } } },
    {
      apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'RoleBinding', metadata: { name: account, namespace: 'payments', labels: { 'made-by': 'bypass' } },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'edit' }, subjects: [{ kind: 'ServiceAccount', name: account, namespace: 'payments' }],
    },
  ] }));
  const person = fresh('token-maker');
  const { stdout: token } = await world.kubectl([...payments, '--as', person, '--as-group', 'system:masters', 'create', 'token', account]);
  assert.match((await pinned(person)).text, new RegExp(`had a token issued for ServiceAccount payments/${account}`));
  const { server, caFile } = world.cluster;
  const name = fresh('by-token');
  await world.kubectl(['--server', server, '--certificate-authority', caFile, '--token', token.trim(), ...payments, 'create', 'configmap', name], { kubeconfig: '/dev/null' });
  await world.kubectl([...payments, 'label', 'configmap', name, 'made-by=bypass']);
  assert.match((await pinned(`system:serviceaccount:payments:${account}`)).text, new RegExp(`created ConfigMap payments/${name}`));
});

test('compliance attaches it to a request, and the request\'s page says so', async () => {
  const engineer = await Actor.signedIn(world, 'oncall');
  const request = await engineer.ask();
  const person = fresh('attached');
  const name = await changedBy(person);
  const { id, html, changes } = await pinned(person);
  assert.ok(html.includes(`value="${request}"`), 'the request can be chosen');
  const done = await compliance.press(`/feed/findings/${id}/attach`, { changes, request, note: 'done by hand while we waited' });
  assert.equal(done.status, 200, words(done.text).slice(0, 500));
  const said = new RegExp(`attached to this request: ${person} \\(through admin\\) changed something on demo without a grant, from 127\\.0\\.0\\.1: created ConfigMap payments/${name}: done by hand while we waited`);
  await compliance.sees(`/requests/${request}`, said);
  assert.match(words((await compliance.open('/feed')).text), said);
  assert.ok(!compliance.page.text.includes(`/feed/findings/${id}/`), 'it is pinned no more');
  await engineer.open(`/requests/${request}`);
  await engineer.press(`/requests/${request}/withdraw`);
});

test('compliance says why it was expected; who is not of compliance may not, and what came since is not settled unseen', async () => {
  const person = fresh('expected');
  await changedBy(person);
  const { id, changes } = await pinned(person);
  const operator = await Actor.signedIn(world, 'operator');
  await operator.open('/feed');
  assert.equal((await operator.press(`/feed/findings/${id}/expected`, { changes, reason: 'it was me' })).status, 422);
  await changedBy(person);
  await until('the second change', async () => (await pinned(person)).changes === '2', { ms: 5_000 });
  assert.equal((await compliance.press(`/feed/findings/${id}/expected`, { changes, reason: 'the planned upgrade' })).status, 422);
  await compliance.open('/feed');
  assert.equal((await compliance.press(`/feed/findings/${id}/expected`, { changes: '2', reason: 'the planned upgrade' })).status, 200);
  assert.match(words((await compliance.open('/feed')).text), new RegExp(`says that this was expected: ${person} .*: the planned upgrade`));
});
