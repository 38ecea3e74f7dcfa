// Figures: node main.mjs [NAME]. A line each: name value goal<op>number reached|missed. Exit status 1 when one is missed.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { auditDelay } from './audit_delay.mjs';
import { worldStart } from './world_start.mjs';

const benches = { 'world-start': worldStart, 'audit-delay': auditDelay };
const wanted = process.argv[2];
if (wanted && !Object.hasOwn(benches, wanted)) {
  console.error(`no bench ${wanted}; there are: ${Object.keys(benches).join(', ')}`);
  process.exit(2);
}
let missed = 0;
for (const [name, bench] of Object.entries(benches)) {
  if (wanted && wanted !== name) continue;
  const dir = mkdtempSync(join(tmpdir(), 'bench-'));
  try {
    for (const { figure, value, goal } of await bench(dir)) {
      const [, op, number] = /^(<=|>=|<|>)([\d.]+)/.exec(goal);
      const reached = { '<=': value <= number, '>=': value >= number, '<': value < number, '>': value > number }[op];
      if (!reached) missed += 1;
      console.log(`${figure} ${Number(value.toFixed(3))} goal${goal} ${reached ? 'reached' : 'missed'}`);
    }
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
process.exit(missed ? 1 : 0);
