// The world itself: what every other test stands on.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createConnection } from 'node:net';
import { randomBytes } from 'node:crypto';
import { spawn } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { until } from '../world/children.mjs';
import { connect } from '../world/client.mjs';
import { post } from '../world/post.mjs';

const world = connect();
const namespace = `world-${randomBytes(3).toString('hex')}`;

/** A broker's ear: keeps what the tap sends. */
async function listener() {
  const received = [];
  const state = { answer: 200 };
  const server = createServer((request, response) => {
    const parts = [];
    request.on('data', (part) => parts.push(part));
    request.on('end', () => {
      received.push({ at: Date.now(), authorization: request.headers.authorization, events: JSON.parse(Buffer.concat(parts)).items });
      response.writeHead(state.answer).end();
    });
  });
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  const name = `ear-${randomBytes(3).toString('hex')}`;
  await world.tap.subscribe({ name, url: `http://127.0.0.1:${server.address().port}/hook`, token: 'ear' });
  return {
    name,
    received,
    state,
    /** How often an event about this object's name arrived. */
    times: (object) => received.flatMap((one) => one.events).filter((event) => event.objectRef?.name === object).length,
    async close() {
      await world.tap.unsubscribe(name);
      server.closeAllConnections();
      await new Promise((resolve) => { server.close(resolve); });
    },
  };
}

const configMap = (name) => world.kubectl(['create', 'configmap', name, '-n', namespace]);

before(() => world.kubectl(['create', 'namespace', namespace]));
after(async () => {
  // No letter is left that no broker sent: later tests hold every letter against its notice.
  await world.mail.clear();
  await world.kubectl(['delete', 'namespace', namespace, '--wait=false']);
});

test('a Deployment\'s Pod runs, and exec and logs work in it', async () => {
  await world.kubectl(['create', 'deployment', 'web', '--image=example.test/web', '-n', namespace]);
  await world.kubectl(['rollout', 'status', 'deployment/web', '-n', namespace, '--timeout=60s']);
  const said = await world.kubectl(['exec', 'deploy/web', '-n', namespace, '--', 'sh', '-c', 'echo out; echo err >&2; exit 3'], { anyStatus: true });
  assert.notEqual(said.status, 0); // kwok says that it failed, but not with which status
  assert.equal(said.stdout, 'out\n');
  assert.match(said.stderr, /^err\n/, said.stderr);
  assert.match((await world.kubectl(['logs', 'deploy/web', '-n', namespace])).stdout, /ready/);
});

test('what runs in a Pod sees nothing of the runner\'s environment', async () => {
  await world.kubectl(['run', 'bare', '--image=example.test/bare', '-n', namespace]);
  await world.kubectl(['wait', '--for=condition=Ready', 'pod/bare', '-n', namespace, '--timeout=60s']);
  const { stdout } = await world.kubectl(['exec', 'bare', '-n', namespace, '--', 'env']);
  const names = stdout.split('\n').map((line) => line.split('=')[0]).filter(Boolean);
  assert.deepEqual(names.filter((name) => !['PATH', 'HOME', 'PWD', 'SHLVL', 'OLDPWD', 'TERM', '_'].includes(name)), []);
});

test('a request\'s audit event arrives at a subscriber within seconds, with its URI and the token', async () => {
  const ear = await listener();
  try {
    const marker = `marker-${randomBytes(4).toString('hex')}`;
    const asked = Date.now();
    await world.kubectl(['get', 'configmap', marker, '-n', namespace], { anyStatus: true });
    const batch = await until('the event', () => ear.received.find((one) => one.events.some((event) => event.requestURI.includes(marker))), { ms: 10_000 });
    const event = batch.events.find((one) => one.requestURI.includes(marker));
    assert.equal(batch.authorization, 'Bearer ear');
    assert.equal(event.requestURI, `/api/v1/namespaces/${namespace}/configmaps/${marker}`);
    assert.equal(event.user.username, 'admin');
    assert.equal(event.responseStatus.code, 404);
    assert.ok(batch.at - asked < 6000, `${batch.at - asked} ms`);
    assert.equal((await world.event({ requestURI: { contains: marker } })).auditID, event.auditID);
  } finally {
    await ear.close();
  }
});

test('the tap\'s switches: hold and release, drop, repeat, cut, refuse', async () => {
  const ear = await listener();
  const arrives = (object, times) => until(`${object} ${times} times`, () => ear.times(object) >= times, { ms: 30_000 });
  try {
    await world.tap.hold(ear.name);
    await configMap('held');
    await world.event({ objectRef: { name: 'held', namespace }, verb: 'create' });
    assert.equal(ear.times('held'), 0);
    await world.tap.release(ear.name);
    await arrives('held', 1);

    await world.tap.drop(ear.name, { objectRef: { name: 'dropped' } });
    await configMap('dropped');
    await configMap('after-dropped');
    await arrives('after-dropped', 1);
    assert.equal(ear.times('dropped'), 0);
    await world.tap.clear(ear.name);

    await world.tap.repeat(ear.name, 2);
    await configMap('repeated');
    await arrives('repeated', 3);
    await world.tap.clear(ear.name);

    await world.tap.refuse(ear.name, 503);
    await configMap('refused');
    await until('a refusal', async () => (await world.tap.counters()).subscribers[ear.name].refused > 0);
    assert.equal(ear.times('refused'), 0);
    await world.tap.clear(ear.name);
    await arrives('refused', 1);

    await world.tap.delay(ear.name, 4000);
    await configMap('late');
    const seen = Date.now();
    await world.event({ objectRef: { name: 'late', namespace }, verb: 'create' });
    await arrives('late', 1);
    assert.ok(Date.now() - seen >= 3000);
  } finally {
    await ear.close();
  }
});

