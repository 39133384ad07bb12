import { lookUp } from '../../../domain/lookup.ts';
import type { EndpointObservation, Observation, VersionObservation } from '../../../domain/observation.ts';
import type { Step, StepCheck } from '../../../domain/step.ts';
import { isSameState, judgePolicy, namedVersions } from './model-state.ts';
import { type Mutation, mutationOf } from './mutation.ts';
import { truthOf } from './observed.ts';

/** How long a server may take, from its own poll of the file system. */
export type Patience = {
  /** Two polls and a bit: before that, what is seen may still be from before the step. */
  readonly graceMs: number;
  /** After that a version that never appeared is taken as never coming. */
  readonly absentMs: number;
};

export function patienceFor(pollMs: number): Patience {
  return { graceMs: 2 * pollMs + 500, absentMs: Math.max(15_000, 15 * pollMs) };
}

const followHint =
  'is the file system polled (--file_system_poll_wait_seconds above 0), does every base_path of the list exist, does the server poll a config file of its own?';

/** What two observations say of a step; pure. `END` is believed only when it is new, or after the grace (reference 1.5, stale END). */
export function checkStep(step: Step, before: Observation, now: Observation, sinceMs: number, patience: Patience): StepCheck {
  const mutation = mutationOf(step);
  if (mutation === null) return { kind: 'failed', detail: `${step.name}: no mutation` };
  if (mutation.op === 'persist') return checkFile(mutation, before, now, sinceMs, patience);

  const then = before.endpoints.find((endpoint) => endpoint.endpoint === step.endpoint);
  const present = now.endpoints.find((endpoint) => endpoint.endpoint === step.endpoint);
  if (present === undefined) return { kind: 'failed', detail: `${step.endpoint} is not an endpoint any more` };
  if (present.error !== undefined) return { kind: 'progressing', detail: `${step.endpoint} cannot be read: ${present.error}` };
  const verdict = ((): StepCheck => {
    if (mutation.op === 'clear') return checkCleared(present, sinceMs, patience);
    if (step.expect.available !== undefined) return checkAvailable(step.expect.available, then, present, sinceMs, patience);
    if (step.expect.serving !== undefined) return checkServing(step.expect.serving, step.expect.gone ?? null, mutation, present, sinceMs, patience);
    if (step.expect.routes !== undefined && Object.keys(step.expect.routes).length > 0) return checkRoutes(step.expect.routes, present, sinceMs, patience);
    return checkPolicy(mutation, present, sinceMs, patience);
  })();
  const isBack = verdict.kind !== 'converged' && then !== undefined && then.error === undefined && isMet(step, then) && mutation.op === 'policy';
  return isBack ? { kind: 'reverted', detail: `it had taken on ${step.endpoint}, and was taken back: ${verdict.detail}` } : verdict;
}

/** Whether an endpoint shows what the step is for (used on the observation from before: then somebody took it back). */
function isMet(step: Step, endpoint: EndpointObservation): boolean {
  const { available, serving, gone, routes } = step.expect;
  if (available === undefined && serving === undefined && Object.keys(routes ?? {}).length === 0) return false;
  return (
    (available === undefined || stateIn(endpoint, available).state === 'available') &&
    (serving === undefined || isServedAlone(endpoint, serving)) &&
    (gone === undefined || isGone(stateIn(endpoint, gone))) &&
    Object.entries(routes ?? {}).every(([route, version]) => lookUp(endpoint.routes, route) === version)
  );
}

function stateIn(endpoint: EndpointObservation | undefined, id: string): VersionObservation {
  return endpoint?.versions.find((version) => version.id === id) ?? { id, state: 'absent' };
}

function isServedAlone(endpoint: EndpointObservation, id: string): boolean {
  return endpoint.serving.length === 1 && endpoint.serving[0]?.version === id;
}

function isGone(version: VersionObservation): boolean {
  return version.state === 'unloaded' || version.state === 'absent' || version.state === 'failed';
}

/** Nothing shows that the list without the failed version was taken up: only time does. */
function checkCleared(present: EndpointObservation, sinceMs: number, patience: Patience): StepCheck {
  if (present.serving.length === 0) return { kind: 'failed', detail: `${present.endpoint} serves nothing` };
  return sinceMs < patience.graceMs
    ? { kind: 'progressing', detail: 'waiting until the server has polled' }
    : { kind: 'converged', detail: 'the server had the time to take it off' };
}

function checkAvailable(id: string, then: EndpointObservation | undefined, present: EndpointObservation, sinceMs: number, patience: Patience): StepCheck {
  const was = stateIn(then, id);
  const is = stateIn(present, id);
  const where = `version ${id} on ${present.endpoint}`;
  const isYoung = sinceMs < patience.graceMs;
  switch (is.state) {
    case 'available':
      return { kind: 'converged', detail: `${where} is available` };
    case 'pending':
    case 'loading':
      return { kind: 'progressing', detail: `${where} is loading` };
    case 'failed':
      if (was.state === 'failed' && isYoung) return { kind: 'stale', detail: `${where} shows its failure from before` };
      return { kind: 'failed', detail: `${where} failed to load: ${is.detail ?? 'no reason given'}` };
    case 'absent':
      if (sinceMs < patience.absentMs) return { kind: 'progressing', detail: `${where} is not seen yet` };
      return { kind: 'failed', detail: `${where} did not appear: does its folder exist under base_path? Else ${followHint}` };
    case 'draining':
    case 'unloaded': {
      const wasLeaving = was.state === 'draining' || was.state === 'unloaded';
      if (!wasLeaving)
        return { kind: 'reverted', detail: `${where} was loaded and unloaded again: somebody else changed the list, or the server polls its own config file` };
      if (isYoung) return { kind: 'stale', detail: `${where} still shows that it was unloaded before` };
      if (sinceMs < patience.absentMs) return { kind: 'progressing', detail: `${where} is not loaded again yet` };
      return { kind: 'failed', detail: `${where} did not come back: does its folder exist under base_path? Else ${followHint}` };
    }
  }
}

