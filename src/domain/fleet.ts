import type { OpenBreaker } from './breakers.ts';
import type { Episode } from './episode.ts';
import type { Limits } from './limits.ts';
import { percent } from './words.ts';

/** What guards must know of all models together. */
export type Fleet = {
  /** How many models the files name. */
  readonly models: number;
  /** Open episodes of all models, as the journal has them. */
  readonly open: readonly Episode[];
  readonly breakers: readonly OpenBreaker[];
};

/** How many rollbacks may be under way at once, 1 or more. */
export function placesFor(limits: Limits, models: number): number {
  // 0.29 × 100 is a little less than 29.
  const ofShare = Math.max(1, Math.floor(limits.maxModelsShare * models + 1e-9));
  return Math.min(limits.maxConcurrentRollbacks, ofShare);
}

/**
 * Why another rollback would be too many, `null` when there is room. Episodes of one group that moves in step are one rollback. One whose switch has begun
 * keeps its place: half a switch is worse than one too many.
 * @param own the episode on whose behalf it is asked again; it stands behind those that are ahead of it only, so that two never stop each other
 */
export function tooManyAtOnce({ open, models }: Fleet, limits: Limits, own: Episode | null): string | null {
  const rollbacks = Map.groupBy(open, rollbackOf);
  const mine = own === null ? null : [own, ...(rollbacks.get(rollbackOf(own)) ?? []).filter(({ id }) => id !== own.id)];
  if (mine?.some(hasBegunToSwitch) === true) return null;
  if (own !== null) rollbacks.delete(rollbackOf(own));
  const others = [...rollbacks.values()].filter((episodes) => moves(episodes) && (mine === null || isAhead(episodes, mine)));
  const places = placesFor(limits, models);
  if (others.length < places) return null;
  const limit =
    places < limits.maxConcurrentRollbacks
      ? `max_models_share: ${percent(limits.maxModelsShare)} of ${models} models, so ${places} at once`
      : `max_concurrent_rollbacks: ${limits.maxConcurrentRollbacks}`;
  return `${others.length} ${others.length === 1 ? 'rollback is' : 'rollbacks are'} under way: ${others.map(nameRollback).join(', ')}; ${limit}`;
}

/** Which breakers are open, in words; `null`: none. A switch that has begun is carried through. */
export function breakerOpen({ breakers }: Fleet, own: Episode | null): string | null {
  if (breakers.length === 0 || (own !== null && hasBegunToSwitch(own))) return null;
  return breakers.map(({ name, sinceMs, detail }) => `${name} breaker open since ${new Date(sinceMs).toISOString()}: ${detail}`).join('; ');
}

/** Episodes with the same answer are one rollback: that of a group, or their own. */
function rollbackOf({ id, group }: Episode): string {
  return group?.leader ?? id;
}

/** All of a group wait while one of them waits for a person. */
function moves(episodes: readonly Episode[]): boolean {
  return episodes.some(isUnderWay) && !episodes.some(({ state }) => state === 'pending_approval');
}

/** `fraud (rb_…)`, or `fraud (rb_…) and ranker (rb_…) of group checkout` */
function nameRollback(episodes: readonly Episode[]): string {
  const names = episodes.map(({ model, id }) => `${model} (${id})`).join(' and ');
  const group = episodes[0]?.group;
  return group === undefined ? names : `${names} of group ${group.name}`;
}

/** One that waits for a person moves nothing, and may wait for long. */
export function isUnderWay(episode: Episode): boolean {
  return episode.mode === 'enforce' && episode.finishedAtMs === null && episode.state !== 'pending_approval';
}

/** From here on traffic may have moved. */
export function hasBegunToSwitch({ state }: Episode): boolean {
  return state !== 'pending_approval' && state !== 'planned' && state !== 'staging';
}

/** Whether the episodes of one rollback come before those of another: the switch that has begun, then whichever started earlier. */
export function isAhead(others: readonly Episode[], own: readonly Episode[]): boolean {
  if (others.some(hasBegunToSwitch)) return true;
  const [otherMs, ownMs] = [startOf(others), startOf(own)];
  return otherMs === ownMs ? firstId(others) < firstId(own) : otherMs < ownMs;
}

function startOf(episodes: readonly Episode[]): number {
  return Math.min(...episodes.map(({ startedAtMs }) => startedAtMs ?? Number.POSITIVE_INFINITY));
}

function firstId(episodes: readonly Episode[]): string {
  return episodes.map(({ id }) => id).toSorted()[0] ?? '';
}
