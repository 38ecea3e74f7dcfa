// Two API servers of one cluster, each with its own hook path, canaries and counters: what one loses is named for that
// one, what is done through either is recorded, and nothing is lent while one of them is away.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Actor, words } from '../world/actor.mjs';
import { breakglass } from '../world/broker.mjs';
import { until } from '../world/children.mjs';
import { connect } from '../world/client.mjs';
import { publicKey } from './crash_tools.mjs';
import { storeFacts } from './facts.mjs';
import { ownCluster } from './own_cluster.mjs';
import { ended, lent } from './steps.mjs';

const world = connect();
const dir = mkdtempSync(join(tmpdir(), 'two-servers-'));
const clock = join(dir, 'step');
let own;
let engineer;
let approver;
let operator;

before(async () => {
  own = await ownCluster(world, { file: 'two-servers', servers: ['one', 'two'], flags: ['--audit-webhook-initial-backoff=100ms'], env: { CLOCK_STEP: clock } });
  await own.cluster.kubectl(['create', 'namespace', 'payments']);
  [engineer, approver, operator] = await Promise.all(['oncall', 'approver', 'operator'].map((person) => Actor.signedIn(world, person)));
});
after(async () => {
  await own?.stop();
  rmSync(dir, { recursive: true, force: true });
});

/** kubectl through one of the API servers. */
const through = (server, args, options) => own.cluster.kubectl([...args, '--server', own.api[server].server], options);
const work = async (server, times = 5) => { for (let n = 0; n < times; n += 1) await through(server, ['get', 'configmaps', '-A']); };
/** What the page of clusters says of an API server. */
async function said(server) {
  const page = words((await operator.open('/clusters')).text).split(own.name)[1] ?? '';
  return page.split(/(?=\bone Last canary|\btwo Last canary)/).find((part) => part.startsWith(`${server} Last canary`)) ?? '';
}
const whole = (server) => until(`the count of ${server}`, async () => /Events\s+[\d ,]+ events counted by the API server, all of them are here/.test(await said(server)), { ms: 60_000, every: 1_000 });
const ofBoth = async (...kinds) => Object.fromEntries(await Promise.all(['one', 'two'].map(async (server) => [server, await own.entries(server, ...kinds)])));
const session = (event) => event.user?.username?.startsWith('system:serviceaccount:breakglass-grants:');
const change = (name) => (event) => event.stage === 'ResponseComplete' && event.verb === 'create' && event.objectRef?.resource === 'configmaps' && event.requestURI.includes('/payments/') && event.responseStatus?.code === 201
  && (event.objectRef.name ?? event.responseObject?.metadata?.name) === name;

test('each is counted by itself', async () => {
  await Promise.all([work('one'), work('two')]);
  await Promise.all([whole('one'), whole('two')]);
  const ofSecond = () => own.taps.two.events((event) => event.verb === 'list' && event.user?.username === 'admin').length;
  await until('the second to have a record of its own', () => ofSecond() >= 5);
  assert.deepEqual(await ofBoth('gap', 'canary-missed'), { one: [], two: [] });
});

test('what one of them loses is named for that one, to the event', async () => {
  let left = 3;
  own.taps.two.drop('broker', (event) => {
    if (left === 0 || event.objectRef?.name?.startsWith('breakglass-canary')) return false;
    left -= 1;
    return true;
  });
  await Promise.all([work('one'), work('two')]);
  await until('three events to vanish', () => left === 0);
  own.taps.two.clear('broker');
  await until('them to be named', async () => await own.named('two') === 3, { ms: 90_000, every: 1_000 });
  await work('two', 2);
  await whole('one');
  assert.deepEqual(await own.entries('one', 'gap'), [], 'the other is whole');
  assert.match(await said('two'), /3 of them were lost/);
  const key = await publicKey({ broker: { config: own.config } });
  const { stdout } = await breakglass(['verify', '--key', key, own.store], { anyStatus: true });
  assert.match(stdout, /completeness: whole except [^;\n]*UTC, nobody held a grant\n[^\n]*API server two of extra: 3 events lost, nobody held a grant/);
  assert.doesNotMatch(stdout, /API server one of/);
});

