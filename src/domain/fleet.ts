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
 * Why another rollback would be too many, `null` when there is room. An episode whose switch has begun keeps its place: half a switch is worse than one too many.
 * @param own the episode on whose behalf it is asked again; it stands behind those that are ahead of it only, so that two never stop each other
 */
export function tooManyAtOnce({ open, models }: Fleet, limits: Limits, own: Episode | null): string | null {
  if (own !== null && hasBegunToSwitch(own)) return null;
  const others = open.filter((episode) => episode.id !== own?.id && isUnderWay(episode) && (own === null || isAhead(episode, own)));
  const places = placesFor(limits, models);
  if (others.length < places) return null;
  const names = others.map(({ model, id }) => `${model} (${id})`).join(', ');
  const limit =
    places < limits.maxConcurrentRollbacks
      ? `max_models_share: ${percent(limits.maxModelsShare)} of ${models} models, so ${places} at once`
      : `max_concurrent_rollbacks: ${limits.maxConcurrentRollbacks}`;
  return `${others.length} ${others.length === 1 ? 'rollback is' : 'rollbacks are'} under way: ${names}; ${limit}`;
}

/** Which breakers are open, in words; `null`: none. A switch that has begun is carried through. */
export function breakerOpen({ breakers }: Fleet, own: Episode | null): string | null {
  if (breakers.length === 0 || (own !== null && hasBegunToSwitch(own))) return null;
  return breakers.map(({ name, sinceMs, detail }) => `${name} breaker open since ${new Date(sinceMs).toISOString()}: ${detail}`).join('; ');
}

/** One that waits for a person moves nothing, and may wait for long. */
function isUnderWay(episode: Episode): boolean {
  return episode.mode === 'enforce' && episode.finishedAtMs === null && episode.state !== 'pending_approval';
}

/** From here on traffic may have moved. */
export function hasBegunToSwitch({ state }: Episode): boolean {
  return state !== 'pending_approval' && state !== 'planned' && state !== 'staging';
}

function isAhead(other: Episode, own: Episode): boolean {
  if (hasBegunToSwitch(other)) return true;
  const [otherMs, ownMs] = [other.startedAtMs ?? Number.POSITIVE_INFINITY, own.startedAtMs ?? Number.POSITIVE_INFINITY];
  return otherMs === ownMs ? other.id < own.id : otherMs < ownMs;
}
