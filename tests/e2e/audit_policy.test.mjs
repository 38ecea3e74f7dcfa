// What the audit policy of a real API server keeps is held against what is promised; and an object that changes with no
// event for it is found.

import assert from 'node:assert/strict';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { words } from '../world/actor.mjs';
import { breakglass } from '../world/broker.mjs';
import { until } from '../world/children.mjs';
import { connect } from '../world/client.mjs';
import { apart } from './apart.mjs';
import { Emergency } from './emergency.mjs';
import { assertWhole } from './whole.mjs';

const shared = connect();
const policyFile = join(shared.broker.dir, 'audit-policy.yaml');
const policy = readFileSync(policyFile, 'utf8');
const sessions = 'userGroups: ["system:serviceaccounts:breakglass-grants"]';
const payments = ['-n', 'payments'];
const emergencies = [];
let own;

const emergency = (name) => {
  const one = new Emergency(own.world, { tag: `INC-policy-${name}`, target: 'policy-a', patience: 120_000 });
  emergencies.push(one);
  return one;
};

before(async () => {
  own = await apart(shared, { name: 'policy', targets: ['policy-a'], change: (all) => { all.clusters.demo.canary = { every: '2s', alarm_after: '30s' }; } });
});
after(async () => {
  await own?.stop();
  if (readFileSync(policyFile, 'utf8') !== policy) {
    writeFileSync(policyFile, policy);
    await shared.api.restart();
  }
  for (const one of emergencies) rmSync(one.dir, { recursive: true, force: true });
});

/** The policy with `lines` before all other rules. */
const first = (text, lines) => text.replace(/^rules:$/m, () => `rules:\n${lines.trimEnd()}`);
const feed = async (one) => (await one.page('compliance', '/feed')).split('This needs you')[1]?.split('What happened')[0] ?? '';
const says = (one, path, pattern, ms = 180_000) => until(`${path} to say ${pattern}`, async () => pattern.exec(words(await one.page('compliance', path)))?.[0], { ms });
const entries = async (one, kind) => words(await one.page('auditor', `/ledger?kind=${kind}`));

test('a policy that is lowered is found with the lines it lacks, nothing is lent meanwhile, and with these lines it is settled', async () => {
  const one = emergency('lowered');
  await says(one, '/clusters', /keeps what is promised, by \d+ kinds of request tried/);
  assert.equal(words(await feed(one)), '', 'a policy as it is printed is no finding');
  const since = (await own.world.events({ user: { username: 'system:serviceaccount:breakglass-grants:breakglass-audit-probe' } })).length;
  assert.ok(since > 100, `${since} probes`);
  await one.filed();

  // What a session changes without its body, what it runs in a Pod not at all, and Secrets with what is in them.
  const lowered = first(policy, `
- {level: Metadata, ${sessions}, verbs: [update], resources: [{group: apps, resources: [deployments]}]}
- {level: None, ${sessions}, verbs: [create], resources: [{group: "", resources: [pods/exec]}]}
- {level: RequestResponse, ${sessions}, verbs: [get], resources: [{group: "", resources: [secrets]}]}
`.trim());
  writeFileSync(policyFile, lowered);
  await shared.api.restart();
  const said = await says(one, '/feed', /The audit policy of demo does not keep what is promised: .{100,600}restart the API server/);
  for (const what of [
    /create of pods\/exec in \w+ by an access is not recorded, and RequestResponse is promised/,
    /get of secrets in default by an access is recorded at RequestResponse, which sends what must stay out, and Metadata is promised/,
    /update of deployments\.apps in \w+ by an access is recorded at Metadata, and RequestResponse is promised/,
  ]) assert.match(said, what);
  await says(one, '/clusters', /keeps 3 of \d+ kinds of request otherwise than promised.*Put these lines before all other rules of its audit policy/);

  // Fail closed: no approval, no new request.
  await one.page('approver', `/requests/${one.request}`);
  const refused = await (await one.person('approver')).approve(one.request);
  assert.match(words(refused.text), /audit policy of demo does not keep what this profile promises: create of pods\/exec/);
  assert.equal(await one.requestState(), 'pending');
  await assert.rejects((await one.person('oncall')).ask({ incident: 'INC-policy-new' }), /audit policy of demo does not keep what this profile promises/);

  // The very lines, as the page says where.
  const shown = /aria-label="Lines that put it right">([\s\S]*?)<\/pre>/.exec(await feed(one))[1];
  const lines = shown.replaceAll('&quot;', '"').replaceAll('&#34;', '"').replaceAll('&#39;', '\'').replaceAll('&#x27;', '\'').replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&');
  writeFileSync(policyFile, first(lowered, lines));
  await shared.api.restart();
  await says(one, '/clusters', /keeps what is promised, by \d+ kinds of request tried/);
  assert.doesNotMatch(words(await feed(one)), /audit policy/, 'settled by itself');
  assert.match(await entries(one, 'audit-probed'), /keeps what is promised[\s\S]*does not keep what is promised[\s\S]*keeps what is promised/);

  const left = await own.world.kubectl(['-n', 'breakglass-grants', 'get', 'serviceaccounts,secrets', '-o', 'name']);
  assert.doesNotMatch(left.stdout, /audit-probe/, 'nothing of a probe is left');
  assert.doesNotMatch(words(await one.page('compliance', '/feed')), /breakglass-audit-probe/, 'and nobody took it for a stranger');

  await one.through();
  assert.equal(words(await feed(one)), '', 'a plain emergency leaves no finding');
  await assertWhole(own.world, { keys: one.keys, actors: await one.readers() });
});

