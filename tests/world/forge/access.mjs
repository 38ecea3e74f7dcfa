// Who is asking, and with which rights: App JWT, installation token (narrowed to repositories), or a person's token.
import { createPublicKey, randomBytes, verify } from 'node:crypto';
import { Refusal } from './pulls.mjs';
import { BOT, MACHINE } from './state.mjs';

const HOUR = 3600_000;

/** The caller of a request; throws a 401 in GitHub's words. */
export function caller(state, authorization) {
  const token = /^(?:bearer|token)\s+(\S+)$/i.exec(authorization ?? '')?.[1] ?? basicPassword(authorization);
  if (!token) throw new Refusal(401, 'Requires authentication');
  if (token.startsWith('ey')) return appByJwt(state, token);
  const who = state.data.tokens[token];
  if (!who) throw new Refusal(401, 'Bad credentials');
  if (who.expires && Date.parse(who.expires) < Date.now()) throw new Refusal(401, 'Bad credentials');
  return { login: who.login, kind: who.app ? 'installation' : who.login === MACHINE ? 'machine' : 'user', repos: who.repos ?? null };
}

function basicPassword(authorization) {
  const basic = /^basic\s+(\S+)$/i.exec(authorization ?? '')?.[1];
  return basic && Buffer.from(basic, 'base64').toString('utf8').split(':').slice(1).join(':');
}

function appByJwt(state, token) {
  const [head, claims, signature] = token.split('.');
  const refuse = (why) => { throw new Refusal(401, why); };
  let payload;
  try {
    if (JSON.parse(Buffer.from(head, 'base64url')).alg !== 'RS256') refuse('A JSON web token could not be decoded');
    payload = JSON.parse(Buffer.from(claims, 'base64url'));
  } catch (error) {
    if (error instanceof Refusal) throw error;
    refuse('A JSON web token could not be decoded');
  }
  const good = verify('RSA-SHA256', Buffer.from(`${head}.${claims}`), createPublicKey(state.data.publicKey), Buffer.from(signature ?? '', 'base64url'));
  if (!good || String(payload.iss) !== String(state.data.appId)) refuse('A JSON web token could not be decoded');
  const seconds = Date.now() / 1000;
  if (!(payload.exp > seconds)) refuse("'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires");
  if (payload.exp > seconds + 660) refuse("'Expiration time' claim ('exp') is too far in the future");
  return { login: BOT, kind: 'app', repos: null };
}

/** Mints an installation token; `repositories` narrows it. */
export function mint(state, { repositories, repository_ids: ids } = {}) {
  const known = Object.values(state.data.repos);
  let repos = null;
  if (repositories || ids) {
    repos = [...(repositories ?? []).map((name) => known.find((r) => r.name === name)), ...(ids ?? []).map((id) => known.find((r) => r.id === id))];
    if (repos.some((repo) => !repo)) {
      throw new Refusal(422, 'There is at least one repository that does not exist or is not accessible to the parent installation.');
    }
    repos = repos.map((repo) => repo.id);
  }
  const token = `ghs_${randomBytes(18).toString('hex')}`;
  const expires = new Date(Date.now() + HOUR).toISOString();
  for (const [old, who] of Object.entries(state.data.tokens)) if (who.expires && Date.parse(who.expires) < Date.now()) delete state.data.tokens[old];
  state.data.tokens[token] = { login: BOT, app: true, repos, expires };
  return { token, expires_at: expires };
}

/** Refuses what the caller's kind may not do, as GitHub does. */
export function authorise(who, operation, repo) {
  const path = operation.path;
  const appOnly = path.startsWith('/app') || path.endsWith('/installation');
  if (appOnly && who.kind !== 'app') throw new Refusal(401, 'A JSON web token could not be decoded');
  if (!appOnly && who.kind === 'app') throw new Refusal(403, 'Resource not accessible by integration');
  // A token narrowed to other repositories sees nothing here.
  if (repo && who.repos && !who.repos.includes(repo.id)) throw new Refusal(404, 'Not Found');
  if (operation.path.includes('/check-runs') && operation.method !== 'get' && who.kind !== 'installation') throw new Refusal(403, 'You must authenticate via a GitHub App.');
  // Reading classic protection asks for the administration permission, which the App must not have.
  if (path.endsWith('/protection') && who.kind !== 'user') throw new Refusal(403, who.kind === 'installation' ? 'Resource not accessible by integration' : 'Must have admin rights to Repository.');
  if (path === '/user' && who.kind === 'installation') throw new Refusal(403, 'Resource not accessible by integration');
  if (operation.id === 'repos/create-commit-status' && who.kind === 'installation') throw new Refusal(403, 'Resource not accessible by integration');
}
