import { chooseBaseline } from '../baseline.ts';
import type { Measurement } from '../measurement.ts';
import type { BaselineLimit, ErrorRatioCondition, LatencyCondition } from '../rule.ts';
import { trimNumber } from '../words.ts';
import { cutWords, type FindContext, type Finding, noData } from './finding.ts';
import { readSignal, showValue } from './reading.ts';

type Comparing = (ErrorRatioCondition | LatencyCondition) & { readonly limit: BaselineLimit };

/** A signal against that of the baseline version over the same window: worse when value > times × baseline + byAtLeast, and above `andAbove`. */
export function findAgainstBaseline(condition: Comparing, measurement: Measurement, context: FindContext): Finding {
  const own = readSignal(condition, measurement, context.nowMs);
  if ('missing' in own) return noData(own.missing, own.requests, null);
  const baseline = chooseBaseline(context);
  if (baseline === null) {
    const why = context.isKnownGood === true ? 'it is the baseline itself' : 'no other version has traffic to compare it with';
    return { ...noData(`${own.words}: ${why}`, own.requests, null), isMoot: true };
  }
  const other = readSignal(condition, baseline.measurement, context.nowMs);
  if ('missing' in other) return noData(`${own.words}, but of the baseline ${baseline.version}: ${other.missing}`, own.requests, null);
  const { limit } = condition;
  const allowed = limit.times * other.value + limit.byAtLeast;
  const threshold = Math.max(allowed, limit.andAbove);
  const isBreaching = own.value > threshold;
  return {
    kind: isBreaching ? 'breaching' : 'ok',
    words: `${own.words}${cutWords(measurement, condition.windowMs)} ${isBreaching ? '>' : '≤'} ${spellAllowed(condition, baseline.version, other, allowed)}`,
    value: own.value,
    threshold,
    requests: own.requests,
    baseline: { version: baseline.version, value: other.value },
  };
}

/** `2 × 0.1% (3 of 3000) of version 6 + 0.5% = 0.7%, at least 1%` */
function spellAllowed({ kind, limit }: Comparing, version: string, other: { readonly short: string }, allowed: number): string {
  const show = (value: number): string => showValue(kind, value);
  const times = limit.times === 1 ? '' : `${trimNumber(limit.times)} × `;
  const more = limit.byAtLeast > 0 ? ` + ${show(limit.byAtLeast)}` : '';
  const sum = times === '' && more === '' ? '' : ` = ${show(allowed)}`;
  return `${times}${other.short} of version ${version}${more}${sum}${limit.andAbove > allowed ? `, at least ${show(limit.andAbove)}` : ''}`;
}
