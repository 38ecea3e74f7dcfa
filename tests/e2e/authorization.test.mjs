// Who may do what, cell by cell: authorization.txt against the running broker.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Actor, words } from '../world/actor.mjs';
import { startBroker } from '../world/broker.mjs';
import { until } from '../world/children.mjs';
import { connect } from '../world/client.mjs';
import { Browser } from '../world/http.mjs';
import { beginning, configWith, meaning, routes, routesIn } from '../world/routes.mjs';

const world = connect();
const dir = mkdtempSync(join(tmpdir(), 'authorization-'));
const people = {
  requester: 'oncall', colleague: 'colleague', other: 'second', approver: 'approver', lead: 'approver2', revoker: 'revoker',
  compliance: 'compliance', auditor: 'auditor', operator: 'runner', alias: 'oncall-lead', heir: 'same-mail',
};
const wordsOfCells = ['yes', 'no', 'hidden', 'refused', 'sign-in', 'step-up'];
/** A name of this run's own: what an earlier run made and nobody watched being deleted would pass for a "before". */
const configMap = `from-the-matrix-${randomBytes(3).toString('hex')}`;
/** Streams: their answers do not end by themselves. */
const endless = ['/grants/{id}/live', '/feed/live'];

const lines = readFileSync(new URL('authorization.txt', import.meta.url), 'utf8').split('\n');
const columns = lines.find((line) => line.startsWith('# method')).split(/\s+/).slice(4);
const table = lines.filter((line) => line && !line.startsWith('#')).map((line) => {
  const [method, path, situation, ...cells] = line.split(/\s+/);
  return { method, path, situation, cells: Object.fromEntries(columns.map((column, n) => [column, cells[n]])), count: cells.length, line };
});

let broker;
let config;
const actors = {};
before(async () => {
  // Roles that the world gives to one person together are parted, and every key asks for a fresh sign-in.
  config = configWith(world, 'authorization', (settings) => {
    settings.roles.revoker = ['revokers'];
    settings.profiles['payments-admin'].step_up_window = '0s';
  });
  broker = await startBroker({ config });
  for (const [column, person] of Object.entries(people)) actors[column] = await Actor.signedIn(world, person);
  actors.anonymous = new Actor(world, 'nobody');
});
after(async () => {
  await broker?.stop();
  // What is still lent is ended: to the next file's broker, with a store of its own, it would be nobody's.
  broker = await startBroker({ config });
  const engineer = await Actor.signedIn(world, people.requester);
  for (const { value } of await Promise.allSettled(held.values())) {
    const done = `/grants/${value?.grant}/done`;
    if (value?.grant && (await engineer.open(`/grants/${value.grant}`)).text.includes(done)) await engineer.press(done);
  }
  await until('what was lent to be gone', async () => (await world.kubectl(['-n', 'breakglass-grants', 'get', 'serviceaccounts', '-l', 'breakglass/grant', '-o', 'name'])).stdout === '', { ms: 120_000, every: 500 });
  await broker.stop();
  await world.kubectl(['-n', 'payments', 'scale', 'deployment', 'payments-api', '--replicas=3']);
  await world.kubectl(['-n', 'payments', 'delete', 'configmap', configMap, '--ignore-not-found']);
  rmSync(dir, { recursive: true, force: true });
});

// ---- things to act on -------------------------------------------------------------------------------------

const kubectl = (key, ...args) => world.kubectl(args, { kubeconfig: key, anyStatus: true });

async function approved() {
  const request = await actors.requester.ask();
  await actors.approver.approve(request);
  return { request, grant: await actors.requester.grantOf(request) };
}

async function ready() {
  const made = await approved();
  await actors.requester.sees(`/grants/${made.grant}`, /Reveal the key/);
  return made;
}

async function end(grant) {
  await actors.requester.open(`/grants/${grant}`);
  await actors.requester.press(`/grants/${grant}/done`);
}

async function active() {
  const made = await ready();
  return { ...made, key: await actors.requester.key(made.grant, dir) };
}

async function followUpOf(grant, what) {
  const link = await until('the follow-up', async () => /\/follow-ups\/([0-9a-f-]{36})/.exec((await actors.requester.open(`/grants/${grant}`)).text.split('<main')[1] ?? '')?.[1], { ms: 90_000, every: 500 });
  await actors.requester.sees(`/follow-ups/${link}`, what, 120_000);
  return link;
}

