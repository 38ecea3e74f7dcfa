// Ways for the sign-in provider to misbehave on request: what an attacker in its place, a broken
// release of it or a bad network would do.

import { createPrivateKey, generateKeyPairSync, sign } from 'node:crypto';

const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const decode = (part) => JSON.parse(Buffer.from(part, 'base64url').toString('utf8'));

// An attacker's key, under the honest key's id.
let foreign;
const foreignKey = () => (foreign ??= generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey);

const DAY = 86_400;
const changes = {
  'nonce': (claims) => ({ ...claims, nonce: 'bm90LXRoZS1vbmUtdGhhdC13YXMtc2VudA' }),
  'no-nonce': ({ nonce, ...claims }) => claims,
  'aud': (claims) => ({ ...claims, aud: 'another-client' }),
  'aud-extra': (claims) => ({ ...claims, aud: [claims.aud, 'another-client'], azp: claims.aud }),
  'azp': (claims) => ({ ...claims, azp: 'another-client' }),
  'iss': (claims) => ({ ...claims, iss: 'https://other-issuer.example.test' }),
  'stale-auth-time': (claims) => ({ ...claims, auth_time: claims.auth_time - DAY }),
  'no-auth-time': ({ auth_time, ...claims }) => claims,
  'future-auth-time': (claims) => ({ ...claims, auth_time: claims.auth_time + DAY }),
  'expired': (claims) => ({ ...claims, iat: claims.iat - DAY, exp: claims.exp - DAY }),
  'future-iat': (claims) => ({ ...claims, iat: claims.iat + 3600, exp: claims.exp + 3600 }),
  'other-person': (claims) => ({ ...claims, sub: 'second', employee_id: 'E1002', email: 'second@example.test' }),
};

/** Token faults by name; `null` is honest. */
export const tokenFaults = [...Object.keys(changes), 'alg-none', 'alg-hmac', 'other-key', 'flipped-signature'];

/**
 * Wire faults: `reset` cuts the connection, `hang` never answers, `slow` waits `delayMs`, `error` answers 503, `limit`
 * 429, `wrong` somebody else's page, `huge` 64 MiB; `cut` and `lost` do what was asked, and the answer stops in its
 * middle or never begins.
 */
export const wireFaults = ['reset', 'hang', 'slow', 'error', 'limit', 'wrong', 'huge', 'cut', 'lost'];

/** Spoils the answer that is about to be made: `cut` or `lost`. */
export function spoilAnswer(how, response) {
  response.end = (body) => {
    if (how === 'lost') return void response.socket?.destroy();
    const whole = Buffer.from(body ?? '');
    response.write(whole.subarray(0, Math.floor(whole.length / 2)), () => response.socket?.destroy());
    return response;
  };
}

/** `idToken` as the fault `name` would have it. `jwk` is the honest private key, `secret` the client's. */
export function spoil(name, idToken, jwk, hmac) {
  const [head, body, signature] = idToken.split('.');
  const header = decode(head);
  const rs256 = (key, text) => sign('sha256', Buffer.from(text), key).toString('base64url');
  if (changes[name]) {
    const text = `${head}.${encode(changes[name](decode(body)))}`;
    return `${text}.${rs256(createPrivateKey({ key: jwk, format: 'jwk' }), text)}`;
  }
  switch (name) {
    case 'alg-none':
      return `${encode({ ...header, alg: 'none' })}.${body}.`;
    case 'alg-hmac': {
      const text = `${encode({ ...header, alg: 'HS256' })}.${body}`;
      return `${text}.${hmac(text)}`;
    }
    case 'other-key':
      return `${head}.${body}.${rs256(foreignKey(), `${head}.${body}`)}`;
    case 'flipped-signature':
      return `${head}.${body}.${signature[0] === 'A' ? 'B' : 'A'}${signature.slice(1)}`;
    default:
      throw new Error(`no such token fault: ${name}; known: ${tokenFaults.join(', ')}`);
  }
}
