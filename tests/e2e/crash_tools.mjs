// What the tests of crashes share.

import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { breakglass, startBroker } from '../world/broker.mjs';
import { until } from '../world/children.mjs';

/** The ledger's public key, from its configuration. */
export const publicKey = async (world) => (await breakglass(['key', world.broker.config])).stdout.trim();

/**
 * A second listener at the tap. With it the tap itself keeps what a broker that is away did not take and tries again
 * within the second; alone, the API server would, ten seconds later at the earliest.
 */
export async function ear(world) {
  const server = createServer((request, response) => {
    request.resume();
    request.on('end', () => response.writeHead(200).end());
  });
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  const name = `ear-${process.pid}`;
  await world.tap.subscribe({ name, url: `http://127.0.0.1:${server.address().port}/`, token: 'ear' });
  return {
    async close() {
      await world.tap.unsubscribe(name);
      server.closeAllConnections();
      await new Promise((resolve) => { server.close(resolve); });
    },
  };
}

/** The points the built program has. */
export async function points() {
  const said = await breakglass(['failpoints'], { anyStatus: true });
  if (said.status !== 0) throw new Error(`the program was built without points: cargo build --all-targets --features failpoints\n${said.stderr}`);
  return said.stdout.split('\n').filter(Boolean);
}

/**
 * A broker that ends itself at the first of `points` it comes to, and is started again without that one, until none
 * is left that it comes to.
 */
export class Mortal {
  static async start(world, list) {
    const mortal = new Mortal();
    const log = `${world.broker.config}.log`;
    // A configuration that was not in force before, so that it is entered at the first start.
    const config = world.broker.config.replace(/yaml$/, 'crash.yaml');
    writeFileSync(config, readFileSync(world.broker.config, 'utf8').replace('Demo cluster', `Demo cluster ${process.pid}`));
    Object.assign(mortal, { env: {}, left: new Set(list), hit: [], over: false, log });
    await mortal.#until(async () => { mortal.broker = await startBroker({ config, env: mortal.env, log }); });
    mortal.watching = mortal.#watch();
    return mortal;
  }

  /** Starts it, again and again while it comes to a point on its way. */
  async #until(start) {
    for (;;) {
      this.env.FAILPOINTS = [...this.left].map((point) => `${point}=return`).join(';');
      try {
        await start();
        return;
      } catch (error) {
        if (!this.#note()) throw error;
      }
    }
  }

  arm() {
    return this.#until(() => this.broker.restart());
  }

  /** It ended itself: strikes the point off. False when it ended otherwise. */
  #note() {
    const last = [...readFileSync(this.log, 'utf8').slice(-20_000).matchAll(/^failpoint (\S+)$/gm)].at(-1)?.[1];
    if (!last || !this.left.delete(last)) return false;
    this.hit.push(last);
    return true;
  }

  async #watch() {
    while (!this.over) {
      if (!this.broker.running) {
        if (!this.#note()) throw new Error(`the broker ended, and at no point:\n${this.broker.log().slice(-2_000)}`);
        await this.arm();
      }
      await sleep(20);
    }
  }

  /** Lets it live. */
  async spare() {
    this.over = true;
    await this.watching;
    this.left.clear();
    await this.arm();
  }

  async stop() {
    this.over = true;
    await this.watching?.catch(() => {});
    await this.broker?.stop();
  }

  /** Resolves when no point was hit for `ms`. */
  quiet(ms = 5_000) {
    let count = -1;
    let since = Date.now();
    return until('no more crashes', () => {
      if (this.hit.length !== count) {
        count = this.hit.length;
        since = Date.now();
      }
      return Date.now() - since > ms;
    }, { ms: 120_000 });
  }
}
