// The log as others check it: read whole by implementations that are not ours, over HTTP, with a reader's token;
// countersigned by a witness; its key replaced while readers hold either one.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Actor } from '../world/actor.mjs';
import { breakglass, startBroker } from '../world/broker.mjs';
import { Child, freePort, run, until } from '../world/children.mjs';
import { connect } from '../world/client.mjs';
import { configWith } from '../world/routes.mjs';
import { tool } from '../world/tools.mjs';
import { ended, lent } from './steps.mjs';

const world = connect();
const dir = mkdtempSync(join(tmpdir(), 'log-'));
const begun = new Date().toISOString();
const token = randomBytes(32).toString('hex');
const log = () => `${world.url}/log`;
const witnesses = {};
const children = [];
const proxies = [];
let broker;
let oldKey;
let early;

const file = (name, text) => {
  writeFileSync(join(dir, name), text, { mode: 0o600 });
  return join(dir, name);
};
const keysOf = async (config) => (await breakglass(['key', config])).stdout.trim().split('\n');
const get = (path, headers = { authorization: `Bearer ${token}` }) => fetch(`${log()}/${path}`, { headers, redirect: 'manual' });
const checkpoint = async () => (await get('checkpoint')).text();
const size = (note) => Number(note.split('\n')[1]);
const flags = (name, values) => values.flatMap((value) => [name, value]);

/** The reader made of others' code. */
const read = (keys, { url = log(), cosigners = [] } = {}) => run(
  [tool('log-reader'), '-log', url, ...flags('-key', keys), ...flags('-witness', cosigners)],
  { env: { LOG_TOKEN: token }, anyStatus: true },
);
const verify = (keys, { url = log(), against = [] } = {}) => breakglass(
  ['verify', ...flags('--key', keys), ...flags('--against', against), url],
  { env: { BREAKGLASS_LOG_TOKEN: token }, anyStatus: true },
);

/** A witness that is really there; `lie` makes it do what a witness must not. */
async function witness(name, logKey, lie) {
  const [secret, key] = (await run([tool('log-witness'), '-new', `${name}.example.test`])).stdout.trim().split('\n');
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  children.push(await Child.start({
    name, env: { WITNESS_KEY: secret }, log: join(dir, `${name}.log`),
    command: [tool('log-witness'), '-listen', `127.0.0.1:${port}`, '-log', logKey, ...(lie ? ['-lie', lie] : [])],
  }));
  await until(name, async () => (await fetch(`${url}/healthz`)).ok);
  witnesses[name] = { url, key };
}

const settings = (change = () => {}) => configWith(world, 'log', (config) => {
  config.ledger.readers = { auditor: { token: { file: file('token', token) } } };
  config.ledger.witnesses = witnesses;
  change(config.ledger);
});

/** What the log serves, with `alter(path, body)` made to it on the way. */
async function doctored(alter) {
  const server = http.createServer(async (request, response) => {
    const answer = await fetch(`${world.url}${request.url}`, { headers: { authorization: request.headers.authorization ?? '' } });
    const body = Buffer.from(await answer.arrayBuffer());
    response.writeHead(answer.status).end(alter(request.url.replace('/log/', ''), body));
  });
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  proxies.push(server);
  return `http://127.0.0.1:${server.address().port}/log`;
}

before(async () => {
  [oldKey] = await keysOf(world.broker.config);
  await witness('honest', oldKey);
  await witness('liar', oldKey, 'signature');
  await witness('longer', oldKey, 'size');
  witnesses.down = { url: `http://127.0.0.1:${await freePort()}`, key: witnesses.honest.key };
  broker = await startBroker({ config: settings() });
  // A log of more than one tile: who read which entry is an entry too.
  const auditor = await Actor.signedIn(world, 'auditor');
  for (let entry = 0; size(await checkpoint()) < 300; entry += 1) assert.equal((await auditor.open(`/ledger/entries/${entry}`)).status, 200);
});
after(async () => {
  await broker?.stop();
  for (const proxy of proxies) {
    proxy.closeAllConnections();
    proxy.close();
  }
  for (const child of children) await child.stop();
  rmSync(dir, { recursive: true, force: true });
});

test('implementations that are not ours read and check the whole log', async () => {
  early = file('early.txt', await checkpoint());
  const reading = await read([oldKey]);
  assert.equal(reading.status, 0, reading.stderr);
  assert.match(reading.stdout, /^checked: \d+ entries, \d+ proofs of each kind, 1 signatures/m);
  const said = await verify([oldKey], { against: [early] });
  assert.equal(said.status, 0, said.stdout + said.stderr);
  assert.match(said.stdout, /integrity: whole/);
  assert.match(said.stdout, /completeness: /);
});

