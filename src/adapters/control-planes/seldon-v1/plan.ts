import { lookUp } from '../../../domain/lookup.ts';
import type { Observation } from '../../../domain/observation.ts';
import type { Desired, PlanResult } from '../../../domain/step.ts';
import { type Entry, inverted, isSameList, listText, type Mutation } from './mutation.ts';
import { truthOf } from './observed.ts';

function refuse(reason: string): PlanResult {
  return { kind: 'refused', reason };
}

/**
 * One patch: all traffic to the target. Predictors that are not fully available leave the list in the same patch, since the operator writes no routing
 * while one of them is not (reference control-planes-serving 3.4).
 */
export function planSteps(observation: Observation, desired: Desired): PlanResult {
  const [endpoint] = observation.endpoints;
  if (endpoint === undefined) return refuse('the SeldonDeployment is not known');
  if (desired.kind === 'unpin') return { kind: 'nothing' };
  const [only, ...others] = desired.shares.filter((share) => share.share > 0);
  if (only === undefined || others.length > 0) return refuse('expected one predictor with 100 % of the traffic');
  const { predictors, waiting } = truthOf(endpoint);
  const to = only.version;
  const target = predictors.find((entry) => entry.name === to);
  if (target === undefined)
    return refuse(`no predictor is named ${to} (found ${listText(predictors)}); put it back on spec.predictors with traffic 0, then roll back again`);
  if (target.shadow) return refuse(`predictor ${to} is a shadow; set shadow: false on it first`);
  const obstacle = lookUp(waiting, to);
  if (obstacle !== undefined)
    return refuse(`predictor ${to} is not fully available (${obstacle}), and the operator applies no routing until it is; bring it up first`);

  const leaving = predictors.filter((entry) => entry.name !== to && lookUp(waiting, entry.name) !== undefined);
  const after = predictors
    .filter((entry) => !leaving.includes(entry))
    .map((entry): Entry => ({ ...entry, traffic: entry.shadow ? entry.traffic : entry.name === to ? 100 : 0 }));
  if (isSameList(predictors, after)) return { kind: 'nothing' };
  const mutation: Mutation = { before: [...predictors], after };
  const verb = leaving.length === 0 ? '' : ` and take ${leaving.map((entry) => entry.name).join(', ')} off the list`;
  return {
    kind: 'steps',
    steps: [
      {
        name: `give ${to} all traffic${verb} on ${endpoint.endpoint}`,
        phase: 'switch',
        endpoint: endpoint.endpoint,
        barrier: 0,
        mutation,
        inverse: inverted(mutation),
        expect: { serving: to },
      },
    ],
  };
}