/** An emergency, ended, that changed what git has and made what must not go there: a pull request and an item for people. */
async function changes() {
  const { request, grant, key } = await active();
  assert.equal((await kubectl(key, '-n', 'payments', 'scale', 'deployment', 'payments-api', '--replicas=6')).status, 0);
  assert.equal((await kubectl(key, '-n', 'payments', 'create', 'configmap', configMap, '--from-literal=password=hunter2-hunter2-hunter2')).status, 0);
  await end(grant);
  return { request, grant };
}

async function owedOf({ request, grant }) {
  const followUp = await followUpOf(grant, /By hand[\s\S]*Pull request #/);
  const page = await actors.requester.open(`/follow-ups/${followUp}`);
  const item = /\/items\/([0-9a-f-]{36})\/link/.exec(page.text)?.[1];
  assert.ok(item, `no item to work off: ${words(page.text).slice(0, 1500)}`);
  return { request, grant, followUp, item };
}

/** An emergency without drift, ended: somebody must look at its commands. */
async function commandsOnly() {
  const { grant, key } = await active();
  const pod = (await world.kubectl(['-n', 'payments', 'get', 'pods', '-o', 'name'])).stdout.split('\n')[0];
  await kubectl(key, '-n', 'payments', 'exec', pod, '--', 'true');
  await end(grant);
  return grant;
}

const reviewOf = async (grant) => ({ grant, followUp: await followUpOf(grant, /must still review it/) });

const pullRequest = async (followUp) => /href="([^"]*\/pull\/(\d+))"/.exec((await actors.requester.open(`/follow-ups/${followUp}`)).text);

/** The pull request closed unmerged, at the forge, by its own API. */
async function rejected() {
  const { followUp } = await thing('owed');
  const page = await actors.requester.open(`/follow-ups/${followUp}`);
  if (!/closed unmerged/.test(words(page.text))) {
    const [, , number] = await pullRequest(followUp);
    const answer = await fetch(`${world.forgeAddress.apiUrl}/repos/${world.forgeAddress.repository}/pulls/${number}`, {
      method: 'PATCH', body: JSON.stringify({ state: 'closed' }),
      headers: { authorization: `Bearer ${world.forgeAddress.tokens['first-approver']}`, 'content-type': 'application/json' },
    });
    assert.equal(answer.status, 200, await answer.text());
    await actors.requester.sees(`/follow-ups/${followUp}`, /was closed unmerged/, 60_000);
  }
  return { followUp };
}

async function entry(query) {
  const page = await actors.auditor.open(`/ledger?${query}`);
  // Holes in the record are linked above the list.
  const index = /\/ledger\/entries\/(\d+)"/.exec(page.text.split('id="entries"')[1])?.[1];
  assert.ok(index, `no entry for ${query}`);
  return { index };
}

/** An event that the forge did not sign is a finding. */
async function finding() {
  return until('a finding', async () => {
    await fetch(`${world.url}/hooks/forge`, { method: 'POST', body: '{}' });
    const page = await actors.compliance.open('/feed');
    const id = /\/feed\/findings\/([0-9a-f-]{36})\/settle/.exec(page.text)?.[1];
    return id && { finding: id };
  }, { ms: 90_000, every: 2_000 });
}

/** A person's change without a grant, and the request it may belong to. */
async function bypass() {
  const person = `outside-${process.pid}-${Date.now().toString(36)}`;
  const request = await actors.requester.ask();
  await world.kubectl(['-n', 'payments', '--as', person, '--as-group', 'system:masters', 'annotate', 'serviceaccount', 'default', `by=${person}`, '--overwrite']);
  return until('a finding about it', async () => {
    const item = (await actors.compliance.open('/feed')).text.split('<li ').find((one) => one.includes(`${person} `));
    const id = /\/feed\/findings\/([0-9a-f-]{36})\/attach/.exec(item ?? '')?.[1];
    return id && { finding: id, request, changes: '1' };
  }, { ms: 30_000 });
}

const pending = async () => ({ request: await actors.requester.ask() });

