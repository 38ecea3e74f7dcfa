// The audit intake at speed: what API servers send, over HTTP, on the disk before the answer; each figure against its
// floor measured in the same run. Environment: BENCH_ENTRIES (how many events until flatness is looked at; a million),
// BENCH_SECONDS (how long the paced load lasts; 20).

import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { binary, breakglass, startBroker } from '../world/broker.mjs';
import { run } from '../world/children.mjs';
import { configWith } from '../world/routes.mjs';
import { startWorld } from '../world/world.mjs';

const entries = Number(process.env.BENCH_ENTRIES ?? 1_000_000);
const seconds = Number(process.env.BENCH_SECONDS ?? 20);
const senders = 8;
const batch = 400;
const paced = 12_000;

const flood = async (...args) => JSON.parse((await run([join(dirname(binary()), 'examples', 'flood'), ...args.map(String)], { timeoutMs: 3_600_000 })).stdout);
const peak = (pid) => Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1024;
const goals = {
  Metadata: { p99: 25, share: 0.1 },
  RequestResponse: { p99: 50, share: 0.2 },
};

/** A broker with an empty store that keeps everything, and nothing else that works meanwhile. */
async function broker(world, name) {
  const db = join(world.broker.dir, `${name}.db`);
  const config = configWith(world, name, (settings) => {
    settings.store = { ...settings.store, sqlite: db };
    for (const cluster of Object.values(settings.clusters)) cluster.audit.keep = 'everything';
  });
  const started = await startBroker({ config, env: { RUST_LOG: 'error' } });
  return { db, config, started, hook: [`${world.url}${world.broker.auditPath}`, world.broker.auditToken, started.pid] };
}

export async function intake(dir) {
  const world = await startWorld({ dir });
  const figures = [];
  const figure = (name, value, goal) => figures.push({ figure: `intake-${name}`, value, goal });
  try {
    let one;
    for (const level of ['Metadata', 'RequestResponse']) {
      const bodies = level === 'Metadata' ? 400 : 160;
      const name = level.toLowerCase();
      one = await broker(world, `intake-${name}`);
      // Whatever the API server did from here on would be measured too.
      await world.cluster.api.pause();
      mkdirSync(join(dir, name), { recursive: true });
      const floors = await flood('floors', level, bodies, join(dir, name));
      rmSync(join(dir, name), { recursive: true });
      const before = await flood('stored', one.db);
      const full = await flood('send', ...one.hook, level, bodies, senders, 97, 0);
      const after = await flood('stored', one.db);
      const even = await flood('send', ...one.hook, level, Math.ceil((paced * seconds) / batch), senders, 193, paced);
      console.error(level, JSON.stringify({ floors, full, even }));
      const cores = 2 * (1e6 / floors.work_us);
      figure(`${name}-over-bare-append`, full.rate / floors.append_rate, '>=1.0');
      figure(`${name}-over-two-cores-of-floor`, full.rate / cores, '>=0.65');
      figure(`${name}-processor-over-floor`, full.cpu_us / floors.work_us, '<=1.25');
      figure(`${name}-over-row-an-event`, full.rate / floors.rows_rate, '>=4');
      figure(`${name}-paced-p99-ms`, even.p99, `<=${goals[level].p99}`);
      figure(`${name}-paced-share-of-a-core`, even.share, `<=${goals[level].share}`);
      figure(`${name}-refused`, full.refused + even.refused, '<=0');
      if (level === 'Metadata') {
        figure(`${name}-stored-over-sent`, (after.bytes - before.bytes) / full.bytes, '<=0.15');
        await verified(world, one, floors, figure);
        await flat(world, one, figure);
      }
      figure(`${name}-peak-mb`, peak(one.started.pid), '<=200');
      await one.started.stop();
      await world.cluster.api.resume();
    }
    one = await broker(world, 'intake-long');
    await world.cluster.api.pause();
    const long = await flood('long', ...one.hook.slice(0, 2), ...Array(8).fill(30), 200);
    console.error('long', JSON.stringify(long));
    figure('long-bodies-taken', long.taken, '>=9');
    figure('long-bodies-other-answers', long.odd, '<=0');
    figure('long-bodies-slowest-answer-s', long.slowest, '<=20');
    figure('long-bodies-peak-mb', peak(one.started.pid), '<=200');
    await one.started.stop();
    await world.cluster.api.resume();
    return figures;
  } finally {
    world.cluster.api.resume();
    await world.stop();
  }
}

/** The verifier over all of it, against decompressing and hashing the same on one core. */
async function verified(world, one, floors, figure) {
  const key = (await breakglass(['key', one.config])).stdout.trim();
  const { entries: size } = await flood('stored', one.db);
  const begun = performance.now();
  await breakglass(['verify', '--key', key, one.db], { anyStatus: true, timeoutMs: 3_600_000 });
  figure('verifier-over-reading', size / ((performance.now() - begun) / 1000) / floors.read_rate, '>=0.9');
}

/** The same load again and again until the ledger is long; and how long such a store takes to open. */
async function flat(world, one, figure) {
  const rates = [];
  let { entries: size } = await flood('stored', one.db);
  for (let n = 0; size < entries || n < 4; n += 1) {
    rates.push((await flood('send', ...one.hook, 'Metadata', 250, senders, 1_009 + 2 * n, 0)).rate);
    ({ entries: size } = await flood('stored', one.db));
  }
  const tenth = Math.max(2, Math.floor(rates.length / 10));
  const mean = (some) => some.reduce((sum, rate) => sum + rate, 0) / some.length;
  console.error(`${size} entries: ${rates.map(Math.round).join(' ')}`);
  figure('rate-at-the-end-over-beginning', mean(rates.slice(-tenth)) / mean(rates.slice(0, tenth)), '>=0.9');
  await world.cluster.api.resume();
  const begun = performance.now();
  await one.started.restart();
  one.hook[2] = one.started.pid;
  figure('open-ms', performance.now() - begun, '<=500');
}
