import { createHash } from 'node:crypto';
import { z } from 'zod';
import { text } from '../../config/scalars.ts';
import { canonicalJson } from '../../domain/canonical-json.ts';
import { lookUp } from '../../domain/lookup.ts';
import { labelKey, labelTerms, valueOfLabel } from '../kubernetes/label-selector.ts';

/** What planes whose versions are ReplicaSets read of pod templates. */

const container = z.looseObject({ name: z.string(), image: z.string() });
export const podTemplate = z.looseObject({
  metadata: z.looseObject({ labels: z.record(z.string(), z.string()).optional(), annotations: z.record(z.string(), z.string()).optional() }).nullish(),
  spec: z.looseObject({ containers: z.array(container) }),
});
export type PodTemplate = z.output<typeof podTemplate>;

export const labelSelector = z.object({
  matchLabels: z.record(z.string(), z.string()).default({}),
  matchExpressions: z.array(z.object({ key: z.string(), operator: z.string(), values: z.array(z.string()).nullish() })).default([]),
});

/** The label that Kubernetes recommends for the version of an application. */
const defaultLabel = 'app.kubernetes.io/version';

/** Key by which a model says what names a version. */
export const versionFrom = z
  .union(
    [
      z.strictObject({ label: text({ min: 1, expected: 'the name of a label' }).meta({ description: 'Label of the pod template that carries the version.' }) }),
      z.strictObject({
        image_tag: text({ min: 1, expected: 'the name of a container' }).meta({
          description: 'Container whose image carries the version: its tag, or its digest where it has one.',
        }),
      }),
      z.literal('image_tag'),
      z.literal('pod_template_hash'),
    ],
    { error: 'expected {label: …}, image_tag, {image_tag: container} or pod_template_hash' },
  )
  .default({ label: defaultLabel })
  .meta({
    description:
      'What names a version: {label: …} of the pod template, image_tag (of the first container, or {image_tag: container}), or pod_template_hash. Default: {label: app.kubernetes.io/version}.',
  });
export type VersionFrom = z.output<typeof versionFrom>;

/** A ReplicaSet's template as its owner would have it: without the label its controller adds. */
export function withoutLabel(template: PodTemplate, label: string): PodTemplate {
  const labels = Object.fromEntries(Object.entries(template.metadata?.labels ?? {}).filter(([key]) => key !== label));
  return { ...template, metadata: { ...template.metadata, labels } };
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
  if (typeof from === 'object' && 'label' in from) return lookUp(template.metadata?.labels ?? {}, from.label) || hash;
  const wanted = typeof from === 'object' ? from.image_tag : null;
  const image = template.spec.containers.find(({ name }) => wanted === null || name === wanted)?.image ?? '';
  return image.split('@')[1] || tagOf(image) || hash;
}

/** `''` without one. A port of the registry is none. */
function tagOf(image: string): string {
  const [name = ''] = image.split('@');
  const last = name.slice(name.lastIndexOf('/') + 1);
  return last.includes(':') ? last.slice(last.indexOf(':') + 1) : '';
}

/** `labelSelector` of a query, of a selector with expressions too. */
export function selectorText({ matchLabels, matchExpressions }: z.output<typeof labelSelector>): string {
  const expressions = matchExpressions.map(({ key, operator, values }) => {
    if (operator === 'Exists') return labelKey(key);
    if (operator === 'DoesNotExist') return `!${labelKey(key)}`;
    return `${labelKey(key)} ${operator === 'NotIn' ? 'notin' : 'in'} (${(values ?? []).map(valueOfLabel).join(',')})`;
  });
  return [...labelTerms(matchLabels), ...expressions].join(',');
}
