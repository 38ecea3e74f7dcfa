// The routes of the broker as its code has them, and what an answer to one means.

import http from 'node:http';
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import { top } from './tools.mjs';

/** What `text` holds from the bracket at `open` to the one that closes it; strings may hold brackets. */
function balanced(text, open) {
  let depth = 0;
  let quoted = false;
  for (let at = open; at < text.length; at += 1) {
    const char = text[at];
    if (quoted && char === '\\') at += 1;
    else if (char === '"') quoted = !quoted;
    else if (!quoted && char === '(') depth += 1;
    else if (!quoted && char === ')') {
      depth -= 1;
      if (depth === 0) return text.slice(open + 1, at);
    }
  }
  throw new Error('a bracket is never closed');
}

/** The routes in the text of a source file: [{ method, path }]. */
export function routesIn(text, file = '') {
  const code = text.split(/^#\[cfg\(test\)\]\n(?:pub )?mod \w+ \{/m)[0].replace(/^\s*\/\/.*$/gm, '');
  // Ways to add a route that are not read here.
  for (const way of ['nest', 'nest_service', 'route_service', 'fallback_service', 'method_not_allowed_fallback']) {
    if (code.includes(`.${way}(`)) throw new Error(`${file}: .${way}() adds routes that this list does not see`);
  }
  const found = [];
  for (const match of code.matchAll(/\.route\(/g)) {
    const inside = balanced(code, match.index + match[0].length - 1);
    const path = /^\s*"([^"]+)"/.exec(inside)?.[1];
    if (!path) throw new Error(`${file}: a route whose path is not written out: ${inside.slice(0, 80)}`);
    const rest = inside.slice(inside.indexOf(path) + path.length + 1);
    const methods = [...rest.matchAll(/(?<![\w:])(get|post|put|patch|delete|head|options|trace|connect|any|on)\s*\(/g)].map((one) => one[1]);
    if (!methods.length || methods.includes('any') || methods.includes('on')) throw new Error(`${file}: ${path} has no plain methods`);
    found.push(...methods.map((method) => ({ method: method.toUpperCase(), path })));
  }
  return found;
}

/** Every route of the broker, by path and method. */
export function routes() {
  const web = join(top, 'src', 'web');
  const found = readdirSync(web, { recursive: true }).filter((name) => name.endsWith('.rs'))
    .flatMap((name) => routesIn(readFileSync(join(web, name), 'utf8'), name));
  return found.sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : a.method < b.method ? -1 : 1));
}

/** A configuration like the world's with `change(config)` made to it; returns its path. */
export function configWith(world, name, change) {
  const config = parse(readFileSync(world.broker.config, 'utf8'));
  // A test asks more often than people do.
  config.server.limits = { ...config.server.limits, previews_per_minute: 10_000, strangers_per_minute: 10_000 };
  change(config);
  const path = join(world.broker.dir, `${name}.yaml`);
  writeFileSync(path, stringify(config), { mode: 0o600 });
  return path;
}

/**
 * What an answer means: yes, hidden (404), no (403), refused (the rules say no), sign-in, step-up (the provider is
 * asked first), or the status as it is.
 */
export function meaning(answer) {
  const to = answer.location && new URL(answer.location);
  if (answer.status === 401 || (to?.pathname === '/sign-in' && to.origin === new URL(answer.url).origin)) return 'sign-in';
  if (answer.status === 403) return 'no';
  if (answer.status === 404) return 'hidden';
  if ([400, 409, 422].includes(answer.status)) return 'refused';
  if (answer.status === 200 && /<meta\s+http-equiv="refresh"/i.test(answer.text ?? '')) return 'step-up';
  if (answer.status >= 200 && answer.status < 400) return 'yes';
  return String(answer.status);
}

/** The beginning of an answer that may never end: its status and headers, then the line is cut. */
export function beginning(url, headers = {}) {
  return new Promise((resolve, reject) => {
    const call = http.request(url, { headers, agent: false }, (response) => {
      resolve({ url, status: response.statusCode, headers: response.headers, location: response.headers.location && new URL(response.headers.location, url).href, text: '' });
      response.on('error', () => {});
      call.destroy();
    });
    call.on('error', reject);
    call.setTimeout(30_000, () => call.destroy(new Error(`no answer from ${url}`)));
    call.end();
  });
}
