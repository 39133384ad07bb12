import type { Observation } from '../../../domain/observation.ts';
import type { Step, StepCheck } from '../../../domain/step.ts';
import { checkPause, gitOpsMutationOf } from '../../kubernetes/gitops-steps.ts';
import { isSameSettings, settingsText } from './canary-rules.ts';
import { mutationOf } from './mutation.ts';
import { truthOf } from './observed.ts';

/** Whether a step is still in force, and old enough for every worker to have it: the controller says nothing of weights. */
export function checkStep(step: Step, now: Observation, sinceMs: number, settleMs: number): StepCheck {
  const endpoint = now.endpoints.find((candidate) => candidate.endpoint === step.endpoint);
  if (endpoint === undefined) return { kind: 'failed', detail: `${step.endpoint} is gone` };
  const pause = gitOpsMutationOf(step);
  if (pause !== null) return checkPause(pause, truthOf(endpoint).gitops ?? undefined);
  const mutation = mutationOf(step);
  if (mutation === null) return { kind: 'failed', detail: `${step.name}: no mutation` };
  const { primary, canary, no_canary: reason } = truthOf(endpoint);
  const what = `ingress ${mutation.namespace}/${mutation.canary}`;
  if (primary.uid !== mutation.primary_uid) return { kind: 'failed', detail: `${step.endpoint} was deleted and created anew` };
  if (primary.service !== mutation.primary_service)
    return { kind: 'reverted', detail: `${step.endpoint} leads to ${primary.service} now, expected ${mutation.primary_service}: someone else changed it` };
  if (canary === null) {
    if (mutation.is_emptied && reason === null) return { kind: 'converged', detail: `${what} is gone: all requests go to ${primary.service}` };
    return { kind: 'reverted', detail: reason ?? `${what} is gone` };
  }
  if (canary.uid !== mutation.canary_uid) return { kind: 'reverted', detail: `${what} was deleted and created anew: it has ${settingsText(canary.settings)}` };
  if (!isSameSettings(canary.settings, mutation.after))
    return {
      kind: 'reverted',
      detail: `${what} was changed by ${endpoint.writer ?? 'someone else'}: it has ${settingsText(canary.settings)}, expected ${settingsText(mutation.after)}`,
    };
  if (sinceMs < settleMs) return { kind: 'progressing', detail: `${what}: waiting for the controller and its workers to follow` };
  return { kind: 'converged', detail: `${what} has ${settingsText(canary.settings)}; ingress-nginx says nothing of it, the smoke test and the metrics do` };
}
