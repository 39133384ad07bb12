import type { Measurement } from '../measurement.ts';
import { histogramQuantile } from '../prometheus-functions.ts';
import type { ErrorRatioCondition, LatencyCondition, RequestRateCondition } from '../rule.ts';
import { count, percent, seconds, spell, trimNumber } from '../words.ts';
import { staleness, tooFew } from './finding.ts';

/** A value that may be judged, or why there is none. `requests` are those it was taken from. */
export type Reading =
  | {
      readonly value: number;
      readonly requests: number /** `error ratio 10% (10 of 100)` */;
      readonly words: string /** `10% (10 of 100)` */;
      readonly short: string;
    }
  | { readonly missing: string; readonly requests: number | null };

type Read = ErrorRatioCondition | LatencyCondition | RequestRateCondition;

/** Reads the signal's value from what was measured; missing, stale and too few are no value. */
export function readSignal(condition: Read, measurement: Measurement, nowMs: number): Reading {
  const { windowMs } = measurement;
  const stale = staleness(measurement.newestMs, condition.windowMs, nowMs);
  if (stale !== null) return { missing: stale, requests: measurement.requests };
  const requests = condition.kind === 'latency' ? (measurement.buckets?.get(Number.POSITIVE_INFINITY) ?? null) : measurement.requests;
  const few = tooFew(requests, condition.minRequests, windowMs);
  if (few !== null || requests === null) return { missing: few ?? 'no requests were counted', requests };
  switch (condition.kind) {
    case 'error_ratio':
      return readErrorRatio(requests, measurement.errors);
    case 'latency':
      return readLatency(condition, measurement, requests);
    case 'request_rate':
      return readRate(requests, windowMs);
  }
}

/** How a value of the signal is written. */
export function showValue(kind: Read['kind'], value: number): string {
  if (kind === 'error_ratio') return percent(value);
  return kind === 'latency' ? seconds(value) : `${trimNumber(value)}/s`;
}

function readErrorRatio(requests: number, errors: number | null): Reading {
  if (errors === null || !(requests > 0)) return { missing: 'no requests were counted', requests };
  // A comparison with NaN is false, which must not read as «within the limit».
  if (!Number.isFinite(requests) || !Number.isFinite(errors)) return { missing: 'the counts are no numbers', requests };
  const value = Math.min(1, Math.max(0, errors / requests));
  const short = `${percent(value)} (${count(errors)} of ${count(requests)})`;
  return { value, requests, words: `error ratio ${short}`, short };
}

function readLatency({ quantile }: LatencyCondition, { buckets }: Measurement, requests: number): Reading {
  const value = buckets === null ? Number.NaN : histogramQuantile(quantile, buckets);
  if (!Number.isFinite(value)) return { missing: 'the histogram has no observation in the window', requests };
  const short = `${seconds(value)} (of ${count(requests)} requests)`;
  return { value, requests, words: `p${trimNumber(quantile * 100)} latency ${short}`, short };
}

function readRate(requests: number, windowMs: number): Reading {
  if (windowMs <= 0) return { missing: 'no requests were counted', requests };
  const value = requests / (windowMs / 1000);
  if (!Number.isFinite(value)) return { missing: 'the count is no number', requests };
  const short = `${showValue('request_rate', value)} (${count(requests)} in ${spell(windowMs)})`;
  return { value, requests, words: `request rate ${short}`, short };
}
