// Looks for secrets where none may be: store, ledger, log, mail, pages, pull requests. Every secret of the world is
// a canary: the broker holds or reads each of them, and none may come out anywhere.

import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { words } from '../world/actor.mjs';
import { run } from '../world/children.mjs';

const kind = (path) => path.split('?')[0].replace(/[0-9a-f]{8}-[0-9a-f-]{27}|\b\d+\b/g, 'ID');

/** The part of a secret that is searched for: of a JWT its signature, of a PEM file a line in the middle. */
function core(value) {
  if (/^-----BEGIN/.test(value)) return value.split('\n')[5];
  if (/^eyJ[\w-]+\.[\w-]+\.[\w-]+$/.test(value)) return value.split('.')[2];
  return value;
}

/** The token of a kubeconfig. */
const tokenIn = (file) => /token"?:\s*"?(eyJ[\w.-]+)/.exec(readFileSync(file, 'utf8'))[1];

/** `{name: value}`: everything that must not come out. */
export function secretsOf(world, { keys = [], actors = [] } = {}) {
  const found = {};
  const folder = join(world.broker.dir, 'secrets');
  for (const file of readdirSync(folder)) found[`the broker's ${file}`] = readFileSync(join(folder, file), 'utf8').trim();
  found['the broker\'s token for the cluster'] = tokenIn(world.cluster.brokerKubeconfig);
  const own = JSON.parse(readFileSync(join(world.dir, 'secrets.json'), 'utf8'));
  found['a Secret\'s value in the cluster'] = own.gatewayKey;
  found['a Secret\'s value in git'] = own.inGit;
  for (const { grant, file } of keys) found[`the key of grant ${grant}`] = tokenIn(file);
  for (const actor of actors) {
    const cookie = actor.browser.cookie(actor.url, 'breakglass');
    if (cookie) found[`the session of ${actor.person}`] = decodeURIComponent(cookie);
  }
  return found;
}

/** The spellings under which a secret may come out. */
function spellings(value) {
  const text = core(value);
  const bytes = Buffer.from(text);
  return [...new Set([text, encodeURIComponent(text), bytes.toString('base64').replace(/=+$/, '').slice(0, -1), bytes.toString('hex')])].filter((one) => one.length >= 16);
}

/** The pages `actor` can reach by links: a few of every kind. */
async function pagesOf(actor, most = 120) {
  const texts = [];
  const todo = ['/', '/feed.json', '/feed.atom', '/feed.csv', '/sla.csv', '/log/checkpoint'];
  const seen = new Set(todo);
  const kinds = new Map();
  while (todo.length && texts.length < most) {
    const path = todo.shift();
    const page = await actor.browser.get(actor.url + path);
    texts.push({ where: `${path} as ${actor.person}`, text: page.text });
    for (const [, link] of page.text.matchAll(/(?:href|action)="([^"]+)"/g)) {
      const url = new URL(link.replaceAll('&amp;', '&').replaceAll('&#38;', '&'), actor.url);
      const next = url.pathname + url.search;
      const count = kinds.get(kind(next)) ?? 0;
      if (url.origin !== new URL(actor.url).origin || seen.has(next) || count >= 4 || /^\/(sign-|static\/)|\/live$|\/(done|end|shorten|reveal|approve|deny|withdraw)$/.test(url.pathname)) continue;
      kinds.set(kind(next), count + 1);
      seen.add(next);
      todo.push(next);
    }
  }
  return texts;
}

/** Everything that came out: `[{where, text}]`. */
export async function outlets(world, facts, { actors = [] } = {}) {
  const texts = facts.store.lines.map((line) => ({ where: line.startsWith('{"table"') ? `table ${/"table":"(\w+)"/.exec(line)?.[1]}` : 'the ledger', text: line }));
  // The pages of the file, too: what was deleted may still lie there.
  for (const file of ['breakglass.db', 'breakglass.db-wal']) {
    const path = join(world.broker.dir, file);
    if (existsSync(path)) texts.push({ where: file, text: readFileSync(path, 'latin1') });
  }
  texts.push({ where: 'the log', text: readFileSync(`${world.broker.config}.log`, 'utf8') });
  for (const letter of facts.letters) texts.push({ where: `the letter "${letter.subject}"`, text: `${letter.raw}\n${letter.text}\n${letter.html}` });
  for (const pull of facts.forge.pulls) texts.push({ where: `pull request #${pull.number}`, text: `${pull.title}\n${pull.body}` });
  for (const check of facts.forge.checks) texts.push({ where: `check ${check.name}`, text: JSON.stringify(check) });
  // What was committed since the shop's first commit, which has a Secret in it.
  texts.push({ where: 'the commits', text: (await run(['git', '-C', facts.forge.git, 'log', '-p', '--all', '--min-parents=1', '-m'])).stdout });
  for (const actor of actors) texts.push(...await pagesOf(actor));
  return texts;
}

/** Where a secret came out, in words. */
export function found(secrets, texts) {
  const wrong = new Set();
  for (const [name, value] of Object.entries(secrets)) {
    const forms = spellings(value);
    if (!forms.length) throw new Error(`${name} is too short to be searched for`);
    for (const { where, text } of texts) if (forms.some((form) => text.includes(form))) wrong.add(`leak: ${name} is in ${where}`);
  }
  return [...wrong];
}

/** What came out that must not. The page that shows a key is looked at by nobody here. */
export async function leaks(world, facts, { keys = [], actors = [] } = {}) {
  const texts = await outlets(world, facts, { actors });
  if (actors.length && texts.filter(({ text }) => words(text).includes('breakglass')).length < 3) throw new Error('the pages were not read');
  return found(secretsOf(world, { keys, actors }), texts);
}
