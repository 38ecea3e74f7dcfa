// The states of requests, grants and follow-ups, told again from the ledger's entries alone.

/** What each kind of entry may move, as `thing from>to`; `*` for any state. */
const ways = {
  'request-filed': ['request >pending'],
  'approval-given': ['request pending>pending'],
  'request-approved': ['request pending>approved', 'grant >provisioning', 'grant *>='],
  'request-denied': ['request pending>denied'],
  'request-withdrawn': ['request pending>withdrawn'],
  'request-lapsed': ['request pending>lapsed'],
  'grant-ready': ['grant provisioning>ready'],
  'reveal-started': ['grant ready>issuing', 'grant active>issuing'],
  'credential-issued': ['grant issuing>issuing'],
  'grant-active': ['grant issuing>active'],
  'reveal-failed': ['grant issuing>ready', 'grant issuing>active'],
  'grant-shortened': ['grant active>active', 'grant issuing>issuing'],
  'grant-ending': ['grant provisioning>ending', 'grant ready>ending', 'grant issuing>ending', 'grant active>ending', 'grant ending>ending'],
  'ending-stuck': ['grant ending>ending'],
  'access-refused': ['grant ending>ending'],
  'credential-removed': ['grant ending>ending'],
  'grant-ended': ['grant ending>ended', 'follow-up >capturing'],
  'first-change': ['grant *>='],
  'follow-up-capturing': ['follow-up *>capturing'],
  'follow-up-no-drift': ['follow-up capturing>no drift'],
  'follow-up-owed': ['follow-up capturing>owed', 'follow-up rejected>owed', 'follow-up *>='],
  'follow-up-merged': ['follow-up owed>merged', 'follow-up rejected>merged', 'follow-up merged>merged'],
  'follow-up-converged': ['follow-up merged>converged', 'follow-up owed>converged'],
  'follow-up-rejected': ['follow-up owed>rejected', 'follow-up rejected>rejected'],
  'revert-chosen': ['follow-up rejected>rejected'],
  'follow-up-reverted': ['follow-up rejected>reverted'],
  'follow-up-waived': ['follow-up *>waived'],
  'manual-item-done': ['follow-up *>='],
  'manual-item-accepted': ['follow-up *>='],
  'deadline-due-soon': ['follow-up *>='],
  'deadline-breached': ['follow-up *>='],
  reviewed: ['follow-up *>='],
  'clock-set-back': ['request pending>pending', 'grant *>=', 'follow-up *>='],
};

/** Every move in the order it was entered: `{what, id, from, to, version, kind, entry, about}`. */
export const moves = ({ entries }) => entries.flatMap(({ entry, kind, payload }) => (payload?.moves ?? []).map((move) => ({ ...move, kind, entry, about: payload.about })));

function allowed({ what, from, to, kind }) {
  return (ways[kind] ?? []).some((way) => {
    const [thing, before, after] = /^(\S+) (.*)>(.*)$/.exec(way).slice(1);
    return thing === what && (before === '*' ? from !== undefined : before === (from ?? '')) && (after === '=' ? from === to : after === to);
  });
}

/** Where the stored states are not what the entries say. */
export function unrecorded(store) {
  const wrong = [];
  const now = new Map();
  for (const move of moves(store)) {
    const key = `${move.what} ${move.id}`;
    const before = now.get(key);
    const said = `entry ${move.entry} (${move.kind}) moves ${key} from ${move.from ?? 'nothing'} to ${move.to}`;
    if (before?.to !== move.from) wrong.push(`${said}, but it was ${before?.to ?? 'not there'}`);
    if (move.version !== (before ? before.version + 1 : 0)) wrong.push(`${said} as version ${move.version}, after version ${before?.version ?? 'none'}`);
    if (!allowed(move)) wrong.push(`${said}, which that kind of entry never does`);
    now.set(key, move);
  }
  for (const [table, what] of [['requests', 'request'], ['grants', 'grant'], ['follow_ups', 'follow-up']]) {
    for (const { id, state, version, document } of store.tables[table] ?? []) {
      const said = now.get(`${what} ${id}`);
      now.delete(`${what} ${id}`);
      if (!said) wrong.push(`${what} ${id} is ${state}, and no entry made it`);
      else if (said.to !== state || said.version !== version) wrong.push(`${what} ${id} is ${state} (version ${version}), and the entries say ${said.to} (version ${said.version})`);
      const inside = typeof document.state === 'object' ? Object.keys(document.state)[0] : document.state;
      if (what !== 'request' && inside?.replaceAll('_', ' ') !== state) wrong.push(`${what} ${id} is ${state} in its column and ${inside} in its document`);
    }
  }
  for (const key of now.keys()) wrong.push(`${key} is in the entries and not in the store`);
  return wrong;
}
