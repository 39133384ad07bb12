import { formatDuration } from '../domain/duration.ts';
import { neighbours } from '../domain/sequential/count-polls.ts';
import { seconds } from '../domain/words.ts';
import type { ParsedCondition } from './condition-schema.ts';
import type { GroupContext } from './context.ts';
import type { ParsedRule } from './schema.ts';

type Lint = { readonly code: string; readonly key: readonly PropertyKey[]; readonly message: string };

/** Warnings on rules that are valid but rarely meant so. `rules` holds `null` for those that could not be read. */
export function lintRules(context: GroupContext, rules: readonly (ParsedRule | null)[], groupLabels: Readonly<Record<string, string>>): void {
  const seen = new Set<string>();
  rules.forEach((rule, i) => {
    if (rule === null) return;
    const path = [...context.path, 'rules', i];
    const tell = ({ key, code, message }: Lint): void => {
      context.yaml.report([...path, ...key], message, { code, severity: 'warning', at: 'key' });
    };
    for (const lint of [...lintRule(rule, context.intervalMs, context.model?.bucketBoundsSeconds ?? null), ...lintActing(rule, context, groupLabels)])
      tell(lint);
    const identity = JSON.stringify([rule.alert, Object.entries(rule.labels).toSorted(), rule.expr?.text ?? rule.condition]);
    if (seen.has(identity))
      tell({ code: 'duplicate_rule', key: ['alert'], message: `${rule.alert} stands twice in this group, with the same labels and the same condition` });
    seen.add(identity);
  });
}

function lintRule(rule: ParsedRule, intervalMs: number, bounds: readonly number[] | null): Lint[] {
  const lints: Lint[] = [];
  if (rule.for > 0 && rule.for < intervalMs)
    lints.push({
      code: 'short_for',
      key: ['for'],
      message: `for (${formatDuration(rule.for)}) is shorter than the interval (${formatDuration(intervalMs)}): it waits for the next evaluation anyway`,
    });
  if (rule.expr !== undefined && !rule.expr.facts.compares && rule.expr.facts.absent === null)
    lints.push({
      code: 'no_comparison',
      key: ['expr'],
      message: 'compares nothing: the alert fires for every element of the answer; add a limit, such as > 0.05',
    });
  for (const { condition, key } of conditionsIn(rule.condition))
    lints.push(...lintWindows(condition, key, intervalMs), ...lintBaseline(condition, key), ...lintBounds(condition, key, bounds));
  return lints;
}

type Written = { readonly condition: ParsedCondition; readonly key: readonly PropertyKey[] };

/** A condition and all those in it, each with its place in the rule. */
function conditionsIn(condition: ParsedCondition | undefined, key: readonly PropertyKey[] = ['condition']): Written[] {
  if (condition === undefined) return [];
  const inside = (['all', 'any'] as const).flatMap((kind) => (condition[kind] ?? []).flatMap((part, index) => conditionsIn(part, [...key, kind, index])));
  return [{ condition, key }, ...inside];
}

function lintWindows(condition: ParsedCondition, key: readonly PropertyKey[], intervalMs: number): Lint[] {
  const windows = [
    ...(['error_ratio', 'latency', 'request_rate'] as const).map((signal) => ({ key: [signal, 'window'], windowMs: condition[signal]?.window })),
    ...(condition.burn_rate?.windows ?? []).map(({ short }, index) => ({ key: ['burn_rate', 'windows', index, 'short'], windowMs: short })),
  ];
  return windows.flatMap(({ key: own, windowMs }): Lint[] => {
    if (windowMs === undefined || windowMs >= 4 * intervalMs) return [];
    const message = `window (${formatDuration(windowMs)}) is shorter than 4 × the interval (${formatDuration(intervalMs)}): a missed scrape leaves it without data`;
    return [{ code: 'short_window', key: [...key, ...own], message }];
  });
}

/** The evidence itself asks for enough requests and time. */
function isSequential(condition: ParsedCondition | undefined): boolean {
  return condition?.error_ratio?.detect === 'sequential' || condition?.latency?.detect === 'sequential';
}

/** A limit inside a bucket is blind to what lies between. */
function lintBounds(condition: ParsedCondition, key: readonly PropertyKey[], bounds: readonly number[] | null): Lint[] {
  const { latency } = condition;
  if (latency?.detect !== 'sequential' || latency.above === undefined || bounds === null) return [];
  const limit = latency.above / 1000;
  const { above, below } = neighbours(bounds, limit);
  if (above === null || above === below) return [];
  const show = (bound: number): string => seconds(bound);
  const message = `above (${formatDuration(latency.above)}) lies between the buckets ${below === null ? '0' : show(below)} and ${show(above)}: requests in between are not counted as slow; write a bound of the histogram, or add one there`;
  return [{ code: 'between_buckets', key: [...key, 'latency', 'above'], message }];
}

/** A newcomer that is just as good has a value above the baseline's half of the time. */
function lintBaseline(condition: ParsedCondition, key: readonly PropertyKey[]): Lint[] {
  return (['error_ratio', 'latency'] as const).flatMap((signal): Lint[] => {
    const limit = condition[signal]?.above_baseline;
    if (isSequential(condition) || limit === undefined || limit.times > 1 || limit.by_at_least > 0) return [];
    const message = 'any difference to the baseline is a breach, also by chance; add times or by_at_least';
    return [{ code: 'any_difference', key: [...key, signal, 'above_baseline'], message }];
  });
}

function lintActing(rule: ParsedRule, { model }: GroupContext, groupLabels: Readonly<Record<string, string>>): Lint[] {
  const mode = rule.rollback?.mode ?? model?.policy?.mode ?? 'enforce';
  if (rule.rollback === undefined || mode === 'off') return [];
  const lints: Lint[] = [];
  if (rule.labels['severity'] === undefined && groupLabels['severity'] === undefined)
    lints.push({ code: 'no_severity', key: ['alert'], message: 'the rule acts but has no severity label; add labels: {severity: page}' });
  if (mode === 'enforce' && rule.for === 0 && !isSequential(rule.condition))
    lints.push({ code: 'no_for', key: ['alert'], message: 'the rule acts on a single evaluation; add for: 30s' });
  if (mode === 'enforce' && model?.hasSmokeTest === false)
    lints.push({
      code: 'no_smoke_test',
      key: ['rollback'],
      message: 'the rule acts but its model has no smoke_test: nothing proves the target before traffic moves',
    });
  for (const { condition, key } of conditionsIn(rule.condition)) {
    for (const signal of ['error_ratio', 'latency', 'burn_rate'] as const) {
      if (condition[signal]?.min_requests === 0 && !isSequential(condition))
        lints.push({ code: 'no_min_requests', key: [...key, signal, 'min_requests'], message: 'the rule acts on any number of requests; set min_requests' });
    }
    if (condition.request_rate?.below !== undefined)
      lints.push({
        code: 'acts_on_low_traffic',
        key: ['rollback'],
        message: 'the rule acts because traffic is low, which is seldom the version’s fault; rather let it tell only',
      });
  }
  return lints;
}
