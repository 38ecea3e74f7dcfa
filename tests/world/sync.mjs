// The shop's delivery: applies the repository's main branch as soon as it moves. It does not heal what
// is changed by hand, and it deletes nothing.

import { mkdtempSync, readdirSync, rmSync, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './children.mjs';
import { writeWhole } from './certificates.mjs';

/**
 * `url`: the repository; `header`: an HTTP header git sends, if any. Each folder `apps/<namespace>` is applied
 * into its namespace, server-side, by the field manager `shop-sync`.
 */
export function startSync({ url, header, branch = 'main', kubectl, kubeconfig, dir, everyMs = 1500, log = () => {} }) {
  const git = (args) => run(['git', ...(header ? ['-c', `http.extraHeader=${header}`] : []), ...args],
    { env: { GIT_TERMINAL_PROMPT: '0', GIT_CONFIG_NOSYSTEM: '1' }, timeoutMs: 30_000 });
  const kept = join(dir, 'applied');
  let applied = existsSync(kept) ? readFileSync(kept, 'utf8') : undefined;
  let problem;
  let running = Promise.resolve();
  let stopped = false;

  async function once() {
    const head = (await git(['ls-remote', url, `refs/heads/${branch}`])).stdout.split('\t')[0];
    if (!head) throw new Error(`${url} has no branch ${branch}`);
    if (head === applied) return;
    const work = mkdtempSync(join(dir, 'tree-'));
    try {
      await git(['clone', '--quiet', '--depth=1', `--branch=${branch}`, url, work]);
      const revision = (await run(['git', '-C', work, 'rev-parse', 'HEAD'])).stdout.trim();
      for (const namespace of readdirSync(join(work, 'apps')).sort()) {
        const apply = () => kubectl(['apply', '--server-side', '--field-manager=shop-sync', '--force-conflicts', '-n', namespace, '-R', '-f', join(work, 'apps', namespace)], { kubeconfig });
        // The first time, objects may come before the Namespace they are in.
        await apply().catch(apply);
      }
      applied = revision;
      writeWhole(kept, revision);
      log(`shop: main at ${revision.slice(0, 12)} is applied`);
    } finally {
      rmSync(work, { recursive: true, force: true });
    }
  }

  const sync = {
    /** Looks now; resolves with the revision that is applied. */
    now() {
      running = running.catch(() => {}).then(once);
      return running.then(() => applied);
    },
    /** The revision applied last. */
    revision: () => applied,
    problem: () => problem,
    async stop() {
      stopped = true;
      clearTimeout(timer);
      await running.catch(() => {});
    },
  };
  let timer;
  const loop = () => {
    if (stopped) return;
    sync.now().then(() => { problem = undefined; }, (error) => {
      if (problem !== error.message) log(`shop: ${error.message}`);
      problem = error.message;
    }).finally(() => { if (!stopped) timer = setTimeout(loop, everyMs); });
  };
  timer = setTimeout(loop, everyMs);
  return sync;
}
