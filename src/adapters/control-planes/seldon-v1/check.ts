import type { Observation } from '../../../domain/observation.ts';
import type { Step, StepCheck } from '../../../domain/step.ts';
import { isSameList, listText, mutationOf } from './mutation.ts';
import { truthOf } from './observed.ts';

/**
 * Whether the applied routing is what the step wanted. Neither `status.state` nor the conditions are looked at: they may be from before the patch and
 * carry no generation (reference control-planes-serving 3.5).
 */
export function checkStep(step: Step, now: Observation): StepCheck {
  const mutation = mutationOf(step);
  const endpoint = now.endpoints.find((entry) => entry.endpoint === step.endpoint);
  if (mutation === null || endpoint === undefined) return { kind: 'failed', detail: `${step.endpoint} is not an endpoint any more` };
  const { predictors, waiting, router } = truthOf(endpoint);
  if (!isSameList(predictors, mutation.after))
    return { kind: 'reverted', detail: `spec.predictors is ${listText(predictors)}, not ${listText(mutation.after)}: somebody wrote there after us` };
  const shares = endpoint.serving.map(({ version, share }) => `${version} ${Math.round(share * 100)}`).join(', ') || 'nothing';
  if (endpoint.serving.length === 1 && endpoint.serving[0]?.version === step.expect.serving) return { kind: 'converged', detail: `${router} routes ${shares}` };
  const held = Object.entries(waiting).map(([name, why]) => `${name}: ${why}`);
  if (held.length > 0)
    return {
      kind: 'progressing',
      detail: `${router} still routes ${shares}; the operator applies no routing before every predictor is fully available (${held.join('; ')})`,
    };
  return { kind: 'stale', detail: `${router} still routes ${shares}` };
}
