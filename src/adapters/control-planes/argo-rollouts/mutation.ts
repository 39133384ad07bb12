import { z } from 'zod';
import type { Step } from '../../../domain/step.ts';
import { namedRevision } from '../replica-sets.ts';

const place = { namespace: z.string(), rollout: z.string(), uid: z.string() };
/** Where the pod template stands: in the Rollout itself, or in the Deployment that spec.workloadRef names. */
const holder = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('rollout') }),
  z.object({ kind: z.literal('deployment'), name: z.string(), uid: z.string() }),
]);
export type Holder = z.output<typeof holder>;

/**
 * What a step carries. Never a template: those may hold secrets in environments, and the ReplicaSet has it.
 *
 * - `abort`: the rollout of `from` ends, the stable `to` gets all traffic. `retry` takes it back, to the step it was at.
 * - `template`: `from`'s pod template gives way to that of `to`.
 * - `promote`: `to` need not walk the steps, pauses and analyses.
 * - `settle`: the inverse of a `template` step. Whichever of `template` and `promote` is still missing until `to` serves again.
 */
const mutationSchema = z.discriminatedUnion('op', [
  z.object({ op: z.literal('abort'), ...place, from: namedRevision, to: namedRevision }),
  z.object({ op: z.literal('retry'), ...place, from: namedRevision, to: namedRevision, step: z.number().nullable() }),
  z.object({ op: z.literal('template'), ...place, holder, from: namedRevision, to: namedRevision, promotion: z.enum(['follows', 'none']) }),
  z.object({ op: z.literal('promote'), ...place, holder, from: namedRevision, to: namedRevision }),
  z.object({ op: z.literal('settle'), ...place, holder, from: namedRevision, to: namedRevision }),
]);
export type Mutation = z.output<typeof mutationSchema>;
export type MutationOf<Op extends Mutation['op']> = Extract<Mutation, { op: Op }>;

/** @throws {z.ZodError} for a step of another kind of plane */
export function mutationOf(step: Step, inverse = false): Mutation | null {
  const raw = inverse ? step.inverse : step.mutation;
  return raw === null ? null : mutationSchema.parse(raw);
}
