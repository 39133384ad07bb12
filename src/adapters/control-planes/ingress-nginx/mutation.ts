import { z } from 'zod';
import type { Step } from '../../../domain/step.ts';
import type { CanarySettings } from './canary-rules.ts';

const settings = z.record(z.string(), z.string().nullable()).transform((record) => record as CanarySettings);

/** Canary annotations of one Ingress, from what to what. */
const mutationSchema = z.object({
  namespace: z.string(),
  canary: z.string(),
  canary_uid: z.string(),
  primary: z.string(),
  primary_uid: z.string(),
  /** Where the primary led; a primary that leads elsewhere by now is another rollback. */
  primary_service: z.string(),
  /** Versions that changed their places, for the marks. */
  from: z.string(),
  to: z.string(),
  /** The canary is left without any traffic. */
  is_emptied: z.boolean(),
  before: settings,
  after: settings,
  /** rollbackd's marks of an earlier change, which the inverse puts back. */
  marks: z.record(z.string(), z.string().nullable()),
});
export type Mutation = z.output<typeof mutationSchema>;

/** @throws {z.ZodError} for a step of another kind of plane */
export function mutationOf(step: Step, inverse = false): Mutation | null {
  const raw = inverse ? step.inverse : step.mutation;
  return raw === null ? null : mutationSchema.parse(raw);
}
