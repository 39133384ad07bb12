import type { BaselineLimit, Condition, Limit, RequestRateCondition, SequentialCondition } from '../domain/rule.ts';
import { defaultMinRequests, type ParsedCondition } from './condition-schema.ts';

/** The condition of the domain: milliseconds of durations become seconds where they are limits. */
export function toCondition(parsed: ParsedCondition): Condition {
  const { error_ratio: errorRatio, latency, request_rate: requestRate, burn_rate: burnRate, quality, all, any } = parsed;
  if (errorRatio?.detect === 'sequential') return toSequential(errorRatio, { kind: 'error_ratio' }, 1);
  if (latency?.detect === 'sequential')
    return toSequential(latency, { kind: 'latency', quantile: latency.quantile, bound: latency.bound ?? 'conservative' }, 1000);
  if (errorRatio !== undefined)
    return {
      kind: 'error_ratio',
      windowMs: errorRatio.window ?? 0,
      limit: errorRatio.above_baseline === undefined ? { op: 'above', value: errorRatio.above ?? 0 } : toBaselineLimit(errorRatio.above_baseline, 1),
      minRequests: errorRatio.min_requests ?? defaultMinRequests,
    };
  if (latency !== undefined)
    return {
      kind: 'latency',
      quantile: latency.quantile,
      windowMs: latency.window ?? 0,
      limit: latency.above_baseline === undefined ? { op: 'above', value: (latency.above ?? 0) / 1000 } : toBaselineLimit(latency.above_baseline, 1000),
      minRequests: latency.min_requests ?? defaultMinRequests,
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

type Detecting = Pick<NonNullable<ParsedCondition['error_ratio']>, 'above_baseline' | 'min_requests' | 'healthy' | 'false_alarms' | 'burst' | 'severe'> & {
  readonly above?: number | undefined;
};

/** @param perUnit of what is written (ms of a latency) to the domain's unit */
function toSequential(given: Detecting, of: SequentialCondition['of'], perUnit: number): SequentialCondition {
  const { above, above_baseline: baseline, healthy, severe } = given;
  return {
    kind: 'sequential',
    of,
    limit: baseline === undefined ? { op: 'above', value: (above ?? 0) / perUnit } : toBaselineLimit(baseline, perUnit),
    minRequests: given.min_requests ?? 0,
    healthy: healthy ?? null,
    alpha: given.false_alarms?.ratio ?? 0.01,
    perMs: given.false_alarms?.per ?? 86_400_000,
    burst: given.burst ?? 'auto',
    severe: severe === undefined ? null : { above: severe.above, forMs: severe.for },
  };
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
