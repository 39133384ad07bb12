import type { CounterSeries } from '../measurement.ts';
import type { CountedPoll } from './count-history.ts';
import type { Growth } from './series-tracker.ts';

/** A limit so near to a bound means the bound: those of an exponential layout (218.57 ms) are written with three digits. */
const sameBound = 5e-3;

type Sums = { n: number; k: number; most: number };

/** Where growth may be counted from. */
export type Span = {
  /** What began before this instant is another version's, or of before a switch; ms since 1970. */
  readonly sinceMs: number;
  /** Up to where polls were made already: what comes late counts as of now. */
  readonly newestMs: number | null;
};

/** Requests, and failed ones among them: the growth of the series named in `bad`. */
export function pollsOfErrors(growth: readonly Growth[], requests: ReadonlySet<string>, bad: ReadonlySet<string>, span: Span): readonly CountedPoll[] {
  return gather(growth, span, (sums, { series, by }) => {
    if (requests.has(series.key)) sums.n += by;
    if (!bad.has(series.key)) return;
    sums.k += by;
    sums.most += by;
  });
}

/** Which requests count as slow, when a limit lies inside a bucket. */
export type BoundMode = 'conservative' | 'interpolate';

/**
 * Requests, and slow ones among them, from the buckets of a histogram. `k` are those certainly slower than the limit (`conservative`), or as many as Prometheus
 * would see (`interpolate`); `most` are those that may be.
 * @param limit seconds
 */
export function pollsOfLatency(growth: readonly Growth[], limit: number, mode: BoundMode, span: Span): readonly CountedPoll[] {
  const layouts = layoutsOf(growth);
  return gather(growth, span, (sums, { series, by }) => {
    const { le, target } = series;
    if (le === null) return;
    const { above, below } = neighbours(layouts.get(target) ?? [], limit);
    if (le === Number.POSITIVE_INFINITY) {
      sums.n += by;
      // Where no finite bound lies above the limit, no request is certainly slower.
      sums.k += above === null ? 0 : by;
      sums.most += by;
      return;
    }
    const isInside = mode === 'interpolate' && above !== below && above !== null;
    const part = isInside ? (limit - (below ?? 0)) / (above - (below ?? 0)) : 1;
    if (le === above) sums.k -= part * by;
    if (isInside && le === below) sums.k -= (1 - part) * by;
    if (le === below) sums.most -= by;
  });
}

/** The finite bounds that a histogram has next to `limit`: the lowest at or above it, and the highest at or below it; `null`: none. */
export function neighbours(bounds: readonly number[], limit: number): { readonly above: number | null; readonly below: number | null } {
  let above: number | null = null;
  let below: number | null = null;
  for (const bound of bounds) {
    if (!Number.isFinite(bound)) continue;
    if (bound >= limit * (1 - sameBound) && (above === null || bound < above)) above = bound;
    if (bound <= limit * (1 + sameBound) && (below === null || bound > below)) below = bound;
  }
  return { above, below };
}

/** All bounds of some series, each once. */
export function boundsOf(series: Iterable<CounterSeries>): readonly number[] {
  const bounds = new Set<number>();
  for (const { le } of series) if (le !== null) bounds.add(le);
  return [...bounds];
}

function layoutsOf(growth: readonly Growth[]): ReadonlyMap<string | null, readonly number[]> {
  const byTarget = Map.groupBy(growth, ({ series }) => series.target);
  return new Map([...byTarget].map(([target, own]) => [target, boundsOf(own.map(({ series }) => series))]));
}

/** One poll for each instant at which the version was read. */
function gather(growth: readonly Growth[], span: Span, count: (sums: Sums, one: Growth) => void): readonly CountedPoll[] {
  const { sinceMs, newestMs } = span;
  const counted = growth.filter(({ beganMs }) => beganMs >= sinceMs);
  const instants = [...new Set(counted.map(({ atMs }) => atMs))].toSorted((a, b) => a - b);
  const fresh = newestMs === null ? instants : instants.filter((atMs) => atMs > newestMs);
  const [first = newestMs === null ? 0 : newestMs + 1] = fresh;
  const sums = new Map<number, Sums>();
  let began = Number.POSITIVE_INFINITY;
  for (const one of counted) {
    const atMs = Math.max(first, one.atMs);
    began = Math.min(began, one.beganMs);
    let own = sums.get(atMs);
    if (own === undefined) sums.set(atMs, (own = { n: 0, k: 0, most: 0 }));
    count(own, one);
  }
  let beganMs = newestMs ?? began;
  return [...sums]
    .toSorted(([a], [b]) => a - b)
    .map(([atMs, own]) => {
      const poll = { beganMs, atMs, n: own.n, k: clamp(own.k, own.n), most: clamp(own.most, own.n) };
      beganMs = atMs;
      return poll;
    });
}

function clamp(k: number, n: number): number {
  return Math.min(n, Math.max(0, k));
}
