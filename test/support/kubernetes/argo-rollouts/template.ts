import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { isMap, type JsonMap, type KubernetesObject } from '../kubernetes-object.ts';
import { podTemplateDefaults } from '../resource-kind.ts';

export const hashLabel = 'rollouts-pod-template-hash';
const ephemeral = 'rollout.argoproj.io/ephemeral-metadata';

/** Of the template as it is written: with the server's defaults spelled out it is another one. */
export function hashOfTemplate(template: JsonMap): string {
  return createHash('sha1')
    .update(JSON.stringify(sorted(template)))
    .digest('hex')
    .slice(0, 9);
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isMap(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, inner]) => [key, sorted(inner)]),
  );
}

export function labelHash(set: KubernetesObject): string {
  return set.metadata.labels?.[hashLabel] ?? '';
}

/**
 * The ReplicaSet a template asks for: by its hash, else by its content, with the server's defaults on the one side and without what the controller has
 * added on the other.
 */
export function findSet(template: JsonMap, sets: readonly KubernetesObject[]): KubernetesObject | undefined {
  const hash = hashOfTemplate(template);
  const byHash = sets.find((set) => labelHash(set) === hash);
  if (byHash !== undefined) return byHash;
  const holder = { template: structuredClone(template) };
  podTemplateDefaults(holder);
  const wanted = comparable(holder.template);
  return sets.find((set) => isDeepStrictEqual(comparable(withEphemeral(set, null).template), wanted));
}

function comparable(template: JsonMap): unknown {
  const { metadata, spec } = structuredClone(template) as { metadata?: { labels?: JsonMap; annotations?: JsonMap }; spec: JsonMap };
  const { [hashLabel]: _hash, ...labels } = metadata?.labels ?? {};
  const affinity = withoutInjected(spec['affinity']);
  const { affinity: _affinity, serviceAccount: _deprecated, ...rest } = spec;
  return { labels, annotations: metadata?.annotations ?? {}, spec: sorted(affinity === undefined ? rest : { ...rest, affinity }) };
}

/** The anti-affinity against the stable pods, that the controller gives to a canary's. */
export function withInjected(template: JsonMap, stable: string): JsonMap {
  const term = {
    labelSelector: { matchExpressions: [{ key: hashLabel, operator: 'In', values: [stable] }] },
    topologyKey: 'kubernetes.io/hostname',
  };
  const spec = template['spec'] as JsonMap;
  return { ...template, spec: { ...spec, affinity: { podAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [term] } } } };
}

function withoutInjected(affinity: unknown): unknown {
  return JSON.stringify(affinity ?? null).includes(hashLabel) ? undefined : affinity;
}

/** A ReplicaSet's template and annotation with other ephemeral metadata than now. */
export function withEphemeral(set: KubernetesObject, wanted: JsonMap | null): { readonly template: JsonMap; readonly annotation: string | null } {
  const now = JSON.parse(set.metadata.annotations?.[ephemeral] ?? '{}') as { labels?: JsonMap; annotations?: JsonMap };
  const template = structuredClone((set.spec as JsonMap)['template']) as { metadata: { labels?: JsonMap; annotations?: JsonMap } };
  for (const kind of ['labels', 'annotations'] as const) {
    const added = (wanted?.[kind] ?? {}) as JsonMap;
    const kept = Object.entries(template.metadata[kind] ?? {}).filter(([key]) => !Object.hasOwn(now[kind] ?? {}, key));
    template.metadata[kind] = { ...Object.fromEntries(kept), ...added };
  }
  return { template, annotation: wanted === null ? null : JSON.stringify(wanted) };
}

export const ephemeralAnnotation = ephemeral;
