// Every service that the broker calls, with every fault, for an hour by the broker's clock, and then healed: meanwhile
// the pages say what is waited for and since when; afterwards everything ends as it should, and nothing twice.
//
//                      refuse  error  limit  cut  wrong  hang  lost  slow
//   API server, laying out  ✓      ✓      ✓     ✓     ✓     ✓     ✓     ✓
//   API server, a reveal           ✓                  ✓           ✓
//   API server, ending      ✓      ✓      ✓     ✓     ✓     ✓     ✓     ✓
//   forge, publishing       ✓      ✓      ✓     ✓     ✓     ✓     ✓     ✓
//   forge, following        ✓      ✓      ✓     ✓     ✓           ✓     ✓
//   mail                    ✓      ✓      ✓     ✓     ✓     ✓     ✓     ✓
//   webhook receiver        ✓      ✓      ✓     ✓     ✓     ✓     ✓     ✓
//   sign-in provider        ✓      ✓      ✓     ✓     ✓     ✓     ✓     ✓

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { Actor, words } from '../world/actor.mjs';
import { authority } from '../world/certificates.mjs';
import { until } from '../world/children.mjs';
import { connect } from '../world/client.mjs';
import { FAULTS, HttpFaults, SmtpFaults } from '../world/faults.mjs';
import { Browser, signIn } from '../world/http.mjs';
import { apart } from './apart.mjs';
import { Emergency } from './emergency.mjs';
import { assertWhole } from './whole.mjs';

const shared = connect();
const proxies = {};
const received = []; // what the webhook receiver took: { path, id }
const cells = [];
const emergencies = [];
let receiver;
let own;
let compliance;
let A;
let B;

/** What a page says of each fault while it waits for a service that has it; `slow` and what `lost` applied go on. */
const reason = {
  refuse: /refused|reset|closed|sending request|Connect|connection/i,
  error: /503|out of order/,
  limit: /429|to wait|too many letters/,
  cut: /cut|closed|incomplete|EOF|end of file|body|reset|connection/i,
  wrong: /not JSON|not the|not a list|400|302/i,
  hang: /no answer within|timed out|timeout|took longer|in time/i,
  lost: /cut|closed|incomplete|reset|connection|EOF/i,
};
/** Those during which nothing can go on. */
const holding = ['refuse', 'error', 'limit', 'cut', 'wrong', 'hang'];

/** Waits until the words that `read` gives say that `whom` is waited for, since when, and why. */
async function says(service, whom, fault, read) {
  const begins = `Waiting for ${whom} since `;
  let last = '';
  await until(`the page to say "${begins}" of ${service}, ${fault}`, async () => {
    if (run.failed) throw Object.assign(new Error('another part of the test failed'), { final: true });
    last = await read();
    const at = last.indexOf(begins);
    // The sentence, with the time it begins with.
    const said = at < 0 ? '' : last.slice(at + begins.length, at + begins.length + 600);
    return /\d{1,2}:\d{2}|ago|now/.test(said.slice(0, 60)) && reason[fault].test(said.split('It is tried again')[0]);
  }, { ms: 45_000, every: 200 }).catch((error) => { throw new Error(`${error.message}\nthe page says: ${[...last.matchAll(/Waiting for .{0,300}/g)].map(([one]) => one).join('\n') || last.slice(0, 600)}`); });
  done(service, fault);
}

const run = { failed: false, steps: false };
/** All of them; the first failure ends the others' waiting. */
const together = (...parts) => Promise.all(parts.map((part) => part.catch((error) => { run.failed = true; throw error; })));
const done = (service, fault) => { cells.push(`${service}: ${fault}`); };
const had = (proxy, fault) => proxy.hits[fault] ?? 0;

