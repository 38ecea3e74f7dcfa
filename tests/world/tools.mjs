// Where the cluster's programs are: KUBEBUILDER_ASSETS first, then the cache that `./x tools` fills.

import { createHash } from 'node:crypto';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The top of the checkout. */
export const top = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'breakglass', 'tools');

/** The path of a program of the test world; throws with the line that provides it. */
export function tool(name) {
  const assets = process.env.KUBEBUILDER_ASSETS;
  if (assets && existsSync(join(assets, name))) return join(assets, name);
  for (const module of readdirSync(join(top, 'tools'))) {
    const file = join(top, 'tools', module, 'go.mod');
    if (!existsSync(file)) continue;
    // The same sixteen digits that ./x makes with sha256sum.
    const sources = readdirSync(join(top, 'tools', module), { recursive: true }).filter((one) => one.endsWith('.go')).sort();
    const hash = createHash('sha256');
    for (const one of ['go.mod', 'go.sum', ...sources]) hash.update(readFileSync(join(top, 'tools', module, one)));
    const key = hash.digest('hex').slice(0, 16);
    const path = join(cache, key, name);
    if (existsSync(path)) return path;
  }
  throw new Error(`${name} is not built: run ./x tools`);
}
