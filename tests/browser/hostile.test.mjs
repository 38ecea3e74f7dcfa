// Hostile text from everybody who can send some, onto every surface that shows it. What a real parser makes of
// each surface must hold nothing that came from the text but text.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import https from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Actor, words } from '../world/actor.mjs';
import { launch } from '../world/browser.mjs';
import { startBroker } from '../world/broker.mjs';
import { run, until } from '../world/children.mjs';
import { connect } from '../world/client.mjs';
import { markdown, yaml } from '../world/markup.mjs';
import { configWith } from '../world/routes.mjs';

const world = connect();
const corpus = JSON.parse(readFileSync(new URL('../fixtures/hostile.json', import.meta.url), 'utf8'));
const dir = mkdtempSync(join(tmpdir(), 'hostile-'));
const log = join(dir, 'log');
/** What no reader sees, or what moves others about: never as itself on a surface. Line ends and tabs are layout there. */
const hidden = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\u{e0000}-\u{e0fff}]/u;

let broker;
let browser;
let page;
let people;
const made = { requests: [] };

before(async () => {
  broker = await startBroker({ config: configWith(world, 'hostile', () => {}), log });
  browser = await launch();
  page = await browser.newPage();
  people = Object.fromEntries(await Promise.all(['oncall', 'approver', 'approver2', 'operator', 'compliance', 'auditor'].map(async (one) => [one, await Actor.signedIn(world, one)])));
});
after(async () => {
  await browser?.close();
  await broker?.stop();
  await world.kubectl(['-n', 'payments', 'delete', 'configmap', 'hostile', '--ignore-not-found']);
  await world.kubectl(['-n', 'payments', 'scale', 'deployment', 'payments-api', '--replicas=3']);
  rmSync(dir, { recursive: true, force: true });
});

const csrfOf = (shown) => /name="csrf" value="([^"]+)"/.exec(shown.text)[1];
/** POSTs a form with the session's token, which stays the same for as long as somebody is signed in. */
async function send(actor, path, fields = {}) {
  actor.csrf ??= csrfOf(await actor.open('/'));
  return actor.browser.request(world.url + path, { form: [['csrf', actor.csrf], ...Object.entries(fields)] });
}

/** What Chromium's parser makes of a document: everything in it that our own templates never write. */
async function foreign(text, type = 'text/html') {
  return page.evaluate(([source, kind]) => {
    const document_ = new DOMParser().parseFromString(source, kind);
    const found = [];
    if (document_.querySelector('parsererror')) found.push(`not well-formed: ${document_.querySelector('parsererror').textContent.slice(0, 200)}`);
    for (const element of document_.querySelectorAll('*')) {
      const name = element.localName;
      const own = { script: element.getAttribute('src') === '/static/breakglass.js', link: ['/static/breakglass.css', '/static/breakglass.svg'].includes(element.getAttribute('href')) };
      if (kind === 'text/html' && (['img', 'iframe', 'object', 'embed', 'base', 'math', 'portal', 'marquee', 'style', 'video', 'audio', 'frame', 'applet', 'template', 'slot', 'dialog'].includes(name)
        || (name in own && !own[name]))) found.push(`<${name}>`);
      if (name === 'meta' && element.getAttribute('http-equiv')) found.push('<meta http-equiv>');
      for (const { name: attribute, value } of element.attributes) {
        if (/^on/i.test(attribute) || attribute === 'style' || /pwned/.test(attribute)) found.push(`<${name} ${attribute}>`);
        if (['class', 'id', 'name', 'for'].includes(attribute) && /pwned/.test(value)) found.push(`<${name} ${attribute}="${value}">`);
        if (['href', 'src', 'action', 'formaction', 'data', 'srcdoc', 'xlink:href'].includes(attribute) && kind === 'text/html') {
          const to = new URL(value, 'http://own.invalid/');
          if (!['http:', 'https:'].includes(to.protocol)) found.push(`<${name} ${attribute}="${value.slice(0, 60)}">`);
          if (attribute !== 'href' && to.host !== 'own.invalid') found.push(`<${name} ${attribute}> to ${to.host}`);
        }
      }
    }
    // What somebody typed goes back into their own fields as they typed it.
    for (const field of document_.querySelectorAll('textarea')) field.textContent = '';
    for (const field of document_.querySelectorAll('input:not([type=hidden])')) field.removeAttribute('value');
    const said = [document_.documentElement.textContent, ...[...document_.querySelectorAll('*')].flatMap((one) => [...one.attributes].map(({ value }) => value))];
    return { found, said };
  }, [text, type]);
}

