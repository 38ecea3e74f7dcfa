// What is there: in the store, in the cluster, at the forge, in the mail server. Read from each itself, never
// from the broker's pages, so that what the broker says can be held against it.

import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { binary } from '../world/broker.mjs';
import { run } from '../world/children.mjs';

const grants = 'breakglass-grants';

/** Every row and every entry of the store at `path`: `{ tables: {name: [row]}, entries: [{entry, kind, at, payload}], lines }`. */
export async function storeFacts(path) {
  const dump = join(dirname(binary()), 'examples', 'dump');
  if (!existsSync(dump)) throw new Error(`${dump} is not built: run cargo build --all-targets`);
  const lines = (await run([dump, path])).stdout.split('\n').filter(Boolean);
  const tables = {};
  const entries = [];
  for (const line of lines) {
    const one = JSON.parse(line);
    if (one.table) (tables[one.table] ??= []).push(one.row);
    else entries.push(one);
  }
  return { tables, entries, lines };
}

/** The objects of the grants' namespace, and every binding there is. */
async function clusterFacts(world) {
  const list = async (...args) => JSON.parse((await world.kubectl(['get', ...args, '-o', 'json'])).stdout).items;
  const [objects, bindings, wide] = await Promise.all([
    list('serviceaccounts,secrets,configmaps,pods,roles', '-n', grants), list('rolebindings', '-A'), list('clusterrolebindings'),
  ]);
  return { objects, bindings: [...bindings, ...wide] };
}

/** What the server says of each credential: `{grant, what, status}`, the status of a request made with it. */
async function credentialFacts(world, store, keys) {
  const tried = keys.map(async ({ grant, file }) => {
    const answer = await world.kubectl(['get', '--raw', '/version'], { kubeconfig: file, anyStatus: true });
    const dead = /Unauthorized|must be logged in|provide credentials/.test(answer.stderr);
    return { grant, what: 'a key that was shown', status: answer.status === 0 ? 'alive' : dead ? 'dead' : `unclear: ${answer.stderr}` };
  });
  const probes = (store.tables.grants ?? []).flatMap(({ document }) => document.reveals.filter((one) => one.probe_token).map((one) => [document.id, one]));
  const reviewed = probes.map(async ([grant, reveal]) => {
    const review = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec: { token: reveal.probe_token, audiences: ['breakglass-probe'] } };
    const { status } = JSON.parse((await world.kubectl(['create', '-o', 'json', '-f', '-'], { input: JSON.stringify(review) })).stdout);
    return { grant, reveal: reveal.id, what: `the probe of ${reveal.secret_name}`, status: status.authenticated ? 'alive' : 'dead' };
  });
  return Promise.all([...tried, ...reviewed]);
}

/** Pull requests and check runs of the shop's repository. */
function forgeFacts(world) {
  const state = JSON.parse(readFileSync(join(world.dir, 'forge', 'forge.json'), 'utf8'));
  const { id, pulls, checks } = state.repos[world.forgeAddress.repository];
  return { pulls, checks, git: join(world.dir, 'forge', `${id}.git`) };
}

/** `breakglass verify` over the store: nothing, or what it says. */
async function verified(world, path) {
  const note = await fetch(`${world.url}/log/checkpoint`).then((answer) => (answer.ok ? answer.text() : undefined), () => undefined);
  const key = world.ledgerKey;
  if (!key) throw new Error('assertWhole needs world.ledgerKey, the log\'s public key');
  const said = await run([binary(), 'verify', '--key', key, path], { anyStatus: true });
  return { status: said.status, text: said.stdout + said.stderr, note };
}

/** All of it. `keys`: `[{grant, file}]`, the kubeconfigs that were shown; one whose grant is live is not judged. */
export async function collect(world, { keys = [] } = {}) {
  const path = join(world.broker.dir, 'breakglass.db');
  // Before the store: a letter is sent after its notice was committed, so each letter read here has its notice there.
  const letters = await world.mail.messages();
  const store = await storeFacts(path);
  const [cluster, credentials, ledger] = await Promise.all([clusterFacts(world), credentialFacts(world, store, keys), verified(world, path)]);
  return { now: Date.now(), store, cluster, credentials, ledger, letters, forge: forgeFacts(world) };
}
