import { type FindContext, type Finding, findIn } from './conditions/find.ts';
import { formatDuration } from './duration.ts';
import type { Measurement } from './measurement.ts';
import { type Rule, signalOf } from './rule.ts';
import type { RuleState, Verdict, VerdictKind } from './verdict.ts';
import { spell } from './words.ts';

export type JudgeInput = {
  readonly rule: Rule;
  readonly version: string;
  readonly measurement: Measurement;
  /** The other versions that were measured for this rule, and the standing of this one; absent: none, and unknown. */
  readonly standing?: Omit<FindContext, 'nowMs' | 'version'>;
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
  const finding = findIn(rule.condition, input.measurement, { others: [], ...input.standing, nowMs, version, forMs: rule.forMs });
  const state = advance(input, finding);
  const elapsedMs = state.breachingSinceMs === null ? 0 : nowMs - state.breachingSinceMs;
  const isDue = finding.isDue ?? elapsedMs >= rule.forMs;
  const kind: VerdictKind = finding.kind === 'breaching' ? (isDue ? 'breach' : 'pending') : finding.kind;
  const since =
    finding.kind === 'breaching' && finding.isDue === undefined
      ? ` for ${spell(elapsedMs)}${rule.forMs > 0 ? `, for: ${formatDuration(rule.forMs)}` : ''}`
      : '';
  const verdict: Verdict = {
    rule: rule.id,
    model: rule.model,
    version,
    atMs: nowMs,
    kind,
    reason: finding.words + since,
    signal: signalOf(rule.condition),
    value: finding.value,
    threshold: finding.threshold,
    requests: finding.requests,
    breachingSinceMs: finding.kind === 'breaching' ? state.breachingSinceMs : null,
    ...(finding.baseline === undefined ? {} : { baseline: finding.baseline }),
    ...(finding.isMoot === true ? { isMoot: true as const } : {}),
    ...(finding.countedSinceMs === undefined ? {} : { countedSinceMs: finding.countedSinceMs }),
    ...(finding.others === undefined ? {} : { others: finding.others }),
  };
  return { verdict, state: keepFiring(rule, finding.isUndecided === true ? 'undecided' : kind, state, nowMs) };
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

function keepFiring(rule: Rule, kind: VerdictKind | 'undecided', state: RuleState, nowMs: number): RuleState {
  const tells = kind === 'breach' || (kind === 'no_data' && rule.onNoData === 'alert') || (kind === 'error' && rule.onError === 'alert');
  if (tells) return { ...state, firingSinceMs: state.firingSinceMs ?? nowMs, keepFiringUntilMs: nowMs + rule.keepFiringForMs };
  // No sight is no recovery: an alert does not resolve on an error.
  if (state.firingSinceMs !== null && (kind === 'error' || (rule.keepFiringForMs > 0 && nowMs < (state.keepFiringUntilMs ?? 0)))) return state;
  return { ...state, firingSinceMs: null, keepFiringUntilMs: null };
}
