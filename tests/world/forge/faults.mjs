// The switch of faults: what a real forge does on a bad day, for one operation, a number of times.
//
//   bad-gateway         502, nothing applied
//   applied-bad-gateway 502, but the write was applied
//   lost                the write is applied and the connection cut before the answer
//   rate-limit          403 "secondary rate limit" with retry-after, nothing applied
//   hang                no answer at all, nothing applied
//   refuse              the connection is cut before anything is read
export const KINDS = ['bad-gateway', 'applied-bad-gateway', 'lost', 'rate-limit', 'hang', 'refuse'];

export class Faults {
  /** Requests and answers GitHub's description refused: always a bug, in the stand-in or its caller. */
  violations = [];
  /** Operation ids in the order they were served, writes and reads. */
  calls = [];
  #armed = [];

  /** Arms `kind` for the next `times` requests of `operation` (GitHub's operation id, or `*`), of one repository's or of every one. */
  arm({ operation, kind, times = 1, retryAfter = 1, repo = null }) {
    if (!KINDS.includes(kind)) throw new Error(`unknown fault ${kind}; known: ${KINDS.join(', ')}`);
    this.#armed.push({ operation, kind, times, retryAfter, repo });
  }

  clear() { this.#armed = []; this.calls = []; }

  take(operation, repo) {
    const fault = this.#armed.find((armed) => armed.times > 0 && (armed.operation === '*' || armed.operation === operation) && (armed.repo === null || armed.repo === repo));
    if (!fault) return null;
    fault.times -= 1;
    return fault;
  }
}
