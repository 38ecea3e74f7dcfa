// An fsync of the store fails. From then on nobody knows what the disk keeps, also where each later fsync succeeds: the
// broker takes nothing more until it is started again, says so everywhere, and acknowledges nothing that it did not keep.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Actor, words } from '../world/actor.mjs';
import { until } from '../world/children.mjs';
import { connect } from '../world/client.mjs';
import { faultyDisk } from '../world/faulty_disk.mjs';
import { batch, recorder } from './record_tools.mjs';

const world = connect();
const names = { before: batch('before'), failed: batch('failed'), after: batch('after') };
const halted = /the disk did not confirm a write.*nothing more is written until this service is started again/i;
let own;
let disk;

before(async () => {
  own = recorder(world, 'fsync');
  disk = await faultyDisk(`${own.dir}/store`);
  own.env = disk.env;
  await own.start();
});
after(() => own?.end());

const times = async (name) => {
  const entered = await own.entered();
  return [...new Set(Array.from({ length: 25 }, (_, n) => entered.get(`${name}-${n}`) ?? 0))].join();
};
const ready = async () => {
  const answer = await fetch(`${world.url}/readyz`);
  return { status: answer.status, text: await answer.text() };
};

test('after a failed fsync nothing is acknowledged any more, though each later one succeeds, until the next start', async (t) => {
  const oncall = await Actor.signedIn(world, 'oncall');
  assert.equal(await own.send(names.before), 200);
  const held = await own.checkpoint();
  assert.equal((await ready()).status, 200);

  disk.fail('fsync');
  await until('an fsync to fail', async () => {
    assert.notEqual(await own.send(names.failed), 200, 'a batch whose fsync failed was acknowledged');
    return !disk.fails('fsync');
  });
  // Each fsync works from here on.
  for (let tries = 0; tries < 10; tries += 1) {
    for (const name of ['failed', 'after']) assert.equal(await own.send(names[name]), 503, `${name}, try ${tries}`);
    await sleep(300);
  }
  assert.equal(await times('failed'), '0');
  assert.equal(await times('after'), '0');
  assert.equal(await times('before'), '1', 'what was acknowledged before can be read');

  const { status, text } = await ready();
  assert.equal(status, 503);
  assert.match(text, /the store is halted.*start this service again/);
  assert.equal((await fetch(`${world.url}/healthz`)).status, 200, 'it goes on taking access away');
  const page = await until('every page to say it', async () => {
    const said = words((await oncall.open('/')).text);
    return /The store cannot be written since/.test(said) && said;
  });
  assert.match(page, halted);
  assert.match(page, /Nothing new is taken until this service is started again/);
  await oncall.open('/requests/new');
  await assert.rejects(oncall.ask({ incident: 'INC-fsync' }), /not filed \(503\).*store of this service cannot be used now/);
  const lines = own.broker.log().split('\n').filter((line) => /the store is halted/.test(line));
  assert.equal(lines.length, 1, 'said once');
  assert.match(JSON.parse(lines[0]).why, halted);

  await own.broker.kill9();
  await own.start();
  for (const name of ['failed', 'after']) assert.equal(await own.send(names[name]), 200);
  for (const name of ['before', 'failed', 'after']) assert.equal(await times(name), '1', name);
  const said = await own.verify({ against: [held] });
  assert.equal(said.status, 0, said.text);
  t.diagnostic('tried: 1 faults of the record');
});

test('a start on a disk that confirms nothing is refused', async (t) => {
  assert.equal(await own.send(batch('last')), 200);
  await own.broker.kill9();
  disk.fail('no-fsync');
  await assert.rejects(own.start(), /the store .*breakglass\.db: the disk does not confirm what is written to it/);
  disk.mend();
  await own.start();
  assert.equal(await times('last'), '1');
  t.diagnostic('tried: 1 faults of the record');
});
