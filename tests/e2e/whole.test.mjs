// assertWhole itself: it accepts an emergency as it is, and names each thing that is not as it must be.

import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { startBroker } from '../world/broker.mjs';
import { connect } from '../world/client.mjs';
import { publicKey } from './crash_tools.mjs';
import { Emergency } from './emergency.mjs';
import { collect } from './facts.mjs';
import { found, outlets, secretsOf } from './leaks.mjs';
import { assertWhole, rules, violations } from './whole.mjs';

const world = connect();
const emergency = new Emergency(world, { tag: `INC-whole-${process.pid}` });
const grants = ['-n', 'breakglass-grants'];
let broker;
let facts;

before(async () => {
  // What brokers with stores of their own have told is not in this one's.
  await world.mail.clear();
  broker = await startBroker({ config: world.broker.config });
  world.ledgerKey = await publicKey(world);
  await emergency.through();
  facts = await assertWhole(world, { keys: emergency.keys, actors: await emergency.readers() });
});
after(async () => {
  await broker?.stop();
  rmSync(emergency.dir, { recursive: true, force: true });
});

/** What the rules say of the world as it is now. */
const wrongNow = async (keys = []) => violations(await collect(world, { keys })).map(({ rule, what }) => `${rule}: ${what}`);

/** What they say of the facts with one thing changed. */
function wrongWith(change) {
  const altered = structuredClone(facts);
  change(altered);
  return violations(altered).map(({ rule, what }) => `${rule}: ${what}`);
}

function named(wrong, pattern) {
  assert.ok(wrong.some((one) => pattern.test(one)), `not named: ${pattern}\n${wrong.join('\n')}`);
}

test('what was left in the cluster is named', async () => {
  const own = ['--as', 'system:admin', '--as-group', 'system:masters'];
  await world.kubectl([...grants, ...own, 'create', 'serviceaccount', 'left-behind']);
  await world.kubectl([...grants, ...own, 'create', 'secret', 'generic', 'left-behind', '--from-literal=a=b']);
  await world.kubectl(['-n', 'payments', 'create', 'rolebinding', 'left-behind', '--clusterrole=view', '--serviceaccount=breakglass-grants:left-behind']);
  await world.kubectl(['create', 'clusterrolebinding', 'left-behind', '--clusterrole=view', '--group=system:serviceaccounts:breakglass-grants']);
  const { stdout: token } = await world.kubectl([...grants, 'create', 'token', 'left-behind']);
  const file = join(emergency.dir, 'left-behind.kubeconfig');
  const { server, caFile } = world.cluster;
  writeFileSync(file, `{"apiVersion":"v1","kind":"Config","clusters":[{"name":"c","cluster":{"server":"${server}","certificate-authority":"${caFile}"}}],"users":[{"name":"u","user":{"token":"${token.trim()}"}}],"contexts":[{"name":"c","context":{"cluster":"c","user":"u"}}],"current-context":"c"}`);
  try {
    const wrong = await wrongNow([{ grant: emergency.grant, file }]);
    for (const pattern of [
      /objects: ServiceAccount breakglass-grants\/left-behind is there without a live grant/,
      /objects: Secret breakglass-grants\/left-behind/,
      /objects: RoleBinding payments\/left-behind names left-behind/,
      /objects: ClusterRoleBinding left-behind names system:serviceaccounts:breakglass-grants/,
      /credentials: a key that was shown of grant \S+ is alive, and the grant ended/,
    ]) named(wrong, pattern);
  } finally {
    await world.kubectl([...grants, 'delete', 'serviceaccount/left-behind', 'secret/left-behind']);
    await world.kubectl(['-n', 'payments', 'delete', 'rolebinding', 'left-behind']);
    await world.kubectl(['delete', 'clusterrolebinding', 'left-behind']);
  }
  await assertWhole(world, { keys: emergency.keys, actors: emergency.actors });
});

test('a probe that still answers, and a live grant without its account, are named', () => {
  named(wrongWith(({ credentials }) => { credentials.push({ grant: emergency.grant, what: 'the probe of x', status: 'alive' }); }), /credentials: the probe of x of grant \S+ is alive/);
  named(wrongWith(({ store }) => Object.assign(store.tables.grants.find((row) => row.id === emergency.grant).document, { state: 'active' })), /objects: grant \S+ is active with 0 ServiceAccounts/);
});

test('a state without its entry is named, whichever way it came about', () => {
  const grant = ({ store }) => store.tables.grants.find((row) => row.id === emergency.grant);
  const moved = (kind) => ({ store }) => store.entries.findIndex((one) => one.kind === kind && one.payload.moves);
  named(wrongWith((all) => { grant(all).state = 'ready'; }), /states: grant \S+ is ready \(version \d+\), and the entries say ended/);
  named(wrongWith((all) => { grant(all).document.state = 'active'; }), /states: grant \S+ is ended in its column and active in its document/);
  named(wrongWith((all) => { grant(all).version += 1; }), /states: grant \S+ is ended \(version \d+\), and the entries say/);
  named(wrongWith(({ store }) => { store.tables.requests.push({ ...store.tables.requests[0], id: 'made-up' }); }), /states: request made-up is \S+, and no entry made it/);
  named(wrongWith(({ store }) => { store.tables.follow_ups.length = 0; }), /states: follow-up \S+ is in the entries and not in the store/);
  named(wrongWith((all) => { all.store.entries.splice(moved('grant-ready')(all), 1); }), /states: entry \d+ \(reveal-started\) moves grant \S+ from ready to issuing, but it was provisioning/);
  named(wrongWith((all) => { all.store.entries[moved('access-refused')(all)].kind = 'signed-in'; }), /states: .*\(signed-in\).*which that kind of entry never does/);
});

