// The bill of materials against its own schema, and against what Cargo locks and links.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import Ajv from 'ajv';
import formats from 'ajv-formats';
import { parse } from 'smol-toml';
import { bill } from './sbom.mjs';
import { top } from './tools.mjs';

const schemas = join(dirname(createRequire(import.meta.url).resolve('@cyclonedx/cyclonedx-library/package.json')), 'res', 'schema');
const schema = (name) => JSON.parse(readFileSync(join(schemas, `${name}.SNAPSHOT.schema.json`), 'utf8'));

/** What the lock says is linked: every package that is reached from ours by what is no build or test dependency. */
function reached(bom) {
  const next = new Map(bom.dependencies.map(({ ref, dependsOn }) => [ref, dependsOn]));
  const seen = new Set();
  const walk = (ref) => {
    if (seen.has(ref)) return;
    seen.add(ref);
    (next.get(ref) ?? assert.fail(`${ref} is depended on and not listed`)).forEach(walk);
  };
  walk(bom.metadata.component['bom-ref']);
  return seen;
}

test('the bill of materials is CycloneDX, and lists what a release links, no more and no less', async () => {
  const bom = await bill();
  const ajv = new Ajv({ strict: false, validateFormats: true });
  formats(ajv);
  ajv.addFormat('iri-reference', true);
  ajv.addFormat('idn-email', true);
  for (const other of ['spdx', 'jsf-0.82', 'cryptography-defs']) ajv.addSchema({ ...schema(other), $id: `http://cyclonedx.org/schema/${other}.SNAPSHOT.schema.json` });
  const holds = ajv.compile(schema('bom-1.6'));
  assert.ok(holds(bom), JSON.stringify(holds.errors?.slice(0, 3)));
  assert.ok(!holds({ ...bom, components: [{ ...bom.components[0], hashes: [{ alg: 'SHA-256', content: 'no sum' }] }] }), 'the schema refuses nothing');

  const locked = new Map(parse(readFileSync(join(top, 'Cargo.lock'), 'utf8')).package.map((one) => [`${one.name} ${one.version}`, one]));
  for (const one of bom.components) {
    const lock = locked.get(`${one.name} ${one.version}`);
    assert.ok(lock, `${one.purl} is not in Cargo.lock`);
    assert.equal(one.hashes[0].content, lock.checksum, one.purl);
  }
  assert.deepEqual([...reached(bom)].sort(), [bom.metadata.component, ...bom.components].map((one) => one['bom-ref']).sort());
  const names = new Set(bom.components.map(({ name }) => name));
  const { dependencies, 'dev-dependencies': forTests } = parse(readFileSync(join(top, 'Cargo.toml'), 'utf8'));
  for (const [name, { optional }] of Object.entries(dependencies)) assert.equal(names.has(name), !optional, name);
  for (const name of Object.keys(forTests).filter((one) => !(one in dependencies))) assert.ok(!names.has(name) || [...bom.dependencies].some(({ ref, dependsOn }) => ref !== bom.metadata.component['bom-ref'] && dependsOn.some((on) => on.includes(`/${name}@`))), `${name} is for tests`);
  assert.deepEqual(await bill(), bom, 'the same lock gives the same bill');
});
