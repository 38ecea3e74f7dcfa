// What an auditor does with the public key, a pull request's description and an export, on a machine without network:
// the very lines of the README, and the very line of an entry's page.

import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { Actor, words } from '../world/actor.mjs';
import { binary } from '../world/broker.mjs';
import { run, until } from '../world/children.mjs';
import { connect } from '../world/client.mjs';
import { top } from '../world/tools.mjs';
import { apart } from './apart.mjs';
import { Emergency } from './emergency.mjs';
import { storeFacts } from './facts.mjs';

const dir = mkdtempSync(join(tmpdir(), 'walk-'));
const shared = connect();
const silence = 120;
let own;
let world;
let auditor;
let emergency;

before(async () => {
  own = await apart(shared, {
    name: 'walk', targets: ['walk-worker'],
    change: (all) => Object.assign(all.clusters[shared.cluster.name], { lost_after: '15s', canary: { every: '2s' } }),
  });
  world = own.world;
  // Before its clock is another than the sign-in's.
  auditor = await Actor.signedIn(world, 'auditor');
  emergency = new Emergency(world, { tag: `INC-WALK-${process.pid}`, target: 'walk-worker', dir });
});
after(async () => {
  await shared.tap.clear('broker');
  await own?.stop();
  rmSync(dir, { recursive: true, force: true });
});

/** The README's walk: its commands, and what it says that they print. */
function walk() {
  const text = readFileSync(join(top, 'README.md'), 'utf8').split('\n### A walk, offline\n')[1].split('\n### ')[0];
  const [[, commands], [, printed]] = [...text.matchAll(/^```(?:sh)?\n([^]*?)^```$/gm)];
  return { commands: commands.trim().split('\n'), printed };
}

/** What is the world's own and not the program's: numbers, times, hashes, addresses. */
const shape = (text) => text.replace(/–\d{4}-\d\d-\d\d /g, '–').replace(/root [A-Za-z0-9+/]{43}=/g, 'root R').replace(/: [A-Za-z0-9_-]{43}$/gm, ': THUMBPRINT').replace(/https?:\S+/g, 'URL').replace(/\d+/g, '0');

const alone = ['unshare', ...(process.getuid() === 0 ? [] : ['--user', '--map-root-user']), '--net'];
let isAlone;

/** Runs a line of a shell in the folder, where there is no network. A container may not be allowed to take it away. */
async function offline(line, cwd) {
  isAlone ??= (await run([...alone, 'true'], { anyStatus: true }).catch(() => ({ status: 1 }))).status === 0;
  return run([...(isAlone ? alone : []), 'sh', '-c', line], { cwd, env: { PATH: `${dirname(binary())}:${process.env.PATH}` }, anyStatus: true });
}

/** The description of the emergency's pull request, as the forge has it. */
function description() {
  const state = JSON.parse(readFileSync(join(world.dir, 'forge', 'forge.json'), 'utf8'));
  return state.repos[world.forgeAddress.repository].pulls.find((pull) => pull.head === `breakglass/${emergency.grant}`).body;
}

const fetched = async (name, into) => {
  const answer = await auditor.browser.get(`${auditor.url}/ledger/export/${name}`);
  assert.equal(answer.status, 200, `${name}: ${answer.text.slice(0, 300)}`);
  writeFileSync(join(into, name), answer.bytes);
};

const facts = async (...kinds) => (await storeFacts(join(world.broker.dir, 'breakglass.db'))).entries
  .filter((one) => kinds.includes(one.kind)).map(({ kind, payload }) => ({ kind, ...payload.facts }));

