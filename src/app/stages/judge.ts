import { createHash } from 'node:crypto';
import type { JournalEvent } from '../../domain/event.ts';
import { judge } from '../../domain/judge.ts';
import type { Model } from '../../domain/model.ts';
import type { Condition } from '../../domain/rule.ts';
import type { RuleState, Verdict } from '../../domain/verdict.ts';
import { type Memory, ruleStateKey } from '../memory.ts';
import type { Watches } from '../watches.ts';
import type { Measured } from './measure.ts';
import { looksAtOthers, standingOf } from './standing.ts';

/** Verdicts of one rule, and what must be journalled of its memory. */
export type Judged = { readonly verdicts: readonly Verdict[]; readonly journalled: Readonly<Record<string, RuleState | null>> };

/**
 * Judges every version of every rule. A state is journalled while something pends or fires (so that `for` survives a restart)
 * and once more when that ends; what a detector has counted when a restart would miss it. The rest is only held. A rule whose condition was changed
 * (by a reload, or while no process ran) begins anew: what was true of another condition says nothing of this one.
 */
export function judgeAll(
  measured: readonly Measured[],
  memory: Memory,
  context: { model: Model | null; nowMs: number; intervalMs: number; watches: Watches },
): Judged {
  const verdicts: Verdict[] = [];
  const journalled: Record<string, RuleState | null> = {};
  const { model, watches, ...time } = context;
  for (const { rule, byVersion } of measured) {
    const condition = markOf(rule.condition, model);
    const compares = model !== null && looksAtOthers(rule.condition);
    for (const [version, measurement] of byVersion) {
      const known = memory.ruleState(rule.id, version);
      const before = (known?.condition ?? condition) === condition ? known : null;
      const standing = compares ? { standing: standingOf(model, version, byVersion, (id) => memory.ledgerEntry(model.name, id)) } : {};
      const result = judge({ rule, version, measurement, state: before, ...standing, ...time });
      verdicts.push(result.verdict);
      const matters = result.state.breachingSinceMs !== null || result.state.firingSinceMs !== null;
      const mattered = known !== null && (known.breachingSinceMs !== null || known.firingSinceMs !== null);
      const isDue = matters ? memory.isWorthWriting(before, result.state) : mattered;
      // One row holds both: whichever is written takes the other along.
      const counted = isDue ? watches.stateOf(rule.id, version, time.nowMs) : watches.worthWriting(rule.id, version, time.nowMs);
      const sequential = counted ?? known?.sequential;
      const state: RuleState = { ...result.state, condition, ...(sequential === undefined ? {} : { sequential }) };
      if (isDue || counted !== null) journalled[ruleStateKey(rule.id, version)] = matters || sequential !== undefined ? state : null;
      memory.holdRuleState(state);
    }
  }
  return { verdicts, journalled };
}

/** Once for each reading of the files, which makes new ones. */
const marks = new WeakMap<Condition, string>();

/** Of what is asked: the condition, and the signals that it counts on. */
function markOf(condition: Condition, model: Model | null): string {
  const known = marks.get(condition);
  if (known !== undefined) return known;
  const mark = createHash('sha256')
    .update(JSON.stringify([condition, model?.signals]))
    .digest('hex')
    .slice(0, 16);
  marks.set(condition, mark);
  return mark;
}

/** The journal's event for changed states, none when nothing changed. */
export function ruleStateEvents(journalled: Readonly<Record<string, RuleState | null>>): readonly JournalEvent[] {
  return Object.keys(journalled).length === 0 ? [] : [{ type: 'rule_states', states: journalled }];
}
