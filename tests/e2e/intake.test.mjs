// What machines send, from machines that nobody trusts: the audit receiver and the forge's events under abuse,
// connections that only keep a place, and where notices may not go.

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { randomBytes } from 'node:crypto';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { constants, gzipSync } from 'node:zlib';
import { Actor, words } from '../world/actor.mjs';
import { startBroker } from '../world/broker.mjs';
import { freePort, until } from '../world/children.mjs';
import { connect } from '../world/client.mjs';
import { configWith } from '../world/routes.mjs';

const world = connect();
const { host, port } = { host: '127.0.0.1', port: Number(new URL(world.url).port) };
const audit = world.broker.auditPath;
let broker;
let config;
const caught = []; // what the forbidden receivers got

before(async () => {
  const trap = await listen((request, response) => { caught.push(request.url); response.writeHead(200).end(); });
  trap.server.on('connection', () => caught.push('a connection'));
  const leads = await listen((request, response) => { caught.push(`first ${request.url}`); response.writeHead(307, { location: `${trap.url}/followed` }).end(); });
  config = configWith(world, 'intake', (settings) => {
    const secret = { file: settings.ledger.signing_key.file.replace(/ledger-key$/, 'whsec') };
    const to = (name, url, rest = {}) => ({ name, url, secret, ...rest });
    settings.notices.webhooks = [
      to('loopback', `${trap.url}/loopback`), to('named', `http://localhost:${trap.port}/named`), to('mapped', `https://[::ffff:127.0.0.1]:${trap.port}/mapped`),
      to('metadata', 'https://169.254.169.254/latest/meta-data/'), to('decimal', `https://2130706433:${trap.port}/decimal`), to('any', `https://0.0.0.0:${trap.port}/any`),
      to('leads-elsewhere', `${leads.url}/allowed`, { allow_private: true }),
    ];
  });
  writeFileSync(config.replace(/[^/]+$/, 'secrets/whsec'), `whsec_${randomBytes(24).toString('base64')}`, { mode: 0o600 });
  broker = await startBroker({ config });
});
const servers = [];
after(async () => {
  await broker?.stop();
  for (const server of servers) { server.closeAllConnections(); server.close(); }
});

async function listen(handler) {
  const server = createServer(handler);
  const at = await freePort();
  await new Promise((resolve) => { server.listen(at, '127.0.0.1', resolve); });
  servers.push(server);
  return { url: `http://127.0.0.1:${at}`, port: at, server };
}

/** Bytes as they are, on a connection of their own; resolves with all that came back when it is over. */
function raw(pieces, { everyMs = 0, ms = 40_000, from } = {}) {
  return new Promise((resolve) => {
    const began = Date.now();
    let heard = '';
    const line = net.connect({ host, port, localAddress: from });
    const over = () => resolve({ heard, status: Number(/^HTTP\/1\.1 (\d+)/.exec(heard)?.[1]), ms: Date.now() - began });
    line.setTimeout(ms, () => { heard += '(still open)'; line.destroy(); });
    line.on('data', (text) => { heard += text; });
    line.on('close', over);
    line.on('error', () => {});
    line.on('connect', async () => {
      for (const piece of [pieces].flat()) {
        if (line.destroyed || !line.writable) return;
        line.write(piece);
        if (everyMs) await sleep(everyMs);
      }
    });
  });
}

const token = `Authorization: Bearer ${world.broker.auditToken}`;
const request = (headers, body = '', path = audit) => [`POST ${path} HTTP/1.1`, `Host: ${host}:${port}`, 'Connection: close', ...headers, ...(headers.some((one) => /^(content-length|transfer-encoding)/i.test(one)) ? [] : [`Content-Length: ${Buffer.byteLength(body)}`]), '', body].join('\r\n');
const post = (body, headers = {}) => fetch(world.url + audit, { method: 'POST', body, headers: { authorization: `Bearer ${world.broker.auditToken}`, ...headers } });
const batch = (items) => JSON.stringify({ kind: 'EventList', apiVersion: 'audit.k8s.io/v1', metadata: {}, items });
const alive = async () => assert.equal((await fetch(`${world.url}/readyz`)).status, 200);

