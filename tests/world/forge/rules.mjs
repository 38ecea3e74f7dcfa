// What a protected branch asks of a pull request, and how a pull request follows its branches.

const MET = new Set(['success', 'neutral', 'skipped']);

/** Each person's last word; a comment is no word. */
export function lastWords(pull) {
  const words = new Map();
  for (const review of pull.reviews) {
    if (review.state === 'COMMENTED' || review.state === 'PENDING') continue;
    words.set(review.login, review);
  }
  return [...words.values()];
}

/** The newest result of each check on a commit, by check runs and by commit statuses. */
export function checksOn(repo, sha) {
  const results = new Map();
  for (const status of repo.statuses.filter((s) => s.sha === sha)) {
    results.set(`${status.context}/`, { name: status.context, app: null, result: status.state, title: status.description, summary: '' });
  }
  for (const check of repo.checks.filter((c) => c.sha === sha)) {
    results.set(`${check.name}/${check.app}`, { name: check.name, app: check.app, result: check.status === 'completed' ? check.conclusion : check.status, title: check.title, summary: check.summary });
  }
  return [...results.values()];
}

/** In GitHub's words, why this pull request may not merge; empty when it may. */
export function blockers(repo, pull) {
  const protection = repo.protection[pull.base];
  if (!protection) return [];
  const reasons = [];
  const results = checksOn(repo, pull.headSha);
  for (const { context, app_id: app } of protection.checks) {
    const found = results.filter((r) => r.name === context && (app === null || app === undefined || app === -1 || r.app === app));
    if (found.length === 0) reasons.push(`Required status check "${context}" is expected.`);
    else if (!found.every((r) => MET.has(r.result))) reasons.push(`Required status check "${context}" is ${found.some((r) => ['failure', 'error'].includes(r.result)) ? 'failing' : 'in progress'}.`);
  }
  const words = lastWords(pull);
  if (protection.reviews > 0) {
    const approvals = words.filter((r) => r.state === 'APPROVED').length;
    if (words.some((r) => r.state === 'CHANGES_REQUESTED')) reasons.push('Changes were requested.');
    else if (approvals < protection.reviews) reasons.push(`At least ${protection.reviews} approving review${protection.reviews > 1 ? 's are' : ' is'} required by reviewers with write access.`);
  }
  return reasons;
}

/**
 * Lets open pull requests follow their branches after refs moved: a new head dismisses stale approvals
 * where protection says so, a deleted head closes. Returns the events GitHub would send.
 */
export function follow(repo, refs, now) {
  const events = [];
  for (const pull of repo.pulls.filter((p) => p.state === 'open')) {
    const head = refs.get(`refs/heads/${pull.head}`);
    const base = refs.get(`refs/heads/${pull.base}`);
    if (base) pull.baseSha = base;
    if (!head) {
      Object.assign(pull, { state: 'closed', closed: now, updated: now });
      events.push({ action: 'closed', pull });
    } else if (head !== pull.headSha) {
      const before = pull.headSha;
      Object.assign(pull, { headSha: head, updated: now });
      if (repo.protection[pull.base]?.dismissStale) pull.reviews.filter((r) => r.state === 'APPROVED').forEach((r) => { r.state = 'DISMISSED'; });
      events.push({ action: 'synchronize', pull, before });
    }
  }
  return events;
}
