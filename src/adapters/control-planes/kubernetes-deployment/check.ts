import type { Observation } from '../../../domain/observation.ts';
import type { Step, StepCheck } from '../../../domain/step.ts';
import { type Mutation, mutationOf } from './mutation.ts';
import { progressOf, truthOf } from './observed.ts';

/**
 * Whether the rollout that a step began has ended, in the order of `kubectl rollout status`; a `ProgressDeadlineExceeded` that was there before counts
 * only once it was written anew (the controller shows the old one for a moment after it has seen the patch).
 */
export function checkStep(step: Step, before: Observation, now: Observation): StepCheck {
  const [present] = now.endpoints;
  if (present === undefined || present.error !== undefined) return { kind: 'progressing', detail: present?.error ?? 'the Deployment was not seen' };
  const mutation = mutationOf(step);
  if (mutation === null) return { kind: 'converged', detail: 'nothing to do' };
  return checkRollout(mutation, before, now);
}

function checkRollout(mutation: Mutation, before: Observation, now: Observation): StepCheck {
  const [present] = now.endpoints;
  const truth = truthOf(present as NonNullable<typeof present>);
  const { generation, observed, replicas, deadline, failure, writer, uid } = progressOf(now);
  const { to } = mutation;
  if (uid !== mutation.uid) return { kind: 'reverted', detail: 'the Deployment was deleted and made anew' };
  if (truth.current !== to.hash)
    return {
      kind: 'reverted',
      detail: `the Deployment no longer asks for ${to.version} (${to.name})${writer === null ? '' : `: ${writer} wrote its template last`}`,
    };
  if (truth.paused) return { kind: 'failed', detail: 'the Deployment was paused meanwhile (spec.paused): nothing rolls until somebody resumes it' };
  if (observed < generation) return { kind: 'progressing', detail: 'the controller has not seen the change yet' };
  const isStale = deadline.exceeded && deadline.at === progressOf(before).deadline.at;
  if (deadline.exceeded && !isStale)
    return { kind: 'failed', detail: `version ${to.version} does not come up: ${deadline.message.replace(/\.$/, '')}${failure === '' ? '' : `; ${failure}`}` };
  const { wanted, all, updated, available } = replicas;
  if (wanted === 0) return { kind: 'failed', detail: 'the Deployment is scaled to 0: nothing would serve' };
  const why = failure === '' ? '' : ` (${failure})`;
  if (updated < wanted) return { kind: 'progressing', detail: `${updated} of ${wanted} pods are of ${to.version}${why}` };
  if (all > updated) return { kind: 'progressing', detail: `${all - updated} pods of ${mutation.from.version} have not ended yet` };
  if (available < updated) return { kind: isStale ? 'stale' : 'progressing', detail: `${available} of ${updated} pods of ${to.version} are available${why}` };
  const isAlone = present?.serving.length === 1 && present.serving[0]?.version === to.version;
  if (!isAlone) return { kind: 'progressing', detail: `the ReplicaSets do not show ${to.version} alone yet` };
  return { kind: 'converged', detail: `${available} of ${wanted} pods are of ${to.version} and available` };
}
