// Sessions and sign-in under attack: planted, stolen, kept and borrowed ones; round trips that are skipped,
// repeated, crossed and led astray.

import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Actor, words } from '../world/actor.mjs';
import { startBroker } from '../world/broker.mjs';
import { until } from '../world/children.mjs';
import { connect } from '../world/client.mjs';
import { Browser, answerWho, asksWho, signIn } from '../world/http.mjs';
import { configWith } from '../world/routes.mjs';

const world = connect();
const own = new URL(world.url).origin;
const provider = new URL(world.signInAddress).origin;
let broker;
before(async () => {
  broker = await startBroker({ config: configWith(world, 'sessions', (settings) => {
    settings.profiles['payments-admin'].step_up_window = '0s';
  }) });
});
after(() => broker?.stop());

const cookieOf = (browser) => browser.cookie(world.url, 'breakglass');
/** A page as whoever holds `cookie` sees it. */
const as = (cookie, path = '/requests') => new Browser().request(world.url + path, { headers: { cookie: `breakglass=${cookie}` } });
const csrfOf = (page) => /name="csrf" value="([^"]+)"/.exec(page.text)?.[1];
/** POSTs a form of the page that is open and follows nothing. */
const send = async (actor, path, fields = {}) => actor.browser.request(world.url + path, { form: { csrf: csrfOf(await actor.open('/')), ...fields } });
const asked = /<meta\s+http-equiv="refresh"/;

async function ready(requester, approver) {
  const request = await requester.ask();
  await approver.approve(request);
  const grant = await requester.grantOf(request);
  await requester.sees(`/grants/${grant}`, /Reveal the key/);
  return { request, grant };
}

async function end(requester, grant) {
  await requester.open(`/grants/${grant}`);
  await requester.press(`/grants/${grant}/done`);
}

test('a session planted before signing in is worth nothing after it', async () => {
  const victim = new Browser();
  await victim.get(`${world.url}/sign-in`);
  const planted = cookieOf(victim);
  assert.ok(planted, 'a round trip is kept in a session');
  await signIn(victim, `${world.url}/sign-in`, 'auditor');
  assert.equal((await victim.request(`${world.url}/ledger`)).status, 200);
  assert.notEqual(cookieOf(victim), planted, 'the id changed at sign-in');
  assert.equal((await as(planted)).status, 401);
});

test('a session id that nobody gave out is not taken over', async () => {
  const victim = new Browser();
  const made = 'A'.repeat(22);
  const answer = await victim.request(`${world.url}/sign-in`, { headers: { cookie: `breakglass=${made}` } });
  const given = /breakglass=([^;]+)/.exec(answer.headers['set-cookie'].join())[1];
  assert.notEqual(given, made);
});

