import { describe, expect, it } from 'vitest';
import { anEpisode, noonMs } from '../../test/support/builders.ts';
import type { Episode } from './episode.ts';
import { placesFor, tooManyAtOnce } from './fleet.ts';
import { defaultLimits } from './limits.ts';

const fleet = { models: 9, breakers: [] };
const limits = { ...defaultLimits, maxConcurrentRollbacks: 2, maxModelsShare: 1 };

function open(model: string, changes: Partial<Episode> = {}): Episode {
  return anEpisode({ id: `rb_${model}`, model, state: 'staging', startedAtMs: noonMs, ...changes });
}

describe('placesFor', () => {
  it.each([
    ['the share of a small fleet, but one at least', 0.2, 1, 1],
    ['the share of a small fleet, rounded down', 0.2, 14, 2],
    ['the number in a large fleet', 0.2, 500, 3],
    ['a share that is exact but for floating point', 0.29, 100, 29],
  ])('gives %s', (_name, maxModelsShare, models, places) => {
    expect(placesFor({ ...limits, maxConcurrentRollbacks: places === 29 ? 50 : 3, maxModelsShare }, models)).toBe(places);
  });
});

describe('tooManyAtOnce', () => {
  it('counts what is under way, not what waits for a person, is recorded or has ended', () => {
    const idle = [
      open('a', { state: 'pending_approval', startedAtMs: null }),
      open('b', { mode: 'dry_run', state: 'recorded' }),
      open('c', { finishedAtMs: noonMs }),
    ];

    expect(tooManyAtOnce({ ...fleet, open: [...idle, open('d')] }, limits, null)).toBeNull();
    expect(tooManyAtOnce({ ...fleet, open: [...idle, open('d'), open('e')] }, limits, null)).toBe(
      '2 rollbacks are under way: d (rb_d), e (rb_e); max_concurrent_rollbacks: 2',
    );
  });

  it('lets exactly as many go on as there are places, whichever is asked first', () => {
    const all = [open('a'), open('b', { startedAtMs: noonMs + 1 }), open('c', { state: 'planned', startedAtMs: null }), open('d', { startedAtMs: noonMs - 1 })];

    const going = all.filter((own) => tooManyAtOnce({ ...fleet, open: all }, limits, own) === null).map(({ model }) => model);

    expect(going).toEqual(['a', 'd']);
  });

  describe('of a group that moves in step', () => {
    const group = { name: 'checkout', kind: 'together', leader: 'rb_a', members: [], stays: [], releasedMs: null } as const;
    const ofGroup = (model: string, changes: Partial<Episode> = {}): Episode => open(model, { group, ...changes });
    const three = [ofGroup('a'), ofGroup('b', { state: 'planned', startedAtMs: null }), ofGroup('c')];

    it('counts all as one rollback', () => {
      expect(tooManyAtOnce({ ...fleet, open: three }, limits, null)).toBeNull();
      expect(tooManyAtOnce({ ...fleet, open: [...three, open('d')] }, limits, null)).toBe(
        '2 rollbacks are under way: a (rb_a) and b (rb_b) and c (rb_c) of group checkout, d (rb_d); max_concurrent_rollbacks: 2',
      );
    });

    it('lets all go on that began with the earliest of them, and stops all when others are ahead', () => {
      const ahead = ['d', 'e'].map((model) => open(model, { startedAtMs: noonMs - 1 }));
      const behind = ['d', 'e'].map((model) => open(model, { startedAtMs: noonMs + 1 }));

      expect(three.map((own) => tooManyAtOnce({ ...fleet, open: [...three, ...behind] }, limits, own))).toEqual([null, null, null]);
      expect(three.every((own) => tooManyAtOnce({ ...fleet, open: [...three, ...ahead] }, limits, own) !== null)).toBe(true);
    });

    it('stops none once the switch of one has begun', () => {
      const begun = [ofGroup('a', { state: 'watching' }), ofGroup('b')];
      const others = ['d', 'e'].map((model) => open(model, { state: 'switching' }));

      expect(begun.map((own) => tooManyAtOnce({ ...fleet, open: [...begun, ...others] }, limits, own))).toEqual([null, null]);
    });

    it('counts none while one of them waits for a person', () => {
      const waiting = [ofGroup('a', { state: 'pending_approval', startedAtMs: null }), ofGroup('b', { state: 'planned', startedAtMs: null })];

      expect(tooManyAtOnce({ ...fleet, open: waiting }, { ...limits, maxConcurrentRollbacks: 1 }, null)).toBeNull();
    });
  });

  it('stops none whose switch has begun, also where the limit was lowered meanwhile', () => {
    const all = ['a', 'b', 'c'].map((model) => open(model, { state: 'switching' }));

    expect(all.map((own) => tooManyAtOnce({ ...fleet, open: all }, limits, own))).toEqual([null, null, null]);
  });
});
