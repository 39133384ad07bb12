import type { Observation } from '../../../domain/observation.ts';
import type { Step, StepCheck } from '../../../domain/step.ts';
import { type Mutation, mutationOf } from './mutation.ts';
import { countsOf, truthOf } from './observed.ts';

/** Whether a step took: the endpoints count, not the selector alone. */
export function checkStep(step: Step, now: Observation): StepCheck {
  const [present] = now.endpoints;
  if (present === undefined || present.error !== undefined) return { kind: 'progressing', detail: present?.error ?? 'the Service was not seen' };
  const mutation = mutationOf(step);
  if (mutation === null) return { kind: 'converged', detail: 'nothing to do' };
  switch (mutation.op) {
    case 'scale':
      return checkScale(mutation, step, now);
    case 'select':
      return checkSelect(mutation, now);
  }
}

function checkScale(mutation: Extract<Mutation, { op: 'scale' }>, step: Step, now: Observation): StepCheck {
  const truth = truthOf(now.endpoints[0] as NonNullable<(typeof now.endpoints)[0]>);
  const colour = truth.colours.find(({ deployment }) => deployment?.name === mutation.deployment)?.deployment;
  if (colour === undefined || colour === null) return { kind: 'reverted', detail: `Deployment ${mutation.deployment} is gone` };
  if (colour.replicas < mutation.to)
    return { kind: 'reverted', detail: `Deployment ${mutation.deployment} has ${colour.replicas} replicas again: an autoscaler or a cost job scales it` };
  const ready = new Map(Object.entries(countsOf(now).ready)).get(step.expect.available ?? '') ?? 0;
  if (ready >= mutation.to) return { kind: 'converged', detail: `${ready} pods are ready` };
  return { kind: 'progressing', detail: `${ready} of ${mutation.to} pods are ready` };
}

function checkSelect({ to, label, uid }: Extract<Mutation, { op: 'select' }>, now: Observation): StepCheck {
  const { selected, endpoints, writer, uid: present } = countsOf(now);
  if (present !== uid) return { kind: 'reverted', detail: 'the Service was deleted and made anew' };
  if (selected !== to)
    return {
      kind: 'reverted',
      detail: `the Service selects ${label}=${selected ?? 'nothing'} again${writer === null ? '' : `: ${writer} wrote its selector last`}`,
    };
  const counts = Object.entries(endpoints).filter(([, count]) => count > 0);
  if (counts.length === 0) return { kind: 'progressing', detail: `no endpoint is ready yet: no pod with ${label}=${to} answers` };
  const others = counts.filter(([version]) => version !== to);
  if (others.length > 0)
    return { kind: 'progressing', detail: `endpoints still lead to ${others.map(([version]) => (version === '' ? 'unknown pods' : version)).join(', ')}` };
  return { kind: 'converged', detail: `${counts[0]?.[1]} ready endpoints, all of ${to}` };
}
