// GitHub's JSON for what the stand-in holds. Facts are given here; required links come from the description.
import { withLinks } from './contract.mjs';
import { APP_SLUG, BOT } from './state.mjs';

export class Shapes {
  constructor(forge) { this.forge = forge; }

  get api() { return this.forge.apiUrl; }

  get web() { return this.forge.url; }

  user(login) {
    const user = this.forge.state.data.users[login];
    if (!user) return null;
    return withLinks('simple-user', `${this.api}/users/${encodeURIComponent(login)}`, {
      login, id: user.id, type: user.type, site_admin: false, gravatar_id: '', html_url: `${this.web}/${encodeURIComponent(login)}`,
    });
  }

  wholeUser(login) {
    const { created, email } = this.forge.state.data.users[login];
    return { ...this.user(login), user_view_type: 'public', name: login, company: null, blog: '', location: null, email, hireable: null, bio: null, public_repos: 0, public_gists: 0, followers: 0, following: 0, created_at: created, updated_at: created };
  }

  userByEmail(email) {
    const user = Object.values(this.forge.state.data.users).find((known) => known.email === email);
    return user ? this.user(user.login) : null;
  }

  permissions() { return { metadata: 'read', contents: 'write', pull_requests: 'write', checks: 'write', members: 'read' }; }

  app() {
    const { appId, created } = this.forge.state.data;
    return withLinks('integration', `${this.web}/apps/${APP_SLUG}`, {
      id: appId, slug: APP_SLUG, owner: this.user('demo'), name: APP_SLUG, description: null, external_url: this.web, html_url: `${this.web}/apps/${APP_SLUG}`,
      created_at: created, updated_at: created, permissions: this.permissions(), events: ['pull_request', 'pull_request_review', 'check_run', 'push'],
    });
  }

  installation() {
    const { appId, installationId, created, users } = this.forge.state.data;
    return {
      id: installationId, account: this.user('demo'), repository_selection: 'all', access_tokens_url: `${this.api}/app/installations/${installationId}/access_tokens`,
      repositories_url: `${this.api}/installation/repositories`, html_url: `${this.web}/settings/installations/${installationId}`, app_id: appId, app_slug: APP_SLUG,
      target_id: users.demo.id, target_type: 'Organization', permissions: this.permissions(), events: ['pull_request'], created_at: created, updated_at: created,
      single_file_name: null, suspended_by: null, suspended_at: null,
    };
  }

  repo(repo, schema = 'full-repository') {
    const full = `${repo.owner}/${repo.name}`;
    const open = repo.pulls.filter((pull) => pull.state === 'open').length;
    return withLinks(schema, `${this.api}/repos/${full}`, {
      id: repo.id, name: repo.name, full_name: full, owner: this.user('demo'), private: true, html_url: `${this.web}/${full}`, description: null, fork: false,
      clone_url: `${this.web}/${full}.git`, git_url: `${this.web}/${full}.git`, ssh_url: `${this.web}/${full}.git`, svn_url: `${this.web}/${full}`, homepage: null, language: null,
      default_branch: 'main', forks: 0, forks_count: 0, has_issues: false, has_projects: false, has_wiki: false, has_pages: false, has_discussions: false, has_downloads: false,
      archived: false, disabled: false, mirror_url: null, open_issues: open, open_issues_count: open, license: null, pushed_at: repo.created, created_at: repo.created, updated_at: repo.created,
      size: 1, stargazers_count: 0, watchers: 0, watchers_count: 0, network_count: 0, subscribers_count: 0, visibility: 'private',
    });
  }

  verification(repo, sha) {
    const verified = repo.verified[sha] === true;
    return { verified, reason: verified ? 'valid' : 'unsigned', signature: verified ? '-----BEGIN PGP SIGNATURE-----' : null, payload: null, verified_at: verified ? repo.created : null };
  }

  repoUrl(repo) { return `${this.api}/repos/${repo.owner}/${repo.name}`; }

  repoWeb(repo) { return `${this.web}/${repo.owner}/${repo.name}`; }

  gitCommit(repo, commit) {
    const url = `${this.repoUrl(repo)}/git/commits/${commit.sha}`;
    return withLinks('git-commit', url, {
      sha: commit.sha, html_url: `${this.repoWeb(repo)}/commit/${commit.sha}`, author: commit.author, committer: commit.committer, message: commit.message,
      tree: { sha: commit.tree, url: `${this.repoUrl(repo)}/git/trees/${commit.tree}` },
      parents: commit.parents.map((sha) => ({ sha, url: `${this.repoUrl(repo)}/git/commits/${sha}`, html_url: `${this.repoWeb(repo)}/commit/${sha}` })),
      verification: this.verification(repo, commit.sha),
    });
  }

