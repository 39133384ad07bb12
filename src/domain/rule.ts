import type { RollbackOverrides } from './model.ts';

/** A place in a file, 1-based, as editors count. */
export type Place = { readonly file: string; readonly line: number; readonly column: number };

/** Limit of a condition: worse when the value is `above` it, or `below` it. Units are the signal's (ratio 0..1, seconds, requests per second). */
export type Limit = { readonly op: 'above' | 'below'; readonly value: number };

/** Share of failed requests over `windowMs`; `min_requests` guards against judging on too few. */
export type ErrorRatioCondition = {
  readonly kind: 'error_ratio';
  readonly windowMs: number;
  /** Ratio, 0..1. */
  readonly limit: Limit;
  readonly minRequests: number;
};

/** Quantile of the request duration over `windowMs`; limit in seconds. */
export type LatencyCondition = {
  readonly kind: 'latency';
  /** 0..1 */
  readonly quantile: number;
  readonly windowMs: number;
  readonly limit: Limit;
  readonly minRequests: number;
};

/** Requests per second over `windowMs`. No traffic at all is the value 0 only where the series exists. */
export type RequestRateCondition = {
  readonly kind: 'request_rate';
  readonly windowMs: number;
  readonly limit: Limit;
  readonly minRequests: number;
};

/** PromQL as the SRE wrote it: every element of the answer is one version in breach. */
export type ExprCondition = {
  readonly kind: 'expr';
  readonly expr: string;
  /** Longest range selector (plus offset) in the expression, ms; 0 when it has none. Recovery waits this long after a switch. */
  readonly rangeMs: number;
  /** Counted on the model's requests signal over `rangeMs` (or 5m when that is 0); `null`: not asked for (rules that never act). */
  readonly minRequests: number | null;
};

export type Condition = ErrorRatioCondition | LatencyCondition | RequestRateCondition | ExprCondition;

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