before(async () => {
  const ca = await authority(join(dirname(shared.cluster.caFile)));
  const tls = await ca.server('faults');
  receiver = createServer((request, response) => {
    request.resume();
    request.on('end', () => {
      received.push({ path: request.url, id: request.headers['webhook-id'] });
      response.writeHead(204).end();
    });
  });
  await new Promise((resolve) => { receiver.listen(0, '127.0.0.1', resolve); });
  proxies.api = await HttpFaults.start({ target: shared.cluster.server, ca: readFileSync(shared.cluster.caFile), tls });
  proxies.forge = await HttpFaults.start({ target: shared.forgeAddress.url });
  proxies.mail = await SmtpFaults.start({ target: shared.mailAddress });
  for (const fault of FAULTS) proxies[`hook-${fault}`] = await HttpFaults.start({ target: `http://127.0.0.1:${receiver.address().port}`, portal: `http://127.0.0.1:${receiver.address().port}/portal` });
  own = await apart(shared, {
    name: 'faults',
    targets: ['faults-a', 'faults-b'],
    change(config) {
      const kubeconfig = readFileSync(shared.cluster.brokerKubeconfig, 'utf8').replace(shared.cluster.server, proxies.api.origin);
      assert.ok(kubeconfig.includes(proxies.api.origin));
      const file = join(dirname(config.store.sqlite), 'kubeconfig');
      writeFileSync(file, kubeconfig, { mode: 0o600 });
      config.clusters[shared.cluster.name].access.kubeconfig.file = file;
      config.forge.api_url = shared.forgeAddress.apiUrl.replace(shared.forgeAddress.url, proxies.forge.origin);
      Object.assign(config.notices.smtp, { host: proxies.mail.host, port: proxies.mail.port });
      config.notices.compliance_mail = FAULTS.map((fault) => `${fault}@example.test`);
      const secret = join(dirname(config.store.sqlite), 'secrets', 'webhooks');
      writeFileSync(secret, `whsec_${randomBytes(32).toString('base64')}`, { mode: 0o600 });
      config.notices.webhooks = FAULTS.map((fault) => ({
        name: fault, url: `${proxies[`hook-${fault}`].origin}/${fault}`, allow_private: true, secret: { file: secret },
      }));
    },
  });
  A = new Emergency(own.world, { tag: 'INC-faults-a', target: 'faults-a', patience: 60_000 });
  B = new Emergency(own.world, { tag: 'INC-faults-b', target: 'faults-b', patience: 60_000 });
  emergencies.push(A, B);
  compliance = await Actor.signedIn(own.world, 'compliance');
});

after(async () => {
  await shared.signIn.setFaults({}).catch(() => {});
  await own?.stop();
  for (const proxy of Object.values(proxies)) await proxy.stop();
  receiver?.closeAllConnections();
  receiver?.close();
  for (const one of emergencies) rmSync(one.dir, { recursive: true, force: true });
});

const feed = async () => words((await compliance.open('/feed')).text);
const grantPage = (emergency) => async () => words(await emergency.page('oncall', `/grants/${emergency.grant}`));
const followUpPage = (emergency) => async () => words(await emergency.page('oncall', `/follow-ups/${emergency.followUp}`));

/** Every channel with its own fault, from now until `heal`. */
async function spoilChannels() {
  await proxies.mail.set('refuse');
  for (const fault of FAULTS) await proxies[`hook-${fault}`].set(fault);
}

/** Sign-in, fault by fault: the page says since when, which is since the first of them; then it works again. */
async function signInFaults() {
  const wire = { refuse: 'reset' };
  let first;
  for (const fault of [...holding, 'lost']) {
    await shared.signIn.setFaults({ wire: wire[fault] ?? fault, only: ['/token'] });
    const page = await signIn(new Browser(), `${own.world.url}/sign-in`, 'second');
    assert.equal(page.status, 503, `${fault}: ${words(page.text)}`);
    const since = /Waiting for your sign-in provider, since <time[^>]*datetime="([^"]+)"/.exec(page.text)?.[1];
    assert.ok(since, `${fault}: ${words(page.text)}`);
    first ??= since;
    assert.equal(since, first, `${fault}: it fails since the first of them`);
    done('sign-in provider', fault);
  }
  await shared.signIn.setFaults({ wire: 'slow', only: ['/token'], delayMs: 1_500 });
  const slow = await signIn(new Browser(), `${own.world.url}/sign-in`, 'second');
  assert.equal(slow.status, 200, words(slow.text));
  done('sign-in provider', 'slow');
  await shared.signIn.setFaults({});
  // A sign-in is held against the provider's clock: only from here on may ours be put wrong.
  run.steps = true;
}

