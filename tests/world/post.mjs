// One HTTP request, over TLS with a CA of its own or plain. (`fetch` cannot be given a CA.)

import http from 'node:http';
import https from 'node:https';

/** Sends `body` (text, JSON by default) and resolves with { status, text }. */
export function post(url, { token, ca, body = '', method = 'POST', type = 'application/json', headers = {}, timeoutMs = 30_000 } = {}) {
  return new Promise((resolve, reject) => {
    const asked = (url.startsWith('https:') ? https : http).request(url, {
      method,
      ca,
      agent: false,
      timeout: timeoutMs,
      headers: {
        'content-type': type,
        'content-length': Buffer.byteLength(body),
        ...(token ? { authorization: `Bearer ${token}` } : {}),
        ...headers,
      },
    }, (answer) => {
      const parts = [];
      answer.on('data', (part) => parts.push(part));
      answer.on('error', reject);
      answer.on('end', () => resolve({ status: answer.statusCode, text: Buffer.concat(parts).toString() }));
    });
    asked.on('timeout', () => asked.destroy(new Error(`${url}: no answer within ${timeoutMs / 1000} s`)));
    asked.on('error', reject);
    asked.end(body);
  });
}
