import { expect } from 'vitest';
import type { Episode } from '../../src/domain/episode.ts';
import type { Journal } from '../../src/domain/ports.ts';
import type { FakeClock } from './fake-clock.ts';
import type { FakePlane } from './fake-plane.ts';
import type { FakeSource } from './fake-source.ts';

/** Lets the world follow the plane, second by second: traffic goes where the default route goes, and a tenth of it fails on versions that are not `healthy`. */
export async function passWithTraffic(
  { clock, plane, source }: { readonly clock: FakeClock; readonly plane: FakePlane; readonly source: FakeSource },
  durationMs: number,
  healthy: ReadonlySet<string> = new Set(['1', '3']),
): Promise<void> {
  for (let passedMs = 0; passedMs < durationMs; passedMs += 1_000) {
    await clock.advance(1_000);
    const serving = new Set(plane.serving());
    for (const version of ['0', '1', '2', '3'])
      source.traffic.set(version, { requests: serving.has(version) ? 100 : 0, errorRatio: healthy.has(version) ? 0 : 0.1 });
  }
}

/** The one episode there is. */
export async function onlyEpisode(journal: Journal): Promise<Episode> {
  const episodes = await journal.episodes({});
  expect(episodes).toHaveLength(1);
  return episodes[0] as Episode;
}
