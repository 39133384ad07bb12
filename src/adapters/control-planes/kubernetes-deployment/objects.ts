import { z } from 'zod';
import { canonicalJson } from '../../../domain/canonical-json.ts';
import { lookUp } from '../../../domain/lookup.ts';
import { objectMeta } from '../../kubernetes/object.ts';
import { labelSelector, type PodTemplate, podTemplate, withoutLabel } from '../pod-template.ts';
import { type ReplicaSet, workloadCondition } from '../replica-sets.ts';

const hashLabel = 'pod-template-hash';
const revisionAnnotation = 'deployment.kubernetes.io/revision';

/** A Deployment, as far as it is used. */
export const deploymentSchema = z.object({
  metadata: objectMeta,
  spec: z.object({
    replicas: z.number().default(1),
    paused: z.boolean().default(false),
    selector: labelSelector,
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
      conditions: z.array(workloadCondition).default([]),
    })
    .prefault({}),
});
export type Deployment = z.output<typeof deploymentSchema>;

/** Revision number of a ReplicaSet; it changes when the ReplicaSet is used again, so it only orders. */
export function revisionOf(set: ReplicaSet): number {
  return Number(lookUp(set.metadata.annotations ?? {}, revisionAnnotation) ?? 0);
}

export function hashOf(set: ReplicaSet): string {
  return lookUp(set.metadata.labels ?? {}, hashLabel) || lookUp(set.spec.template.metadata?.labels ?? {}, hashLabel) || set.metadata.uid;
}

/** A ReplicaSet's template as a Deployment would have it: without the label its controller adds. */
export function withoutHash(template: PodTemplate): PodTemplate {
  return withoutLabel(template, hashLabel);
}

export function isSameTemplate(a: PodTemplate, b: PodTemplate): boolean {
  return canonicalJson(withoutHash(a)) === canonicalJson(withoutHash(b));
}
