import type { Matcher } from './model.ts';
import type { Sample } from './prometheus-functions.ts';

/** Which number is asked for. */
export type Question = {
  /** Unique in one `ask`. */
  readonly id: string;
  /**
   * `increase`: growth of a counter over the window. `buckets`: the same per bucket bound (`le`) of a classic histogram. `newest`: time of the newest sample.
   * `gauge`: the mean of the newest samples of all its series. `samples`: the raw samples of each series, for those who count themselves.
   */
  readonly kind: 'increase' | 'buckets' | 'newest' | 'gauge' | 'samples';
  /** Full series name (for `buckets` with its `_bucket`). */
  readonly metric: string;
  readonly matchers: readonly Matcher[];
  /** ms; for `newest` and `gauge` how far back a sample still counts. */
  readonly windowMs: number;
  /** Label that names the version, or `null`: one group of all series, reported under version ''. */
  readonly versionLabel: string | null;
};

/** What a registry has of some versions. */
export type QualityQuestion = {
  readonly id: string;
  /** Name of the model in the registry. */
  readonly model: string;
  readonly metric: string;
  /** Versions asked about, by their names in the registry. */
  readonly versions: readonly string[];
};

/** One PromQL expression, asked as it is written. */
export type ExprQuestion = { readonly id: string; readonly expr: string };

/** The answer to one question, per version as the metrics name it. */
export type Answer =
  | { readonly kind: 'increase'; readonly byVersion: ReadonlyMap<string, number> }
  | { readonly kind: 'buckets'; readonly byVersion: ReadonlyMap<string, ReadonlyMap<number, number>> }
  /** ms since 1970. */
  | { readonly kind: 'newest'; readonly byVersion: ReadonlyMap<string, number> }
  | { readonly kind: 'gauge'; readonly byVersion: ReadonlyMap<string, number> }
  | { readonly kind: 'samples'; readonly byVersion: ReadonlyMap<string, readonly CounterSeries[]> }
  /** Per version of the registry; a version without the metric is not in it. `note`: where it was measured, or why there is no number. */
  | { readonly kind: 'quality'; readonly values: ReadonlyMap<string, QualityValue> }
  /** An element of a vector: one version in breach with its value. */
  | { readonly kind: 'expr'; readonly elements: readonly { readonly labels: Readonly<Record<string, string>>; readonly value: number }[] }
  /** The source failed, was partial, or warned: nothing may be concluded. `reason` is fit for a person and free of secrets. */
  | { readonly kind: 'error'; readonly reason: string };

/** Raw samples of one series of a counter. */
export type CounterSeries = {
  /** Tells it from every other series of the source, and stays the same. */
  readonly key: string;
  /** The process it is of (job and instance): all its series are read at once; `null`: the labels do not say. */
  readonly target: string | null;
  /** Bound of a histogram's bucket, in the metric's own unit; `null`: none. */
  readonly le: number | null;
  /** In time order, finite. */
  readonly points: readonly Sample[];
};

/**
 * What is counted of one version: series of requests (of a histogram its buckets, bounds in seconds), and of bad ones. A bad one may stand in both: then its
 * samples are those among the requests, which were read at the same instant.
 */
export type Counters = {
  readonly total: readonly CounterSeries[];
  readonly bad: readonly CounterSeries[];
  /** What began before is another version's; ms since 1970, `null`: nothing is cut. */
  readonly sinceMs: number | null;
};

/** How a version stands by the counts so far. Evidence: at 1 and more the false alarms that were allowed are spent on it. */
export type SequentialReading = {
  readonly standing: 'open' | 'ok' | 'hot' | 'breach';
  /** Why evidence is no breach yet. */
  readonly heldBy: 'for' | 'min_requests' | 'limit' | null;
  /** Version whose counts of the same seconds are still to come. */
  readonly waitsFor: string | null;
  /** When it was last read, ms since 1970; `null`: never. */
  readonly newestMs: number | null;
  /** Typical time between two reads. */
  readonly pollMs: number;
  readonly evidence: number;
  readonly okEvidence: number;
  /** Whether the way for severe degradations decided. */
  readonly isSevere: boolean;
  /** Estimated begin of the degradation, and what was counted since. */
  readonly sinceMs: number | null;
  readonly requests: number;
  readonly bad: number;
  /** The newest counts, whatever they show. */
  readonly recent: { readonly n: number; readonly k: number; readonly seconds: number };
  /** What it is compared to, over the same time. */
  readonly baseline: { readonly version: string; readonly n: number; readonly k: number } | null;
  /** Bound from which on a request counts as slow, seconds; `null`: none, or not known yet. */
  readonly boundSeconds: number | null;
  /** Rules that share the false alarms. */
  readonly sharers: number;
  /** The other versions with traffic since the same begin, and whether they show the same. */
  readonly others: readonly { readonly version: string; readonly n: number; readonly k: number; readonly isAlike: boolean }[];
};

/** `value: null`: it was looked for and is not there, or is no number. */
export type QualityValue = { readonly value: number | null; readonly measuredMs: number; readonly note: string };

/** One step of a history, for backfill and backtest. */
export type HistoryPoint = { readonly atMs: number; readonly answers: ReadonlyMap<string, Answer> };

/** What was measured of one version for one rule; counts, not ratios. */
export type Measurement = {
  /** Requests in the window (extrapolated as Prometheus does, so not always whole). */
  readonly requests: number | null;
  readonly errors: number | null;
  /** `le` in seconds → cumulative count in the window; ends in +Infinity. */
  readonly buckets: ReadonlyMap<number, number> | null;
  /** For `expr`: the element's value, `null` when the answer has no element for this version. For `quality`: the metric or gauge. */
  readonly value: number | null;
  readonly newestMs: number | null;
  /** For `quality`: where the value comes from, or why there is none. */
  readonly note?: string;
  /** For `detect: sequential`: the series to count, and what a detector has made of all that was counted so far. */
  readonly counters?: Counters;
  readonly sequential?: SequentialReading;
  /** The window really covered, ms: shorter than the rule's after a cut at a switch. */
  readonly windowMs: number;
  /** Set when the source failed or answered in part. */
  readonly error: string | null;
  /** Measurements of the condition's parts (`partsOf`), in their order; absent where it has none. */
  readonly parts?: readonly Measurement[];
};
