// The broker is killed between any two stages of an emergency and goes on where it was.

import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { startBroker } from '../world/broker.mjs';
import { connect } from '../world/client.mjs';
import { ear, publicKey } from './crash_tools.mjs';
import { Emergency } from './emergency.mjs';
import { assertWhole } from './whole.mjs';

const world = connect();
const emergency = new Emergency(world, { tag: `INC-restart-${process.pid}` });
let broker;
let listening;
const killed = [];

before(async () => {
  broker = await startBroker({ config: world.broker.config });
  world.ledgerKey = await publicKey(world);
  listening = await ear(world);
});
after(async () => {
  await world.tap.clear('broker');
  await listening?.close();
  await broker?.stop();
  rmSync(emergency.dir, { recursive: true, force: true });
});

/** Ends the broker as a power cut does, and starts it again. */
async function kill(stage) {
  await broker.kill9();
  await broker.restart();
  killed.push(stage);
}

test('an emergency goes on after kill -9 at each of its stages', async (t) => {
  await emergency.filed();
  await kill('filed');
  assert.equal(await emergency.requestState(), 'pending');
  await emergency.approved();
  await kill('approved, provisioning');
  await emergency.is('ready');
  await kill('ready');
  await world.tap.hold('broker');
  const lost = (await emergency.person('oncall')).reveal(emergency.grant).then(() => 'shown', () => 'not shown');
  await emergency.is('issuing');
  await kill('issuing: the key waits for audit');
  assert.equal(await lost, 'not shown');
  await world.tap.release('broker');
  // The reveal went with its process: the key can be revealed again at once.
  const since = Date.now();
  await emergency.is('ready');
  t.diagnostic(`ready again ${Date.now() - since} ms after the restart`);
  assert.ok(Date.now() - since < 10_000);
  await emergency.key();
  await kill('active');
  assert.equal(await emergency.state(), 'active');
  assert.equal((await emergency.kubectl('-n', 'payments', 'get', 'pods')).status, 0, 'the key lives on');
  await emergency.acted();
  await kill('after an action');
  await emergency.done();
  await kill('ending');
  await emergency.is('ended');
  await kill('ended, capturing');
  await emergency.follows('owed');
  await kill('owed');
  await emergency.merged();
  await kill('merged');
  await emergency.follows('converged');
  await kill('converged');
  await assertWhole(world, { keys: emergency.keys, actors: await emergency.readers() });
  assert.equal(killed.length, 11);
});
