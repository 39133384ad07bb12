import type { Matcher } from './model.ts';

/** Which number is asked for. */
export type Question = {
  /** Unique in one `ask`. */
  readonly id: string;
  /** `increase`: growth of a counter over the window. `buckets`: the same per bucket bound (`le`) of a classic histogram. `newest`: time of the newest sample. */
  readonly kind: 'increase' | 'buckets' | 'newest';
  /** Full series name (for `buckets` with its `_bucket`). */
  readonly metric: string;
  readonly matchers: readonly Matcher[];
  /** ms; for `newest` how far back a sample still counts. */
  readonly windowMs: number;
  /** Label that names the version, or `null`: one group of all series, reported under version ''. */
  readonly versionLabel: string | null;
};

/** One PromQL expression, asked as it is written. */
export type ExprQuestion = { readonly id: string; readonly expr: string };

/** The answer to one question, per version as the metrics name it. */
export type Answer =
  | { readonly kind: 'increase'; readonly byVersion: ReadonlyMap<string, number> }
  | { readonly kind: 'buckets'; readonly byVersion: ReadonlyMap<string, ReadonlyMap<number, number>> }
  /** ms since 1970. */
  | { readonly kind: 'newest'; readonly byVersion: ReadonlyMap<string, number> }
  /** An element of a vector: one version in breach with its value. */
  | { readonly kind: 'expr'; readonly elements: readonly { readonly labels: Readonly<Record<string, string>>; readonly value: number }[] }
  /** The source failed, was partial, or warned: nothing may be concluded. `reason` is fit for a person and free of secrets. */
  | { readonly kind: 'error'; readonly reason: string };

/** One step of a history, for backfill and backtest. */
export type HistoryPoint = { readonly atMs: number; readonly answers: ReadonlyMap<string, Answer> };

/** What was measured of one version for one rule; counts, not ratios. */
export type Measurement = {
  /** Requests in the window (extrapolated as Prometheus does, so not always whole). */
  readonly requests: number | null;
  readonly errors: number | null;
  /** `le` in seconds → cumulative count in the window; ends in +Infinity. */
  readonly buckets: ReadonlyMap<number, number> | null;
  /** For `expr`: the element's value, `null` when the answer has no element for this version. */
  readonly value: number | null;
  readonly newestMs: number | null;
  /** The window really covered, ms: shorter than the rule's after a cut at a switch. */
  readonly windowMs: number;
  /** Set when the source failed or answered in part. */
  readonly error: string | null;
  /** Measurements of the condition's parts (`partsOf`), in their order; absent where it has none. */
  readonly parts?: readonly Measurement[];
};
