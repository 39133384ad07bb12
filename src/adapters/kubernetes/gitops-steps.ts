import { z } from 'zod';
import { lookUp } from '../../domain/lookup.ts';
import { PlaneError } from '../../domain/ports.ts';
import type { ApplyOutcome, Desired, PlanResult, Step, StepCheck } from '../../domain/step.ts';
import type { JsonPatchOperation, KubernetesClient } from './client.ts';
import { outcomeOf } from './errors.ts';
import { type Automated, automatedOf, type GitOpsState, holdersOf, isSuspended, type PausePlace, pausePlace, placeMarks } from './gitops-state.ts';
import { annotate, guardedPatch, pointer } from './guarded-patch.ts';
import type { KubernetesObject } from './object.ts';
import { isPausedByUs, pauseAnnotations } from './owners.ts';

/** What a step carries that pauses a GitOps tool, or resumes it. */
const mutationSchema = z.object({ op: z.literal('gitops'), holder: z.string(), place: pausePlace, paused: z.boolean() });
type Mutation = z.output<typeof mutationSchema>;

/** `null`: a step of the plane itself. */
export function gitOpsMutationOf(step: Step, inverse = false): Mutation | null {
  const parsed = mutationSchema.safeParse(inverse ? step.inverse : step.mutation);
  return parsed.success ? parsed.data : null;
}

/**
 * A plan with what must be paused before it. Nothing resumes by itself but the undoing of a target that was given up before traffic moved: what is in
 * git would bring the bad version back. `unpin` resumes.
 * @param plan of the plane itself
 */
export function withPauses(plan: PlanResult, desired: Desired, endpoint: string, { holder, pending, paused }: GitOpsState): PlanResult {
  const steps = (places: readonly PausePlace[], isPaused: boolean): Step[] => places.map((place) => pauseStep(endpoint, holder, place, isPaused));
  if (desired.kind !== 'unpin') return plan.kind === 'steps' ? { ...plan, steps: [...steps(pending, true), ...plan.steps] } : plan;
  if (paused.length === 0 || plan.kind === 'refused') return plan;
  return { kind: 'steps', steps: [...(plan.kind === 'steps' ? plan.steps : []), ...steps(paused, false)] };
}

function pauseStep(endpoint: string, holder: string, place: PausePlace, paused: boolean): Step {
  const mutation: Mutation = { op: 'gitops', holder, place, paused };
  return {
    name: `${paused ? 'pause' : 'resume'} ${place.title} on ${endpoint}`,
    phase: 'stage',
    endpoint,
    barrier: 0,
    mutation,
    inverse: { ...mutation, paused: !paused },
    expect: {},
  };
}

/** Whether the pause took, and stands. */
export function checkPause({ place, paused }: Mutation, state: GitOpsState | undefined): StepCheck {
  if (state === undefined) return { kind: 'progressing', detail: 'the object was not seen' };
  const waiting = lookUp(state.waiting, place.path);
  if (waiting !== undefined) return { kind: 'progressing', detail: waiting };
  const has = (places: readonly PausePlace[]): boolean => places.some(({ path }) => path === place.path);
  if (!paused)
    return has(state.paused) ? { kind: 'reverted', detail: `${place.title} is paused again` } : { kind: 'converged', detail: `${place.title} writes again` };
  if (has(state.pending))
    return { kind: 'reverted', detail: `the pause of ${place.title} was taken back by ${lookUp(state.resumedBy, place.path) ?? 'somebody else'}` };
  return { kind: 'converged', detail: `${place.title} leaves it alone` };
}

/** Pauses or resumes, if the place still is the one that was seen; never throws for an answer of the server. */
export async function applyPause(client: KubernetesClient, mutation: Mutation, opId: string, signal: AbortSignal): Promise<ApplyOutcome> {
  const { path, uid, title } = mutation.place;
  try {
    signal.throwIfAborted();
    const read = await client.find(path, signal);
    if (read === null || read.metadata.uid !== uid) return { kind: 'conflict', class: 'conflict', detail: `${title} was deleted, or deleted and made anew` };
    const change = changeOf(read, mutation, opId);
    if ('kind' in change) return change;
    // Argo CD writes its status into the same object, and moves its generation by that.
    await guardedPatch(client, path, { read, by: mutation.place.kind === 'object' ? 'generation' : 'resourceVersion', operations: change }, signal);
    return { kind: 'applied' };
  } catch (error) {
    if (signal.aborted && !(error instanceof PlaneError)) return { kind: 'rejected', class: 'transient', detail: 'aborted before anything was sent' };
    if (error instanceof z.ZodError) return { kind: 'rejected', class: 'permanent', detail: `${title} is not of the shape its API promises` };
    return outcomeOf(error);
  }
}