test('the tap and the control address turn away whoever has no token', async () => {
  const ca = readFileSync(world.cluster.caFile);
  const tap = `https://127.0.0.1:${world.facts.tap.port}/audit`;
  assert.equal((await post(tap, { ca, token: 'wrong', body: '{"items":[]}' })).status, 401);
  assert.equal((await post(tap, { ca, body: '{"items":[]}' })).status, 401);
  assert.equal((await post(world.control.url, { token: 'wrong', body: '{"on":"mail","call":"clear"}' })).status, 401);
});

test('the shop is deployed from its repository', async () => {
  const { stdout } = await world.kubectl(['get', 'deployments', '-n', 'payments', '-o', 'jsonpath={range .items[*]}{.metadata.name}={.spec.replicas} {end}']);
  assert.equal(stdout.trim(), 'payments-api=3 settlement-worker=1');
  assert.equal((await world.kubectl(['get', 'deployment', 'orders-api', '-n', 'orders', '-o', 'jsonpath={.spec.replicas}'])).stdout, '2');
  assert.match(await world.sync.now(), /^[0-9a-f]{40}$/);
});

/** One letter by hand, as a mail client speaks. Resolves with the server's last answer. */
function sendLetter({ host, port }, to, subject) {
  return new Promise((resolve, reject) => {
    const lines = ['EHLO test', 'MAIL FROM:<from@example.test>', `RCPT TO:<${to}>`, 'DATA',
      `Subject: ${subject}\r\nTo: ${to}\r\n\r\nText of ${subject}.\r\n.`, 'QUIT'];
    const socket = createConnection({ host, port });
    let last = '';
    socket.setTimeout(10_000, () => socket.destroy(new Error('mail: time-out')));
    socket.on('error', reject);
    socket.on('close', () => resolve(last));
    socket.on('data', (data) => {
      last = data.toString();
      if (/^\d{3}-[^]*(?<!\n\d{3} [^\n]*\n)$/.test(last)) return; // more of this answer comes
      if (/^[45]/.test(last)) socket.end();
      else if (lines.length) socket.write(`${lines.shift()}\r\n`);
    });
  });
}

test('mail is kept, and refused when it shall be', async () => {
  const to = `${namespace}@example.test`;
  await sendLetter(world.mailAddress, to, 'a letter');
  const letter = await world.letter({ subject: 'a letter' });
  assert.deepEqual(letter.to, [to]);
  assert.equal(letter.text.trim(), 'Text of a letter.');
  await world.mail.setFault('permanent');
  try {
    assert.match(await sendLetter(world.mailAddress, to, 'another'), /^550/);
  } finally {
    await world.mail.setFault(null);
  }
  assert.equal((await world.mail.messages({ to })).length, 1);
});

test('a process that is killed with -9 leaves no child behind', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'keeper-'));
  const script = join(dir, 'runner.mjs');
  // The child ignores every signal it may, and has a child of its own.
  writeFileSync(script, `
    import { Child } from ${JSON.stringify(new URL('../world/children.mjs', import.meta.url).href)};
    const child = await Child.start({ name: 'stubborn', log: ${JSON.stringify(join(dir, 'log'))},
      command: ['sh', '-c', 'trap "" TERM INT HUP; sleep 1000 & echo $!; wait; sleep 1000'] });
    console.log(child.pid, child.keeper.pid);
    setInterval(() => {}, 1000);
  `);
  try {
    const runner = spawn(process.execPath, [script], { stdio: ['ignore', 'pipe', 'inherit'] });
    const ids = (await new Promise((resolve) => { runner.stdout.once('data', resolve); })).toString().trim().split(' ').map(Number);
    const grandchild = await until('the grandchild', () => Number(readFileSync(join(dir, 'log'), 'utf8')) || undefined);
    const gone = (pid) => {
      try {
        // A zombie that nobody has waited for yet runs no more.
        return /^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
      } catch {
        return true;
      }
    };
    for (const pid of [...ids, grandchild]) assert.ok(!gone(pid), `${pid} runs`);
    runner.kill('SIGKILL');
    await until('all of them gone', () => [...ids, grandchild].every(gone), { ms: 5000 });
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

test('the API server keeps its data and its address when it is killed and started again', async () => {
  await configMap('kept');
  await world.api.kill9();
  const down = await world.kubectl(['get', 'configmap', 'kept', '-n', namespace, '--request-timeout=2s'], { anyStatus: true });
  assert.notEqual(down.status, 0);
  await world.api.start();
  assert.equal((await world.kubectl(['get', 'configmap', 'kept', '-n', namespace, '-o', 'name'])).stdout.trim(), 'configmap/kept');
});

test('an API server that stands still answers nobody until it goes on', async () => {
  await world.api.pause();
  try {
    const { status } = await world.kubectl(['get', 'namespaces', '--request-timeout=2s'], { anyStatus: true });
    assert.notEqual(status, 0);
  } finally {
    await world.api.resume();
  }
  await until('an answer', async () => (await world.kubectl(['get', 'namespaces', '--request-timeout=5s'])).stdout.includes(namespace));
});
