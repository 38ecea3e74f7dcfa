// Completeness by the API server's own counters: what it audited and what is here are held together, and every event
// that is lost is named, whoever lost it; nothing else is. On a cluster of its own, whose API server gives up soon.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Actor, words } from '../world/actor.mjs';
import { breakglass } from '../world/broker.mjs';
import { until } from '../world/children.mjs';
import { connect } from '../world/client.mjs';
import { post } from '../world/post.mjs';
import { publicKey } from './crash_tools.mjs';
import { storeFacts } from './facts.mjs';
import { ownCluster } from './own_cluster.mjs';

const world = connect();
let own;
let cluster;
let tap;
let broker;
let name;

before(async () => {
  own = await ownCluster(world, { file: 'counters' });
  ({ cluster, broker, name, taps: { one: tap } } = own);
});
after(() => own?.stop());

/** The entries of that kind about the API server, with their facts. */
const entries = (...kinds) => own.entries('one', ...kinds);
/** How many events the ledger says are lost now. */
const named = () => own.named('one');

let admin;
/** The API server's own figures: all that it audited, and what of it it gave up. */
async function figures() {
  if (!admin) {
    const { users: [{ user }] } = JSON.parse((await cluster.kubectl(['config', 'view', '--raw', '-o', 'json'])).stdout);
    const [cert, key] = ['client-certificate-data', 'client-key-data'].map((part) => Buffer.from(user[part], 'base64'));
    admin = new Agent({ keepAlive: true, ca: readFileSync(cluster.caFile), cert, key });
  }
  return new Promise((resolve, reject) => {
    request(`${cluster.server}/metrics`, { agent: admin }, (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (part) => { text += part; }).on('end', () => {
        const audited = Number(/^apiserver_audit_event_total (\S+)$/m.exec(text)?.[1]);
        const givenUp = [...text.matchAll(/^apiserver_audit_error_total\{plugin="(?:webhook|buffered|truncate)"\} (\S+)$/gm)].reduce((sum, [, count]) => sum + Number(count), 0);
        resolve({ audited, givenUp });
      });
    }).on('error', reject).end();
  });
}

/** How many events of this cluster the ledger's entries say were looked at; nobody holds a grant there. */
async function inLedger() {
  const { entries: all } = await storeFacts(own.store);
  return all.filter((one) => one.kind === 'batch-count' && one.payload?.about?.cluster === name).reduce((sum, one) => sum + one.payload.facts.total, 0);
}

/** How many events the API server audited that are in no entry, once none is on its way. */
async function lostOnTheWay() {
  // Longer than the API server goes on trying; what is on its way only adds.
  await sleep(4_000);
  let least = Infinity;
  for (const since = Date.now(); Date.now() < since + 10_000;) {
    const here = await inLedger();
    least = Math.min(least, (await figures()).audited - here);
  }
  return least;
}

const page = async () => words((await (await Actor.signedIn(world, 'operator')).open('/clusters')).text);

/** What the page of clusters says of the events of this API server. */
const counted = async () => /Events\s+([\d ,]+ events? counted by the API server, [^.]*? as of)/.exec((await page()).split(name)[1] ?? '')?.[1];

/** Some work for the audit log. */
async function work(times = 10) {
  for (let n = 0; n < times; n += 1) await cluster.kubectl(['get', 'configmaps', '-A']);
}

/** Waits until so many more than before are named as lost, and sees that it stays so. */
async function namesExactly(lost) {
  let now;
  await until(`${lost} lost events to be named`, async () => {
    now = await named();
    return now === lost;
  }, { ms: 90_000, every: 1_000 }).catch((error) => { throw new Error(`${error.message}: it was ${now}`); });
  await sleep(6_000);
  assert.equal(await named(), lost, 'no other is');
}

const verify = async () => (await breakglass(['verify', '--key', await publicKey({ broker: { config: own.config } }), own.store], { anyStatus: true })).stdout;

let atFirst;
test('all that the API server counted is here', async () => {
  await work(3);
  await until('the count', async () => /all of them are here/.test(await counted() ?? ''), { ms: 60_000, every: 1_000 });
  assert.equal(await named(), 0);
  atFirst = await lostOnTheWay();
});

test('events that a failing receiver made the API server drop are named to the event', async () => {
  tap.refuse('broker', 503);
  await work(20);
  await sleep(6_000);
  tap.refuse('broker', 0);
  await work(3);
  const lost = await lostOnTheWay() - atFirst;
  assert.ok(lost > 0);
  await namesExactly(lost);
  const [gap] = (await entries('gap')).filter((one) => one.why === 'lost');
  assert.ok(gap.given_up > 0 && Date.parse(gap.from) < Date.parse(gap.to) && gap.grants.length === 0, JSON.stringify(gap));
  const said = await verify();
  assert.match(said, /integrity: whole/);
  assert.match(said, /completeness: whole except \d{4}-[^]*API server one of extra: \d+ events lost, nobody held a grant/);
  assert.match((await (await Actor.signedIn(world, 'compliance')).open('/feed')).text, /lost to this record/);
});

