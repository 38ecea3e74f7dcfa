// The disk of the store is full. Access is taken away all the same, at the deadline and by "I am done"; nothing new is
// taken; and when there is room again the entries say what was done, and when.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { words } from '../world/actor.mjs';
import { run, until } from '../world/children.mjs';
import { connect } from '../world/client.mjs';
import { apart } from './apart.mjs';
import { Emergency } from './emergency.mjs';
import { storeFacts } from './facts.mjs';
import { assertWhole } from './whole.mjs';

const shared = connect();
const disk = join(shared.dir, `full-${process.pid}`);
const filler = join(disk, 'filler');
const emergencies = [];
let own;

const emergency = (name) => {
  const one = new Emergency(own.world, { tag: `INC-full-${name}`, target: 'full-a' });
  emergencies.push(one);
  return one;
};

before(async () => {
  mkdirSync(disk, { recursive: true });
  await run(['mount', '-t', 'tmpfs', '-o', 'size=64m,mode=0700', 'tmpfs', disk]);
  own = await apart(shared, { name: 'full', targets: ['full-a'], store: disk });
});
after(async () => {
  await own?.stop();
  await run(['umount', disk], { anyStatus: true });
  rmSync(disk, { recursive: true, force: true });
  for (const one of emergencies) rmSync(one.dir, { recursive: true, force: true });
});

/** Takes every byte of the disk, and what SQLite has set aside in its own log: until not even a small entry fits. */
async function fill() {
  const file = openSync(filler, 'w');
  for (let size = 1 << 20; size >= 1;) {
    try {
      if (writeSync(file, Buffer.alloc(size)) < size) size >>= 1;
    } catch (error) {
      if (error.code !== 'ENOSPC') throw error;
      size >>= 1;
    }
  }
  closeSync(file);
  for (let size = 256 * 1024; size > 200;) {
    const body = JSON.stringify({ kind: 'EventList', items: [{ level: 7, unreadable: randomBytes(size).toString('base64') }] });
    const { status } = await fetch(`${own.world.url}${own.world.broker.auditPath}`, { method: 'POST', body, headers: { authorization: `Bearer ${own.world.broker.auditToken}`, 'content-type': 'application/json' } });
    if (status >= 500) size = Math.floor(size / 2);
    else assert.ok(status < 300, `${status}`);
  }
}

/** What the API server says to a key. */
async function answer(one) {
  const { status, stderr } = await one.kubectl('-n', 'payments', 'get', 'configmaps', '--request-timeout=10s');
  if (status === 0) return 'alive';
  if (/Forbidden/.test(stderr)) return 'refused';
  if (/Unauthorized|must be logged in|provide credentials/.test(stderr)) return 'dead';
  throw new Error(stderr);
}

const dies = async (one) => {
  await until('the next request to be refused', async () => await answer(one) !== 'alive', { ms: 5_000 });
  const refused = Date.now();
  await until('the key to be dead', async () => await answer(one) === 'dead', { ms: 20_000 });
  return refused;
};

test('with the disk full a key dies at the deadline and when its holder is done, nothing new is taken, and it is written down later', async (t) => {
  const [ended, overdue, unrevealed, pending] = ['done', 'deadline', 'ready', 'pending'].map(emergency);
  for (const one of [ended, overdue]) {
    await one.filed();
    await one.approved();
    await one.key();
  }
  await unrevealed.filed();
  await unrevealed.approved();
  await unrevealed.is('ready');
  await pending.filed();
  const oncall = await ended.person('oncall');
  const approver = await pending.person('approver');
  const grantOf = async (one) => ended.page('oncall', `/grants/${one.grant}`);
  const entriesBefore = (await storeFacts(join(disk, 'breakglass.db'))).entries.length;

  await fill();
  const full = Date.now();
  await until('every page to say it', async () => /The store cannot be written since .{0,40}(\d:\d\d|ago|now).*full.* Nothing new is taken/.test(words((await oncall.open('/')).text)));

  // Nothing new is taken, and each page says why.
  const refusedWith = (page, what) => {
    assert.equal(page.status, 503, `${what}: ${page.status} ${words(page.text).slice(0, 400)}`);
    assert.match(words(page.text), /store of this service cannot be used now/, what);
  };
  await oncall.open('/requests/new');
  const asked = oncall.ask({ incident: 'INC-full-new' });
  await assert.rejects(asked, /not filed \(503\).*store of this service cannot be used now/);
  await pending.page('approver', `/requests/${pending.request}`);
  refusedWith(await approver.approve(pending.request), 'an approval');
  await ended.page('oncall', `/grants/${unrevealed.grant}`);
  const reveal = words((await oncall.press(`/grants/${unrevealed.grant}/reveal`)).text);
  assert.match(reveal, /No key was shown.*store of this service cannot be used now/);
  assert.doesNotMatch(reveal, /apiVersion/);

  // "I am done": the key dies at once, and the page says what is so.
  const pressed = Date.now();
  await ended.page('oncall', `/grants/${ended.grant}`);
  const page = await oncall.press(`/grants/${ended.grant}/done`);
  assert.equal(page.status, 200, words(page.text).slice(0, 400));
  assert.match(words(page.text), /being taken away/);
  const refused = await dies(ended);
  t.diagnostic(`refused ${refused - pressed} ms after "I am done"`);
  assert.match(words(await grantOf(ended)), /This end is not written down yet.*Every further request is refused since.*are gone since/);

  // The deadline.
  assert.equal(await answer(overdue), 'alive');
  own.step(31 * 60);
  const deadline = Date.now();
  const over = await dies(overdue);
  t.diagnostic(`refused ${over - deadline} ms after the deadline`);
  const dead = Date.now();

  const during = await storeFacts(join(disk, 'breakglass.db'));
  const states = Object.fromEntries(during.tables.grants.map(({ document }) => [document.id, document.state]));
  assert.deepEqual([states[ended.grant], states[overdue.grant]], ['active', 'active'], 'nothing of it could be written');
  assert.equal(during.tables.requests.length, 4, 'no new request');

  rmSync(filler);
  const room = Date.now();
  await Promise.all([ended.is('ended'), overdue.is('ended')]);
  const { entries } = await storeFacts(join(disk, 'breakglass.db'));
  assert.ok(entries.length > entriesBefore);
  // The clock of the broker went 31 minutes ahead in between.
  const ahead = 31 * 60_000;
  for (const [one, from, to] of [[ended, pressed, dead], [overdue, deadline + ahead, dead + ahead]]) {
    for (const kind of ['grant-ending', 'access-refused', 'credential-removed']) {
      const found = entries.filter((entry) => entry.kind === kind && entry.payload.about.grant === one.grant);
      assert.equal(found.length, 1, `${kind} of ${one.tag}: ${found.length} times`);
      const at = found[0].at;
      assert.ok(at >= from - 2_000 && at <= to + 2_000, `${kind} of ${one.tag} at ${new Date(at).toISOString()}, not between ${new Date(from).toISOString()} and ${new Date(to).toISOString()}`);
    }
  }
  assert.ok(room - full > 0);
  assert.doesNotMatch(words((await oncall.open('/')).text), /cannot be written/);
  own.step(70);
  await Promise.all([ended, overdue].map((one) => one.follows('no-drift')));
  await assertWhole(own.world, { keys: [ended, overdue].flatMap((one) => one.keys), actors: [oncall, approver] });
});