/** The API server, while the access of A is laid out. */
async function layingOut() {
  const own_ = (request) => /serviceaccounts|rolebindings|kube-system|clusterroles\//.test(request.url) && !/watch=/.test(request.url);
  let wait = 1;
  for (const fault of holding) {
    if (fault !== 'refuse') {
      await proxies.api.heal();
      await proxies.api.set(fault, own_);
      if (run.steps) own.step(wait);
    }
    await says('API server, laying out', 'the API server of demo', fault, grantPage(A));
    wait *= 2;
  }
  await until('signing in to be tried', () => run.steps || run.failed);
  own.step(wait);
  await proxies.api.heal();
  await proxies.api.set('lost', own_);
  await until('answers to be lost', () => {
    own.step(4);
    return had(proxies.api, 'lost') >= 2;
  }, { every: 500 });
  done('API server, laying out', 'lost');
  await proxies.api.heal();
  await proxies.api.set('slow', own_);
  own.step(40);
  await A.is('ready');
  done('API server, laying out', 'slow');
  await proxies.api.heal();
}

/** A reveal that fails says so, shows nothing, and leaves nothing; the next one works. */
async function revealing() {
  for (const fault of ['error', 'wrong', 'lost']) {
    await proxies.api.set(fault, (request) => /\/token$/.test(request.url));
    const shown = (await A.person('oncall')).reveal(A.grant).then(() => 'shown', (error) => error.message);
    assert.match(await shown, /no key was shown/, fault);
    await proxies.api.heal();
    await A.is('ready');
    done('API server, a reveal', fault);
  }
  await A.key();
}

/** The API server, while the access of A is taken away. */
async function ending() {
  const about = (request) => [A.grant, A.account].some((name) => request.url.includes(name) || request.body.includes(name)) && !/watch=/.test(request.url);
  await proxies.api.set('error', about);
  await A.done();
  for (const fault of holding) {
    await proxies.api.heal();
    await proxies.api.set(fault, about);
    own.step(270);
    await says('API server, ending', 'the API server of demo', fault, grantPage(A));
  }
  // Deletions are applied now, and nobody hears of it.
  const before_ = had(proxies.api, 'lost');
  await proxies.api.heal();
  await proxies.api.set('lost', about);
  await until('answers to be lost', () => {
    own.step(20);
    return had(proxies.api, 'lost') >= before_ + 2;
  }, { every: 700 });
  done('API server, ending', 'lost');
  await proxies.api.heal();
  await proxies.api.set('slow', about);
  own.step(70);
  await A.is('ended');
  done('API server, ending', 'slow');
  await proxies.api.heal();
}

/** The forge, while B's pull request is made. */
async function publishing() {
  await B.followUpState();
  for (const fault of holding) {
    await proxies.forge.heal();
    await proxies.forge.set(fault, fault === 'refuse' ? undefined : () => true);
    own.step(270);
    await says('forge, publishing', 'the forge', fault, followUpPage(B));
  }
  await proxies.forge.heal();
  // Each write is applied and its answer lost; a token of the forge is no write of ours.
  await proxies.forge.set('lost', (request) => !/access_tokens/.test(request.url));
  await until('answers to be lost', () => {
    own.step(70);
    return had(proxies.forge, 'lost') >= 3;
  }, { ms: 60_000, every: 1_000 });
  done('forge, publishing', 'lost');
  await proxies.forge.heal();
  proxies.forge.slowMs = 300;
  await proxies.forge.set('slow');
  own.step(70);
  await B.follows('owed');
  done('forge, publishing', 'slow');
  await proxies.forge.heal();
}

