import { z } from 'zod';
import { canonicalJson } from '../../../domain/canonical-json.ts';
import { lookUp } from '../../../domain/lookup.ts';
import { type PodTemplate, withoutLabel } from '../pod-template.ts';
import type { ReplicaSet } from '../replica-sets.ts';
import { hashLabel, hashOf } from './objects.ts';

/** Labels and annotations that the controller gives to pods only while they are canary, preview, stable or active. */
const ephemeralAnnotation = 'rollout.argoproj.io/ephemeral-metadata';
const ephemeralSchema = z.object({ labels: z.record(z.string(), z.string()).nullish(), annotations: z.record(z.string(), z.string()).nullish() });
const affinitySchema = z.looseObject({ podAntiAffinity: z.record(z.string(), z.array(z.unknown())).nullish() });

type JsonMap = Readonly<Record<string, unknown>>;

/**
 * A ReplicaSet's template as it was before the controller added to it: hash label, ephemeral metadata, anti-affinity against the stable pods. What would be
 * left in makes another template, and so a new ReplicaSet, for which all steps are walked.
 */
export function originalTemplate(set: ReplicaSet): PodTemplate {
  const template = withoutLabel(set.spec.template, hashLabel);
  const ephemeral = ephemeralOf(set);
  const { labels, annotations } = { ...(template.metadata as { labels?: JsonMap; annotations?: JsonMap }) };
  const metadata = {
    ...template.metadata,
    labels: without(labels, ephemeral.labels),
    annotations: without(annotations, ephemeral.annotations),
  };
  return withoutNothing({ ...template, metadata, spec: withoutInjectedAffinity(template.spec) }) as PodTemplate;
}

/**
 * Hash of the ReplicaSet that a template asks for, by its words: the one written by a rollback is literally that of its ReplicaSet. What people write
 * lacks the defaults that the ReplicaSet has, and is not found so.
 * @param preferred of several ReplicaSets with the same template this one
 */
export function hashByTemplate(template: unknown, sets: readonly ReplicaSet[], preferred: string): string | null {
  if (template === undefined || template === null) return null;
  const wanted = canonicalJson(withoutNothing(template));
  const alike = sets.filter((set) => canonicalJson(originalTemplate(set)) === wanted).map(hashOf);
  return alike.includes(preferred) ? preferred : (alike[0] ?? null);
}

/** What cannot be read counts as nothing, as it does for the controller. */
function ephemeralOf(set: ReplicaSet): z.output<typeof ephemeralSchema> {
  const text = lookUp(set.metadata.annotations ?? {}, ephemeralAnnotation);
  try {
    return ephemeralSchema.parse(JSON.parse(text ?? '{}'));
  } catch {
    return {};
  }
}

function without(map: JsonMap | null | undefined, keys: JsonMap | null | undefined): JsonMap {
  return Object.fromEntries(Object.entries(map ?? {}).filter(([key]) => lookUp(keys ?? {}, key) === undefined));
}

/** Terms on the hash label are the controller's own. */
function withoutInjectedAffinity(spec: PodTemplate['spec']): PodTemplate['spec'] {
  const affinity = affinitySchema.safeParse(spec['affinity']).data;
  if (affinity?.podAntiAffinity == null || !canonicalJson(affinity.podAntiAffinity).includes(hashLabel)) return spec;
  const kept = Object.entries(affinity.podAntiAffinity).map(
    ([when, terms]) => [when, terms.filter((term) => !canonicalJson(term).includes(hashLabel))] as const,
  );
  const rules = Object.fromEntries(kept.filter(([, terms]) => terms.length > 0));
  const { podAntiAffinity: _injected, ...others } = affinity;
  const left = { ...others, ...(Object.keys(rules).length === 0 ? {} : { podAntiAffinity: rules }) };
  const { affinity: _affinity, ...rest } = spec;
  return { ...rest, ...(Object.keys(left).length === 0 ? {} : { affinity: left }) };
}

/** Without `null` and without empty maps of metadata: custom resources do not keep the one, and nobody means the other. */
function withoutNothing(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNothing);
  if (typeof value !== 'object' || value === null) return value;
  const kept = Object.entries(value)
    .filter(
      ([key, inner]) => inner !== null && inner !== undefined && !((key === 'labels' || key === 'annotations') && Object.keys(inner as object).length === 0),
    )
    .map(([key, inner]) => [key, withoutNothing(inner)] as const);
  return Object.fromEntries(kept);
}
