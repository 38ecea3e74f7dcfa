// The test sign-in itself: that it keeps its word across restarts, and that its pages need nothing
// but HTML. Run with `node --test tests/world/signin.test.mjs`.

import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Browser, asksWho, signIn } from './http.mjs';
import { awkward, people } from './people.mjs';
import { startSignIn, testClient } from './signin.mjs';

const dir = mkdtempSync(join(tmpdir(), 'signin-'));
const verifier = randomBytes(32).toString('base64url');
const [back] = testClient.redirect_uris;
const until = (address) => address.startsWith(new URL(back).origin);
let provider = await startSignIn({ dir, control: true });
after(async () => {
  await provider.stop();
  rmSync(dir, { recursive: true });
});

const authorize = (extra = {}) => `${provider.issuer}/auth?${new URLSearchParams({
  client_id: testClient.client_id, redirect_uri: back, response_type: 'code', scope: 'openid profile email groups',
  state: 's', nonce: 'n', code_challenge: createHash('sha256').update(verifier).digest('base64url'),
  code_challenge_method: 'S256', ...extra,
})}`;

/** Signs in and returns the ID token's claims, or the error that came back. */
async function claims(browser, person, extra) {
  const answer = await signIn(browser, authorize(extra), person, { until });
  const came = new URL(answer.stoppedAt).searchParams;
  if (came.get('error')) return { error: came.get('error') };
  const given = await browser.request(`${provider.issuer}/token`, {
    form: { grant_type: 'authorization_code', code: came.get('code'), redirect_uri: back, code_verifier: verifier },
    headers: {
      origin: null,
      authorization: `Basic ${Buffer.from(`${testClient.client_id}:${testClient.client_secret}`).toString('base64')}`,
    },
  });
  return JSON.parse(Buffer.from(given.json().id_token.split('.')[1], 'base64url').toString('utf8'));
}

test('everybody of the cast can sign in with one press', async () => {
  for (const person of [...people, ...awkward]) {
    const found = await claims(new Browser(), person.id);
    assert.equal(found.sub, person.id);
    assert.equal(found.employee_id, person.claims.employee_id);
    assert.deepEqual(found.groups, person.claims.groups);
  }
});

test('a restart keeps the sessions, the address and the key; a new key leaves the sessions alone', async () => {
  const browser = new Browser();
  const first = await claims(browser, 'oncall');
  const [{ kid }] = provider.keys.public;
  const { issuer } = provider;
  await provider.stop();
  await assert.rejects(browser.request(`${issuer}/jwks`), /ECONNREFUSED/);
  provider = await startSignIn({ dir, control: true });
  assert.equal(provider.issuer, issuer);
  assert.equal(provider.keys.public[0].kid, kid);
  const second = await claims(browser, 'oncall', { prompt: 'none' });
  assert.equal(second.auth_time, first.auth_time);
  provider.keys.rotate();
  assert.notEqual(provider.keys.public[0].kid, kid);
  assert.equal((await claims(browser, 'oncall', { prompt: 'none' })).auth_time, first.auth_time);
});

test('prompt=none without a session asks nobody', async () => {
  assert.deepEqual(await claims(new Browser(), 'oncall', { prompt: 'none' }), { error: 'login_required' });
});

test('somebody else at the same browser takes over', async () => {
  const browser = new Browser();
  await claims(browser, 'oncall');
  assert.equal((await claims(browser, 'approver', { prompt: 'login' })).sub, 'approver');
  assert.equal((await claims(browser, 'nobody-is-asked', { prompt: 'none' })).sub, 'approver');
});

test('the page is plain HTML under a policy that allows nothing else', async () => {
  const page = await new Browser().get(authorize());
  assert.ok(asksWho(page));
  assert.match(page.headers['content-security-policy'], /^default-src 'none'; style-src 'self'; form-action 'self' http:\/\/127\.0\.0\.1:9;/);
  assert.doesNotMatch(page.text, /<script|<style|\sstyle=|\son\w+=/i);
  for (const person of people) assert.match(page.text, new RegExp(`<button type="submit" name="person" value="${person.id}">`));
});

test('a sign-in belongs to its browser and to the people it knows', async () => {
  const browser = new Browser();
  const page = await browser.get(authorize());
  const stolen = await new Browser().request(page.url, { form: { person: 'oncall' } });
  assert.equal(stolen.status, 400);
  const unknown = await browser.request(page.url, { form: { person: '<script>' } });
  assert.equal(unknown.status, 400);
  assert.doesNotMatch(unknown.text, /<script>/);
});

test('faults are named or refused', async () => {
  assert.throws(() => provider.setFaults({ token: 'nonsense' }), /must be one of/);
  const bad = await new Browser().request(`${provider.issuer}/control/faults`, { body: '{"wire":"nonsense"}' });
  assert.equal(bad.status, 400);
  provider.setFaults({ wire: 'reset', only: ['/jwks'] });
  await assert.rejects(new Browser().request(`${provider.issuer}/jwks`), /ECONNRESET|socket hang up/);
  assert.equal((await new Browser().request(`${provider.issuer}/.well-known/openid-configuration`)).status, 200);
  provider.setFaults({});
});
