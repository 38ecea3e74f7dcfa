// A broker with a store and a repository of its own, beside those that the test files of a world share: what a test
// does to its clock, its disk or its connections stays there.

import { cpSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { startBroker } from '../world/broker.mjs';
import { copyConfig } from '../world/config.mjs';
import { ear, publicKey } from './crash_tools.mjs';

const deployment = (name, replicas) => `---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: ${name}
  namespace: payments
spec:
  replicas: ${replicas}
  selector:
    matchLabels: {app: ${name}}
  template:
    metadata:
      labels: {app: ${name}}
    spec:
      containers:
      - name: worker
        image: example.test/shop/worker:1.0.0
`;

/**
 * Starts it. `targets`: Deployments for its emergencies, in the cluster and in its repository. `change(config)`: made to
 * the configuration. `store`: folder of the store. Returns `{ world, broker, step(seconds), stop() }`; `world` is as
 * `connect()` gives it, with this broker in place of the shared one. Only one broker runs at a time.
 */
export async function apart(world, { name, targets, change = () => {}, store }) {
  const dir = join(world.dir, `apart-${name}-${process.pid}`);
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  cpSync(join(world.broker.dir, 'secrets'), join(dir, 'secrets'), { recursive: true });
  const files = Object.fromEntries(targets.map((one) => [`apps/payments/${one}.yaml`, deployment(one, 1)]));
  const repo = await world.forge.createRepo(`${name}-${process.pid}`, files);
  const repository = `${repo.owner}/${repo.name}`;
  await world.forge.protect(repo.owner, repo.name, 'main', { checks: [{ context: 'breakglass/independent-approval', app_id: world.forgeAddress.appId }] });
  await world.applyYaml(Object.values(files).join(''));
  // Its letters are held against its own notices, and nobody else's.
  await world.mail.clear();
  const config = copyConfig(world.broker.config, join(dir, 'breakglass.yaml'), (all) => {
    all.store = { sqlite: join(store ?? dir, 'breakglass.db') };
    all.sign_in.session = { idle: '8h', absolute: '12h' };
    all.forge.repositories = { own: { repository, base_branch: 'main', paths: [{ path: 'apps/payments', cluster: world.cluster.name, default_namespace: 'payments' }] } };
    change(all);
  });
  const clock = join(dir, 'step');
  const own = { ...world, broker: { ...world.broker, config, dir: store ?? dir }, forgeAddress: { ...world.forgeAddress, repository } };
  if (store) cpSync(join(dir, 'secrets'), join(store, 'secrets'), { recursive: true });
  const listening = await ear(world);
  const broker = await startBroker({ config, env: { CLOCK_STEP: clock }, log: `${config}.log` });
  own.ledgerKey = await publicKey(own);
  let seconds = 0;
  return {
    world: own,
    broker,
    config: dirname(config),
    /** Its clock goes so many seconds further off; returns how far it is off now. */
    step(more) {
      seconds += more;
      writeFileSync(clock, String(seconds));
      return seconds;
    },
    async stop() {
      await listening.close();
      await broker.stop();
      await world.kubectl(['-n', 'payments', 'delete', 'deployment', ...targets, '--ignore-not-found', '--wait=false'], { anyStatus: true });
      await world.mail.clear();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
