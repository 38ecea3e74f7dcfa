// What a session may send to keep its own actions out of the record.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Actor } from '../world/actor.mjs';
import { byHand } from '../world/by_hand.mjs';
import { connect } from '../world/client.mjs';
import { ended, lent, staged } from './steps.mjs';

const world = connect();
let stage;

before(async () => { stage = await staged(world, 'record'); });
after(() => stage?.end());

test('a patch whose event the API server cannot send hides neither itself nor what stands beside it', async () => {
  const { engineer } = stage;
  const { grant, key } = await lent(stage);
  const path = '/apis/apps/v1/namespaces/payments/deployments/payments-api';
  const applied = await byHand(key, {
    method: 'PATCH', path: `${path}?fieldManager=by-hand&force=true`, headers: { 'Content-Type': 'application/apply-patch+yaml' },
    body: 'apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: payments-api\nspec:\n  replicas: 6\n',
  });
  assert.equal(applied.status, 200, applied.text);
  assert.equal((await world.kubectl(['-n', 'payments', 'annotate', 'deployment', 'payments-api', 'by-hand=1'], { kubeconfig: key, anyStatus: true })).status, 0);
  const broken = await byHand(key, { method: 'PATCH', path, headers: { 'Content-Type': 'application/json-patch+json' }, body: 'no JSON' });
  assert.equal(broken.status, 400, broken.text);
  const page = await engineer.sees(`/grants/${grant}`, /annotations.by-hand = 1/);
  assert.equal(page.match(/may have [a-z]+ Deployment payments\/payments-api/g)?.length, 2, page);
  await ended(engineer, grant);
  // It is settled by what the cluster held before and after.
  const followUp = /\/follow-ups\/[0-9a-f-]{36}/.exec((await engineer.open(`/grants/${grant}`)).text)[0];
  const drifted = await engineer.sees(followUp, /replicas[^0-9]+3[^0-9]+6/, 90_000);
  assert.match(drifted, /by-hand/);
  // Both patches came without an answer: that is a hole, whatever drift made of it.
  const compliance = await Actor.signedIn(world, 'compliance');
  await compliance.sees('/feed?flag=gap', new RegExp(`access has holes: 2 requests were received and no answer is here \\(may have [a-z]+ Deployment payments/payments-api`));
});
