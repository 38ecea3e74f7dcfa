// One of several worlds that share the test files between them: takes the next file nobody has taken, runs it,
// prints what it said in one piece, until none is left. node lane.mjs QUEUE FILE...
// QUEUE is a folder that all lanes share; a file's report lies in it as tap.

import { spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { basename, join, relative } from 'node:path';

const [queue, ...files] = process.argv.slice(2);
/** The world itself is looked at while it is fresh; then what takes longest, so that no lane ends long after the others. */
const early = ['world', 'crash', 'faults', 'authorization', 'overlap', 'pages', 'hostile', 'after', 'whole', 'emergency', 'restart'];
const rank = (file) => {
  const at = early.indexOf(basename(file, '.test.mjs'));
  return at < 0 ? early.length : at;
};

/** Making the folder is what takes the file: only one lane can. */
function take(file) {
  const folder = join(queue, file.replaceAll('/', '_'));
  try {
    mkdirSync(folder);
    return folder;
  } catch (error) {
    if (error.code === 'EEXIST') return null;
    throw error;
  }
}

function run(file, folder) {
  return new Promise((done, failed) => {
    const said = [];
    const begun = Date.now();
    const child = spawn(process.execPath, ['--test', '--test-concurrency=1', '--test-reporter=spec', '--test-reporter-destination=stdout',
      '--test-reporter=tap', `--test-reporter-destination=${join(folder, 'report.tap')}`, file], { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (part) => said.push(part));
    child.on('error', failed);
    child.on('close', (status) => {
      const text = Buffer.concat(said).toString();
      console.log(`\n${file}  ${((Date.now() - begun) / 1000).toFixed(0)} s\n${text}`);
      done(status === 0 ? null : `${file}\n${text.split('failing tests:').at(-1)}`);
    });
  });
}

const bad = [];
for (const file of files.map((path) => relative('.', path)).sort((a, b) => rank(a) - rank(b))) {
  const folder = take(file);
  const wrong = folder && await run(file, folder);
  if (wrong) bad.push(wrong);
}
// Once more at the end, where whoever looks for it looks first.
for (const one of bad) console.log(`\nFAILED ${one}`);
process.exit(bad.length ? 1 : 0);
