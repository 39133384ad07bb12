import { defaultPolicy, toOverrides } from '../config/policy-schema.ts';
import { formatDuration } from '../domain/duration.ts';
import type { RollbackPolicy } from '../domain/model.ts';
import type { ExprCondition, Rule, RuleGroup } from '../domain/rule.ts';
import { checkActiveTimes } from './active-times.ts';
import { toCondition } from './condition.ts';
import type { ParsedCondition } from './condition-schema.ts';
import type { GroupContext, KnownModel, RuleFileContext } from './context.ts';
import { type Diagnostic, hasErrors, sortDiagnostics } from './diagnostic.ts';
import { lintRules } from './lint.ts';
import { nearest } from './nearest.ts';
import { groupSchema, type ParsedRule, prometheusRuleSchema, ruleFileSchema, ruleSchema } from './schema.ts';
import { validate, valueAt } from './validate.ts';
import { YamlFile } from './yaml-document.ts';

/** `groups` is empty when any diagnostic is an error: a file is never taken in part. */
export type RuleFileResult = { readonly groups: readonly RuleGroup[]; readonly diagnostics: readonly Diagnostic[] };

const hints = {
  severity: 'it is a label, write labels: {severity: page}',
  record: 'rollbackd stores no series, keep recording rules in Prometheus',
  query_offset: 'rollbackd asks for the present instant, remove it',
  limit: 'rollbackd has no limit of alerts per rule, remove it',
};

/**
 * Reads a rule file: YAML, schema, templates, PromQL, and what is known of the models. All faults at once; never throws.
 * @param source text, or the file's bytes
 * @param file name as it is to be shown in diagnostics and in `Rule.place`
 */
export function parseRuleFile(source: string | Uint8Array, file: string, known: RuleFileContext = {}): RuleFileResult {
  const yaml = new YamlFile(file, source);
  const found = yaml.isReadable ? readGroups(yaml, known) : [];
  const diagnostics = sortDiagnostics(yaml.diagnostics);
  return { groups: hasErrors(diagnostics) ? [] : withUniqueIds(found), diagnostics };
}

/**
 * Gives each rule its id over all files: `<group>/<alert>`, with `#2`, `#3` … behind it when the pair repeats, in the order
 * of the groups (so hand them over sorted by file).
 */
export function withUniqueIds(groups: readonly RuleGroup[]): RuleGroup[] {
  const counts = new Map<string, number>();
  return groups.map((group) => ({
    ...group,
    rules: group.rules.map((rule) => {
      const base = `${rule.group}/${rule.alert}`;
      const count = (counts.get(base) ?? 0) + 1;
      counts.set(base, count);
      return { ...rule, id: count === 1 ? base : `${base}#${count}` };
    }),
  }));
}

type Path = readonly PropertyKey[];

function readGroups(yaml: YamlFile, known: RuleFileContext): RuleGroup[] {
  const isPrometheusRule = ['apiVersion', 'kind', 'spec'].some((key) => yaml.has([key]));
  const { value, plain } = isPrometheusRule
    ? validate(yaml, prometheusRuleSchema, { folder: null, hints })
    : validate(yaml, ruleFileSchema, { folder: null, hints });
  const parsed = value === null ? null : 'spec' in value ? value.spec.groups : value.groups;
  const base: Path = isPrometheusRule ? ['spec', 'groups'] : ['groups'];
  const prefix = isPrometheusRule ? `${String(valueAt(plain, ['metadata', 'name']))}/` : '';
  const list = valueAt(plain, base);
  if (!Array.isArray(list)) return [];
  checkGroupNames(yaml, list, base);
  return list.flatMap((group, i) => readGroup(yaml, parsed?.[i] ?? parseParts(group), [...base, i], prefix, known));
}

function checkGroupNames(yaml: YamlFile, list: readonly unknown[], base: Path): void {
  const seen = new Set<string>();
  list.forEach((group, i) => {
    const name = valueAt(group, ['name']);
    if (typeof name !== 'string' || name === '') return;
    if (seen.has(name))
      yaml.report([...base, i, 'name'], `found ${JSON.stringify(name)} a second time, expected a name of its own in this file`, { code: 'duplicate' });
    seen.add(name);
  });
}

