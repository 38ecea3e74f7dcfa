// An old copy of the store is put back in its place. By itself it is whole; against a checkpoint that was kept elsewhere
// it is not, also when the log has grown past that again; and the witness, who saw more, makes the broker say it itself.

import assert from 'node:assert/strict';
import { cpSync, existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Actor } from '../world/actor.mjs';
import { until } from '../world/children.mjs';
import { connect } from '../world/client.mjs';
import { publicKey } from './crash_tools.mjs';
import { batch, recorder, sizeOf, witness } from './record_tools.mjs';

const world = connect();
let own;
let honest;

before(async () => {
  own = recorder(world, 'rolled-back');
  const logKey = await publicKey({ broker: own });
  honest = await witness('honest', { logKey, log: join(own.dir, 'honest.log') });
  own.configure((all) => { all.ledger.witnesses = { honest: { url: honest.url, key: honest.key } }; });
  await own.start();
});
after(async () => {
  await own?.end();
  await honest?.stop();
});

const sends = async (name, times) => {
  for (let n = 0; n < times; n += 1) assert.equal(await own.send(batch(`${name}${n}`)), 200);
};
/** The files of the store, copied from one folder to the other. */
const copy = (from, to) => {
  for (const end of ['', '-wal', '-shm']) {
    rmSync(`${to}${end}`, { force: true });
    if (existsSync(`${from}${end}`)) cpSync(`${from}${end}`, `${to}${end}`);
  }
};

test('an old copy of the store that is put back is found against a checkpoint held elsewhere, and by the broker', async (t) => {
  await sends('early', 5);
  await own.broker.stop();
  const old = join(own.dir, 'old.db');
  copy(own.store, old);
  await own.start();
  await sends('later', 30);
  const held = await until('a countersigned checkpoint of all of it', async () => {
    const note = await own.checkpoint();
    return note.includes('— honest.example.test ') && sizeOf(note) > 30 * 25 && note;
  }, { every: 500 });
  await own.broker.stop();
  assert.equal((await own.verify({ against: [held] })).status, 0);

  copy(old, own.store);
  const alone = await own.verify();
  assert.equal(alone.status, 0, `it is whole by itself: ${alone.text}`);
  const back = await own.verify({ against: [held] });
  assert.equal(back.status, 1, back.text);
  assert.match(back.text, new RegExp(`rollback: the log was rolled back .* of size ${sizeOf(held)}`));

  await own.start();
  const [auditor, compliance] = [await Actor.signedIn(world, 'auditor'), await Actor.signedIn(world, 'compliance')];
  const words = `it has countersigned ${sizeOf(held)} entries, and this log has \\d+: the store was rolled back`;
  await auditor.sees('/ledger', new RegExp(words));
  await compliance.sees('/feed', new RegExp(`The witness honest does not countersign checkpoints: ${words}`));

  // It grows past what was seen: no rollback any more, but another past.
  await sends('anew', 40);
  const forked = await own.verify({ against: [held] });
  assert.equal(forked.status, 1, forked.text);
  assert.match(forked.text, new RegExp(`fork: the log was forked: at size ${sizeOf(held)} there are two heads`));
  await auditor.sees('/ledger', new RegExp(`Witness honest .*this log does not extend the one of ${sizeOf(held)} entries that it saw`));
  t.diagnostic('tried: 1 faults of the record');
});
