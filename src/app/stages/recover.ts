import { findIn } from '../../domain/conditions/find.ts';
import type { Episode } from '../../domain/episode.ts';
import type { Model } from '../../domain/model.ts';
import type { Source } from '../../domain/ports.ts';
import type { Condition, Rule } from '../../domain/rule.ts';
import { MeasurePlan } from './measure.ts';

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
  signal: AbortSignal;
}): Promise<Recovery> {
  const { episode, model, source, rules, switchedAtMs, nowMs, names } = input;
  if (source === null) return { kind: 'unknown', reason: 'the source of its numbers is gone from the files' };
  if (rules.length === 0) return { kind: 'recovered', reason: 'no rule of the model acts, so there is nothing to wait for' };
  if (nowMs - switchedAtMs < 1000) return { kind: 'unknown', reason: 'no time has passed since the switch' };
  const plan = new MeasurePlan(nowMs);
  plan.add({ model, rules, serving: [episode.to], sinceMs: switchedAtMs, ...(names === undefined ? {} : { names }) });
  const measured = (await plan.measure(source, input.sources, input.signal)).get(model.name) ?? [];
  const all = measured.map(({ rule, byVersion }) => {
    const measurement = byVersion.get(episode.to);
    if (measurement === undefined) return { rule, kind: 'no_data' as const, words: 'no sample of this version' };
    const condition = rule.alert === episode.rule ? sinceDetection(rule.condition, episode) : rule.condition;
    const finding = findIn(condition, measurement, { nowMs, version: episode.to, others: [], isKnownGood: true });
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
 * After the switch there is nothing left to compare the target with. It has recovered when it keeps to what the rule allows beside its own value
 * at detection, or is nearer to that than to what the bad version showed.
 */
function sinceDetection(condition: Condition, episode: Episode): Condition {
  if (!('limit' in condition) || condition.limit.op !== 'above_baseline') return condition;
  const { baseline, value } = episode.evidence;
  if (baseline === null || baseline.version !== episode.to || baseline.value === null || value === null) return condition;
  const { times, byAtLeast, andAbove } = condition.limit;
  return { ...condition, limit: { op: 'above', value: Math.max(times * baseline.value + byAtLeast, andAbove, (baseline.value + value) / 2) } };
}
