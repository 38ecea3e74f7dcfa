// What can be done with a pull request, for the API and the pages alike.
import { blockers, follow } from './rules.mjs';

/** A refusal in GitHub's form. */
export class Refusal extends Error {
  constructor(status, message, errors) {
    super(message);
    this.status = status;
    this.body = { message, documentation_url: 'https://docs.github.com/rest', status: String(status), ...(errors ? { errors } : {}) };
  }
}

const now = () => new Date().toISOString().replace(/\.\d+Z$/, 'Z');
const invalid = (resource, field, code, message) => new Refusal(422, 'Validation Failed', [{ resource, field, code, ...(message ? { message } : {}) }]);

export class Pulls {
  constructor(forge) { this.forge = forge; }

  get shapes() { return this.forge.shapes; }

  find(repo, number) {
    const pull = repo.pulls.find((p) => p.number === Number(number));
    if (!pull) throw new Refusal(404, 'Not Found');
    return pull;
  }

  async whole(repo, pull) {
    const git = this.forge.git(repo);
    const start = await this.start(repo, pull);
    const [commits, files, tree] = await Promise.all([
      git.log(`${start}..${pull.headSha}`), git.files(start, pull.headSha), pull.state === 'open' ? git.mergeTree(pull.baseSha, pull.headSha) : null,
    ]);
    const open = pull.state === 'open';
    return this.shapes.pull(repo, pull, {
      additions: files.reduce((sum, f) => sum + f.additions, 0), deletions: files.reduce((sum, f) => sum + f.deletions, 0), changed_files: files.length, commits: commits.length,
      mergeable: open ? tree !== null : null, rebaseable: false, mergeable_state: !open ? 'unknown' : tree === null ? 'dirty' : blockers(repo, pull).length > 0 ? 'blocked' : 'clean',
    });
  }

  /** Where the pull request's own commits begin. */
  async start(repo, pull) {
    return (await this.forge.git(repo).mergeBase(pull.startSha ?? pull.baseSha, pull.headSha)) ?? pull.baseSha;
  }

  async event(repo, pull, action, sender, extra = {}) {
    this.forge.webhooks.send('pull_request', {
      action, number: pull.number, pull_request: await this.whole(repo, pull), repository: this.shapes.repo(repo), sender: this.shapes.user(sender), ...extra,
    });
  }

  async create(repo, login, { title, body, head, base }) {
    const git = this.forge.git(repo);
    const branch = head.includes(':') ? head.split(':').slice(1).join(':') : head;
    if (head.includes(':') && head.split(':')[0] !== repo.owner) throw invalid('PullRequest', 'head', 'invalid');
    const headSha = await git.ref(`refs/heads/${branch}`);
    const baseSha = await git.ref(`refs/heads/${base}`);
    if (!headSha) throw invalid('PullRequest', 'head', 'invalid');
    if (!baseSha) throw invalid('PullRequest', 'base', 'invalid');
    if (!title) throw invalid('PullRequest', 'title', 'missing_field');
    if ((body ?? '').length > 65536) throw invalid('PullRequest', 'body', 'custom', 'body is too long (maximum is 65536 characters)');
    if (repo.pulls.some((p) => p.state === 'open' && p.head === branch && p.base === base)) {
      throw new Refusal(422, 'Validation Failed', [{ resource: 'PullRequest', code: 'custom', message: `A pull request already exists for ${repo.owner}:${branch}.` }]);
    }
    if ((await git.log(`${baseSha}..${headSha}`, 1)).length === 0) {
      throw new Refusal(422, 'Validation Failed', [{ resource: 'PullRequest', code: 'custom', message: `No commits between ${base} and ${branch}` }]);
    }
    const at = now();
    repo.nextNumber += 1;
    const pull = {
      id: this.forge.state.id(), number: repo.nextNumber, title, body: body ?? null, head: branch, base, headSha, baseSha, author: login, state: 'open',
      created: at, updated: at, closed: null, merged: null, mergedBy: null, mergeSha: null, startSha: null, reviews: [], requested: [],
    };
    repo.pulls.push(pull);
    await this.event(repo, pull, 'opened', login);
    return pull;
  }

  async update(repo, pull, login, { title, body, state, base }) {
    if (base && base !== pull.base) throw invalid('PullRequest', 'base', 'invalid');
    if ((body ?? '').length > 65536) throw invalid('PullRequest', 'body', 'custom', 'body is too long (maximum is 65536 characters)');
    const edited = (title !== undefined && title !== pull.title) || (body !== undefined && body !== pull.body);
    if (title !== undefined) pull.title = title;
    if (body !== undefined) pull.body = body;
    const at = now();
    pull.updated = at;
    if (edited) await this.event(repo, pull, 'edited', login, { changes: {} });
    if (state === 'closed' && pull.state === 'open') {
      Object.assign(pull, { state: 'closed', closed: at });
      await this.event(repo, pull, 'closed', login);
    } else if (state === 'open' && pull.state === 'closed') {
      if (pull.merged) throw invalid('PullRequest', 'state', 'invalid', 'state cannot be changed. The pull request is merged.');
      const headSha = await this.forge.git(repo).ref(`refs/heads/${pull.head}`);
      if (!headSha) throw invalid('PullRequest', 'state', 'invalid', `state cannot be changed. The ${pull.head} branch has been deleted.`);
      if (repo.pulls.some((p) => p !== pull && p.state === 'open' && p.head === pull.head && p.base === pull.base)) {
        throw invalid('PullRequest', 'state', 'invalid', `state cannot be changed. There is already an open pull request from ${repo.owner}:${pull.head} to ${repo.owner}:${pull.base}.`);
      }
      Object.assign(pull, { state: 'open', closed: null, headSha });
      await this.event(repo, pull, 'reopened', login);
    }
    return pull;
  }

