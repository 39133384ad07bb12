import type { Model, RollbackPolicy } from '../domain/model.ts';
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
  readonly sources: ReadonlyMap<string, Source>;
  readonly planes: ReadonlyMap<string, ControlPlane>;
  readonly observer: Observer;
  /** Who is told; `null`: nobody. */
  readonly route: Route | null;
  /** Receivers that hear of resolved alerts. */
  readonly sendResolved: ReadonlySet<string>;
  readonly externalLabels: Readonly<Record<string, string>>;
  /** `--dry-run`: beats every `mode: enforce`. */
  readonly forceDryRun: boolean;
};

/** Rules of a model that may lead to a rollback (also in a dry run). */
export function actingRules(runtime: Runtime, model: Model): readonly Rule[] {
  return runtime.groups.flatMap((group) => group.rules).filter((rule) => rule.model === model.name && isActing(runtime, model, rule));
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