/** How each situation is made. */
const makers = {
  pending, approved, ready, active, finding, bypass, rejected,
  owed: async () => owedOf(await changes()),
  async ended() {
    const made = await ready();
    await end(made.grant);
    await until('the end', async () => /id="grant-headline" data-state="ended"/.test((await actors.requester.open(`/grants/${made.grant}`)).text), { ms: 60_000, every: 500 });
    return made;
  },
  'to-review': async () => reviewOf(await commandsOnly()),
  async 'colleague-did'() {
    const made = await thing('owed');
    await actors.colleague.open(`/follow-ups/${made.followUp}`);
    await actors.colleague.press(`/follow-ups/${made.followUp}/items/${made.item}/link`, { commit: 'a merged commit' });
    return made;
  },
  'of-the-grant': async () => ({ ...await thing('active'), ...await entry(`grant=${(await thing('active')).grant}`) }),
  'of-a-sign-in': () => entry('kind=signed-in'),
  'of-its-entry': async () => ({ file: `entry-${(await thing('of-the-grant')).index}.bgx` }),
  'of-another-entry': async () => ({ file: `entry-${(await thing('of-a-sign-in')).index}.bgx` }),
  'of-everything': async () => ({ file: 'ledger.bgl' }),
  'longer-active': () => thing('active'),
};

const held = new Map();
async function thing(situation) {
  if (!held.has(situation)) held.set(situation, makers[situation]());
  return held.get(situation);
}

// ---- one cell -----------------------------------------------------------------------------------------------

let left = 28;
/** What a form of this route says. */
function form({ path, situation }, made) {
  const reason = 'Checkout answers 502 since 02:05; more replicas are needed.';
  const ask = [['team', 'payments'], ['cluster', 'demo'], ['profile', 'payments-admin'], ['namespace', 'payments'], ['minutes', '15'], ['reason', reason]];
  switch (path) {
    case '/requests': return situation === 'longer-active' ? [...ask, ['extends', made.grant]] : ask;
    case '/requests/preview': return ask;
    case '/requests/{id}/approve': return [['hash', made.hash ?? ''], ['minutes', '15']];
    case '/grants/{id}/shorten': left -= 1; return [['minutes', String(left)]];
    case '/feed/findings/{finding}/attach': return [['changes', made.changes ?? '1'], ['request', made.request]];
    case '/feed/findings/{finding}/expected': return [['changes', made.changes ?? '1'], ['reason', 'it was planned']];
    case '/zone': return [['tz', 'Europe/Berlin']];
    case '/follow-ups/{id}/items/{item}/link': return [['commit', 'a merged commit']];
    case '/sign-out': return [];
    default: return [['reason', 'it is over'], ['note', 'looked at everything']];
  }
}

async function address({ path, situation }, made) {
  const id = path.startsWith('/requests') ? made.request : path.startsWith('/grants') ? made.grant : made.followUp;
  const values = {
    id, item: made.item, follow_up: situation === 'no-such' ? '0199a3f0-7c3b-7d52-8a51-2f6ad1b0c9e4' : made.followUp, finding: made.finding, notice: '0199a3f0-7c3b-7d52-8a51-2f6ad1b0c9e4',
    index: made.index, file: made.file ?? `${made.grant}.bgx`, name: 'breakglass.css', cluster: 'demo', server: 'one', path: '0/000.p/1',
  };
  const query = { '/log/proof/inclusion': '?entry=0', '/log/proof/consistency': '?from=1' }[path] ?? '';
  return world.url + path.replace(/\{\*?(\w+)\}/g, (_, name) => {
    assert.ok(values[name] && !/undefined/.test(values[name]), `${path} (${situation}) has no ${name}`);
    return values[name];
  }) + query;
}

async function attempt(row, actor, made) {
  const url = await address(row, made);
  if (row.method === 'GET') {
    const cookie = actor.browser.cookie(world.url, 'breakglass');
    return endless.includes(row.path) ? beginning(url, cookie ? { cookie: `breakglass=${cookie}` } : {}) : actor.browser.request(url);
  }
  return actor.browser.request(url, { form: [['csrf', actor.csrf ?? ''], ...form(row, made)] });
}

/** One cell on things of its own: what a "yes" used up is made anew for the next. */
async function cell(row, column) {
  const needs = makers[row.situation] ? row.situation : null;
  const made = needs ? { ...await thing(needs) } : {};
  let actor = actors[column];
  if (row.path === '/sign-out' && people[column]) actor = await Actor.signedIn(world, people[column]);
  if (people[column]) {
    const page = await actor.open('/');
    actor.csrf = /name="csrf" value="([^"]+)"/.exec(page.text)[1];
  }
  if (row.path.endsWith('/approve') && !row.path.includes('items')) {
    made.hash = /id="request-hash">([0-9a-f]{64})/.exec((await actors.requester.open(`/requests/${made.request}`)).text)[1];
  }
  const found = meaning(await attempt(row, actor, made));
  if (found === 'yes' && row.method === 'POST' && needs) await spend(row, needs);
  return found;
}

async function spend(row, needs) {
  if (row.path.endsWith('/shorten') || row.path.endsWith('/link') || row.path === '/requests') return;
  held.delete(needs);
}

