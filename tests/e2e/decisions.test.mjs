// Decisions under attack: on something else than was shown, too late, too often, by the wrong one, for longer.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Actor, words } from '../world/actor.mjs';
import { startBroker } from '../world/broker.mjs';
import { connect } from '../world/client.mjs';
import { answerWho } from '../world/http.mjs';

const world = connect();
const dir = mkdtempSync(join(tmpdir(), 'decisions-'));
let broker;
let [requester, approver, second, other] = [];
before(async () => {
  broker = await startBroker({ config: world.broker.config });
  [requester, approver, second, other] = await Promise.all(['oncall', 'approver', 'approver2', 'second'].map((one) => Actor.signedIn(world, one)));
});
after(async () => {
  await broker?.stop();
  rmSync(dir, { recursive: true, force: true });
});

const csrfOf = (page) => /name="csrf" value="([^"]+)"/.exec(page.text)[1];
const hashOf = (page) => /id="request-hash">([0-9a-f]{64})/.exec(page.text)[1];
const send = async (actor, path, fields = {}) => actor.browser.request(world.url + path, { form: [['csrf', csrfOf(await actor.open('/'))], ...Object.entries(fields)] });
const state = async (request) => /data-state="([a-z]+)"/.exec((await requester.open(`/requests/${request}`)).text)[1];
const has = async (request) => /\/grants\/[0-9a-f-]{36}/.test((await requester.open(`/requests/${request}`)).text.split('<main')[1].split('id="asked"')[0]);
/** An approval as far as the provider: what `finish` goes on with. */
async function begin(actor, request, fields = {}) {
  const page = await actor.open(`/requests/${request}`);
  const step = await send(actor, `/requests/${request}/approve`, { hash: hashOf(page), minutes: '15', ...fields });
  return { step, finish: async () => answerWho(actor.browser, await actor.browser.follow(step), actor.person) };
}
async function end(grant) {
  await requester.open(`/grants/${grant}`);
  await requester.press(`/grants/${grant}/done`);
}

test('an approval is of exactly the request that was shown', async () => {
  const request = await requester.ask();
  const another = hashOf(await requester.open(`/requests/${await requester.ask({ minutes: 60 })}`));
  for (const hash of ['', '0'.repeat(64), another, hashOf(await requester.open(`/requests/${request}`)).toUpperCase()]) {
    const answer = await send(approver, `/requests/${request}/approve`, { hash, minutes: '15' });
    assert.equal(answer.status, 409, `${hash.slice(0, 8)}: ${words(answer.text)}`);
  }
  assert.equal(await state(request), 'pending');
  await send(requester, `/requests/${request}/withdraw`);
});

test('a request cannot be edited: what is sent beside its form changes nothing', async () => {
  const request = await requester.ask();
  const before = hashOf(await requester.open(`/requests/${request}`));
  for (const path of [`/requests/${request}`, '/requests', `/requests/${request}/withdraw`]) {
    // Somebody else's id, another profile, a longer time, beside a real form's fields.
    await send(other, path, { id: request, request, profile: 'orders-admin', minutes: '120', hash: before });
  }
  const page = await approver.open(`/requests/${request}`);
  assert.equal(hashOf(page), before);
  const { step } = await begin(approver, request, { profile: 'orders-admin', namespace: 'orders', team: 'orders', requester: 'E2001' });
  assert.match(step.text, new RegExp(before), 'the provider is asked to sign what was shown');
  await send(requester, `/requests/${request}/withdraw`);
});

test('an approver shortens and never lengthens', async () => {
  const request = await requester.ask({ minutes: 30 });
  const hash = hashOf(await approver.open(`/requests/${request}`));
  for (const minutes of ['30.1', '31', '1e9', '99999999999999999999', '-5', '0', '0.5', 'NaN', 'Infinity', '', '15 minutes', '0x10']) {
    const answer = await send(approver, `/requests/${request}/approve`, { hash, minutes });
    assert.ok([400, 422].includes(answer.status), `${minutes}: ${answer.status}`);
  }
  await (await begin(approver, request, { minutes: '15' })).finish();
  const grant = await requester.grantOf(request);
  assert.match(words((await requester.open(`/grants/${grant}`)).text), /For 15 min/);
  await end(grant);
});

test('shortening does not lengthen, and revealing again does not either', { timeout: 900_000 }, async () => {
  const request = await requester.ask({ minutes: 15 });
  await approver.approve(request);
  const grant = await requester.grantOf(request);
  await requester.key(grant, dir);
  const until = async () => /id="grant-headline"[\s\S]*?data-until="([^"]+)"/.exec((await requester.open(`/grants/${grant}`)).text)[1];
  const ends = await until();
  for (const minutes of ['15', '16', '600', '-1', '0', '1e9', '']) {
    const answer = await send(requester, `/grants/${grant}/shorten`, { minutes });
    assert.ok([400, 422].includes(answer.status), `${minutes}: ${answer.status}`);
  }
  await requester.key(grant, dir);
  assert.equal(await until(), ends);
  await end(grant);
});

