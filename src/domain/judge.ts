import { formatDuration } from './duration.ts';
import type { Measurement } from './measurement.ts';
import { histogramQuantile } from './prometheus-functions.ts';
import type { Condition, Rule } from './rule.ts';
import type { RuleState, Verdict, VerdictKind } from './verdict.ts';
import { comparison, count, percent, seconds, spell, trimNumber } from './words.ts';

/** A sample older than this (or than the window, if that is shorter) is stale: two missed scrapes at a minute each, with room. */
export const maxSampleAgeMs = 150_000;
/** A sample that lies further ahead than this is no sample of now: one of the clocks is wrong. */
const maxSampleLeadMs = 10_000;

/** What the numbers alone say, before `for`. */
export type Finding = {
  readonly kind: 'ok' | 'breaching' | 'no_data' | 'error';
  /** Value against limit, in words. */
  readonly words: string;
  readonly value: number | null;
  readonly threshold: number | null;
  readonly requests: number | null;
};

export type JudgeInput = {
  readonly rule: Rule;
  readonly version: string;
  readonly measurement: Measurement;
  /** `null`: never judged before. */
  readonly state: RuleState | null;
  readonly nowMs: number;
  readonly intervalMs: number;
};

/**
 * The verdict of one rule for one version at one instant, and the memory for the next.
 * `for`: a value within the limit or no data resets it, an error freezes it, a gap of more than two intervals (or a clock that went back) resets it.
 */
export function judge(input: JudgeInput): { readonly verdict: Verdict; readonly state: RuleState } {
  const { rule, version, nowMs } = input;
  const finding = find(rule, input.measurement, nowMs);
  const state = advance(input, finding);
  const elapsedMs = state.breachingSinceMs === null ? 0 : nowMs - state.breachingSinceMs;
  const kind: VerdictKind = finding.kind === 'breaching' ? (elapsedMs >= rule.forMs ? 'breach' : 'pending') : finding.kind;
  const since = finding.kind === 'breaching' ? ` for ${spell(elapsedMs)}${rule.forMs > 0 ? `, for: ${formatDuration(rule.forMs)}` : ''}` : '';
  const verdict: Verdict = {
    rule: rule.id,
    model: rule.model,
    version,
    atMs: nowMs,
    kind,
    reason: finding.words + since,
    signal: rule.condition.kind,
    value: finding.value,
    threshold: finding.threshold,
    requests: finding.requests,
    breachingSinceMs: finding.kind === 'breaching' ? state.breachingSinceMs : null,
  };
  return { verdict, state: keepFiring(rule, kind, state, nowMs) };
}

/** Judges the numbers, without memory. */
export function find(rule: Rule, measurement: Measurement, nowMs: number): Finding {
  const nothing = { value: null, threshold: thresholdOf(rule.condition), requests: measurement.requests };
  if (measurement.error !== null) return { kind: 'error', words: measurement.error, ...nothing };
  const stale = staleness(rule.condition, measurement, nowMs);
  if (stale !== null) return { kind: 'no_data', words: stale, ...nothing };
  return judgeValue(rule.condition, measurement);
}

function staleness(condition: Condition, measurement: Measurement, nowMs: number): string | null {
  if (condition.kind === 'expr' && measurement.newestMs === null && condition.minRequests === null) return null;
  if (measurement.newestMs === null) return 'no sample of this version in the window';
  const ageMs = nowMs - measurement.newestMs;
  const windowMs = condition.kind === 'expr' ? maxSampleAgeMs : condition.windowMs;
  const limitMs = Math.min(windowMs, maxSampleAgeMs);
  if (-ageMs > maxSampleLeadMs) return `newest sample lies ${spell(-ageMs)} ahead of this clock`;
  return ageMs > limitMs ? `newest sample is ${spell(ageMs)} old, more than ${formatDuration(limitMs)}` : null;
}

function thresholdOf(condition: Condition): number | null {
  return condition.kind === 'expr' ? null : condition.limit.value;
}

