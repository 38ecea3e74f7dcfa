// Forms that did not come from a page of ours, on every route that takes one.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Actor, words } from '../world/actor.mjs';
import { startBroker } from '../world/broker.mjs';
import { connect } from '../world/client.mjs';
import { routes } from '../world/routes.mjs';

const world = connect();
const own = new URL(world.url).origin;
const nowhere = '0199a3f0-7c3b-7d52-8a51-2f6ad1b0c9e4';
const forms = routes().filter(({ method, path }) => method !== 'GET' && !path.startsWith('/hooks/'))
  .map(({ method, path }) => ({ method, path, url: world.url + path.replace(/\{\w+\}/g, nowhere) }));
const notOurs = /did not come from a page of this service/;
const otherSession = /belongs to an earlier session/;

let broker;
let actor;
let csrf;
const tokenOf = async (one) => /name="csrf" value="([^"]+)"/.exec((await one.open('/')).text)[1];
before(async () => {
  broker = await startBroker({ config: world.broker.config });
  actor = await Actor.signedIn(world, 'compliance');
  csrf = await tokenOf(actor);
});
after(() => broker?.stop());

const send = (form, fields, headers) => actor.browser.request(form.url, { method: form.method, form: fields, headers });

test('every form is a POST, and one sent as our own pages send it reaches its handler', async () => {
  assert.ok(forms.length >= 18, `only ${forms.length} forms were found`);
  for (const form of forms) {
    assert.equal(form.method, 'POST', form.path);
    if (form.path === '/sign-out') continue; // it would work
    for (const headers of [{}, { origin: 'null', 'sec-fetch-site': 'same-origin' }, { origin: null, 'sec-fetch-site': 'same-origin' }]) {
      const answer = await send(form, { csrf }, headers);
      assert.doesNotMatch(words(answer.text), notOurs, form.path);
      assert.doesNotMatch(words(answer.text), otherSession, form.path);
    }
  }
});

test('a form from elsewhere, or from nowhere, is refused on every route', async () => {
  const strangers = {
    'no word of where it came from': { origin: null },
    'an opaque origin': { origin: 'null' },
    'another site': { origin: 'https://evil.example' },
    'our name as a prefix': { origin: `${own}.evil.example` },
    'our host by another scheme': { origin: own.replace('http:', 'https:') },
    'our host by another port': { origin: 'http://127.0.0.1:1' },
    'our origin with a path': { origin: `${own}/` },
    'our origin in capitals': { origin: own.toUpperCase() },
    'another site that says it is us': { origin: 'https://evil.example', 'sec-fetch-site': 'same-origin' },
    'us, as another site says': { origin: own, 'sec-fetch-site': 'cross-site' },
    'a neighbour of ours': { origin: own, 'sec-fetch-site': 'same-site' },
    'typed by hand': { origin: null, 'sec-fetch-site': 'none' },
    'two origins': { origin: [own, 'https://evil.example'] },
    'twice said': { origin: null, 'sec-fetch-site': ['same-origin', 'cross-site'] },
  };
  let tried = 0;
  for (const form of forms) {
    for (const [who, headers] of Object.entries(strangers)) {
      const answer = await send(form, { csrf }, headers);
      assert.equal(answer.status, 403, `${form.path}: ${who}`);
      assert.match(words(answer.text), notOurs, `${form.path}: ${who}`);
      tried += 1;
    }
  }
  assert.equal((await actor.open('/')).status, 200, 'nothing was done, signing out included');
  console.log(`# forms from elsewhere tried: ${tried}`);
});

test('a form without the session\'s own token is refused on every route', async () => {
  const somebody = await tokenOf(await Actor.signedIn(world, 'auditor'));
  const tokens = { none: [], empty: [['csrf', '']], wrong: [['csrf', '0'.repeat(64)]], 'somebody else\'s': [['csrf', somebody]], 'cut short': [['csrf', csrf.slice(0, -1)]], 'in capitals': [['csrf', csrf.toUpperCase()]], 'the right one second': [['csrf', 'x'], ['csrf', csrf]] };
  for (const form of forms) {
    for (const [which, fields] of Object.entries(tokens)) {
      const answer = await send(form, [...fields, ['reason', 'x']]);
      assert.equal(answer.status, 403, `${form.path}: ${which}`);
      assert.match(words(answer.text), otherSession, `${form.path}: ${which}`);
    }
  }
  assert.equal((await actor.open('/')).status, 200);
});

test('a token that was in a page before signing in anew opens nothing', async () => {
  const one = await Actor.signedIn(world, 'auditor');
  const before = await tokenOf(one);
  await one.press('/sign-out');
  await one.open('/sign-in');
  const after = await tokenOf(one);
  assert.notEqual(after, before);
  const answer = await one.browser.request(`${world.url}/zone`, { form: { csrf: before, tz: 'Europe/Berlin' } });
  assert.equal(answer.status, 403);
});

test('a form that is too large or never ends is not kept', async () => {
  const form = forms.find(({ path }) => path === '/requests/preview');
  const large = await send(form, { csrf, reason: 'x'.repeat(1 << 20) });
  assert.equal(large.status, 400, words(large.text));
  assert.match(words(large.text), /larger than 64 KiB/);
});

test('a text that is too long is refused in words on every route, and comes back', async () => {
  const typed = `${'long '.repeat(500)}and ends here`;
  for (const form of forms) {
    for (const field of ['note', 'incident', 'commit', ...(/^\/requests(\/preview)?$/.test(form.path) ? [] : ['reason'])]) {
      const answer = await send(form, { csrf, [field]: typed });
      assert.equal(answer.status, 422, `${form.path}: ${field}`);
      assert.match(words(answer.text), /is 2513 characters long; keep it under 2000/i, form.path);
      assert.ok(answer.text.includes(`${typed}</textarea>`), `${form.path}: what was typed is lost`);
    }
  }
  assert.equal((await actor.open('/')).status, 200, 'nothing was done, signing out included');
});

test('nothing but a POST changes anything: a GET to a form\'s address is no page', async () => {
  const shown = new Set(routes().filter(({ method }) => method === 'GET').map(({ path }) => path));
  for (const form of forms.filter(({ path }) => !shown.has(path))) {
    for (const method of ['GET', 'HEAD', 'PUT', 'DELETE', 'PATCH']) {
      const answer = await actor.browser.request(form.url, { method });
      assert.ok([404, 405].includes(answer.status), `${method} ${form.path}: ${answer.status}`);
    }
  }
});