async function entries(kind) {
  const auditor = await Actor.signedIn(world, 'auditor');
  const page = await auditor.open(`/ledger?kind=${kind}`);
  return [...new Set([...page.text.split('<main')[1].matchAll(/\/ledger\/entries\/(\d+)"/g)].map((one) => one[1]))].length;
}

test('only the cluster\'s own token, once, in its own header, is taken', async () => {
  const good = await raw(request([token], batch([])));
  assert.equal(good.status, 200, good.heard);
  const wrong = {
    none: [], empty: ['Authorization: Bearer '], basic: [`Authorization: Basic ${world.broker.auditToken}`], 'cut short': [token.slice(0, -1)], longer: [`${token}x`],
    'two, the right one first': [token, 'Authorization: Bearer wrong'], 'two, the right one last': ['Authorization: Bearer wrong', token], 'the same twice': [token, token],
    'in the query': ['X-Authorization: x'], 'another header': [`X-Forwarded-Authorization: Bearer ${world.broker.auditToken}`], 'a cookie': [`Cookie: token=${world.broker.auditToken}`],
  };
  let first;
  for (const [which, headers] of Object.entries(wrong)) {
    const answer = await raw(request(headers, batch([]), which === 'in the query' ? `${audit}?token=${world.broker.auditToken}` : audit));
    assert.equal(answer.status, 401, `${which}: ${answer.heard}`);
    const body = answer.heard.split('\r\n\r\n')[1];
    first ??= body;
    assert.equal(body, first, 'every refusal reads the same');
  }
  for (const path of ['/hooks/audit/other', '/hooks/audit/demo%00', '/hooks/audit/DEMO', '/hooks/audit/..%2fdemo', '/hooks/audit/%1b%5b31m']) {
    assert.ok([401, 404].includes((await raw(request([token], batch([]), path))).status), path);
  }
});

test('what is smuggled behind a request is no request', async () => {
  const hidden = request([token], batch([{ auditID: 'smuggled' }]));
  const before = await entries('quarantined');
  const odd = {
    'both lengths': ['Content-Length: 6', 'Transfer-Encoding: chunked'],
    'two lengths': ['Content-Length: 0', `Content-Length: ${hidden.length}`],
    'a signed length': ['Content-Length: +0'],
    'a list of lengths': [`Content-Length: 0, ${hidden.length}`],
    'an unknown coding': ['Transfer-Encoding: xchunked'],
    'chunked and more': ['Transfer-Encoding: chunked, identity'],
    'a space before the colon': ['Transfer-Encoding : chunked'],
    'a folded header': ['X-A: b', ' Transfer-Encoding: chunked', 'Content-Length: 0'],
    'a bare line feed': ['X-A: b\nTransfer-Encoding: chunked', 'Content-Length: 0'],
  };
  for (const [which, headers] of Object.entries(odd)) {
    const text = ['POST /hooks/forge HTTP/1.1', `Host: ${host}:${port}`, ...headers, '', '0', '', ''].join('\r\n') + hidden;
    const { heard } = await raw(text, { ms: 3_000 });
    const statuses = [...heard.matchAll(/HTTP\/1\.1 (\d+)/g)].map((one) => one[1]);
    // The second may be read as a request of its own, which it is; never as a part of the first, nor twice.
    assert.ok(statuses.length <= 2, `${which}: ${statuses}`);
    if (statuses.length === 1) assert.ok(Number(statuses[0]) >= 400, `${which}: ${heard}`);
  }
  assert.ok(await entries('quarantined') >= before);
  await alive();
});

test('headers without end, and many of them, are cut off', async () => {
  const long = await raw([`POST ${audit} HTTP/1.1\r\nHost: x\r\n`, `X-A: ${'a'.repeat(1 << 20)}\r\n\r\n`], { ms: 10_000 });
  assert.ok([400, 431].includes(long.status) || !long.heard, long.heard.slice(0, 200));
  const many = await raw(request(Array.from({ length: 5_000 }, (_, n) => `X-${n}: a`)), { ms: 10_000 });
  assert.ok([400, 431].includes(many.status), many.heard.slice(0, 200));
  await alive();
});

test('a bomb, packed once or twice, costs its sender an answer and us nothing', async () => {
  const zeros = gzipSync(Buffer.alloc(300 << 20, 0x20), { level: constants.Z_BEST_SPEED });
  assert.equal((await post(zeros, { 'content-encoding': 'gzip' })).status, 413);
  // Twice packed is not unpacked twice: kept as something unreadable.
  const twice = await post(gzipSync(zeros), { 'content-encoding': 'gzip, gzip' });
  assert.ok([200, 413].includes(twice.status), `${twice.status}`);
  await alive();
});

test('JSON as deep or as wide as it can be made is kept as unreadable, and what comes after it is read', async () => {
  const deep = 200_000;
  const bodies = {
    'deep arrays': '['.repeat(deep) + ']'.repeat(deep),
    'deep objects': '{"a":'.repeat(deep) + '1' + '}'.repeat(deep),
    'a deep event': batch([]).replace('[]', `[${'{"a":['.repeat(deep)}${']}'.repeat(deep)}]`),
    'a deep object in an event': batch([{ auditID: 'x', stage: 'ResponseComplete', level: 'RequestResponse', requestObject: 'DEEP' }]).replace('"DEEP"', '{"a":'.repeat(deep) + '1' + '}'.repeat(deep)),
    'one long string': batch([{ auditID: 'y'.repeat(8 << 20) }]),
    'a million keys': batch([Object.fromEntries(Array.from({ length: 300_000 }, (_, n) => [`k${n}`, n]))]),
    'a number without end': batch([]).replace('[]', `[${'9'.repeat(1 << 20)}]`),
    'the same key twice': '{"kind":"EventList","kind":"Other","apiVersion":"audit.k8s.io/v1","items":[],"items":[{}]}',
    'no UTF-8': Buffer.concat([Buffer.from('{"kind":"EventList","items":["'), Buffer.from([0xff, 0xfe, 0xc0, 0x80]), Buffer.from('"]}')]),
    'lone surrogates': '{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[{"auditID":"\\ud800"}]}',
  };
  for (const [which, body] of Object.entries(bodies)) {
    const answer = await post(body);
    assert.ok([200, 413].includes(answer.status), `${which}: ${answer.status}`);
    await alive();
  }
  assert.ok(await entries('quarantined') > 0);
});

test('who sends slowly is let go, in the headers and in the body', { timeout: 900_000 }, async () => {
  const slowly = (text, size) => text.match(new RegExp(`[\\s\\S]{1,${size}}`, 'g'));
  const head = request(['Content-Length: 1000', token]);
  const [silent, headers, preface, body] = await Promise.all([
    raw([], { ms: 60_000 }),
    raw(slowly(`${head.slice(0, -4)}\r\n${'X-A: b\r\n'.repeat(500)}`, 1), { everyMs: 200, ms: 60_000 }),
    raw('PRI * HTTP/2.0\r\n', { ms: 60_000 }),
    raw([head, ...slowly('x'.repeat(900), 1)], { everyMs: 200, ms: 60_000 }),
  ]);
  for (const [which, answer] of Object.entries({ silent, headers, preface, body })) {
    assert.doesNotMatch(answer.heard, /still open/, `${which} was kept`);
    assert.ok(answer.ms < 35_000, `${which} was kept for ${answer.ms} ms`);
  }
  assert.equal(body.status, 503, 'a body that does not come is asked for again');
});

test('one address cannot take every place, and places are given back', { timeout: 900_000 }, async () => {
  const from = '127.0.0.9';
  let answered = 0;
  const lines = Array.from({ length: 700 }, () => {
    const line = net.connect({ host, port, localAddress: from });
    line.on('error', () => {});
    line.once('data', () => { answered += 1; });
    line.write('GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n');
    return line;
  });
  try {
    await until('answers', () => answered > 200);
    await sleep(4_000);
    assert.ok(answered <= 450, `${answered} connections of one address were served at once`);
    const other = await raw('GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', { from: '127.0.0.10' });
    assert.equal(other.status, 200, 'somebody else is served meanwhile');
  } finally {
    for (const line of lines) line.destroy();
  }
  await until('room again', async () => (await raw('GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', { from, ms: 5_000 })).status === 200);
});

test('an event that the forge did not sign does nothing, whichever of two signatures is right', async () => {
  const send = (headers) => raw(request(headers, '{}', '/hooks/forge'));
  const wrong = `X-Hub-Signature-256: sha256=${'0'.repeat(64)}`;
  for (const headers of [[], [wrong], [wrong, wrong], ['X-Hub-Signature: sha1=x'], ['X-Hub-Signature-256: sha256=']]) {
    assert.equal((await send(headers)).status, 401, headers.join());
  }
  await alive();
});

test('notices go to no loopback, link-local or metadata address, by no spelling, and follow no redirect', { timeout: 900_000 }, async () => {
  const engineer = await Actor.signedIn(world, 'oncall');
  const id = await engineer.ask();
  await until('the receiver that is allowed', () => caught.some((one) => one.startsWith('first /allowed')));
  const compliance = await Actor.signedIn(world, 'compliance');
  const page = await until('the others said to be undeliverable', async () => {
    const text = words((await compliance.open('/feed')).text);
    return ['loopback', 'named', 'mapped', 'metadata', 'decimal', 'any'].every((name) => text.includes(`webhook:${name}`)) && text;
  }, { ms: 60_000, every: 500 });
  assert.match(page, /not a public address/);
  await sleep(1_000);
  assert.deepEqual(caught.filter((one) => !one.startsWith('first /allowed')), [], 'nothing arrived where nothing may');
  await engineer.open(`/requests/${id}`);
  await engineer.press(`/requests/${id}/withdraw`);
});
