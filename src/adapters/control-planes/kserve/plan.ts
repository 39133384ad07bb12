import { createHash } from 'node:crypto';
import type { EndpointObservation, Observation } from '../../../domain/observation.ts';
import type { Desired, PlanResult, Step } from '../../../domain/step.ts';
import type { ArtifactNames } from '../artifact-names.ts';
import { inverted, type Mutation } from './mutation.ts';
import { isSameWish, type KnativeTruth, type StandardTruth, truthOf, type Wish } from './observed.ts';

function refuse(reason: string): PlanResult {
  return { kind: 'refused', reason };
}

/** The order of writes that brings one version to all traffic (reference control-planes-serving 5.3, 5.4, 6.5). */
export function planSteps(observation: Observation, desired: Desired, names: ArtifactNames, options: { readonly canaries: boolean }): PlanResult {
  const [endpoint] = observation.endpoints;
  if (endpoint === undefined) return refuse('the InferenceService is not known');
  const truth = truthOf(endpoint);
  if (truth.wish.uri === '') return refuse('the predictor names no storageUri: what serves is not known by an artifact, so there is nothing to set back');
  if (desired.kind === 'unpin') return truth.mode === 'Knative' ? planUnpin(endpoint, truth) : { kind: 'nothing' };
  const [only, ...others] = desired.shares.filter((share) => share.share > 0);
  if (only === undefined || others.length > 0) return refuse('expected one version with 100 % of the traffic');
  return truth.mode === 'Knative' ? planKnative(endpoint, truth, only.version, names) : planStandard(endpoint, truth, only.version, { names, ...options });
}

function servesAlone(endpoint: EndpointObservation, version: string): boolean {
  return endpoint.serving.length === 1 && endpoint.serving[0]?.version === version;
}

/** Steps one after the other, each from the wish the one before left. */
class Chain {
  readonly steps: Step[] = [];
  readonly #endpoint: string;
  #wish: Wish;

  constructor(endpoint: string, wish: Wish) {
    this.#endpoint = endpoint;
    this.#wish = wish;
  }

  add(verb: string, phase: Step['phase'], kind: Mutation['kind'], changes: Partial<Wish>, expect: Step['expect']): void {
    const after: Wish = { ...this.#wish, ...changes };
    if (isSameWish(after, this.#wish)) return;
    const mutation: Mutation = { kind, before: this.#wish, after };
    const barrier = this.steps.filter((step) => step.phase === phase).length;
    this.steps.push({ name: `${verb} on ${this.#endpoint}`, phase, endpoint: this.#endpoint, barrier, mutation, inverse: inverted(mutation), expect });
    this.#wish = after;
  }

  get result(): PlanResult {
    return this.steps.length === 0 ? { kind: 'nothing' } : { kind: 'steps', steps: this.steps };
  }
}

/**
 * Pin first, since it needs no new revision; then the spec, so that the next deploy does not leak traffic to the bad one. The percentage goes last: without
 * it the newest *ready* revision has everything, and that is the bad one until the new one is up.
 */
function planKnative(endpoint: EndpointObservation, truth: KnativeTruth, to: string, names: ArtifactNames): PlanResult {
  const chain = new Chain(endpoint.endpoint, truth.wish);
  const uri = names.uriOf(to);
  const revert = (phase: Step['phase']): void => {
    chain.add(`set the artifact of ${to}`, phase, 'stage', { uri }, { available: to });
    chain.add(`let the newest revision have the traffic`, phase, 'traffic', { percent: null }, { serving: to });
  };
  if (servesAlone(endpoint, to)) {
    revert('persist');
    return chain.result;
  }
  if (truth.pin.version === to && truth.version !== to) {
    chain.add(`pin ${to}`, 'switch', 'traffic', { percent: 0 }, { serving: to });
    revert('persist');
    return chain.result;
  }
  if (truth.version === to) {
    // Its revision is there, as a canary, or held back by a pin.
    if (truth.latest.version !== to || truth.latest.state !== 'available')
      return refuse(`the revision of ${to} is ${truth.latest.state}; wait until it is ready`);
    chain.add(`let the newest revision have the traffic`, 'switch', 'traffic', { percent: null }, { serving: to });
    return chain.result;
  }
  if (truth.wish.percent !== null && truth.wish.percent < 100)
    return refuse(
      `canaryTrafficPercent is ${truth.wish.percent}: only ${truth.pin.version ?? 'the version rolled out last'} can be reached without giving the canary more traffic first (${truth.pin.detail}); finish or drop the canary, then roll back again`,
    );
  chain.add(`set the artifact of ${to}`, 'switch', 'traffic', { uri, percent: null }, { serving: to });
  return chain.result;
}

/** Whoever unpins wants what the spec says. */
function planUnpin(endpoint: EndpointObservation, truth: KnativeTruth): PlanResult {
  if (truth.wish.percent !== 0) return { kind: 'nothing' };
  const chain = new Chain(endpoint.endpoint, truth.wish);
  chain.add('let the newest revision have the traffic', 'switch', 'traffic', { percent: null }, { serving: truth.version });
  return chain.result;
}

type StandardOptions = { readonly names: ArtifactNames; readonly canaries: boolean };

/**
 * With `canaries` the target comes back beside what serves, is waited for, gets all traffic and then becomes the stable predictor; else, and where the stable
 * predictor is down (KServe writes no weights then), it replaces what serves, pod by pod.
 */
function planStandard(endpoint: EndpointObservation, truth: StandardTruth, to: string, { names, canaries: useCanaries }: StandardOptions): PlanResult {
  const chain = new Chain(endpoint.endpoint, truth.wish);
  const { canaries } = truth.wish;
  const only = (name: string | null, of = canaries): Wish['canaries'] => of.map((canary) => ({ ...canary, percent: canary.name === name ? 100 : 0 }));
  if (servesAlone(endpoint, to)) return { kind: 'nothing' };
  if (truth.version === to) {
    if (canaries.every((canary) => canary.percent === 0)) return { kind: 'nothing' };
    if (!truth.predictor_ready)
      return refuse(`${to} is the stable version and its predictor is not ready (PredictorReady); KServe writes no weights until it is, so bring it up first`);
    chain.add(`take the canaries' traffic away`, 'switch', 'traffic', { canaries: only(null) }, { serving: to });
    return chain.result;
  }
  const uri = names.uriOf(to);
  const switchTo = (name: string, among = canaries): PlanResult => {
    chain.add(`give canary ${name} (${to}) all traffic`, 'switch', 'traffic', { canaries: only(name, among) }, { serving: to });
    const left = only(null, among).filter((canary) => canary.name !== name);
    if (useCanaries)
      chain.add(`make canary ${name} (${to}) the stable predictor`, 'persist', 'promote', { uri, predictor: name, canaries: left }, { serving: to });
    return chain.result;
  };
  const canary = truth.canaries.find((entry) => entry.version === to);
  if (canary?.ready === true && truth.predictor_ready) return switchTo(canary.name);
  if (useCanaries && canary === undefined && truth.predictor_ready) {
    const added = [...canaries, { name: canaryName(uri), percent: 0, uri }];
    chain.add(`bring ${to} back as canary ${canaryName(uri)}`, 'stage', 'stage', { canaries: added }, { available: to });
    return switchTo(canaryName(uri), added);
  }
  chain.add(`set the artifact of ${to}`, 'switch', 'rollout', { uri, canaries: only(null) }, { serving: to });
  return chain.result;
}

/** Short, since Deployments are named after it, and the same for the same artifact. */
function canaryName(uri: string): string {
  return `rb-${createHash('sha256').update(uri).digest('hex').slice(0, 8)}`;
}
