// The REST operations, by GitHub's operation ids. Each takes a context and gives [status, body, headers].
import { authorise, mint } from './access.mjs';
import { now, Refusal } from './pulls.mjs';

const notFound = () => new Refusal(404, 'Not Found');
const unprocessable = (message) => new Refusal(422, message);

/** The page of a list GitHub would give, with its Link header. */
function paged({ query, url }, items) {
  const size = Math.min(Number(query.per_page ?? 30), 100);
  const page = Number(query.page ?? 1);
  const last = Math.max(1, Math.ceil(items.length / size));
  const link = (n, rel) => { const to = new URL(url); to.searchParams.set('page', n); return `<${to}>; rel="${rel}"`; };
  const links = [...(page < last ? [link(page + 1, 'next'), link(last, 'last')] : []), ...(page > 1 ? [link(page - 1, 'prev')] : [])];
  return [items.slice((page - 1) * size, page * size), links.length > 0 ? { link: links.join(', ') } : {}];
}

const list = (context, items) => { const [page, headers] = paged(context, items); return [200, page, headers]; };

async function commitAt({ git, params }, name = params.ref) {
  const sha = (await git.ref(`refs/heads/${name}`)) ?? (await git.resolve(name));
  if (!sha) throw unprocessable(`No commit found for SHA: ${name}`);
  return sha;
}

const refShape = ({ shapes, repo }, ref, sha) => ({
  ref, node_id: Buffer.from(ref).toString('base64url'), url: `${shapes.repoUrl(repo)}/git/${ref}`, object: { sha, type: 'commit', url: `${shapes.repoUrl(repo)}/git/commits/${sha}` },
});

