import { z } from 'zod';
import { objectMeta } from '../../kubernetes/object.ts';

/** A Service, as far as it is used. */
export const serviceSchema = z.object({
  metadata: objectMeta,
  spec: z.object({ selector: z.record(z.string(), z.string()).default({}), type: z.string().default('ClusterIP') }),
});

export const podSchema = z.object({
  metadata: objectMeta,
  status: z.object({ conditions: z.array(z.object({ type: z.string(), status: z.string() })).default([]) }).prefault({}),
});

/** A Deployment, as far as it is used. */
export const colourSchema = z.object({
  metadata: objectMeta,
  spec: z.object({
    replicas: z.number().default(1),
    template: z.looseObject({
      metadata: z.object({ labels: z.record(z.string(), z.string()).default({}), annotations: z.record(z.string(), z.string()).default({}) }).prefault({}),
    }),
  }),
});

export const endpointSliceSchema = z.object({
  metadata: objectMeta,
  endpoints: z
    .array(
      z.object({
        addresses: z.array(z.string()).default([]),
        conditions: z.object({ ready: z.boolean().nullish() }).nullish(),
        targetRef: z.object({ kind: z.string().optional(), name: z.string().optional() }).nullish(),
      }),
    )
    .nullish(),
});
