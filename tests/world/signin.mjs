// The sign-in of the test world and the demo: oidc-provider (OpenID-certified), with one button a
// person instead of passwords, and switches that make it misbehave.
//
// Without a browser, a sign-in is (keep cookies, follow nothing blindly):
//   1. GET the authorization URL             -> 303 to /interaction/<uid>  (or straight to 4 while the session is fresh)
//   2. POST /interaction/<uid>  person=<id>  -> 303 to /auth/<uid>          (application/x-www-form-urlencoded; ids in people.mjs)
//   3. GET  /auth/<uid>                      -> 303 to the client's redirect URI with code, state and iss
//   4. GET that redirect URI at the client.
// Sign-out: GET the end-session URL -> 200 with a form; POST its `action` with its `xsrf` and logout=yes -> 303 back.
// `signIn` in http.mjs does exactly this.
//
// With `control`, POST /control/faults {"token": …, "wire": …, "only": […], "delayMs": …} sets the faults
// (an empty object clears them) and POST /control/rotate makes a new signing key, for tests in another process.

import { createHmac, generateKeyPairSync, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import Provider from 'oidc-provider';
import { awkward as awkwardPeople, people as allPeople, unlisted } from './people.mjs';
import { spoil, spoilAnswer, tokenFaults, wireFaults } from './signin_faults.mjs';
import { errorPage, loginPage, logoutPage, signedOutPage, stylesheet } from './signin_page.mjs';
import { records, writeWhole } from './signin_records.mjs';

/** The client that exists while `control` is on, for tests that follow the redirects themselves. */
export const testClient = {
  client_id: 'breakglass-test',
  client_name: 'a test',
  client_secret: 'a-test-secret-that-guards-nothing-but-tests',
  redirect_uris: ['http://127.0.0.1:9/sign-in/back'],
  post_logout_redirect_uris: ['http://127.0.0.1:9/signed-out'],
};

/** A level of authentication the test sign-in grants to whoever asks for it. */
export const strongAcr = 'urn:breakglass:test:strong';

function newKey() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { ...privateKey.export({ format: 'jwk' }), kid: randomBytes(8).toString('hex'), use: 'sig', alg: 'RS256' };
}

function keep(path, make) {
  if (existsSync(path)) return JSON.parse(readFileSync(path, 'utf8'));
  const value = make();
  writeWhole(path, JSON.stringify(value));
  return value;
}

