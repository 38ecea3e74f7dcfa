// What gives access and nobody approved is found, whoever made it.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Actor, words } from '../world/actor.mjs';
import { until } from '../world/children.mjs';
import { connect } from '../world/client.mjs';
import { lent, staged } from './steps.mjs';

const world = connect();
const grants = ['-n', 'breakglass-grants'];
let stage;
let compliance;

before(async () => {
  stage = await staged(world, 'guard');
  compliance = await Actor.signedIn(world, 'compliance');
});
after(() => stage?.end());

/** The feed names it, within five seconds. */
const found = (pattern) => until(`the feed to say ${pattern}`, async () => pattern.test(words((await compliance.open('/feed')).text)), { ms: 5_000 });

test('a second binding for a live grant is found, and ends it', async () => {
  const { grant, key } = await lent(stage);
  const [account] = (await world.kubectl([...grants, 'get', 'serviceaccounts', '-l', `breakglass/grant=${grant}`, '-o', 'name'])).stdout.trim().split('/').slice(1);
  await world.kubectl(['create', 'clusterrolebinding', 'more', '--clusterrole=cluster-admin', `--serviceaccount=breakglass-grants:${account}`]);
  try {
    await found(/ClusterRoleBinding more gives ClusterRole cluster-admin to \S+, and nobody approved that/);
    // The broker may not delete what is not its own: the account goes, and the binding is called by its name.
    await until('the key to be refused', async () => (await world.kubectl(['get', 'nodes'], { kubeconfig: key, anyStatus: true })).status !== 0, { ms: 15_000 });
    await stage.engineer.sees(`/grants/${grant}`, /clusterrolebindings\/more names \S+ and is not the grant's/);
  } finally {
    await world.kubectl(['delete', 'clusterrolebinding', 'more']);
  }
  await stage.engineer.sees(`/grants/${grant}`, /This access is dead/, 90_000);
});

test('rights for everybody in the grants namespace are found', async () => {
  await world.kubectl(['-n', 'payments', 'create', 'rolebinding', 'all', '--clusterrole=view', '--group=system:serviceaccounts:breakglass-grants']);
  await found(/RoleBinding payments\/all gives ClusterRole view to everybody/);
  await world.kubectl(['-n', 'payments', 'delete', 'rolebinding', 'all']);
});

test('an account or Secret that the ledger does not know is found, also one made while the broker was away', async () => {
  await stage.broker.stop();
  await world.kubectl([...grants, 'create', 'serviceaccount', 'breakglass-planted']);
  await world.kubectl([...grants, 'create', 'secret', 'generic', 'breakglass-lasting', '--from-literal=token=x']);
  try {
    await stage.broker.restart();
    compliance = await Actor.signedIn(world, 'compliance');
    await found(/ServiceAccount breakglass-grants\/breakglass-planted is in the cluster and no live grant has it/);
    await found(/Secret breakglass-grants\/breakglass-lasting is in the cluster and belongs to no live grant/);
  } finally {
    await world.kubectl([...grants, 'delete', 'serviceaccount/breakglass-planted', 'secret/breakglass-lasting']);
  }
});
