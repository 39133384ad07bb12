import type { Calendar } from '../domain/calendar.ts';
import type { Limits } from '../domain/limits.ts';
import type { Model, RollbackPolicy } from '../domain/model.ts';
import type { ModelGroup } from '../domain/model-group.ts';
import type { ControlPlane, Source } from '../domain/ports.ts';
import type { Route } from '../domain/routing.ts';
import type { Rule, RuleGroup } from '../domain/rule.ts';
import type { Observer } from './observer.ts';

/**
 * What one reading of the files brought to life. A reload makes a new one; episodes in flight keep the one they started with,
 * so it is closed only when the last of them ended.
 */
export type Runtime = {
  readonly models: ReadonlyMap<string, Model>;
  readonly groups: readonly RuleGroup[];
  /** Models that depend on each other. */
  readonly modelGroups: readonly ModelGroup[];
  readonly sources: ReadonlyMap<string, Source>;
  readonly planes: ReadonlyMap<string, ControlPlane>;
  readonly observer: Observer;
  /** Who is told; `null`: nobody. */
  readonly route: Route | null;
  /** Receivers that hear of resolved alerts. */
  readonly sendResolved: ReadonlySet<string>;
  readonly externalLabels: Readonly<Record<string, string>>;
  /** Over all models. */
  readonly limits: Limits;
  readonly calendar: Calendar;
  /** `--dry-run`: beats every `mode: enforce`. */
  readonly forceDryRun: boolean;
};

type RuleIndex = {
  readonly byId: ReadonlyMap<string, Rule>;
  readonly byModel: ReadonlyMap<string, readonly Rule[]>;
  readonly intervals: ReadonlyMap<string, number>;
};
/** Built once for each reading of the rule files: thousands of rules are looked up in every turn. */
const indexes = new WeakMap<readonly RuleGroup[], RuleIndex>();

function indexOf({ groups }: Runtime): RuleIndex {
  const known = indexes.get(groups);
  if (known !== undefined) return known;
  const byModel = new Map<string, Rule[]>();
  const byId = new Map<string, Rule>();
  const intervals = new Map<string, number>();
  for (const group of groups) {
    for (const rule of group.rules) {
      byId.set(rule.id, rule);
      intervals.set(rule.id, group.intervalMs);
      const same = byModel.get(rule.model);
      if (same === undefined) byModel.set(rule.model, [rule]);
      else same.push(rule);
    }
  }
  const index = { byId, byModel, intervals };
  indexes.set(groups, index);
  return index;
}

/** All rules about a model. */
export function rulesOf(runtime: Runtime, model: string): readonly Rule[] {
  return indexOf(runtime).byModel.get(model) ?? [];
}

/** `null`: no such rule (any more). */
export function ruleById(runtime: Runtime, id: string): Rule | null {
  return indexOf(runtime).byId.get(id) ?? null;
}

/** How often the rule is judged, ms. */
export function intervalOf(runtime: Runtime, ruleId: string): number {
  return indexOf(runtime).intervals.get(ruleId) ?? 0;
}

/** Rules of a model that may lead to a rollback (also in a dry run). */
export function actingRules(runtime: Runtime, model: Model): readonly Rule[] {
  return rulesOf(runtime, model.name).filter((rule) => isActing(runtime, model, rule));
}

/** Whether a breach of this rule leads to a decision. */
export function isActing(runtime: Runtime, model: Model, rule: Rule): boolean {
  return rule.rollback !== null && effectivePolicy(runtime, model, rule).mode !== 'off';
}

/** The model's defaults with the rule's overrides; `--dry-run` turns `enforce` into `dry_run`. */
export function effectivePolicy(runtime: Runtime, model: Model, rule: Rule | null): RollbackPolicy {
  const policy = { ...model.rollback, ...rule?.rollback };
  return runtime.forceDryRun && policy.mode === 'enforce' ? { ...policy, mode: 'dry_run' } : policy;
}
