/** What was counted between two instants at which a version was read. `most`: bad ones at the most, where some can be either (requests inside a bucket). */
export type CountedPoll = { readonly beganMs: number; readonly atMs: number; readonly n: number; readonly k: number; readonly most: number };

/** How much of the past is kept. */
const keepMs = 900_000;
const mostKept = 2_000;
/** Newest polls that tell how often a version is read. */
const pollsLookedAt = 20;

/** What was counted of one version, in the order of time. */
export class CountHistory {
  #polls: CountedPoll[] = [];
  #newestMs: number | null = null;

  /** @param polls later than all before */
  add(polls: readonly CountedPoll[]): void {
    this.#polls.push(...polls);
    const last = this.#polls.at(-1);
    if (last === undefined) return;
    this.#newestMs = Math.max(this.#newestMs ?? last.atMs, last.atMs);
    const first = this.#polls.findIndex(({ atMs }) => atMs > last.atMs - keepMs);
    const excess = Math.max(first, this.#polls.length - mostKept);
    if (excess > 0) this.#polls = this.#polls.slice(excess);
  }

  /** When it was last read, ms since 1970; `null`: never. */
  get newestMs(): number | null {
    return this.#newestMs;
  }

  /** A sample without growth of its own (the first of a process). */
  saw(atMs: number): void {
    this.#newestMs = Math.max(this.#newestMs ?? atMs, atMs);
  }

  /** Polls that ended in `(fromMs, toMs]`. */
  between(fromMs: number, toMs: number): readonly CountedPoll[] {
    let first = this.#polls.length;
    while (first > 0 && (this.#polls[first - 1]?.atMs ?? fromMs) > fromMs) first -= 1;
    const later = this.#polls.slice(first);
    return later.at(-1) === undefined || (later.at(-1)?.atMs ?? 0) <= toMs ? later : later.filter(({ atMs }) => atMs <= toMs);
  }

  /** Sums of the polls that ended after `fromMs`. */
  since(fromMs: number): { readonly n: number; readonly k: number; readonly seconds: number } {
    const polls = this.between(fromMs, Number.POSITIVE_INFINITY);
    const [first, last] = [polls[0], polls.at(-1)];
    const seconds = first === undefined || last === undefined ? 0 : (last.atMs - Math.max(fromMs, first.beganMs)) / 1000;
    return { n: polls.reduce((sum, { n }) => sum + n, 0), k: polls.reduce((sum, { k }) => sum + k, 0), seconds };
  }

  /** Typical time between two reads, ms; `null` with fewer than two. */
  typicalGapMs(): number | null {
    const newest = this.#polls.slice(-pollsLookedAt);
    const gaps = newest.slice(1).map(({ atMs }, index) => atMs - (newest[index]?.atMs ?? atMs));
    return gaps.length === 0 ? null : (gaps.toSorted((a, b) => a - b)[Math.floor(gaps.length / 2)] ?? null);
  }
}

/** The same counts in steps of about `stepMs`, so that what was missed for a while is not one great poll. */
export function inSteps(polls: readonly CountedPoll[], stepMs: number): readonly CountedPoll[] {
  const steps: CountedPoll[] = [];
  let open: CountedPoll | null = null;
  for (const poll of polls) {
    open = open === null ? poll : { ...poll, beganMs: open.beganMs, n: open.n + poll.n, k: open.k + poll.k, most: open.most + poll.most };
    if (open.atMs - open.beganMs < 0.75 * stepMs) continue;
    steps.push(open);
    open = null;
  }
  return open === null ? steps : [...steps, open];
}