test('a ledger that verify refuses is named', () => {
  named(wrongWith(({ ledger }) => Object.assign(ledger, { status: 1, text: 'payload-altered' })), /ledger: breakglass verify: payload-altered/);
});

test('a second pull request, a foreign one and a second check run are named', () => {
  const pull = ({ forge }) => forge.pulls.find((one) => one.head === `breakglass/${emergency.grant}`);
  named(wrongWith((all) => { all.forge.pulls.push({ ...pull(all), number: 999 }); }), /forge: grant \S+ has 2 pull requests/);
  named(wrongWith((all) => { all.forge.pulls.push({ ...pull(all), number: 999, head: 'breakglass/nobody' }); }), /forge: pull request #999 belongs to no grant/);
  named(wrongWith((all) => { pull(all).number = 998; }), /forge: follow-up \S+ names pull request #\d+, which is not its own/);
  named(wrongWith(({ forge }) => { forge.checks.push({ ...forge.checks.at(-1), id: 1 }); }), /forge: check \S+ on \w+ was made 2 times/);
});

test('a notice told twice, never, or by nobody, is named', () => {
  const ended = ({ store }) => store.tables.notices.findIndex((row) => row.document.event === 'grant.ended');
  named(wrongWith((all) => { all.store.tables.notices.push(structuredClone(all.store.tables.notices[ended(all)])); }), /notices: grant.ended \S+: due 1 times, told 2 times/);
  named(wrongWith((all) => { all.store.tables.notices.splice(ended(all), 1); }), /notices: grant.ended \S+: due 1 times, told 0 times/);
  named(wrongWith(({ letters }) => { letters.push({ to: ['x@example.test'], subject: 'forged', headers: { 'message-id': '<00000000-0000-0000-0000-000000000000@x>' } }); }), /notices: a letter to x@example.test has no notice: forged/);
  named(wrongWith(({ store }) => { delete store.tables.deliveries[0].document.delivered_at; }), /notices: transient: notice \S+ did not reach/);
});

test('a job that is lost, stuck or idle is named', () => {
  const job = (key, more) => ({ id: key, key, due: facts.now, leased_until: 0, again: 0, document: {}, ...more });
  const table = ({ store }) => (store.tables.jobs ??= []);
  named(wrongWith((all) => { table(all).push(job(`end ${emergency.grant}`)); }), /jobs: transient: job end \S+ waits, although the grant is ended/);
  named(wrongWith((all) => { table(all).push(job('follow x', { due: facts.now - 60_000 })); }), /jobs: transient: job follow x is due since 60 s and nobody works on it/);
  named(wrongWith((all) => { table(all).push(job('follow x', { leased_until: facts.now - 1 })); }), /jobs: transient: the lease of job follow x ran out/);
  named(wrongWith(({ store }) => { store.tables.grants.find((row) => row.id === emergency.grant).document.state = 'ending'; }), /jobs: a job is lost: end \S+, although the grant is ending/);
  named(wrongWith(({ store }) => { store.tables.follow_ups.find(({ document }) => document.grant === emergency.grant).document.state = 'owed'; }), /jobs: a job is lost: follow \S+, although the follow-up is owed/);
});

test('every rule was seen to fail', () => {
  assert.deepEqual(Object.keys(rules).sort(), ['credentials', 'forge', 'jobs', 'ledger', 'notices', 'objects', 'states']);
});

test('a secret is named wherever it comes out', async () => {
  const secrets = secretsOf(world, { keys: emergency.keys, actors: emergency.actors });
  for (const wanted of [/audit-token/, /client-secret/, /forge-app/, /forge-webhook/, /ledger-key/, /token for the cluster/, /value in the cluster/, /value in git/, /the key of grant/, /the session of oncall/]) {
    assert.ok(Object.keys(secrets).some((name) => wanted.test(name)), `no canary ${wanted}`);
  }
  const texts = await outlets(world, facts, { actors: emergency.actors });
  const places = [/table grants/, /the ledger/, /breakglass\.db/, /the log/, /the letter/, /pull request #/, /check /, /the commits/, /\/grants\/\S+ as oncall/, /feed\.json as compliance/, /\/ledger as auditor/];
  for (const [name, value] of Object.entries(secrets)) {
    for (const place of places) {
      const at = texts.findIndex(({ where }) => place.test(where));
      assert.ok(at >= 0, `nothing is looked at in ${place}`);
      for (const spelt of [value, encodeURIComponent(value), Buffer.from(value).toString('hex')]) {
        const planted = [{ where: texts[at].where, text: `${texts[at].text.slice(0, 100)} ${spelt}` }];
        assert.deepEqual(found({ [name]: value }, planted), [`leak: ${name} is in ${texts[at].where}`]);
      }
    }
  }
  assert.deepEqual(found(secrets, texts), []);
});
