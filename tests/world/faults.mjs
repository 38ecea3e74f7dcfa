// What a bad hour does to a service that the broker calls: a proxy before it, that can refuse, hang, be slow, send
// away, fail, cut its answer, lose it after it was applied, or answer something else. A fault lasts until it is healed.
//
//   refuse   nobody listens (HTTP with a rule: the connection is cut before anything is read on)
//   hang     the request is taken and never answered; nothing is applied
//   slow     the answer comes `slowMs` later
//   limit    429 with Retry-After; SMTP: 451. Nothing is applied
//   error    503; SMTP: 554, of the server and not of the letter. Nothing is applied
//   cut      applied, and the answer stops in its middle
//   lost     applied, and the connection ends before the answer; what only reads is answered
//   wrong    nothing is applied, and the answer is a page of somebody else's
//
// (forge/faults.mjs arms one operation of the forge for a number of times, mail.mjs and signin_faults.mjs what only
// those parts themselves can do.)

import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/** Every fault, in the order in which a test goes through them: what applies nothing first. */
export const FAULTS = ['refuse', 'error', 'limit', 'cut', 'wrong', 'hang', 'slow', 'lost'];

const page = '<!doctype html><title>Sign in to the guest network</title><p>Accept the terms of use.</p>';
const reads = new Set(['GET', 'HEAD', 'OPTIONS']);

/** What several proxies share: the faults in force and how often each was had. */
class Faulty {
  /** Faults in force: [{ fault, match }]. */
  #rules = [];
  hits = {};
  slowMs = 1_500;
  retryAfter = 2;

  /** From now on `fault` for whatever `match(request)` says; for everything without it. Other rules stay in force. */
  async set(fault, match) {
    if (!FAULTS.includes(fault)) throw new Error(`unknown fault ${fault}; known: ${FAULTS.join(', ')}`);
    this.#rules.push({ fault, match });
    if (fault === 'refuse' && !match) await this.close();
  }

  /** All is well again. */
  async heal() {
    this.#rules = [];
    this.letGo();
    await this.listen();
  }

  /** The fault that this request has, and the note of it. */
  fault(request) {
    const found = this.#rules.find(({ match }) => !match || match(request))?.fault;
    if (found) this.hits[found] = (this.hits[found] ?? 0) + 1;
    return found;
  }
}

/** Before an HTTP service. Streams (watches) pass through, and end when a fault begins that would end them. */
export class HttpFaults extends Faulty {
  #hanging = new Set();

  /** `portal`: where the `wrong` answer leads, as a guest network's does; without it, it is a page with 200. `target`: origin of the service; `ca`: PEM its certificate is checked against; `tls` { certFile, keyFile }: ours. */
  static async start({ target, ca, tls, portal, port = 0 }) {
    const one = new HttpFaults();
    Object.assign(one, { target: new URL(target), ca, portal, port });
    const serve = (request, response) => one.#serve(request, response).catch((error) => {
      response.destroy(error);
    });
    one.server = tls
      ? https.createServer({ cert: readFileSync(tls.certFile), key: readFileSync(tls.keyFile) }, serve)
      : http.createServer(serve);
    one.server.keepAliveTimeout = 60_000;
    await one.listen();
    one.origin = `${tls ? 'https' : 'http'}://127.0.0.1:${one.port}`;
    return one;
  }

  async listen() {
    if (this.server.listening) return;
    await new Promise((resolve, reject) => { this.server.once('error', reject).listen(this.port, '127.0.0.1', resolve); });
    this.port = this.server.address().port;
  }

  async close() {
    const closed = new Promise((resolve) => { this.server.close(resolve); });
    this.server.closeAllConnections();
    await closed;
  }

  letGo() {
    for (const response of this.#hanging) response.destroy();
    this.#hanging.clear();
  }

  async stop() {
    this.letGo();
    if (this.server.listening) await this.close();
  }

  async #serve(request, response) {
    const parts = [];
    for await (const part of request) parts.push(part);
    const body = Buffer.concat(parts);
    const seen = { method: request.method, url: request.url, headers: request.headers, body: body.toString() };
    const fault = this.fault(seen);
    switch (fault) {
      case 'refuse': response.socket.resetAndDestroy(); return;
      case 'hang': this.#hanging.add(response); return;
      case 'limit': response.writeHead(429, { 'retry-after': String(this.retryAfter), 'content-type': 'application/json' }).end('{"message":"slow down","kind":"Status","apiVersion":"v1","status":"Failure","code":429}'); return;
      case 'error': response.writeHead(503, { 'content-type': 'text/plain' }).end('out of order\n'); return;
      case 'wrong': response.writeHead(this.portal ? 302 : 200, { 'content-type': 'text/html', ...(this.portal ? { location: this.portal } : {}) }).end(page); return;
      case 'slow': await sleep(this.slowMs); break;
      default:
    }
    const applied = fault === 'cut' || (fault === 'lost' && !reads.has(request.method));
    await this.#forward(request, body, response, applied ? fault : undefined);
  }

  /** Asks the service; where `spoil` is given, its whole answer is awaited and then cut or lost. */
  #forward(request, body, response, spoil) {
    const { request: ask } = this.target.protocol === 'https:' ? https : http;
    const path = this.target.pathname.replace(/\/$/, '') + request.url;
    return new Promise((resolve, reject) => {
      const asked = ask({
        protocol: this.target.protocol, hostname: this.target.hostname, port: this.target.port, path, method: request.method, headers: { ...request.headers, host: this.target.host }, ca: this.ca, agent: false,
      }, (answer) => {
        answer.once('error', reject);
        if (!spoil) {
          response.writeHead(answer.statusCode, answer.headers);
          answer.pipe(response);
          answer.once('end', resolve);
          return;
        }
        const parts = [];
        answer.on('data', (part) => parts.push(part));
        answer.once('end', () => {
          const whole = Buffer.concat(parts);
          if (spoil === 'lost') response.socket?.destroy();
          else {
            const { 'transfer-encoding': _chunked, ...headers } = answer.headers;
            response.writeHead(answer.statusCode, { ...headers, 'content-length': Math.max(whole.length, 2) });
            response.write(whole.subarray(0, Math.floor(whole.length / 2)), () => response.socket?.destroy());
          }
          resolve();
        });
      });
      asked.once('error', reject);
      response.once('close', () => asked.destroy());
      asked.end(body);
    });
  }
}