test('the session\'s cookie is not for scripts, other sites or other paths', async () => {
  const answer = await new Browser().request(`${world.url}/sign-in`);
  const cookie = answer.headers['set-cookie'].find((one) => one.startsWith('breakglass='));
  for (const part of [/HttpOnly/i, /SameSite=Lax/i, /Path=\//i]) assert.match(cookie, part);
  assert.doesNotMatch(cookie, /Domain=/i);
});

test('after sign-out the session is dead, whoever kept its cookie and whatever was under way', async () => {
  const actor = await Actor.signedIn(world, 'auditor');
  const kept = cookieOf(actor.browser);
  assert.equal((await as(kept)).status, 200);
  const csrf = csrfOf(await actor.open('/'));
  const underWay = Array.from({ length: 8 }, () => as(kept, '/clusters'));
  await actor.browser.request(`${world.url}/sign-out`, { form: { csrf } });
  await Promise.all(underWay);
  assert.equal((await as(kept)).status, 401);
  const form = await new Browser().request(`${world.url}/zone`, { form: { csrf, tz: 'Europe/Berlin' }, headers: { cookie: `breakglass=${kept}` } });
  assert.equal(form.status, 401);
});

test('a live page tells nothing more to who signed out', { timeout: 900_000 }, async () => {
  const [requester, approver, reader] = await Promise.all(['oncall', 'approver', 'colleague'].map((one) => Actor.signedIn(world, one)));
  const { grant } = await ready(requester, approver);
  let heard = '';
  const ended = new Promise((resolve, reject) => {
    http.get(`${world.url}/grants/${grant}/live`, { headers: { cookie: `breakglass=${cookieOf(reader.browser)}` }, agent: false }, (stream) => {
      stream.setEncoding('utf8');
      stream.on('data', (text) => { heard += text; });
      stream.on('end', resolve);
      stream.on('error', reject);
    }).on('error', reject);
  });
  await until('the page as it is', () => /Reveal|ready/i.test(heard));
  assert.equal((await send(reader, '/sign-out')).status, 303);
  const before = heard.length;
  await end(requester, grant);
  await ended;
  assert.equal(heard.slice(before).replace(/^:.*$/gm, '').trim(), '', 'what happened after the sign-out');
});

test('signing in leads to a page of ours, whatever it was told to come back to', async () => {
  const browser = new Browser();
  await signIn(browser, `${world.url}/sign-in`, 'auditor');
  const evil = 'evil.example';
  const forms = [
    `https://${evil}/`, `//${evil}`, `///${evil}`, `////${evil}`, `/\\${evil}`, `\\/${evil}`, `\\\\${evil}`, `/\t/${evil}`, `/\n/${evil}`, `\t//${evil}`, ` //${evil}`, `/\r\nLocation: https://${evil}`,
    `/%2f${evil}`, `/%5c${evil}`, `/.//${evil}`, `/..//${evil}`, `/;//${evil}`, `/@${evil}`, `@${evil}`, `.${evil}`, `http:${evil}`, `http:/${evil}`, `https:${evil}`, `HTTPS://${evil}`, 'javascript:alert(1)', 'data:text/html,x',
    `/\u2028/${evil}`, `/\u3002${evil}`, `\u2215\u2215${evil}`, `${own}@${evil}`, `${own}.${evil}`, `/sign-in?to=//${evil}`, '/sign-out', '/sign-in/callback?code=x', `/requests?next=//${evil}`, `/${'x'.repeat(5_000)}`, '\u0000', '',
  ];
  for (const to of forms) {
    let answer = await browser.request(`${world.url}/sign-in?${new URLSearchParams({ to })}`);
    for (let step = 0; step < 12 && answer.location; step += 1) {
      const next = new URL(answer.location);
      assert.ok([own, provider].includes(next.origin), `${JSON.stringify(to)} led to ${next.origin}`);
      assert.ok(!/[\r\n]/.test(answer.headers.location));
      if (next.origin === own && !next.pathname.startsWith('/sign-in')) break;
      answer = await browser.request(next.href);
    }
    // As a browser understands it, not as we wrote it.
    const last = new URL(answer.location ?? answer.url);
    assert.equal(last.origin, own, JSON.stringify(to));
    assert.notEqual(last.pathname, '/sign-out', JSON.stringify(to));
  }
  const twice = await browser.request(`${world.url}/sign-in?to=/&to=//${evil}`);
  assert.ok([400, 303].includes(twice.status));
  assert.ok(!twice.location || new URL(twice.location).origin === provider);
});

test('a round trip that began in one browser does not end in another', async () => {
  const [attacker, victim] = [new Browser(), new Browser()];
  const back = await signIn(attacker, `${world.url}/sign-in`, 'auditor', { until: (url) => url.startsWith(`${own}/sign-in/callback`) });
  const answer = await victim.get(back.stoppedAt);
  assert.equal(answer.status, 403);
  assert.equal((await victim.request(`${world.url}/requests`)).status, 401, 'the victim was not signed in as the attacker');
});

test('an answer of the provider is taken once', async () => {
  const browser = new Browser();
  const back = await signIn(browser, `${world.url}/sign-in`, 'auditor', { until: (url) => url.startsWith(`${own}/sign-in/callback`) });
  const first = await browser.request(back.stoppedAt);
  assert.equal(first.status, 303);
  const signed = cookieOf(browser);
  for (let n = 0; n < 2; n += 1) assert.equal((await browser.request(back.stoppedAt)).status, 403);
  assert.equal((await as(signed)).status, 200, 'and leaves what it did before alone');
  const other = new Browser();
  const second = await signIn(other, `${world.url}/sign-in`, 'auditor', { until: (url) => url.startsWith(`${own}/sign-in/callback`) });
  const cookie = cookieOf(other);
  const atOnce = await Promise.all(Array.from({ length: 4 }, () => new Browser().request(second.stoppedAt, { headers: { cookie: `breakglass=${cookie}` } })));
  assert.ok(atOnce.filter(({ status }) => status === 303).length <= 1, atOnce.map(({ status }) => status).join());
});

test('what the provider is made to say is shown as text and signs nobody in', async () => {
  const browser = new Browser();
  const begun = await browser.request(`${world.url}/sign-in`);
  const state = new URL(begun.location).searchParams.get('state');
  const said = '<img src=x onerror=alert(1)>\u202e\u001b[31m\r\nSet-Cookie: a=b';
  const answer = await browser.request(`${world.url}/sign-in/callback?${new URLSearchParams({ state, error: 'access_denied', error_description: said, iss: world.signInAddress })}`);
  assert.equal(answer.status, 403);
  assert.ok(!answer.text.includes('<img') && !/[\u202e\u001b]/.test(answer.text), answer.text);
  assert.ok(!(answer.headers['set-cookie'] ?? []).some((one) => one.startsWith('a=')));
});

test('a key needs its own fresh sign-in: not skipped, not used twice, not for another grant', { timeout: 900_000 }, async () => {
  const [requester, approver] = await Promise.all(['oncall', 'approver'].map((one) => Actor.signedIn(world, one)));
  const [one, two] = [await ready(requester, approver), await ready(requester, approver)];
  for (let n = 0; n < 2; n += 1) assert.match((await send(requester, `/grants/${one.grant}/reveal`)).text, asked, 'asking twice is not signing in');
  const before = cookieOf(requester.browser);
  await requester.open(`/grants/${one.grant}`);
  const back = await requester.press(`/grants/${one.grant}/reveal`);
  assert.match(words(back.text), /You signed in again/);
  assert.notEqual(cookieOf(requester.browser), before, 'the session has a new id');
  assert.equal((await as(before)).status, 401, 'and the old one is dead');
  assert.match((await send(requester, `/grants/${two.grant}/reveal`)).text, asked, 'it was for the other grant');
  // That question used it up: whatever is asked for, a sign-in serves one try.
  assert.match((await send(requester, `/grants/${one.grant}/reveal`)).text, asked);

  await requester.open(`/grants/${one.grant}`);
  await requester.press(`/grants/${one.grant}/reveal`);
  const csrf = csrfOf(await requester.open(`/grants/${one.grant}`));
  const cookie = cookieOf(requester.browser);
  const answers = await Promise.all(Array.from({ length: 4 }, () => new Browser({ timeoutMs: 90_000 })
    .request(`${world.url}/grants/${one.grant}/reveal`, { form: { csrf }, headers: { cookie: `breakglass=${cookie}` } })));
  const keys = answers.filter(({ text }) => /apiVersion: v1/.test(text));
  assert.equal(keys.length, 1, 'one sign-in, one key, however many asked at once');
  assert.match((await send(requester, `/grants/${one.grant}/reveal`)).text, asked, 'a new key, a new sign-in');
  const secrets = await world.kubectl(['-n', 'breakglass-grants', 'get', 'secrets', '-l', `breakglass/grant=${one.grant}`, '-o', 'name']);
  assert.equal(secrets.stdout.trim().split('\n').length, 1, secrets.stdout);
  await end(requester, one.grant);
  await end(requester, two.grant);
});

test('a fresh sign-in by somebody else serves nobody', { timeout: 900_000 }, async () => {
  const [requester, approver] = await Promise.all(['oncall', 'approver'].map((one) => Actor.signedIn(world, one)));
  const { grant } = await ready(requester, approver);
  const step = await requester.browser.follow(await send(requester, `/grants/${grant}/reveal`));
  assert.ok(asksWho(step));
  const answer = await answerWho(requester.browser, step, 'oncall-lead');
  assert.equal(answer.status, 403);
  assert.match(words(answer.text), /Somebody else signed in/);
  assert.match((await send(requester, `/grants/${grant}/reveal`)).text, asked, 'and the key still waits for the right one');
  await end(requester, grant);
});

test('approvals in several windows at once each serve their own request', { timeout: 900_000 }, async () => {
  const [requester, approver] = await Promise.all(['oncall', 'approver'].map((one) => Actor.signedIn(world, one)));
  const begun = [];
  for (let n = 0; n < 2; n += 1) {
    const request = await requester.ask();
    const page = await approver.open(`/requests/${request}`);
    begun.push({ request, step: await approver.browser.request(`${world.url}/requests/${request}/approve`, {
      form: { csrf: csrfOf(page), hash: /name="hash" value="([^"]+)"/.exec(page.text)[1], minutes: '15' } }) });
  }
  const [first, second] = begun;
  const state = async (request) => /data-state="([a-z]+)"/.exec((await requester.open(`/requests/${request}`)).text)[1];
  await answerWho(approver.browser, await approver.browser.follow(second.step), 'approver');
  assert.deepEqual([await state(first.request), await state(second.request)], ['pending', 'approved']);
  await answerWho(approver.browser, await approver.browser.follow(first.step), 'approver');
  assert.equal(await state(first.request), 'approved');
  // The same round trip once more decides nothing more.
  const again = await answerWho(approver.browser, await approver.browser.follow(first.step), 'approver');
  assert.ok(again.status >= 400, words(again.text));
  for (const { request } of begun) await end(requester, await requester.grantOf(request));
});

test('an approval begun in a session that became somebody else\'s is nobody\'s', { timeout: 900_000 }, async () => {
  const [requester, approver] = await Promise.all(['oncall', 'approver'].map((one) => Actor.signedIn(world, one)));
  const request = await requester.ask();
  const page = await approver.open(`/requests/${request}`);
  const step = await approver.browser.request(`${world.url}/requests/${request}/approve`, { form: { csrf: csrfOf(page), hash: /name="hash" value="([^"]+)"/.exec(page.text)[1], minutes: '15' } });
  await send(approver, '/sign-out');
  const answer = await answerWho(approver.browser, await approver.browser.follow(step), 'approver');
  assert.ok(answer.status >= 400, `${answer.status} ${words(answer.text)}`);
  await sleep(200);
  assert.match((await requester.open(`/requests/${request}`)).text, /data-state="pending"/);
  await requester.press(`/requests/${request}/withdraw`);
});