function judgeValue(condition: Condition, measurement: Measurement): Finding {
  switch (condition.kind) {
    case 'error_ratio': {
      const { requests, errors } = measurement;
      const missing = tooFew(requests, condition.minRequests, measurement.windowMs, condition.limit.value);
      if (missing !== null) return missing;
      if (requests === null || errors === null || !(requests > 0)) return noData('no requests were counted', measurement, condition.limit.value);
      const value = Math.min(1, Math.max(0, errors / requests));
      // A comparison with NaN is false, which must not read as «within the limit».
      if (!Number.isFinite(requests) || !Number.isFinite(errors)) return noData('the counts are no numbers', measurement, condition.limit.value);
      return compared(condition, measurement, value, `error ratio ${percent(value)} (${count(errors)} of ${count(requests)})`, percent);
    }
    case 'latency': {
      const total = measurement.buckets?.get(Number.POSITIVE_INFINITY) ?? null;
      const missing = tooFew(total, condition.minRequests, measurement.windowMs, condition.limit.value);
      if (missing !== null) return missing;
      const value = measurement.buckets === null ? Number.NaN : histogramQuantile(condition.quantile, measurement.buckets);
      if (!Number.isFinite(value)) return noData('the histogram has no observation in the window', measurement, condition.limit.value);
      const name = `p${trimNumber(condition.quantile * 100)} latency`;
      return compared(condition, { ...measurement, requests: total }, value, `${name} ${seconds(value)} (of ${count(total ?? 0)} requests)`, seconds);
    }
    case 'request_rate': {
      const missing = tooFew(measurement.requests, condition.minRequests, measurement.windowMs, condition.limit.value);
      if (missing !== null) return missing;
      if (measurement.requests === null || measurement.windowMs <= 0) return noData('no requests were counted', measurement, condition.limit.value);
      const value = measurement.requests / (measurement.windowMs / 1000);
      if (!Number.isFinite(value)) return noData('the count is no number', measurement, condition.limit.value);
      const show = (rate: number): string => `${trimNumber(rate)}/s`;
      return compared(condition, measurement, value, `request rate ${show(value)} (${count(measurement.requests)} in ${spell(measurement.windowMs)})`, show);
    }
    case 'expr': {
      const missing = condition.minRequests === null ? null : tooFew(measurement.requests, condition.minRequests, measurement.windowMs, null);
      if (missing !== null) return missing;
      const seen = measurement.requests === null ? '' : ` (on ${count(measurement.requests)} requests)`;
      const base = { value: measurement.value, threshold: null, requests: measurement.requests };
      if (measurement.value === null) return { kind: 'ok', words: `the expression gives no element for this version${seen}`, ...base };
      if (!Number.isFinite(measurement.value)) return { kind: 'no_data', words: `the expression gives ${measurement.value}`, ...base };
      return { kind: 'breaching', words: `the expression gives ${trimNumber(measurement.value)}${seen}`, ...base };
    }
  }
}

function compared(
  condition: Exclude<Condition, { kind: 'expr' }>,
  measurement: Measurement,
  value: number,
  words: string,
  show: (value: number) => string,
): Finding {
  const isBreaching = condition.limit.op === 'above' ? value > condition.limit.value : value < condition.limit.value;
  const cut = measurement.windowMs < condition.windowMs ? ` over ${spell(measurement.windowMs)} since the switch` : '';
  return {
    kind: isBreaching ? 'breaching' : 'ok',
    words: `${words}${cut} ${comparison(condition.limit, isBreaching, show)}`,
    value,
    threshold: condition.limit.value,
    requests: measurement.requests,
  };
}

function tooFew(requests: number | null, minRequests: number, windowMs: number, threshold: number | null): Finding | null {
  if (requests === null) return { kind: 'no_data', words: `no requests were counted in ${spell(windowMs)}`, value: null, threshold, requests };
  // An extrapolated count of 99.6 is the hundred that was really sent.
  if (requests + 0.5 >= minRequests) return null;
  return { kind: 'no_data', words: `${count(requests)} of ${minRequests} requests needed in ${spell(windowMs)}`, value: null, threshold, requests };
}

function noData(words: string, measurement: Measurement, threshold: number | null): Finding {
  return { kind: 'no_data', words, value: null, threshold, requests: measurement.requests };
}

function advance(input: JudgeInput, finding: Finding): RuleState {
  const { rule, version, nowMs, intervalMs } = input;
  const before = gapped(input.state, nowMs, intervalMs) ? null : input.state;
  const firing = { firingSinceMs: input.state?.firingSinceMs ?? null, keepFiringUntilMs: input.state?.keepFiringUntilMs ?? null };
  const base = { rule: rule.id, version, lastEvaluatedMs: nowMs, ...firing };
  switch (finding.kind) {
    case 'breaching':
      return { ...base, breachingSinceMs: before?.breachingSinceMs ?? nowMs, lastSeenMs: nowMs };
    case 'error': {
      // Frozen: the time without sight is not counted.
      const blindMs = before === null ? 0 : nowMs - before.lastEvaluatedMs;
      return { ...base, breachingSinceMs: before?.breachingSinceMs == null ? null : before.breachingSinceMs + blindMs, lastSeenMs: before?.lastSeenMs ?? 0 };
    }
    case 'ok':
    case 'no_data':
      return { ...base, breachingSinceMs: null, lastSeenMs: nowMs };
  }
}

function gapped(state: RuleState | null, nowMs: number, intervalMs: number): boolean {
  if (state === null) return false;
  const sinceMs = nowMs - state.lastEvaluatedMs;
  return sinceMs < 0 || sinceMs > 2 * intervalMs;
}

function keepFiring(rule: Rule, kind: VerdictKind, state: RuleState, nowMs: number): RuleState {
  const tells = kind === 'breach' || (kind === 'no_data' && rule.onNoData === 'alert') || (kind === 'error' && rule.onError === 'alert');
  if (tells) return { ...state, firingSinceMs: state.firingSinceMs ?? nowMs, keepFiringUntilMs: nowMs + rule.keepFiringForMs };
  // No sight is no recovery: an alert does not resolve on an error.
  if (state.firingSinceMs !== null && (kind === 'error' || (rule.keepFiringForMs > 0 && nowMs < (state.keepFiringUntilMs ?? 0)))) return state;
  return { ...state, firingSinceMs: null, keepFiringUntilMs: null };
}
