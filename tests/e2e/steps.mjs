// The steps of an emergency that many tests share.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Actor } from '../world/actor.mjs';
import { startBroker } from '../world/broker.mjs';

/** Files, approves and reveals; returns the request, the grant and the file with its key. */
export async function lent({ engineer, approver, dir }, options) {
  const request = await engineer.ask(options);
  await approver.approve(request);
  const grant = await engineer.grantOf(request);
  return { request, grant, key: await engineer.key(grant, dir) };
}

/** The engineer is done; returns when the access is proved dead. */
export async function ended(engineer, grant) {
  await engineer.open(`/grants/${grant}`);
  await engineer.press(`/grants/${grant}/done`);
  await engineer.sees(`/grants/${grant}`, /This access is dead/, 60_000);
}

/** The broker, its people and a folder for keys, for the tests of one file; `end` puts the shop back and takes it all away. */
export async function staged(world, name) {
  const dir = mkdtempSync(join(tmpdir(), `${name}-`));
  const broker = await startBroker({ config: world.broker.config });
  const [engineer, approver] = [await Actor.signedIn(world, 'oncall'), await Actor.signedIn(world, 'approver')];
  return {
    dir,
    broker,
    engineer,
    approver,
    async end() {
      await broker.stop();
      // The next file finds the shop as its repository has it.
      await world.kubectl(['-n', 'payments', 'scale', 'deployment', 'payments-api', '--replicas=3']);
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
