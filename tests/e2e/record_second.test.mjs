// Two brokers on one SQLite file: the second refuses to start and says who holds it; the first goes on.

import assert from 'node:assert/strict';
import { hostname } from 'node:os';
import { after, before, test } from 'node:test';
import { breakglass } from '../world/broker.mjs';
import { freePort } from '../world/children.mjs';
import { connect } from '../world/client.mjs';
import { copyConfig } from '../world/config.mjs';
import { batch, recorder } from './record_tools.mjs';

const world = connect();
let own;

before(async () => {
  own = recorder(world, 'second');
  await own.start();
});
after(() => own?.end());

test('a second broker on the same file refuses to start, saying which process on which host holds it', async (t) => {
  assert.equal(await own.send(batch('one')), 200);
  const held = await own.checkpoint();
  const port = await freePort();
  const other = copyConfig(own.config, `${own.dir}/other.yaml`, (all) => { all.server.listen = `127.0.0.1:${port}`; });
  const second = await breakglass(['serve', '--config', other], { anyStatus: true });
  assert.notEqual(second.status, 0);
  assert.ok(second.stderr.includes(`another broker (process ${own.broker.pid} on ${hostname()}) uses it`), second.stderr + second.stdout);
  assert.ok(second.stderr.includes(own.store), second.stderr);
  assert.equal(await own.send(batch('two')), 200, 'the first goes on');
  const said = await own.verify({ against: [held] });
  assert.equal(said.status, 0, said.text);
  // Its end, however hard, sets the file free.
  await own.broker.kill9();
  await own.start();
  assert.equal(await own.send(batch('three')), 200);
  t.diagnostic('tried: 1 faults of the record');
});
