// Screenshots of every page that can be reached by links, as each person sees it: node shots.mjs FOLDER
// Each in three looks: light, dark, phone. A few pages of a kind (addresses that differ by an id are one kind).
// Before, three emergencies are brought about: one that owes git, one that is active, one that waits for approval.

import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { ended, lent } from '../e2e/steps.mjs';
import { Actor } from '../world/actor.mjs';
import { startBroker } from '../world/broker.mjs';
import { launch, visitAs } from '../world/browser.mjs';
import { connect } from '../world/client.mjs';

const folder = resolve(process.argv[2] ?? 'shots');
const most = 60; // pages a person; more means that a link makes new kinds without end
const ofAKind = 3;
const looks = {
  light: { viewport: { width: 1280, height: 900 }, colorScheme: 'light' },
  dark: { viewport: { width: 1280, height: 900 }, colorScheme: 'dark' },
  phone: { viewport: { width: 390, height: 844 }, colorScheme: 'light', isMobile: true, hasTouch: true, deviceScaleFactor: 2 },
};
const people = ['oncall', 'approver', 'compliance', 'auditor', 'operator'];

/** The kind of page an address is: ids and numbers say nothing. */
const kind = (path) => path.replace(/[0-9a-f]{8}-[0-9a-f-]{27}|\b[0-9a-f]{40}\b|\b\d+\b/g, 'ID');
const nameOf = (path) => kind(path).replace(/^\//, '').replaceAll(/[^\w.-]+/g, '_') || 'home';

/** Brings about what the pages are to show. */
async function emergencies() {
  const dir = mkdtempSync(join(tmpdir(), 'shots-'));
  try {
    const [engineer, approver] = [await Actor.signedIn(world, 'oncall'), await Actor.signedIn(world, 'approver')];
    const kubectl = (key, ...args) => world.kubectl(['-n', 'payments', ...args], { kubeconfig: key, anyStatus: true });
    const owing = await lent({ engineer, approver, dir });
    await kubectl(owing.key, 'scale', 'deployment', 'payments-api', '--replicas=5');
    await ended(engineer, owing.grant);
    const followUp = /\/follow-ups\/[0-9a-f-]{36}/.exec((await engineer.open(`/grants/${owing.grant}`)).text)[0];
    await engineer.sees(followUp, /pull request/i, 90_000);
    const active = await lent({ engineer, approver, dir }, { reason: 'Orders are stuck again; the consumer needs a restart.', incident: 'INC-4712' });
    await kubectl(active.key, 'get', 'pods');
    await kubectl(active.key, 'rollout', 'restart', 'deployment/payments-api');
    await kubectl(active.key, 'get', 'secrets');
    await engineer.sees(`/grants/${active.grant}`, /restarted/);
    await engineer.ask({ reason: 'The certificate of the payments ingress runs out in an hour.', incident: 'INC-4713', minutes: 15 });
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

const world = connect();
const broker = await startBroker({ config: world.broker.config });
const browser = await launch();
let taken = 0;
try {
  await emergencies();
  for (const person of [null, ...people]) {
    const context = await browser.newContext(looks.light);
    const page = await context.newPage();
    if (person) await visitAs(page, `${broker.url}/sign-in`, person);
    const cookies = await context.storageState();
    const todo = ['/'];
    const kinds = new Map([['/', 1]]);
    const known = new Set(['/']);
    const pages = [];
    while (todo.length && pages.length < most) {
      const path = todo.shift();
      const answer = await page.goto(broker.url + path).catch((error) => {
        if (!/Download is starting/.test(error.message)) throw error;
        return null;
      });
      if (!answer?.headers()['content-type']?.startsWith('text/html')) continue;
      const twins = pages.filter((page) => kind(page.path) === kind(path)).length;
      pages.push({ path, file: `${nameOf(path)}${twins ? `-${twins + 1}` : ''}.png` });
      const links = await page.locator('a[href]').evaluateAll((all) => all.map((one) => one.href));
      for (const link of links) {
        const url = new URL(link);
        const like = kinds.get(kind(url.pathname)) ?? 0;
        const bound = kind(url.pathname) === url.pathname ? 1 : ofAKind;
        if (url.origin !== new URL(broker.url).origin || /^\/sign-(in|out)/.test(url.pathname) || known.has(url.pathname) || like >= bound) continue;
        kinds.set(kind(url.pathname), like + 1);
        known.add(url.pathname);
        todo.push(url.pathname + url.search);
      }
    }
    await context.close();
    for (const [look, options] of Object.entries(looks)) {
      const looking = await browser.newContext({ ...options, storageState: cookies });
      const sheet = await looking.newPage();
      const into = join(folder, person ?? 'signed-out', look);
      mkdirSync(into, { recursive: true });
      for (const { path, file } of pages) {
        await sheet.goto(broker.url + path);
        await sheet.screenshot({ path: join(into, file), fullPage: true });
        taken += 1;
      }
      await looking.close();
    }
    console.log(`  ${person ?? 'signed out'}: ${pages.length} pages`);
  }
} finally {
  await browser.close();
  await broker.stop();
}
console.log(`${taken} screenshots in ${folder}`);
