// Holds the dependencies to deny.toml (licences, bans, sources) where cargo-deny is not installed.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'smol-toml';
import { run } from './children.mjs';
import { top } from './tools.mjs';

/** Does an SPDX expression hold with only these licences? AND binds closer than OR; `/` is an old way to write OR. */
export function licensed(expression, allowed) {
  const words = expression.replaceAll('/', ' OR ').replaceAll('(', ' ( ').replaceAll(')', ' ) ').split(/\s+/).filter(Boolean);
  let at = 0;
  const one = () => {
    if (words[at] === '(') {
      at += 1;
      const inner = any();
      if (words[at] !== ')') throw new Error(`no closing bracket in ${expression}`);
      at += 1;
      return inner;
    }
    let name = words[at];
    at += 1;
    if (words[at] === 'WITH') {
      name += ` WITH ${words[at + 1]}`;
      at += 2;
    }
    return allowed.has(name);
  };
  const all = () => {
    let holds = one();
    while (words[at] === 'AND') {
      at += 1;
      holds = one() && holds;
    }
    return holds;
  };
  function any() {
    let holds = all();
    while (words[at] === 'OR') {
      at += 1;
      holds = all() || holds;
    }
    return holds;
  }
  const holds = any();
  if (at !== words.length) throw new Error(`cannot read the licence ${expression}`);
  return holds;
}

/** Every breach of `rules` (deny.toml as an object) among `packages` (those of `cargo metadata`). */
export function breaches(rules, packages) {
  const allowed = new Set(rules.licenses.allow);
  const denied = new Set(rules.bans.deny.map((ban) => ban.crate));
  return packages.flatMap(({ name, version, license, source, dependencies }) => {
    const who = `${name} ${version}`;
    const own = source === null;
    return [
      ...(!license ? [`${who} names no licence`] : licensed(license, allowed) ? [] : [`${who}: the licence ${license} is not allowed`]),
      ...(denied.has(name) ? [`${who} is banned`] : []),
      ...(own || source.startsWith('registry+https://github.com/rust-lang/crates.io-index') ? [] : [`${who} comes from ${source}`]),
      ...(own ? dependencies.filter((one) => one.req === '*').map((one) => `${who}: ${one.name} is asked for without a version`) : []),
    ];
  });
}

if (import.meta.url === `file://${process.argv[1]}`) {
  const rules = parse(readFileSync(join(top, 'deny.toml'), 'utf8'));
  const cargo = async (...args) => (await run(['cargo', ...args, '--locked', '--all-features'], { cwd: top })).stdout;
  // `cargo metadata` also lists what features that nobody asks for would bring; `cargo tree` what is really built,
  // on every platform.
  const tree = await cargo('tree', '--target=all', '--edges=all', '--prefix=none', '--format={p}');
  const used = new Set(tree.split('\n').map((line) => line.split(' ').slice(0, 2).join(' ')));
  const packages = JSON.parse(await cargo('metadata', '--format-version=1')).packages
    .filter((one) => used.has(`${one.name} v${one.version}`));
  const found = breaches(rules, packages);
  found.forEach((line) => console.error(line));
  console.log(`${packages.length} packages, ${found.length} breaches of deny.toml (cargo-deny is not installed: advisories were not looked at)`);
  process.exit(found.length ? 1 : 0);
}
