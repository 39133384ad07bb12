import type { Matcher, RollbackOverrides } from './model.ts';

/** A place in a file, 1-based, as editors count. */
export type Place = { readonly file: string; readonly line: number; readonly column: number };

/** Limit of a condition: worse when the value is `above` it, or `below` it. Units are the signal's (ratio 0..1, seconds, requests per second). */
export type Limit = { readonly op: 'above' | 'below'; readonly value: number };

/** Worse than the baseline version: value > times × the baseline's + `byAtLeast`, and value > `andAbove`. Units are the signal's. */
export type BaselineLimit = { readonly op: 'above_baseline'; readonly times: number; readonly byAtLeast: number; readonly andAbove: number };

/** Share of failed requests over `windowMs`; `min_requests` guards against judging on too few. */
export type ErrorRatioCondition = {
  readonly kind: 'error_ratio';
  readonly windowMs: number;
  /** Ratio, 0..1. */
  readonly limit: Limit | BaselineLimit;
  /** With a baseline: of each side. */
  readonly minRequests: number;
};

/** Quantile of the request duration over `windowMs`; limit in seconds. */
export type LatencyCondition = {
  readonly kind: 'latency';
  /** 0..1 */
  readonly quantile: number;
  readonly windowMs: number;
  readonly limit: Limit | BaselineLimit;
  readonly minRequests: number;
};

/** Requests per second over `windowMs`. No traffic at all is the value 0 only where the series exists. */
export type RequestRateCondition = {
  readonly kind: 'request_rate';
  readonly windowMs: number;
  readonly limit: Limit;
  readonly minRequests: number;
  /** Breaches only while all other versions together keep to this; absent: whatever they get. */
  readonly whileOthers?: { readonly windowMs: number; readonly limit: Limit };
};

/** Error budget spent this many times faster than `objective` allows: over a long and a short window alike, for any pair. */
export type BurnRateCondition = {
  readonly kind: 'burn_rate';
  /** Share of requests that must succeed, 0..1. */
  readonly objective: number;
  readonly windows: readonly BurnRateWindow[];
  /** In the long window of a pair. */
  readonly minRequests: number;
};

/** One pair of windows; `above` is a burn rate (1 = the budget is just used up). */
export type BurnRateWindow = { readonly longMs: number; readonly shortMs: number; readonly above: number };

/**
 * Share of failed or of slow requests, judged from the counts themselves as soon as the evidence allows (`detect: sequential`). For a latency the share of
 * requests slower than the limit against 1 - quantile: that is what «the quantile is above the limit» says.
 */
export type SequentialCondition = {
  readonly kind: 'sequential';
  readonly of: { readonly kind: 'error_ratio' } | { readonly kind: 'latency'; readonly quantile: number; readonly bound: 'conservative' | 'interpolate' };
  /** `above`: a ratio, or seconds of a latency. */
  readonly limit: { readonly op: 'above'; readonly value: number } | BaselineLimit;
  /** Requests counted before it may breach; a veto, not needed for the guarantee. */
  readonly minRequests: number;
  /** Ratio below the limit for which the guarantee holds; `null`: for the limit itself. */
  readonly healthy: number | null;
  /** Probability of a false alarm per `perMs`, over all acting sequential rules of the model together. */
  readonly alpha: number;
  readonly perMs: number;
  /** Correlation between the requests of a poll: learned, anything, or fixed. */
  readonly burst: 'auto' | 'any' | number;
  /** A fast way with half of the false alarms. */
  readonly severe: { readonly above: number; readonly forMs: number } | null;
};

/** `all`: breaches when every one does. `any`: when one does. */
export type CompositeCondition = { readonly kind: 'all' | 'any'; readonly conditions: readonly Condition[] };

/** PromQL as the SRE wrote it: every element of the answer is one version in breach. */
export type ExprCondition = {
  readonly kind: 'expr';
  readonly expr: string;
  /** Longest range selector (plus offset) in the expression, ms; 0 when it has none. Recovery waits this long after a switch. */
  readonly rangeMs: number;
  /** Counted on the model's requests signal over `rangeMs` (or 5m when that is 0); `null`: not asked for (rules that never act). */
  readonly minRequests: number | null;
};

/** How good the answers of a version are: a metric that a registry has of it, or a gauge. */
export type QualityCondition = {
  readonly kind: 'quality';
  readonly of:
    | { readonly kind: 'metric'; readonly metric: string }
    | { readonly kind: 'gauge'; readonly metric: string; readonly matchers: readonly Matcher[] };
  readonly limit: Limit;
  /** An older value is no data; `null`: a gauge 5 minutes, what a registry says at any age. */
  readonly maxAgeMs: number | null;
};

