// A cluster of its own whose API server's figures are held against what came: what is missing is told by those alone.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import { breakglass } from '../world/broker.mjs';
import { until } from '../world/children.mjs';
import { publicKey } from './crash_tools.mjs';
import { ownCluster } from './own_cluster.mjs';

/** Starts it. `apiFlags`: the API server's. */
export async function countedCluster(world, { title, apiFlags }) {
  const own = await ownCluster(world, { file: title, flags: apiFlags });
  const tap = own.taps.one;
  const { users: [{ user }] } = JSON.parse((await own.cluster.kubectl(['config', 'view', '--raw', '-o', 'json'])).stdout);
  const [cert, key] = ['client-certificate-data', 'client-key-data'].map((part) => Buffer.from(user[part], 'base64'));
  const admin = new Agent({ keepAlive: true, ca: readFileSync(own.cluster.caFile), cert, key });
  const named = () => own.named('one');

  /** The API server's own figures: all that it audited, and what of it it gave up. */
  const figures = () => new Promise((resolve, reject) => {
    request(`${own.cluster.server}/metrics`, { agent: admin }, (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (part) => { text += part; }).on('end', () => {
        const audited = Number(/^apiserver_audit_event_total (\S+)$/m.exec(text)?.[1]);
        const givenUp = [...text.matchAll(/^apiserver_audit_error_total\{plugin="(?:webhook|buffered|truncate)"\} (\S+)$/gm)].reduce((sum, [, count]) => sum + Number(count), 0);
        resolve({ audited, givenUp });
      });
    }).on('error', reject).end();
  });

  return {
    ...own,
    tap,
    figures,
    named,
    /** The entries of these kinds about the API server, with their facts. */
    entries: (...kinds) => own.entries('one', ...kinds),
    /** How many events the API server audited that did not come to the tap, once none is on its way; `ms`: how long it goes on trying. */
    async lostOnTheWay(ms = 4_000) {
      await sleep(ms);
      let least = Infinity;
      for (const since = Date.now(); Date.now() < since + 10_000;) {
        const here = tap.counters().events;
        least = Math.min(least, (await figures()).audited - here);
        await sleep(50);
      }
      return least;
    },
    /** Waits until so many are named as lost, and sees that it stays so. */
    async namesExactly(lost) {
      let now;
      await until(`${lost} lost events to be named`, async () => {
        now = await named();
        return now === lost;
      }, { ms: 120_000, every: 1_000 }).catch((error) => { throw new Error(`${error.message}: it was ${now}`); });
      await sleep(6_000);
      assert.equal(await named(), lost, 'no other is');
    },
    /** What `breakglass verify` says of the store. */
    verify: async () => (await breakglass(['verify', '--key', await publicKey({ broker: { config: own.config } }), own.store], { anyStatus: true })).stdout,
    async stop() {
      admin.destroy();
      await own.stop();
    },
  };
}
