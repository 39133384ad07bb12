import { z } from 'zod';
import { lookUp } from '../../../domain/lookup.ts';
import { objectMeta } from '../../kubernetes/object.ts';
import { labelSelector, podTemplate } from '../pod-template.ts';
import { type ReplicaSet, workloadCondition } from '../replica-sets.ts';

export const hashLabel = 'rollouts-pod-template-hash';
const revisionAnnotation = 'rollout.argoproj.io/revision';
/** Generation of the workload that spec.workloadRef names, as the controller last saw it. */
const workloadAnnotation = 'rollout.argoproj.io/workload-generation';

const weight = z.object({ weight: z.number().default(0), podTemplateHash: z.string().default('') });

const canaryStrategy = z.object({
  steps: z.array(z.looseObject({})).nullish(),
  trafficRouting: z.looseObject({}).nullish(),
  dynamicStableScale: z.boolean().default(false),
});

/**
 * A Rollout, as far as it is used. A CustomResourceDefinition gives no defaults: what is not written is not there.
 * @see https://argo-rollouts.readthedocs.io/en/stable/features/specification/
 */
export const rolloutSchema = z.object({
  metadata: objectMeta,
  spec: z.object({
    replicas: z.number().default(1),
    paused: z.boolean().default(false),
    selector: labelSelector.nullish(),
    /** Absent with `workloadRef`. */
    template: z.unknown().optional(),
    workloadRef: z.object({ apiVersion: z.string().default(''), kind: z.string().default(''), name: z.string().default('') }).nullish(),
    revisionHistoryLimit: z.number().default(10),
    rollbackWindow: z.object({ revisions: z.number().default(0) }).nullish(),
    strategy: z.object({ canary: canaryStrategy.nullish(), blueGreen: z.looseObject({}).nullish() }),
  }),
  status: z
    .object({
      /** A number in a string; older than 0.10: a hash. */
      observedGeneration: z.string().default(''),
      workloadObservedGeneration: z.string().default(''),
      stableRS: z.string().default(''),
      currentPodHash: z.string().default(''),
      currentStepIndex: z.number().nullish(),
      abort: z.boolean().default(false),
      abortedAt: z.string().nullish(),
      promoteFull: z.boolean().default(false),
      pauseConditions: z.array(z.object({ reason: z.string() })).nullish(),
      message: z.string().default(''),
      conditions: z.array(workloadCondition).nullish(),
      blueGreen: z.object({ activeSelector: z.string().default('') }).prefault({}),
      canary: z
        .object({
          weights: z.object({ canary: weight, stable: weight, additional: z.array(weight).nullish(), verified: z.boolean().nullish() }).nullish(),
        })
        .prefault({}),
    })
    .prefault({}),
});
export type Rollout = z.output<typeof rolloutSchema>;

/** A Deployment that spec.workloadRef names, as far as it is used. */
export const workloadSchema = z.object({ metadata: objectMeta, spec: z.object({ selector: labelSelector, template: podTemplate }) });
export type Workload = z.output<typeof workloadSchema>;

/** Revision number of a ReplicaSet; it changes when the ReplicaSet is used again, so it only orders. */
export function revisionOf(set: ReplicaSet): number {
  return Number(lookUp(set.metadata.annotations ?? {}, revisionAnnotation) ?? 0);
}

export function hashOf(set: ReplicaSet): string {
  return lookUp(set.metadata.labels ?? {}, hashLabel) || set.metadata.uid;
}

/** Whether the controller has looked at the spec as it now stands; with a workload, also at that. */
export function isObserved({ metadata, status }: Rollout, workload: Workload | null): boolean {
  if (status.observedGeneration !== String(metadata.generation ?? 0)) return false;
  if (workload === null) return true;
  const seen = lookUp(metadata.annotations ?? {}, workloadAnnotation);
  return seen === String(workload.metadata.generation ?? 0) && status.workloadObservedGeneration === seen;
}
