// The tap alone: what its switches do to a batch, without a cluster.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { authority } from './certificates.mjs';
import { matches, startTap } from './tap.mjs';
import { post } from './post.mjs';

let dir;
let tap;
let ca;
let ear;
let received = [];
let answer = 200;

const event = (name, more = {}) => ({
  auditID: `id-${name}`, stage: 'ResponseComplete', requestReceivedTimestamp: '2026-01-01T00:00:00Z', requestURI: `/api/v1/${name}`, verb: 'get', objectRef: { name }, ...more,
});
const send = (...names) => post(tap.url, { ca, token: 'secret', body: JSON.stringify({ kind: 'EventList', items: names.map((name) => event(name)) }) })
  .then(({ status }) => status);
const arrived = () => received.flat();

before(async () => {
  dir = mkdtempSync(join(tmpdir(), 'tap-'));
  const pki = await authority(join(dir, 'pki'));
  ca = readFileSync(pki.caFile);
  tap = await startTap({ token: 'secret', tls: await pki.server('tap'), file: join(dir, 'events.ndjson') });
  ear = createServer((request, response) => {
    const parts = [];
    request.on('data', (part) => parts.push(part));
    request.on('end', () => {
      if (answer === 200) received.push(JSON.parse(Buffer.concat(parts)).items.map((one) => one.objectRef.name));
      response.writeHead(answer).end();
    });
  });
  await new Promise((resolve) => { ear.listen(0, '127.0.0.1', resolve); });
});
after(async () => {
  await tap.stop();
  ear.close();
  rmSync(dir, { recursive: true, force: true });
});
beforeEach(() => {
  received = [];
  answer = 200;
  tap.subscribe({ name: 'broker', url: `http://127.0.0.1:${ear.address().port}/`, token: 't' });
});

test('with nobody to hear it, a batch is refused and still on record', async () => {
  tap.unsubscribe('broker');
  assert.equal(await send('unheard'), 503);
  assert.equal(tap.events({ objectRef: { name: 'unheard' } }).length, 1);
});

test('the one subscriber\'s answer is the API server\'s', async () => {
  answer = 500;
  assert.equal(await send('failed'), 500);
  answer = 200;
  assert.equal(await send('failed'), 200);
  assert.deepEqual(arrived(), ['failed']);
  assert.equal(tap.events({ objectRef: { name: 'failed' } }).length, 1, 'sent twice, on record once');
});

test('a subscriber that is not there is a 503', async () => {
  tap.subscribe({ name: 'broker', url: 'http://127.0.0.1:1/', token: 't' });
  assert.equal(await send('nobody'), 503);
});

test('cut: it arrives and the sender never learns it', async () => {
  tap.cut('broker', 1);
  await assert.rejects(send('cut'), /socket hang up|ECONNRESET/);
  assert.deepEqual(arrived(), ['cut']);
  assert.equal(await send('cut'), 200);
  assert.deepEqual(arrived(), ['cut', 'cut']);
});

test('drop by number and by pattern, and the sender is told all is well', async () => {
  tap.drop('broker', 1);
  assert.equal(await send('a', 'b'), 200);
  assert.deepEqual(arrived(), ['b']);
  tap.drop('broker', { requestURI: { contains: 'c' } });
  assert.equal(await send('c'), 200);
  assert.equal(await send('d'), 200);
  assert.deepEqual(arrived(), ['b', 'd']);
});

test('reorder: batches and their events come last first', async () => {
  tap.reorder('broker', 2);
  assert.deepEqual(await Promise.all([send('1', '2'), new Promise((go) => { setTimeout(go, 50); }).then(() => send('3', '4'))]), [200, 200]);
  assert.deepEqual(arrived(), ['4', '3', '2', '1']);
});

test('hold tells the sender all is well and gives everything out at release', async () => {
  tap.hold('broker');
  assert.equal(await send('h1'), 200);
  assert.equal(await send('h2'), 200);
  assert.deepEqual(arrived(), []);
  await tap.release('broker');
  assert.deepEqual(arrived().sort(), ['h1', 'h2']);
});

test('refuse and repeat', async () => {
  tap.refuse('broker', 429);
  assert.equal(await send('r'), 429);
  tap.clear('broker');
  tap.repeat('broker', 2);
  assert.equal(await send('r'), 200);
  assert.deepEqual(arrived(), ['r', 'r', 'r']);
});

test('several subscribers get a copy each, and one that fails does not trouble the sender', async () => {
  tap.subscribe({ name: 'broken', url: 'http://127.0.0.1:1/', token: 't' });
  try {
    assert.equal(await send('shared'), 200);
    for (let n = 0; n < 50 && !arrived().length; n += 1) await new Promise((go) => { setTimeout(go, 20); });
    assert.deepEqual(arrived(), ['shared']);
  } finally {
    tap.unsubscribe('broken');
  }
});

test('a pattern asks for equal fields, or for a part of one', () => {
  const one = event('payments-api');
  assert.ok(matches(one, { verb: 'get', objectRef: { name: 'payments-api' } }));
  assert.ok(!matches(one, { objectRef: { name: 'payments' } }));
  assert.ok(matches(one, { objectRef: { name: { contains: 'payments' } } }));
  assert.ok(!matches(one, { user: { username: 'x' } }));
});