/** A group as far as it could be read: `null` stands for what is missing or faulty. */
type GroupParts = {
  readonly name: string | null;
  readonly model: string | null;
  readonly interval?: number | undefined;
  readonly labels: Readonly<Record<string, string>>;
  readonly rules: readonly (ParsedRule | null)[];
};

/** Reads the parts of a faulty group one by one: what stands beside a fault is checked all the same. */
function parseParts(plain: unknown): GroupParts {
  const name = valueAt(plain, ['name']);
  const model = valueAt(plain, ['model']);
  const rules = valueAt(plain, ['rules']);
  const { shape } = groupSchema;
  return {
    name: typeof name === 'string' ? name : null,
    model: typeof model === 'string' && model !== '' ? model : null,
    interval: shape.interval.safeParse(valueAt(plain, ['interval'])).data,
    labels: shape.labels.safeParse(valueAt(plain, ['labels'])).data ?? {},
    rules: Array.isArray(rules) ? rules.map((rule) => ruleSchema.safeParse(rule).data ?? null) : [],
  };
}

/** The schema has told its faults already; here follows what it cannot know. */
function readGroup(yaml: YamlFile, parts: GroupParts, path: Path, prefix: string, known: RuleFileContext): RuleGroup[] {
  const model = checkModel(yaml, parts.model, path, known);
  const intervalMs = parts.interval ?? known.evaluationIntervalMs ?? 15_000;
  const context = { yaml, path, model, intervalMs };
  for (const [i, rule] of parts.rules.entries())
    if (rule?.condition !== undefined) refuseSequentialParts(yaml, rule.condition, [...path, 'rules', i, 'condition']);
  for (const [i, rule] of parts.rules.entries()) if (rule !== null) checkAgainstModel(context, rule, [...path, 'rules', i]);
  lintRules(context, parts.rules, parts.labels);
  if (parts.name === null || parts.model === null) return [];
  const group = { name: prefix + parts.name, model: parts.model, intervalMs };
  const toPlaced = (rule: ParsedRule | null, i: number): Rule[] =>
    rule === null ? [] : [toRule(rule, group, parts.labels, model?.policy ?? defaultPolicy, { file: yaml.file, ...yaml.placeAt([...path, 'rules', i]) })];
  return [{ ...group, rules: parts.rules.flatMap(toPlaced) }];
}

function checkModel(yaml: YamlFile, name: string | null, path: Path, known: RuleFileContext): KnownModel | null {
  if (name === null || known.models === undefined) return null;
  const model = known.models.get(name);
  if (model !== undefined) return model;
  const names = [...known.models.keys()];
  const suggestion = nearest(name, names);
  yaml.report(
    [...path, 'model'],
    `found ${JSON.stringify(name)}, expected a model of the daemon's file${suggestion === null ? '' : `; did you mean "${suggestion}"?`} ${names.length === 0 ? '(it has none)' : `(it has: ${names.slice(0, 10).join(', ')}${names.length > 10 ? ' …' : ''})`}`,
    { code: 'unknown_model' },
  );
  return null;
}

/** A detector follows one signal, and says when; it is no part of another condition. */
function refuseSequentialParts(yaml: YamlFile, condition: ParsedCondition, path: Path): void {
  for (const kind of ['all', 'any'] as const)
    condition[kind]?.forEach((part, index) => {
      for (const signal of ['error_ratio', 'latency'] as const)
        if (part[signal]?.detect === 'sequential')
          yaml.report([...path, kind, index, signal, 'detect'], `found sequential inside ${kind}, expected it alone in a rule; write a rule of its own`, {
            code: 'sequential_inside',
          });
      refuseSequentialParts(yaml, part, [...path, kind, index]);
    });
}

