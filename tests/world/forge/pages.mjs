// Where a person reads, reviews and merges a pull request. No script, nothing inline, every text escaped.
import { readFileSync } from 'node:fs';
import MarkdownIt from 'markdown-it';
import { readBody } from './body.mjs';
import { Refusal } from './pulls.mjs';
import { blockers, checksOn } from './rules.mjs';
import { PEOPLE } from './state.mjs';

const style = readFileSync(new URL('./forge.css', import.meta.url));
const markdown = new MarkdownIt({ html: false, linkify: false, breaks: false }).disable('image');
const HEADERS = {
  'content-type': 'text/html; charset=utf-8', 'x-content-type-options': 'nosniff', 'referrer-policy': 'same-origin', 'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
};

const escaped = (value) => String(value ?? '').replace(/[&<>"']/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' })[c]);

/** Template text in which every value is escaped, unless it is `html` itself. */
function html(parts, ...values) {
  const show = (value) => (value instanceof Html ? value.text : Array.isArray(value) ? value.map(show).join('') : value === null || value === undefined || value === false ? '' : escaped(value));
  return new Html(parts.map((part, index) => part + (index < values.length ? show(values[index]) : '')).join(''));
}
class Html { constructor(text) { this.text = text; } }

const STATE = { open: 'Open', closed: 'Closed', merged: 'Merged' };
const stateOf = (pull) => (pull.merged ? 'merged' : pull.state);
const badge = (kind, text) => html`<span class="badge ${kind}">${text}</span>`;
const when = (time) => html`<time datetime="${time}">${time.replace('T', ' ').replace('Z', ' UTC')}</time>`;

const actorOf = (request) => {
  const found = /(?:^|;\s*)actor=([\w-]+)/.exec(request.headers.cookie ?? '')?.[1];
  return PEOPLE.includes(found) ? found : 'second-approver';
};

function shell(title, actor, back, content) {
  return html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>${title}</title><link rel="stylesheet" href="/forge.css"></head>
<body><a class="skip" href="#content">Skip to content</a><header><a class="home" href="/">Demo forge</a>
<form method="post" action="/act-as"><label for="actor">Acting as</label> <select id="actor" name="actor">${PEOPLE.map((login) => html`<option${login === actor ? new Html(' selected') : ''}>${login}</option>`)}</select>
<input type="hidden" name="back" value="${back}"><button>Switch</button></form></header><main id="content">${content}</main></body></html>`.text;
}

function diffView(file) {
  const lines = (file.patch ?? '').split('\n').map((line) => {
    const kind = line.startsWith('@@') ? 'hunk' : line.startsWith('+') ? 'added' : line.startsWith('-') ? 'removed' : 'same';
    return html`<span class="${kind}">${line}\n</span>`;
  });
  return html`<section class="file"><h3><code>${file.path}</code> <small>${file.status}, +${file.additions} -${file.deletions}</small></h3>${file.patch === null ? html`<p>No text to show.</p>` : html`<pre class="diff" tabindex="0" aria-label="Changes in ${file.path}">${lines}</pre>`}</section>`;
}

async function pullPage(forge, repo, pull, actor, note) {
  const git = forge.git(repo);
  const files = await git.files(await forge.pulls.start(repo, pull), pull.headSha);
  const path = `/${repo.owner}/${repo.name}/pull/${pull.number}`;
  const checks = checksOn(repo, pull.headSha);
  const blocked = pull.state === 'open' ? blockers(repo, pull) : [];
  const own = actor === pull.author;
  const button = (action, label, kind = '', disabled = false) => html`<button name="action" value="${action}" class="${kind}"${disabled ? new Html(' disabled') : ''}>${label}</button>`;
  const asks = repo.protection[pull.base]?.checks ?? [];
  const missing = asks.filter((ask) => !checks.some((c) => c.name === ask.context)).map((ask) => ({ name: ask.context, result: 'expected', title: 'Waiting to be reported' }));
  return shell(`${pull.title} · #${pull.number}`, actor, path, html`
<p><a href="/${repo.owner}/${repo.name}/pulls">${repo.owner}/${repo.name}</a></p>
<h1>${pull.title} <span class="number">#${pull.number}</span></h1>
<p>${badge(stateOf(pull), STATE[stateOf(pull)])} ${pull.author} wants to merge <code>${pull.head}</code> into <code>${pull.base}</code>, opened ${when(pull.created)}</p>
${note ? html`<p class="note" role="alert">${note}</p>` : ''}
<section class="body" aria-label="Description">${new Html(markdown.render(pull.body ?? ''))}</section>
<h2>Checks</h2>${checks.length + missing.length === 0 ? html`<p>No check was reported.</p>` : html`<ul class="plain">${[...checks, ...missing].map((c) => html`<li>${badge(c.result, c.result)} <strong>${c.name}</strong>${asks.some((ask) => ask.context === c.name) ? ' (required)' : ''} ${c.title}</li>`)}</ul>`}
<h2>Reviews</h2>${pull.reviews.length === 0 ? html`<p>Nobody has reviewed yet.</p>` : html`<ul class="plain">${pull.reviews.map((r) => html`<li>${badge(r.state.toLowerCase(), r.state.toLowerCase().replace('_', ' '))} <strong>${r.login}</strong> ${when(r.at)} on <code>${r.sha.slice(0, 7)}</code>${r.sha === pull.headSha ? '' : ' (an earlier commit)'} ${r.body}</li>`)}</ul>`}
${pull.requested.length > 0 ? html`<p>Asked to review: ${pull.requested.join(', ')}</p>` : ''}
<form method="post" action="${path}" class="actions" aria-label="Your review"><label for="comment">Comment</label><textarea id="comment" name="comment" rows="2"></textarea><div>
${pull.state === 'open' ? html`${button('approve', `Approve as ${actor}`, 'good', own)}${button('request-changes', 'Request changes', '', own)}${button('merge', 'Merge', 'main', blocked.length > 0)}${button('close', 'Close', 'bad')}` : pull.merged ? '' : button('reopen', 'Reopen')}</div></form>
${blocked.length > 0 ? html`<p class="note">Merging is blocked: ${blocked.join(' ')}</p>` : ''}
${pull.merged ? html`<p>Merged by ${pull.mergedBy} ${when(pull.merged)} as <code>${pull.mergeSha}</code></p>` : ''}
<h2>Changes <small>${files.length} file${files.length === 1 ? '' : 's'}</small></h2>${files.map(diffView)}`);
}

const listPage = (repo, actor) => shell(`Pull requests · ${repo.name}`, actor, `/${repo.owner}/${repo.name}/pulls`, html`<h1>Pull requests of ${repo.owner}/${repo.name}</h1>
${repo.pulls.length === 0 ? html`<p>There are none yet.</p>` : html`<ul class="plain">${repo.pulls.toReversed().map((pull) => html`<li>${badge(stateOf(pull), STATE[stateOf(pull)])} <a href="/${repo.owner}/${repo.name}/pull/${pull.number}">${pull.title}</a> <span class="number">#${pull.number}</span></li>`)}</ul>`}`);

const homePage = (forge, actor) => shell('Demo forge', actor, '/', html`<h1>Repositories</h1><ul class="plain">${Object.values(forge.state.data.repos).map((repo) => html`<li><a href="/${repo.owner}/${repo.name}/pulls">${repo.owner}/${repo.name}</a></li>`)}</ul>`);

async function act(forge, repo, pull, actor, form) {
  const body = form.get('comment') ?? '';
  switch (form.get('action')) {
    case 'approve': return forge.pulls.review(repo, pull, actor, { event: 'APPROVE', body });
    case 'request-changes': return forge.pulls.review(repo, pull, actor, { event: 'REQUEST_CHANGES', body });
    case 'merge': return forge.pulls.merge(repo, pull, actor);
    case 'close': return forge.pulls.update(repo, pull, actor, { state: 'closed' });
    case 'reopen': return forge.pulls.update(repo, pull, actor, { state: 'open' });
    default: throw new Refusal(400, 'Unknown action');
  }
}

/** Answers a request of the pages. */
export async function pages(forge, request, response, url) {
  const actor = actorOf(request);
  const page = (status, text) => response.writeHead(status, HEADERS).end(text);
  const missing = () => page(404, shell('Not found', actor, '/', html`<h1>Not found</h1><p>There is nothing here. <a href="/">All repositories</a></p>`));
  if (url.pathname === '/forge.css' && request.method === 'GET') return response.writeHead(200, { 'content-type': 'text/css', 'x-content-type-options': 'nosniff' }).end(style);
  // A form from another site must not act here: browsers send Origin with every POST.
  if (request.method === 'POST' && request.headers.origin !== `http://${request.headers.host}`) return page(403, shell('Refused', actor, '/', html`<h1>Refused</h1><p>This form did not come from this site.</p>`));
  if (url.pathname === '/act-as' && request.method === 'POST') {
    const form = new URLSearchParams(await readBody(request));
    const back = /^\/(?!\/)[\w./-]*$/.test(form.get('back') ?? '') ? form.get('back') : '/';
    const chosen = PEOPLE.includes(form.get('actor')) ? form.get('actor') : actor;
    return response.writeHead(303, { location: back, 'set-cookie': `actor=${chosen}; Path=/; HttpOnly; SameSite=Strict` }).end();
  }
  if (url.pathname === '/' && request.method === 'GET') return page(200, homePage(forge, actor));
  const match = /^\/([\w.-]+)\/([\w.-]+)\/(pulls|pull\/(\d+))$/.exec(url.pathname);
  const repo = match && forge.repo(match[1], match[2]);
  if (!repo) return missing();
  if (!match[4]) return request.method === 'GET' ? page(200, listPage(repo, actor)) : missing();
  const pull = repo.pulls.find((p) => p.number === Number(match[4]));
  if (!pull) return missing();
  if (request.method === 'GET') return page(200, await pullPage(forge, repo, pull, actor));
  if (request.method !== 'POST') return missing();
  const form = new URLSearchParams(await readBody(request));
  try {
    await forge.write(() => act(forge, repo, pull, actor, form));
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    const words = [error.message, ...(error.body.errors ?? []).map((e) => e.message ?? e)].filter((w) => !['Unprocessable Entity', 'Validation Failed'].includes(w)).join(' ');
    return page(error.status, await pullPage(forge, repo, pull, actor, words));
  }
  return response.writeHead(303, { location: url.pathname }).end();
}
