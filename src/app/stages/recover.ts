import { findIn } from '../../domain/conditions/find.ts';
import type { Episode } from '../../domain/episode.ts';
import type { Measurement } from '../../domain/measurement.ts';
import type { Model } from '../../domain/model.ts';
import type { Source } from '../../domain/ports.ts';
import type { Condition, Rule, SequentialCondition } from '../../domain/rule.ts';
import { RuleWatch } from '../../domain/sequential/rule-watch.ts';
import type { SequentialState } from '../../domain/sequential/version-watch.ts';
import { MeasurePlan } from './measure.ts';

/** Samples from before the switch that growth since then is counted from. */
const samplesBeforeMs = 150_000;
/** Correlation between the requests of a poll that recovery reckons with. */
const recoveryBurst = 0.002;
/** Recovery is looked at every second. */
const leastPollMs = 1_000;

export type Recovery = { readonly kind: 'recovered' | 'breaching' | 'unknown'; readonly reason: string };

/**
 * Recovery means: every acting rule of the model is `ok` on the target, on requests since the switch (design 7).
 * An expression cannot be cut at the switch, so it is believed only once its longest range lies behind the switch, or when it has no element for the target.
 */
export async function judgeRecovery(input: {
  episode: Episode;
  model: Model;
  source: Source | null;
  /** By name: registries are asked too. */
  sources: ReadonlyMap<string, Source>;
  rules: readonly Rule[];
  switchedAtMs: number;
  nowMs: number;
  /** Metrics' names of versions → versions, as the plane has them now; `undefined`: the same. */
  names: Readonly<Record<string, string>> | undefined;
  /** What the rule's detector knew of the bad version, for the bound it compared at; absent: nothing. */
  remembered?: (rule: Rule) => SequentialState | null;
  signal: AbortSignal;
}): Promise<Recovery> {
  const { episode, model, source, rules, switchedAtMs, nowMs, names } = input;
  if (source === null) return { kind: 'unknown', reason: 'the source of its numbers is gone from the files' };
  if (rules.length === 0) return { kind: 'recovered', reason: 'no rule of the model acts, so there is nothing to wait for' };
  if (nowMs - switchedAtMs < 1000) return { kind: 'unknown', reason: 'no time has passed since the switch' };
  const plan = new MeasurePlan(nowMs);
  const samplesMs = (): number => Math.ceil((nowMs - switchedAtMs) / 1000) * 1000 + samplesBeforeMs;
  plan.add({ model, rules, serving: [episode.to], sinceMs: switchedAtMs, samplesMs, ...(names === undefined ? {} : { names }) });
  const measured = (await plan.measure(source, input.sources, input.signal)).get(model.name) ?? [];
  const all = measured.map(({ rule, byVersion }) => {
    const measurement = byVersion.get(episode.to);
    if (measurement === undefined) return { rule, kind: 'no_data' as const, words: 'no sample of this version' };
    const remembered = input.remembered?.(rule) ?? null;
    const condition = rule.alert === episode.rule ? sinceDetection(rule.condition, episode, remembered) : rule.condition;
    const counted = condition.kind === 'sequential' ? countSince(condition, measurement, input) : measurement;
    const finding = findIn(condition, counted, { nowMs, version: episode.to, others: [], isKnownGood: true });
    if (finding.isMoot === true) return null;
    const tooEarly = rule.condition.kind === 'expr' && finding.kind === 'breaching' && nowMs - switchedAtMs < rule.condition.rangeMs;
    return { rule, kind: tooEarly ? ('no_data' as const) : finding.kind, words: tooEarly ? 'its range still reaches behind the switch' : finding.words };
  });
  const findings = all.filter((finding) => finding !== null);
  if (findings.length === 0) return { kind: 'unknown', reason: 'every acting rule compares versions, and there is nothing to compare the target with' };
  const words = findings.map((finding) => `${finding.rule.alert}: ${finding.words}`).join('; ');
  if (findings.every((finding) => finding.kind === 'ok')) return { kind: 'recovered', reason: words };
  return { kind: findings.some((finding) => finding.kind === 'breaching') ? 'breaching' : 'unknown', reason: words };
}

/**
 * Judges the target from nothing but its requests since the switch, by a detector of its own. It acts on nothing, so it need not be as careful about bursts
 * as the one that rolls back: else a few minutes would not do.
 */
function countSince(
  condition: SequentialCondition,
  measurement: Measurement,
  { episode, switchedAtMs, nowMs }: { episode: Episode; switchedAtMs: number; nowMs: number },
): Measurement {
  if (measurement.counters === undefined) return measurement;
  const burst = typeof condition.burst === 'number' ? condition.burst : recoveryBurst;
  const watch = new RuleWatch({ condition: { ...condition, burst }, forMs: 0, intervalMs: leastPollMs, sharers: 1, evidenceMs: Number.POSITIVE_INFINITY });
  const seen = { version: episode.to, counters: measurement.counters, state: null, switchedMs: switchedAtMs, isKnownGood: true, firstSeenMs: null };
  const reading = watch.read([seen], nowMs).get(episode.to);
  return reading === undefined ? measurement : { ...measurement, sequential: reading };
}

/** As `sinceDetection`, for counts: the comparison becomes a limit. */
function fixed(condition: SequentialCondition, episode: Episode, boundSeconds: number | null): Condition {
  const { limit, of } = condition;
  const { baseline, value } = episode.evidence;
  if (limit.op !== 'above_baseline' || baseline === null || baseline.version !== episode.to || baseline.value === null || value === null) return condition;
  if (of.kind === 'latency') return boundSeconds === null ? condition : { ...condition, limit: { op: 'above', value: boundSeconds } };
  const allowed = Math.max(limit.times * baseline.value + limit.byAtLeast, limit.andAbove, (baseline.value + value) / 2);
  return { ...condition, limit: { op: 'above', value: Math.min(0.99, allowed) } };
}

/**
 * After the switch there is nothing left to compare the target with. It has recovered when it keeps to what the rule allows beside its own value
 * at detection, or is nearer to that than to what the bad version showed.
 */
function sinceDetection(condition: Condition, episode: Episode, remembered: SequentialState | null): Condition {
  if (condition.kind === 'sequential') return fixed(condition, episode, remembered?.boundSeconds ?? null);
  if (!('limit' in condition) || condition.limit.op !== 'above_baseline') return condition;
  const { baseline, value } = episode.evidence;
  if (baseline === null || baseline.version !== episode.to || baseline.value === null || value === null) return condition;
  const { times, byAtLeast, andAbove } = condition.limit;
  return { ...condition, limit: { op: 'above', value: Math.max(times * baseline.value + byAtLeast, andAbove, (baseline.value + value) / 2) } };
}
