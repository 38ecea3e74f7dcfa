// Requests to the API server as no kubectl sends them.

import { readFileSync } from 'node:fs';
import { request as send } from 'node:https';
import { parse } from 'yaml';

/** What is in a kubeconfig: { server, ca, token }. */
export function keyIn(file) {
  const { clusters: [{ cluster }], users: [{ user }] } = parse(readFileSync(file, 'utf8'));
  const inline = cluster['certificate-authority-data'];
  return { server: cluster.server, ca: inline ? Buffer.from(inline, 'base64') : readFileSync(cluster['certificate-authority']), token: user.token };
}

/** A request by hand, with the key of a kubeconfig; returns { status, text }. */
export function byHand(key, { method, path, headers = {}, body }) {
  const { server, ca, token } = keyIn(key);
  return new Promise((resolve, reject) => {
    const sent = send(new URL(path, server), { method, ca, headers: { Authorization: `Bearer ${token}`, ...headers } }, (answer) => {
      let text = '';
      answer.setEncoding('utf8');
      answer.on('data', (part) => { text += part; });
      answer.on('end', () => resolve({ status: answer.statusCode, text }));
    });
    sent.on('error', reject);
    sent.end(body);
  });
}