function checkServing(id: string, gone: string | null, mutation: Mutation, present: EndpointObservation, sinceMs: number, patience: Patience): StepCheck {
  const where = `on ${present.endpoint}`;
  const old = gone === null ? null : stateIn(present, gone);
  if (isServedAlone(present, id)) {
    const wrong = Object.entries(mutation.after.labels).find(([label, version]) => lookUp(present.routes, label) !== version);
    if (wrong !== undefined)
      return { kind: 'failed', detail: `label ${wrong[0]} leads to ${lookUp(present.routes, wrong[0]) ?? 'nothing'} ${where}, expected ${wrong[1]}` };
    if (old === null || isGone(old)) return { kind: 'converged', detail: `version ${id} serves alone ${where}` };
    if (old.state === 'draining') return { kind: 'progressing', detail: `version ${gone} finishes its last requests ${where}` };
    return { kind: 'progressing', detail: `version ${gone} is ${old.state} ${where}` };
  }
  const target = stateIn(present, id);
  if (present.serving.length === 0 && target.state !== 'available')
    return { kind: 'failed', detail: `nothing serves ${where}; version ${id} is ${target.state}${target.detail === undefined ? '' : `: ${target.detail}`}` };
  if (target.state !== 'available') return { kind: 'failed', detail: `version ${id} is ${target.state} ${where}` };
  if (sinceMs < patience.graceMs) return { kind: 'stale', detail: `version ${present.serving[0]?.version ?? 'none'} still serves ${where}` };
  if (sinceMs < patience.absentMs) return { kind: 'progressing', detail: `version ${present.serving[0]?.version ?? 'none'} still serves ${where}` };
  return { kind: 'failed', detail: `version ${present.serving[0]?.version ?? 'none'} serves ${where} although it is not listed: ${followHint}` };
}

function checkRoutes(routes: Readonly<Record<string, string>>, present: EndpointObservation, sinceMs: number, patience: Patience): StepCheck {
  const wrong = Object.entries(routes).find(([route, version]) => lookUp(present.routes, route) !== version);
  if (wrong === undefined)
    return {
      kind: 'converged',
      detail: `${Object.entries(routes)
        .map(([route, version]) => `${route} → ${version}`)
        .join(', ')} on ${present.endpoint}`,
    };
  const detail = `label ${wrong[0]} leads to ${lookUp(present.routes, wrong[0]) ?? 'nothing'} on ${present.endpoint}, expected ${wrong[1]}`;
  return { kind: sinceMs < patience.graceMs ? 'stale' : 'failed', detail };
}

/** A step without a version to wait for (a policy given back): time, and that the server looks as the policy says. */
function checkPolicy(mutation: Mutation, present: EndpointObservation, sinceMs: number, patience: Patience): StepCheck {
  const judgement = judgePolicy(mutation.after.policy, present.versions, null);
  if (sinceMs < patience.graceMs) return { kind: 'progressing', detail: 'waiting until the server has polled' };
  if (judgement.kind === 'moving') return { kind: 'progressing', detail: judgement.detail };
  if (judgement.kind === 'matches')
    return present.serving.length > 0 ? { kind: 'converged', detail: judgement.detail } : { kind: 'failed', detail: `nothing serves on ${present.endpoint}` };
  if (sinceMs < patience.absentMs) return { kind: 'progressing', detail: judgement.detail };
  // An open policy depends on what is on disk, which may have shrunk; what counts then is that the model serves.
  if (namedVersions(mutation.after.policy) === null && present.serving.length > 0)
    return { kind: 'converged', detail: `version ${present.serving[0]?.version} serves; nothing newer was loaded` };
  return { kind: 'failed', detail: `${judgement.detail}: ${followHint}` };
}

function checkFile(mutation: Mutation, before: Observation, now: Observation, sinceMs: number, patience: Patience): StepCheck {
  const readable = now.endpoints.map(truthOf);
  const problem = readable.find((truth) => truth.base === null)?.problem;
  if (problem !== undefined && problem !== null)
    return sinceMs < patience.graceMs ? { kind: 'progressing', detail: problem } : { kind: 'failed', detail: problem };
  const says = (truth: (typeof readable)[number]): boolean => truth.base !== null && isSameState(truth.base, mutation.after);
  if (readable.every(says)) return { kind: 'converged', detail: 'the file says so' };
  const had = before.endpoints.map(truthOf).every(says);
  return { kind: 'reverted', detail: had ? 'the file had it, and was changed again' : 'the file does not say it: somebody wrote it again' };
}
