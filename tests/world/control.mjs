// The world's handles for other processes: `node --test` runs each file in its own.
// POST / with the world's token: {"on": "tap", "call": "hold", "args": ["broker"]} -> {"value": …} or {"error": …}.

import { createServer } from 'node:http';
import { timingSafeEqual } from 'node:crypto';
import { post } from './post.mjs';

/** Serves the methods of `handles` ({ name: object }) that are functions; nested ones as `cluster.api`. */
export async function serveControl({ port = 0, token, handles }) {
  const expected = Buffer.from(`Bearer ${token}`);
  async function answer(request) {
    const shown = Buffer.from(request.headers.authorization ?? '');
    if (shown.length !== expected.length || !timingSafeEqual(shown, expected)) return [401, { error: 'the world\'s token is needed' }];
    const parts = [];
    for await (const part of request) parts.push(part);
    const { on, call, args = [] } = JSON.parse(Buffer.concat(parts));
    const handle = Object.hasOwn(handles, on) ? handles[on] : undefined;
    if (typeof handle?.[call] !== 'function') return [404, { error: `no ${on}.${call}` }];
    return [200, { value: await handle[call](...args) }];
  }
  const server = createServer((request, response) => {
    answer(request).catch((error) => [500, { error: error.message }]).then(([status, body]) => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    });
  });
  await new Promise((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    stop() {
      server.closeAllConnections();
      return new Promise((resolve) => { server.close(resolve); });
    },
  };
}

/** The other end: `handle('tap').hold('broker')` calls the world's tap. */
export function controlClient({ url, token }) {
  return (on) => new Proxy({}, {
    // `then` would make an awaited handle look like a promise.
    get: (_target, call) => (call === 'then' || typeof call === 'symbol' ? undefined : async (...args) => {
      const { status, text } = await post(url, { token, body: JSON.stringify({ on, call, args }), timeoutMs: 120_000 });
      const { value, error } = JSON.parse(text);
      if (status !== 200) throw new Error(`${on}.${call}: ${error}`);
      return value;
    }),
  });
}
