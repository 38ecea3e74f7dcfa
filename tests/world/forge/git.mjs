// The bare repository behind the stand-in, through the git command line.
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile, mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const CALM = { GIT_CONFIG_NOSYSTEM: '1', GIT_CONFIG_GLOBAL: '/dev/null', GIT_TERMINAL_PROMPT: '0', LC_ALL: 'C' };

/** Runs git; rejects with its own words when it fails. */
export function git(dir, args, { input, env, raw } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn('git', args, { cwd: dir, env: { PATH: process.env.PATH, ...CALM, ...env } });
    const out = [];
    const err = [];
    child.stdout.on('data', (chunk) => out.push(chunk));
    child.stderr.on('data', (chunk) => err.push(chunk));
    child.on('error', reject);
    child.on('close', (code) => {
      const stdout = Buffer.concat(out);
      if (code === 0) resolve(raw ? stdout : stdout.toString('utf8').replace(/\n$/, ''));
      else reject(Object.assign(new Error(`git ${args[0]}: ${Buffer.concat(err).toString('utf8').trim()}`), { code, stdout: stdout.toString('utf8') }));
    });
    child.stdin.on('error', () => {});
    child.stdin.end(input);
  });
}

export class Repository {
  constructor(dir) { this.dir = dir; }

  run(args, options) { return git(this.dir, args, options); }

  static async create(dir, files, author) {
    await mkdir(dir, { recursive: true });
    await git(dir, ['init', '--bare', '--initial-branch=main', '.']);
    const repository = new Repository(dir);
    await repository.run(['config', 'http.receivepack', 'true']);
    // Smart-HTTP pushes meet the same protection as the API: the API's own updates bypass hooks.
    await writeFile(join(dir, 'hooks/update'), '#!/bin/sh\nif grep -qxF "$1" protected-refs 2>/dev/null; then echo "GH006: Protected branch update failed for $1." >&2; exit 1; fi\n', { mode: 0o755 });
    const entries = Object.entries(files).map(([path, content]) => ({ path, mode: '100644', content }));
    const tree = await repository.writeTree(null, entries);
    const sha = await repository.commit({ tree, parents: [], message: 'Initial commit', author, committer: author });
    await repository.run(['update-ref', 'refs/heads/main', sha]);
    return repository;
  }

  /** The object a name stands for, or null. */
  async resolve(name, type = 'commit') {
    if (name.startsWith('-')) return null;
    try { return await this.run(['rev-parse', '--verify', '--quiet', '--end-of-options', `${name}^{${type}}`]); } catch { return null; }
  }

  async ref(ref) {
    try { return await this.run(['show-ref', '--verify', '--hash', ref]); } catch { return null; }
  }

  async refs() {
    const lines = await this.run(['for-each-ref', '--format=%(objectname) %(refname)', 'refs/heads']);
    return new Map(lines.split('\n').filter(Boolean).map((line) => [line.slice(41), line.slice(0, 40)]));
  }

  blob(content) { return this.run(['hash-object', '-w', '--stdin'], { input: content }); }

  read(sha) { return this.run(['cat-file', 'blob', sha], { raw: true }); }

  /** A tree made of a base and entries; `sha: null` removes a path. */
  async writeTree(base, entries) {
    const scratch = await mkdtemp(join(tmpdir(), 'forge-index-'));
    const env = { GIT_INDEX_FILE: join(scratch, 'index') };
    try {
      if (base) await this.run(['read-tree', base], { env });
      const lines = [];
      for (const entry of entries) {
        if (entry.sha === null) {
          const known = await this.run(['ls-files', '--', `:(literal)${entry.path}`], { env });
          if (!known) throw Object.assign(new Error('GitRPC::BadObjectState'), { status: 422 });
          lines.push(`0 ${'0'.repeat(40)}\t${entry.path}`);
        } else {
          lines.push(`${entry.mode ?? '100644'} ${entry.sha ?? await this.blob(entry.content)}\t${entry.path}`);
        }
      }
      await this.run(['update-index', '-z', '--index-info'], { env, input: lines.map((line) => `${line}\0`).join('') });
      return await this.run(['write-tree'], { env });
    } finally {
      await rm(scratch, { recursive: true, force: true });
    }
  }

