import { lookUp } from '../../../domain/lookup.ts';
import type { EndpointObservation, Observation } from '../../../domain/observation.ts';
import type { Desired, PlanResult } from '../../../domain/step.ts';
import { inverted, isSame, type Mutation } from './mutation.ts';
import { type Artifact, artifactFor, type ExperimentTruth, type ModelTruth, truthOf, type Versioning } from './observed.ts';

function refuse(reason: string): PlanResult {
  return { kind: 'refused', reason };
}

/** One patch: weights of an Experiment, or the artifact of a Model. */
export function planSteps(observation: Observation, desired: Desired, versioning: Versioning): PlanResult {
  const [endpoint] = observation.endpoints;
  if (endpoint === undefined) return refuse('the resource is not known');
  if (desired.kind === 'unpin') return { kind: 'nothing' };
  const [only, ...others] = desired.shares.filter((share) => share.share > 0);
  if (only === undefined || others.length > 0) return refuse('expected one version with 100 % of the traffic');
  const truth = truthOf(endpoint);
  return truth.form === 'model' ? planModel(endpoint, truth, only.version, versioning) : planExperiment(endpoint, truth, only.version);
}

function oneStep(endpoint: string, verb: string, to: string, mutation: Mutation): PlanResult {
  const step = {
    name: `${verb} on ${endpoint}`,
    phase: 'switch',
    endpoint,
    barrier: 0,
    mutation,
    inverse: inverted(mutation),
    expect: { serving: to },
  } as const;
  return { kind: 'steps', steps: [step] };
}

function planModel(endpoint: EndpointObservation, truth: ModelTruth, to: string, versioning: Versioning): PlanResult {
  const after: Artifact | null = artifactFor(to, truth.artifact, versioning);
  if (after === null) return refuse(`version ${JSON.stringify(to)}: artifactVersion is a whole number`);
  if (isSame(truth.artifact, after)) return { kind: 'nothing' };
  return oneStep(endpoint.endpoint, `set the artifact of ${to}`, to, { kind: 'artifact', before: truth.artifact, after });
}

/**
 * The default is never changed: clients ask for it by its name. A candidate that cannot take traffic leaves the list in the same patch, since with it the
 * scheduler sends everything to the default (reference control-planes-serving 4.4).
 */
function planExperiment(endpoint: EndpointObservation, truth: ExperimentTruth, to: string): PlanResult {
  const { candidates, unavailable } = truth;
  if (!candidates.some((entry) => entry.name === to))
    return refuse(
      `${to} is no candidate of the Experiment (found ${candidates.map((entry) => entry.name).join(', ') || 'none'}); add it with weight 0, then roll back again`,
    );
  const obstacle = lookUp(unavailable, to);
  if (obstacle !== undefined) return refuse(`model ${to} cannot take traffic: ${obstacle}; load it first`);
  const leaving = candidates.filter((entry) => lookUp(unavailable, entry.name) !== undefined);
  const stuck = leaving.find((entry) => entry.name === truth.default);
  if (stuck !== undefined)
    return refuse(
      `model ${stuck.name} cannot take traffic (${lookUp(unavailable, stuck.name)}) and is the default of the Experiment, which must stay a candidate; load it, or make ${to} the default`,
    );
  const after = candidates.filter((entry) => !leaving.includes(entry)).map(({ name }) => ({ name, weight: name === to ? 100 : 0 }));
  const servesAlone = endpoint.serving.length === 1 && endpoint.serving[0]?.version === to;
  const isAlone = candidates.every((entry) => (entry.name === to) === entry.weight > 0);
  if (isSame(candidates, after) || (servesAlone && isAlone && leaving.length === 0)) return { kind: 'nothing' };
  const verb = leaving.length === 0 ? '' : ` and take ${leaving.map((entry) => entry.name).join(', ')} off the list`;
  return oneStep(endpoint.endpoint, `give ${to} all traffic${verb}`, to, { kind: 'candidates', before: [...candidates], after });
}
