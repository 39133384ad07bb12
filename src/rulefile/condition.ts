import type { BaselineLimit, Condition, Limit, RequestRateCondition } from '../domain/rule.ts';
import type { ParsedCondition } from './condition-schema.ts';

/** The condition of the domain: milliseconds of durations become seconds where they are limits. */
export function toCondition(parsed: ParsedCondition): Condition {
  const { error_ratio: errorRatio, latency, request_rate: requestRate, burn_rate: burnRate, quality, all, any } = parsed;
  if (errorRatio !== undefined)
    return {
      kind: 'error_ratio',
      windowMs: errorRatio.window,
      limit: errorRatio.above_baseline === undefined ? { op: 'above', value: errorRatio.above ?? 0 } : toBaselineLimit(errorRatio.above_baseline, 1),
      minRequests: errorRatio.min_requests,
    };
  if (latency !== undefined)
    return {
      kind: 'latency',
      quantile: latency.quantile,
      windowMs: latency.window,
      limit: latency.above_baseline === undefined ? { op: 'above', value: (latency.above ?? 0) / 1000 } : toBaselineLimit(latency.above_baseline, 1000),
      minRequests: latency.min_requests,
    };
  if (requestRate !== undefined) return toRequestRate(requestRate, parsed.while_others);
  if (burnRate !== undefined)
    return {
      kind: 'burn_rate',
      objective: burnRate.objective,
      windows: burnRate.windows.map(({ long, short, above }) => ({ longMs: long, shortMs: short, above })),
      minRequests: burnRate.min_requests,
    };
  if (quality !== undefined)
    return {
      kind: 'quality',
      of:
        quality.gauge === undefined
          ? { kind: 'metric', metric: quality.metric ?? '' }
          : { kind: 'gauge', metric: quality.gauge, matchers: quality.matchers ?? [] },
      limit: toLimit(quality),
      maxAgeMs: quality.max_age ?? null,
    };
  return { kind: all === undefined ? 'any' : 'all', conditions: (all ?? any ?? []).map(toCondition) };
}

function toRequestRate(rate: NonNullable<ParsedCondition['request_rate']>, others: ParsedCondition['while_others']): RequestRateCondition {
  const whileOthers = others === undefined ? {} : { whileOthers: { windowMs: others.request_rate.window, limit: toLimit(others.request_rate) } };
  return { kind: 'request_rate', windowMs: rate.window, limit: toLimit(rate), minRequests: rate.min_requests, ...whileOthers };
}

function toLimit({ above, below }: { readonly above?: number | undefined; readonly below?: number | undefined }): Limit {
  return above === undefined ? { op: 'below', value: below ?? 0 } : { op: 'above', value: above };
}

function toBaselineLimit(given: { readonly times: number; readonly by_at_least: number; readonly and_above: number }, perUnit: number): BaselineLimit {
  return { op: 'above_baseline', times: given.times, byAtLeast: given.by_at_least / perUnit, andAbove: given.and_above / perUnit };
}