async function sound(what, text, type) {
  const { found, said } = await foreign(text, type);
  assert.deepEqual(found, [], what);
  for (const one of said) {
    const at = one.search(hidden);
    assert.equal(at, -1, `${what} shows U+${one.codePointAt(at)?.toString(16)} as itself: ${JSON.stringify(one.slice(Math.max(0, at - 40), at + 40))}`);
  }
  return said;
}

const pageSound = async (actor, path) => {
  const shown = await actor.open(path);
  assert.ok(shown.status < 500, `${path}: ${shown.status} ${words(shown.text).slice(0, 300)}`);
  await sound(`${path} as ${actor.person}`, shown.text);
  return shown;
};

test('the check itself sees what it must see', async () => {
  for (const { name, text } of corpus.filter((one) => ['element', 'script', 'svg', 'refresh'].includes(one.name))) {
    assert.notDeepEqual((await foreign(`<p>${text}</p><textarea></textarea>`)).found, [], name);
  }
  assert.notDeepEqual((await foreign(`<p title="${corpus.find((one) => one.name === 'attribute double quote').text}">`)).found, []);
  assert.ok(hidden.test('a\u202eb') && hidden.test('\u009b') && hidden.test('\u{e0041}') && !hidden.test('a\nb\té 💥'));
  assert.equal(corpus.length >= 40, true);
});

test('a reason, an incident and a refusal stay text on every page', { timeout: 900_000 }, async () => {
  for (const { name, text } of corpus) {
    const reason = `because of this: ${text}`;
    const answer = await send(people.oncall, '/requests', { team: 'payments', cluster: 'demo', profile: 'payments-admin', namespace: 'payments', minutes: '30', reason, incident: text });
    assert.equal(answer.status, 303, `${name}: ${answer.status} ${words(answer.text).slice(0, 300)}`);
    const id = /([0-9a-f-]{36})$/.exec(answer.location)[1];
    made.requests.push(id);
    const shown = words((await pageSound(people.approver, `/requests/${id}`)).text);
    assert.match(shown, /because of this:/, name);
    if (name === 'right to left') assert.match(shown, /admin⟨U\+202E⟩gnp\.exe/, 'hidden characters are shown as marks');
    // Refused, the form comes back with what was typed in it.
    const back = await send(people.oncall, '/requests', { team: text, cluster: text, profile: text, namespace: text, minutes: text, reason: text, incident: text });
    assert.equal(back.status, 422, name);
    await sound(`the form after ${name}`, back.text);
    if (made.requests.length % 3) continue; // the preview is part of the form that came back
    const asked = await send(people.oncall, '/requests/preview', { team: text, cluster: text, profile: text, namespace: text, minutes: text, reason: text, incident: text });
    await sound(`the preview of ${name}`, asked.text);
  }
  await pageSound(people.approver, '/approvals');
  await pageSound(people.approver, '/');
  for (const [n, { name, text }] of corpus.entries()) {
    const answer = await send(people.approver, `/requests/${made.requests[n]}/deny`, { reason: text });
    assert.equal(answer.status, 303, name);
    await pageSound(people.oncall, `/requests/${made.requests[n]}`);
  }
  for (const path of ['/', '/requests', '/requests?page=2&team=%3Cb%3E']) await pageSound(people.oncall, path);
});

test('whatever stands in an address stays text', async () => {
  const paths = ['/policy', '/feed', '/ledger', '/sla', '/requests', '/requests/new'];
  for (const [n, { name, text }] of corpus.entries()) {
    const query = new URLSearchParams({ person: text, profile: text, cluster: text, namespace: text, team: text, state: text, flag: text, before: text, kind: text, grant: text, show: text, week: text, weeks: text, page: text, minutes: text, reason: text, incident: text, to: text }).toString();
    for (const path of [paths[n % 6], paths[(n + 1) % 6]]) {
      const shown = await people.compliance.browser.request(`${world.url}${path}?${query}`, { headers: { accept: 'text/html' } });
      assert.ok(shown.status < 500, `${path} ${name}: ${shown.status}`);
      await sound(`${path} asked for ${name}`, shown.text);
    }
    const lost = await people.compliance.browser.request(`${world.url}/requests/${encodeURIComponent(text).slice(0, 2_000)}`, { headers: { accept: 'text/html' } });
    assert.ok([400, 404].includes(lost.status), `${name}: ${lost.status}`);
    await sound(`a page that is not there, ${name}`, lost.text);
  }
});