let grant;
test('what a session does through the second is recorded as what it does through the first', async () => {
  let key;
  ({ grant, key } = await lent({ engineer, approver, dir }, { cluster: own.name }));
  for (const server of ['one', 'two']) {
    const name = `by-${server}`;
    await through(server, ['-n', 'payments', 'create', 'configmap', name, '--from-literal=a=b'], { kubeconfig: key });
    await engineer.sees(`/grants/${grant}`, new RegExp(name));
    const seen = (tap) => own.taps[tap].events((event) => session(event) && change(name)(event)).length;
    const other = server === 'one' ? 'two' : 'one';
    assert.deepEqual([seen(server), seen(other)], [1, 0], `${name} is in the record of the one it went through`);
  }
  const { entries } = await storeFacts(own.store);
  const actions = entries.filter((one) => one.kind === 'audit-event' && one.payload?.about?.grant === grant).map(({ payload }) => payload.says);
  for (const name of ['by-one', 'by-two']) assert.equal(actions.filter((says) => says.includes(name)).length, 1, actions.join('\n'));
  await ended(engineer, grant);
});

test('while one of them is away nothing is lent there, and once it is back it is', async () => {
  // Approved before, its key not shown yet.
  const request = await engineer.ask({ cluster: own.name });
  await approver.approve(request);
  grant = await engineer.grantOf(request);
  await engineer.sees(`/grants/${grant}`, /Reveal/);
  await own.api.two.stop();
  // By the broker's clock it is away for more than 90 s now; what the sign-in says is held against the machine's own.
  writeFileSync(clock, '100');
  await until('the second to be missed', async () => (await own.entries('two', 'canary-missed')).length === 1, { ms: 60_000, every: 500 });
  writeFileSync(clock, '0');
  const silent = /Audit of API server two of extra has been silent since \d\d:\d\d:\d\d UTC: what is done there would not be recorded, so no access is lent/;
  // The first goes on: were it silent too, it would be named before the second.
  await until('the first to be heard again', async () => /none of the last hour stayed away|\d+ s ago|just now/.test(await said('one')) && !/Nothing of one has come back/.test(words(operator.page.text)), { ms: 60_000, every: 500 });
  await assert.rejects(engineer.ask({ cluster: own.name }), silent);
  await assert.rejects(engineer.reveal(grant), silent);
  assert.match(await words((await operator.open('/clusters')).text), /One API server is silent Nothing of two has come back since/);
  // Elsewhere people are lent what they need.
  const elsewhere = await engineer.ask();
  await engineer.open(`/requests/${elsewhere}`);
  await engineer.press(`/requests/${elsewhere}/withdraw`);

  await own.api.two.start();
  await until('the second to be heard again', async () => (await own.entries('two', 'canary-resumed')).length === 1, { ms: 60_000, every: 500 });
  const key = await engineer.key(grant, dir);
  await through('two', ['-n', 'payments', 'create', 'configmap', 'once-back', '--from-literal=a=b'], { kubeconfig: key });
  await engineer.sees(`/grants/${grant}`, /once-back/);
  await ended(engineer, grant);
  // The silence, and that its process began anew, are gaps of the second alone, with who held a grant in them.
  const gaps = await until('the gaps', async () => {
    const { two } = await ofBoth('gap');
    return two.some((one) => one.why === 'silent') && two.some((one) => one.why === 'restarted') && two;
  }, { ms: 60_000, every: 1_000 });
  for (const why of ['silent', 'restarted']) assert.equal(gaps.find((one) => one.why === why).grants[0]?.id, grant, why);
  assert.deepEqual((await own.entries('one', 'gap')).filter((one) => one.why === 'restarted' || one.why === 'lost'), []);
});
