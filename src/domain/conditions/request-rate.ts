import type { Measurement } from '../measurement.ts';
import type { RequestRateCondition } from '../rule.ts';
import { comparison, count, spell } from '../words.ts';
import type { FindContext, Finding } from './finding.ts';
import { staleness } from './finding.ts';
import { findAgainstLimit, isBeyond } from './limit.ts';
import { showValue } from './reading.ts';

/** Requests per second; with `while_others` only while all other versions together get what it says. */
export function findRequestRate(condition: RequestRateCondition, measurement: Measurement, context: FindContext): Finding {
  const own = findAgainstLimit(condition, condition.limit, measurement, context.nowMs);
  if (condition.whileOthers === undefined || own.kind !== 'breaching') return own;
  const { windowMs, limit } = condition.whileOthers;
  const measured = context.others.flatMap(({ measurement: { parts } }) => parts?.[0] ?? []);
  const failed = measured.find(({ error }) => error !== null);
  if (failed !== undefined) return { ...own, kind: 'error', words: failed.error ?? '' };
  const fresh = measured.filter(({ newestMs }) => staleness(newestMs, windowMs, context.nowMs) === null);
  const coveredMs = Math.min(windowMs, ...fresh.map((part) => part.windowMs));
  const requests = fresh.reduce((sum, part) => sum + (part.requests ?? 0), 0);
  const rate = requests / (coveredMs / 1000);
  const others = `others get ${showValue('request_rate', rate)} (${count(requests)} in ${spell(coveredMs)})`;
  const isGiven = isBeyond(limit, rate);
  const against = comparison(limit, isGiven, (value) => showValue('request_rate', value));
  return { ...own, kind: isGiven ? 'breaching' : 'ok', words: `${own.words} ${isGiven ? 'while' : 'but'} ${others} ${against}` };
}
