import { z } from 'zod';
import type { Step } from '../../../domain/step.ts';

/** A predictor's name with its share of the traffic, as `spec.predictors` has them: in that order. */
const entry = z.object({ name: z.string(), traffic: z.number(), shadow: z.boolean() });
export type Entry = z.output<typeof entry>;

const mutation = z.object({
  /** `before` must stand there, `after` is written: one list for another, in one patch. */
  before: z.array(entry),
  after: z.array(entry),
});
export type Mutation = z.output<typeof mutation>;

/** @returns `null` when there is nothing to do in this direction */
export function mutationOf(step: Step, inverse = false): Mutation | null {
  const given = inverse ? step.inverse : step.mutation;
  return given === null ? null : mutation.parse(given);
}

export function inverted({ before, after }: Mutation): Mutation {
  return { before: after, after: before };
}

export function isSameList(a: readonly Entry[], b: readonly Entry[]): boolean {
  return a.length === b.length && a.every((one, index) => one.name === b[index]?.name && one.traffic === b[index].traffic && one.shadow === b[index].shadow);
}

/** `a 100, b 0, c (shadow)` */
export function listText(entries: readonly Entry[]): string {
  return entries.map(({ name, traffic, shadow }) => (shadow ? `${name} (shadow)` : `${name} ${traffic}`)).join(', ') || 'no predictor';
}
