// A small stateful GitHub over real bare git repositories: REST v3, smart HTTP, webhooks, and a page
// where people read, review and merge. Requests and answers are held to GitHub's own API description.
import { createServer } from 'node:http';
import { randomBytes, timingSafeEqual } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { readBody } from './body.mjs';
import { answerProblem, findOperation, requestProblem } from './contract.mjs';
import { caller } from './access.mjs';
import { Faults } from './faults.mjs';
import { Repository } from './git.mjs';
import { pages } from './pages.mjs';
import { now, Pulls, Refusal } from './pulls.mjs';
import { serve } from './rest.mjs';
import { Shapes } from './shapes.mjs';
import { smartHttp } from './smart-http.mjs';
import { BOT, MACHINE, PEOPLE, State } from './state.mjs';
import { Webhooks } from './webhooks.mjs';

const API = '/api/v3';

class Forge {
  #server; #lock = Promise.resolve(); #hanging = new Set();

  constructor(dir) {
    this.dir = resolve(dir);
    this.state = State.open(this.dir);
    this.faults = new Faults();
    this.shapes = new Shapes(this);
    this.pulls = new Pulls(this);
    this.webhooks = new Webhooks(this);
    // Guards the switch of faults and set-up, so that a person's token cannot reach it.
    this.controlToken = randomBytes(18).toString('hex');
  }

  get appId() { return this.state.data.appId; }

  get installationId() { return this.state.data.installationId; }

  get privateKeyPem() { return this.state.data.privateKey; }

  get webhookSecret() { return this.state.data.webhook?.secret ?? null; }

  /** The plain token of a login; without one, of the machine account. */
  token(login = MACHINE) { return this.state.tokenOf(login); }

  tokens() { return Object.fromEntries([...PEOPLE, MACHINE].map((login) => [login, this.token(login)])); }

