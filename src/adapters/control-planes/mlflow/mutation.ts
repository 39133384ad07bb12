import { z } from 'zod';
import type { Step } from '../../../domain/step.ts';

/** What a step carries. */
const mutationSchema = z.discriminatedUnion('op', [
  /** Move an alias. `before: null`: it was not set, or pointed to a version that is gone; `after: null`: take it away. */
  z.object({ op: z.literal('alias'), model: z.string(), alias: z.string(), before: z.string().nullable(), after: z.string().nullable() }),
  /** Write tags on a version; those that only the time of writing knows are added when it is sent. */
  z.object({ op: z.literal('tags'), model: z.string(), version: z.string(), tags: z.record(z.string(), z.string()) }),
]);
export type Mutation = z.output<typeof mutationSchema>;
export type AliasMutation = Extract<Mutation, { op: 'alias' }>;
export type TagsMutation = Extract<Mutation, { op: 'tags' }>;

/** @throws {z.ZodError} for a step of another kind of plane */
export function mutationOf(step: Step, inverse = false): Mutation | null {
  const raw = inverse ? step.inverse : step.mutation;
  return raw === null ? null : mutationSchema.parse(raw);
}
