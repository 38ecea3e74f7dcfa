// The software bill of materials of the program as it is released: CycloneDX 1.6, from Cargo's own lock and tree.
//   node tests/world/sbom.mjs [FILE]

import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'smol-toml';
import { run } from './children.mjs';
import { top } from './tools.mjs';

const cargo = async (...args) => (await run(['cargo', ...args, '--locked'], { cwd: top })).stdout;
const purl = (name, version) => `pkg:cargo/${encodeURIComponent(name)}@${encodeURIComponent(version)}`;

/** What a release build links, on this platform and with the default features: `name version` of each, once. */
export async function linked() {
  // `normal` leaves out what only tests or build scripts need.
  const tree = await cargo('tree', '--edges=normal', '--prefix=none', '--no-dedupe', '--format={p}');
  return [...new Set(tree.split('\n').filter(Boolean).map((line) => line.split(' ').slice(0, 2).join(' ').replace(' v', ' ')))].sort();
}

/** The bill as an object. The same lock gives the same bill, to the byte. */
export async function bill() {
  const metadata = JSON.parse(await cargo('metadata', '--format-version=1'));
  const wanted = new Set(await linked());
  const packages = metadata.packages.filter(({ name, version }) => wanted.has(`${name} ${version}`));
  const sums = new Map(parse(readFileSync(join(top, 'Cargo.lock'), 'utf8')).package.map((one) => [`${one.name} ${one.version}`, one.checksum]));
  const known = new Map(packages.map((one) => [one.id, purl(one.name, one.version)]));
  const component = (one) => {
    const sum = sums.get(`${one.name} ${one.version}`);
    return {
      type: one.source === null ? 'application' : 'library',
      'bom-ref': purl(one.name, one.version),
      name: one.name,
      version: one.version,
      ...(one.description ? { description: one.description.replace(/\s+/g, ' ').trim() } : {}),
      scope: 'required',
      ...(sum ? { hashes: [{ alg: 'SHA-256', content: sum }] } : {}),
      // An old way to write OR, which SPDX does not know.
      ...(one.license ? { licenses: [{ expression: one.license.replaceAll('/', ' OR ') }] } : {}),
      purl: purl(one.name, one.version),
      ...(one.repository ? { externalReferences: [{ type: 'vcs', url: one.repository }] } : {}),
    };
  };
  const by = (key) => (a, b) => (a[key] < b[key] ? -1 : Number(a[key] > b[key]));
  const own = packages.find((one) => one.source === null);
  const isNormal = ({ kind }) => kind === null;
  const dependencies = metadata.resolve.nodes.filter(({ id }) => known.has(id)).map(({ id, deps }) => ({
    ref: known.get(id),
    dependsOn: [...new Set(deps.filter((one) => one.dep_kinds.some(isNormal)).map(({ pkg }) => known.get(pkg)).filter(Boolean))].sort(),
  })).sort(by('ref'));
  const components = packages.filter((one) => one !== own).map(component).sort(by('bom-ref'));
  const digest = createHash('sha256').update(JSON.stringify(components)).digest('hex');
  return {
    $schema: 'http://cyclonedx.org/schema/bom-1.6.schema.json',
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    // A UUID made of what is listed (RFC 9562, version 8), so that nothing but the list changes it.
    serialNumber: `urn:uuid:${digest.slice(0, 8)}-${digest.slice(8, 12)}-8${digest.slice(13, 16)}-a${digest.slice(17, 20)}-${digest.slice(20, 32)}`,
    version: 1,
    metadata: { component: component(own) },
    components,
    dependencies,
  };
}

if (import.meta.url === `file://${process.argv[1]}`) {
  const text = `${JSON.stringify(await bill(), null, 2)}\n`;
  const [file] = process.argv.slice(2);
  if (file) writeFileSync(file, text);
  else process.stdout.write(text);
}
