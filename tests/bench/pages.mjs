// Every page over a year's store: a million ledger entries, five thousand emergencies, two hundred people clicking.

import { existsSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { Agent, request as send } from 'node:http';
import { dirname, join } from 'node:path';
import { Emergency } from '../e2e/emergency.mjs';
import { Actor } from '../world/actor.mjs';
import { binary, startBroker } from '../world/broker.mjs';
import { Child, run } from '../world/children.mjs';
import { startWorld } from '../world/world.mjs';

const emergencies = Number(process.env.BENCH_EMERGENCIES ?? 5_000);
const entries = Number(process.env.BENCH_ENTRIES ?? 1_000_000);
const readers = 200;
const seconds = 60;
const later = (ms) => new Promise((done) => { setTimeout(done, ms); });

/** Fills the broker's store, out of one real emergency that a broker is led through first. */
async function filled(world) {
  const path = join(world.broker.dir, 'breakglass.db');
  const broker = await startBroker({ config: world.broker.config });
  const one = new Emergency({ ...world, kubectl: world.cluster.kubectl }, { tag: 'INC-bench' });
  try {
    await one.through();
  } finally {
    await broker.stop();
    rmSync(one.dir, { recursive: true, force: true });
  }
  const pattern = `${path}.pattern`;
  for (const rest of ['', '-wal', '-shm']) if (existsSync(path + rest)) renameSync(path + rest, pattern + rest);
  const size = (await run([join(dirname(binary()), 'examples', 'busy'), pattern, world.broker.config, path, String(emergencies), String(entries)], { timeoutMs: 3_600_000 })).stdout;
  console.error(`a store of ${size.trim()} entries, ${(statSync(path).size / 1e6).toFixed(0)} MB`);
}

/** Starts the program and returns it with the milliseconds until /readyz said yes. */
async function started(world) {
  const begun = performance.now();
  const child = await Child.start({ name: 'breakglass', command: [binary(), 'serve', '--config', world.broker.config], log: join(world.broker.dir, 'bench.log') });
  for (;;) {
    child.alive();
    const ready = await fetch(`${world.url}/readyz`).then((answer) => answer.ok, () => false);
    if (ready) return { child, ms: performance.now() - begun };
    await later(5);
  }
}

const resident = (child) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))[1]) / 1024;

/** One GET as a browser sends it; milliseconds to the last byte, and the bytes that came. */
function click(agent, url, cookie) {
  return new Promise((resolve, reject) => {
    const begun = performance.now();
    const sent = send(url, { agent, headers: { cookie, 'accept-encoding': 'gzip', accept: 'text/html' } }, (answer) => {
      let bytes = 0;
      answer.on('data', (part) => { bytes += part.length; });
      answer.on('end', () => resolve({ status: answer.statusCode, bytes, ms: performance.now() - begun }));
      answer.on('error', reject);
    });
    // A kept connection may be closed just as it is used again; a browser asks once more then.
    sent.on('error', (error) => (sent.reusedSocket && error.code === 'ECONNRESET' ? resolve(click(agent, url, cookie)) : reject(error)));
    sent.end();
  });
}

/** Pages as somebody meets them who goes through the lists: the addresses on them, each kind once or more. */
async function addresses(actor) {
  const found = new Set(['/', '/feed', '/ledger', '/sla', '/requests', '/follow-ups', '/clusters', '/policy', '/requests/new',
    '/feed?team=payments', '/ledger?kind=grant-ended', '/ledger?kind=signed-in&team=payments']);
  for (const list of ['/requests', '/feed', '/ledger', '/follow-ups', '/sla']) {
    const page = (await actor.open(list)).text.split('<main')[1];
    const links = [...page.matchAll(/href="(\/(?:requests|grants|follow-ups|ledger|feed|sla)[^"#]*)"/g)].map(([, link]) => link.replaceAll('&amp;', '&'));
    for (const link of links.filter((one) => !/\.(json|csv|atom|ndjson)|export/.test(one)).slice(0, 12)) found.add(link);
  }
  const good = [];
  for (const path of found) if ((await actor.open(path)).status === 200) good.push(path);
  return good;
}

const kind = (path) => path.replace(/[0-9a-f-]{36}/g, 'ID').replace(/\/\d+/g, '/N').replace(/=[^&]+/g, '=…');
const rank = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];

export async function pages(dir) {
  const world = await startWorld({ dir });
  let child;
  try {
    await filled(world);
    const first = await started(world);
    child = first.child;
    await later(60_000);
    const idle = resident(child);
    const people = ['compliance', 'auditor', 'operator', 'approver', 'oncall'];
    const sessions = [];
    for (let n = 0; n < readers; n += 1) {
      const actor = await Actor.signedIn(world, people[n % people.length]);
      sessions.push({ actor, cookie: `breakglass=${actor.browser.cookie(world.url, 'breakglass')}`, who: people[n % people.length] });
    }
    const paths = new Map();
    for (const who of people) paths.set(who, await addresses(sessions.find((one) => one.who === who).actor));
    const took = [];
    const agent = new Agent({ keepAlive: true });
    const over = performance.now() + seconds * 1000;
    await Promise.all(sessions.map(async ({ cookie, who }, n) => {
      const mine = paths.get(who);
      await later((n / readers) * 2000);
      for (let turn = n * 7; performance.now() < over; turn += 1) {
        const path = mine[turn % mine.length];
        took.push({ path, who, ...await click(agent, world.url + path, cookie) });
        await later(1500 + Math.random() * 1000);
      }
    }));
    const busy = resident(child);
    const bare = [];
    for (let n = 0; n < 500; n += 1) bare.push((await click(agent, `${world.url}/livez`, '')).ms);
    agent.destroy();
    const bad = took.filter(({ status }) => status !== 200);
    if (bad.length) throw new Error(`${bad.length} of ${took.length} pages did not come: ${bad[0].status} ${bad[0].path} for ${bad[0].who}`);
    const by = {};
    for (const one of took) (by[kind(one.path)] ??= []).push(one);
    for (const [name, all] of Object.entries(by).sort(([a], [b]) => (a < b ? -1 : 1))) {
      const ms = all.map((one) => one.ms).sort((a, b) => a - b);
      console.error(`${name}: ${all.length} times, median ${rank(ms, 0.5).toFixed(1)} ms, p99 ${rank(ms, 0.99).toFixed(1)} ms, ${Math.round(Math.max(...all.map((one) => one.bytes)) / 1000)} kB`);
    }
    const ms = took.map((one) => one.ms).sort((a, b) => a - b);
    console.error(`${took.length} pages, median ${rank(ms, 0.5).toFixed(1)} ms; bare answer ${rank(bare.sort((a, b) => a - b), 0.5).toFixed(2)} ms; resident then ${busy.toFixed(0)} MB`);
    return [
      { figure: 'pages-p99-ms', value: rank(ms, 0.99), goal: '<=50' },
      { figure: 'pages-largest-kb', value: Math.max(...took.map((one) => one.bytes)) / 1000, goal: '<=100' },
      { figure: 'pages-idle-resident-mb', value: idle, goal: '<=30' },
      { figure: 'pages-ready-after-start-ms', value: first.ms, goal: '<=300' },
      { figure: 'release-binary-mb', value: statSync(binary()).size / 1e6, goal: '<=40' },
    ];
  } finally {
    await child?.stop();
    await world.stop();
  }
}
