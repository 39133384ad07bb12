import type { Measurement } from '../measurement.ts';
import { type Condition, partsOf } from '../rule.ts';
import { allowedShare } from '../sequential/version-watch.ts';
import { findBurnRate } from './burn-rate.ts';
import { findAgainstBaseline } from './compare.ts';
import { findComposite } from './composite.ts';
import { findExpr } from './expr.ts';
import type { FindContext, Finding } from './finding.ts';
import { findAgainstLimit } from './limit.ts';
import { findQuality } from './quality.ts';
import { findRequestRate } from './request-rate.ts';
import { findSequential } from './sequential.ts';

export type { FindContext, Finding, OtherVersion } from './finding.ts';

/** Judges the numbers of one version, without memory. */
export function findIn(condition: Condition, measurement: Measurement, context: FindContext): Finding {
  if (measurement.error !== null)
    return { kind: 'error', words: measurement.error, value: null, threshold: thresholdOf(condition), requests: measurement.requests };
  switch (condition.kind) {
    case 'error_ratio':
    case 'latency': {
      const { limit } = condition;
      return limit.op === 'above_baseline'
        ? findAgainstBaseline({ ...condition, limit }, measurement, context)
        : findAgainstLimit(condition, limit, measurement, context.nowMs);
    }
    case 'request_rate':
      return findRequestRate(condition, measurement, context);
    case 'burn_rate':
      return findBurnRate(condition, measurement, context.nowMs);
    case 'all':
    case 'any':
      return findComposite(
        condition.kind,
        partsOf(condition).map((part, index) => findIn(part, partAt(measurement, index), contextOfPart(context, index))),
      );
    case 'sequential':
      return findSequential(condition, measurement, { forMs: 0, ...context });
    case 'quality':
      return findQuality(condition, measurement, context.nowMs);
    case 'expr':
      return findExpr(condition, measurement, context.nowMs);
  }
}

/** The measurement of a part; what was not measured has no number. */
export function partAt(measurement: Measurement, index: number): Measurement {
  const nothing = { requests: null, errors: null, buckets: null, value: null, newestMs: null };
  return measurement.parts?.[index] ?? { ...nothing, windowMs: measurement.windowMs, error: measurement.error };
}

function contextOfPart(context: FindContext, index: number): FindContext {
  return { ...context, others: context.others.map((other) => ({ ...other, measurement: partAt(other.measurement, index) })) };
}

function thresholdOf(condition: Condition): number | null {
  if (condition.kind === 'sequential') return allowedShare(condition) || null;
  return 'limit' in condition && condition.limit.op !== 'above_baseline' ? condition.limit.value : null;
}
