// The running world, for a test: `const world = connect();`. ./x sets BREAKGLASS_WORLD to its world.json.

import { readFileSync } from 'node:fs';
import { matches } from './tap.mjs';
import { controlClient } from './control.mjs';
import { run, until } from './children.mjs';
import { tool } from './tools.mjs';

/**
 * Everything of world.json (addresses, tokens, paths), and the handles:
 * `kubectl(args, {kubeconfig, input, anyStatus})`, `applyYaml(text)`, `tap`, `mail`, `signIn`, `forge`, `sync`,
 * `cluster` and `api` (pause, resume, kill9, start, restart). Handles' methods are those of their modules, awaited.
 * A predicate cannot cross over to the world's process: give `tap.drop` a pattern, and read `events` here.
 */
export function connect(path = process.env.BREAKGLASS_WORLD) {
  if (!path) throw new Error('no world: run through ./x test, or set BREAKGLASS_WORLD to a world.json');
  const facts = JSON.parse(readFileSync(path, 'utf8'));
  const handle = controlClient(facts.control);
  const kubectl = (args, options = {}) => run([tool('kubectl'), '--kubeconfig', options.kubeconfig ?? facts.cluster.adminKubeconfig, ...args],
    { ...options, env: { KUBECACHEDIR: facts.cluster.kubectlCache, ...options.env } });
  /** The audit events so far that match a function or a pattern. */
  const events = (what) => readFileSync(facts.tap.file, 'utf8').split('\n').filter(Boolean)
    .flatMap((line) => {
      try {
        return [JSON.parse(line)]; // the last line may be half written
      } catch {
        return [];
      }
    })
    .filter((event) => matches(event, what));
  return {
    ...facts,
    facts,
    kubectl,
    applyYaml: (text, { namespace } = {}) => kubectl(['apply', '-f', '-', ...(namespace ? ['-n', namespace] : [])], { input: text }),
    events,
    /** Waits for an audit event. */
    event: (what, ms = 15_000) => until(`an audit event like ${JSON.stringify(what)}`, () => events(what)[0], { ms }),
    /** Waits for a message; `what`: a function or a pattern over the fields of mail.mjs. */
    letter: (what, ms = 15_000) => until('a letter', async () => (await handle('mail').messages()).find((one) => matches(one, what)), { ms }),
    tap: handle('tap'),
    mail: handle('mail'),
    signIn: handle('signIn'),
    forge: handle('forge'),
    sync: handle('sync'),
    api: handle('api'),
  };
}