function checkAgainstModel({ yaml, model }: GroupContext, rule: ParsedRule, path: Path): void {
  if (model === null) return;
  if (rule.expr !== undefined && model.promql === false)
    yaml.report([...path, 'expr'], 'found PromQL, but the model’s source has no PromQL engine; write a condition, or give the model a prometheus source', {
      code: 'no_promql',
      at: 'key',
    });
  if (rule.rollback !== undefined && model.policy !== null && model.timeIntervals !== undefined)
    checkActiveTimes(yaml, [...path, 'rollback'], {
      written: rule.rollback,
      policy: { ...model.policy, ...toOverrides(rule.rollback, model.policy) },
      intervals: model.timeIntervals,
    });
  if (rule.condition !== undefined) checkSignals(yaml, model, rule.condition, [...path, 'condition']);
}

/** Whether the model has the signals that the condition asks for, and a limit that its buckets can show. */
function wayOut(lack: string | undefined, key: string): string {
  return lack === undefined ? `; add ${key} to it` : `: ${lack}`;
}

function checkSignals(yaml: YamlFile, model: KnownModel, condition: ParsedCondition, path: Path): void {
  const { error_ratio: errorRatio, burn_rate: burnRate, latency } = condition;
  const needsErrors = errorRatio === undefined ? (burnRate === undefined ? null : 'burn_rate') : 'error_ratio';
  if (needsErrors !== null && model.hasErrors === false)
    yaml.report([...path, needsErrors], `the model has no errors signal${wayOut(model.lacks?.errors, 'signals.errors')}`, { code: 'no_signal', at: 'key' });
  if (latency !== undefined && model.hasLatency === false)
    yaml.report([...path, 'latency'], `the model has no latency signal${wayOut(model.lacks?.latency, 'signals.latency')}`, { code: 'no_signal', at: 'key' });
  if (condition.quality?.metric !== undefined && model.hasQuality === false)
    yaml.report(
      [...path, 'quality', 'metric'],
      'the model names no registry to look it up in; add quality: {source: <an mlflow source>} to it, or write gauge',
      {
        code: 'no_signal',
        at: 'key',
      },
    );
  const highest = model.highestBucketSeconds;
  const limits = [
    { key: ['above'], limitMs: latency?.above },
    { key: ['above_baseline', 'by_at_least'], limitMs: latency?.above_baseline?.by_at_least },
    { key: ['above_baseline', 'and_above'], limitMs: latency?.above_baseline?.and_above },
  ];
  for (const { key, limitMs } of limits) {
    if (limitMs === undefined || highest === null || limitMs / 1000 < highest) continue;
    yaml.report(
      [...path, 'latency', ...key],
      `found ${formatDuration(limitMs)}, expected less than the highest finite bucket of the histogram (${Number(highest.toPrecision(4))}s); at or above it the rule could never fire`,
      { code: 'never_fires' },
    );
  }
  for (const kind of ['all', 'any'] as const) condition[kind]?.forEach((part, index) => checkSignals(yaml, model, part, [...path, kind, index]));
}

function toRule(
  parsed: ParsedRule,
  group: Omit<RuleGroup, 'rules'>,
  groupLabels: Readonly<Record<string, string>>,
  policy: RollbackPolicy,
  place: Rule['place'],
): Rule {
  return {
    id: `${group.name}/${parsed.alert}`,
    group: group.name,
    alert: parsed.alert,
    model: group.model,
    condition: parsed.condition === undefined ? toExpr(parsed) : toCondition(parsed.condition),
    forMs: parsed.for,
    keepFiringForMs: parsed.keep_firing_for,
    labels: { ...groupLabels, ...parsed.labels },
    annotations: parsed.annotations,
    onNoData: parsed.on_no_data,
    onError: parsed.on_error,
    rollback: parsed.rollback === undefined ? null : toOverrides(parsed.rollback, policy),
    place,
  };
}

function toExpr(parsed: ParsedRule): ExprCondition {
  return { kind: 'expr', expr: parsed.expr?.text ?? '', rangeMs: parsed.expr?.facts.rangeMs ?? 0, minRequests: parsed.min_requests ?? null };
}
