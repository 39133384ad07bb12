import type { EndpointObservation, Observation } from '../../../domain/observation.ts';
import type { Step, StepCheck } from '../../../domain/step.ts';
import { isSame, mutationOf } from './mutation.ts';
import { type ExperimentTruth, type ModelTruth, truthOf } from './observed.ts';

/**
 * Confirmed by generation: the scheduler names the generation that each of its states came from. The conditions on the resource are not asked: no controller
 * sets `observedGeneration`, and right after a patch the old `Ready=True` still stands there (reference control-planes-serving 4.5).
 */
export function checkStep(step: Step, now: Observation): StepCheck {
  const mutation = mutationOf(step);
  const endpoint = now.endpoints.find((entry) => entry.endpoint === step.endpoint);
  if (mutation === null || endpoint === undefined) return { kind: 'failed', detail: `${step.endpoint} is not an endpoint any more` };
  const truth = truthOf(endpoint);
  const wish = truth.form === 'model' ? truth.artifact : truth.candidates;
  if (!isSame(wish, mutation.after))
    return { kind: 'reverted', detail: `the spec says ${JSON.stringify(wish)}, not ${JSON.stringify(mutation.after)}: somebody wrote there after us` };
  return truth.form === 'model' ? checkModel(step, endpoint, truth) : checkExperiment(step, endpoint, truth);
}

function checkModel(step: Step, endpoint: EndpointObservation, { generation_state: state, reason }: ModelTruth): StepCheck {
  const why = reason === '' ? '' : `: ${reason}`;
  switch (state) {
    case 'none':
      return { kind: 'stale', detail: 'the scheduler has not seen the new generation yet' };
    case 'ModelAvailable':
      return servesAlone(endpoint, step.expect.serving)
        ? { kind: 'converged', detail: 'the scheduler has the new generation available' }
        : { kind: 'progressing', detail: 'the new generation is available, the one before still has traffic' };
    case 'ScheduleFailed':
      return { kind: 'failed', detail: `no server can take the version (ScheduleFailed${why}), and the scheduler removes the model's route meanwhile` };
    case 'ModelFailed':
    case 'ModelTerminateFailed':
      return { kind: 'failed', detail: `the version does not load (${state}${why})` };
    default:
      return { kind: 'progressing', detail: `${state}${why}` };
  }
}

function checkExperiment(step: Step, endpoint: EndpointObservation, { applied, description, unavailable }: ExperimentTruth): StepCheck {
  const why = description === '' ? '' : `: ${description}`;
  if (applied === 'not_seen') return { kind: 'stale', detail: 'the scheduler has not seen the new generation yet' };
  if (servesAlone(endpoint, step.expect.serving)) return { kind: 'converged', detail: 'the scheduler runs the new generation' };
  const held = Object.entries(unavailable).map(([name, reason]) => `${name}: ${reason}`);
  return {
    kind: 'progressing',
    detail: `the Experiment is ${applied === 'yes' ? 'active' : 'not active'}${why}${held.length === 0 ? '' : ` (${held.join('; ')})`}`,
  };
}

function servesAlone(endpoint: EndpointObservation, version: string | undefined): boolean {
  return endpoint.serving.length === 1 && endpoint.serving[0]?.version === version;
}
