import type { Episode } from './episode.ts';
import { type Fleet, hasBegunToSwitch, isAhead, isUnderWay } from './fleet.ts';

/**
 * Models that depend on each other (`groups:` of the daemon's file). `together`: what was released together goes back together; `ordered`: the same, one
 * after the other; `hold_peers`: never two of them at once.
 */
export type ModelGroup = {
  readonly name: string;
  readonly kind: 'together' | 'ordered' | 'hold_peers';
  /** Names of two models or more; `ordered` moves them in this order. */
  readonly models: readonly string[];
  /** Versions that came within this time of each other are one release, ms; without meaning for `hold_peers`. */
  readonly releasedWithinMs: number;
};

/** A model is in one group at the most; `null`: in none. */
export function groupOf(groups: readonly ModelGroup[], model: string): ModelGroup | null {
  return groups.find(({ models }) => models.includes(model)) ?? null;
}

/**
 * Which other model of a `hold_peers` group is being rolled back, in words; `null`: none, or the own switch has begun.
 * @param own the episode on whose behalf it is asked again; as with all limits it stands behind those that are ahead of it only
 */
export function peerUnderWay(group: ModelGroup | null, model: string, { open }: Fleet, own: Episode | null): string | null {
  if (group?.kind !== 'hold_peers' || (own !== null && hasBegunToSwitch(own))) return null;
  const peers = open.filter(
    (episode) => episode.model !== model && group.models.includes(episode.model) && isUnderWay(episode) && (own === null || isAhead([episode], [own])),
  );
  if (peers.length === 0) return null;
  return `group ${group.name} holds its peers while one is rolled back: ${peers.map((episode) => `${episode.model} (${episode.id})`).join(', ')}`;
}