test('an approval that comes after the request was taken back, or denied, gives nothing', async () => {
  for (const [path, who, fields] of [['withdraw', requester, {}], ['deny', second, { reason: 'not tonight' }]]) {
    const request = await requester.ask();
    const { finish } = await begin(approver, request);
    assert.equal((await send(who, `/requests/${request}/${path}`, fields)).status, 303);
    const answer = await finish();
    assert.equal(answer.status, 422, `${path}: ${answer.status} ${words(answer.text)}`);
    assert.ok(['withdrawn', 'denied'].includes(await state(request)));
    assert.equal(await has(request), false, 'there is no grant');
  }
});

test('two approvals at once are one grant', async () => {
  const request = await requester.ask();
  const begun = [await begin(approver, request), await begin(second, request)];
  const answers = await Promise.all(begun.map(({ finish }) => finish()));
  assert.equal(answers.filter(({ status }) => status === 200).length, 1, answers.map(({ status, text }) => `${status} ${words(text).slice(0, 120)}`).join('\n'));
  const grant = await requester.grantOf(request);
  const accounts = await world.kubectl(['-n', 'breakglass-grants', 'get', 'serviceaccounts', '-l', `breakglass/grant=${grant}`, '-o', 'name']);
  assert.ok(accounts.stdout.trim().split('\n').length <= 1);
  const page = await requester.open(`/requests/${request}`);
  assert.equal(new Set([...page.text.split('<main')[1].split('id="asked"')[0].matchAll(/\/grants\/([0-9a-f-]{36})/g)].map((one) => one[1])).size, 1);
  await end(grant);
});

test('where two must approve, one person is one, however often and at once', async () => {
  const request = await other.ask({ team: 'orders', profile: 'orders-admin', namespaces: ['orders'] });
  const begun = [await begin(approver, request), await begin(approver, request)];
  for (const { finish } of begun) await finish();
  const page = await approver.open(`/requests/${request}`);
  assert.match(page.text, /data-state="pending"/);
  assert.match(words(page.text), /1 of 2 approvals/);
  const heir = await Actor.signedIn(world, 'oncall-lead');
  await (await begin(heir, request)).finish();
  assert.match((await approver.open(`/requests/${request}`)).text, /data-state="approved"/, 'another person is another');
  await other.open('/');
  await other.press(`/grants/${await other.grantOf(request)}/done`);
});

test('a form sent again does its work once', async () => {
  const request = await requester.ask();
  assert.equal((await send(requester, `/requests/${request}/withdraw`)).status, 303);
  assert.equal((await send(requester, `/requests/${request}/withdraw`)).status, 422);
  const again = await requester.ask();
  const denied = await Promise.all(Array.from({ length: 4 }, () => send(approver, `/requests/${again}/deny`, { reason: 'not tonight' })));
  assert.equal(denied.filter(({ status }) => status === 303).length, 1, denied.map(({ status }) => status).join());
  const page = await requester.open(`/requests/${again}`);
  assert.equal(words(page.text).match(/denied it: not tonight/g).length, 1);
});

test('nothing can be had of an access that is over', { timeout: 900_000 }, async () => {
  const request = await requester.ask();
  await approver.approve(request);
  const grant = await requester.grantOf(request);
  await requester.sees(`/grants/${grant}`, /Reveal the key/);
  await end(grant);
  for (const [path, fields] of [['reveal', {}], ['shorten', { minutes: '5' }], ['done', {}], ['end', { reason: 'again' }]]) {
    const answer = await send(requester, `/grants/${grant}/${path}`, fields);
    assert.equal(answer.status, 422, `${path}: ${words(answer.text)}`);
    assert.doesNotMatch(answer.text, /apiVersion/);
  }
  // Neither does more time for it: the extension is approved, or filed, for nothing.
  const form = { team: 'payments', cluster: 'demo', profile: 'payments-admin', namespace: 'payments', minutes: '15', reason: 'It needs a little longer than was thought.', extends: grant };
  const filed = await send(requester, '/requests', form);
  if (filed.status === 303) {
    const extension = /([0-9a-f-]{36})$/.exec(filed.location)[1];
    const answer = await (await begin(approver, extension)).finish();
    assert.equal(answer.status, 422, words(answer.text));
  } else assert.equal(filed.status, 422);
  assert.equal((await send(requester, `/grants/${grant}/reveal`)).status, 422);
});
