// Screenshots of every page that can be reached by links, as each person sees it: node shots.mjs FOLDER
// Each in three looks: light, dark, phone. One page of a kind (addresses that differ by an id are one kind).

import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { startBroker } from '../world/broker.mjs';
import { launch, visitAs } from '../world/browser.mjs';
import { connect } from '../world/client.mjs';

const folder = resolve(process.argv[2] ?? 'shots');
const most = 60; // kinds of pages a person; more means that a link makes new kinds without end
const looks = {
  light: { viewport: { width: 1280, height: 900 }, colorScheme: 'light' },
  dark: { viewport: { width: 1280, height: 900 }, colorScheme: 'dark' },
  phone: { viewport: { width: 390, height: 844 }, colorScheme: 'light', isMobile: true, hasTouch: true, deviceScaleFactor: 2 },
};
const people = ['oncall', 'approver', 'compliance', 'auditor', 'operator'];

/** The kind of page an address is: ids and numbers say nothing. */
const kind = (path) => path.replace(/[0-9a-f]{8}-[0-9a-f-]{27}|\b[0-9a-f]{40}\b|\b\d+\b/g, 'ID');
const fileName = (path) => kind(path).replace(/^\//, '').replaceAll(/[^\w.-]+/g, '_') || 'home';

const world = connect();
const broker = await startBroker({ config: world.broker.config });
const browser = await launch();
let taken = 0;
try {
  for (const person of [null, ...people]) {
    const context = await browser.newContext(looks.light);
    const page = await context.newPage();
    if (person) await visitAs(page, `${broker.url}/sign-in`, person);
    const cookies = await context.storageState();
    const todo = ['/'];
    const kinds = new Set(['/']);
    const pages = [];
    while (todo.length && pages.length < most) {
      const path = todo.shift();
      const answer = await page.goto(broker.url + path);
      if (!answer?.headers()['content-type']?.startsWith('text/html')) continue;
      pages.push(path);
      const links = await page.locator('a[href]').evaluateAll((all) => all.map((one) => one.href));
      for (const link of links) {
        const url = new URL(link);
        if (url.origin !== new URL(broker.url).origin || /^\/sign-(in|out)/.test(url.pathname) || kinds.has(kind(url.pathname))) continue;
        kinds.add(kind(url.pathname));
        todo.push(url.pathname + url.search);
      }
    }
    await context.close();
    for (const [look, options] of Object.entries(looks)) {
      const looking = await browser.newContext({ ...options, storageState: cookies });
      const sheet = await looking.newPage();
      const into = join(folder, person ?? 'signed-out', look);
      mkdirSync(into, { recursive: true });
      for (const path of pages) {
        await sheet.goto(broker.url + path);
        await sheet.screenshot({ path: join(into, `${fileName(path)}.png`), fullPage: true });
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
