import { z } from 'zod';

/** What is read of the resources of `mlops.seldon.io/v1alpha1`; everything else they hold is none of our business. */

const metadata = z.object({
  name: z.string(),
  uid: z.string(),
  generation: z.number(),
  annotations: z.record(z.string(), z.string()).optional(),
});
const condition = z.object({ type: z.string(), status: z.string(), reason: z.string().optional(), message: z.string().optional() });
const status = z.object({ conditions: z.array(condition).optional() }).optional();

export const model = z.object({
  metadata,
  spec: z.object({
    storageUri: z.string().default(''),
    artifactVersion: z.number().optional(),
    /** A Kubernetes quantity: `100Mi`. */
    memory: z.union([z.string(), z.number()]).optional(),
    server: z.string().optional(),
  }),
  status,
});
export type Model = z.output<typeof model>;

export const experiment = z.object({
  metadata,
  spec: z.object({
    default: z.string().optional(),
    candidates: z.array(z.object({ name: z.string(), weight: z.number().default(0) })).default([]),
    resourceType: z.string().optional(),
  }),
  status,
});
export type Experiment = z.output<typeof experiment>;

const units: Readonly<Record<string, number>> = {
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
};

/** A Kubernetes quantity of memory in bytes; `null` when it is none. */
export function bytesOf(quantity: string | number | undefined): number | null {
  if (quantity === undefined) return null;
  const match = /^(\d+(?:\.\d+)?)([A-Za-z]*)$/.exec(String(quantity));
  const unit = match === null ? undefined : units[match[2] ?? ''];
  return match === null || unit === undefined ? null : Number(match[1]) * unit;
}
