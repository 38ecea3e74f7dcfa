// A disk that fails when it is told to, for the files of one folder.

import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run } from './children.mjs';

const source = join(dirname(fileURLToPath(import.meta.url)), 'faulty_disk.c');

/**
 * Faults for the files of `folder`. `env` is the environment of the process that has them; the ways are those of
 * faulty_disk.c: `fsync` (one fails), `no-fsync`, `read-only`.
 */
export async function faultyDisk(folder) {
  const library = `${folder}.so`;
  await run(['cc', '-shared', '-fPIC', '-O1', '-Wall', '-Werror', '-o', library, source, '-ldl']);
  const flag = (way) => `${folder}.${way}`;
  return {
    env: { LD_PRELOAD: library, FAULTY_DISK: folder },
    fail: (way) => writeFileSync(flag(way), ''),
    /** Whether a fault is still to come; `fsync` is over once one has failed. */
    fails: (way) => existsSync(flag(way)),
    mend() {
      for (const way of ['fsync', 'no-fsync', 'read-only']) rmSync(flag(way), { force: true });
    },
  };
}
