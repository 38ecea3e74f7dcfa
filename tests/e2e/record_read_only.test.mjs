// The file system of the store becomes read-only, as one does that found itself damaged. Nothing is acknowledged, every
// page says it, no broker starts on it; and what comes again when it can be written is entered once.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Actor, words } from '../world/actor.mjs';
import { until } from '../world/children.mjs';
import { connect } from '../world/client.mjs';
import { faultyDisk } from '../world/faulty_disk.mjs';
import { batch, recorder } from './record_tools.mjs';

const world = connect();
let own;
let disk;

before(async () => {
  own = recorder(world, 'read-only');
  disk = await faultyDisk(`${own.dir}/store`);
  own.env = disk.env;
  await own.start();
});
after(() => own?.end());

const times = async (name) => {
  const entered = await own.entered();
  return [...new Set(Array.from({ length: 25 }, (_, n) => entered.get(`${name}-${n}`) ?? 0))].join();
};

test('on a read-only disk nothing is acknowledged, it is said, and what comes again later is entered once', async (t) => {
  const oncall = await Actor.signedIn(world, 'oncall');
  assert.equal(await own.send(batch('early')), 200);
  const held = await own.checkpoint();

  disk.fail('read-only');
  const late = batch('late');
  for (let tries = 0; tries < 5; tries += 1) assert.equal(await own.send(late), 503);
  await until('every page to say it', async () => /The store cannot be written since .*Nothing new is taken until it can/.test(words((await oncall.open('/')).text)));
  await oncall.open('/requests/new');
  await assert.rejects(oncall.ask({ incident: 'INC-read-only' }), /not filed \(503\).*store of this service cannot be used now/);
  assert.match(own.broker.log(), /disk I\/O error|readonly database|unable to open database/);
  assert.deepEqual([await times('early'), await times('late')], ['1', '0']);

  disk.mend();
  await until('it to be taken', async () => await own.send(late) === 200);
  assert.deepEqual([await times('early'), await times('late')], ['1', '1']);
  await until('the pages to be quiet', async () => !/cannot be written/.test(words((await oncall.open('/')).text)));
  const said = await own.verify({ against: [held] });
  assert.equal(said.status, 0, said.text);
  t.diagnostic('tried: 1 faults of the record');
});

test('no broker starts on a disk that is read-only', async (t) => {
  await own.broker.stop();
  disk.fail('read-only');
  await assert.rejects(own.start(), /the store .*breakglass\.(db|lock).*Read-only file system/);
  disk.mend();
  await own.start();
  assert.deepEqual([await times('early'), await times('late')], ['1', '1']);
  t.diagnostic('tried: 1 faults of the record');
});
