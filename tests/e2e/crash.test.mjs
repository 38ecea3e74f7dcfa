// The broker ends itself, as hard as kill -9, before and after every commit and every outside call; it is started
// again, the people go on, and at the end all is whole. The list of points is the program's own (src/failpoints.rs).

import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { connect } from '../world/client.mjs';
import { Mortal, ear, points, publicKey } from './crash_tools.mjs';
import { Emergency } from './emergency.mjs';
import { assertWhole } from './whole.mjs';
import { ways } from './crash_ways.mjs';

const world = connect();
const emergencies = [];
let mortal;
let listening;
let all;

/** Points that no way here comes to, and why; one that is come to must leave this list. */
const elsewhere = {
  'commit.request-lapsed': 'needs a request\'s patience to pass',
  'commit.ending-stuck': 'needs a removal to fail for a minute',
  'commit.canary-missed': 'needs audit to be silent for 90 s',
  'commit.canary-resumed': 'needs audit to have been silent for 90 s',
  'store.fold_received': 'needs a process to be counted for a quarter of an hour',
  'commit.clock-set-back': 'needs the machine\'s clock to be set back',
  'store.clock_set_back': 'needs the machine\'s clock to be set back',
  'commit.deadline-due-soon': 'needs hours to pass',
  'commit.deadline-breached': 'needs hours to pass',
  'commit.manual-item-done': 'needs a change that cannot be edited in git',
  'commit.manual-item-accepted': 'needs a change that cannot be edited in git',
  'cluster.watch.after': 'a watch that is over is dropped, not answered, unless the API server ends it',
  'cluster.guard.after': 'a watch that is over is dropped, not answered, unless the API server ends it',
  'witness.add_checkpoint': 'no witness in this world; asked again by the next round, and what it countersigned it countersigns again',
  'forge.reopen': 'needs a late action after the pull request was closed',
  'forge.find_pull': 'nothing calls it yet',
  'forge.branch_protection': 'nothing calls it yet',
};

before(async () => {
  all = await points();
  world.ledgerKey = await publicKey(world);
  listening = await ear(world);
});
after(async () => {
  await world.mail.setFault(null);
  await listening?.close();
  await mortal?.stop();
  for (const one of emergencies) rmSync(one.dir, { recursive: true, force: true });
});

const started = (tag, options) => {
  const one = new Emergency(world, { tag: `INC-${tag}-${process.pid}`, patience: 120_000, ...options });
  emergencies.push(one);
  return one;
};

test('crashes at every point of every way, and all is whole', async (t) => {
  const since = Date.now();
  mortal = await Mortal.start(world, all);
  for (const [name, way] of Object.entries(ways)) {
    const [begun, crashes] = [Date.now(), mortal.hit.length];
    await way(world, started(name), started);
    t.diagnostic(`${name}: ${mortal.hit.length - crashes} crashes, ${Math.round((Date.now() - begun) / 1000)} s`);
  }
  await mortal.quiet();
  const unhit = [...mortal.left];
  await mortal.spare();
  t.diagnostic(`tried: ${mortal.hit.length} crash points`);
  t.diagnostic(`${mortal.hit.length} of ${all.length} points were hit in ${Math.round((Date.now() - since) / 1000)} s`);
  await assertWhole(world, { keys: emergencies.flatMap((one) => one.keys), actors: await emergencies[0].readers() });
  const exempt = (point) => Object.hasOwn(elsewhere, point) || Object.hasOwn(elsewhere, point.replace(/\.(before|after)$/, ''));
  assert.deepEqual(unhit.filter((point) => !exempt(point)), [], 'points that no way came to');
  // What the API server and the clock may do in between is no matter of course.
  const chance = /^(cluster\.(watch|guard)|commit\.(canary-\w+|gap))\./;
  assert.deepEqual(mortal.hit.filter((point) => exempt(point) && !chance.test(point)), [], 'points that are listed as unreachable and are not');
});
