import type { EndpointObservation, Observation } from '../../../domain/observation.ts';
import type { Desired, PlanResult, Step } from '../../../domain/step.ts';
import { compareVersions } from '../../../domain/target.ts';
import { refused } from '../answers.ts';
import { isServedAlone } from '../observed.ts';
import { named, type Revision } from '../replica-sets.ts';
import type { Mutation } from './mutation.ts';
import { type Progress, progressOf, type RolloutTruth, truthOf } from './observed.ts';

export const pausedWords = 'the Rollout is paused (spec.paused): the controller would change nothing; resume it first (kubectl argo rollouts promote)';

/** Abort while it rolls out, undo and promotion once it is promoted: README.md says when which. */
export function planSteps(observation: Observation, desired: Desired): PlanResult {
  const [endpoint] = observation.endpoints;
  if (endpoint === undefined || endpoint.error !== undefined) return refused(endpoint?.error ?? 'the Rollout was not seen');
  if (desired.kind === 'unpin') return { kind: 'nothing' };
  const [only, ...others] = desired.shares.filter((share) => share.share > 0);
  if (only === undefined || others.length > 0)
    return refused('rollbackd splits no traffic of a Rollout, its own steps do that: expected one version with 100 %');
  const truth = truthOf(endpoint);
  const progress = progressOf(observation);
  const to = truth.revisions.find(({ version }) => version === only.version);
  const from = truth.revisions.find(({ hash }) => hash === truth.asked);
  if (to !== undefined && isServedAlone(endpoint, to.version) && (to.hash === truth.asked || progress.aborted)) return { kind: 'nothing' };
  if (progress.invalid !== '') return refused(invalidWords(progress));
  if (to === undefined) return refused(missing(truth, only.version));
  if (from === undefined)
    return refused('the controller has not looked at the present template yet, or its ReplicaSet is gone, so there would be no way back; wait until it has');
  if (to.mutableImages.length > 0)
    return refused(`version ${to.version} names ${to.mutableImages.join(', ')}, whose content may be another by now; pin images by tag or digest`);
  if (to.hash === from.hash) return planUnderWay(endpoint, truth, progress, to);
  if (to.spec === from.spec)
    return refused(`versions ${from.version} and ${to.version} run the same images with the same settings: going back would change nothing`);
  return prefersAbort(truth, progress, to) ? planAbort(endpoint, truth, progress, from, to) : planUndo(endpoint, truth, progress, from, to);
}

/**
 * Whether the controller would act on an abort now. It drops one on a promoted Rollout, one after `promoteFull` (argo-rollouts#4461), and one of a rollout
 * that itself goes back within `rollbackWindow`.
 */
export function isAbortable(truth: RolloutTruth, progress: Progress): boolean {
  const { observed, current, stable, abort, promote_full: isPromoted, abort_is_dropped: isDropped } = progress;
  if (!observed || stable === '' || current === stable || abort || isPromoted || isDropped) return false;
  // Paused, no pods are scaled: then only a proxy can take the traffic away.
  return !truth.paused || (truth.routed && !truth.dynamic);
}

export function invalidWords({ invalid }: Progress): string {
  return `the controller does not act on this Rollout, since its spec is not valid: ${invalid}`;
}

/**
 * Blue-green: an abort moves the active Service only while all pods of the new version are up, which a bad one's may not be. So it is for Rollouts that
 * GitOps keeps as git has them: an abort writes the status only.
 */
function prefersAbort(truth: RolloutTruth, progress: Progress, to: Revision): boolean {
  if (to.hash !== truth.stable || !isAbortable(truth, progress)) return false;
  return truth.strategy === 'canary' || (truth.kept.length > 0 && (progress.pods[progress.current]?.available ?? 0) >= progress.wanted);
}