test('what changes with no event for it is found when the record has settled, and named', async () => {
  const one = emergency('hidden');
  // Somebody with rights of their own, whom the policy hides.
  writeFileSync(policyFile, first(policy, '- {level: None, users: ["cluster-owner"]}'));
  await shared.api.restart();
  await says(one, '/clusters', /keeps what is promised/);
  await one.filed();
  await one.approved();
  await one.key();
  await one.acted();
  const hidden = { kubeconfig: shared.cluster.ownerKubeconfig };
  await own.world.kubectl([...payments, 'annotate', 'configmap', 'payments-config', 'nobody=saw', '--overwrite', '--field-manager=in-the-dark'], hidden);
  await own.world.kubectl([...payments, 'create', 'configmap', 'out-of-nothing', '--from-literal=it=is'], hidden);
  // What is recorded is nobody's secret, whoever does it.
  await own.world.kubectl([...payments, 'create', 'configmap', 'seen']);
  await own.world.kubectl([...payments, 'annotate', 'configmap', 'seen', 'somebody=saw']);
  await own.world.kubectl([...payments, 'delete', 'configmap', 'seen']);
  await new Promise((resolve) => { setTimeout(resolve, 2_000); });
  await own.world.kubectl([...payments, 'delete', 'configmap', 'out-of-nothing'], hidden);
  await one.done();
  await one.is('ended');
  await one.follows('owed');
  const said = await says(one, '/feed', /has holes: .{50,600}\)/);
  assert.match(said, /3 objects were changed with no event for it, by this access or by somebody else/);
  assert.match(said, /ConfigMap payments\/payments-config changed in metadata\.annotations by field manager in-the-dark at \d\d:\d\d:\d\d UTC/);
  assert.match(said, /ConfigMap payments\/out-of-nothing made by field manager kubectl-create at .*ConfigMap payments\/out-of-nothing deleted at/);
  assert.doesNotMatch(said, /payments\/(seen|policy-a)/);
  const verified = await breakglass(['verify', '--key', own.world.ledgerKey, join(own.world.broker.dir, 'breakglass.db')], { anyStatus: true });
  assert.match(verified.stdout, /completeness: whole except .*held by On-call engineer \(payments-admin\)/);
  assert.match(verified.stdout, /UTC, demo: steps without their end, or changes without an event, held by On-call engineer/);
  await own.world.kubectl([...payments, 'annotate', 'configmap', 'payments-config', 'nobody-', '--field-manager=in-the-dark'], hidden);
  await one.merged();
  await one.follows('converged');
  await assertWhole(own.world, { keys: one.keys, actors: await one.readers() });
});
