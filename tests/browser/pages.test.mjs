// The pages in a real browser: nothing that axe-core finds, nothing the content policy had to refuse, no
// sideways scrolling on a phone, and an emergency gone through by pressing what a person presses.

import assert from 'node:assert/strict';
import { AxeBuilder, launch, visitAs } from '../world/browser.mjs';
import { after, before, test } from 'node:test';
import { Actor } from '../world/actor.mjs';
import { startBroker } from '../world/broker.mjs';
import { connect } from '../world/client.mjs';

const world = connect();
let broker;
let browser;

before(async () => {
  broker = await startBroker({ config: world.broker.config });
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await broker?.stop();
});

/** A signed-in page that collects what went wrong in it. */
async function pageOf(person, options = {}) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.wrong = [];
  page.on('console', (message) => { if (message.type() === 'error') page.wrong.push(message.text()); });
  page.on('pageerror', (error) => page.wrong.push(String(error)));
  if (person) await visitAs(page, `${broker.url}/sign-in`, person);
  return page;
}

async function sound(page, path) {
  const { violations } = await new AxeBuilder({ page }).analyze();
  assert.deepEqual(violations.map((one) => `${one.id}: ${one.nodes.map((node) => node.target).join(' ')}`), [], path);
  const sideways = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(sideways <= 0, `${path} scrolls ${sideways} px sideways`);
  assert.deepEqual(page.wrong, [], path);
}

const looks = {
  'wide, light': { viewport: { width: 1280, height: 900 }, colorScheme: 'light' },
  'phone, dark': { viewport: { width: 360, height: 780 }, colorScheme: 'dark' },
};
const places = {
  oncall: ['/', '/requests/new', '/requests', '/sla', '/clusters', '/policy', '/zone'],
  approver: ['/', '/approvals'],
  compliance: ['/feed'],
  auditor: ['/ledger', '/ledger/entries/0'],
};

for (const [look, options] of Object.entries(looks)) {
  test(`every place is sound: ${look}`, async () => {
    for (const [person, paths] of Object.entries(places)) {
      const page = await pageOf(person, options);
      for (const path of paths) {
        await page.goto(broker.url + path);
        await sound(page, path);
      }
      await page.context().close();
    }
    const nobody = await pageOf(null, options);
    await nobody.goto(`${broker.url}/`);
    // A browser logs the page's own 401 as an error; nothing else may stand there.
    nobody.wrong = nobody.wrong.filter((one) => !/status of 401/.test(one));
    await sound(nobody, 'signed out');
    await nobody.context().close();
  });
}

test('an emergency by pressing what a person presses', async () => {
  const engineer = await pageOf('oncall', looks['wide, light']);
  await engineer.goto(`${broker.url}/requests/new?profile=payments-admin&cluster=demo&namespace=payments`);
  await engineer.locator('[name="reason"]').fill('Checkout answers 502 since 02:05; more replicas are needed.');
  await engineer.getByRole('button', { name: /Ask for access/ }).click();
  await engineer.waitForURL(/\/requests\/[0-9a-f-]{36}$/);
  await sound(engineer, 'the request');
  const request = engineer.url();

  const approver = await pageOf('approver', looks['phone, dark']);
  await approver.goto(request);
  await sound(approver, 'the decision');
  await approver.getByRole('button', { name: /^Approve/ }).click();
  await approver.waitForURL(request, { timeout: 180_000 });
  assert.match(await approver.locator('main').innerText(), /approved/i);

  await engineer.goto(request);
  const grant = await engineer.locator('a[href^="/grants/"]').first().getAttribute('href');
  await engineer.goto(broker.url + grant);
  const reveal = engineer.getByRole('button', { name: /Reveal/ }).first();
  for (let tries = 0; tries < 30 && !(await reveal.isVisible()); tries += 1) {
    await engineer.waitForTimeout(500);
    await engineer.goto(broker.url + grant);
  }
  await sound(engineer, 'the grant');
  await reveal.click();
  await engineer.getByText('apiVersion: v1').first().waitFor({ timeout: 180_000 });
  await sound(engineer, 'the key');

  await engineer.goto(broker.url + grant);
  await sound(engineer, 'the active grant');
  await engineer.getByText('I am done').first().click();
  await engineer.getByRole('button', { name: /Yes, end my access/ }).click();
  await engineer.getByText(/taken away|is dead/).first().waitFor({ timeout: 180_000 });
});

test('a press is not lost because the page changes meanwhile', async () => {
  const [asker, approver] = [await Actor.signedIn(world, 'oncall'), await Actor.signedIn(world, 'approver')];
  const request = await asker.ask();
  await approver.approve(request);
  const grant = await asker.grantOf(request);
  await asker.sees(`/grants/${grant}`, /Reveal/);
  const page = await pageOf('oncall');
  let letThrough;
  const held = new Promise((resolve) => { letThrough = resolve; });
  await page.route(/\/reveal$/, async (route) => {
    await held;
    await route.continue();
  });
  await page.goto(`${broker.url}/grants/${grant}`);
  await page.evaluate(() => { window.asItWas = true; });
  await page.getByRole('button', { name: /Reveal/ }).first().click({ noWaitAfter: true });
  await approver.open(`/grants/${grant}`);
  await approver.press(`/grants/${grant}/end`, { reason: 'it is over' });
  await page.waitForTimeout(2_000);
  assert.equal(await page.evaluate(() => window.asItWas), true, 'the page was loaded again while the press was under way');
  letThrough();
  await page.getByText(/ended|is over|ending/i).first().waitFor({ timeout: 180_000 });
  await page.context().close();
});
