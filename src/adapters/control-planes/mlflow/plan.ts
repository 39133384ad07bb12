import { lookUp } from '../../../domain/lookup.ts';
import { type EndpointObservation, mainVersion, type Observation } from '../../../domain/observation.ts';
import type { PlaneTarget } from '../../../domain/ports.ts';
import type { Desired, PlanResult, Step, StepCheck } from '../../../domain/step.ts';
import { type AliasMutation, mutationOf, type TagsMutation } from './mutation.ts';
import { type Names, namesOf, registryVersion } from './names.ts';

/** MLflow's limit of a tag's value, characters. */
const longestTag = 5_000;

/**
 * The alias, then what is written down on both versions. Where the alias is the traffic it is the switch; beside an actuator all of it is a record,
 * made after the actuator confirmed: an alias on a version that does not load is worse than one that is late.
 * @param observation its only endpoint is MLflow; its `serving` is what serves, as the actuator names it
 */
export function planSteps(target: PlaneTarget, observation: Observation, desired: Desired, aliasIsTraffic: boolean): PlanResult {
  if (desired.kind === 'unpin') return { kind: 'nothing' };
  const [wanted, ...others] = desired.shares.filter(({ share }) => share > 0);
  const [endpoint] = observation.endpoints;
  if (endpoint === undefined) return { kind: 'refused', reason: 'MLflow was not read' };
  if (wanted === undefined || others.length > 0) return { kind: 'refused', reason: 'an alias points to one version; traffic cannot be split by it' };
  const serving = mainVersion(observation);
  const to = registryVersion(target, wanted.version);
  const from = serving === null ? null : registryVersion(target, serving);
  if (to === null || (from === null && serving !== null))
    return { kind: 'refused', reason: `plane.registry_version does not fit version ${to === null ? wanted.version : serving}` };
  const names = namesOf(target);
  if (!aliasIsTraffic) {
    const record = recordAlias(names, endpoint, from, to);
    return { kind: 'steps', steps: [...(record === null ? [] : [record]), ...tagSteps(names, endpoint, from, to, desired.reason)] };
  }
  if (from === to) return { kind: 'nothing' };
  const obstacle = obstacleTo(to, names, observation);
  if (obstacle !== null) return { kind: 'refused', reason: obstacle };
  return {
    kind: 'steps',
    steps: [aliasStep(names, endpoint, { before: from, after: to, phase: 'switch' }), ...tagSteps(names, endpoint, from, to, desired.reason)],
  };
}

function obstacleTo(to: string, { registeredModel }: Names, observation: Observation): string | null {
  const found = observation.versions.find((version) => version.id === to);
  if (found === undefined || found.state === 'absent') return `MLflow has no version ${to} of registered model ${registeredModel}`;
  if (found.state === 'available' || found.state === 'unloaded') return null;
  return `version ${to} of ${registeredModel} is ${found.state}${found.detail === undefined ? '' : `: ${found.detail}`}`;
}

/**
 * Moves the alias where it points to what is rolled back, to nothing, or to a version that is gone. One that leads elsewhere is somebody's wish: the step
 * still expects the bad version, so that it ends as a conflict and is told.
 */
function recordAlias(names: Names, endpoint: EndpointObservation, from: string | null, to: string): Step | null {
  const present = endpoint.error === undefined ? (lookUp(endpoint.routes, names.alias) ?? null) : from;
  if (present === to) return null;
  const isFree = present === null || endpoint.versions.some((version) => version.id === present && version.state === 'absent');
  return aliasStep(names, endpoint, { before: isFree ? present : from, after: to, phase: 'record' });
}

function aliasStep(
  { registeredModel: model, alias }: Names,
  { endpoint }: EndpointObservation,
  { before, after, phase }: { before: string | null; after: string; phase: 'switch' | 'record' },
): Step {
  const mutation: AliasMutation = { op: 'alias', model, alias, before, after };
  const inverse: AliasMutation = { op: 'alias', model, alias, before: after, after: before };
  const expect = { routes: { [alias]: after }, ...(phase === 'switch' ? { serving: after } : {}) };
  return { name: `move alias ${alias} of ${model} to ${after}`, phase, endpoint, barrier: 0, mutation, inverse, expect };
}

function tagSteps({ registeredModel: model }: Names, { endpoint }: EndpointObservation, from: string | null, to: string, reason = ''): readonly Step[] {
  if (from === null || from === to) return [];
  const write = (version: string, words: string, barrier: number, tags: TagsMutation['tags']): Step => {
    const mutation: TagsMutation = { op: 'tags', model, version, tags };
    return { name: `tag version ${version} of ${model} as ${words}`, phase: 'record', endpoint, barrier, mutation, inverse: null, expect: {} };
  };
  const why = reason === '' ? {} : { 'rollbackd.reason': reason.slice(0, longestTag) };
  return [
    write(from, 'rolled back', 1, { 'rollbackd.state': 'rolled_back', 'rollbackd.rolled_back_to': to, ...why }),
    write(to, 'restored', 2, { 'rollbackd.state': 'restored', 'rollbackd.restored_from': from }),
  ];
}

/** Tags are read back by `apply` itself; for an alias the observation tells. A registry has one endpoint, whatever it was called when the step was made. */
export function checkStep(step: Step, now: Observation): StepCheck {
  const mutation = mutationOf(step);
  if (mutation === null || mutation.op === 'tags') return { kind: 'converged', detail: '' };
  const [endpoint] = now.endpoints;
  if (endpoint === undefined || endpoint.error !== undefined)
    return { kind: 'progressing', detail: `MLflow cannot be read: ${endpoint?.error ?? 'not asked'}` };
  const present = lookUp(endpoint.routes, mutation.alias) ?? null;
  if (present === mutation.after) return { kind: 'converged', detail: '' };
  if (present === mutation.before) return { kind: 'stale', detail: `alias ${mutation.alias} still points to ${present ?? 'nothing'}` };
  return { kind: 'reverted', detail: `alias ${mutation.alias} points to ${present ?? 'nothing'}: someone else moved it` };
}