function refuseProtected({ repo }, ref) {
  const branch = ref.replace(/^refs\/heads\//, '');
  if (repo.protection[branch]) throw new Refusal(422, `Protected branch update failed for ${ref}.`);
}

function protectionShape({ shapes, repo }, branch) {
  const rules = repo.protection[branch];
  const url = `${shapes.repoUrl(repo)}/branches/${branch}/protection`;
  return { rules, url };
}

const ROLES = {
  'apps/get-authenticated': ({ shapes }) => [200, shapes.app()],
  'apps/get-repo-installation': ({ shapes }) => [200, shapes.installation()],
  'apps/get-org-installation': ({ shapes, params }) => { if (params.org !== 'demo') throw notFound(); return [200, shapes.installation()]; },
  // The stand-in's one installation is an organisation's.
  'apps/get-user-installation': () => { throw notFound(); },
  'apps/create-installation-access-token': ({ state, params, body, shapes }) => {
    if (Number(params.installation_id) !== state.data.installationId) throw notFound();
    return [201, { ...mint(state, body), permissions: shapes.permissions(), repository_selection: body?.repositories || body?.repository_ids ? 'selected' : 'all' }];
  },
  'users/get-authenticated': ({ shapes, who }) => [200, shapes.wholeUser(who.login)],
  'users/get-by-username': ({ shapes, state, params }) => { if (!state.data.users[params.username]) throw notFound(); return [200, shapes.wholeUser(params.username)]; },
  'repos/get': ({ shapes, repo }) => [200, shapes.repo(repo)],
};

const BRANCHES = {
  'repos/get-branch': async (context) => {
    const { git, repo, shapes, params: { branch } } = context;
    const sha = await git.ref(`refs/heads/${branch}`);
    if (!sha) throw new Refusal(404, 'Branch not found');
    const { rules, url } = protectionShape(context, branch);
    const checks = rules?.checks.map(({ context: name, app_id: app }) => ({ context: name, app_id: app ?? null })) ?? [];
    return [200, {
      name: branch, commit: shapes.commit(repo, await git.readCommit(sha)), _links: { self: `${shapes.repoUrl(repo)}/branches/${branch}`, html: `${shapes.repoWeb(repo)}/tree/${branch}` },
      protected: Boolean(rules), protection_url: url,
      protection: { enabled: Boolean(rules), required_status_checks: { enforcement_level: rules && checks.length > 0 ? 'everyone' : 'off', contexts: checks.map((c) => c.context), checks } },
    }];
  },
  'repos/get-branch-protection': (context) => {
    const { rules, url } = protectionShape(context, context.params.branch);
    if (!rules) throw new Refusal(404, 'Branch not protected');
    return [200, {
      url, enforce_admins: { url: `${url}/enforce_admins`, enabled: true },
      required_status_checks: { strict: false, contexts: rules.checks.map((c) => c.context), checks: rules.checks.map((c) => ({ context: c.context, app_id: c.app_id ?? null })) },
      ...(rules.reviews > 0 ? { required_pull_request_reviews: { url: `${url}/required_pull_request_reviews`, dismiss_stale_reviews: rules.dismissStale, require_code_owner_reviews: false, required_approving_review_count: rules.reviews } } : {}),
    }];
  },
  'repos/update-branch-protection': async (context) => {
    const { repo, git, body, params: { branch } } = context;
    const checks = body.required_status_checks;
    const reviews = body.required_pull_request_reviews;
    repo.protection[branch] = {
      checks: checks ? (checks.checks ?? checks.contexts.map((name) => ({ context: name }))) : [],
      reviews: reviews ? (reviews.required_approving_review_count ?? 1) : 0, dismissStale: reviews?.dismiss_stale_reviews === true,
    };
    await git.protect(Object.keys(repo.protection).map((name) => `refs/heads/${name}`));
    return [200, { url: protectionShape(context, branch).url }];
  },
  'repos/delete-branch-protection': async ({ repo, git, params: { branch } }) => {
    delete repo.protection[branch];
    await git.protect(Object.keys(repo.protection).map((name) => `refs/heads/${name}`));
    return [204];
  },
  'repos/get-branch-rules': () => [200, []],
  'repos/list-activities': (context) => {
    const { repo, shapes, query } = context;
    const wanted = query.ref?.startsWith('refs/') ? query.ref : query.ref && `refs/heads/${query.ref}`;
    const seen = repo.activity.filter((a) => (!wanted || a.ref === wanted) && (!query.activity_type || a.type === query.activity_type)).toReversed();
    return list(context, seen.map((a) => ({ id: a.id, node_id: String(a.id), before: a.before, after: a.after, ref: a.ref, timestamp: a.at, activity_type: a.type, actor: shapes.user(a.login) })));
  },
};

const GIT = {
  'git/get-ref': async (context) => {
    const ref = `refs/${context.params.ref}`;
    const sha = await context.git.ref(ref);
    if (!sha) throw notFound();
    return [200, refShape(context, ref, sha)];
  },
  'git/create-ref': async (context) => {
    const { git, body: { ref, sha }, forge, repo, who } = context;
    if (!/^refs\/heads\/.+/.test(ref)) throw unprocessable('Reference name must start with refs/heads/');
    if (!(await git.resolve(sha))) throw unprocessable('Object does not exist');
    if (await git.ref(ref)) throw unprocessable('Reference already exists');
    try { await git.moveRef(ref, sha); } catch { throw unprocessable('Reference could not be created'); }
    await forge.refsMoved(repo, who.login, [[ref, null, sha]]);
    return [201, refShape(context, ref, sha)];
  },
  'git/update-ref': async (context) => {
    const { git, params, body: { sha, force }, forge, repo, who } = context;
    const ref = `refs/${params.ref}`;
    const before = await git.ref(ref);
    if (!before) throw unprocessable('Reference does not exist');
    if (!(await git.resolve(sha))) throw unprocessable('Object does not exist');
    refuseProtected(context, ref);
    const forward = await git.isAncestor(before, sha);
    if (!forward && !force) throw unprocessable('Update is not a fast forward');
    if (before !== sha) {
      await git.moveRef(ref, sha, before);
      await forge.refsMoved(repo, who.login, [[ref, before, sha]], forward ? 'push' : 'force_push');
    }
    return [200, refShape(context, ref, sha)];
  },
  'git/delete-ref': async (context) => {
    const { git, params, forge, repo, who } = context;
    const ref = `refs/${params.ref}`;
    const before = await git.ref(ref);
    if (!before) throw unprocessable('Reference does not exist');
    refuseProtected(context, ref);
    await git.run(['update-ref', '-d', ref, before]);
    await forge.refsMoved(repo, who.login, [[ref, before, null]]);
    return [204];
  },
  'git/create-blob': async ({ git, body: { content, encoding = 'utf-8' }, shapes, repo }) => {
    const sha = await git.blob(Buffer.from(content, encoding === 'base64' ? 'base64' : 'utf8'));
    return [201, { sha, url: `${shapes.repoUrl(repo)}/git/blobs/${sha}` }];
  },
  'git/get-blob': async ({ git, params: { file_sha: sha }, shapes, repo }) => {
    if (!(await git.resolve(sha, 'blob'))) throw notFound();
    const content = await git.read(sha);
    return [200, { sha, node_id: sha, size: content.length, url: `${shapes.repoUrl(repo)}/git/blobs/${sha}`, content: content.toString('base64'), encoding: 'base64' }];
  },
  'git/create-tree': async ({ git, body: { tree, base_tree: base }, shapes, repo }) => {
    if (base && !(await git.resolve(base, 'tree'))) throw unprocessable('base_tree is not a valid tree oid');
    for (const entry of tree) {
      if (entry.sha && !(await git.resolve(entry.sha, 'blob'))) throw unprocessable('tree.sha is not a valid blob');
      if (!entry.path || entry.path.startsWith('/') || entry.path.split('/').some((part) => ['', '.', '..', '.git'].includes(part))) throw unprocessable('tree.path contains a malformed path component');
    }
    const sha = await git.writeTree(base, tree);
    return [201, { sha, url: `${shapes.repoUrl(repo)}/git/trees/${sha}`, truncated: false, tree: treeShape(shapes, repo, await git.tree(sha, false)) }];
  },
  'git/get-tree': async ({ git, params: { tree_sha: name }, query, shapes, repo }) => {
    const sha = await git.resolve(name, 'tree');
    if (!sha) throw notFound();
    return [200, { sha, url: `${shapes.repoUrl(repo)}/git/trees/${sha}`, truncated: false, tree: treeShape(shapes, repo, await git.tree(sha, query.recursive !== undefined)) }];
  },
  'git/create-commit': async ({ git, body, shapes, repo, who, state }) => {
    if (!(await git.resolve(body.tree, 'tree'))) throw unprocessable('Tree SHA does not exist');
    for (const parent of body.parents ?? []) if (!(await git.resolve(parent))) throw unprocessable('Parent SHA does not exist or is not a commit object');
    const self = { name: who.login, email: state.data.users[who.login].email };
    const sha = await git.commit({
      tree: body.tree, parents: body.parents ?? [], message: body.message, author: { ...self, ...body.author }, committer: { ...self, ...body.author, ...body.committer },
    });
    // GitHub signs what an App commits, and only when it names no author or committer of its own.
    if (who.kind === 'installation' && !body.author && !body.committer) repo.verified[sha] = true;
    return [201, shapes.gitCommit(repo, await git.readCommit(sha))];
  },
  'git/get-commit': async ({ git, params: { commit_sha: sha }, shapes, repo }) => {
    if (!/^[0-9a-f]{40}$/.test(sha) || !(await git.resolve(sha))) throw notFound();
    return [200, shapes.gitCommit(repo, await git.readCommit(sha))];
  },
};

const treeShape = (shapes, repo, entries) => entries.map((e) => ({ ...e, url: `${shapes.repoUrl(repo)}/git/${e.type}s/${e.sha}` }));

const COMMITS = {
  'repos/get-content': async ({ git, params: { path }, query, shapes, repo }) => {
    const name = query.ref ?? 'main';
    const sha = (await git.ref(`refs/heads/${name}`)) ?? (await git.resolve(name));
    if (!sha) throw new Refusal(404, `No commit found for the ref ${name}`);
    const shape = (entry, full) => ({
      type: entry.type === 'tree' ? 'dir' : 'file', name: full.split('/').pop(), path: full, sha: entry.sha, size: entry.size ?? 0, url: `${shapes.repoUrl(repo)}/contents/${full}?ref=${sha}`,
      html_url: `${shapes.repoWeb(repo)}/blob/${sha}/${full}`, git_url: `${shapes.repoUrl(repo)}/git/blobs/${entry.sha}`, download_url: null,
      _links: { self: `${shapes.repoUrl(repo)}/contents/${full}`, git: null, html: null },
    });
    const clean = path.replace(/\/+$/, '');
    const [entry] = (await git.tree(sha, true)).filter((e) => e.path === clean);
    if (!entry) throw notFound();
    if (entry.type === 'tree') return [200, (await git.tree(entry.sha, false)).map((e) => shape(e, `${clean}/${e.path}`))];
    const content = await git.read(entry.sha);
    // Between 1 and 100 MB GitHub gives the facts without the content.
    const whole = content.length <= 1024 * 1024;
    return [200, { ...shape(entry, clean), encoding: whole ? 'base64' : 'none', content: whole ? content.toString('base64').replace(/(.{60})/g, '$1\n') : '' }];
  },
  'repos/list-commits': async (context) => {
    const { git, query, shapes, repo } = context;
    const shas = (await git.log(await commitAt(context, query.sha ?? 'main'))).toReversed();
    return list(context, await Promise.all(shas.map(async (sha) => shapes.commit(repo, await git.readCommit(sha)))));
  },
  'repos/get-commit': async (context) => {
    const { git, shapes, repo } = context;
    return [200, shapes.commit(repo, await git.readCommit(await commitAt(context)))];
  },
  'repos/compare-commits-with-basehead': async (context) => {
    const { git, params: { basehead }, shapes, repo } = context;
    const [base, head] = await Promise.all(basehead.split('...').map((name) => git.resolve(name)));
    if (!base || !head) throw notFound();
    const merge = await git.mergeBase(base, head);
    if (!merge) throw notFound();
    const [ahead, behind] = await Promise.all([git.log(`${base}..${head}`), git.log(`${head}..${base}`)]);
    const web = `${shapes.repoWeb(repo)}/compare/${basehead}`;
    const commits = await Promise.all(ahead.map(async (sha) => shapes.commit(repo, await git.readCommit(sha))));
    return [200, {
      url: `${shapes.repoUrl(repo)}/compare/${basehead}`, html_url: web, permalink_url: web, diff_url: `${web}.diff`, patch_url: `${web}.patch`,
      base_commit: shapes.commit(repo, await git.readCommit(base)), merge_base_commit: shapes.commit(repo, await git.readCommit(merge)),
      status: ahead.length && behind.length ? 'diverged' : ahead.length ? 'ahead' : behind.length ? 'behind' : 'identical',
      ahead_by: ahead.length, behind_by: behind.length, total_commits: ahead.length, commits, files: (await git.files(merge, head)).map((f) => fileShape(shapes, repo, head, f)),
    }];
  },
};

const fileShape = (shapes, repo, sha, file) => ({
  sha: file.sha, filename: file.path, status: file.status, additions: file.additions, deletions: file.deletions, changes: file.additions + file.deletions,
  blob_url: `${shapes.repoWeb(repo)}/blob/${sha}/${file.path}`, raw_url: `${shapes.repoWeb(repo)}/raw/${sha}/${file.path}`, contents_url: `${shapes.repoUrl(repo)}/contents/${file.path}?ref=${sha}`,
  ...(file.patch === null ? {} : { patch: file.patch }),
});

const checkEvent = ({ forge, shapes, repo, who }, action, check) => forge.webhooks.send('check_run', {
  action, check_run: shapes.check(repo, check), repository: shapes.repo(repo), sender: shapes.user(who.login),
});

function applyCheck(check, body) {
  const { name, status, conclusion, output, external_id: externalId } = body;
  if (name) check.name = name;
  if (externalId !== undefined) check.externalId = externalId;
  if (output) Object.assign(check, { title: output.title ?? check.title, summary: output.summary ?? check.summary });
  if (conclusion) Object.assign(check, { status: 'completed', conclusion, completed: body.completed_at ?? now() });
  else if (status) Object.assign(check, { status, conclusion: null, completed: null });
}

const CHECKS = {
  'checks/create': async (context) => {
    const { git, body, repo, state } = context;
    if (!/^[0-9a-f]{40}$/.test(body.head_sha) || !(await git.resolve(body.head_sha))) throw unprocessable(`No commit found for SHA: ${body.head_sha}`);
    if (body.status === 'completed' && !body.conclusion) throw unprocessable('Invalid request.\n\nMissing required key "conclusion".');
    const check = { id: state.id(), sha: body.head_sha, name: body.name, app: state.data.appId, status: 'queued', conclusion: null, started: now(), completed: null, title: null, summary: null };
    applyCheck(check, body);
    repo.checks.push(check);
    checkEvent(context, check.conclusion ? 'completed' : 'created', check);
    return [201, context.shapes.check(repo, check)];
  },
  'checks/update': (context) => {
    const check = context.repo.checks.find((c) => c.id === Number(context.params.check_run_id));
    if (!check) throw notFound();
    applyCheck(check, context.body);
    checkEvent(context, 'completed', check);
    return [200, context.shapes.check(context.repo, check)];
  },
  'checks/get': ({ repo, params, shapes }) => {
    const check = repo.checks.find((c) => c.id === Number(params.check_run_id));
    if (!check) throw notFound();
    return [200, shapes.check(repo, check)];
  },
  'checks/list-for-ref': async (context) => {
    const { repo, query, shapes } = context;
    const sha = await commitAt(context);
    let found = repo.checks.filter((c) => c.sha === sha && (!query.check_name || c.name === query.check_name) && (!query.app_id || c.app === Number(query.app_id))).toReversed();
    if (query.filter !== 'all') found = found.filter((c, index) => found.findIndex((other) => other.name === c.name && other.app === c.app) === index);
    const [page, headers] = paged(context, found);
    return [200, { total_count: found.length, check_runs: page.map((c) => shapes.check(repo, c)) }, headers];
  },
  'repos/create-commit-status': async (context) => {
    const { git, params: { sha }, body, repo, state, who, shapes } = context;
    if (!(await git.resolve(sha))) throw unprocessable(`No commit found for SHA: ${sha}`);
    if ((body.description ?? '').length > 140) throw unprocessable('Validation Failed');
    const status = { id: state.id(), sha, state: body.state, context: body.context ?? 'default', description: body.description ?? null, login: who.login, at: now() };
    repo.statuses.push(status);
    return [201, shapes.status(repo, status)];
  },
  'repos/get-combined-status-for-ref': async (context) => {
    const { repo, shapes } = context;
    const sha = await commitAt(context);
    const latest = new Map(repo.statuses.filter((s) => s.sha === sha).map((s) => [s.context, s]));
    const all = [...latest.values()];
    const state = all.some((s) => ['failure', 'error'].includes(s.state)) ? 'failure' : all.length === 0 || all.some((s) => s.state === 'pending') ? 'pending' : 'success';
    return [200, {
      state, sha, total_count: all.length, statuses: all.map((s) => shapes.status(repo, s)), repository: shapes.repo(repo, 'minimal-repository'),
      commit_url: `${shapes.repoUrl(repo)}/commits/${sha}`, url: `${shapes.repoUrl(repo)}/commits/${sha}/status`,
    }];
  },
};

const pullOf = ({ forge, repo, params }) => forge.pulls.find(repo, params.pull_number);

const PULLS = {
  'pulls/list': (context) => {
    const { repo, query, shapes } = context;
    const { state = 'open', head, base, sort = 'created', direction = sort === 'created' ? 'desc' : 'asc' } = query;
    const found = repo.pulls.filter((p) => (state === 'all' || p.state === state) && (!base || p.base === base) && (!head || head === `${repo.owner}:${p.head}`));
    found.sort((a, b) => (sort === 'updated' ? a.updated.localeCompare(b.updated) : a.number - b.number) * (direction === 'desc' ? -1 : 1));
    const [page, headers] = paged(context, found);
    return [200, page.map((p) => shapes.pull(repo, p)), headers];
  },
  'pulls/create': async ({ forge, repo, who, body }) => [201, await forge.pulls.whole(repo, await forge.pulls.create(repo, who.login, body))],
  'pulls/get': async (context) => [200, await context.forge.pulls.whole(context.repo, pullOf(context))],
  'pulls/update': async (context) => {
    const { forge, repo, who, body } = context;
    return [200, await forge.pulls.whole(repo, await forge.pulls.update(repo, pullOf(context), who.login, body ?? {}))];
  },
  'pulls/list-files': async (context) => {
    const { forge, git, repo, shapes } = context;
    const pull = pullOf(context);
    const files = await git.files(await forge.pulls.start(repo, pull), pull.headSha);
    return list(context, files.map((f) => fileShape(shapes, repo, pull.headSha, f)));
  },
  'pulls/list-commits': async (context) => {
    const { forge, git, repo, shapes } = context;
    const pull = pullOf(context);
    const shas = await git.log(`${await forge.pulls.start(repo, pull)}..${pull.headSha}`);
    return list(context, await Promise.all(shas.map(async (sha) => shapes.commit(repo, await git.readCommit(sha)))));
  },
  'pulls/merge': async (context) => {
    const { forge, repo, who, body } = context;
    const sha = await forge.pulls.merge(repo, pullOf(context), who.login, body);
    return [200, { sha, merged: true, message: 'Pull Request successfully merged' }];
  },
  'pulls/list-reviews': (context) => { const pull = pullOf(context); return list(context, pull.reviews.map((r) => context.shapes.review(context.repo, pull, r))); },
  'pulls/create-review': async (context) => {
    const { forge, repo, who, body, shapes } = context;
    const pull = pullOf(context);
    return [200, shapes.review(repo, pull, await forge.pulls.review(repo, pull, who.login, body ?? {}))];
  },
  'pulls/list-requested-reviewers': (context) => [200, { users: pullOf(context).requested.map((login) => context.shapes.user(login)), teams: [] }],
  'pulls/request-reviewers': async (context) => {
    const { forge, repo, who, body, shapes } = context;
    const pull = pullOf(context);
    await forge.pulls.request(repo, pull, who.login, body.reviewers ?? []);
    return [201, shapes.pull(repo, pull)];
  },
};

const HANDLERS = { ...ROLES, ...BRANCHES, ...GIT, ...COMMITS, ...CHECKS, ...PULLS };

/** Runs one operation; refusals come out in GitHub's form. */
export async function serve(context) {
  const { operation, params, forge, who } = context;
  let repo = null;
  if (params.owner) {
    repo = forge.repo(params.owner, params.repo);
    if (!repo) {
      const moved = forge.movedRepo(params.owner, params.repo);
      if (!moved) throw notFound();
      return [operation.method === 'get' ? 301 : 307, { message: 'Moved Permanently', url: `${forge.apiUrl}/repositories/${moved.id}`, documentation_url: 'https://docs.github.com/rest' }, { location: `${forge.apiUrl}/repositories/${moved.id}` }];
    }
  }
  authorise(who, operation, repo);
  return HANDLERS[operation.id]({ ...context, repo, git: repo && forge.git(repo), shapes: forge.shapes, state: forge.state });
}

export const served = Object.keys(HANDLERS);