/**
 * Before an SMTP server. `match` is given { to }, the recipient, and asked when one is named: a connection carries one
 * letter. Without `match` a fault begins at the connection.
 */
export class SmtpFaults extends Faulty {
  #sockets = new Set();

  static async start({ target, port = 0 }) {
    const one = new SmtpFaults();
    Object.assign(one, { target, port, host: '127.0.0.1' });
    one.server = net.createServer((client) => one.#serve(client));
    await one.listen();
    return one;
  }

  async listen() {
    if (this.server.listening) return;
    await new Promise((resolve, reject) => { this.server.once('error', reject).listen(this.port, this.host, resolve); });
    this.port = this.server.address().port;
  }

  async close() {
    const closed = new Promise((resolve) => { this.server.close(resolve); });
    this.letGo();
    await closed;
  }

  letGo() {
    for (const socket of this.#sockets) socket.destroy();
    this.#sockets.clear();
  }

  async stop() {
    if (this.server.listening) await this.close();
  }

  #serve(client) {
    const server = net.connect(this.target.port, this.target.host);
    const end = () => {
      client.destroy();
      server.destroy();
    };
    for (const socket of [client, server]) {
      this.#sockets.add(socket);
      socket.on('error', end).on('close', () => {
        this.#sockets.delete(socket);
        end();
      });
    }
    let fault;
    let inLetter = false;
    let sent = false; // the letter with its final dot
    let kept = '';
    const say = (text) => client.write(`${text}\r\n`);
    client.on('data', (data) => {
      if (fault === 'hang') return;
      // Letters are ASCII or quoted: one byte a character.
      kept += data.toString('latin1');
      for (let at = kept.indexOf('\r\n'); at >= 0; at = kept.indexOf('\r\n')) {
        const line = kept.slice(0, at);
        kept = kept.slice(at + 2);
        const to = /^RCPT TO:<([^>]*)>/i.exec(line)?.[1];
        if (to && !inLetter) fault = this.fault({ to });
        if (to && fault === 'hang') return;
        if (to && fault === 'refuse') return void client.resetAndDestroy();
        if (to && fault === 'limit') say('451 4.7.1 too many letters, try later');
        else if (to && fault === 'error') say('554 5.3.0 this server is out of order');
        else if (to && fault === 'wrong') say('HTTP/1.1 400 Bad Request');
        else {
          if (inLetter && line === '.') {
            inLetter = false;
            sent = true;
          }
          server.write(Buffer.from(`${line}\r\n`, 'latin1'));
          if (/^DATA$/i.test(line) && !inLetter) inLetter = true;
        }
      }
    });
    server.on('data', async (data) => {
      if (sent && fault === 'lost') return end();
      if (sent && fault === 'cut') return void client.write(data.subarray(0, 2), end);
      if (fault === 'slow') await sleep(this.slowMs / 3);
      client.write(data);
      return undefined;
    });
  }
}
