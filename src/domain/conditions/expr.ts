import type { Measurement } from '../measurement.ts';
import type { ExprCondition } from '../rule.ts';
import { count, trimNumber } from '../words.ts';
import { type Finding, maxSampleAgeMs, noData, staleness, tooFew } from './finding.ts';

/** Every element of the expression's answer is one version in breach. */
export function findExpr(condition: ExprCondition, measurement: Measurement, nowMs: number): Finding {
  const { requests, value } = measurement;
  if (measurement.newestMs !== null || condition.minRequests !== null) {
    const stale = staleness(measurement.newestMs, maxSampleAgeMs, nowMs);
    if (stale !== null) return noData(stale, requests, null);
  }
  const few = condition.minRequests === null ? null : tooFew(requests, condition.minRequests, measurement.windowMs);
  if (few !== null) return noData(few, requests, null);
  const seen = requests === null ? '' : ` (on ${count(requests)} requests)`;
  const base = { value, threshold: null, requests };
  if (value === null) return { kind: 'ok', words: `the expression gives no element for this version${seen}`, ...base };
  if (!Number.isFinite(value)) return { kind: 'no_data', words: `the expression gives ${value}`, ...base };
  return { kind: 'breaching', words: `the expression gives ${trimNumber(value)}${seen}`, ...base };
}
