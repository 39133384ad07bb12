import { chooseBaseline } from '../baseline.ts';
import type { BurstinessState } from '../detect/burstiness.ts';
import type { CounterSeries, Counters, SequentialReading } from '../measurement.ts';
import { histogramQuantile } from '../prometheus-functions.ts';
import type { SequentialCondition } from '../rule.ts';
import { type CountedPoll, CountHistory } from './count-history.ts';
import { boundsOf, neighbours, pollsOfErrors, pollsOfLatency, type Span } from './count-polls.ts';
import { type Growth, longestLeadMs, SeriesTracker } from './series-tracker.ts';
import { allowedShare, type SequentialState, VersionWatch, type WatchOptions } from './version-watch.ts';

/** What is known of a version when it is read. */
export type VersionSeen = {
  readonly version: string;
  readonly counters: Counters;
  /** What the journal remembers of it; used once. */
  readonly state: SequentialState | null;
  /** Last time that was switched to it, or away from it: evidence from before counts no more. ms since 1970; `null`: never. */
  readonly switchedMs: number | null;
  readonly isKnownGood: boolean;
  readonly firstSeenMs: number | null;
};

export type RuleWatchOptions = {
  readonly condition: SequentialCondition;
  readonly forMs: number;
  readonly intervalMs: number;
  /** Rules of the model among which the false alarms are shared. */
  readonly sharers: number;
  /** How much of the past that a first reading shows is evidence, ms; what lies before tells how bursty the service is. Default: 5 minutes. */
  readonly evidenceMs?: number;
};

const defaultEvidenceMs = 300_000;
/** A version that had no request for so long has no traffic. */
const trafficMs = 300_000;
/** Shown beside a verdict that is no breach. */
const recentMs = 120_000;
/** A version that was not seen for so long is forgotten. */
const forgetMs = 3_600_000;
/** Another version that has not been read for so many polls is not waited for. */
const pollsWaited = 4;
const histogramHalfLifeMs = 600_000;

type Known = { history: CountHistory; watch: VersionWatch | null; seenMs: number; histogram: Map<number, number>; histogramMs: number };

/** Follows all versions of one rule: counts their series, feeds a detector for each, and says how they stand. Pure: time and samples come in. */
export class RuleWatch {
  #options: RuleWatchOptions;
  readonly #tracker = new SeriesTracker();
  readonly #versions = new Map<string, Known>();
  /** Where latencies are compared, seconds. */
  #boundSeconds: number | null = null;
  #readMs: number | null = null;

  constructor(options: RuleWatchOptions) {
    this.#options = options;
  }

  /** When it last read; ms since 1970, `null`: never. */
  get readMs(): number | null {
    return this.#readMs;
  }

  /** The rule as it is now; what was seen stays. */
  adopt(options: RuleWatchOptions): void {
    this.#options = options;
  }

