import { describe, expect, it } from 'vitest';
import type { CounterSeries } from '../measurement.ts';
import { SeriesTracker } from './series-tracker.ts';

function series(key: string, points: readonly (readonly [atMs: number, value: number])[], target: string | null = 'a'): CounterSeries {
  return { key, target, le: null, points: points.map(([atMs, value]) => ({ atMs, value })) };
}

function growthOf(tracker: SeriesTracker, all: readonly CounterSeries[], nowMs = 100_000): readonly string[] {
  return tracker
    .take(all, nowMs)
    .map(({ series: { key }, beganMs, atMs, by }) => `${key} ${beganMs}-${atMs} +${by}`)
    .toSorted();
}

describe('a tracker of series', () => {
  it('counts each sample once, however often it is shown', () => {
    const tracker = new SeriesTracker();

    expect(growthOf(tracker, [series('x', [[1000, 10]])])).toEqual([]);
    const shown = [
      [1000, 10],
      [2000, 13],
      [3000, 13],
    ] as const;
    expect(growthOf(tracker, [series('x', shown)])).toEqual(['x 1000-2000 +3', 'x 2000-3000 +0']);
    expect(growthOf(tracker, [series('x', shown)])).toEqual([]);
    expect(growthOf(tracker, [series('x', [...shown, [4000, 20]])])).toEqual(['x 3000-4000 +7']);
  });

  it('counts a late sample when it comes, and a gap as one growth', () => {
    const tracker = new SeriesTracker();
    growthOf(tracker, [series('x', [[1000, 10]]), series('y', [[900, 5]], 'b')]);
    growthOf(tracker, [series('x', [[2000, 12]])]);

    expect(growthOf(tracker, [series('x', [[60_000, 100]]), series('y', [[1900, 6]], 'b')])).toEqual(['x 2000-60000 +88', 'y 900-1900 +1']);
  });

  it('takes a counter that fell for one that began anew', () => {
    const tracker = new SeriesTracker();
    growthOf(tracker, [series('x', [[1000, 1000]])]);

    const fell = [
      [2000, 4],
      [3000, 9],
    ] as const;
    expect(growthOf(tracker, [series('x', fell)])).toEqual(['x 1000-2000 +4', 'x 2000-3000 +5']);
  });

  it('counts a series that appears from 0 when its process was read before without it', () => {
    const tracker = new SeriesTracker();
    growthOf(tracker, [series('200', [[1000, 500]])]);

    expect(growthOf(tracker, [series('200', [[2000, 510]]), series('500', [[2000, 7]])])).toEqual(['200 1000-2000 +10', '500 1000-2000 +7']);
  });

  it('does so within the first answer too', () => {
    const first = [
      series('200', [
        [1000, 500],
        [2000, 510],
      ]),
      series('500', [[2000, 7]]),
    ];

    expect(growthOf(new SeriesTracker(), first)).toEqual(['200 1000-2000 +10', '500 1000-2000 +7']);
  });

  it.each([
    ['series that do not say which process they are of', [series('b500', [[2000, 9000]], null)]],
    ['a process that is new here', [series('b200', [[2000, 90_000]], 'b'), series('b500', [[2000, 9000]], 'b')]],
    ['series that all have new labels at once', [series('new 200', [[2000, 90_000]]), series('new 500', [[2000, 9000]])]],
  ])('does not count what %s counted before it was seen', (_name, appeared) => {
    const tracker = new SeriesTracker();
    growthOf(tracker, [series('200', [[1000, 500]])]);

    expect(growthOf(tracker, appeared)).toEqual([]);
    expect(
      growthOf(
        tracker,
        appeared.map((one) => ({ ...one, points: [{ atMs: 3000, value: (one.points[0]?.value ?? 0) + 1 }] })),
      ),
    ).toEqual(appeared.map(({ key }) => `${key} 2000-3000 +1`).toSorted());
  });

  it('forgets a series after an hour, and does not count its past again', () => {
    const tracker = new SeriesTracker();
    growthOf(tracker, [series('x', [[1000, 500]])], 1000);
    growthOf(tracker, [], 4_000_000);

    expect(growthOf(tracker, [series('x', [[4_000_000, 900]])], 4_000_000)).toEqual([]);
  });
});