function planAbort({ endpoint }: EndpointObservation, truth: RolloutTruth, progress: Progress, from: Revision, to: Revision): PlanResult {
  const facts = { ...placeOf(truth), from: named(from), to: named(to) };
  const expect = { serving: to.version, gone: from.version };
  const abort: Step = {
    ...{ name: `abort the rollout of ${from.version} on ${endpoint}`, phase: 'switch', endpoint, barrier: 0, expect },
    mutation: { op: 'abort', ...facts } satisfies Mutation,
    inverse: { op: 'retry', ...facts, step: progress.step.index } satisfies Mutation,
  };
  if (truth.paused || truth.kept.length > 0 || typeof truth.holder === 'string') {
    const note = `the template still asks for ${from.version}: a retry, or the next change of the manifest, starts its rollout again; revert it there`;
    return { kind: 'steps', steps: [abort], notes: [note] };
  }
  // The template of the stable version starts no pods. Without it the next retry, or change of the manifest, would start the bad one's rollout again.
  const { holder } = truth;
  const keep: Step = {
    ...{ name: `keep ${to.version} (${to.name}) in the spec of ${endpoint}`, phase: 'persist', endpoint, barrier: 0, expect },
    mutation: { op: 'template', ...facts, holder, promotion: 'none' } satisfies Mutation,
    inverse: { op: 'template', ...swapped(facts), holder, promotion: 'none' } satisfies Mutation,
  };
  return { kind: 'steps', steps: [abort, keep] };
}

function planUndo({ endpoint }: EndpointObservation, truth: RolloutTruth, progress: Progress, from: Revision, to: Revision): PlanResult {
  if (truth.paused) return refused(pausedWords);
  if (truth.kept.length > 0) return refused(truth.kept.join('; '));
  if (typeof truth.holder === 'string') return refused(truth.holder);
  const facts = { ...placeOf(truth), holder: truth.holder, from: named(from), to: named(to) };
  const back = swapped(facts);
  // Back to the stable version no steps are walked.
  const isStable = to.hash === truth.stable;
  const roll: Step = {
    ...{ name: `roll ${endpoint} to ${to.version} (${to.name})`, phase: 'switch', endpoint, barrier: 0 },
    mutation: { op: 'template', ...facts, promotion: isStable ? 'none' : 'follows' } satisfies Mutation,
    inverse: (isStable ? { op: 'template', ...back, promotion: 'none' } : { op: 'settle', ...back }) satisfies Mutation,
    expect: isStable ? { serving: to.version, gone: from.version } : {},
  };
  const promote: Step = {
    ...{ name: `promote ${to.version} on ${endpoint}`, phase: 'switch', endpoint, barrier: 1 },
    mutation: { op: 'promote', ...facts } satisfies Mutation,
    // Taken back in reverse order: the template here, and by the other step, once the controller works on it, its promotion.
    inverse: { op: 'template', ...back, promotion: 'none' } satisfies Mutation,
    expect: { serving: to.version, gone: from.version },
  };
  const isCold = (progress.pods[to.hash]?.available ?? 0) === 0;
  const notes = [`no pod of ${to.version} is up: they are started first, and ${from.version} serves until then`];
  return { kind: 'steps', steps: isStable ? [roll] : [roll, promote], ...(isCold && { notes }) };
}

/** The template asks for it already: at most its steps can be spared. */
function planUnderWay({ endpoint }: EndpointObservation, truth: RolloutTruth, progress: Progress, to: Revision): PlanResult {
  const isSpared = to.hash === truth.stable || progress.promote_full;
  if (isSpared || typeof truth.holder === 'string')
    return refused(`the Rollout already asks for ${to.version}, and its rollout has not ended: wait for it, or look why its pods do not become ready`);
  if (truth.paused) return refused(pausedWords);
  const stable = truth.revisions.find(({ hash }) => hash === truth.stable) ?? to;
  const mutation: Mutation = { op: 'promote', ...placeOf(truth), holder: truth.holder, from: named(stable), to: named(to) };
  const name = `promote ${to.version} on ${endpoint}`;
  return { kind: 'steps', steps: [{ name, phase: 'switch', endpoint, barrier: 0, mutation, inverse: null, expect: { serving: to.version } }] };
}

function swapped<Facts extends { readonly from: unknown; readonly to: unknown }>(facts: Facts): Facts {
  return { ...facts, from: facts.to, to: facts.from };
}

function placeOf({ namespace, rollout, uid }: RolloutTruth): { namespace: string; rollout: string; uid: string } {
  return { namespace, rollout, uid };
}

function missing(truth: RolloutTruth, version: string): string {
  const known = truth.revisions
    .map((revision) => revision.version)
    .toSorted(compareVersions)
    .join(', ');
  const limit =
    truth.history_limit === 0
      ? 'revisionHistoryLimit is 0, so nothing is kept to go back to; set it to 2 or more'
      : `revisionHistoryLimit is ${truth.history_limit}`;
  return `no ReplicaSet of version ${version} is left (found ${known}; ${limit})`;
}