  async review(repo, pull, login, { event, body = '', commit_id: sha }) {
    const state = { APPROVE: 'APPROVED', REQUEST_CHANGES: 'CHANGES_REQUESTED', COMMENT: 'COMMENTED' }[event];
    if (!state) throw new Refusal(422, 'Unprocessable Entity');
    if (login === pull.author && state === 'APPROVED') throw new Refusal(422, 'Unprocessable Entity', ['Review Can not approve your own pull request']);
    if (login === pull.author && state === 'CHANGES_REQUESTED') throw new Refusal(422, 'Unprocessable Entity', ['Review Can not request changes on your own pull request']);
    if (state === 'CHANGES_REQUESTED' && !body) throw new Refusal(422, 'Unprocessable Entity', ['Body can not be blank']);
    const review = { id: this.forge.state.id(), login, state, body, sha: sha ?? pull.headSha, at: now() };
    pull.reviews.push(review);
    pull.requested = pull.requested.filter((other) => other !== login);
    pull.updated = review.at;
    this.forge.webhooks.send('pull_request_review', {
      action: 'submitted', review: { ...this.shapes.review(repo, pull, review), state: state.toLowerCase() }, pull_request: this.shapes.pull(repo, pull),
      repository: this.shapes.repo(repo), sender: this.shapes.user(login),
    });
    return review;
  }

  async request(repo, pull, login, reviewers) {
    for (const name of reviewers) {
      if (!this.forge.state.data.users[name] || name === pull.author) {
        throw new Refusal(422, name === pull.author ? 'Review cannot be requested from pull request author.' : 'Reviews may only be requested from collaborators. One or more of the users or teams you specified is not a collaborator.');
      }
    }
    for (const name of reviewers) {
      if (pull.requested.includes(name)) continue;
      pull.requested.push(name);
      await this.event(repo, pull, 'review_requested', login, { requested_reviewer: this.shapes.user(name) });
    }
  }

  async merge(repo, pull, login, { sha, merge_method: method = 'merge', commit_title: title, commit_message: message } = {}) {
    const git = this.forge.git(repo);
    if (pull.merged || pull.state !== 'open') throw new Refusal(405, 'Pull Request is not mergeable');
    if (sha && sha !== pull.headSha) throw new Refusal(409, 'Head branch was modified. Review and try the merge again.');
    const blocked = blockers(repo, pull);
    if (blocked.length > 0) throw new Refusal(405, blocked.join(' '));
    if (method === 'rebase') throw new Refusal(405, 'Rebase merges are not allowed on this repository.');
    const tree = await git.mergeTree(pull.baseSha, pull.headSha);
    if (!tree) throw new Refusal(405, 'Pull Request is not mergeable');
    const user = this.forge.state.data.users[login];
    const author = { name: login, email: user.email };
    const squash = method === 'squash';
    const subject = title ?? (squash ? `${pull.title} (#${pull.number})` : `Merge pull request #${pull.number} from ${repo.owner}/${pull.head}`);
    const made = await git.commit({
      tree, parents: squash ? [pull.baseSha] : [pull.baseSha, pull.headSha], message: `${subject}\n\n${message ?? (squash ? '' : pull.title)}`.trimEnd(),
      author, committer: { name: 'GitHub', email: 'noreply@github.com' },
    });
    repo.verified[made] = true;
    const at = now();
    const start = pull.baseSha;
    await git.moveRef(`refs/heads/${pull.base}`, made, pull.baseSha);
    Object.assign(pull, { state: 'closed', closed: at, merged: at, mergedBy: login, mergeSha: made, startSha: start, updated: at });
    await this.event(repo, pull, 'closed', login);
    await this.forge.refsMoved(repo, login, [[`refs/heads/${pull.base}`, start, made]], 'pr_merge');
    return made;
  }

  /** After branches moved by `login`: the record of who pushed, push events, and what open pull requests make of it. */
  async refsMoved(repo, login, moves, type) {
    const zero = '0'.repeat(40);
    for (const [ref, before, after] of moves) {
      repo.activity.push({ id: this.forge.state.id(), ref, before: before ?? zero, after: after ?? zero, login, at: now(), type: type ?? (!before ? 'branch_creation' : !after ? 'branch_deletion' : 'push') });
      this.forge.webhooks.send('push', {
        ref, before: before ?? zero, after: after ?? zero, created: !before, deleted: !after, forced: false, base_ref: null, compare: `${this.shapes.repoWeb(repo)}/compare`, commits: [], head_commit: null,
        repository: this.shapes.repo(repo), pusher: { name: login }, sender: this.shapes.user(login),
      });
    }
    for (const { action, pull, before } of follow(repo, await this.forge.git(repo).refs(), now())) {
      await this.event(repo, pull, action, login, before ? { before, after: pull.headSha } : {});
    }
  }
}

export { now };
