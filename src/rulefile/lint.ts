import { formatDuration } from '../domain/duration.ts';
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
    for (const lint of [...lintRule(rule, context.intervalMs), ...lintActing(rule, context, groupLabels)]) tell(lint);
    const identity = JSON.stringify([rule.alert, Object.entries(rule.labels).toSorted(), rule.expr?.text ?? rule.condition]);
    if (seen.has(identity))
      tell({ code: 'duplicate_rule', key: ['alert'], message: `${rule.alert} stands twice in this group, with the same labels and the same condition` });
    seen.add(identity);
  });
}

function lintRule(rule: ParsedRule, intervalMs: number): Lint[] {
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
  for (const [signal, condition] of Object.entries(rule.condition ?? {})) {
    if (condition !== undefined && condition.window < 4 * intervalMs)
      lints.push({
        code: 'short_window',
        key: ['condition', signal, 'window'],
        message: `window (${formatDuration(condition.window)}) is shorter than 4 × the interval (${formatDuration(intervalMs)}): a missed scrape leaves it without data`,
      });
  }
  return lints;
}

function lintActing(rule: ParsedRule, { model }: GroupContext, groupLabels: Readonly<Record<string, string>>): Lint[] {
  const mode = rule.rollback?.mode ?? model?.policy?.mode ?? 'enforce';
  if (rule.rollback === undefined || mode === 'off') return [];
  const lints: Lint[] = [];
  const { error_ratio: errorRatio, latency, request_rate: requestRate } = rule.condition ?? {};
  if (rule.labels['severity'] === undefined && groupLabels['severity'] === undefined)
    lints.push({ code: 'no_severity', key: ['alert'], message: 'the rule acts but has no severity label; add labels: {severity: page}' });
  if (mode === 'enforce' && rule.for === 0) lints.push({ code: 'no_for', key: ['alert'], message: 'the rule acts on a single evaluation; add for: 30s' });
  if (mode === 'enforce' && model?.hasSmokeTest === false)
    lints.push({
      code: 'no_smoke_test',
      key: ['rollback'],
      message: 'the rule acts but its model has no smoke_test: nothing proves the target before traffic moves',
    });
  for (const [signal, condition] of [
    ['error_ratio', errorRatio],
    ['latency', latency],
  ] as const) {
    if (condition?.min_requests === 0)
      lints.push({ code: 'no_min_requests', key: ['condition', signal, 'min_requests'], message: 'the rule acts on any number of requests; set min_requests' });
  }
  if (requestRate?.below !== undefined)
    lints.push({
      code: 'acts_on_low_traffic',
      key: ['rollback'],
      message: 'the rule acts because traffic is low, which is seldom the version’s fault; rather let it tell only',
    });
  return lints;
}
