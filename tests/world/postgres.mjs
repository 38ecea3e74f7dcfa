// PostgreSQL for the broker's store, where the world is asked for it: a fresh server that nobody else has.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const script = join(dirname(fileURLToPath(import.meta.url)), 'postgres.sh');

/** Is the store to be in PostgreSQL (`BREAKGLASS_TEST_STORE=postgres`)? */
export const wanted = process.env.BREAKGLASS_TEST_STORE === 'postgres';

/** Starts one: `{address, stop}`. It ends with this process, however that ends. */
export async function startPostgres() {
  const child = spawn(script, ['fsync=on'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(child, 'exit');
  const lines = createInterface({ input: child.stdout });
  const [folder] = await Promise.race([once(lines, 'line'), ended.then(() => { throw new Error('PostgreSQL did not start'); })]);
  return {
    address: `postgres://breakglass@${encodeURIComponent(folder)}/postgres`,
    stop: async () => {
      child.stdin.end();
      await ended;
    },
  };
}
