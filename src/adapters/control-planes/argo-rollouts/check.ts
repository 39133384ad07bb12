import type { EndpointObservation, Observation } from '../../../domain/observation.ts';
import type { Step, StepCheck } from '../../../domain/step.ts';
import { describeServing, isServedAlone } from '../observed.ts';
import { type MutationOf, mutationOf } from './mutation.ts';
import { type Progress, progressOf, truthOf } from './observed.ts';
import { invalidWords, pausedWords } from './plan.ts';

/**
 * Whether a step took. Never by the phase: after an abort that did what it should it is Degraded, and it is that of an older generation for a while. By
 * what serves, what is stable, and the pods.
 */
export function checkStep(step: Step, before: Observation, now: Observation): StepCheck {
  const [present] = now.endpoints;
  if (present === undefined || present.error !== undefined) return { kind: 'progressing', detail: present?.error ?? 'the Rollout was not seen' };
  const mutation = mutationOf(step);
  if (mutation === null) return { kind: 'converged', detail: 'nothing to do' };
  const facts: Facts = { present, progress: progressOf(now), before: progressOf(before) };
  if (facts.progress.uid !== mutation.uid) return { kind: 'reverted', detail: 'the Rollout was deleted and made anew' };
  switch (mutation.op) {
    case 'abort':
      return checkAbort(mutation, facts);
    case 'template':
      return mutation.promotion === 'follows' ? checkSeen(mutation, facts) : checkRollout(mutation, facts);
    case 'promote':
      return checkRollout(mutation, facts);
    case 'retry':
    case 'settle':
      return { kind: 'converged', detail: 'taken back' };
  }
}

type Facts = { readonly present: EndpointObservation; readonly progress: Progress; readonly before: Progress };

function checkAbort({ from, to }: MutationOf<'abort'>, { present, progress }: Facts): StepCheck {
  const { abort, aborted, current, stable } = progress;
  // Before the controller looks at it, the status is what it was, with our word in it.
  if (abort && !aborted) return { kind: 'progressing', detail: 'the controller has not acted on the abort yet' };
  if (current === to.hash && stable === to.hash) return servesFully(to, present, progress);
  if (current !== from.hash) return { kind: 'reverted', detail: `another rollout was started meanwhile${byWhom(progress)}` };
  if (stable !== to.hash)
    return {
      kind: 'failed',
      detail: `${from.version} was promoted at the same moment, and the controller drops an abort then: roll back again, which undoes it`,
    };
  if (!abort) return { kind: 'reverted', detail: `the rollout of ${from.version} was started again (retry)` };
  return servesFully(to, present, progress);
}

/** Until the controller works on the new template, a promotion would be lost. */
function checkSeen({ from, to }: MutationOf<'template'>, { present, progress }: Facts): StepCheck {
  const reverted = takenBack(from, to, present, progress);
  if (reverted !== null) return reverted;
  if (progress.invalid !== '' && progress.observed) return { kind: 'failed', detail: invalidWords(progress) };
  if (!progress.observed || progress.current !== to.hash) return { kind: 'progressing', detail: 'the controller has not seen the change yet' };
  return { kind: 'converged', detail: `the controller rolls out ${to.version}` };
}

function checkRollout({ from, to }: MutationOf<'template' | 'promote'>, { present, progress, before }: Facts): StepCheck {
  const reverted = takenBack(from, to, present, progress);
  if (reverted !== null) return reverted;
  if (progress.invalid !== '' && progress.observed) return { kind: 'failed', detail: invalidWords(progress) };
  if (!progress.observed || progress.current !== to.hash) return { kind: 'progressing', detail: 'the controller has not seen the change yet' };
  if (truthOf(present).paused) return { kind: 'failed', detail: pausedWords };
  if (progress.wanted === 0) return { kind: 'failed', detail: 'the Rollout is scaled to 0: nothing would serve' };
  if (progress.aborted) return { kind: 'failed', detail: `the rollout of ${to.version} was aborted: ${progress.message}` };
  const { exceeded, at, message } = progress.deadline;
  // The one from before stays for a moment. It names another ReplicaSet.
  const isOld = before.deadline.exceeded && at === before.deadline.at && !message.includes(to.name);
  if (exceeded && !isOld) {
    const why = progress.failure === '' ? '' : `; ${progress.failure}`;
    return { kind: 'failed', detail: `version ${to.version} does not come up: ${message.replace(/\.$/, '')}${why}` };
  }
  if (progress.stable !== to.hash) return { kind: 'progressing', detail: waitsFor(to, progress) };
  return servesFully(to, present, progress);
}

type Named = { readonly version: string; readonly name: string; readonly hash: string };

function takenBack(from: Named, to: Named, present: EndpointObservation, progress: Progress): StepCheck | null {
  const { asked } = truthOf(present);
  if (asked === null || asked === to.hash) return null;
  const what = asked === from.hash ? `asks for ${from.version} again` : `no longer asks for ${to.version} (${to.name})`;
  return { kind: 'reverted', detail: `the Rollout ${what}${byWhom(progress)}` };
}

function waitsFor({ version, hash }: Named, { pods, wanted, pauses, step, failure }: Progress): string {
  const available = pods[hash]?.available ?? 0;
  if (available < wanted) return `${available} of ${wanted} pods of ${version} are available${failure === '' ? '' : ` (${failure})`}`;
  if (pauses.length > 0) return `the rollout of ${version} waits at ${pauses.join(', ')}`;
  return step.count === 0 ? `${version} is not promoted yet` : `the rollout of ${version} is at step ${step.index ?? 0} of ${step.count}`;
}

/** All pods that are wanted, and all traffic, by weights that are in force. */
function servesFully({ version, hash }: Named, present: EndpointObservation, progress: Progress): StepCheck {
  const available = progress.pods[hash]?.available ?? 0;
  if (available < progress.wanted) return { kind: 'progressing', detail: `${available} of ${progress.wanted} pods of ${version} are available` };
  if (!isServedAlone(present, version)) return { kind: 'progressing', detail: `the traffic goes to ${describeServing(present)}, not to ${version} alone yet` };
  if (progress.unverified) return { kind: 'progressing', detail: 'the proxy does not confirm the weights yet (status.canary.weights.verified)' };
  return { kind: 'converged', detail: `${version} serves alone, ${available} of ${progress.wanted} pods are available` };
}

function byWhom({ writer }: Progress): string {
  return writer === null ? '' : `: ${writer} wrote its template last`;
}
