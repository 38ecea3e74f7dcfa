// kill -9 at 50 random moments under full intake. Every batch that was acknowledged is in the ledger, once; what was not
// is there once or not at all; and the log extends each checkpoint that was seen outside before a kill.
// BREAKGLASS_SEED=N plays the same moments again.

import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '../world/children.mjs';
import { connect } from '../world/client.mjs';
import { batch, generator, recorder, sizeOf } from './record_tools.mjs';

const world = connect();
const seed = Number(process.env.BREAKGLASS_SEED ?? randomInt(2 ** 31));
const kills = 50;
const senders = 8;
const events = 20;
let own;

before(async () => {
  own = recorder(world, 'killed');
  await own.start();
});
after(() => own?.end());

test('kill -9 at 50 random moments under full intake loses nothing that was acknowledged and enters nothing twice', { timeout: 1_200_000 }, async (t) => {
  t.diagnostic(`BREAKGLASS_SEED=${seed}`);
  // One for the moments alone, so that they are the same ones again.
  const [moment, chance] = [generator(seed), generator(seed + 1)];
  const acknowledged = new Set();
  const sent = [];
  let over = false;
  /** One API server's sender: each batch again until it is taken, or given up as by one that was itself ended. */
  const sender = async () => {
    while (!over) {
      const name = `k${sent.length}`;
      sent.push(name);
      const body = batch(name, events);
      for (;;) {
        const running = own.broker.running;
        if (running && await own.send(body) === 200) {
          acknowledged.add(name);
          break;
        }
        if (over || (running && chance(20) === 0)) break;
        await sleep(20);
      }
    }
  };
  const seen = [];
  const watcher = async () => {
    while (!over) {
      const note = await own.checkpoint().catch(() => undefined);
      if (note) seen.push(note);
      await sleep(20);
    }
  };
  const working = [...Array.from({ length: senders }, sender), watcher()];
  const outside = [];
  const whole = async () => {
    const said = await own.verify({ against: outside });
    assert.equal(said.status, 0, `BREAKGLASS_SEED=${seed} ${said.text}`);
    assert.match(said.text, /integrity: whole/);
  };
  try {
    for (let n = 1; n <= kills; n += 1) {
      const [had, shown] = [acknowledged.size, seen.length];
      await until('intake', () => acknowledged.size > had && seen.length > shown, { every: 5 });
      await sleep(moment(400));
      await own.broker.kill9();
      outside.push(seen.at(-1));
      if (n % 10 === 0) await whole();
      await own.broker.restart();
      assert.ok(sizeOf(await own.checkpoint()) >= sizeOf(outside.at(-1)), 'the next checkpoint is of no fewer entries');
    }
  } finally {
    over = true;
    await Promise.all(working);
  }
  outside.push(await own.checkpoint());
  await whole();
  const entered = await own.entered();
  const wrong = [];
  for (const name of sent) {
    const times = Array.from({ length: events }, (_, n) => entered.get(`${name}-${n}`) ?? 0);
    const right = acknowledged.has(name) ? times.every((one) => one === 1) : times.every((one) => one === times[0] && one <= 1);
    if (!right) wrong.push(`${name}, ${acknowledged.has(name) ? 'acknowledged' : 'not acknowledged'}: ${times.join(' ')}`);
  }
  assert.deepEqual(wrong, [], `BREAKGLASS_SEED=${seed}`);
  t.diagnostic(`${acknowledged.size} of ${sent.length} batches acknowledged, ${new Set(outside.map(sizeOf)).size} different checkpoints held`);
  t.diagnostic(`tried: ${kills} kills under intake`);
});
