// One whole emergency through the pages, with what goes wrong on such a night.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Actor, words } from '../world/actor.mjs';
import { breakglass } from '../world/broker.mjs';
import { until } from '../world/children.mjs';
import { connect } from '../world/client.mjs';
import { ended, lent, staged } from './steps.mjs';

const world = connect();
let stage;
let dir;
let broker;
let engineer;
let approver;

before(async () => {
  stage = await staged(world, 'emergency');
  ({ dir, broker, engineer, approver } = stage);
});
after(async () => {
  await world.tap.clear('broker');
  await stage?.end();
});

const kubectl = (key, ...args) => world.kubectl(args, { kubeconfig: key, anyStatus: true });

const access = (options) => lent({ engineer, approver, dir }, options);
const end = (grant) => ended(engineer, grant);

test('the requester, their second account and a stranger cannot approve; the approver can, once', async () => {
  const request = await engineer.ask();
  for (const person of ['oncall-lead', 'same-mail', 'second']) {
    const other = await Actor.signedIn(world, person);
    const page = await other.open(`/requests/${request}`);
    const hash = /name="hash" value="([^"]+)"/.exec(page.text)?.[1] ?? '';
    if (!/name="csrf"/.test(page.text)) await other.open('/');
    const answer = await other.press(`/requests/${request}/approve`, { hash, minutes: '30' });
    assert.notEqual(answer.status, 200, `${person}: ${words(answer.text).slice(0, 200)}`);
  }
  const [one, two] = await Promise.all([approver.approve(request), Actor.signedIn(world, 'approver2').then((second) => second.approve(request))]);
  assert.ok([one, two].some((page) => /approved/i.test(words(page.text))));
  const entries = await feed(`request=${request}`);
  const grant = await engineer.grantOf(request);
  assert.ok(grant, entries);
  await engineer.sees(`/grants/${grant}`, /Reveal/);
  await engineer.open(`/grants/${grant}`);
  await engineer.press(`/grants/${grant}/done`);
});

/** The compliance feed as JSON, in words. */
async function feed(query = '') {
  const compliance = await Actor.signedIn(world, 'compliance');
  return (await compliance.open(`/feed.json?${query}`)).text;
}

test('a key works, what it does is on the page, and it dies at the end', async () => {
  const { grant, key } = await access();
  assert.equal((await kubectl(key, '-n', 'payments', 'scale', 'deployment', 'payments-api', '--replicas=4')).status, 0);
  await engineer.sees(`/grants/${grant}`, /scaled Deployment payments\/payments-api/);
  const refused = await kubectl(key, '-n', 'payments', 'get', 'secrets');
  assert.match(refused.stderr, /Forbidden/);
  // Longer than the broker's own questions as this user need to be asked and to come back, several times.
  await new Promise((later) => { setTimeout(later, 20_000); });
  await end(grant);
  const dead = await until('401', async () => {
    const answer = await kubectl(key, '-n', 'payments', 'get', 'pods');
    return /Unauthorized|must be logged in/.test(answer.stderr) && answer;
  });
  assert.notEqual(dead.status, 0);
  const left = await world.kubectl(['-n', 'breakglass-grants', 'get', 'serviceaccounts,secrets', '-l', `breakglass/grant=${grant}`, '-o', 'name']);
  assert.equal(left.stdout.trim(), '');
  const told = JSON.parse(await feed()).items.map((item) => item._breakglass).filter(({ about }) => about.grant === grant);
  assert.ok(told.some(({ kind }) => kind === 'grant-ended'), 'the feed reaches back to this access');
  assert.deepEqual(told.filter(({ kind }) => kind === 'finding').map(({ facts }) => facts), [], 'a plain emergency is no finding');
});

test('no audit, no access: the key is killed and nothing is shown', async () => {
  const request = await engineer.ask();
  await approver.approve(request);
  const grant = await engineer.grantOf(request);
  await engineer.sees(`/grants/${grant}`, /Reveal/);
  await world.tap.hold('broker');
  await assert.rejects(engineer.reveal(grant), /did not come back through audit/);
  await world.tap.release('broker');
  await until('no Secret is left', async () => {
    const left = await world.kubectl(['-n', 'breakglass-grants', 'get', 'secrets', '-l', `breakglass/grant=${grant}`, '-o', 'name']);
    return left.stdout.trim() === '';
  });
  await engineer.open(`/grants/${grant}`);
  await engineer.press(`/grants/${grant}/done`);
});

test('an end goes on where it was after kill -9, and while the API server is away', async () => {
  const { grant, key } = await access();
  await world.api.pause();
  await engineer.open(`/grants/${grant}`);
  await engineer.press(`/grants/${grant}/done`);
  await broker.kill9();
  await broker.restart();
  await world.api.resume();
  engineer = await Actor.signedIn(world, 'oncall');
  await engineer.sees(`/grants/${grant}`, /This access is dead/, 90_000);
  assert.notEqual((await kubectl(key, '-n', 'payments', 'get', 'pods')).status, 0);
});

test('the same batch twice is one record', async () => {
  const { grant, key } = await access();
  await world.tap.repeat('broker', 2);
  await kubectl(key, '-n', 'payments', 'get', 'deployments');
  await new Promise((later) => { setTimeout(later, 4_000); });
  await world.tap.clear('broker');
  const text = await engineer.sees(`/grants/${grant}`, /listed Deployment payments/);
  assert.equal(text.match(/listed Deployment payments/g).length, 1);
  await end(grant);
});

test('an export and the whole store verify offline, and a changed byte does not', async () => {
  const auditor = await Actor.signedIn(world, 'auditor');
  const page = await auditor.open('/ledger');
  const key = /breakglass\.example\.test\/demo\+[0-9a-f]{8}\+[A-Za-z0-9+/=]+/.exec(words(page.text))?.[0];
  assert.ok(key, words(page.text).slice(0, 400));
  const grant = await engineer.grantOf(await engineer.ask().then(async (request) => { await approver.approve(request); return request; }));
  await engineer.key(grant, dir);
  await end(grant);
  const bundle = (await auditor.browser.get(`${auditor.url}/ledger/export/${grant}.bgx`)).text;
  const file = join(dir, 'grant.bgx');
  writeFileSync(file, bundle);
  const good = await breakglass(['verify', '--key', key, file], { anyStatus: true });
  assert.equal(good.status, 0, good.stdout + good.stderr);
  const altered = JSON.parse(bundle);
  const entry = altered.entries.find((one) => one.payload);
  entry.payload = entry.payload.slice(0, 20) + (entry.payload[20] === 'A' ? 'B' : 'A') + entry.payload.slice(21);
  writeFileSync(file, JSON.stringify(altered));
  const bad = await breakglass(['verify', '--key', key, file], { anyStatus: true });
  assert.equal(bad.status, 1, bad.stdout);
  assert.match(bad.stdout, /payload-altered/);
  await broker.stop();
  const store = await breakglass(['verify', '--key', key, world.broker.store], { anyStatus: true });
  assert.equal(store.status, 0, store.stdout + store.stderr);
});
