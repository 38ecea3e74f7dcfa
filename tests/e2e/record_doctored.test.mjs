// A broker that was altered leaves what a grant did out of the record, and counts it as come. Its ledger is whole and says
// nothing; the API server's own log, held against it, names what is missing.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Actor, words } from '../world/actor.mjs';
import { until } from '../world/children.mjs';
import { connect } from '../world/client.mjs';
import { storeFacts } from './facts.mjs';
import { recorder } from './record_tools.mjs';
import { ended, lent } from './steps.mjs';

const world = connect();
const begun = new Date().toISOString();
const dir = mkdtempSync(join(tmpdir(), 'doctored-'));
const hidden = 'settlement-worker';
let own;

before(async () => {
  own = recorder(world, 'doctored', { env: { FAILPOINTS: `audit.drop=return(deployments/${hidden})` } });
  await own.start();
});
after(async () => {
  await own?.end();
  rmSync(dir, { recursive: true, force: true });
});

test('a grant\'s event that a doctored broker leaves out is named by the API server\'s own log', { timeout: 900_000 }, async (t) => {
  const [engineer, approver] = [await Actor.signedIn(world, 'oncall'), await Actor.signedIn(world, 'approver')];
  const { grant, key } = await lent({ engineer, approver, dir });
  const kubectl = async (...args) => assert.equal((await world.kubectl(['-n', 'payments', ...args], { kubeconfig: key, anyStatus: true })).status, 0, args.join(' '));
  await kubectl('annotate', 'deployment', hidden, 'doctored=yes');
  await kubectl('annotate', 'deployment', hidden, 'doctored-');
  await kubectl('annotate', 'deployment', 'payments-api', 'told=yes');
  await kubectl('annotate', 'deployment', 'payments-api', 'told-');
  const page = await engineer.sees(`/grants/${grant}`, /Deployment payments\/payments-api/);
  assert.doesNotMatch(page, new RegExp(`Deployment payments/${hidden}`), 'it is left out');
  await ended(engineer, grant);
  const changes = async () => readFileSync(world.cluster.auditLog, 'utf8').split('\n').filter((line) => line > '' && line.includes(`deployments/${hidden}?`))
    .map((line) => JSON.parse(line)).filter(({ verb, stage, user, requestReceivedTimestamp: at }) => at > begun && verb === 'patch' && stage === 'ResponseComplete' && user.username.includes(':breakglass-grants:'));
  await until('the API server to have written it', async () => (await changes()).length === 2);

  const alone = await own.verify();
  assert.equal(alone.status, 0, `it says nothing by itself: ${alone.text}`);
  const { lines } = await storeFacts(own.store);
  for (const { auditID } of await changes()) assert.ok(!lines.some((line) => line.includes(auditID)), `${auditID} is in the store`);
  assert.doesNotMatch(words((await engineer.open(`/grants/${grant}`)).text), /lost to this record/, 'by its own count nothing is missing');

  const log = join(dir, 'api-server.log');
  writeFileSync(log, readFileSync(world.cluster.auditLog, 'utf8').split('\n').filter((line) => line && JSON.parse(line).requestReceivedTimestamp > begun).join('\n'));
  const said = await own.verify({ auditLogs: [log] });
  assert.equal(said.status, 1, said.text);
  assert.match(said.text, /integrity: whole/);
  assert.match(said.text, /completeness: BROKEN/);
  assert.match(said.text, new RegExp(`missing: \\S+ patch /apis/apps/v1/namespaces/payments/deployments/${hidden}\\?`));
  assert.doesNotMatch(said.text, /missing: .*deployments\/payments-api/, 'what was not left out is not missing');
  t.diagnostic('tried: 1 faults of the record');
});
