import type { EndpointObservation, Observation } from '../../../domain/observation.ts';
import type { Step, StepCheck } from '../../../domain/step.ts';
import { type Mutation, mutationOf } from './mutation.ts';
import { isSameWish, type KnativeTruth, type StandardTruth, type Truth, truthOf, type Wish } from './observed.ts';

/**
 * What two observations say of a step; pure. `Ready`, `observedGeneration` and `canaryStatuses[].trafficPercent` are not asked: the first flips during healthy
 * rollouts, the second is another object's, the third echoes the wish (reference control-planes-serving 5.2, 5.4). Only the applied traffic counts.
 */
export function checkStep(step: Step, before: Observation, now: Observation): StepCheck {
  const mutation = mutationOf(step);
  const endpoint = now.endpoints.find((entry) => entry.endpoint === step.endpoint);
  if (mutation === null || endpoint === undefined) return { kind: 'failed', detail: `${step.endpoint} is not an endpoint any more` };
  const then = before.endpoints.find((entry) => entry.endpoint === step.endpoint);
  const truth = truthOf(endpoint);
  if (!isSameWish(truth.wish, mutation.after))
    return { kind: 'reverted', detail: `the spec says ${wishText(truth.wish)}, not ${wishText(mutation.after)}: somebody wrote there after us` };
  const failure = failureSince(then === undefined ? null : truthOf(then), truth);
  return truth.mode === 'Knative' ? checkKnative(step, mutation, endpoint, truth, failure) : checkStandard(step, mutation, endpoint, truth, failure);
}

/** A failure to load that was not there before the step: an older one may still stand in the status. */
function failureSince(before: Truth | null, now: Truth): string | null {
  return now.failure !== null && now.failure !== before?.failure ? now.failure : null;
}

function checkKnative(step: Step, mutation: Mutation, endpoint: EndpointObservation, truth: KnativeTruth, failure: string | null): StepCheck {
  const wantsRevision = mutation.before.uri !== mutation.after.uri;
  if (wantsRevision && truth.latest.version !== truth.version) return { kind: 'stale', detail: `no revision of ${truth.version} yet` };
  if (wantsRevision && truth.latest.state === 'failed')
    return {
      kind: 'failed',
      detail: `the revision of ${truth.version} does not come up: ${reasonOf(endpoint, truth.version) ?? failure ?? 'no reason given'}`,
    };
  if (mutation.kind === 'stage') {
    if (truth.latest.state === 'available') return { kind: 'converged', detail: `the revision of ${truth.version} is ready` };
    return { kind: 'progressing', detail: `the revision of ${truth.version} is ${truth.latest.state}${failure === null ? '' : ` (${failure})`}` };
  }
  const shares = sharesText(endpoint);
  if (!servesAlone(endpoint, step.expect.serving)) return { kind: 'progressing', detail: `applied traffic: ${shares}` };
  if (!truth.routes_ready) return { kind: 'progressing', detail: `applied traffic: ${shares}, but RoutesReady is not True` };
  return { kind: 'converged', detail: `applied traffic: ${shares}` };
}

function checkStandard(step: Step, mutation: Mutation, endpoint: EndpointObservation, truth: StandardTruth, failure: string | null): StepCheck {
  if (mutation.kind === 'stage') return checkCanary(step.expect.available ?? '', endpoint, truth);
  const shares = sharesText(endpoint);
  const isRolling = truth.version === step.expect.serving;
  if (isRolling && truth.rollout === 'failed') return { kind: 'failed', detail: `the Deployment does not come up: ${truth.rollout_detail}` };
  if (isRolling && truth.rollout === 'progressing' && failure !== null) return { kind: 'failed', detail: `the model does not load: ${failure}` };
  if (servesAlone(endpoint, step.expect.serving) && (!isRolling || truth.rollout === 'complete'))
    return { kind: 'converged', detail: `applied traffic: ${shares}` };
  const gate = truth.predictor_ready ? '' : '; PredictorReady is not True, and KServe writes no weights until it is';
  return { kind: 'progressing', detail: `applied traffic: ${shares}${truth.rollout === 'complete' ? '' : `; ${truth.rollout_detail}`}${gate}` };
}

function checkCanary(version: string, endpoint: EndpointObservation, truth: StandardTruth): StepCheck {
  const canary = truth.canaries.find((entry) => entry.version === version);
  if (canary?.ready === true) return { kind: 'converged', detail: `canary ${canary.name} (${version}) is ready` };
  const reason = reasonOf(endpoint, version);
  if (reason !== undefined) return { kind: 'failed', detail: `the canary of ${version} does not come up: ${reason}` };
  return { kind: 'progressing', detail: `the canary of ${version} is not ready` };
}

function servesAlone(endpoint: EndpointObservation, version: string | undefined): boolean {
  return endpoint.serving.length === 1 && endpoint.serving[0]?.version === version;
}

function reasonOf(endpoint: EndpointObservation, version: string): string | undefined {
  return endpoint.versions.find((entry) => entry.id === version && entry.state === 'failed')?.detail;
}

function sharesText(endpoint: EndpointObservation): string {
  return endpoint.serving.map(({ version, share }) => `${version} ${Math.round(share * 100)} %`).join(', ') || 'none';
}

export function wishText({ uri, percent, predictor, canaries }: Wish): string {
  const parts = [
    uri,
    ...(predictor === null ? [] : [`predictor ${predictor}`]),
    ...(percent === null ? [] : [`canaryTrafficPercent ${percent}`]),
    ...canaries.map((canary) => `canary ${canary.name} ${canary.percent}`),
  ];
  return parts.join(', ');
}