test('nobody reads it without a token that is known, and who does sees no payload', async () => {
  for (const headers of [{}, { authorization: 'Bearer wrong' }, { authorization: `Basic ${token}` }]) {
    for (const path of ['checkpoint', 'tile/0/000.p/1', 'tile/entries/000.p/1', 'proof/inclusion?entry=0', 'proof/consistency?from=1']) {
      assert.equal((await get(path, headers)).status, 401, `${path} ${JSON.stringify(headers)}`);
    }
  }
  const entries = Buffer.from(await (await get('tile/entries/000.p/1')).arrayBuffer()).toString();
  assert.match(entries, /^..breakglass-entry\/1\n[a-z-]+\n.*\n\d+\n\d+\n[0-9a-f]{64}\n$/s);
  assert.equal((await fetch(`${world.url}/ledger`, { headers: { authorization: `Bearer ${token}` }, redirect: 'manual' })).status === 200, false);
  assert.doesNotMatch(broker.log(), new RegExp(token));
});

test('whatever is altered on the way is found by both readers', { timeout: 900_000 }, async () => {
  const flip = (at) => (body) => {
    const copy = Buffer.from(body);
    copy[at < 0 ? copy.length + at : at] ^= 1;
    return copy;
  };
  const first = (pattern, change) => (path, body) => (pattern.test(path) ? change(body) : body);
  for (const [what, alter, ours] of [
    ['an entry', first(/^tile\/entries\/000/, flip(40)), /entry-altered|entry-unreadable/],
    ['a leaf hash', first(/^tile\/0\/000/, flip(33)), /leaf-altered/],
    ['a hash above the leaves', first(/^tile\/1\/000/, flip(3)), /tile-altered/],
    ['the checkpoint\'s root', first(/^checkpoint/, (body) => Buffer.from(body.toString().replace(/\n(\d+)\n(.)/, (_, size, char) => `\n${size}\n${char === 'A' ? 'B' : 'A'}`))), /bad-signature/],
    ['the checkpoint\'s signature', first(/^checkpoint/, (body) => Buffer.from(body.toString().replace(/(— breakglass\S+ \S{40})(.)/, (_, before, char) => `${before}${char === 'A' ? 'B' : 'A'}`))), /bad-signature/],
  ]) {
    const url = await doctored(alter);
    const theirs = await read([oldKey], { url });
    assert.notEqual(theirs.status, 0, `others passed over ${what}: ${theirs.stdout}`);
    const said = await verify([oldKey], { url });
    assert.equal(said.status, 1, `${what}: ${said.stdout}${said.stderr}`);
    assert.match(said.stdout, ours, what);
  }
  const url = await doctored(first(/^proof\/inclusion/, (body) => Buffer.from(body.toString().replace(/"proof":\["(.)/, (_, char) => `"proof":["${char === 'A' ? 'B' : 'A'}`))));
  assert.match((await read([oldKey], { url })).stderr, /inclusion of \d+ by x\/mod/);
});

test('a witness countersigns; one that is down or lies is named and stops nothing', async () => {
  const cosigned = await until('a cosignature', async () => {
    const note = await checkpoint();
    return note.includes('— honest.example.test ') && note;
  }, { ms: 30_000, every: 500 });
  assert.doesNotMatch(cosigned, /liar/);
  const reading = await read([oldKey], { cosigners: [witnesses.honest.key] });
  assert.equal(reading.status, 0, reading.stderr);
  assert.match(reading.stdout, /2 signatures/);
  const auditor = await Actor.signedIn(world, 'auditor');
  const page = await auditor.sees('/ledger', /Witness honest countersigned \d+ entries/);
  assert.match(page, /Witness liar has not countersigned yet; does not now: its answer does not count/);
  assert.match(page, /Witness longer has not countersigned yet; does not now: it has countersigned \d+ entries, and this log has \d+: the store was rolled back/);
  assert.match(page, /Witness down has not countersigned yet; does not now: /);
  const compliance = await Actor.signedIn(world, 'compliance');
  await compliance.sees('/feed', /The witness liar does not countersign checkpoints: its answer does not count/);
  for (const name of ['liar', 'longer']) {
    await compliance.open('/feed');
    const finding = new RegExp(`The witness ${name} [\\s\\S]*?/feed/findings/([0-9a-f-]{36})/settle`).exec(compliance.page.text)?.[1];
    assert.ok(finding, `the finding about ${name} can be settled`);
    await compliance.press(`/feed/findings/${finding}/settle`, { reason: 'a witness of this test', note: 'a witness of this test' });
  }
  // The log went on meanwhile, and the next head is countersigned too: from where the witness stood.
  await auditor.open(`/ledger?kind=gap&before=${Date.now()}`);
  await until('the next cosignature', async () => {
    const note = await checkpoint();
    return size(note) > size(cosigned) && note.includes('— honest.example.test ');
  }, { ms: 30_000, every: 500 });
});

test('an event that the ledger does not hold shows in the API server log', { timeout: 900_000 }, async () => {
  const [engineer, approver] = [await Actor.signedIn(world, 'oncall'), await Actor.signedIn(world, 'approver')];
  const { grant, key } = await lent({ engineer, approver, dir });
  await world.kubectl(['-n', 'payments', 'get', 'pods'], { kubeconfig: key });
  await ended(engineer, grant);
  const digits = grant.replaceAll('-', '').slice(-12);
  const own = () => readFileSync(world.cluster.auditLog, 'utf8').split('\n').filter((line) => line.includes(digits)).map((line) => JSON.parse(line))
    .filter(({ user }) => user.username.endsWith(digits));
  // Other brokers with a log of their own may have used this cluster before.
  const since = (path) => file('since.log', readFileSync(path, 'utf8').split('\n').filter((line) => line && JSON.parse(line).requestReceivedTimestamp > begun).join('\n'));
  const check = (...logs) => breakglass(['verify', '--key', oldKey, ...flags('--audit-log', logs), join(world.broker.dir, 'breakglass.db')], { anyStatus: true });
  const all = await check(since(world.cluster.auditLog));
  assert.match(all.stdout, /, [1-9]\d* of grants, [1-9]\d* heads of this log carried by canaries/);
  assert.match(all.stdout, /integrity: whole/);
  assert.doesNotMatch(all.stdout, new RegExp(`missing: .*${digits}`), 'every event of this grant is here');
  const listed = own().find(({ requestURI, stage }) => requestURI.includes('/pods?limit') && stage === 'ResponseComplete');
  const leftOut = file('left-out.log', `${JSON.stringify({ ...listed, auditID: '00000000-left-out' })}\n`);
  const found = await check(since(world.cluster.auditLog), leftOut);
  assert.equal(found.status, 1);
  assert.match(found.stdout, /integrity: whole/);
  assert.match(found.stdout, new RegExp(`completeness: BROKEN[\\s\\S]*missing: .*list /api/v1/namespaces/payments/pods.*${digits}`));
  // A head that this log never had, as the cluster would have heard it from a broker with another past.
  const canary = readFileSync(world.cluster.auditLog, 'utf8').split('\n').find((line) => /breakglass-canary-[0-9a-f]{24}-[1-9]\d*-[0-9a-f]{64}/.test(line));
  const other = file('other.log', `${canary.replaceAll(/(breakglass-canary-[0-9a-f]{24}-\d+-)[0-9a-f]{64}/g, `$1${'ab'.repeat(32)}`)}\n`);
  const forked = await check(other);
  assert.equal(forked.status, 1);
  assert.match(forked.stdout, /fork: the log was forked/);
});

test('the key is replaced while readers hold either one', { timeout: 900_000 }, async () => {
  const next = file('next-key', randomBytes(32).toString('hex'));
  const restart = async (change) => {
    await broker.stop();
    broker = await startBroker({ config: settings(change) });
  };
  for (const name of ['liar', 'longer', 'down']) delete witnesses[name];
  await restart((ledger) => { ledger.next_key = { file: next }; });
  const both = await keysOf(broker.config);
  assert.deepEqual([both.length, both[0]], [2, oldKey]);
  const reading = await read(both);
  assert.equal(reading.status, 0, reading.stderr);
  const seam = file('seam.txt', await checkpoint());
  await restart((ledger) => { ledger.previous_key = ledger.signing_key; ledger.signing_key = { file: next }; });
  assert.deepEqual(await keysOf(broker.config), [both[1], both[0]]);
  for (const keys of [[both[1]], [both[0]], both]) {
    const one = await read(keys);
    assert.equal(one.status, 0, one.stderr);
    const said = await verify(keys, { against: [seam] });
    assert.equal(said.status, 0, said.stdout);
  }
  // What only the old key signed needs the old key beside the new one.
  const alone = await verify([both[1]], { against: [early] });
  assert.equal(alone.status, 1, alone.stdout);
  assert.match(alone.stdout, /signed by none of the given keys/);
  assert.equal((await verify(both, { against: [early, seam] })).status, 0);
  const other = (await run([tool('log-witness'), '-new', 'x'])).stdout; // a key that nobody configured
  assert.notEqual((await verify([`${other.split('\n')[1]}`])).status, 0);
  // And back, as this world knows it.
  await restart((ledger) => { ledger.next_key = { file: next }; });
  await restart();
  assert.deepEqual(await keysOf(broker.config), [oldKey]);
  assert.equal((await read([oldKey])).status, 0);
});
