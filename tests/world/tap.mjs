// The audit tap: stands between the API server's audit webhook and the brokers under test.
//
// Every batch (an audit.k8s.io/v1 EventList) goes to each subscriber, one copy each. With one subscriber
// its answer is the API server's answer, so a broker that is down is retried by the API server itself;
// with several the tap answers 200 and tries again for each one alone. With none it answers 503.
// Everything is kept, as first seen, in memory and in a file of one event a line.
// The switches (drop, delay, repeat, reorder, cut, refuse, hold) are each subscriber's own.

import { createServer } from 'node:https';
import { createWriteStream, mkdirSync, readFileSync } from 'node:fs';
import { timingSafeEqual } from 'node:crypto';
import { gunzipSync } from 'node:zlib';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { post } from './post.mjs';

const kept = 20_000; // events in memory
// ms for one batch that the tap sends again by itself; longer beside other subscribers, where one that a test ends again
// and again is away most of the time, and no longer once it is alone, so that the next file meets nothing of it.
const patience = { alone: 30_000, shared: 600_000 };
const longest = 20_000; // ms the API server is kept waiting; it gives an answer 30 s

/** Is `event` what `what` describes? A function, or an object whose fields the event's equal or, given as {contains: text}, hold. */
export function matches(event, what) {
  if (what === undefined) return true;
  if (typeof what === 'function') return Boolean(what(event));
  return Object.entries(what).every(([key, wanted]) => {
    const found = event?.[key];
    if (wanted === null || typeof wanted !== 'object') return found === wanted;
    if (typeof wanted.contains === 'string') return typeof found === 'string' && found.includes(wanted.contains);
    return matches(found ?? {}, wanted);
  });
}

class Subscriber {
  constructor({ name, url, token, ca }) {
    Object.assign(this, { name, url, token, ca: ca && readFileSync(ca), counters: { batches: 0, events: 0, dropped: 0, cut: 0, refused: 0, failed: 0, lost: 0 } });
    this.clear();
  }

  /** All switches back to a wire that works; what was held is let go. */
  clear() {
    Object.assign(this, { dropNext: 0, dropWhat: undefined, delayMs: 0, extra: 0, window: 0, cutNext: 0, refusal: 0, held: this.held ?? null });
    this.#letGo();
    this.#flush();
  }

  drop(what) {
    if (typeof what === 'number') this.dropNext = what;
    else this.dropWhat = what;
  }

  hold() {
    this.held ??= [];
  }

  #letGo() {
    const waiting = this.held ?? [];
    this.held = null;
    return Promise.all(waiting.map((events) => this.#untilTaken(events)));
  }

  release() {
    return this.#letGo();
  }

  #waiting = [];

  #flush() {
    clearTimeout(this.timer);
    const batch = this.#waiting.reverse();
    this.#waiting = [];
    return batch.reduce((before, go) => before.then(go), Promise.resolve());
  }

