// What `breakglass manifests` prints is no news on the feed; one verb more beside the grants is a finding.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Actor, words } from '../world/actor.mjs';
import { startBroker } from '../world/broker.mjs';
import { until } from '../world/children.mjs';
import { connect } from '../world/client.mjs';

const world = connect();
const grants = ['-n', 'breakglass-grants'];
const applied = (kind) => `admin wrote ${kind} breakglass-grants/breakglass-broker, as \`breakglass manifests\` prints it`;
let broker;
let compliance;

before(async () => {
  broker = await startBroker({ config: world.broker.config });
  compliance = await Actor.signedIn(world, 'compliance');
});
after(() => broker?.stop());

const page = async (path) => (await compliance.open(path)).text;
/** The lines of the feed, newest first. */
const feed = async (query = '') => JSON.parse(await page(`/feed.json?${query}`)).items.map((item) => item.content_text ?? item.title);
const said = (text, query) => until(`"${text}" on the feed`, async () => (await feed(query)).find((line) => line.includes(text)));

test('the installation as printed is entered as what it is and pins nothing', async () => {
  // The world may have been used for long: its first installation was told before any broker listened.
  const auditor = await Actor.signedIn(world, 'auditor');
  for (const kind of ['Role', 'RoleBinding']) {
    const { stdout } = await world.kubectl([...grants, 'get', kind, 'breakglass-broker', '-o', 'json']);
    await world.kubectl(['replace', '-f', '-'], { input: stdout });
    await until(`${kind} in the ledger`, async () => words((await auditor.open('/ledger?kind=manifests-applied')).text).includes(applied(kind)));
  }
  const findings = await feed('flag=finding');
  assert.deepEqual(findings.filter((line) => line.includes('breakglass-grants/breakglass-broker')), []);
});

test('a wider role is a finding that says what differs, and putting it right again is none', async () => {
  const { stdout } = await world.kubectl([...grants, 'get', 'role', 'breakglass-broker', '-o', 'json']);
  const role = JSON.parse(stdout);
  delete role.metadata.resourceVersion;
  const wider = structuredClone(role);
  wider.rules[0].verbs.push('patch');
  await world.kubectl([...grants, 'replace', '-f', '-'], { input: JSON.stringify(wider) });
  const found = await said('breakglass-grants/breakglass-broker: it is not what', 'flag=finding');
  assert.match(found, /rules differs/);
  assert.match(await page('/feed'), /it is not what `breakglass manifests` prints: rules differs/);
  const before = (await feed()).filter((line) => line.includes(applied('Role'))).length;
  await world.kubectl([...grants, 'replace', '-f', '-'], { input: JSON.stringify(role) });
  await until('the entry', async () => (await feed()).filter((line) => line.includes(applied('Role'))).length > before);
});

test('what the record does not hold, or nobody prints, stays a finding', async () => {
  const patch = '{"metadata":{"labels":{"note":"mine"}}}';
  await world.kubectl([...grants, 'patch', 'role', 'breakglass-broker', '-p', patch]);
  await said('breakglass-grants/breakglass-broker: the record does not say what was written', 'flag=finding');
  await world.kubectl([...grants, 'patch', 'role', 'breakglass-broker', '-p', '{"metadata":{"labels":{"note":null}}}']);
  await world.kubectl([...grants, 'create', 'role', 'extra', '--verb=get', '--resource=secrets']);
  await said('breakglass-grants/extra: `breakglass manifests` prints nothing of that name', 'flag=finding');
  await world.kubectl([...grants, 'delete', 'role', 'extra']);
});
