// Somebody who uses the broker's pages as a person does: signs in, fills forms, presses buttons.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { until } from './children.mjs';
import { Browser, answerWho, signIn } from './http.mjs';

const unescape = (text) => text.replace(/&#(\d+);/g, (_, code) => String.fromCodePoint(Number(code))).replaceAll('&quot;', '"').replaceAll('&#34;', '"').replaceAll('&#39;', "'").replaceAll('&#x27;', "'")
  .replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&');

/** The words of a page, without its tags. */
export const words = (html) => unescape(html.replace(/<(script|style)[\s\S]*?<\/\1>/g, ' ').replace(/<[^>]+>/g, ' ')).replace(/\s+/g, ' ').trim();

export class Actor {
  /** `person`: an id of people.mjs. */
  constructor(world, person, { url = world.url } = {}) {
    this.world = world;
    this.person = person;
    this.url = url;
    this.browser = new Browser({ timeoutMs: 60_000 });
  }

  static async signedIn(world, person, options) {
    const actor = new Actor(world, person, options);
    await signIn(actor.browser, `${actor.url}/sign-in`, person);
    await actor.open('/');
    return actor;
  }

  /** GET a page, signing in where asked. */
  async open(path) {
    const page = await signIn(this.browser, `${this.url}${path}`, this.person);
    this.page = page;
    return page;
  }

  /** POST a form of the page that is open, with its csrf token; signs in again where that is asked. */
  async press(path, fields = {}) {
    const csrf = /name="csrf" value="([^"]+)"/.exec(this.page.text)?.[1];
    if (!csrf) throw new Error(`no form on ${this.page.url}: ${words(this.page.text).slice(0, 300)}`);
    const form = [['csrf', csrf], ...(Array.isArray(fields) ? fields : Object.entries(fields))];
    const answer = await this.browser.post(`${this.url}${path}`, form);
    this.page = await answerWho(this.browser, answer, this.person);
    return this.page;
  }

  /** Asks for access; returns the request's id. */
  async ask({ team = 'payments', cluster = 'demo', profile = 'payments-admin', namespaces = ['payments'], minutes = 30, reason, incident = 'INC-4711', extends: grant } = {}) {
    await this.open('/requests/new');
    const answer = await this.press('/requests', [
      ['team', team], ['cluster', cluster], ['profile', profile], ...namespaces.map((one) => ['namespace', one]), ['minutes', String(minutes)],
      ['reason', reason ?? 'Checkout answers 502 since 02:05; more replicas are needed.'], ['incident', incident],
      ...(grant ? [['extends', grant]] : []),
    ]);
    const id = /\/requests\/([0-9a-f-]{36})$/.exec(answer.url)?.[1];
    if (!id) throw new Error(`not filed (${answer.status}): ${words(answer.text).slice(0, 800)}`);
    return id;
  }

  /** Approves a request as it is shown. */
  async approve(id, { minutes } = {}) {
    const page = await this.open(`/requests/${id}`);
    const hash = /name="hash" value="([^"]+)"/.exec(page.text)?.[1];
    const shown = /name="minutes"[\s\S]*?value="(\d+)"/.exec(page.text)?.[1];
    return this.press(`/requests/${id}/approve`, { hash: hash ?? '', minutes: String(minutes ?? shown ?? '') });
  }

  /** The grant that a request led to; the bar above the page may show another one. */
  async grantOf(request) {
    return until('the grant', async () => /\/grants\/([0-9a-f-]{36})/.exec((await this.open(`/requests/${request}`)).text.split('<main')[1] ?? '')?.[1]);
  }

  /** Waits until the grant's page says `what` (a pattern over its words). */
  async sees(path, what, ms = 60_000) {
    return until(`${path} to say ${what}`, async () => {
      const text = words((await this.open(path)).text);
      return what.test(text) && text;
    }, { ms });
  }

  /** Reveals the key; returns the kubeconfig's text. */
  async reveal(grant) {
    await this.sees(`/grants/${grant}`, /Reveal/);
    let page = await this.press(`/grants/${grant}/reveal`);
    if (!/apiVersion|No key was shown|did not come back/.test(page.text)) page = await this.press(`/grants/${grant}/reveal`); // the fresh login comes back to a confirmation
    const text = /<pre[^>]*>([\s\S]*?apiVersion[\s\S]*?)<\/pre>/.exec(page.text)?.[1] ?? /<textarea[^>]*>([\s\S]*?apiVersion[\s\S]*?)<\/textarea>/.exec(page.text)?.[1];
    if (!text) throw new Error(`no key was shown: ${words(page.text).slice(-800)}`);
    return unescape(text);
  }

  /** Reveals the key into a file and returns its path. */
  async key(grant, dir) {
    const file = join(dir, `${grant}.kubeconfig`);
    writeFileSync(file, await this.reveal(grant), { mode: 0o600 });
    return file;
  }
}
