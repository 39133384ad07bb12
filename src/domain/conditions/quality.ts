import { formatDuration } from '../duration.ts';
import type { Measurement } from '../measurement.ts';
import { defaultGaugeAgeMs, type QualityCondition } from '../rule.ts';
import { comparison, spell, trimNumber } from '../words.ts';
import { type Finding, noData } from './finding.ts';
import { isBeyond } from './limit.ts';

/** A sample that lies further ahead than this was not measured yet: one of the clocks is wrong. */
const maxLeadMs = 60_000;

/**
 * How good a version's answers are, against a fixed limit. What a registry says of a version was true when it was measured and is true for days;
 * a gauge is true for as long as it is scraped. Requests are not asked for: quality is not measured on them.
 */
export function findQuality(condition: QualityCondition, measurement: Measurement, nowMs: number): Finding {
  const { value, newestMs, requests, note } = measurement;
  const { limit, of } = condition;
  if (value === null || newestMs === null)
    return noData(`no value of ${of.metric} for this version${note === undefined ? '' : `: ${note}`}`, requests, limit.value);
  const where = note === undefined ? '' : ` (${note})`;
  if (!Number.isFinite(value)) return noData(`${of.metric} is ${value}${where}`, requests, limit.value);
  const ageMs = nowMs - newestMs;
  const maxAgeMs = condition.maxAgeMs ?? (of.kind === 'gauge' ? defaultGaugeAgeMs : Number.POSITIVE_INFINITY);
  if (-ageMs > maxLeadMs) return noData(`${of.metric} was measured ${spell(-ageMs)} ahead of this clock${where}`, requests, limit.value);
  if (ageMs > maxAgeMs) return noData(`${of.metric} was measured ${spell(ageMs)} ago, more than ${formatDuration(maxAgeMs)}${where}`, requests, limit.value);
  const isBreaching = isBeyond(limit, value);
  return {
    kind: isBreaching ? 'breaching' : 'ok',
    words: `${of.metric} ${trimNumber(value)}${where} ${comparison(limit, isBreaching, trimNumber)}`,
    value,
    threshold: limit.value,
    requests,
  };
}