  commit({ tree, parents, message, author, committer }) {
    const env = {
      GIT_AUTHOR_NAME: author.name, GIT_AUTHOR_EMAIL: author.email, GIT_AUTHOR_DATE: author.date ?? new Date().toISOString(),
      GIT_COMMITTER_NAME: committer.name, GIT_COMMITTER_EMAIL: committer.email, GIT_COMMITTER_DATE: committer.date ?? new Date().toISOString(),
    };
    return this.run(['commit-tree', tree, ...parents.flatMap((parent) => ['-p', parent])], { input: message, env });
  }

  async readCommit(sha) {
    const text = await this.run(['show', '-s', '--format=%H%x00%T%x00%P%x00%an%x00%ae%x00%aI%x00%cn%x00%ce%x00%cI%x00%B', sha]);
    const [id, tree, parents, an, ae, ad, cn, ce, cd, message] = text.split('\0');
    return {
      sha: id, tree, parents: parents.split(' ').filter(Boolean), message: message.replace(/\n+$/, ''),
      author: { name: an, email: ae, date: new Date(ad).toISOString() }, committer: { name: cn, email: ce, date: new Date(cd).toISOString() },
    };
  }

  async log(range, limit = 250) {
    const text = await this.run(['rev-list', '--topo-order', '--reverse', `--max-count=${limit}`, range]);
    return text.split('\n').filter(Boolean);
  }

  mergeBase(a, b) { return this.run(['merge-base', a, b]).catch(() => null); }

  async isAncestor(a, b) { try { await this.run(['merge-base', '--is-ancestor', a, b]); return true; } catch { return false; } }

  /** The tree of a merge, or null on a conflict. */
  async mergeTree(base, head) {
    try { return (await this.run(['merge-tree', '--write-tree', base, head])).split('\n')[0]; } catch (error) {
      if (error.code === 1) return null;
      throw error;
    }
  }

  async files(from, to) {
    const STATUS = { A: 'added', D: 'removed', M: 'modified', T: 'changed', R: 'renamed', C: 'copied' };
    const [raw, counts] = await Promise.all([
      this.run(['diff-tree', '-r', '-z', '--no-renames', '--raw', from, to]),
      this.run(['diff-tree', '-r', '-z', '--no-renames', '--numstat', from, to]),
    ]);
    const lines = new Map(counts.split('\0').filter(Boolean).map((line) => { const [added, removed, path] = line.split('\t'); return [path, [Number(added) || 0, Number(removed) || 0]]; }));
    const parts = raw.split('\0').filter(Boolean);
    const files = [];
    for (let i = 0; i + 1 < parts.length; i += 2) {
      const [, , , sha, status] = parts[i].split(' ');
      const path = parts[i + 1];
      const [additions, deletions] = lines.get(path) ?? [0, 0];
      const patch = (await this.run(['diff', '--no-renames', '--no-color', from, to, '--', `:(literal)${path}`])).split('\n');
      const hunk = patch.findIndex((line) => line.startsWith('@@'));
      files.push({ path, sha: /^0+$/.test(sha) ? null : sha, status: STATUS[status[0]], additions, deletions, patch: hunk < 0 ? null : patch.slice(hunk).join('\n') });
    }
    return files;
  }

  async tree(sha, recursive) {
    const text = await this.run(['ls-tree', '-z', '--long', ...(recursive ? ['-r', '-t'] : []), sha]);
    return text.split('\0').filter(Boolean).map((line) => {
      const [meta, path] = line.split('\t');
      const [mode, type, id, size] = meta.split(/ +/);
      return { path, mode, type, sha: id, ...(type === 'blob' ? { size: Number(size) } : {}) };
    });
  }

  /** Moves a ref only from the value it was read at: two writers cannot both win. */
  moveRef(ref, to, from) { return this.run(['update-ref', ref, to, from ?? '0'.repeat(40)]); }

  protect(refs) { return writeFile(join(this.dir, 'protected-refs'), refs.map((ref) => `${ref}\n`).join('')); }
}

