// Child processes that surely end with the process that started them, also when that one is killed with -9.

import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const keeper = join(dirname(fileURLToPath(import.meta.url)), 'keeper.sh');

/**
 * How much longer than alone anything may take: where many files share a machine with a compiler, a promise of five
 * seconds says nothing about the broker. What it keeps by the clock is measured by ./x bench.
 */
const patience = Number(process.env.WORLD_PATIENCE ?? 1);

/** Waits until `check` gives something other than undefined, null or false; throws with `what` after `ms`. */
export async function until(what, check, { ms = 30_000, every = 100 } = {}) {
  const end = Date.now() + ms * patience;
  let last;
  for (;;) {
    try {
      const value = await check();
      if (value !== undefined && value !== null && value !== false) return value;
      last = undefined;
    } catch (error) {
      if (error.final) throw error;
      last = error;
    }
    if (Date.now() > end) throw new Error(`${what}: not within ${ms * patience / 1000} s${last ? `; last: ${last.message}` : ''}`);
    await sleep(every);
  }
}

/** The last lines of a log file, for error messages. */
export function tail(path, lines = 15) {
  try {
    return readFileSync(path, 'utf8').trimEnd().split('\n').slice(-lines).join('\n');
  } catch {
    return '(no log)';
  }
}

/**
 * A port that is free and that nobody else was given in the last minute: several worlds start at once, and each binds
 * its ports only later. `wanted` is taken where it is free. Below the ports that the system gives to connections.
 */
export async function freePort(wanted = 0) {
  const given = join(tmpdir(), 'breakglass-ports');
  mkdirSync(given, { recursive: true });
  const isFree = (port) => new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
  const isOurs = (port) => {
    const file = join(given, String(port));
    try {
      if (Date.now() - statSync(file).mtimeMs > 60_000) rmSync(file, { force: true });
    } catch { /* nobody was given it */ }
    try {
      closeSync(openSync(file, 'wx'));
      return true;
    } catch {
      return false;
    }
  };
  if (wanted && await isFree(wanted)) return wanted;
  for (;;) {
    const port = randomInt(20_000, 32_000);
    if (isOurs(port) && await isFree(port)) return port;
  }
}

/**
 * Starts `command` (an array) with its output in the file `log` (appended).
 * `env` is added to the environment (`bare`: is all of it but PATH). The child has no terminal and its own process group, so a Ctrl-C
 * reaches only the runner, which ends its children in order. Without `log` its output is ours.
 */
export class Child {
  static async start({ name, command, log, env = {}, bare = false, cwd }) {
    if (log) mkdirSync(dirname(log), { recursive: true });
    const out = log ? openSync(log, 'a', 0o600) : 'inherit';
    const process_ = spawn(keeper, command, {
      detached: true,
      cwd,
      env: bare ? { PATH: process.env.PATH, ...env } : { ...process.env, ...env },
      stdio: ['ignore', out, out, 'pipe'],
    });
    if (log) closeSync(out);
    const child = new Child();
    Object.assign(child, { name, command, log, keeper: process_, ended: false, status: undefined });
    child.exit = new Promise((resolve) => {
      process_.once('exit', (code, signal) => {
        child.ended = true;
        child.status = signal ?? code;
        resolve(child.status);
      });
    });
    child.pid = await new Promise((resolve, reject) => {
      process_.once('error', reject);
      process_.once('exit', () => reject(new Error(`${name} did not start:\n${log ? tail(log) : ''}`)));
      process_.stdio[3].once('data', (text) => resolve(Number(text.toString().trim())));
    });
    process_.stdio[3].on('error', () => {}); // the keeper going away resets the socket; `exit` says so
    process_.unref();
    return child;
  }

  /** Throws, naming the end of its log, when it has ended by itself. For use inside `until`. */
  alive() {
    if (!this.ended) return;
    const error = new Error(`${this.name} ended (${this.status}):\n${tail(this.log)}`);
    error.final = true;
    throw error;
  }

  signal(signal) {
    if (this.ended) return;
    try {
      process.kill(this.pid, signal);
    } catch (error) {
      if (error.code !== 'ESRCH') throw error;
    }
  }

  /** Asks it to end, insists after `graceMs`. */
  async stop(graceMs = 5000) {
    if (this.ended) return;
    this.signal('SIGCONT');
    this.signal('SIGTERM');
    const timer = setTimeout(() => this.signal('SIGKILL'), graceMs);
    await this.exit;
    clearTimeout(timer);
  }

  async kill9() {
    this.signal('SIGKILL');
    // The child itself does not keep this process awake; waiting for its end must.
    const awake = setTimeout(() => {}, 10_000);
    await this.exit;
    clearTimeout(awake);
  }

  /** Ends it and everything it started, at once. */
  async killAll() {
    if (this.ended) return;
    process.kill(-this.keeper.pid, 'SIGKILL');
    await this.exit;
  }
}

/** Runs a command to its end: { status, stdout, stderr }. Throws on a non-zero status unless `anyStatus`. */
export function run(command, { input, env = {}, cwd, anyStatus = false, timeoutMs = 120_000 } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command[0], command.slice(1), { cwd, env: { ...process.env, ...env }, timeout: timeoutMs });
    const out = [];
    const err = [];
    child.stdout.on('data', (part) => out.push(part));
    child.stderr.on('data', (part) => err.push(part));
    child.once('error', reject);
    child.stdin.on('error', () => {}); // a command that does not read its input says so by its status
    child.stdin.end(input ?? '');
    child.once('close', (code, signal) => {
      const result = { status: code ?? signal, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() };
      if (code === 0 || anyStatus) resolve(result);
      else reject(Object.assign(new Error(`${command.join(' ')}: ${result.status}\n${result.stderr}${result.stdout}`), result));
    });
  });
}
