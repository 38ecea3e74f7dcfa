// What the stand-in remembers beside git: one JSON file, replaced atomically after each write.
import { readFileSync } from 'node:fs';
import { open, rename } from 'node:fs/promises';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { join } from 'node:path';

/** People who can act on the stand-in's pages. */
export const PEOPLE = ['oncall-engineer', 'second-engineer', 'first-approver', 'second-approver', 'compliance'];
export const APP_SLUG = 'breakglass';
export const BOT = `${APP_SLUG}[bot]`;
/** A machine account for shops that use a plain token instead of an App. */
export const MACHINE = 'breakglass-machine';

export class State {
  constructor(path, data) { this.path = path; this.data = data; }

  static open(dir) {
    const path = join(dir, 'forge.json');
    try {
      return new State(path, JSON.parse(readFileSync(path, 'utf8')));
    } catch (error) {
      if (error.code !== 'ENOENT') throw error;
    }
    const { privateKey, publicKey } = generateKeyPairSync('rsa', {
      modulusLength: 2048, publicKeyEncoding: { type: 'spki', format: 'pem' }, privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
    });
    const created = new Date().toISOString();
    const users = {};
    const tokens = {};
    [...PEOPLE, MACHINE, BOT, 'demo'].forEach((login, index) => {
      users[login] = { id: 1001 + index, login, type: login === BOT ? 'Bot' : login === 'demo' ? 'Organization' : 'User', email: `${1001 + index}+${login}@users.noreply.forge.test`, created };
      if (login !== BOT && login !== 'demo') tokens[`ghp_${randomBytes(18).toString('hex')}`] = { login };
    });
    return new State(path, {
      nextId: 5000, appId: 4711, installationId: 8150, privateKey, publicKey, created,
      webhook: null, users, tokens, repos: {},
    });
  }

  id() { this.data.nextId += 1; return this.data.nextId; }

  tokenOf(login) { return Object.entries(this.data.tokens).find(([, who]) => who.login === login && !who.app)?.[0]; }

  async save() {
    const scratch = `${this.path}.new`;
    const file = await open(scratch, 'w', 0o600);
    try {
      await file.writeFile(JSON.stringify(this.data));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(scratch, this.path);
  }
}
