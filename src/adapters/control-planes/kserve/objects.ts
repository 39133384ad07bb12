import { z } from 'zod';

/** What is read of the objects around an InferenceService; everything else they hold is none of our business. */

/** KServe writes the artifact of a pod here, on the pod template; Knative copies it to the Revision. */
export const sourceUriAnnotation = 'internal.serving.kserve.io/storage-initializer-sourceuri';
export const modeAnnotation = 'serving.kserve.io/deploymentMode';

const metadata = z.object({
  name: z.string(),
  uid: z.string(),
  generation: z.number().optional(),
  labels: z.record(z.string(), z.string()).optional(),
  annotations: z.record(z.string(), z.string()).optional(),
  ownerReferences: z.array(z.object({ uid: z.string() })).optional(),
});

const condition = z.object({ type: z.string(), status: z.string(), reason: z.string().optional(), message: z.string().optional() });
export type Condition = z.output<typeof condition>;

const percent = z.int().min(0).max(100);

/** `model` or a framework's own key holds the artifact. */
const predictor = z.looseObject({ name: z.string().optional(), canaryTrafficPercent: percent.optional() });
export type Predictor = z.output<typeof predictor>;

const canary = z.looseObject({ predictor, trafficPercent: percent.default(0) });

const component = z.object({
  latestReadyRevision: z.string().optional(),
  latestCreatedRevision: z.string().optional(),
  previousRolledoutRevision: z.string().optional(),
  latestRolledoutRevision: z.string().optional(),
  traffic: z.array(z.object({ revisionName: z.string().optional(), latestRevision: z.boolean().optional(), percent: percent.optional() })).optional(),
});

export const inferenceService = z.object({
  metadata: metadata.extend({ generation: z.number() }),
  spec: z.object({ predictor, canary: z.array(canary).optional() }),
  status: z
    .object({
      deploymentMode: z.string().optional(),
      components: z.object({ predictor: component.optional() }).optional(),
      conditions: z.array(condition).optional(),
      modelStatus: z
        .object({
          transitionStatus: z.string().optional(),
          lastFailureInfo: z.object({ reason: z.string().optional(), message: z.string().optional(), exitCode: z.number().optional() }).optional(),
        })
        .optional(),
      canaryStatuses: z.array(z.object({ name: z.string(), ready: z.boolean().default(false) })).optional(),
    })
    .optional(),
});
export type InferenceService = z.output<typeof inferenceService>;

export const revision = z.object({ metadata, status: z.object({ conditions: z.array(condition).optional() }).optional() });
export type Revision = z.output<typeof revision>;

const podTemplate = z.object({ metadata: z.object({ annotations: z.record(z.string(), z.string()).optional() }).optional() });

export const deployment = z.object({
  metadata,
  spec: z.object({ replicas: z.number().optional(), selector: z.object({ matchLabels: z.record(z.string(), z.string()).optional() }), template: podTemplate }),
  status: z
    .object({
      observedGeneration: z.number().optional(),
      replicas: z.number().optional(),
      updatedReplicas: z.number().optional(),
      unavailableReplicas: z.number().optional(),
      conditions: z.array(condition).optional(),
    })
    .optional(),
});
export type Deployment = z.output<typeof deployment>;

export const replicaSet = z.object({
  metadata,
  spec: z.object({ template: podTemplate }),
  status: z.object({ readyReplicas: z.number().optional() }).optional(),
});
export type ReplicaSet = z.output<typeof replicaSet>;

export const httpRoute = z.object({
  metadata,
  spec: z.object({
    rules: z.array(z.object({ backendRefs: z.array(z.object({ name: z.string(), weight: z.int().min(0).default(1) })).optional() })).optional(),
  }),
  status: z.object({ parents: z.array(z.object({ conditions: z.array(condition).optional() })).optional() }).optional(),
});
export type HttpRoute = z.output<typeof httpRoute>;

/** Where the artifact's address stands in a predictor: `model`, or a framework's key such as `sklearn`. `null`: not by `storageUri`. */
export function artifactOf(predictor: Predictor): { readonly key: string; readonly uri: string } | null {
  for (const [key, value] of Object.entries(predictor)) {
    if (typeof value !== 'object' || value === null || !('storageUri' in value) || typeof value.storageUri !== 'string') continue;
    return { key, uri: value.storageUri };
  }
  return null;
}

export function conditionOf(conditions: readonly Condition[] | undefined, type: string): Condition | undefined {
  return conditions?.find((entry) => entry.type === type);
}
