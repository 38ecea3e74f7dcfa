// One emergency, gone through by people who do not give up: each step is done when it is seen to be done, however
// often the broker goes away meanwhile, and is never done twice knowingly.

import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Actor } from '../world/actor.mjs';
import { until } from '../world/children.mjs';
import { Browser } from '../world/http.mjs';

/** What a page says of the state of the thing it is about. */
const stateIn = (text) => /data-state="([^"]+)"/.exec(text)?.[1];

export class Emergency {
  /** `tag`: an incident that no other emergency names. `patience`: ms for each step. */
  constructor(world, { tag, patience = 60_000, target = 'settlement-worker', dir = mkdtempSync(join(tmpdir(), 'emergency-')) }) {
    Object.assign(this, { world, tag, patience, target, dir, people: new Map(), keys: [] });
  }

  /** The person of that id, signed in; again where the session went with a broker. */
  async person(id) {
    if (this.people.get(id)?.page?.status === 401) this.people.delete(id);
    if (!this.people.has(id)) this.people.set(id, await Actor.signedIn(this.world, id));
    return this.people.get(id);
  }

  get actors() { return [...this.people.values()]; }

  /** Everybody who may read something, signed in. */
  async readers() {
    for (const id of ['oncall', 'approver', 'compliance', 'auditor', 'operator']) await this.person(id);
    return this.actors;
  }

  /** Tries until `step` gives something, whatever fails meanwhile. */
  tough(what, step, ms = this.patience) {
    return until(`${this.tag}: ${what}`, step, { ms, every: 150 });
  }

  async page(person, path) {
    return (await (await this.person(person)).open(path)).text;
  }

  /** The request with this emergency's incident, if it was filed. */
  async find() {
    const list = await this.page('oncall', '/requests');
    const ids = [...new Set([...list.matchAll(/\/requests\/([0-9a-f-]{36})/g)].map(([, id]) => id))];
    for (const id of ids) if ((await this.page('oncall', `/requests/${id}`)).includes(this.tag)) return id;
    return undefined;
  }

  filed(options = {}) {
    return this.tough('filed', async () => {
      this.request = await this.find();
      this.request ??= await (await this.person('oncall')).ask({ incident: this.tag, ...options });
      return this.request;
    });
  }

  requestState() {
    return this.page('oncall', `/requests/${this.request}`).then(stateIn);
  }

  approved(options) {
    return this.tough('approved', async () => {
      if (await this.requestState() === 'pending') await (await this.person('approver')).approve(this.request, options);
      if (await this.requestState() !== 'approved') return false;
      this.grant = /\/grants\/([0-9a-f-]{36})/.exec((await this.page('oncall', `/requests/${this.request}`)).split('<main')[1])?.[1];
      return this.grant;
    });
  }

  state() {
    return this.page('oncall', `/grants/${this.grant}`).then(stateIn);
  }

  /** Waits until the grant is in one of these states. */
  is(...states) {
    return this.tough(states.join(' or '), async () => states.includes(await this.state()));
  }

  /** Reveals until a key is shown, and keeps it as a file. */
  key() {
    return this.tough('a key', async () => {
      if (!['ready', 'active'].includes(await this.state())) return false;
      const shown = await (await this.person('oncall')).reveal(this.grant);
      const file = join(this.dir, `${this.grant}-${this.keys.length}.kubeconfig`);
      writeFileSync(file, shown, { mode: 0o600 });
      this.keys.push({ grant: this.grant, file });
      return file;
    });
  }

  kubectl(...args) {
    return this.world.kubectl(args, { kubeconfig: this.keys.at(-1).file, anyStatus: true });
  }

  /** Scales a Deployment of the shop, and waits until that stands on the grant's page. */
  async acted() {
    this.scaleTo ??= await this.world.kubectl(['-n', 'payments', 'get', 'deployment', this.target, '-o', 'jsonpath={.spec.replicas}']).then(({ stdout }) => Number(stdout) + 1);
    await this.tough('the change', async () => (await this.kubectl('-n', 'payments', 'scale', 'deployment', this.target, `--replicas=${this.scaleTo}`)).status === 0);
    await this.tough('the record of it', async () => (await this.page('oncall', `/grants/${this.grant}`)).includes('replicas'));
  }

  /** "I am done". */
  done() {
    return this.tough('the end', async () => {
      if (['ending', 'ended'].includes(await this.state())) return true;
      await (await this.person('oncall')).press(`/grants/${this.grant}/done`);
      return ['ending', 'ended'].includes(await this.state());
    });
  }

  followUpState() {
    return this.tough('the follow-up', async () => {
      this.followUp ??= /\/follow-ups\/([0-9a-f-]{36})/.exec((await this.page('oncall', `/grants/${this.grant}`)).split('<main')[1])?.[1];
      return this.followUp && stateIn(await this.page('oncall', `/follow-ups/${this.followUp}`));
    });
  }

  follows(...states) {
    return this.tough(`the follow-up to be ${states.join(' or ')}`, async () => {
      const state = await this.followUpState();
      return states.includes(state) && state;
    }, this.patience * 2);
  }

  /** The pull request's address, as the follow-up's page links it. */
  async pull() {
    const text = await this.page('oncall', `/follow-ups/${this.followUp}`);
    const address = text.match(new RegExp(`${this.world.forgeAddress.url}/[\\w./-]+/pull/\\d+`))?.[0];
    if (!address) throw new Error('no pull request on the page');
    return address;
  }

  /** Presses a button on the pull request's page as `login`. */
  async atForge(login, action) {
    const browser = new Browser();
    const address = await this.tough('the pull request', () => this.pull());
    await browser.post(`${this.world.forgeAddress.url}/act-as`, { actor: login, back: new URL(address).pathname });
    const page = await browser.post(address, { action });
    if (page.status >= 400) throw new Error(`${action} at the forge: ${page.status}`);
    return page.text;
  }

  /** Somebody else approves and merges. */
  async merged() {
    let reviewed = false;
    return this.tough('the merge', async () => {
      const text = (await new Browser().get(await this.pull())).text;
      if (/Merged by/.test(text)) return true;
      if (!reviewed && !/<strong>second-approver<\/strong>/.test(text)) await this.atForge('second-approver', 'approve');
      reviewed = true;
      if (!/badge success/.test((await new Browser().get(await this.pull())).text)) return false;
      await this.atForge('second-approver', 'merge');
      return false;
    }, this.patience * 2);
  }

  /** The whole way, from the form to the closed follow-up. */
  async through() {
    await this.filed();
    await this.approved();
    await this.key();
    await this.acted();
    await this.done();
    await this.is('ended');
    await this.follows('owed', 'merged', 'converged');
    await this.merged();
    await this.follows('converged');
  }
}
