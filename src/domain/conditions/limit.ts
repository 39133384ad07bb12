import type { Measurement } from '../measurement.ts';
import type { Limit, WindowedCondition } from '../rule.ts';
import { comparison } from '../words.ts';
import { cutWords, type Finding, noData } from './finding.ts';
import { readSignal, showValue } from './reading.ts';

/** A signal against a fixed limit. */
export function findAgainstLimit(condition: WindowedCondition, limit: Limit, measurement: Measurement, nowMs: number): Finding {
  const reading = readSignal(condition, measurement, nowMs);
  if ('missing' in reading) return noData(reading.missing, reading.requests, limit.value);
  const { value, requests } = reading;
  const isBreaching = isBeyond(limit, value);
  const against = comparison(limit, isBreaching, (number) => showValue(condition.kind, number));
  return {
    kind: isBreaching ? 'breaching' : 'ok',
    words: `${reading.words}${cutWords(measurement, condition.windowMs)} ${against}`,
    value,
    threshold: limit.value,
    requests,
  };
}

/** Whether the value is on the bad side of the limit; on it is not beyond it. */
export function isBeyond({ op, value: limit }: Limit, value: number): boolean {
  return op === 'above' ? value > limit : value < limit;
}
