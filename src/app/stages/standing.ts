import type { FindContext } from '../../domain/conditions/find.ts';
import { isKnownGood } from '../../domain/ledger.ts';
import type { Measurement } from '../../domain/measurement.ts';
import type { Model } from '../../domain/model.ts';
import type { LedgerEntry } from '../../domain/records.ts';
import { type Condition, partsOf } from '../../domain/rule.ts';

/** Whether a condition looks at other versions beside the one it judges. */
export function looksAtOthers(condition: Condition): boolean {
  if (condition.kind === 'request_rate') return condition.whileOthers !== undefined;
  if ('limit' in condition && condition.limit.op === 'above_baseline') return true;
  return partsOf(condition).some(looksAtOthers);
}

/** How a version and the others beside it stand, for conditions that compare them. */
export function standingOf(
  model: Model,
  version: string,
  byVersion: ReadonlyMap<string, Measurement>,
  entryOf: (version: string) => LedgerEntry | null,
): Omit<FindContext, 'nowMs' | 'version'> {
  const recordOf = (id: string) => {
    const entry = entryOf(id);
    return { isKnownGood: isKnownGood(entry, id, model.rollback.knownGood).good, firstSeenMs: entry?.firstSeenMs ?? null };
  };
  const others = [...byVersion].filter(([id]) => id !== version).map(([id, measurement]) => ({ version: id, measurement, ...recordOf(id) }));
  return { ...recordOf(version), others };
}
