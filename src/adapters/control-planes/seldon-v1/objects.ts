import { z } from 'zod';

/** What is read of the objects around a SeldonDeployment; everything else they hold is none of our business. */

const metadata = z.object({
  name: z.string(),
  uid: z.string().optional(),
  generation: z.number().optional(),
  labels: z.record(z.string(), z.string()).optional(),
  annotations: z.record(z.string(), z.string()).optional(),
});

/** Of one destination among others; the API servers' schemas have none below 0. */
const weight = z.int().min(0).optional();

/** A predictor is taken off the list and put back whole, so all of it is kept. */
const predictor = z.looseObject({
  name: z.string().min(1),
  traffic: z.number().optional(),
  shadow: z.boolean().optional(),
  annotations: z.record(z.string(), z.string()).optional(),
});
export type Predictor = z.output<typeof predictor>;

export const seldonDeployment = z.object({
  metadata: metadata.extend({ uid: z.string(), generation: z.number() }),
  spec: z.object({ predictors: z.array(predictor) }),
});
export type SeldonDeployment = z.output<typeof seldonDeployment>;

export const deployment = z.object({
  metadata,
  spec: z.object({ replicas: z.number().optional() }).optional(),
  status: z
    .object({
      observedGeneration: z.number().optional(),
      replicas: z.number().optional(),
      readyReplicas: z.number().optional(),
      updatedReplicas: z.number().optional(),
      unavailableReplicas: z.number().optional(),
      conditions: z.array(z.object({ type: z.string(), status: z.string(), reason: z.string().optional(), message: z.string().optional() })).optional(),
    })
    .optional(),
});
export type Deployment = z.output<typeof deployment>;

export const virtualService = z.object({
  metadata,
  spec: z.object({
    http: z.array(z.object({ route: z.array(z.object({ destination: z.object({ subset: z.string().min(1).optional() }), weight })).optional() })).optional(),
  }),
});
export type VirtualService = z.output<typeof virtualService>;

export const mapping = z.object({
  metadata,
  spec: z.object({
    prefix: z.string(),
    service: z.string().min(1),
    weight,
    grpc: z.boolean().optional(),
    shadow: z.boolean().optional(),
  }),
});
export type Mapping = z.output<typeof mapping>;
