import { z } from 'zod';
import type { Step } from '../../../domain/step.ts';
import { wish } from './observed.ts';

const mutation = z.object({
  /** What it does, for `check`: loads a revision or a canary beside, moves traffic, rolls a Deployment, or makes the canary the stable predictor. */
  kind: z.enum(['stage', 'traffic', 'rollout', 'promote']),
  /** `before` must stand there, `after` is written. */
  before: wish,
  after: wish,
});
export type Mutation = z.output<typeof mutation>;

/** @returns `null` when there is nothing to do in this direction */
export function mutationOf(step: Step, inverse = false): Mutation | null {
  const given = inverse ? step.inverse : step.mutation;
  return given === null ? null : mutation.parse(given);
}

export function inverted({ kind, before, after }: Mutation): Mutation {
  return { kind, before: after, after: before };
}