/** A request that kubectl would not send: any name, any user agent, any query, with the session's own key. */
function api(key, path, { method = 'GET', agent = 'kubectl', body, type = 'application/json' } = {}) {
  const config = yaml(key);
  const { cluster } = config.clusters[0];
  const ca = Buffer.from(cluster['certificate-authority-data'] ?? '', 'base64');
  return new Promise((resolve, reject) => {
    const call = https.request(cluster.server + path, {
      method, ca: ca.length ? ca : readFileSync(world.cluster.caFile), agent: false,
      headers: { authorization: `Bearer ${config.users[0].user.token}`, 'user-agent': agent, ...(body ? { 'content-type': type, 'content-length': Buffer.byteLength(body) } : {}) },
    }, (answer) => { answer.resume(); answer.on('end', () => resolve(answer.statusCode)); });
    call.on('error', reject);
    call.end(body);
  });
}

test('what an engineer does with hostile names, agents, commands and values stays text', { timeout: 900_000 }, async () => {
  const request = await people.oncall.ask({ reason: `because of this: ${corpus.map(({ text }) => text).join(' ').slice(0, 1_900)}`, incident: corpus.find(({ name }) => name === 'closing keywords').text });
  await people.approver.approve(request);
  made.grant = await people.oncall.grantOf(request);
  const key = await people.oncall.reveal(made.grant);
  const pods = '/api/v1/namespaces/payments/pods';
  const pod = (await world.kubectl(['-n', 'payments', 'get', 'pods', '-o', 'jsonpath={.items[0].metadata.name}'])).stdout;
  // Replicas for git, and one object that carries everything a value can carry.
  assert.equal(await api(key, '/apis/apps/v1/namespaces/payments/deployments/payments-api/scale', { method: 'PATCH', type: 'application/merge-patch+json', body: '{"spec":{"replicas":7}}' }), 200);
  const values = Object.fromEntries(corpus.map(({ text }, n) => [`k-${n}`, text]));
  const annotations = Object.fromEntries(corpus.map(({ text }, n) => [`example.test/k-${n}`, text]));
  const object = JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'hostile', namespace: 'payments', annotations }, data: { ...values, '-.._weird.KEY': 'x', large: 'A'.repeat(600_000) } });
  assert.equal(await api(key, '/api/v1/namespaces/payments/configmaps', { method: 'POST', body: object }), 201);
  await api(key, '/apis/apps/v1/namespaces/payments/deployments/payments-api', { method: 'PATCH', type: 'application/merge-patch+json', body: JSON.stringify({ metadata: { annotations: { 'example.test/note': corpus.map(({ text }) => text).join('\n') } } }) });
  for (const { text } of corpus) {
    const name = encodeURIComponent(text.replace(/[\ud800-\udfff]/g, '')).slice(0, 1_500) || 'x';
    const printable = text.replace(/[^\x20-\x7e]/g, '').trim() || 'x';
    await api(key, `${pods}/${name}`, { agent: printable });
    await api(key, `${pods}?fieldSelector=${name}&labelSelector=${name}`, { agent: printable });
    await api(key, `${pods}/${pod}/exec?command=echo&command=${name}&container=${name}&stdout=true`, { method: 'POST', agent: printable });
    await api(key, `/apis/${name}/v1/namespaces/${name}/${name}`, { method: 'DELETE', agent: printable });
    await api(key, `${pods}/${name}?fieldManager=${name}`, { method: 'PATCH', type: 'application/merge-patch+json', body: JSON.stringify({ metadata: { labels: { a: text } } }), agent: printable });
  }
  await world.kubectl(['-n', 'payments', 'exec', pod, '--', 'echo', ...corpus.map(({ text }) => text)], { kubeconfig: await people.oncall.key(made.grant, dir), anyStatus: true });
  await sleep(4_000); // a second for the last batch, and a margin
  await pageSound(people.oncall, `/grants/${made.grant}`);
  assert.match(words((await people.oncall.open(`/grants/${made.grant}?show=changes&page=2`)).text + people.oncall.page.text + (await people.oncall.open(`/grants/${made.grant}?show=changes`)).text), /created ConfigMap payments\/hostile/);
  for (const show of ['changes', 'flagged', 'denied']) await pageSound(people.compliance, `/grants/${made.grant}?show=${show}`);
  for (let n = 1; n <= 8; n += 1) await pageSound(people.compliance, `/grants/${made.grant}?show=all&page=${n}`);
  // A text takes 2,000 characters: one field gets the first of them, another the last.
  assert.equal((await send(people.operator, `/grants/${made.grant}/end`, { reason: corpus.map(({ text }) => text).join(' ').slice(-1_900) })).status, 303);
});

