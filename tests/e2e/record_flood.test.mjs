// A session asks as fast as it can and changes things among it, so that the API server drops what it did. How many
// events are lost is named to the event, and the access that was live meanwhile is marked.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { Agent, request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Actor, words } from '../world/actor.mjs';
import { keyIn } from '../world/by_hand.mjs';
import { until } from '../world/children.mjs';
import { connect } from '../world/client.mjs';
import { countedCluster } from './counted_cluster.mjs';
import { ended, lent } from './steps.mjs';

const world = connect();
const dir = mkdtempSync(join(tmpdir(), 'flood-'));
// As many as three thousand a second are in two; what the API server sends on is less than the slowest machine asks.
const requests = 6_000;
const flags = ['--audit-webhook-initial-backoff=100ms', '--audit-webhook-batch-buffer-size=600', '--audit-webhook-batch-max-size=15', '--audit-webhook-batch-throttle-qps=4', '--audit-webhook-batch-throttle-burst=4'];
let own;

before(async () => {
  own = await countedCluster(world, { title: 'flood', apiFlags: flags });
  await own.cluster.applyYaml(['payments', 'orders'].map((name) => `---\napiVersion: v1\nkind: Namespace\nmetadata: {name: ${name}}\n`).join(''));
  await own.cluster.kubectl(['-n', 'payments', 'create', 'configmap', 'payments-config', '--from-literal=n=0']);
});
after(async () => {
  await own?.stop();
  rmSync(dir, { recursive: true, force: true });
});

test('a session that floods its API server while it changes things is marked, and its loss is named to the event', { timeout: 1_200_000 }, async (t) => {
  const [engineer, approver, compliance] = [await Actor.signedIn(world, 'oncall'), await Actor.signedIn(world, 'approver'), await Actor.signedIn(world, 'compliance')];
  await until('audit to be alive', async () => /all of them are here/.test(words((await (await Actor.signedIn(world, 'operator')).open('/clusters')).text).split(own.name)[1] ?? ''), { ms: 90_000, every: 1_000 });
  const { grant, key } = await lent({ engineer, approver, dir }, { cluster: own.name });
  const [known, lost] = [await own.named(), await own.lostOnTheWay()];
  assert.doesNotMatch(words((await engineer.open(`/grants/${grant}`)).text), /lost to this record/);

  const { server, ca, token } = keyIn(key);
  const agent = new Agent({ keepAlive: true, maxSockets: 32, ca });
  const ask = (method, body) => new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${token}`, ...(body ? { 'content-type': 'application/merge-patch+json' } : {}) };
    request(`${server}/api/v1/namespaces/payments/configmaps/payments-config`, { agent, method, headers }, (answer) => { answer.resume(); answer.on('end', () => resolve(answer.statusCode)); }).on('error', reject).end(body);
  });
  let sent = 0;
  let changed = 0;
  const begun = Date.now();
  await Promise.all(Array.from({ length: 32 }, async () => {
    while (sent < requests) {
      sent += 1;
      if (sent % 100) await ask('GET');
      else if (await ask('PATCH', JSON.stringify({ data: { n: String(sent) } })) === 200) changed += 1;
    }
  }));
  agent.destroy();
  t.diagnostic(`${Math.round(sent / (Date.now() - begun) * 1000)} requests a second, ${changed} changes among them`);
  assert.ok(changed > 10, `${changed} changes`);

  const more = await own.lostOnTheWay(20_000) - lost;
  assert.ok(more > 1_000, `${more} were dropped`);
  await own.namesExactly(known + more);
  const gaps = (await own.entries('gap')).filter((one) => one.why === 'lost' && one.grants.some(({ id }) => id === grant));
  assert.equal(gaps.reduce((sum, one) => sum + one.events, 0), more, 'each of them is of the time in which it was held');
  await engineer.sees(`/grants/${grant}`, new RegExp(`Some of what was done may be missing\\. ?${more} events that its API server counted between .* are lost to this record`));
  await compliance.sees('/feed', /are lost to this record.{0,80}Held meanwhile: payments-admin by /);
  assert.match(await own.verify(), /integrity: whole/);
  await ended(engineer, grant);
  await engineer.sees(`/grants/${grant}`, /are lost to this record/);
  t.diagnostic('tried: 1 faults of the record');
});
