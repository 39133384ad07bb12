import { z } from 'zod';
import type { Step } from '../../../domain/step.ts';
import { namedRevision } from '../replica-sets.ts';

const place = { namespace: z.string(), deployment: z.string(), uid: z.string() };

/** What a step carries. Never a template: those may hold secrets in environments, and the ReplicaSet has it. */
const mutationSchema = z.object({ op: z.literal('template'), ...place, from: namedRevision, to: namedRevision });
export type Mutation = z.output<typeof mutationSchema>;

/** @throws {z.ZodError} for a step of another kind of plane */
export function mutationOf(step: Step, inverse = false): Mutation | null {
  const raw = inverse ? step.inverse : step.mutation;
  return raw === null ? null : mutationSchema.parse(raw);
}
