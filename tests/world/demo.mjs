// The demo: the test world, kept over restarts, with the broker in front of it.
//   node tests/world/demo.mjs --dir DIR [--fresh] [--drill]

import { resolve } from 'node:path';
import { binary, startBroker } from './broker.mjs';
import { tool } from './tools.mjs';
import { attend, claim, startWorld } from './world.mjs';

const args = process.argv.slice(2);
const dir = resolve(args[args.indexOf('--dir') + 1]);
if (!args.includes('--dir')) {
  console.error('usage: node demo.mjs --dir DIR [--fresh] [--drill]');
  process.exit(2);
}
claim(dir, { fresh: args.includes('--fresh') });
const begun = Date.now();
const say = (text) => console.log(`  ${((Date.now() - begun) / 1000).toFixed(1).padStart(6)} s  ${text}`);

const world = await startWorld({ dir, say });
let broker;
const stopped = {
  ...world,
  async stop() {
    await broker?.stop();
    await world.stop();
  },
};
// With --drill the program goes through a whole emergency itself; its exit status is ours.
const drill = args.includes('--drill') && { name: 'drill', command: [binary(), 'drill', '--config', world.broker.config, '--demo', world.file, '--profile', 'payments-admin', '--kubeconfig', `${dir}/drill.kubeconfig`, '--export', `${dir}/drill.bgx`, '--kubectl', tool('kubectl')] };
process.exit(await attend(stopped, drill, async () => {
  broker = await startBroker({ config: world.broker.config });
  say('the broker is ready');
  if (drill) return;
  const program = binary();
  console.log(`
  ${broker.url}      the broker
  ${world.forge.url}/${world.forgeAddress.repository}      the shop's repository: read, review and merge here
  KUBECONFIG=${world.cluster.ownerKubeconfig}      the cluster as its owner sees it; what is changed so, past
      the broker, is a finding: sign in as "Compliance" and see it on the feed

  Three things to try:
  1. Sign in as "On-call engineer", ask for the profile payments-admin, and approve it as "First approver" in a
     private window. Then show the kubeconfig and keep it as emergency.kubeconfig.
  2. Change something and watch it arrive on the grant's page:
     ${tool('kubectl')} --kubeconfig emergency.kubeconfig -n payments scale deployment payments-api --replicas=5
     (\`kubectl exec\` runs its command on this machine, in ${dir}/cluster/pods.)
  3. Press "I am done". A pull request brings the change to git: review it as "First approver" and merge it at
     the forge, and see the emergency close.

  The record, checked offline:
     ${program} verify --key "$(${program} key ${world.broker.config})" ${dir}/broker/breakglass.db

  Data stays in ${dir}; --fresh begins anew. Ctrl-C ends everything.
`);
}));
