// Webhooks as GitHub sends them: signed over the raw bytes, answered within 10 s or given up, never repeated.
import { createHmac, randomUUID } from 'node:crypto';

export class Webhooks {
  /** The last deliveries, newest last: {id, event, status, error, body}. */
  deliveries = [];
  #chain = Promise.resolve();

  constructor(forge) { this.forge = forge; }

  send(event, payload) {
    const { repoWebhooks, webhook } = this.forge.state.data;
    const hook = repoWebhooks?.[payload.repository.name] ?? webhook;
    if (!hook) return;
    const { installationId } = this.forge.state.data;
    const body = JSON.stringify({ ...payload, installation: { id: installationId, node_id: Buffer.from(String(installationId)).toString('base64url') } });
    this.#post({ id: randomUUID(), event, body, hook });
  }

  /** Sends a delivery again, under its own id, as GitHub's redelivery does. */
  redeliver(id) {
    const delivery = this.deliveries.find((d) => d.id === id);
    if (!delivery) throw new Error(`no delivery ${id}`);
    return this.#post({ id, event: delivery.event, body: delivery.body, hook: delivery.hook });
  }

  settled() { return this.#chain; }

  #post({ id, event, body, hook }) {
    const entry = { id, event, body, hook, status: null, error: null };
    this.deliveries.push(entry);
    if (this.deliveries.length > 500) this.deliveries.shift();
    this.#chain = this.#chain.then(async () => {
      try {
        const answer = await fetch(hook.url, {
          method: 'POST', body, redirect: 'manual', signal: AbortSignal.timeout(10_000),
          headers: {
            'content-type': 'application/json', 'user-agent': 'GitHub-Hookshot/stand-in', 'x-github-event': event, 'x-github-delivery': id,
            'x-hub-signature-256': `sha256=${createHmac('sha256', hook.secret).update(body).digest('hex')}`,
          },
        });
        entry.status = answer.status;
        await answer.arrayBuffer();
      } catch (error) {
        entry.error = String(error.cause ?? error);
      }
    });
    return this.#chain;
  }
}
