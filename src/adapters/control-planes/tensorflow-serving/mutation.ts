import { z } from 'zod';
import type { Step } from '../../../domain/step.ts';
import { modelStateSchema } from './model-state.ts';

/** What a step carries: one model's policy and labels, from which state to which; the list around it is composed when it is sent. */
const mutationSchema = z.object({
  /** `clear`: takes a failed version out, so that it is tried again; `policy`: any other change; `persist`: the file. */
  op: z.enum(['clear', 'policy', 'persist']),
  /** Name on the server. */
  model: z.string(),
  before: modelStateSchema,
  after: modelStateSchema,
  /** Versions the planner knew of: another one available by now means that the plan is old. Absent: not asked for. */
  known: z.array(z.string()).optional(),
});
export type Mutation = z.output<typeof mutationSchema>;

/** @throws {z.ZodError} for a step of another kind of plane */
export function mutationOf(step: Step, inverse = false): Mutation | null {
  const raw = inverse ? step.inverse : step.mutation;
  return raw === null ? null : mutationSchema.parse(raw);
}

/** The mutation that takes one back. */
export function inverted(mutation: Mutation): Mutation {
  return { op: mutation.op === 'persist' ? 'persist' : 'policy', model: mutation.model, before: mutation.after, after: mutation.before };
}
