// One of several worlds that share the test files between them: runs its share, prints what each file said in one
// piece. node lane.mjs REPORTS LANE LANES FILE...
// REPORTS is a folder that all lanes share; a file's report lies in it as tap. Who runs what, and after what, is the
// same each time on every machine: what a file leaves in its world is what the next one always found.

import { spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { basename, join, relative } from 'node:path';

const [reports, lane, lanes, ...files] = process.argv.slice(2);

/** Seconds that a file takes, about; what is not named takes half a minute. */
const weights = {
  crash: 560, overlap: 280, pages: 230, after: 175, faults: 150, attacks: 130, authorization: 120, hostile: 120, emergency: 120, counters: 200, log: 90, restart: 60, manifests: 60, whole: 55,
  record_flood: 170, record_killed: 120, record_doctored: 60,
};
const name = (file) => basename(file, '.test.mjs');
const weight = (file) => weights[name(file)] ?? 30;

/** The files of each lane: the longest first, each to the lane that has the least to do. A world is looked at while it is fresh. */
function shares() {
  const all = Array.from({ length: Number(lanes) }, () => ({ seconds: 0, files: [] }));
  const order = files.map((path) => relative('.', path))
    .sort((a, b) => (name(b) === 'world') - (name(a) === 'world') || weight(b) - weight(a) || (a < b ? -1 : 1));
  for (const file of order) {
    const least = all.reduce((one, other) => (other.seconds < one.seconds ? other : one));
    least.files.push(file);
    least.seconds += weight(file);
  }
  return all.map((one) => one.files);
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
for (const file of shares()[Number(lane) - 1]) {
  const folder = join(reports, file.replaceAll('/', '_'));
  mkdirSync(folder);
  const wrong = await run(file, folder);
  if (wrong) bad.push(wrong);
}
// Once more at the end, where whoever looks for it looks first.
for (const one of bad) console.log(`\nFAILED ${one}`);
process.exit(bad.length ? 1 : 0);