type Change = readonly JsonPatchOperation[] | ApplyOutcome;

function changeOf(read: KubernetesObject, mutation: Mutation, opId: string): Change {
  switch (mutation.place.kind) {
    case 'object':
      if (isPausedByUs(read.metadata) === mutation.paused) return { kind: 'already' };
      return annotate(read.metadata.annotations, pauseAnnotations(mutation.paused, opId));
    case 'application':
      return mutation.paused ? pauseApplication(read, mutation) : resumeApplication(read, mutation);
    case 'helm_release':
      return mutation.paused ? suspend(read, mutation) : resume(read, mutation);
  }
}

const automatedPath = pointer('spec', 'syncPolicy', 'automated');

function pauseApplication(read: KubernetesObject, { holder, place }: Mutation): Change {
  const automated = automatedOf(read);
  const holders = holdersOf(read);
  if (automated === null && (holders.length === 0 || holders.includes(holder)))
    return { kind: 'already', detail: `${place.title} is not synced automatically` };
  return [
    ...(automated === null ? [] : [{ op: 'test', path: automatedPath, value: automated } as const, { op: 'remove', path: automatedPath } as const]),
    ...annotate(read.metadata.annotations, {
      [placeMarks.holders]: JSON.stringify([...new Set([...holders, holder])]),
      ...(automated === null ? {} : { [placeMarks.automated]: JSON.stringify(automated) }),
    }),
  ];
}

function resumeApplication(read: KubernetesObject, { holder, place }: Mutation): Change {
  const holders = holdersOf(read);
  const others = holders.filter((other) => other !== holder);
  if (!holders.includes(holder)) return { kind: 'already', detail: `${place.title} is not paused for ${holder}` };
  if (others.length > 0) return annotate(read.metadata.annotations, { [placeMarks.holders]: JSON.stringify(others) });
  const marks = annotate(read.metadata.annotations, { [placeMarks.holders]: null, [placeMarks.automated]: null });
  // Somebody turned it on again: theirs stands.
  if (automatedOf(read) !== null) return marks;
  const saved = savedAutomated(read);
  if (saved === null)
    return {
      kind: 'rejected',
      class: 'permanent',
      detail: `${place.title}: annotation ${placeMarks.automated} does not hold its former automated sync any more; turn it on by hand (argocd app set), and remove ${placeMarks.holders}`,
    };
  const policy = read['spec'] as { readonly syncPolicy?: unknown };
  return [
    ...(policy.syncPolicy == null ? [{ op: 'add', path: pointer('spec', 'syncPolicy'), value: {} } as const] : []),
    { op: 'add', path: automatedPath, value: saved },
    ...marks,
  ];
}

function savedAutomated({ metadata }: KubernetesObject): Automated | null {
  try {
    return z.record(z.string(), z.unknown()).parse(JSON.parse(lookUp(metadata.annotations ?? {}, placeMarks.automated) ?? ''));
  } catch {
    return null;
  }
}

const suspendPath = pointer('spec', 'suspend');

function suspend(read: KubernetesObject, { holder, place }: Mutation): Change {
  const holders = holdersOf(read);
  if (isSuspended(read) && (holders.length === 0 || holders.includes(holder))) return { kind: 'already', detail: `${place.title} is suspended` };
  return [
    { op: 'add', path: suspendPath, value: true },
    ...annotate(read.metadata.annotations, { [placeMarks.holders]: JSON.stringify([...new Set([...holders, holder])]) }),
  ];
}

function resume(read: KubernetesObject, { holder, place }: Mutation): Change {
  const holders = holdersOf(read);
  const others = holders.filter((other) => other !== holder);
  if (!holders.includes(holder)) return { kind: 'already', detail: `${place.title} is not suspended for ${holder}` };
  const marks = annotate(read.metadata.annotations, { [placeMarks.holders]: others.length > 0 ? JSON.stringify(others) : null });
  return others.length > 0 || !isSuspended(read) ? marks : [{ op: 'remove', path: suspendPath }, ...marks];
}