  async listen(port) {
    this.#server = createServer((request, response) => {
      this.#handle(request, response).catch((error) => {
        console.error(`forge: ${request.method} ${request.url}: ${error.stack}`);
        if (!response.headersSent) response.writeHead(500, { 'content-type': 'text/plain' });
        response.end('The forge stand-in failed; its log says why.\n');
      });
    });
    await new Promise((done, fail) => { this.#server.once('error', fail).listen(port, '127.0.0.1', done); });
    this.url = `http://127.0.0.1:${this.#server.address().port}`;
    this.apiUrl = `${this.url}${API}`;
  }

  async stop() {
    for (const socket of this.#hanging) socket.destroy();
    this.#server.closeAllConnections();
    await new Promise((done) => { this.#server.close(done); });
    await this.webhooks.settled();
  }

  /** Makes a repository `owner/name` with a first commit of `files` ({path: content}); keeps one that is there. */
  async createRepo(name, files, owner = 'demo') {
    const full = `${owner}/${name}`;
    return this.write(async () => {
      if (!this.state.data.repos[full]) {
        const id = this.state.id();
        await Repository.create(join(this.dir, `${id}.git`), files, { name: 'demo', email: this.state.data.users.demo.email });
        this.state.data.repos[full] = { id, owner, name, created: now(), nextNumber: 0, pulls: [], checks: [], statuses: [], activity: [], protection: {}, verified: {} };
      }
      const { id } = this.state.data.repos[full];
      return { id, owner, name, url: `${this.url}/${full}`, gitUrl: `${this.url}/${full}.git` };
    });
  }

  /** Renames a repository; its old name answers with GitHub's redirect. */
  renameRepo(owner, from, to) {
    return this.write(async () => {
      const { repos } = this.state.data;
      const repo = repos[`${owner}/${from}`];
      delete repos[`${owner}/${from}`];
      repo.formerNames = [...(repo.formerNames ?? []), from];
      repo.name = to;
      repos[`${owner}/${to}`] = repo;
    });
  }

  /** Where deliveries go: of every repository, or of one when it is named. */
  setWebhook(url, secret, repo) {
    return this.write(async () => {
      if (repo) this.state.data.repoWebhooks = { ...this.state.data.repoWebhooks, [repo]: { url, secret } };
      else this.state.data.webhook = { url, secret };
    });
  }

  /** Protects a branch: `checks` is a list of {context, app_id?}, `reviews` the approvals asked. */
  protect(owner, name, branch, { checks = [], reviews = 0, dismissStale = false } = {}) {
    return this.write(async () => {
      const repo = this.repo(owner, name);
      repo.protection[branch] = { checks, reviews, dismissStale };
      await this.git(repo).protect(Object.keys(repo.protection).map((known) => `refs/heads/${known}`));
    });
  }

  repo(owner, name) { return this.state.data.repos[`${owner}/${name}`] ?? null; }

  repoById(id) { return Object.values(this.state.data.repos).find((repo) => repo.id === Number(id)) ?? null; }

  movedRepo(owner, name) { return Object.values(this.state.data.repos).find((repo) => repo.owner === owner && repo.formerNames?.includes(name)) ?? null; }

  git(repo) { return new Repository(join(this.dir, `${repo.id}.git`)); }

  refsMoved(repo, login, moves, type) { return this.pulls.refsMoved(repo, login, moves, type); }

  /** Runs one change at a time and saves the state after it, even after one that failed half-way. */
  write(change) {
    const result = this.#lock.then(async () => {
      try { return await change(); } finally { await this.state.save(); }
    });
    this.#lock = result.catch(() => {});
    return result;
  }

  async #handle(request, response) {
    const url = new URL(request.url, this.url);
    request.query = url.searchParams;
    if (url.pathname.startsWith(`${API}/`)) return this.#api(request, response, url);
    if (url.pathname.startsWith('/_control/')) return this.#control(request, response, url);
    const git = /^\/([\w.-]+)\/([\w.-]+?)\.git(\/.*)$/.exec(url.pathname);
    if (git) {
      const repo = this.repo(git[1], git[2]);
      if (!repo) return response.writeHead(404).end('Repository not found\n');
      return smartHttp(this, repo, git[3], request, response);
    }
    return pages(this, request, response, url);
  }

  async #api(request, response, url) {
    const path = url.pathname.slice(API.length);
    // GitHub serves a repository by its number as well, without describing it: the answer is a repository's.
    const byId = /^\/repositories\/(\d+)$/.exec(path);
    const numbered = byId && this.repoById(byId[1]);
    const found = findOperation(request.method, numbered ? `/repos/${numbered.owner}/${numbered.name}` : path);
    if (!found) return this.#json(response, 404, { message: 'Not Found', documentation_url: 'https://docs.github.com/rest', status: '404' });
    const { operation, params } = found;
    this.faults.calls.push(operation.id);
    const fault = this.faults.take(operation.id, params.repo ?? null);
    if (fault?.kind === 'refuse') return request.socket.destroy();
    if (fault?.kind === 'hang') { this.#hanging.add(request.socket); return undefined; }
    if (fault?.kind === 'bad-gateway') return this.#json(response, 502, { message: 'Server Error' });
    if (fault?.kind === 'rate-limit') {
      return this.#json(response, 403, { message: 'You have exceeded a secondary rate limit. Please wait a few minutes before you try again.', documentation_url: 'https://docs.github.com/rest/overview/rate-limits-for-the-rest-api' }, { 'retry-after': String(fault.retryAfter) });
    }
    const text = await readBody(request);
    let answer;
    try {
      const who = caller(this.state, request.headers.authorization);
      const body = text.length > 0 ? parse(text) : undefined;
      const query = Object.fromEntries(url.searchParams);
      const problem = requestProblem(operation, { ...query }, body);
      if (problem) return this.#violation(response, `request ${operation.id}: ${problem}`);
      const work = () => serve({ forge: this, operation, params, query, body, who, url });
      answer = request.method === 'GET' ? await work() : await this.write(work);
    } catch (error) {
      const status = error.status;
      if (!status) throw error;
      answer = [status, error.body ?? { message: error.message, documentation_url: 'https://docs.github.com/rest', status: String(status) }];
    }
    const [status, body, headers] = answer;
    const problem = answerProblem(operation, status, body);
    if (problem) return this.#violation(response, `answer ${operation.id} ${status}: ${problem}`);
    if (fault?.kind === 'lost') return request.socket.destroy();
    if (fault?.kind === 'applied-bad-gateway') return this.#json(response, 502, { message: 'Server Error' });
    return this.#json(response, status, body, headers);
  }

  #violation(response, reason) {
    this.faults.violations.push(reason);
    console.error(`forge: ${reason}`);
    return this.#json(response, 500, { message: `Not as GitHub describes it: ${reason}` });
  }

  #json(response, status, body, headers = {}) {
    const text = body === undefined ? '' : JSON.stringify(body);
    response.writeHead(status, { 'content-type': 'application/json; charset=utf-8', 'x-github-media-type': 'github.v3; format=json', ...headers }).end(text);
  }

  /** Set-up and faults for test programs in other languages; needs the control token. */
  async #control(request, response, url) {
    const given = Buffer.from((request.headers.authorization ?? '').replace(/^Bearer /, ''));
    const wanted = Buffer.from(this.controlToken);
    if (given.length !== wanted.length || !timingSafeEqual(given, wanted)) return this.#json(response, 401, { message: 'the control token is needed' });
    const body = parse((await readBody(request)) || '{}');
    const action = {
      repo: () => this.createRepo(body.name, body.files, body.owner),
      rename: () => this.renameRepo(body.owner ?? 'demo', body.from, body.to),
      webhook: () => this.setWebhook(body.url, body.secret, body.repo),
      protect: () => this.protect(body.owner ?? 'demo', body.name, body.branch ?? 'main', body),
      fault: () => this.faults.arm(body),
      'clear-faults': () => this.faults.clear(),
      report: () => ({ violations: this.faults.violations, calls: this.faults.calls, deliveries: this.webhooks.deliveries.map(({ id, event, status, error }) => ({ id, event, status, error })) }),
      redeliver: () => this.webhooks.redeliver(body.id),
    }[url.pathname.slice('/_control/'.length)];
    if (!action) return this.#json(response, 404, { message: 'no such control' });
    return this.#json(response, 200, (await action()) ?? {});
  }
}

function parse(text) {
  try { return JSON.parse(text); } catch { throw new Refusal(400, 'Problems parsing JSON'); }
}

/** Starts the stand-in over the state and repositories in `dir`; port 0 picks a free one. */
export async function startForge({ port = 0, dir }) {
  await mkdir(dir, { recursive: true });
  const forge = new Forge(dir);
  await forge.listen(port);
  return forge;
}

export { BOT, MACHINE, PEOPLE };
