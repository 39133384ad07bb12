import { z } from 'zod';
import type { Step } from '../../../domain/step.ts';
import { artifact, candidate } from './observed.ts';

const mutation = z.discriminatedUnion('kind', [
  /** One artifact for another on a Model. */
  z.object({ kind: z.literal('artifact'), before: artifact, after: artifact }),
  /** One list of candidates for another on an Experiment. */
  z.object({ kind: z.literal('candidates'), before: z.array(candidate), after: z.array(candidate) }),
]);
export type Mutation = z.output<typeof mutation>;

/** @returns `null` when there is nothing to do in this direction */
export function mutationOf(step: Step, inverse = false): Mutation | null {
  const given = inverse ? step.inverse : step.mutation;
  return given === null ? null : mutation.parse(given);
}

export function inverted(given: Mutation): Mutation {
  return given.kind === 'artifact' ? { ...given, before: given.after, after: given.before } : { ...given, before: given.after, after: given.before };
}

export function isSame(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
