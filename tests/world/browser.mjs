// A real browser for tests and screenshots.

export { AxeBuilder } from '@axe-core/playwright';
import { chromium } from 'playwright-core';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

function executable() {
  if (process.env.BREAKGLASS_CHROMIUM) return process.env.BREAKGLASS_CHROMIUM;
  for (const name of ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']) {
    for (const folder of process.env.PATH.split(delimiter)) {
      try {
        accessSync(join(folder, name), constants.X_OK);
        return join(folder, name);
      } catch {
        // not in this folder
      }
    }
  }
  throw new Error('no Chromium: run ./x tools, or set BREAKGLASS_CHROMIUM');
}

/** Starts Chromium. As root it cannot have its sandbox; it only ever sees pages of this machine. */
export const launch = (options = {}) => chromium.launch({
  executablePath: executable(), args: process.getuid?.() === 0 ? ['--no-sandbox'] : [], ...options,
});

/** Goes to `url` and, where the sign-in asks who it is, signs in as the person `id` of people.mjs. */
export async function visitAs(page, url, id) {
  await page.goto(url);
  const button = page.locator(`button[name="person"][value="${id}"]`);
  if (await button.count()) await Promise.all([page.waitForURL((now) => !now.pathname.startsWith('/interaction/')), button.click()]);
}