async function body(request) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > 64 * 1024) throw new Error('request body too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/**
 * Starts the sign-in provider and returns when it answers.
 * `port` 0 picks a free one, which is kept in `dir` so that a restart has the same issuer.
 * `clients` are oidc-provider client objects (client_id, client_secret, redirect_uris, post_logout_redirect_uris).
 * `tls` ({ key, cert }, PEM) makes it https.
 * `faults` may be changed at any time: { token, wire, only, delayMs }; see signin_faults.mjs.
 */
export async function startSignIn({
  port = 0, dir, issuer, people = allPeople, awkward = awkwardPeople, clients = [], control = false, tls,
}) {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const keysFile = join(dir, 'keys.json');
  const kept = keep(keysFile, () => ({ cookies: [randomBytes(32).toString('hex')], signing: [newKey()] }));
  const faults = { token: null, wire: null, only: null, delayMs: 2000 };
  const known = new Map([...people, ...awkward, ...unlisted].map((one) => [one.id, one]));
  const Records = records(join(dir, 'records'));
  const allClients = control ? [...clients, testClient] : clients;
  // Chromium holds the redirects that follow a form's POST to form-action, so the clients are named there.
  const backTo = [...new Set(allClients.flatMap((one) => [...one.redirect_uris, ...(one.post_logout_redirect_uris ?? [])])
    .map((uri) => new URL(uri).origin))].join(' ');
  const harden = (response) => {
    response.setHeader('content-security-policy',
      `default-src 'none'; style-src 'self'; form-action 'self' ${backTo}; frame-ancestors 'none'; base-uri 'none'`);
    response.setHeader('cache-control', 'no-store');
    response.setHeader('referrer-policy', 'no-referrer');
    response.setHeader('x-content-type-options', 'nosniff');
  };

  let provider;
  let answer;
  const serve = (request, response) => {
    route(request, response).catch((error) => {
      console.error('sign-in:', error);
      if (!response.headersSent) response.writeHead(500, { 'content-type': 'text/plain' });
      response.end('the sign-in failed; its log says why\n');
    });
  };
  const server = tls ? https.createServer(tls, serve) : http.createServer(serve);
  const portFile = join(dir, 'port.json');
  const wanted = port || (existsSync(portFile) ? JSON.parse(readFileSync(portFile, 'utf8')) : 0);
  await new Promise((resolve, reject) => server.once('error', reject).listen(wanted, '127.0.0.1', resolve));
  const bound = server.address().port;
  writeWhole(portFile, JSON.stringify(bound));
  const name = issuer ?? `${tls ? 'https' : 'http'}://127.0.0.1:${bound}`;

  function build() {
    provider = new Provider(name, {
      adapter: Records,
      clients: allClients.map((one) => ({ require_auth_time: true, ...one })),
      jwks: { keys: kept.signing },
      cookies: {
        keys: kept.cookies,
        names: { session: 'test_sign_in', interaction: 'test_sign_in_step', resume: 'test_sign_in_resume' },
      },
      acrValues: [strongAcr],
      scopes: ['openid', 'profile', 'email', 'groups'],
      claims: {
        openid: ['sub'],
        profile: ['name', 'preferred_username', 'forge_login', 'employee_id'],
        email: ['email', 'email_verified'],
        groups: ['groups'],
      },
      // All claims in the ID token: an approval's signed token has to stand alone.
      conformIdTokenClaims: false,
      clientBasedCORS: () => false, // only servers call the token endpoint
      pkce: { required: () => true },
      responseTypes: ['code'],
      features: {
        devInteractions: { enabled: false },
        backchannelLogout: { enabled: true },
        pushedAuthorizationRequests: { enabled: false },
        dPoP: { enabled: false },
        resourceIndicators: { enabled: false },
        rpInitiatedLogout: {
          enabled: true,
          logoutSource: (ctx, form) => { harden(ctx.res); ctx.body = logoutPage(form); },
          postLogoutSuccessSource: (ctx) => { harden(ctx.res); ctx.type = 'html'; ctx.body = signedOutPage(); },
        },
      },
      interactions: { url: (_ctx, { uid }) => `/interaction/${uid}` },
      renderError: (ctx, out) => { harden(ctx.res); ctx.type = 'html'; ctx.body = errorPage(out.error, out.error_description); },
      findAccount: (_ctx, id) => known.has(id) && { accountId: id, claims: () => ({ sub: id, ...known.get(id).claims }) },
      // No consent step: the broker is the house's own.
      loadExistingGrant: async (ctx) => {
        const held = ctx.oidc.session.grantIdFor(ctx.oidc.client.clientId);
        const grant = (held && await provider.Grant.find(held))
          || new provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
        grant.addOIDCScope(ctx.oidc.params.scope);
        await grant.save();
        return grant;
      },
      ttl: { Session: 12 * 3600, Interaction: 3600, Grant: 12 * 3600, AuthorizationCode: 60, IdToken: 600, AccessToken: 600 },
    });
    provider.use(async (ctx, next) => {
      await next();
      if (faults.token && ctx.oidc?.route === 'token' && ctx.body?.id_token) {
        const secret = ctx.oidc.client.clientSecret;
        ctx.body.id_token = spoil(faults.token, ctx.body.id_token, kept.signing[0],
          (text) => createHmac('sha256', secret).update(text).digest('base64url'));
      }
    });
    answer = provider.callback();
  }

  function setFaults(next) {
    if (next.token && !tokenFaults.includes(next.token)) throw new Error(`token fault must be one of ${tokenFaults.join(', ')}`);
    if (next.wire && !wireFaults.includes(next.wire)) throw new Error(`wire fault must be one of ${wireFaults.join(', ')}`);
    Object.assign(faults, { token: null, wire: null, only: null, delayMs: 2000 }, next);
  }

  /** Signs with a new key from now on; the old one stays published unless `forget`. */
  function rotate({ forget = false } = {}) {
    kept.signing = forget ? [newKey()] : [newKey(), ...kept.signing];
    writeWhole(keysFile, JSON.stringify(kept));
    build();
  }

  async function login(request, response, uid) {
    const details = await provider.interactionDetails(request, response).catch(() => undefined);
    harden(response);
    if (!details || details.uid !== uid) {
      response.writeHead(400, { 'content-type': 'text/html; charset=utf-8' });
      response.end(errorPage('This sign-in is over or belongs to another browser.'));
      return;
    }
    if (request.method === 'GET') {
      const client = await provider.Client.find(details.params.client_id);
      response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' });
      response.end(loginPage({
        action: `/interaction/${uid}`,
        client: client.clientName ?? client.clientId,
        again: Boolean(details.session?.accountId),
        people,
        awkward,
      }));
      return;
    }
    const id = new URLSearchParams(await body(request)).get('person');
    if (!known.has(id)) {
      response.writeHead(400, { 'content-type': 'text/html; charset=utf-8' });
      response.end(errorPage('Nobody by that name.'));
      return;
    }
    // Somebody else at the same browser: the earlier person's session ends here, as it would behind
    // "use another account".
    if (details.session?.accountId && details.session.accountId !== id) {
      await (await provider.Session.findByUid(details.session.uid))?.destroy();
      delete details.session;
      await details.save(details.exp - Math.floor(Date.now() / 1000));
    }
    const asked = (details.params.acr_values ?? '').split(' ');
    await provider.interactionFinished(request, response, {
      login: { accountId: id, remember: true, ...(asked.includes(strongAcr) ? { acr: strongAcr } : {}) },
    }, { mergeWithLastSubmission: false });
  }

  async function controlled(request, response, what) {
    const asked = JSON.parse(await body(request) || '{}');
    try {
      if (what === 'faults') setFaults(asked);
      else if (what === 'rotate') rotate(asked);
      else throw new Error('no such control');
      response.writeHead(204).end();
    } catch (error) {
      response.writeHead(400, { 'content-type': 'text/plain' }).end(`${error.message}\n`);
    }
  }

  /** Lets the wire fault happen; says whether the request was used up by it. */
  async function misbehave(path, response) {
    if (!faults.wire || (faults.only && !faults.only.some((part) => path.startsWith(part)))) return false;
    switch (faults.wire) {
      case 'reset':
        response.socket.resetAndDestroy();
        return true;
      case 'hang':
        return true;
      case 'error':
        response.writeHead(503, { 'content-type': 'text/plain' }).end('out of order\n');
        return true;
      case 'limit':
        response.writeHead(429, { 'retry-after': '2', 'content-type': 'text/plain' }).end('slow down\n');
        return true;
      case 'wrong':
        response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><title>Guest network</title>');
        return true;
      case 'cut':
      case 'lost':
        spoilAnswer(faults.wire, response);
        return false;
      case 'huge':
        response.writeHead(200, { 'content-type': 'application/json' }).end(Buffer.alloc(64 << 20, ' '));
        return true;
      default:
        await new Promise((resolve) => { setTimeout(resolve, faults.delayMs); });
        return false;
    }
  }

  async function route(request, response) {
    const { pathname } = new URL(request.url, name);
    const [, first, second, ...rest] = pathname.split('/');
    if (control && first === 'control' && request.method === 'POST') return controlled(request, response, second);
    if (await misbehave(pathname, response)) return undefined;
    if (pathname === '/signin.css') {
      response.writeHead(200, { 'content-type': 'text/css; charset=utf-8' }).end(stylesheet);
      return undefined;
    }
    if (first === 'interaction' && second && !rest.length && ['GET', 'POST'].includes(request.method)) {
      return login(request, response, second);
    }
    return answer(request, response);
  }

  build();
  return {
    issuer: name,
    port: bound,
    faults,
    setFaults,
    keys: { rotate, get public() { return kept.signing.map(({ kty, n, e, kid, use, alg }) => ({ kty, n, e, kid, use, alg })); } },
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => { server.close(resolve); });
    },
  };
}

if (import.meta.url === `file://${process.argv[1]}`) {
  const { values } = parseArgs({
    options: {
      port: { type: 'string', default: '0' },
      dir: { type: 'string' },
      client: { type: 'string', multiple: true, default: [] },
      control: { type: 'boolean', default: false },
      'tls-key': { type: 'string' },
      'tls-cert': { type: 'string' },
    },
  });
  if (!values.dir) {
    console.error('usage: node signin.mjs --dir DIR [--port N] [--control] [--tls-key KEY --tls-cert CERT] [--client CLIENT.json]...');
    process.exit(2);
  }
  const signIn = await startSignIn({
    port: Number(values.port),
    dir: values.dir,
    control: values.control,
    tls: values['tls-key'] && { key: readFileSync(values['tls-key']), cert: readFileSync(values['tls-cert']) },
    clients: values.client.map((path) => JSON.parse(readFileSync(path, 'utf8'))),
  });
  console.log(signIn.issuer);
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => signIn.stop().then(() => process.exit(0)));
}
