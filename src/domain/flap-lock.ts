import type { Episode } from './episode.ts';

/** A model that flaps: two rollbacks to the same version, which was left in between. Times in ms since 1970. */
export type FlapLock = { readonly target: string; readonly episodes: readonly [Episode, Episode]; readonly untilMs: number };

/**
 * Whether the model was rolled back to a version, then left it, and was rolled back to it again within the window: whatever brings the bad version back
 * (a deployment job, a controller) would do so once more. Locked for the window's length after the second; rollbacks by hand, and those that a person has
 * looked at since (`resume`), do not count.
 * @param episodes of one model, in any order
 */
export function findFlapLock(episodes: readonly Episode[], windowMs: number, nowMs: number): FlapLock | null {
  const switched = episodes
    .flatMap((episode) => (countsAsFlip(episode) ? [{ episode, atMs: episode.switchedAtMs ?? 0 }] : []))
    .toSorted((a, b) => b.atMs - a.atMs);
  for (const [index, second] of switched.entries()) {
    if (nowMs - second.atMs >= windowMs) return null;
    const first = switched.slice(index + 1).find(({ episode }) => episode.to === second.episode.to);
    if (first === undefined || second.atMs - first.atMs >= windowMs) continue;
    return { target: second.episode.to, episodes: [first.episode, second.episode], untilMs: second.atMs + windowMs };
  }
  return null;
}

/** One whose switch took, and which nobody has lifted. */
export function countsAsFlip(episode: Episode): boolean {
  return episode.mode === 'enforce' && episode.trigger !== 'manual' && episode.switchedAtMs !== null && episode.flapLifted !== true;
}
