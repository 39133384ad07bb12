import { describe, expect, it } from 'vitest';
import { anEpisode, noonMs } from '../../test/support/builders.ts';
import type { Episode } from './episode.ts';
import { findFlapLock } from './flap-lock.ts';

const hourMs = 3_600_000;
const windowMs = 24 * hourMs;

function flip(id: string, hoursAgo: number, changes: Partial<Episode> = {}): Episode {
  const atMs = noonMs - hoursAgo * hourMs;
  return anEpisode({ id, state: 'succeeded', outcome: 'success', startedAtMs: atMs, switchedAtMs: atMs, finishedAtMs: atMs, ...changes });
}

describe('findFlapLock', () => {
  it('locks for the window after the second rollback to the same version, whichever version was left', () => {
    const lock = findFlapLock([flip('rb_a', 20, { from: '2' }), flip('rb_b', 1, { from: '3' })], windowMs, noonMs);

    expect(lock).toMatchObject({ target: '1', episodes: [{ id: 'rb_a' }, { id: 'rb_b' }], untilMs: noonMs + 23 * hourMs });
  });

  const rows: readonly [string, readonly Episode[], number][] = [
    ['one rollback alone', [flip('rb_a', 1)], windowMs],
    ['rollbacks to different versions', [flip('rb_a', 2, { to: '1' }), flip('rb_b', 1, { to: '0' })], windowMs],
    ['two that lie further apart than the window', [flip('rb_a', 25.5), flip('rb_b', 1)], windowMs],
    ['two of which the second is longer ago than the window', [flip('rb_a', 30), flip('rb_b', 24)], windowMs],
    ['one that never switched', [flip('rb_a', 2, { switchedAtMs: null, state: 'failed', outcome: 'failure' }), flip('rb_b', 1)], windowMs],
    ['a dry run', [flip('rb_a', 2, { mode: 'dry_run', state: 'recorded', outcome: null }), flip('rb_b', 1)], windowMs],
    ['one that a person asked for', [flip('rb_a', 2, { trigger: 'manual' }), flip('rb_b', 1)], windowMs],
    ['what a person has looked at since', [flip('rb_a', 2, { flapLifted: true }), flip('rb_b', 1, { flapLifted: true })], windowMs],
    ['anything where it is off', [flip('rb_a', 2), flip('rb_b', 1)], 0],
  ];
  it.each(rows)('does not lock for %s', (_name, episodes, window) => {
    expect(findFlapLock(episodes, window, noonMs)).toBeNull();
  });
});