  /** Counts what is new for all versions, then judges each. @param seen versions that were measured, whole and without error */
  read(seen: readonly VersionSeen[], nowMs: number): ReadonlyMap<string, SequentialReading> {
    this.#readMs = nowMs;
    this.#noticeSetback(nowMs);
    this.#noticeNewcomer(seen);
    const growth = Map.groupBy(
      this.#tracker.take(
        seen.flatMap(({ counters }) => counted(counters)),
        nowMs,
      ),
      ({ series }) => series.key,
    );
    for (const one of seen) this.#count(one, growth, nowMs);
    for (const [version, { seenMs }] of this.#versions) if (nowMs - seenMs > forgetMs) this.#versions.delete(version);
    for (const one of seen) this.#follow(one, seen);
    return new Map(seen.map((one) => [one.version, this.#read(one, seen, nowMs)]));
  }

  /** Samples that lie ahead were read before a clock was set back: what comes now would be taken for old. */
  #noticeSetback(nowMs: number): void {
    if (![...this.#versions.values()].some(({ history }) => (history.newestMs ?? nowMs) > nowMs + longestLeadMs)) return;
    this.#versions.clear();
  }

  /** With a new version the comparison of latencies begins anew, at the bound that the baseline keeps to now. */
  #noticeNewcomer(seen: readonly VersionSeen[]): void {
    const isNew = seen.some(
      ({ version, state, counters }) => state === null && counters.total.length > 0 && (this.#versions.get(version)?.history.newestMs ?? null) === null,
    );
    if (!isNew || this.#boundSeconds === null) return;
    this.#boundSeconds = null;
    for (const known of this.#versions.values()) Object.assign(known, { history: new CountHistory(), watch: null });
  }

  /** What the journal should have of a version now, or all there is; `null`: nothing (new). */
  stateOf(version: string, nowMs: number, which: 'worth writing' | 'all'): SequentialState | null {
    const watch = this.#versions.get(version)?.watch ?? null;
    if (watch === null) return null;
    return (which === 'all' ? watch.result !== null : watch.isWorthWriting(nowMs)) ? watch.state(nowMs) : null;
  }

  /** The longest typical time between two reads of a version, ms. */
  typicalGapMs(): number {
    return Math.max(0, ...[...this.#versions.values()].map(({ history }) => history.typicalGapMs() ?? 0));
  }

  #count({ version, counters, switchedMs, state }: VersionSeen, growth: ReadonlyMap<string, readonly Growth[]>, nowMs: number): void {
    if (!this.#versions.has(version)) this.#boundSeconds ??= state?.boundSeconds ?? null;
    const known = this.#versionAt(version, nowMs);
    const own = counted(counters).flatMap(({ key }) => growth.get(key) ?? []);
    const { history } = known;
    const span: Span = { sinceMs: Math.max(counters.sinceMs ?? Number.NEGATIVE_INFINITY, switchedMs ?? Number.NEGATIVE_INFINITY), newestMs: history.newestMs };
    history.add(this.#polls(counters, own, known, span, nowMs));
    for (const { points } of counters.total) {
      const last = points.findLast(({ atMs }) => atMs - nowMs <= longestLeadMs);
      if (last !== undefined && (own.length === 0 || history.newestMs === null)) history.saw(last.atMs);
    }
  }

  #polls(counters: Counters, own: readonly Growth[], known: Known, span: Span, nowMs: number): readonly CountedPoll[] {
    const { of, limit } = this.#options.condition;
    if (of.kind === 'error_ratio') return pollsOfErrors(own, keysOf(counters.total), keysOf(counters.bad), span);
    if (limit.op === 'above') return pollsOfLatency(own, limit.value, of.bound, span);
    addToHistogram(known, own, nowMs);
    return this.#boundSeconds === null ? [] : pollsOfLatency(own, this.#boundSeconds, of.bound, span);
  }

  #versionAt(version: string, nowMs: number): Known {
    let known = this.#versions.get(version);
    if (known === undefined)
      this.#versions.set(version, (known = { history: new CountHistory(), watch: null, seenMs: nowMs, histogram: new Map(), histogramMs: nowMs }));
    known.seenMs = nowMs;
    return known;
  }

  #follow(one: VersionSeen, seen: readonly VersionSeen[]): void {
    const known = this.#versions.get(one.version);
    const baseline = this.#baselineOf(one, seen);
    if (known === undefined) return;
    this.#chooseBound(baseline);
    if (known.history.newestMs === null || this.#isWithoutBound()) return;
    const begunMs = Math.max(one.switchedMs ?? 0, one.counters.sinceMs ?? 0);
    const watch = this.#watchOf(one, known, begunMs);
    if (begunMs > watch.begunMs) watch.reset(begunMs);
    watch.feed(known.history, baseline === null ? null : (this.#versions.get(baseline)?.history ?? null));
  }

  /** Made when the version is first read, and again when the rule has changed. */
  #watchOf(one: VersionSeen, known: Known, begunMs: number): VersionWatch {
    const { condition, forMs, intervalMs, sharers, evidenceMs = defaultEvidenceMs } = this.#options;
    const pollSeconds = known.watch?.options.pollSeconds ?? one.state?.pollSeconds ?? Math.max(intervalMs, known.history.typicalGapMs() ?? 0) / 1000;
    const options: WatchOptions = { condition, forMs, alpha: condition.alpha / sharers, pollSeconds, boundSeconds: this.#boundSeconds };
    if (known.watch !== null && isSame(known.watch.options, options)) return known.watch;
    const newestMs = known.history.newestMs ?? 0;
    const state = known.watch?.state(newestMs) ?? one.state;
    const fromMs = Math.max(begunMs, newestMs - evidenceMs);
    const watch = new VersionWatch(options, { state, burstiness: this.#burstinessBeside(one.version), fromMs, newestMs });
    if (state === null) watch.calibrate(known.history.between(Number.NEGATIVE_INFINITY, fromMs));
    known.watch = watch;
    return watch;
  }

  /** A newcomer is taken to be as bursty as the version before it. */
  #burstinessBeside(version: string): BurstinessState | null {
    const others = [...this.#versions].filter(([id, { watch }]) => id !== version && watch !== null);
    const [busiest] = others.toSorted(([, a], [, b]) => b.history.since(0).n - a.history.since(0).n);
    return busiest?.[1].watch?.burstiness() ?? null;
  }

  #baselineOf(one: VersionSeen, seen: readonly VersionSeen[]): string | null {
    if (this.#options.condition.limit.op !== 'above_baseline') return null;
    const candidates = seen
      .filter(({ version }) => version !== one.version)
      .map((other) => {
        const known = this.#versions.get(other.version);
        const requests = Math.max(known?.history.since(0).n ?? 0, known?.histogram.get(Number.POSITIVE_INFINITY) ?? 0);
        return { ...other, measurement: { requests, errors: null, buckets: null, value: null, newestMs: null, windowMs: 0, error: null } };
      });
    return chooseBaseline({ others: candidates, isKnownGood: one.isKnownGood, firstSeenMs: one.firstSeenMs })?.version ?? null;
  }

  #isWithoutBound(): boolean {
    const { of, limit } = this.#options.condition;
    return of.kind === 'latency' && limit.op === 'above_baseline' && this.#boundSeconds === null;
  }

  /** Latencies are compared at one bound: the lowest at or above what the rule allows beside the baseline's quantile when the comparison begins. */
  #chooseBound(baseline: string | null): void {
    const { of, limit } = this.#options.condition;
    const histogram = baseline === null ? undefined : this.#versions.get(baseline)?.histogram;
    if (!this.#isWithoutBound() || of.kind !== 'latency' || limit.op !== 'above_baseline' || histogram === undefined) return;
    const requests = histogram.get(Number.POSITIVE_INFINITY) ?? 0;
    if (requests < Math.max(100, 10 / (1 - of.quantile))) return;
    const allowed = Math.max(limit.times * histogramQuantile(of.quantile, histogram) + limit.byAtLeast, limit.andAbove);
    this.#boundSeconds = neighbours([...histogram.keys()], allowed).above;
  }

  #read(one: VersionSeen, seen: readonly VersionSeen[], nowMs: number): SequentialReading {
    const known = this.#versionAt(one.version, nowMs);
    const { history, watch } = known;
    const { condition, sharers } = this.#options;
    const result = watch?.result ?? null;
    const sinceMs = result === null || watch === null ? null : watch.uptoMs - result.sinceSeconds * 1000;
    const baseline = this.#baselineOf(one, seen);
    const others = condition.limit.op === 'above' && result !== null && sinceMs !== null ? this.#others(one, seen, { ...result, sinceMs }) : [];
    const standing = watch?.standingAt(history.newestMs ?? watch.uptoMs) ?? 'open';
    const waitsFor = watch !== null && standing === 'breach' && !watch.isReleased ? (others.find(({ isBehind }) => isBehind)?.version ?? null) : null;
    if (watch !== null && standing === 'breach' && waitsFor === null) watch.release();
    const fallback = known.history.typicalGapMs() ?? this.#options.intervalMs;
    return {
      standing,
      heldBy: result?.heldBy ?? null,
      waitsFor,
      newestMs: history.newestMs,
      pollMs: watch === null ? fallback : watch.options.pollSeconds * 1000,
      evidence: result?.evidence ?? 0,
      okEvidence: result?.okEvidence ?? 0,
      isSevere: result?.isSevere ?? false,
      sinceMs,
      // Means over possible begins: nobody can check fractions of requests.
      requests: Math.round(result?.requests ?? 0),
      bad: Math.round(result?.bad ?? 0),
      recent: history.since((history.newestMs ?? nowMs) - recentMs),
      baseline:
        baseline === null ? null : { version: baseline, ...(this.#versions.get(baseline)?.history.since(sinceMs ?? nowMs - recentMs) ?? { n: 0, k: 0 }) },
      boundSeconds: this.#boundOf(one.counters),
      sharers,
      others: others.map(({ version, n, k, isAlike }) => ({ version, n, k, isAlike })),
    };
  }

  /** The bound from which on requests are counted as slow; Infinity: none is high enough, `null`: not known yet, or no latency. */
  #boundOf(counters: Counters): number | null {
    const { of, limit } = this.#options.condition;
    if (of.kind !== 'latency') return null;
    if (limit.op === 'above_baseline') return this.#boundSeconds;
    if (of.bound === 'interpolate') return limit.value;
    return neighbours(boundsOf(counters.total), limit.value).above;
  }

  /** Whether the other versions show the same since the estimated start: what they counted fits this version's rate better than the limit. */
  #others(one: VersionSeen, seen: readonly VersionSeen[], found: { readonly bad: number; readonly requests: number; readonly sinceMs: number }) {
    const limit = allowedShare(this.#options.condition);
    const rate = Math.min(1 - 1e-6, found.bad / Math.max(1e-9, found.requests));
    const own = this.#versions.get(one.version);
    const stepMs = (own?.watch?.options.pollSeconds ?? 1) * 1000;
    const newestMs = own?.history.newestMs ?? 0;
    return seen.flatMap(({ version }) => {
      const history = version === one.version ? undefined : this.#versions.get(version)?.history;
      if (history === undefined || history.newestMs === null || history.since(newestMs - pollsWaited * stepMs - trafficMs).n <= 0) return [];
      const { n, k } = history.since(found.sinceMs);
      const behindMs = newestMs - history.newestMs;
      const fit = rate > limit ? k * Math.log(rate / limit) + (n - k) * Math.log((1 - rate) / (1 - limit)) : 0;
      return [{ version, n, k, isAlike: n > 0 && fit > 0, isBehind: behindMs > stepMs / 2 && behindMs <= pollsWaited * stepMs }];
    });
  }
}

/** Series that carry the counts: a failed request is told by its key when the counter is that of all requests. */
function counted({ total, bad }: Counters): readonly CounterSeries[] {
  const keys = keysOf(total);
  return [...total, ...bad.filter(({ key }) => !keys.has(key))];
}

function keysOf(series: readonly CounterSeries[]): ReadonlySet<string> {
  return new Set(series.map(({ key }) => key));
}

function addToHistogram(known: Known, own: readonly Growth[], nowMs: number): void {
  const decay = 0.5 ** (Math.max(0, nowMs - known.histogramMs) / histogramHalfLifeMs);
  known.histogramMs = nowMs;
  for (const [bound, count] of known.histogram) known.histogram.set(bound, count * decay);
  for (const { series, by } of own) if (series.le !== null) known.histogram.set(series.le, (known.histogram.get(series.le) ?? 0) + by);
}

function isSame(a: WatchOptions, b: WatchOptions): boolean {
  return a.condition === b.condition && a.forMs === b.forMs && a.alpha === b.alpha && a.boundSeconds === b.boundSeconds;
}
