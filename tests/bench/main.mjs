// Figures: node main.mjs [NAME]. A line each: name value goal<op>number reached|missed. Exit status 1 when one is missed.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { auditDelay } from './audit_delay.mjs';
import { printed } from './figures.mjs';
import { intake } from './intake.mjs';
import { loop } from './loop.mjs';
import { pages } from './pages.mjs';
import { worldStart } from './world_start.mjs';

const benches = { 'world-start': worldStart, 'audit-delay': auditDelay, intake, loop, pages };
/** What one name runs: the loop is what people wait for and the pages they look at meanwhile. */
const groups = { loop: ['loop', 'pages'] };
const wanted = process.argv[2];
if (wanted && !Object.hasOwn(benches, wanted)) {
  console.error(`no bench ${wanted}; there are: ${Object.keys(benches).join(', ')}`);
  process.exit(2);
}
let missed = 0;
for (const [name, bench] of Object.entries(benches)) {
  if (wanted && !(groups[wanted] ?? [wanted]).includes(name)) continue;
  const dir = mkdtempSync(join(tmpdir(), 'bench-'));
  try {
    missed += printed(await bench(dir));
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
process.exit(missed ? 1 : 0);
