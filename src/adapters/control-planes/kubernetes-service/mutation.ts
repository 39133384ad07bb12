import { z } from 'zod';
import type { Step } from '../../../domain/step.ts';

/** `scale`: replicas of a colour's Deployment; `select`: the version in the Service's selector. */
const mutationSchema = z.discriminatedUnion('op', [
  z.object({ op: z.literal('scale'), namespace: z.string(), deployment: z.string(), uid: z.string(), from: z.number(), to: z.number() }),
  z.object({
    op: z.literal('select'),
    namespace: z.string(),
    service: z.string(),
    uid: z.string(),
    label: z.string(),
    from: z.string(),
    to: z.string(),
    ready: z.number(),
  }),
]);
export type Mutation = z.output<typeof mutationSchema>;

/** @throws {z.ZodError} for a step of another kind of plane */
export function mutationOf(step: Step, inverse = false): Mutation | null {
  const raw = inverse ? step.inverse : step.mutation;
  return raw === null ? null : mutationSchema.parse(raw);
}