/** How long a gauge that is not scraped any more is believed: Prometheus's own lookback. */
export const defaultGaugeAgeMs = 300_000;

/** What is measured over one window. */
export type WindowedCondition = ErrorRatioCondition | LatencyCondition | RequestRateCondition;

export type Condition = WindowedCondition | SequentialCondition | QualityCondition | BurnRateCondition | CompositeCondition | ExprCondition;

/**
 * The conditions that a condition is put together from, in the order in which `Measurement.parts` holds their measurements: those of `all` and `any`,
 * the windows of a burn rate (long, short, long, short …), what the others must keep to.
 */
export function partsOf(condition: Condition): readonly Condition[] {
  switch (condition.kind) {
    case 'all':
    case 'any':
      return condition.conditions;
    case 'burn_rate':
      return condition.windows.flatMap(({ longMs, shortMs, above }) => {
        const limit = { op: 'above' as const, value: above * (1 - condition.objective) };
        return [
          { kind: 'error_ratio' as const, windowMs: longMs, limit, minRequests: condition.minRequests },
          { kind: 'error_ratio' as const, windowMs: shortMs, limit, minRequests: 1 },
        ];
      });
    case 'request_rate':
      return condition.whileOthers === undefined ? [] : [{ kind: 'request_rate', ...condition.whileOthers, minRequests: 0 }];
    case 'error_ratio':
    case 'latency':
    case 'sequential':
    case 'quality':
    case 'expr':
      return [];
  }
}

/** The longest window that the condition looks back over, ms; `null`: it has none of its own. */
export function longestWindowMs(condition: Condition): number | null {
  switch (condition.kind) {
    case 'expr':
    case 'quality':
    case 'sequential':
      return null;
    case 'burn_rate':
    case 'all':
    case 'any':
      return Math.max(...partsOf(condition).map((part) => longestWindowMs(part) ?? 0)) || null;
    case 'error_ratio':
    case 'latency':
    case 'request_rate':
      return condition.windowMs;
  }
}

/** A step of a history with fewer requests than this is judged by no ratio. */
const leastRequestsOfStep = 100;

/** What a verdict says it is about: the condition's kind, but for shares of slow requests, whose value is a ratio. */
export function signalOf(condition: Condition): string {
  if (condition.kind !== 'sequential') return condition.kind;
  return condition.of.kind === 'error_ratio' ? 'error_ratio' : 'slow_ratio';
}

/** The same condition over another window, all parts alike: a history is judged step by step. */
export function withWindow(condition: Condition, windowMs: number): Condition {
  switch (condition.kind) {
    case 'expr':
    case 'quality':
      return condition;
    case 'all':
    case 'any':
      return { ...condition, conditions: condition.conditions.map((part) => withWindow(part, windowMs)) };
    case 'burn_rate':
      return { ...condition, windows: condition.windows.map(({ above }) => ({ longMs: windowMs, shortMs: windowMs, above })) };
    case 'request_rate':
      return { ...condition, windowMs, ...(condition.whileOthers === undefined ? {} : { whileOthers: { ...condition.whileOthers, windowMs } }) };
    case 'error_ratio':
    case 'latency':
      return { ...condition, windowMs };
    case 'sequential': {
      const { of, limit } = condition;
      const common = { windowMs, limit, minRequests: Math.max(condition.minRequests, leastRequestsOfStep) };
      return of.kind === 'error_ratio' ? { kind: 'error_ratio', ...common } : { kind: 'latency', quantile: of.quantile, ...common };
    }
  }
}

/** What an alert does when the data is missing (`on_no_data`) or the source failed (`on_error`): nothing, or tell. Never a rollback. */
export type MissingDataPolicy = 'hold' | 'alert';

/** One rule of a rule file. */
export type Rule = {
  /** `<group name>/<alert>`, with `#2`, `#3` … behind it when the pair repeats: unique over all files, stable over reloads. */
  readonly id: string;
  readonly group: string;
  readonly alert: string;
  /** Name of the model as the daemon's file has it. */
  readonly model: string;
  readonly condition: Condition;
  readonly forMs: number;
  readonly keepFiringForMs: number;
  readonly labels: Readonly<Record<string, string>>;
  /** Templates in Prometheus's syntax, parsed at load. */
  readonly annotations: Readonly<Record<string, string>>;
  readonly onNoData: MissingDataPolicy;
  readonly onError: MissingDataPolicy;
  /** Absent: the rule only tells. `{}`: acts with the model's defaults. */
  readonly rollback: RollbackOverrides | null;
  readonly place: Place;
};

/** Rules evaluated together. */
export type RuleGroup = {
  readonly name: string;
  readonly model: string;
  readonly intervalMs: number;
  readonly rules: readonly Rule[];
};
