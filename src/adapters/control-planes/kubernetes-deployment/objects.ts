import { createHash } from 'node:crypto';
import { z } from 'zod';
import { canonicalJson } from '../../../domain/canonical-json.ts';
import { lookUp } from '../../../domain/lookup.ts';
import { objectMeta } from '../../kubernetes/object.ts';
import type { VersionFrom } from './schema.ts';

export const hashLabel = 'pod-template-hash';
const revisionAnnotation = 'deployment.kubernetes.io/revision';

const container = z.looseObject({ name: z.string(), image: z.string() });
const podTemplate = z.looseObject({
  metadata: z.looseObject({ labels: z.record(z.string(), z.string()).optional(), annotations: z.record(z.string(), z.string()).optional() }).nullish(),
  spec: z.looseObject({ containers: z.array(container) }),
});
export type PodTemplate = z.output<typeof podTemplate>;

const condition = z.object({
  type: z.string(),
  status: z.string(),
  reason: z.string().default(''),
  message: z.string().default(''),
  lastUpdateTime: z.string().default(''),
});

/** A Deployment, as far as it is used. */
export const deploymentSchema = z.object({
  metadata: objectMeta,
  spec: z.object({
    replicas: z.number().default(1),
    paused: z.boolean().default(false),
    selector: z.object({
      matchLabels: z.record(z.string(), z.string()).default({}),
      matchExpressions: z.array(z.object({ key: z.string(), operator: z.string(), values: z.array(z.string()).nullish() })).default([]),
    }),
    strategy: z.object({ type: z.string().default('RollingUpdate') }).default({ type: 'RollingUpdate' }),
    revisionHistoryLimit: z.number().default(10),
    template: podTemplate,
  }),
  status: z
    .object({
      observedGeneration: z.number().default(0),
      replicas: z.number().default(0),
      updatedReplicas: z.number().default(0),
      availableReplicas: z.number().default(0),
      conditions: z.array(condition).default([]),
    })
    .prefault({}),
});
export type Deployment = z.output<typeof deploymentSchema>;

/** A ReplicaSet, as far as it is used. */
export const replicaSetSchema = z.object({
  metadata: objectMeta,
  spec: z.object({ replicas: z.number().default(1), template: podTemplate }),
  status: z.object({ replicas: z.number().default(0), availableReplicas: z.number().default(0) }).prefault({}),
});
export type ReplicaSet = z.output<typeof replicaSetSchema>;

/** Revision number of a ReplicaSet; it changes when the ReplicaSet is used again, so it only orders. */
export function revisionOf(set: ReplicaSet): number {
  return Number(lookUp(set.metadata.annotations ?? {}, revisionAnnotation) ?? 0);
}

export function hashOf(set: ReplicaSet): string {
  return lookUp(set.metadata.labels ?? {}, hashLabel) ?? lookUp(set.spec.template.metadata?.labels ?? {}, hashLabel) ?? set.metadata.uid;
}

/** A ReplicaSet's template as a Deployment would have it: without the label its controller adds. */
export function withoutHash(template: PodTemplate): PodTemplate {
  const labels = Object.fromEntries(Object.entries(template.metadata?.labels ?? {}).filter(([key]) => key !== hashLabel));
  return { ...template, metadata: { ...template.metadata, labels } };
}

export function isSameTemplate(a: PodTemplate, b: PodTemplate): boolean {
  return canonicalJson(withoutHash(a)) === canonicalJson(withoutHash(b));
}

/** Of what runs, without labels and annotations; a hash, since environments may hold secrets. */
export function specHash(template: PodTemplate): string {
  return createHash('sha256').update(canonicalJson(template.spec)).digest('hex').slice(0, 16);
}

/** Images that another push may have changed under the same name. */
export function mutableImages(template: PodTemplate): string[] {
  return template.spec.containers.map(({ image }) => image).filter((image) => !image.includes('@') && ['', 'latest'].includes(tagOf(image)));
}

/** What names the version of this template; the hash where it says nothing. */
export function versionOf(template: PodTemplate, from: VersionFrom, hash: string): string {
  if (from === 'pod_template_hash') return hash;
  if (typeof from === 'object' && 'label' in from) return lookUp(template.metadata?.labels ?? {}, from.label) ?? hash;
  const wanted = typeof from === 'object' ? from.image_tag : null;
  const image = template.spec.containers.find(({ name }) => wanted === null || name === wanted)?.image ?? '';
  const digest = image.split('@')[1];
  return digest ?? (tagOf(image) === '' ? hash : tagOf(image));
}

/** `''` without one. A port of the registry is none. */
function tagOf(image: string): string {
  const [name = ''] = image.split('@');
  const last = name.slice(name.lastIndexOf('/') + 1);
  return last.includes(':') ? last.slice(last.indexOf(':') + 1) : '';
}

/** `labelSelector` of a query, of a selector with expressions too. */
export function selectorText({ matchLabels, matchExpressions }: Deployment['spec']['selector']): string {
  const expressions = matchExpressions.map(({ key, operator, values }) => {
    if (operator === 'Exists') return key;
    if (operator === 'DoesNotExist') return `!${key}`;
    return `${key} ${operator === 'NotIn' ? 'notin' : 'in'} (${(values ?? []).join(',')})`;
  });
  return [...Object.entries(matchLabels).map(([key, value]) => `${key}=${value}`), ...expressions].join(',');
}