  commit(repo, commit) {
    const inner = this.gitCommit(repo, commit);
    return withLinks('commit', `${this.repoUrl(repo)}/commits/${commit.sha}`, {
      sha: commit.sha, html_url: inner.html_url, parents: inner.parents,
      commit: { author: commit.author, committer: commit.committer, message: commit.message, comment_count: 0, tree: inner.tree, url: inner.url, verification: inner.verification },
      author: this.userByEmail(commit.author.email), committer: this.userByEmail(commit.committer.email),
    });
  }

  /** A pull request; `whole` carries what only a single one does (counts, mergeability). */
  pull(repo, pull, whole) {
    const url = `${this.repoUrl(repo)}/pulls/${pull.number}`;
    const web = `${this.repoWeb(repo)}/pull/${pull.number}`;
    const side = (ref, sha) => ({ label: `${repo.owner}:${ref}`, ref, sha, user: this.user('demo'), repo: this.repo(repo, 'repository') });
    const link = (href) => ({ href });
    const simple = withLinks('pull-request-simple', url, {
      id: pull.id, number: pull.number, state: pull.state, locked: false, title: pull.title, body: pull.body, user: this.user(pull.author), html_url: web,
      diff_url: `${web}.diff`, patch_url: `${web}.patch`, issue_url: `${this.repoUrl(repo)}/issues/${pull.number}`, labels: [], milestone: null, assignee: null, assignees: [],
      requested_reviewers: pull.requested.map((login) => this.user(login)), requested_teams: [], draft: false, auto_merge: null, author_association: 'CONTRIBUTOR',
      head: side(pull.head, pull.headSha), base: side(pull.base, pull.baseSha), created_at: pull.created, updated_at: pull.updated, closed_at: pull.closed, merged_at: pull.merged,
      merge_commit_sha: pull.mergeSha,
      _links: {
        self: link(url), html: link(web), issue: link(`${this.repoUrl(repo)}/issues/${pull.number}`), comments: link(`${url}/comments`), review_comments: link(`${url}/comments`),
        review_comment: link(`${url}/comments{/number}`), commits: link(`${url}/commits`), statuses: link(`${this.repoUrl(repo)}/statuses/${pull.headSha}`),
      },
    });
    if (!whole) return simple;
    return { ...simple, ...whole, merged: pull.merged !== null, merged_by: pull.mergedBy ? this.user(pull.mergedBy) : null, comments: 0, review_comments: 0, maintainer_can_modify: false };
  }

  review(repo, pull, review) {
    const web = `${this.repoWeb(repo)}/pull/${pull.number}#pullrequestreview-${review.id}`;
    const pullUrl = `${this.repoUrl(repo)}/pulls/${pull.number}`;
    return withLinks('pull-request-review', pullUrl, {
      id: review.id, user: this.user(review.login), body: review.body, state: review.state, html_url: web, pull_request_url: pullUrl, commit_id: review.sha,
      submitted_at: review.at, author_association: 'MEMBER', _links: { html: { href: web }, pull_request: { href: pullUrl } },
    });
  }

  check(repo, check) {
    const url = `${this.repoUrl(repo)}/check-runs/${check.id}`;
    return withLinks('check-run', url, {
      id: check.id, head_sha: check.sha, name: check.name, html_url: `${this.repoWeb(repo)}/runs/${check.id}`, details_url: null, status: check.status, conclusion: check.conclusion,
      started_at: check.started, completed_at: check.completed, external_id: check.externalId ?? '', check_suite: { id: check.id }, app: this.app(), pull_requests: [],
      output: { title: check.title, summary: check.summary, text: null, annotations_count: 0, annotations_url: `${url}/annotations` },
    });
  }

  status(repo, status) {
    const url = `${this.repoUrl(repo)}/statuses/${status.sha}`;
    return withLinks('status', url, {
      id: status.id, avatar_url: null, state: status.state, description: status.description, target_url: null, context: status.context, created_at: status.at, updated_at: status.at,
      creator: this.user(status.login),
    });
  }

  bot() { return this.user(BOT); }
}