const shown = (row, column, found) => `${row.method} ${row.path} (${row.situation}) by ${column}: ${found}, where the file says ${row.cells[column]}`;

// ---- the tests ------------------------------------------------------------------------------------------------

test('every route of the code has a row, every row a route, every cell a word', () => {
  const known = routes();
  assert.ok(known.length >= 45, `only ${known.length} routes were found`);
  const name = ({ method, path }) => `${method} ${path}`;
  const written = new Set(table.map(name));
  assert.deepEqual(known.map(name).filter((one) => !written.has(one)), [], 'routes without a row');
  const existing = new Set(known.map(name));
  assert.deepEqual([...written].filter((one) => !existing.has(one)), [], 'rows without a route');
  for (const row of table) {
    assert.equal(row.count, columns.length, `cells of: ${row.line}`);
    for (const column of columns) assert.ok(wordsOfCells.includes(row.cells[column]), `${row.line}: ${column}`);
  }
  assert.deepEqual(columns, ['anonymous', 'expired', ...Object.keys(people)]);
});

test('the list of routes sees every way to write one and refuses what it cannot read', () => {
  assert.deepEqual(routesIn('.route("/a/{b}", get(x).post(super::y::get))\n  // .route("/c", get(z))\n'), [{ method: 'GET', path: '/a/{b}' }, { method: 'POST', path: '/a/{b}' }]);
  for (const odd of ['.nest("/a", other())', '.route(path, get(x))', '.route("/a", any(x))', '.route("/a", handlers())']) assert.throws(() => routesIn(odd), odd);
});

test('nobody may do more, or less, than authorization.txt says', { timeout: 900_000 }, async (t) => {
  // The slow ones wait side by side. One after another until then: each fresh sign-in ends the session before it.
  const changed = await changes();
  const grants = [await commandsOnly(), await commandsOnly(), await commandsOnly()];
  held.set('owed', owedOf(changed));
  const [, ...reviews] = await Promise.all([thing('owed'), ...grants.map(reviewOf)]);
  makers['to-review'] = async () => reviews.shift() ?? reviewOf(await commandsOnly());
  const wrong = [];
  for (const row of table) {
    // Who must not is tried first, so that nobody finds the door closed behind somebody who may.
    const order = columns.filter((column) => column !== 'expired').sort((a, b) => (row.cells[a] === 'yes') - (row.cells[b] === 'yes'));
    for (const column of order) {
      const found = await cell(row, column).catch((error) => `failed (${error.message})`);
      if (found !== row.cells[column]) wrong.push(shown(row, column, found));
    }
  }
  assert.deepEqual(wrong, [], `${wrong.length} cells are wrong`);
  t.diagnostic(`tried: ${table.length * (columns.length - 1)} cells of the matrix`);
});

test('a session whose time is over is no session, on every route', { timeout: 900_000 }, async (t) => {
  // Things that are there, where they still are: nobody gets as far as to be told.
  const nowhere = '0199a3f0-7c3b-7d52-8a51-2f6ad1b0c9e4';
  const made = { request: nowhere, grant: nowhere, followUp: nowhere, item: nowhere, finding: nowhere, index: '0' };
  for (const one of held.values()) Object.assign(made, await one);
  // What a thief would hold: the cookie, whatever the browser was told since.
  const old = await Promise.all(Object.keys(people).map(async (column) => {
    const { browser } = actors[column];
    const csrf = /name="csrf" value="([^"]+)"/.exec((await actors[column].open('/')).text)[1];
    const cookie = browser.cookie(world.url, 'breakglass');
    return { csrf, browser: { cookie: () => cookie, request: (url, options) => new Browser().request(url, { ...options, headers: { cookie: `breakglass=${cookie}` } }) } };
  }));
  assert.equal((await old[0].browser.request(`${world.url}/clusters`)).status, 200);
  await broker.stop();
  broker = await startBroker({ config: configWith(world, 'authorization-idle', (settings) => {
    settings.sign_in.session = { idle: '1s', absolute: '12h' };
  }) });
  await sleep(1_500);
  const wrong = [];
  for (const [n, row] of table.entries()) {
    const actor = old[n % old.length];
    const found = meaning(await attempt(row, actor, { ...made, hash: '0'.repeat(64) }));
    if (found !== row.cells.expired) wrong.push(shown(row, 'expired', found));
  }
  t.diagnostic(`tried: ${table.length} cells of the matrix`);
  assert.deepEqual(wrong, []);
});