test('every outside call with every fault for an hour, and healed: the pages say what is waited for, nothing is lost, nothing is done twice', async (t) => {
  const begun = Date.now();
  const lap = (what) => t.diagnostic(`${Math.round((Date.now() - begun) / 1000)} s: ${what}`);
  await spoilChannels();
  await B.filed();
  await says('mail', 'mail:refuse@example.test', 'refuse', feed);
  await proxies.mail.heal();
  await proxies.mail.set('hang', ({ to }) => to === 'hang@example.test');
  for (const fault of FAULTS.filter((one) => !['refuse', 'hang'].includes(one))) await proxies.mail.set(fault, ({ to }) => to === `${fault}@example.test`);
  await B.approved();
  await B.key();
  await B.acted();
  await A.filed();
  lap('both asked for');
  // From here on the forge is away; B's capture comes to it in a while.
  await proxies.forge.set('error');
  await B.done();
  await proxies.api.set('refuse');
  await A.approved();
  await together(layingOut(), signInFaults());
  lap('laid out');
  await revealing();
  await A.acted();
  A.account = /breakglass-[\w-]+/.exec((await grantPage(A)()).split('Account')[1])?.[0];
  await B.is('ended');
  lap('revealed');
  const channels = async () => {
    for (const fault of FAULTS.filter((one) => one !== 'slow')) {
      if (fault !== 'refuse') await says('mail', `mail:${fault}@example.test`, fault, feed);
      await says('webhook receiver', `webhook:${fault}`, fault, feed);
    }
    for (const [service, sent] of [['mail', async () => (await shared.mail.messages({ to: 'slow@example.test' })).length], ['webhook receiver', async () => received.filter(({ path }) => path === '/slow').length]]) {
      await until(`${service}: what is slow arrives`, async () => await sent() > 0);
      done(service, 'slow');
    }
  };
  await together(ending(), publishing(), channels());
  lap('ended and published');
  const off = own.step(0);
  if (off < 3_700) own.step(3_700 - off);
  await proxies.mail.heal();
  for (const fault of FAULTS) await proxies[`hook-${fault}`].heal();
  await A.follows('owed').catch(async (error) => { throw new Error(`${error.message}: ${await followUpPage(A)()}\n${own.broker.log().split('\n').filter((line) => /WARN|ERROR/.test(line)).slice(-12).join('\n')}`); });
  lap('healed');

  for (const fault of holding.filter((one) => one !== 'hang')) {
    await proxies.forge.set(fault, fault === 'refuse' ? undefined : () => true);
    own.step(70);
    await says('forge, following', 'the forge', fault, followUpPage(B));
    await proxies.forge.heal();
  }
  // The check of B's pull request is made, and nobody hears of it.
  const lost = had(proxies.forge, 'lost');
  await proxies.forge.set('lost', ({ url }) => /check-runs/.test(url));
  own.step(70);
  await B.atForge('second-approver', 'approve');
  await until('the check to be made and its answer lost', () => had(proxies.forge, 'lost') > lost);
  done('forge, following', 'lost');
  await proxies.forge.heal();
  await proxies.forge.set('slow');
  own.step(70);
  await B.merged();
  done('forge, following', 'slow');
  await proxies.forge.heal();
  lap('followed');
  await A.merged();
  own.step(35);
  await Promise.all([A.follows('converged'), B.follows('converged')]);
  own.step(70);
  lap('converged');

  const facts = await assertWhole(own.world, { keys: emergencies.flatMap((one) => one.keys), actors: [...A.actors, ...B.actors, compliance] });
  const ours = facts.forge.pulls.filter((pull) => pull.head.startsWith('breakglass/'));
  assert.deepEqual(ours.map((pull) => pull.head).sort(), [A, B].map((one) => `breakglass/${one.grant}`).sort());
  // A letter, or a call of a webhook, that may have been taken is sent again, as the same one; no other is. What is
  // slow may be slower than the broker waits, on a machine that is slow itself.
  const twice = (list) => Object.entries(list.reduce((counts, key) => ({ ...counts, [key]: (counts[key] ?? 0) + 1 }), {})).filter(([, count]) => count > 1).map(([key]) => key);
  const letters = twice(facts.letters.flatMap((letter) => letter.to.map((to) => `${to} ${letter.headers['message-id']}`)));
  assert.deepEqual(letters.filter((key) => !/^(lost|cut|slow)@/.test(key)), []);
  assert.ok(letters.some((key) => key.startsWith('lost@')), 'an answer was lost after the letter was taken');
  const calls = twice(received.map(({ path, id }) => `${path} ${id}`));
  assert.deepEqual(calls.filter((key) => !/^\/(lost|cut|slow) /.test(key)), []);
  assert.ok(calls.some((key) => key.startsWith('/lost ')));
  const unique = new Set(cells);
  assert.equal(unique.size, 8 * 6 + 3 + 7, [...unique].join('\n'));
  t.diagnostic(`tried: ${unique.size} faults`);
});
