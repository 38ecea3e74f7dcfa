// Overlapping grants of one person, in any order of reveals, extensions, ends, crashes, late and repeated audit, and
// while the broker's clock is moved, never cut one another, and none lasts longer than its time.
// Random histories on the real cluster; BREAKGLASS_SEED=N plays one again.

import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startBroker } from '../world/broker.mjs';
import { until } from '../world/children.mjs';
import { connect } from '../world/client.mjs';
import { ear, publicKey } from './crash_tools.mjs';
import { Emergency } from './emergency.mjs';
import { storeFacts } from './facts.mjs';
import { assertWhole } from './whole.mjs';

const world = connect();
const seed = Number(process.env.BREAKGLASS_SEED ?? randomInt(2 ** 31));
const histories = 2;
const steps = 8;
let broker;
let listening;

const clockFile = join(world.broker.dir, 'clock-step');
/** Sets the broker's clock wrong by so many seconds; 0 puts it right. */
const moveClock = (seconds) => writeFileSync(clockFile, String(Math.round(seconds)));
/** What a key's end may be late by: the worker looks each second, and taking it away takes a moment. */
const slack = 4_000;

before(async () => {
  rmSync(clockFile, { force: true });
  broker = await startBroker({ config: world.broker.config, env: { CLOCK_STEP: clockFile } });
  world.ledgerKey = await publicKey(world);
  listening = await ear(world);
});
after(async () => {
  await world.tap.clear('broker');
  rmSync(clockFile, { force: true });
  await listening?.close();
  await broker?.stop();
});

