import type { JsonPatchOperation } from '../../kubernetes/client.ts';
import type { Mutation } from './mutation.ts';
import { artifactOf, type InferenceService, type Predictor } from './objects.ts';
import type { Wish } from './observed.ts';

/** What decides which version serves, as the spec stands. */
export function wishOf(isvc: InferenceService): Wish {
  const { predictor, canary = [] } = isvc.spec;
  return {
    uri: artifactOf(predictor)?.uri ?? '',
    percent: predictor.canaryTrafficPercent ?? null,
    predictor: predictor.name ?? null,
    canaries: canary.map((entry) => ({ name: entry.predictor.name ?? '', percent: entry.trafficPercent, uri: artifactOf(entry.predictor)?.uri ?? null })),
  };
}

/** Operations that turn the spec as it stands (`before`) into `after`; every value that goes is named by a `test`. */
export function wishPatch(isvc: InferenceService, { before, after }: Mutation): readonly JsonPatchOperation[] {
  const operations: JsonPatchOperation[] = before.predictor === after.predictor ? artifactPatch(isvc, before, after) : promotion(isvc, before, after);
  if (before.percent !== after.percent) {
    const path = '/spec/predictor/canaryTrafficPercent';
    if (before.percent !== null) operations.push({ op: 'test', path, value: before.percent });
    operations.push(after.percent === null ? { op: 'remove', path } : { op: 'add', path, value: after.percent });
  }
  return [...operations, ...canaryPatch(isvc, before.canaries, after.canaries)];
}

function artifactPatch(isvc: InferenceService, before: Wish, after: Wish): JsonPatchOperation[] {
  const artifact = artifactOf(isvc.spec.predictor);
  if (artifact === null || before.uri === after.uri) return [];
  const path = `/spec/predictor/${artifact.key}/storageUri`;
  return [
    { op: 'test', path, value: before.uri },
    { op: 'replace', path, value: after.uri },
  ];
}

/**
 * The canary's name, and all it says of its model, become the stable predictor's: KServe takes its Deployment over as it runs. The other way the stable
 * predictor gets its former name and artifact, and what served goes on as a canary of its name.
 */
function promotion(isvc: InferenceService, before: Wish, after: Wish): JsonPatchOperation[] {
  const stable = artifactOf(isvc.spec.predictor);
  const canary = isvc.spec.canary?.find((entry) => entry.predictor.name === after.predictor)?.predictor;
  const promoted = canary === undefined ? null : artifactOf(canary);
  if (stable === null) return [];
  const path = '/spec/predictor/name';
  const name: JsonPatchOperation = after.predictor === null ? { op: 'remove', path } : { op: 'add', path, value: after.predictor };
  if (canary === undefined || promoted === null) return [...artifactPatch(isvc, before, after), name];
  return [
    { op: 'test', path: `/spec/predictor/${stable.key}/storageUri`, value: before.uri },
    ...(stable.key === promoted.key ? [] : [{ op: 'remove', path: `/spec/predictor/${stable.key}` } as const]),
    { op: 'add', path: `/spec/predictor/${promoted.key}`, value: canary[promoted.key] },
    name,
  ];
}

/** Percentages first, by the places that canaries have; then those that go, last first; then those that come. */
function canaryPatch(isvc: InferenceService, before: Wish['canaries'], after: Wish['canaries']): JsonPatchOperation[] {
  const operations: JsonPatchOperation[] = [];
  const wanted = new Map(after.map((canary) => [canary.name, canary]));
  const known = [...before.entries()];
  const isNamed = (index: number, name: string): JsonPatchOperation => ({ op: 'test', path: `/spec/canary/${index}/predictor/name`, value: name });
  for (const [index, { name, percent }] of known) {
    const next = wanted.get(name);
    if (next === undefined || next.percent === percent) continue;
    // `add` on an object's key writes it, there or not.
    operations.push(isNamed(index, name), { op: 'add', path: `/spec/canary/${index}/trafficPercent`, value: next.percent });
  }
  for (const [index, { name }] of known.toReversed())
    if (!wanted.has(name)) operations.push(isNamed(index, name), { op: 'remove', path: `/spec/canary/${index}` });
  const come = after.filter(({ name }) => !before.some((canary) => canary.name === name)).map((canary) => canaryEntry(isvc.spec.predictor, canary));
  if (come.length > 0 && isvc.spec.canary === undefined) operations.push({ op: 'add', path: '/spec/canary', value: come });
  else operations.push(...come.map((value) => ({ op: 'add', path: '/spec/canary/-', value }) as const));
  return operations;
}

/** Keys that KServe refuses in a canary, or that are the stable predictor's own. */
const stableOnly: ReadonlySet<string> = new Set([
  'name',
  'canaryTrafficPercent',
  'minReplicas',
  'maxReplicas',
  'scaleTarget',
  'scaleMetric',
  'scaleMetricType',
  'autoScaling',
  'workerSpec',
]);

/** The stable predictor with another artifact. As many pods as that: without `minReplicas` a canary without traffic has none. */
function canaryEntry(predictor: Predictor, { name, percent, uri }: Wish['canaries'][number]): unknown {
  const artifact = artifactOf(predictor);
  const rest = Object.fromEntries(Object.entries(predictor).filter(([key]) => !stableOnly.has(key)));
  const model = artifact === null ? {} : { [artifact.key]: { ...(predictor[artifact.key] as object), storageUri: uri } };
  return { predictor: { ...rest, ...model, name, minReplicas: predictor['minReplicas'] ?? 1 }, trafficPercent: percent };
}