  async #post(events) {
    const body = JSON.stringify({ kind: 'EventList', apiVersion: 'audit.k8s.io/v1', metadata: {}, items: events });
    const { status } = await post(this.url, { token: this.token, ca: this.ca, body, timeoutMs: 25_000 });
    return status;
  }

  /** Sends what a held or shared batch owes, trying again as an API server does. */
  async #untilTaken(events) {
    const begun = Date.now();
    for (let wait = 500; Date.now() < begun + (this.shared ? patience.shared : patience.alone) && !this.gone; wait = Math.min(wait * 2, 4_000)) {
      const status = await this.#once(events);
      if (status < 300) return status;
      await sleep(wait, undefined, { ref: false });
    }
    this.counters.lost += events.length;
    return 503;
  }

  async #once(events) {
    if (this.refusal) {
      this.counters.refused += 1;
      return this.refusal;
    }
    try {
      let status = await this.#post(events);
      for (let n = 0; n < this.extra; n += 1) status = await this.#post(events);
      if (status >= 300) this.counters.failed += 1;
      else {
        this.counters.batches += 1;
        this.counters.events += events.length;
      }
      return status;
    } catch (error) {
      this.counters.failed += 1;
      this.last = error.message;
      return 503;
    }
  }

  /** Takes one batch; resolves with the status for the API server, 0 meaning: hang up without an answer. */
  async take(batch, alone) {
    const events = batch.filter((event) => {
      if (this.dropNext > 0) this.dropNext -= 1;
      else if (this.dropWhat === undefined || !matches(event, this.dropWhat)) return true;
      this.counters.dropped += 1;
      return false;
    });
    if (!events.length) return 200;
    if (this.held) {
      this.held.push(events);
      return 200;
    }
    const send = () => (alone ? this.#once(events) : this.#untilTaken(events));
    if (this.delayMs) {
      const sent = sleep(this.delayMs).then(this.delayMs > longest ? () => this.#untilTaken(events) : send);
      return this.delayMs > longest ? 200 : sent;
    }
    if (this.window > 1) {
      const done = new Promise((resolve) => {
        this.#waiting.push(async () => {
          events.reverse();
          resolve(await send());
        });
      });
      clearTimeout(this.timer);
      if (this.#waiting.length >= this.window) this.#flush();
      else this.timer = setTimeout(() => this.#flush(), 5000);
      return done;
    }
    if (this.cutNext > 0) {
      this.cutNext -= 1;
      this.counters.cut += 1;
      await send();
      return 0;
    }
    return send();
  }
}

/**
 * Starts the tap. `token` is what the API server shows it; `tls` { certFile, keyFile } its certificate;
 * `file` receives every event, one a line.
 */
export async function startTap({ port = 0, token, tls, file }) {
  mkdirSync(dirname(file), { recursive: true });
  const lines = createWriteStream(file, { flags: 'a', mode: 0o600 });
  const subscribers = new Map();
  const events = [];
  const seen = new Set();
  const counters = { batches: 0, events: 0, repeated: 0, unanswered: 0 };
  const expected = Buffer.from(`Bearer ${token}`);

  function keep(batch) {
    for (const event of batch) {
      // The API server sends a batch again when its answer was lost or not good.
      const key = `${event.auditID} ${event.stage} ${event.requestReceivedTimestamp} ${event.requestURI}`;
      if (seen.has(key)) {
        counters.repeated += 1;
        continue;
      }
      seen.add(key);
      counters.events += 1;
      events.push(event);
      lines.write(`${JSON.stringify(event)}\n`);
    }
    if (events.length > kept) events.splice(0, events.length - kept);
    if (seen.size > 10 * kept) [...seen].slice(0, 5 * kept).forEach((key) => seen.delete(key));
  }

  async function receive(request) {
    const shown = Buffer.from(request.headers.authorization ?? '');
    if (request.method !== 'POST') return 405;
    if (shown.length !== expected.length || !timingSafeEqual(shown, expected)) return 401;
    const parts = [];
    for await (const part of request) parts.push(part);
    let body = Buffer.concat(parts);
    let list;
    try {
      if (request.headers['content-encoding'] === 'gzip') body = gunzipSync(body);
      list = JSON.parse(body);
    } catch {
      return 400;
    }
    const batch = list.items ?? [];
    counters.batches += 1;
    keep(batch);
    if (subscribers.size === 0) {
      counters.unanswered += 1;
      return 503;
    }
    const all = [...subscribers.values()];
    if (all.length === 1) return all[0].take(batch, true);
    for (const one of all) one.take(batch, false).catch((error) => { one.last = error.message; });
    return 200;
  }

  const server = createServer({ cert: readFileSync(tls.certFile), key: readFileSync(tls.keyFile) }, (request, response) => {
    receive(request).then((status) => {
      if (status === 0) response.socket?.destroy();
      else response.writeHead(status).end();
    }).catch((error) => {
      console.error('tap:', error.message);
      if (!response.headersSent) response.writeHead(500).end();
    });
  });
  await new Promise((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', resolve));

  const share = () => subscribers.forEach((one) => { one.shared = subscribers.size > 1; });
  const subscriber = (name) => {
    const found = subscribers.get(name);
    if (!found) throw new Error(`no subscriber ${name}; there are: ${[...subscribers.keys()].join(', ') || 'none'}`);
    return found;
  };
  return {
    url: `https://127.0.0.1:${server.address().port}/audit`,
    port: server.address().port,
    file,
    /** Sends everything from now on also to `url` with `Authorization: Bearer token`; `ca`: path of a CA file. */
    subscribe: ({ name, url, token: bearer, ca }) => {
      subscribers.set(name, new Subscriber({ name, url, token: bearer, ca }));
      share();
    },
    unsubscribe: (name) => {
      if (subscribers.has(name)) subscribers.get(name).gone = true;
      subscribers.delete(name);
      share();
    },
    /** The next n events, or from now on all that match (a function or a pattern, see `matches`), never arrive. */
    drop: (name, what) => subscriber(name).drop(what),
    /** Each batch waits so long (past 20 s the API server is told 200 at once). */
    delay: (name, ms) => { subscriber(name).delayMs = ms; },
    /** Each batch arrives k more times. */
    repeat: (name, k) => { subscriber(name).extra = k; },
    /** Each n batches (or what came within 5 s) arrive last first, and their events too. */
    reorder: (name, n) => { subscriber(name).window = n; },
    /** The next n batches arrive, and the API server never learns it. */
    cut: (name, n = 1) => { subscriber(name).cutNext = n; },
    /** The API server gets this status, the subscriber nothing: as a broker that is down. 0 ends it. */
    refuse: (name, status = 503) => { subscriber(name).refusal = status; },
    /** The API server is told 200 and the batches wait here until `release`. */
    hold: (name) => subscriber(name).hold(),
    release: (name) => subscriber(name).release(),
    /** All switches of one subscriber off. */
    clear: (name) => subscriber(name).clear(),
    counters: () => ({ ...counters, subscribers: Object.fromEntries([...subscribers].map(([name, one]) => [name, { ...one.counters, last: one.last }])) }),
    /** The recent events that match. */
    events: (what) => events.filter((event) => matches(event, what)),
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => { server.close(resolve); });
      await new Promise((resolve) => { lines.end(resolve); });
    },
  };
}