test('events that vanish without anybody saying so are named too, and are no loss once they come', async () => {
  const known = await named();
  const kept = [];
  let left = 3;
  tap.drop('broker', (event) => {
    if (left === 0 || event.objectRef?.name?.startsWith('breakglass-canary')) return false;
    left -= 1;
    kept.push(event);
    return true;
  });
  await work(3);
  await until('three events to vanish', () => left === 0);
  tap.clear('broker');
  await namesExactly(known + 3);
  const gap = (await entries('gap')).filter((one) => one.why === 'lost').at(-1);
  assert.equal(gap.given_up, 0);
  const body = JSON.stringify({ kind: 'EventList', apiVersion: 'audit.k8s.io/v1', metadata: {}, items: kept });
  // Sent twice, they count once.
  for (let n = 0; n < 2; n += 1) assert.equal((await post(own.hook('one'), { token: own.token, body })).status, 200);
  await namesExactly(known);
  const { tables } = await storeFacts(own.store);
  const finding = tables.findings.map((row) => row.document).find((one) => one.key === `gap ${gap.gap}`);
  assert.equal(finding.settled?.[0], 'breakglass', 'nobody need look at it any more');
});

test('what one client floods out of the buffer is named, while canaries go on arriving', async () => {
  const [known, given, lost] = [await named(), (await figures()).givenUp, await lostOnTheWay()];
  const tls = { ca: readFileSync(cluster.caFile) };
  const agent = new Agent({ keepAlive: true, maxSockets: 16, ...tls });
  const { stdout } = await cluster.kubectl(['create', 'token', 'default', '-n', 'default']);
  const ask = () => new Promise((resolve, reject) => {
    request(`${cluster.server}/api/v1/namespaces/default/configmaps/none`, { agent, headers: { authorization: `Bearer ${stdout.trim()}` } }, (answer) => { answer.resume(); answer.on('end', resolve); }).on('error', reject).end();
  });
  await Promise.all(Array.from({ length: 16 }, async () => { for (let n = 0; n < 150; n += 1) await ask(); }));
  agent.destroy();
  const more = await lostOnTheWay() - lost;
  assert.equal((await figures()).givenUp - given, more, 'it says so itself');
  assert.ok(more > 100, `${more} were dropped`);
  await namesExactly(known + more);
  assert.deepEqual(await entries('canary-missed'), []);
});

test('a broker that is killed counts nothing twice and forgets nothing', async () => {
  const known = await named();
  const lost = await lostOnTheWay();
  for (let n = 0; n < 3; n += 1) {
    const working = work(6);
    await sleep(300 * n);
    await broker.kill9();
    await working;
    await broker.restart();
    await work(2);
  }
  await namesExactly(known + await lostOnTheWay() - lost);
  // Its own absence is a gap, until the count has gone through it.
  const absences = (await entries('gap')).filter((one) => one.why === 'absent');
  assert.equal(absences.length, 3, JSON.stringify(absences));
  const filled = async () => (await entries('gap-filled')).map((one) => one.gap);
  await until('the absences to be closed', async () => { const closed = await filled(); return absences.every((one) => closed.includes(one.gap)); }, { ms: 60_000, every: 1_000 });
  assert.doesNotMatch(await verify(), /API server one of extra: the broker did not run/);
});

test('an API server that is started again is counted from its beginning', async () => {
  const known = await named();
  await cluster.api.restart();
  await work(3);
  await until('the entry of it', async () => (await entries('gap')).some((one) => one.why === 'restarted'), { ms: 60_000, every: 1_000 });
  // What it has to say as it starts is more than this one's small buffer holds.
  await sleep(10_000);
  const start = known + (await figures()).givenUp;
  await namesExactly(start);
  await until('the new count', async () => /counted by the API server/.test(await counted() ?? ''), { ms: 60_000, every: 1_000 });
  const lost = await lostOnTheWay();
  tap.refuse('broker', 503);
  await work(3);
  await sleep(5_000);
  tap.refuse('broker', 0);
  const more = await lostOnTheWay() - lost;
  assert.ok(more > 0);
  await namesExactly(start + more);
  assert.match(await verify(), /integrity: whole[^]*API server one of extra: the API server began anew, nobody held a grant/);
});
