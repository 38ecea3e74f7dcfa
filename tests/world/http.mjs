// A browser without a window: keeps cookies as a browser does (by host and path, not by port),
// follows redirects and meta refreshes one at a time, submits forms.

import http from 'node:http';
import https from 'node:https';

const redirects = new Set([301, 302, 303, 307, 308]);
const unescape = (text) => text.replace(/&#(\d+);/g, (_, code) => String.fromCodePoint(Number(code))).replaceAll('&quot;', '"').replaceAll('&#39;', "'").replaceAll('&#x27;', "'")
  .replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&');

export class Browser {
  #jar = []; // { host, name, value, path, secure, until }

  /** `ca`: PEM of a certificate authority to trust; `timeoutMs` for each request. */
  constructor({ ca, timeoutMs = 30_000 } = {}) {
    this.ca = ca;
    this.timeoutMs = timeoutMs;
  }

  #cookiesFor(url) {
    const now = Date.now();
    this.#jar = this.#jar.filter((one) => one.until > now);
    return this.#jar
      .filter((one) => one.host === url.hostname && (!one.secure || url.protocol === 'https:' || url.hostname === '127.0.0.1')
        && (url.pathname === one.path || url.pathname.startsWith(one.path.endsWith('/') ? one.path : `${one.path}/`)))
      .sort((a, b) => b.path.length - a.path.length)
      .map((one) => `${one.name}=${one.value}`).join('; ');
  }

  #keep(url, lines) {
    for (const line of lines) {
      const [pair, ...attributes] = line.split(';').map((part) => part.trim());
      const name = pair.slice(0, pair.indexOf('='));
      const value = pair.slice(pair.indexOf('=') + 1);
      const cookie = { host: url.hostname, name, value, path: '/', secure: false, until: Infinity };
      for (const attribute of attributes) {
        const [key, ...rest] = attribute.split('=');
        const text = rest.join('=');
        if (/^path$/i.test(key) && text.startsWith('/')) cookie.path = text;
        if (/^secure$/i.test(key)) cookie.secure = true;
        if (/^expires$/i.test(key)) cookie.until = Date.parse(text);
      }
      for (const attribute of attributes) {
        if (/^max-age=/i.test(attribute)) cookie.until = Date.now() + Number(attribute.slice(8)) * 1000;
      }
      this.#jar = this.#jar.filter((one) => one.host !== cookie.host || one.name !== name || one.path !== cookie.path);
      if (cookie.until > Date.now()) this.#jar.push(cookie);
    }
  }

  /** The value of a cookie held for `url`, if any. */
  cookie(url, name) {
    return this.#cookiesFor(new URL(url)).split('; ').find((one) => one.startsWith(`${name}=`))?.slice(name.length + 1);
  }

  /** Forgets everything, as closing a private window does. */
  forget() {
    this.#jar = [];
  }

  /** One request, nothing followed. `form` (object or pairs) makes it a POST; a header set to null is not sent. */
  async request(address, { method, headers = {}, form, body } = {}) {
    const url = new URL(address);
    const payload = form ? new URLSearchParams(form).toString() : body;
    const cookies = this.#cookiesFor(url);
    const sent = {
      ...(cookies ? { cookie: cookies } : {}),
      ...(form ? { 'content-type': 'application/x-www-form-urlencoded', origin: url.origin } : {}),
      ...(payload === undefined ? {} : { 'content-length': Buffer.byteLength(payload) }),
      ...headers,
    };
    for (const name of Object.keys(sent)) if (sent[name] === null) delete sent[name];
    const { request } = url.protocol === 'https:' ? https : http;
    return new Promise((resolve, reject) => {
      const call = request(url, {
        method: method ?? (payload === undefined ? 'GET' : 'POST'), headers: sent, ca: this.ca, agent: false,
      }, (response) => {
        const chunks = [];
        response.on('data', (chunk) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          this.#keep(url, response.headers['set-cookie'] ?? []);
          const bytes = Buffer.concat(chunks);
          const text = bytes.toString('utf8');
          resolve({
            url: url.href,
            status: response.statusCode,
            headers: response.headers,
            bytes,
            text,
            json: () => JSON.parse(text),
            location: response.headers.location && new URL(response.headers.location, url).href,
          });
        });
      });
      call.setTimeout(this.timeoutMs, () => call.destroy(new Error(`no answer from ${url.origin}${url.pathname} in ${this.timeoutMs} ms`)));
      call.on('error', reject);
      call.end(payload);
    });
  }

  /**
   * Follows redirects and meta refreshes from `answer` until a page stands still, or until `until(url)`
   * says that the next address is far enough: then `{ stoppedAt: url }`.
   */
  async follow(answer, { until = () => false, most = 20 } = {}) {
    let now = answer;
    for (let step = 0; step < most; step += 1) {
      const refresh = /<meta\s+http-equiv="refresh"\s+content="0;\s*url=([^"]+)"/i.exec(now.text ?? '');
      const next = redirects.has(now.status) ? now.location : refresh && new URL(unescape(refresh[1]), now.url).href;
      if (!next) return now;
      if (until(next)) return { stoppedAt: next, from: now };
      now = await this.request(next);
    }
    throw new Error(`more than ${most} redirects, the last to ${now.url}`);
  }

  /** GET and follow. */
  async get(address, options) {
    return this.follow(await this.request(address), options);
  }

  /** POST a form and follow. */
  async post(address, form, { headers, ...options } = {}) {
    return this.follow(await this.request(address, { form, headers }), options);
  }
}

/** Is this answer the sign-in's page with a button for each person? */
export const asksWho = (answer) => /\/interaction\/[^/]+$/.test(new URL(answer.url ?? 'http://none/').pathname) && answer.status === 200;

/**
 * Goes to `address` (a broker's page that needs a sign-in, or an authorization URL) and signs in as
 * `person` (an id of people.mjs) if asked. Returns the page it ends on, with `asked` telling whether
 * the provider wanted a sign-in.
 */
export async function signIn(browser, address, person, options = {}) {
  return answerWho(browser, await browser.get(address, options), person, options);
}

/** If `answer` is the sign-in's page, presses the button of `person` and follows on. */
export async function answerWho(browser, answer, person, options = {}) {
  if (answer.stoppedAt || !asksWho(answer)) return { ...answer, asked: false };
  return { ...await browser.post(answer.url, { person }, options), asked: true };
}