test('from the checkpoint of a pull request, the public key and an export to both verdicts, without network', { timeout: 900_000 }, async (t) => {
  await emergency.filed();
  await emergency.approved();
  await emergency.key();
  await emergency.acted();
  await emergency.done();
  await emergency.is('ended');
  await emergency.follows('owed', 'merged');
  // Nobody holds a grant. Then nothing comes through audit any more for two minutes, and what happens meanwhile is lost.
  await shared.tap.drop('broker', {});
  for (let n = 0; n < 5; n += 1) await world.kubectl(['get', 'configmaps', '-A']);
  own.step(silence);
  await until('the silence to be noticed', async () => (await facts('canary-missed')).length > 0, { ms: 60_000, every: 500 });
  await shared.tap.clear('broker');
  const gaps = await until('what was lost to be counted', async () => {
    const all = await facts('gap', 'gap-filled');
    const filled = all.filter((one) => one.kind === 'gap-filled').map((one) => one.gap);
    const silent = all.find((one) => one.why === 'silent');
    return silent && filled.includes(silent.gap) && all.some((one) => one.why === 'lost') && all;
  }, { ms: 120_000, every: 1_000 });
  const silent = gaps.find((one) => one.why === 'silent');
  assert.ok(Date.parse(silent.to) - Date.parse(silent.from) >= silence * 1000 && silent.grants.length === 0, JSON.stringify(silent));

  const folder = join(dir, 'audit');
  mkdirSync(folder);
  writeFileSync(join(folder, 'log.pub'), `${world.ledgerKey}\n`);
  writeFileSync(join(folder, 'pull-request.md'), description());
  await fetched('ledger.bgl', folder);
  const { commands, printed } = walk();
  assert.ok(commands.length > 0);
  assert.match(printed, /^integrity: whole\ncompleteness: whole except \d{4}-\d\d-\d\d \d\d:\d\d–\d\d:\d\d UTC, nobody held a grant$/m, 'the very words that an auditor waits for');
  let said = '';
  for (const line of commands) {
    const done = await offline(line, folder);
    assert.equal(done.status, 0, `${line}\n${done.stdout}${done.stderr}`);
    said += done.stdout;
  }
  console.log(said);
  assert.equal(shape(said), shape(printed), `the README is of another program:\n${said}`);
  // There was no network to ask: not even this machine's own.
  if (isAlone) {
    assert.doesNotMatch((await offline('cat /proc/net/dev', folder)).stdout, /eth|en[ops]/);
    assert.equal((await offline(`breakglass verify --key log.pub ${world.url}/log`, folder)).status, 2);
  } else {
    t.diagnostic('this machine does not let the network be taken away');
  }

  // What was copied from a page, a mail or a chat serves as well; a checkpoint of another past does not.
  const quoted = description().split('\n').map((line) => `> ${line}\r`).join('\n');
  writeFileSync(join(folder, 'quoted.md'), quoted);
  const pasted = await offline('cat quoted.md | breakglass verify --key log.pub --against - ledger.bgl', folder);
  assert.equal(pasted.stdout, said);
  const otherKey = await offline('sed "s/+[0-9a-f]*+/+00000000+/" log.pub > other.pub; breakglass verify --key other.pub ledger.bgl', folder);
  assert.notEqual(otherKey.status, 0);
  const without = await offline('grep -v "^—" pull-request.md > unsigned.md; breakglass verify --key log.pub --against unsigned.md ledger.bgl', folder);
  assert.equal(without.status, 1);
  assert.match(without.stdout, /integrity: BROKEN[^]*bad-signature/);
  // A log that was cut back to before the pull request, and one of which a byte was altered.
  const altered = readFileSync(join(folder, 'ledger.bgl'));
  altered[altered.length - 20] ^= 1;
  writeFileSync(join(folder, 'altered.bgl'), altered);
  const found = await offline('breakglass verify --key log.pub --against pull-request.md altered.bgl', folder);
  assert.equal(found.status, 1);
  assert.match(found.stdout, /integrity: BROKEN[^]*segment-damaged/);

  // The grant's own export, against the same checkpoint.
  await fetched(`${emergency.grant}.bgx`, folder);
  const grant = await offline(`breakglass verify --key log.pub --against pull-request.md ${emergency.grant}.bgx`, folder);
  assert.equal(grant.status, 0, grant.stdout);
  assert.match(grant.stdout, /integrity: whole\ncompleteness: whole; what is here tells of no hole/);
});

test('the line on the page of an entry checks the file that is downloaded there, and names the entry that was altered', async () => {
  const folder = join(dir, 'entries');
  mkdirSync(folder);
  for (const kind of ['audit-event', 'request-approved', 'grant-ended', 'gap']) {
    const list = await auditor.open(`/ledger?kind=${kind}`);
    const index = /\/ledger\/entries\/(\d+)"/.exec(list.text.split('id="entries"')[1])?.[1];
    assert.ok(index, kind);
    const { text } = await auditor.open(`/ledger/entries/${index}`);
    const page = words(text);
    const href = /href="(\/ledger\/export\/[^"]+)"[^>]*>entry-/.exec(text)?.[1];
    assert.equal(href, `/ledger/export/entry-${index}.bgx`, page);
    // What the button copies is what the element of that id holds.
    assert.match(text, /<pre id="verify"[^]*data-copy="verify"/);
    const line = words(/<pre id="verify"[^>]*>([^]*?)<\/pre>/.exec(text)[1]);
    const name = href.split('/').at(-1);
    await fetched(name, folder);
    const good = await offline(line, folder);
    assert.equal(good.status, 0, `${line}\n${good.stdout}${good.stderr}`);
    assert.match(good.stdout, /integrity: whole/);
    copyFileSync(join(folder, name), join(folder, 'kept'));
    const file = JSON.parse(readFileSync(join(folder, name), 'utf8'));
    const own_ = file.entries.at(-1);
    own_.payload = own_.payload.replace(/"says":"./, '"says":"#');
    writeFileSync(join(folder, name), JSON.stringify(file));
    const bad = await offline(line, folder);
    assert.equal(bad.status, 1, bad.stdout);
    assert.match(bad.stdout, new RegExp(`payload-altered: [^\\n]*\\b${index}\\b`));
    copyFileSync(join(folder, 'kept'), join(folder, name));
  }
  // What it says, as the entry's page has it for print.
  assert.match(words(auditor.page.text), /The checkpoint that signs the head/);
});
