// What SECURITY.md says is shown by a test is shown by a test of that name.

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { top } from './tools.mjs';

/** The tests a text names: [{ file, name }]. */
const namedIn = (text) => [...text.matchAll(/^ *- (\S+\.(?:mjs|rs)) › (.+)$/gm)].map(([, file, name]) => ({ file, name: name.trim() }));

/** The names of the tests in a source file. */
function testsIn(file, text) {
  if (file.endsWith('.mjs')) return [...text.matchAll(/^\s*test\('((?:[^'\\]|\\.)*)'/gm)].map((one) => one[1].replaceAll("\\'", "'"));
  return [...text.matchAll(/#\[(?:tokio::)?test[^\]]*\]\s*(?:#\[[^\]]*\]\s*)*(?:async )?fn (\w+)/g)].map((one) => one[1]);
}

const missing = (named) => named.filter(({ file, name }) => !existsSync(join(top, file)) || !testsIn(file, readFileSync(join(top, file), 'utf8')).includes(name))
  .map(({ file, name }) => `${file} › ${name}`);

test('every test that SECURITY.md names is there', (t) => {
  const text = readFileSync(join(top, 'SECURITY.md'), 'utf8');
  const named = namedIn(text);
  assert.ok(named.length > 60, `only ${named.length} tests are named`);
  assert.deepEqual(missing(named), []);
  // Each runs in the same run of ./x test, which is what says whether it held.
  t.diagnostic(`tried: ${named.length} attacks`);
  const threats = text.split('## Who is defended against')[1].split('## What is not defended')[0].split('\n');
  const bare = threats.filter((line, n) => line.startsWith('- ') && !threats.slice(n + 1).find((next) => !/^ {2}[^- ]/.test(next))?.startsWith('  - '));
  assert.deepEqual(bare, [], 'a threat without a test');
});

test('every attack that is tried is named in SECURITY.md', () => {
  const named = new Set(namedIn(readFileSync(join(top, 'SECURITY.md'), 'utf8')).map(({ file, name }) => `${file} › ${name}`));
  const attacks = ['tests/e2e/forms.test.mjs', 'tests/e2e/sessions.test.mjs', 'tests/e2e/decisions.test.mjs', 'tests/e2e/intake.test.mjs', 'tests/browser/hostile.test.mjs', 'tests/e2e/attacks.test.mjs'];
  // Tests of the tests themselves.
  const helpers = ['every form is a POST, and one sent as our own pages send it reaches its handler', 'the check itself sees what it must see'];
  const unnamed = attacks.flatMap((file) => testsIn(file, readFileSync(join(top, file), 'utf8')).filter((name) => !helpers.includes(name)).map((name) => `${file} › ${name}`)).filter((one) => !named.has(one));
  assert.deepEqual(unnamed, []);
});

test('a test that is not there is found missing', () => {
  const named = namedIn('- threat\n  - tests/e2e/forms.test.mjs › nobody does anything\n  - src/domain/person.rs › nothing_at_all\n  - src/none.rs › x\n  - src/domain/person.rs › a_group_is_matched_whole\n');
  assert.equal(named.length, 4);
  assert.equal(missing(named).length, 3);
});
