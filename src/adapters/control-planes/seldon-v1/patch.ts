import type { JsonPatchOperation } from '../../kubernetes/client.ts';
import type { Mutation } from './mutation.ts';
import type { Predictor, SeldonDeployment } from './objects.ts';

/** Holds, as JSON, the predictors that rollbackd took off the list: they may hold secrets, so they stay where they were, in the cluster. */
export const removedAnnotation = 'rollbackd.io/removed-predictors';

/** Predictors kept in the annotation, by name. Text that is no such map counts as none: people may write there. */
export function removedPredictors(sdep: SeldonDeployment): Readonly<Record<string, Predictor>> {
  try {
    const kept: unknown = JSON.parse(sdep.metadata.annotations?.[removedAnnotation] ?? '{}');
    return typeof kept === 'object' && kept !== null ? (kept as Record<string, Predictor>) : {};
  } catch {
    return {};
  }
}

/** What turns the list as it stands into `after`. */
export type ListPatch = { readonly operations: readonly JsonPatchOperation[]; readonly removed: string };

/**
 * Operations that turn the list as it stands into `after`. Each names the predictor it means by a `test`, so that a list in another order is refused.
 * Removals come last and from the end, so that no index moves under another; predictors that come back are taken from the annotation.
 * @returns `removed`: the new value of the annotation, empty when nothing is kept; or the name of a predictor that is kept nowhere
 */
export function listPatch(sdep: SeldonDeployment, { before, after }: Mutation): ListPatch | { readonly missing: string } {
  const present = sdep.spec.predictors;
  const operations: JsonPatchOperation[] = present.map(({ name }, index) => ({ op: 'test', path: `/spec/predictors/${index}/name`, value: name }));
  const kept = new Map(Object.entries(removedPredictors(sdep)));
  for (const [index, predictor] of present.entries()) {
    const wanted = after.find((entry) => entry.name === predictor.name);
    if (wanted === undefined || wanted.shadow || predictor.traffic === wanted.traffic) continue;
    if (predictor.traffic !== undefined) operations.push({ op: 'test', path: `/spec/predictors/${index}/traffic`, value: predictor.traffic });
    operations.push({ op: 'add', path: `/spec/predictors/${index}/traffic`, value: wanted.traffic });
  }
  for (const [index, predictor] of [...present.entries()].toReversed()) {
    if (after.some((entry) => entry.name === predictor.name)) continue;
    operations.push({ op: 'remove', path: `/spec/predictors/${index}` });
    kept.set(predictor.name, predictor);
  }
  for (const [index, entry] of after.entries()) {
    if (before.some((other) => other.name === entry.name)) continue;
    const predictor = kept.get(entry.name);
    if (predictor === undefined) return { missing: entry.name };
    operations.push({ op: 'add', path: `/spec/predictors/${index}`, value: { ...predictor, traffic: entry.traffic } });
    kept.delete(entry.name);
  }
  return { operations, removed: kept.size === 0 ? '' : JSON.stringify(Object.fromEntries(kept)) };
}
