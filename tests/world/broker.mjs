// The real broker, as a process of the test world.

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { Child, run, until } from './children.mjs';
import { top } from './tools.mjs';

/** The built program; `BREAKGLASS_BINARY` names another build of it. */
export const binary = () => process.env.BREAKGLASS_BINARY || join(process.env.CARGO_TARGET_DIR || join(top, 'target'), 'debug', 'breakglass');

/** Runs `breakglass` with these arguments to its end. */
export function breakglass(args, options) {
  if (!existsSync(binary())) throw new Error(`${binary()} is not built: run cargo build`);
  return run([binary(), ...args], options);
}

/**
 * Starts `breakglass serve --config FILE` and waits until it is ready.
 * `config`: path of the file. `log`: path of its log (beside the configuration by default).
 */
export async function startBroker({ config, env = {}, log = `${config}.log`, readyMs = 60_000 }) {
  if (!existsSync(binary())) throw new Error(`${binary()} is not built: run cargo build`);
  const url = parse(readFileSync(config, 'utf8')).server.public_url;
  let child;
  async function start() {
    child = await Child.start({ name: 'breakglass', command: [binary(), 'serve', '--config', config], env: { RUST_BACKTRACE: '1', ...env }, log });
    await until('the broker', async () => {
      child.alive();
      return (await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(2000) })).ok;
    }, { ms: readyMs });
  }
  await start();
  return {
    url,
    config,
    /** Everything it has logged, earlier runs included. */
    log: () => readFileSync(log, 'utf8'),
    kill9: () => child.kill9(),
    stop: () => child.stop(),
    /** Starts it again, after a stop if it runs. */
    async restart() {
      await child.stop();
      await start();
    },
    pause: () => child.signal('SIGSTOP'),
    resume: () => child.signal('SIGCONT'),
    get running() { return !child.ended; },
    get pid() { return child.pid; },
  };
}
