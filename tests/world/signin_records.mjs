// Where the sign-in provider keeps its sessions and grants: one small file a record, so that a
// restart, even after a kill, finds everybody still signed in.

import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Writes whole or not at all: a reader never sees half a file. */
export function writeWhole(path, text) {
  const draft = `${path}.${randomBytes(4).toString('hex')}`;
  writeFileSync(draft, text, { mode: 0o600 });
  renameSync(draft, path);
}

/** An adapter factory for oidc-provider over the folder `dir`. */
export function records(dir) {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const held = new Map(); // "Model:id" -> { model, id, payload, until }
  const file = (key) => join(dir, `${createHash('sha256').update(key).digest('hex')}.json`);
  const alive = (record) => record && (record.until === null || record.until > Date.now());
  const drop = (key) => {
    held.delete(key);
    rmSync(file(key), { force: true });
  };
  const keep = (record) => {
    const key = `${record.model}:${record.id}`;
    held.set(key, record);
    writeWhole(file(key), JSON.stringify(record));
  };

  for (const name of readdirSync(dir)) {
    if (!name.endsWith('.json')) continue;
    const record = JSON.parse(readFileSync(join(dir, name), 'utf8'));
    if (alive(record)) held.set(`${record.model}:${record.id}`, record);
    else rmSync(join(dir, name));
  }

  return class Records {
    constructor(model) {
      this.model = model;
    }

    async upsert(id, payload, expiresIn) {
      keep({ model: this.model, id, payload, until: expiresIn ? Date.now() + expiresIn * 1000 : null });
    }

    async find(id) {
      const key = `${this.model}:${id}`;
      const record = held.get(key);
      if (alive(record)) return record.payload;
      if (record) drop(key);
      return undefined;
    }

    #first(test) {
      for (const record of held.values()) {
        if (record.model === this.model && alive(record) && test(record.payload)) return record.payload;
      }
      return undefined;
    }

    async findByUid(uid) {
      return this.#first((payload) => payload.uid === uid);
    }

    async findByUserCode(userCode) {
      return this.#first((payload) => payload.userCode === userCode);
    }

    async consume(id) {
      const record = held.get(`${this.model}:${id}`);
      if (record) keep({ ...record, payload: { ...record.payload, consumed: Math.floor(Date.now() / 1000) } });
    }

    async destroy(id) {
      drop(`${this.model}:${id}`);
    }

    async revokeByGrantId(grantId) {
      for (const [key, record] of held) {
        if (record.payload.grantId === grantId) drop(key);
      }
    }
  };
}
