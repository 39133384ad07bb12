import { formatDuration } from './duration.ts';
import type { Limit } from './rule.ts';

/** `0.102` → `10.2%`; small ratios keep three significant digits. */
export function percent(ratio: number): string {
  return `${trimNumber(ratio * 100)}%`;
}

/** Seconds for people: `0.181` → `181ms`, `2.5` → `2.5s`. */
export function seconds(value: number): string {
  return Math.abs(value) < 1 ? `${trimNumber(value * 1000)}ms` : `${trimNumber(value)}s`;
}

/** A count that may be extrapolated: whole when near whole. */
export function count(value: number): string {
  return String(Math.round(value));
}

/** At most four significant digits, no trailing zeros, no exponent for everyday sizes. */
export function trimNumber(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  const digits = Number(value.toPrecision(Math.abs(value) >= 1000 ? 6 : 3));
  return String(digits);
}

/** `> 5%` or `≤ 5%`: how a value stands to its limit. */
export function comparison(limit: Limit, isBreaching: boolean, show: (value: number) => string): string {
  const sign = limit.op === 'above' ? (isBreaching ? '>' : '≤') : isBreaching ? '<' : '≥';
  return `${sign} ${show(limit.value)}`;
}

/** Whole seconds above a second, so that reasons stay readable: `72345` → `1m12s`. */
export function spell(durationMs: number): string {
  return formatDuration(durationMs >= 1000 ? Math.round(durationMs / 1000) * 1000 : durationMs);
}