/** Mulberry32: small, and the same on every machine. */
function generator(from) {
  let state = from >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

/** What the API server answers to a key: alive, forbidden or dead. */
async function answer(file) {
  const { status, stderr } = await world.kubectl(['-n', 'payments', 'get', 'configmaps', '--request-timeout=10s'], { kubeconfig: file, anyStatus: true });
  if (status === 0) return 'alive';
  if (/Forbidden/.test(stderr)) return 'forbidden';
  if (/Unauthorized|must be logged in|provide credentials/.test(stderr)) return 'dead';
  throw new Error(`unclear: ${stderr}`);
}

const grantsInStore = async () => new Map(((await storeFacts(join(world.broker.dir, 'breakglass.db'))).tables.grants ?? []).map((row) => [row.id, row.document]));

/** One history over up to three grants of the on-call engineer. */
class History {
  constructor(number) {
    this.random = generator(seed + number);
    this.number = number;
    this.grants = [];
    this.said = [];
  }

  get live() { return this.grants.filter((one) => !one.over); }

  pick(list) { return list[this.random(list.length)]; }

  /** The next step: one of those that can be done now. */
  next() {
    const can = ['kill', 'late', 'repeated'];
    if (this.live.length < 3 && this.grants.length < 4) can.push('open', 'open', 'open');
    if (this.live.length) can.push('reveal', 'extend', 'shorten', 'end', 'end', 'back');
    return this.pick(this.live.length < 2 && this.grants.length < 4 ? ['open'] : can);
  }

  async open() {
    const one = new Emergency(world, { tag: `INC-overlap-${seed}-${this.number}-${this.grants.length}` });
    await one.filed({ minutes: 15 });
    await one.approved();
    await one.is('ready');
    await one.key();
    this.grants.push(Object.assign(one, { number: this.grants.length }));
    return one;
  }

  /** A new key; the one before it dies, and no other grant's. */
  async reveal(one) {
    one.old = [...one.old ?? [], one.keys.at(-1).file];
    await one.key();
  }

  async extend(one) {
    const longer = new Emergency(world, { tag: `${one.tag}-longer-${this.said.length}` });
    await longer.filed({ minutes: 15, extends: one.grant });
    await longer.approved();
    rmSync(longer.dir, { recursive: true, force: true });
    one.extended = true;
  }

  async shorten(one) {
    const minutes = 5 + this.random(5);
    await one.tough('shorter', async () => {
      await one.page('oncall', `/grants/${one.grant}`);
      const page = await (await one.person('oncall')).press(`/grants/${one.grant}/shorten`, { minutes: String(minutes) });
      return page.status < 500;
    });
    one.shortened = true;
  }

  async end(one) {
    await one.done();
    one.over = true;
  }

  async kill() {
    await broker.kill9();
    await broker.restart();
  }

  /** Audit comes later than anything it is about. */
  async late() {
    await world.tap.clear('broker');
    await world.tap.delay('broker', 2_500);
  }

  /** Audit comes twice. */
  async repeated() {
    await world.tap.clear('broker');
    await world.tap.repeat('broker', 1);
  }

  /** The clock is set back an hour, and put right again: people could not sign in anew meanwhile. */
  async back() {
    const before = await grantsInStore();
    moveClock(-3600);
    await sleep(1_500);
    await this.check(before);
    moveClock(0);
  }

  async step() {
    const what = this.next();
    const one = ['open', 'kill', 'late', 'repeated', 'back'].includes(what) ? undefined : this.pick(this.live);
    const before = await grantsInStore();
    // A kill in the middle of a step now and then: the step is gone on with.
    const cut = !['kill', 'back'].includes(what) && this.random(4) === 0 ? this.kill() : undefined;
    this.said.push(`${what}${one ? ` ${one.number}` : ''}${cut ? ' during a kill' : ''}`);
    const made = await Promise.all([this[what](one), cut]).then(([first]) => first);
    await this.check(before, one ?? made);
  }

  get words() { return `seed ${seed}, history ${this.number}: ${this.said.join(', ')}`; }

  /** Each grant that should live does, each that ended is refused; only the one stepped on has another end. */
  async check(before, touched) {
    const after = await grantsInStore();
    for (const one of this.grants) {
      const file = one.keys.at(-1).file;
      if (one.over) await until(`${this.words}: grant ${one.number} refused`, async () => await answer(file) !== 'alive', { ms: 5_000 });
      else assert.equal(await answer(file), 'alive', `${this.words}: grant ${one.number} was cut`);
      for (const old of one.old ?? []) await until(`${this.words}: an old key of grant ${one.number} dead`, async () => await answer(old) !== 'alive', { ms: 15_000 });
      if (one !== touched && before.has(one.grant)) {
        assert.equal(after.get(one.grant).ends_at, before.get(one.grant).ends_at, `${this.words}: the end of grant ${one.number} moved`);
      }
    }
  }
}

for (let number = 0; number < histories; number += 1) {
  test(`overlapping grants of one person do not cut one another: history ${number} of seed ${seed}`, async (t) => {
    const history = new History(number);
    try {
      for (let n = 0; n < steps; n += 1) await history.step();
      for (const one of history.live) {
        const before = await grantsInStore();
        await history.end(one);
        await history.check(before, one);
      }
      await Promise.all(history.grants.map((one) => one.is('ended')));
      await assertWhole(world, { keys: history.grants.flatMap((one) => one.keys) });
    } finally {
      t.diagnostic(history.words);
      for (const one of history.grants) rmSync(one.dir, { recursive: true, force: true });
    }
  });
}

/** A grant with its key, and what the test is to do with it at the end. */
async function lent(t, tag) {
  const one = new Emergency(world, { tag: `INC-clock-${tag}-${seed}` });
  t.after(() => rmSync(one.dir, { recursive: true, force: true }));
  await one.filed({ minutes: 15 });
  await one.approved();
  await one.is('ready');
  await one.key();
  return one;
}

const endOf = async (one) => Date.parse((await grantsInStore()).get(one.grant).ends_at);

/** Polls the real key until it is refused: when, in ms since the epoch. */
async function refusedAt(one, ms) {
  await until('the key refused', async () => await answer(one.keys.at(-1).file) !== 'alive', { ms, every: 200 });
  return Date.now();
}

/** The clock is set back an hour shortly before the end of an access; the broker `dies` and starts again, or not. */
async function setBack(t, dies) {
  await world.tap.clear('broker');
  const one = await lent(t, dies ? 'killed' : 'runs');
  const left = 12_000;
  const forward = (await endOf(one) - Date.now() - left) / 1000;
  moveClock(forward);
  const end = Date.now() + left;
  await sleep(2_500);
  assert.equal(await answer(one.keys[0].file), 'alive', 'it is not over yet');
  moveClock(forward - 3600);
  if (dies) {
    await broker.kill9();
    await broker.restart();
  }
  const late = await refusedAt(one, 60_000) - end;
  t.diagnostic(`refused ${late} ms after its time`);
  // Nobody takes anything away while no broker runs: it then does so as soon as one does.
  assert.ok(late < slack + (dies ? 20_000 : 0), `the access lived ${late} ms too long`);
  moveClock(0);
  await broker.restart();
  await one.is('ended');
  await assertWhole(world, { keys: one.keys });
}

test('the clock going back an hour does not lengthen an access', (t) => setBack(t, false));

test('nor does it where the broker dies and starts again meanwhile', (t) => setBack(t, true));

test('the clock going forward an hour ends what is over by it, and what is lent afterwards is not longer', async (t) => {
  await world.tap.clear('broker');
  const first = await lent(t, 'first');
  moveClock(3600);
  await refusedAt(first, 15_000);
  moveClock(0);
  // The time told goes on an hour ahead; signing in goes by the clock that is right again.
  const one = await lent(t, 'second');
  assert.ok(await endOf(one) > Date.now() + 60 * 60_000, 'told by a time that is ahead');
  // Started again, the broker's clock is right, and the end comes as much earlier.
  await broker.restart();
  const left = await endOf(one) - Date.now();
  t.diagnostic(`${Math.round(left / 1000)} s left of 15 min`);
  assert.ok(left > 9 * 60_000 && left <= 15 * 60_000, `${left} ms left`);
  assert.equal(await answer(one.keys[0].file), 'alive', 'it goes on');
  await one.key();
  assert.match(await one.page('compliance', '/feed'), /clock of this machine was set back/);
  await one.done();
  await Promise.all([first, one].map((each) => each.is('ended')));
  await assertWhole(world, { keys: [...first.keys, ...one.keys] });
});
