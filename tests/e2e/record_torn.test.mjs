// Bytes of the store are torn: in a segment, and in what SQLite has not brought into its file yet. `verify` names it, the
// broker says it by itself, and hands out nothing of it as if it were whole.

import assert from 'node:assert/strict';
import { openSync, closeSync, readFileSync, statSync, truncateSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Actor } from '../world/actor.mjs';
import { until } from '../world/children.mjs';
import { connect } from '../world/client.mjs';
import { publicKey } from './crash_tools.mjs';
import { batch, recorder, sizeOf, witness } from './record_tools.mjs';

const world = connect();
const page = 4096;
let own;
let honest;

before(async () => {
  own = recorder(world, 'torn');
  const logKey = await publicKey({ broker: own });
  honest = await witness('honest', { logKey, log: join(own.dir, 'honest.log') });
  own.configure((all) => { all.ledger.witnesses = { honest: { url: honest.url, key: honest.key } }; });
  await own.start();
});
after(async () => {
  await own?.end();
  await honest?.stop();
});

const sends = async (name, times, count) => {
  for (let n = 0; n < times; n += 1) assert.equal(await own.send(batch(`${name}${n}`, count)), 200);
};

/** The segments that lie whole on one page of the store's file: where their bodies are, by the index of their first entry. */
function bodies(bytes) {
  const found = new Map();
  for (let at = bytes.indexOf('BGSG'); at >= 0; at = bytes.indexOf('BGSG', at + 4)) {
    const [first, count] = [Number(bytes.readBigUInt64BE(at + 8)), bytes.readUInt32BE(at + 16)];
    const body = at + 28 + 32 * count + 16;
    if (count > 1 && Math.floor(at / page) === Math.floor((body + 64) / page)) found.set(first, [...found.get(first) ?? [], body]);
  }
  return found;
}

test('a torn write-ahead file is a rollback, found against what was seen outside, and by the witness', async (t) => {
  await sends('b', 2);
  await own.broker.kill9();
  await own.start();
  await sends('c', 20);
  const held = await until('all of it to be countersigned', async () => {
    const note = await own.checkpoint();
    return note.includes('— honest.example.test ') && sizeOf(note) > 500 && note;
  }, { every: 500 });
  await own.broker.kill9();
  const ahead = `${own.store}-wal`;
  truncateSync(ahead, Math.floor(statSync(ahead).size / 3));
  const alone = await own.verify();
  assert.equal(alone.status, 0, `what is left is whole by itself: ${alone.text}`);
  const said = await own.verify({ against: [held] });
  assert.equal(said.status, 1, said.text);
  assert.match(said.text, /rollback: the log was rolled back or its tail cut/);

  await own.start();
  const [auditor, compliance] = [await Actor.signedIn(world, 'auditor'), await Actor.signedIn(world, 'compliance')];
  await auditor.sees('/ledger', /Witness honest .*it has countersigned \d+ entries, and this log has \d+: the store was rolled back/);
  await compliance.sees('/feed', /The witness honest does not countersign checkpoints: it has countersigned \d+ entries, and this log has \d+: the store was rolled back/);
  t.diagnostic('tried: 1 faults of the record');
});

test('a torn segment is named by verify and by the broker, and nothing of it is handed out', async (t) => {
  // Without a witness, whose last word is handed out for a while.
  await own.broker.stop();
  own.configure(() => {});
  await own.start();
  await sends('a', 40, 5);
  const held = await own.checkpoint();
  // A start brings all of it into the store's file.
  await own.broker.kill9();
  await own.start();
  await own.broker.stop();
  const [first, places] = [...bodies(readFileSync(own.store))].sort(([one], [other]) => one - other)[3];
  const file = openSync(own.store, 'r+');
  for (const at of places) writeSync(file, Buffer.alloc(64), 0, 64, at);
  closeSync(file);
  const said = await own.verify({ against: [held] });
  assert.equal(said.status, 1, said.text);
  assert.match(said.text, new RegExp(`segment-damaged: the segment that begins at entry ${first} is damaged`));

  await own.start();
  const [auditor, compliance] = [await Actor.signedIn(world, 'auditor'), await Actor.signedIn(world, 'compliance')];
  await auditor.sees('/ledger', /The record was altered\. Do not rely on it/);
  await compliance.sees('/feed', new RegExp(`The ledger is not whole: the segment that begins at entry ${first} is damaged`));
  const entry = await auditor.open(`/ledger/entries/${first + 1}`);
  assert.ok(entry.status >= 500, `${entry.status}: a torn entry was shown`);
  const tile = Math.floor(first / 256);
  const width = Math.min(256, sizeOf(await own.checkpoint()) - 256 * tile);
  const bundle = await own.log(`tile/entries/${String(tile).padStart(3, '0')}${width === 256 ? '' : `.p/${width}`}`);
  assert.ok(bundle.status >= 500, `${bundle.status}: a bundle was made of a torn segment`);
  t.diagnostic('tried: 1 faults of the record');
});
