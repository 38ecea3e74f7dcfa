// Is all whole? After whatever was done to the broker, the store, the cluster, the forge and the mail must agree,
// and everything must have come about by entries of the ledger.

import assert from 'node:assert/strict';
import { until } from '../world/children.mjs';
import { collect } from './facts.mjs';
import { leaks } from './leaks.mjs';
import { moves, unrecorded } from './replay.mjs';

const label = 'breakglass/grant';
/** A job may be late by this much before it counts as stuck. */
const late = 15_000;
const closed = new Set(['converged', 'reverted', 'waived', 'no drift']);

const of = (facts, table) => facts.store.tables[table] ?? [];
const documents = (facts, table) => of(facts, table).map((row) => row.document);
const name = (object) => `${object.kind} ${object.metadata.namespace ? `${object.metadata.namespace}/` : ''}${object.metadata.name}`;

/** Each rule: the facts → what is wrong, in words. */
export const rules = {
  /** Nothing in the grants' namespace, and no binding anywhere, that does not belong to a live grant. */
  objects(facts) {
    const live = new Map(documents(facts, 'grants').filter((grant) => grant.state !== 'ended').map((grant) => [grant.id, grant]));
    const wrong = [];
    for (const object of facts.cluster.objects) {
      const own = live.get(object.metadata.labels?.[label]);
      const { kind, metadata } = object;
      if (kind === 'ConfigMap' && metadata.name === 'kube-root-ca.crt') continue;
      if (kind === 'ServiceAccount' && metadata.name === 'default') continue;
      if (kind === 'Role' && metadata.labels?.[label] === undefined && metadata.name === 'breakglass-broker') continue;
      // The broker's own account without rights, and its Secret, while it tries the audit policy.
      if (metadata.name === 'breakglass-audit-probe' && metadata.labels?.[label] === 'audit-probe' && ['ServiceAccount', 'Secret'].includes(kind)) wrong.push(`transient: ${name(object)} is there`);
      else if (!own) wrong.push(`${name(object)} is there without a live grant`);
      else if (kind === 'ServiceAccount' && metadata.name !== own.account) wrong.push(`${name(object)} is not the account of grant ${own.id}`);
      else if (kind === 'Secret') {
        const reveal = own.reveals.find((one) => one.secret_name === metadata.name);
        if (!reveal || reveal.over_at) wrong.push(`${name(object)} outlived its reveal`);
      } else if (kind !== 'ServiceAccount') wrong.push(`${name(object)} has no business in the grants' namespace`);
    }
    for (const binding of facts.cluster.bindings) {
      const subjects = (binding.subjects ?? []).filter((one) => one.namespace === 'breakglass-grants' || /^system:serviceaccounts?:breakglass-grants/.test(one.name));
      if (!subjects.length && !binding.metadata.labels?.[label]) continue;
      const own = live.get(binding.metadata.labels?.[label]);
      if (!own || subjects.some((one) => one.name !== own.account)) wrong.push(`${name(binding)} names ${subjects.map((one) => one.name).join(', ') || 'a grant'} without a live grant`);
    }
    for (const grant of live.values()) {
      const accounts = facts.cluster.objects.filter((one) => one.kind === 'ServiceAccount' && one.metadata.labels?.[label] === grant.id);
      if (['ready', 'issuing', 'active'].includes(grant.state) && accounts.length !== 1) wrong.push(`grant ${grant.id} is ${grant.state} with ${accounts.length} ServiceAccounts`);
    }
    return wrong;
  },

  /** A credential lives only while its grant does, and only until another reveal replaced it. */
  credentials(facts) {
    const grants = new Map(documents(facts, 'grants').map((grant) => [grant.id, grant]));
    return facts.credentials.flatMap(({ grant: id, reveal, what, status }) => {
      const grant = grants.get(id);
      const over = grant?.state === 'ended' || grant?.reveals.find((one) => one.id === reveal)?.over_at;
      return over && status !== 'dead' ? [`${what} of grant ${id} is ${status}, and the grant ${grant.state}`] : [];
    });
  },

  states: (facts) => unrecorded(facts.store),

  ledger: ({ ledger }) => (ledger.status === 0 ? [] : [`breakglass verify: ${ledger.text}`]),

  /** One pull request an emergency, one check run of ours a commit. */
  forge(facts) {
    const wrong = [];
    const ours = facts.forge.pulls.filter((pull) => pull.head.startsWith('breakglass/'));
    for (const follow of documents(facts, 'follow_ups')) {
      const found = ours.filter((pull) => pull.head === `breakglass/${follow.grant}`);
      if (found.length > 1) wrong.push(`grant ${follow.grant} has ${found.length} pull requests`);
      if (follow.pull && !found.some((pull) => pull.number === follow.pull.number)) wrong.push(`follow-up ${follow.id} names pull request #${follow.pull.number}, which is not its own`);
      if (!follow.pull && follow.state !== 'capturing' && found.length) wrong.push(`pull request #${found[0].number} is not in follow-up ${follow.id}`);
    }
    const known = new Set(documents(facts, 'grants').map((grant) => `breakglass/${grant.id}`));
    for (const pull of ours) if (!known.has(pull.head)) wrong.push(`pull request #${pull.number} belongs to no grant`);
    const runs = new Map();
    for (const check of facts.forge.checks) {
      const key = `${check.name} on ${check.sha}`;
      runs.set(key, (runs.get(key) ?? 0) + 1);
    }
    for (const [key, count] of runs) if (count > 1) wrong.push(`check ${key} was made ${count} times`);
    return wrong;
  },

  /** Each state that people are told of was told once, on every channel; a letter that came twice is the same letter. */
  notices(facts) {
    const wrong = [];
    const told = new Map();
    for (const notice of documents(facts, 'notices')) {
      const key = `${notice.event} ${notice.grant && !notice.event.startsWith('request.') ? notice.grant : notice.request}`;
      told.set(key, (told.get(key) ?? 0) + 1);
    }
    const events = {
      'request pending': 'request.filed', 'request approved': 'request.approved', 'request denied': 'request.denied', 'request withdrawn': 'request.withdrawn', 'request lapsed': 'request.lapsed',
      'grant ready': 'grant.ready', 'grant active': 'grant.active', 'grant ending': 'grant.ending', 'grant ended': 'grant.ended',
      'follow-up no drift': 'follow-up.no-drift', 'follow-up owed': 'follow-up.owed', 'follow-up merged': 'follow-up.merged', 'follow-up converged': 'follow-up.converged', 'follow-up rejected': 'follow-up.rejected', 'follow-up reverted': 'follow-up.reverted',
    };
    const due = new Map();
    for (const move of moves(facts.store)) {
      const event = move.kind === 'first-change' ? 'grant.first-change' : events[`${move.what} ${move.to}`];
      // A failed reveal goes back to active, and tells compliance of the failure instead.
      if (!event || (move.from === move.to && move.kind !== 'first-change') || (event === 'grant.active' && move.kind !== 'grant-active') || (event === 'grant.ready' && move.kind !== 'grant-ready')) continue;
      const key = `${event} ${move.what === 'request' ? move.id : move.about.grant}`;
      due.set(key, (due.get(key) ?? 0) + 1);
    }
    for (const [key, count] of due) if ((told.get(key) ?? 0) !== count) wrong.push(`${key}: due ${count} times, told ${told.get(key) ?? 0} times`);
    const known = new Set(documents(facts, 'notices').map((notice) => notice.id));
    for (const letter of facts.letters) {
      const id = /^<([0-9a-f-]{36})@/.exec(letter.headers['message-id'] ?? '')?.[1];
      if (!known.has(id)) wrong.push(`a letter to ${letter.to} has no notice: ${letter.subject}`);
    }
    for (const delivery of documents(facts, 'deliveries')) {
      if (!delivery.delivered_at && !delivery.undeliverable) wrong.push(`transient: notice ${delivery.notice} did not reach ${delivery.channel} yet`);
    }
    return wrong;
  },

  /** What is not at its end has a job that leads it there; what is has none; no job waits for nobody. */
  jobs(facts) {
    const wrong = [];
    const keys = new Set(of(facts, 'jobs').map((row) => row.key));
    const needs = (key, why) => { if (!keys.has(key)) wrong.push(`a job is lost: ${key}, although ${why}`); };
    const idle = (key, why) => { if (keys.has(key)) wrong.push(`transient: job ${key} waits, although ${why}`); };
    for (const grant of documents(facts, 'grants')) {
      const why = `the grant is ${grant.state}`;
      (grant.state === 'provisioning' ? needs : idle)(`provision ${grant.id}`, why);
      (grant.state === 'ending' ? needs : idle)(`end ${grant.id}`, why);
      const revealing = grant.reveals.at(-1);
      if (grant.state === 'issuing') needs(`abandon ${grant.id} ${revealing.id}`, why);
    }
    for (const follow of documents(facts, 'follow_ups')) {
      const why = `the follow-up is ${follow.state}`;
      (follow.state === 'capturing' ? needs : idle)(`capture ${follow.id}`, why);
      if (['owed', 'merged', 'rejected'].includes(follow.state)) needs(`follow ${follow.id}`, why);
      if (closed.has(follow.state)) idle(`follow ${follow.id}`, why);
    }
    for (const delivery of documents(facts, 'deliveries')) {
      const key = `deliver ${delivery.notice} ${delivery.channel}`;
      if (delivery.delivered_at) idle(key, 'it was delivered');
    }
    for (const row of of(facts, 'jobs')) {
      if (row.due < facts.now - late && row.leased_until < facts.now) wrong.push(`transient: job ${row.key} is due since ${Math.round((facts.now - row.due) / 1000)} s and nobody works on it`);
      if (row.leased_until && row.leased_until < facts.now) wrong.push(`transient: the lease of job ${row.key} ran out`);
    }
    return wrong;
  },
};

/** Every rule's findings: `[{rule, what}]`. `some`: only these rules. */
export function violations(facts, some = Object.keys(rules)) {
  return some.flatMap((rule) => rules[rule](facts).map((what) => ({ rule, what })));
}

/**
 * Asserts that all is whole. What is only late may still come, for `ms`. `keys`: `[{grant, file}]` that were shown;
 * `actors`: signed-in people, whose sessions are secrets and whose pages are looked through.
 */
export async function assertWhole(world, { keys = [], actors = [], ms = 45_000 } = {}) {
  let found;
  let facts;
  const settled = async () => {
    facts = await collect(world, { keys });
    found = violations(facts);
    return !found.length || !found.some(({ what }) => /^transient: |a job is lost|due \d+ times/.test(what));
  };
  await until('all to be whole', settled, { ms, every: 1_000 }).catch((error) => { if (!facts) throw error; });
  const leaked = await leaks(world, facts, { keys, actors });
  assert.deepEqual([...found.map(({ rule, what }) => `${rule}: ${what}`), ...leaked], []);
  return facts;
}
