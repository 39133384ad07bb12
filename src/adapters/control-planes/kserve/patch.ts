import type { JsonPatchOperation } from '../../kubernetes/client.ts';
import type { Mutation } from './mutation.ts';
import { artifactOf, type InferenceService } from './objects.ts';
import type { Wish } from './observed.ts';

/** What decides which version serves, as the spec stands. */
export function wishOf(isvc: InferenceService): Wish {
  const { predictor, canary = [] } = isvc.spec;
  return {
    uri: artifactOf(predictor)?.uri ?? '',
    percent: predictor.canaryTrafficPercent ?? null,
    canaries: canary.map((entry) => ({ name: entry.predictor.name ?? '', percent: entry.trafficPercent })),
  };
}

/** Operations that turn the spec as it stands (`before`) into `after`; every value that goes is named by a `test`. */
export function wishPatch(isvc: InferenceService, { before, after }: Mutation): readonly JsonPatchOperation[] {
  const operations: JsonPatchOperation[] = [];
  const artifact = artifactOf(isvc.spec.predictor);
  if (artifact !== null && before.uri !== after.uri) {
    const path = `/spec/predictor/${artifact.key}/storageUri`;
    operations.push({ op: 'test', path, value: before.uri }, { op: 'replace', path, value: after.uri });
  }
  if (before.percent !== after.percent) {
    const path = '/spec/predictor/canaryTrafficPercent';
    if (before.percent !== null) operations.push({ op: 'test', path, value: before.percent });
    operations.push(after.percent === null ? { op: 'remove', path } : { op: 'add', path, value: after.percent });
  }
  for (const [index, canary] of after.canaries.entries()) {
    if (before.canaries[index]?.percent === canary.percent) continue;
    operations.push({ op: 'test', path: `/spec/canary/${index}/predictor/name`, value: canary.name });
    // `add` on an object's key writes it, there or not.
    operations.push({ op: 'add', path: `/spec/canary/${index}/trafficPercent`, value: canary.percent });
  }
  return operations;
}