test('the follow-up and its pull request hold nothing that acts', { timeout: 900_000 }, async () => {
  const followUp = await until('the follow-up', async () => /\/follow-ups\/([0-9a-f-]{36})/.exec((await people.oncall.open(`/grants/${made.grant}`)).text.split('<main')[1])?.[1], { ms: 90_000, every: 500 });
  made.followUp = followUp;
  await people.oncall.sees(`/follow-ups/${followUp}`, /Pull request #/, 120_000);
  const page_ = await pageSound(people.oncall, `/follow-ups/${followUp}`);
  const number = /\/pull\/(\d+)/.exec(page_.text)[1];
  const at = `${world.forgeAddress.apiUrl}/repos/${world.forgeAddress.repository}`;
  const ask = (path, body, login = 'second-engineer') => fetch(`${at}${path}`, {
    method: body ? (path.endsWith('reviews') ? 'POST' : 'PATCH') : 'GET', body: body && JSON.stringify(body), headers: { authorization: `Bearer ${world.forgeAddress.tokens[login]}`, 'content-type': 'application/json' },
  }).then(async (answer) => { assert.ok(answer.ok, `${path}: ${answer.status}`); return answer.json(); });
  const pull = await ask(`/pulls/${number}`);

  assert.match(pull.head.ref, /^breakglass\/[0-9a-f-]{36}$/, 'the branch');
  assert.doesNotMatch(pull.title, /[\r\n]|@[a-z]|#\d/i);
  assert.ok(!hidden.test(pull.title.replaceAll('\u2060', '')), pull.title);
  assert.match(pull.body, /because of this/);
  const html = markdown(pull.body);
  const { found } = await foreign(html);
  assert.deepEqual(found, [], 'the description, with all HTML allowed');
  const seen = await page.evaluate((source) => {
    const parsed = new DOMParser().parseFromString(source, 'text/html');
    const links = [...parsed.querySelectorAll('a')].map((one) => one.href);
    const headings = [...parsed.querySelectorAll('h1,h2,h3,h4,h5,h6')].map((one) => one.textContent);
    for (const one of parsed.querySelectorAll('code')) one.remove(); // forges look for nothing in code
    return { links, headings, text: parsed.body.textContent };
  }, html);
  assert.deepEqual(seen.links.filter((href) => !href.startsWith(world.url)), [], 'links');
  assert.ok(!seen.headings.some((one) => /Approved/.test(one)), seen.headings.join());
  for (const alive of [/(^|[^\w`])@[a-z\d]/i, /(^|\s)#\d/, /\bGH-\d/i, /\b(close[sd]?|fix(e[sd])?|resolve[sd]?):?\s+[\w./-]*#\d/i, /:\/\/evil/, /www\.evil/, /\[(skip ci|ci skip)\]/]) {
    assert.doesNotMatch(seen.text, alive);
  }
  // The joiner is ours: it is what parts a mention from its name.
  assert.ok(!hidden.test(pull.body.replaceAll('\u2060', '')), 'hidden characters in the description');

  const commits = await ask(`/commits/${pull.head.sha}`);
  const { message } = commits.commit;
  const trailers = (await run(['git', 'interpret-trailers', '--parse'], { input: message })).stdout.trim().split('\n').map((line) => line.split(':')[0]);
  for (const name of trailers) assert.ok(['Co-authored-by', 'Breakglass-Grant', 'Breakglass-Checkpoint'].includes(name), `trailer ${name}`);
  assert.equal(trailers.filter((name) => name === 'Breakglass-Grant').length, 1);
  assert.match(message, new RegExp(`^Breakglass-Grant: ${made.grant}$`, 'm'));
  assert.ok(!hidden.test(message.replaceAll('\u2060', '')), message);

  // And back: what others write at the forge.
  await ask(`/pulls/${number}`, { title: corpus.map(({ text }) => text).join(' ').slice(0, 240) }, 'second-engineer');
  for (const { text } of corpus.slice(0, 12)) await ask(`/pulls/${number}/reviews`, { event: 'COMMENT', body: text, commit_id: pull.head.sha });
  await sleep(3_000);
  await pageSound(people.compliance, `/follow-ups/${followUp}`);
  const item = /\/items\/([0-9a-f-]{36})\/link/.exec((await people.oncall.open(`/follow-ups/${followUp}`)).text)?.[1];
  for (const { name, text } of corpus) {
    if (item) assert.equal((await send(people.oncall, `/follow-ups/${followUp}/items/${item}/link`, { commit: text })).status, 303, name);
  }
  assert.equal((await send(people.compliance, `/follow-ups/${followUp}/review`, { note: corpus.map(({ text }) => text).join('\n').slice(0, 1_900) })).status, 303);
  assert.equal((await send(people.compliance, `/follow-ups/${followUp}/waive`, { reason: corpus.map(({ text }) => text).join('\n').slice(-1_900) })).status, 303);
  await pageSound(people.oncall, `/follow-ups/${followUp}`);
  await pageSound(people.compliance, '/sla');
});

test('the feed and the ledger hold nothing that acts, in every form', { timeout: 900_000 }, async () => {
  let path = '/feed';
  for (let n = 0; n < 12 && path; n += 1) {
    const shown = await pageSound(people.compliance, path);
    path = /href="(\/feed\?[^"]*before=\d+)"/.exec(shown.text)?.[1]?.replaceAll('&#38;', '&').replaceAll('&amp;', '&');
  }
  const auditor = people.auditor;
  let ledger = `/ledger?grant=${made.grant}`;
  const entries = new Set();
  for (let n = 0; n < 12 && ledger; n += 1) {
    const shown = await pageSound(auditor, ledger);
    for (const [, index] of shown.text.matchAll(/\/ledger\/entries\/(\d+)"/g)) entries.add(index);
    ledger = /href="(\/ledger\?[^"]*before=\d+)"/.exec(shown.text)?.[1]?.replaceAll('&#38;', '&').replaceAll('&amp;', '&');
  }
  assert.ok(entries.size > 100, `only ${entries.size} entries`);
  for (const index of [...entries].filter((_, n) => n % 7 === 0)) await pageSound(auditor, `/ledger/entries/${index}`);

  for (const query of ['', '?flag=change', '?flag=denied', '?flag=exec']) {
    const atom = await people.compliance.open(`/feed.atom${query}`);
    await sound(`Atom ${query}`, atom.text, 'application/xml');
    const json = JSON.parse((await people.compliance.open(`/feed.json${query}`)).text);
    assert.ok(json.items.length > 0, query);
    for (const item of json.items) assert.ok(!hidden.test(item.title) && !hidden.test(item.content_text), item.title);
    const csv = await people.compliance.open(`/feed.csv${query}`);
    const rows = table(csv.text);
    assert.ok(rows.length > 1 && rows.every((row) => row.length === rows[0].length), 'every row has every cell');
    for (const cell of rows.flat()) {
      assert.doesNotMatch(cell, /^\s*[=+\-@\t\r|%\uff1d\uff0b\uff0d\uff20]/, `a spreadsheet would run ${JSON.stringify(cell.slice(0, 80))}`);
      assert.ok(!hidden.test(cell), JSON.stringify(cell.slice(0, 200)));
    }
  }
  assert.ok(!table((await people.compliance.open('/sla.csv')).text).flat().some((cell) => /^\s*[=+\-@]/.test(cell)));
});

/** RFC 4180, read strictly: a quote inside an unquoted cell is an error. */
function table(text) {
  const rows = [[]];
  let cell = '';
  let quoted = false;
  for (let at = 0; at < text.length; at += 1) {
    const char = text[at];
    if (quoted) {
      if (char === '"' && text[at + 1] === '"') { cell += '"'; at += 1; } else if (char === '"') quoted = false; else cell += char;
    } else if (char === '"') {
      assert.equal(cell, '', 'a quote within a cell');
      quoted = true;
    } else if (char === ',') { rows.at(-1).push(cell); cell = ''; } else if (char === '\n') {
      rows.at(-1).push(cell);
      cell = '';
      rows.push([]);
    } else if (char !== '\r') cell += char;
  }
  return rows.filter((row) => row.length);
}

test('a mail has our headers, our readers and our lines alone', { timeout: 900_000 }, async () => {
  const letters = await until('the letters', async () => {
    const all = (await world.mail.messages()).filter((one) => /because of this|denied it|asked for/.test(one.text));
    return all.length >= corpus.length && all;
  }, { ms: 60_000, every: 1_000 });
  const headers = ['from', 'to', 'subject', 'message-id', 'auto-submitted', 'mime-version', 'content-type', 'content-transfer-encoding', 'date'];
  const readers = /^(?:(?:oncall|approver2?|compliance|leads|operator|auditor|same-mail|oncall-lead)@example\.test)$/i;
  for (const letter of letters) {
    for (const name of Object.keys(letter.headers)) assert.ok(headers.includes(name.toLowerCase()), `a header ${name}: ${letter.headers[name]}`);
    for (const to of letter.to) assert.match(to, readers);
    assert.match(letter.subject, /^\[breakglass\] /);
    for (const text of [letter.subject, letter.text]) {
      const where = text.search(hidden);
      assert.equal(where, -1, JSON.stringify(text.slice(Math.max(0, where - 60), where + 40)));
    }
    assert.equal(letter.text.match(/^Open: /gm).length, 1, letter.text);
    assert.match(letter.text, new RegExp(`^Open: ${world.url}/`, 'm'));
    await sound('the letter as HTML', letter.html.replaceAll(/<td>(.*?)<\/td>/g, '<td>$1</td>'));
    assert.deepEqual([...letter.html.matchAll(/href="([^"]*)"/g)].map((one) => one[1]).filter((href) => !href.startsWith(world.url)), []);
  }
  const subjects = new Set(letters.map(({ subject }) => subject));
  assert.ok(subjects.size >= 1);
  assert.ok(letters.some(({ text }) => text.includes('\\u{202e}')), 'what is hidden is written out');
});

test('labels and names in the cluster hold ids alone', async () => {
  const { stdout } = await world.kubectl(['get', 'serviceaccounts,secrets,rolebindings,configmaps', '-A', '-l', 'breakglass/grant', '-o', 'json']);
  for (const { metadata } of JSON.parse(stdout).items) {
    for (const value of Object.values(metadata.labels)) assert.match(value, /^[a-z0-9.-]{1,63}$/);
    for (const [name, value] of Object.entries(metadata.annotations ?? {})) assert.ok(!/pwned|because/.test(name + value), `${name}: ${value}`);
  }
});

test('every line of the log is one line of JSON with nothing hidden in it', async () => {
  const lines = readFileSync(log, 'utf8').split('\n').filter(Boolean);
  assert.ok(lines.length > 200);
  for (const line of lines) {
    assert.equal(line.search(hidden), -1, JSON.stringify(line.slice(0, 300)));
    const read = JSON.parse(line);
    assert.ok(read.timestamp && read.level, line);
    assert.notEqual(read.message, 'pwned');
  }
});

test('a megabyte in a field is refused in words, or cut where it is shown', async () => {
  const large = 'x'.repeat(1 << 20);
  const refused = await send(people.oncall, '/requests', { team: 'payments', cluster: 'demo', profile: 'payments-admin', namespace: 'payments', minutes: '30', reason: large });
  assert.equal(refused.status, 400);
  const longest = 'y'.repeat(60_000);
  const answer = await send(people.oncall, '/requests', { team: 'payments', cluster: 'demo', profile: 'payments-admin', namespace: 'payments', minutes: '30', reason: 'A reason of more than ten characters.', incident: longest });
  if (answer.status === 303) {
    const id = /([0-9a-f-]{36})$/.exec(answer.location)[1];
    const shown = await pageSound(people.oncall, `/requests/${id}`);
    assert.ok(shown.text.length < 100_000, `${shown.text.length} characters`);
    await send(people.oncall, `/requests/${id}/withdraw`);
  } else assert.equal(answer.status, 422);
});
