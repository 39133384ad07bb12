import { describe, expect, it } from 'vitest';
import { extrapolatedIncrease, histogramQuantile, type Sample } from './prometheus-functions.ts';

/** Values at every `everyMs`, starting at `startMs`; `null` = no sample. */
function samples(startMs: number, everyMs: number, values: readonly (number | null)[]): Sample[] {
  return values.flatMap((value, index) => (value === null ? [] : [{ atMs: startMs + index * everyMs, value }]));
}

describe('extrapolatedIncrease', () => {
  it.each<[name: string, Sample[], startMs: number, endMs: number, expected: number | null]>([
    ['nothing', [], 0, 60_000, null],
    ['one sample', samples(10_000, 10_000, [5]), 0, 60_000, null],
    ['samples up to both edges: stretched to the whole range', samples(5_000, 10_000, [100, 110, 120, 130, 140, 150]), 0, 60_000, 60],
    ['a sample on the left edge is outside', samples(0, 30_000, [100, 110, 130]), 0, 60_000, 40],
    ['a sample on the right edge is inside', samples(30_000, 30_000, [110, 130]), 0, 60_000, 40],
    ['a late start: half a distance before it', samples(40_000, 10_000, [1000, 1010, 1020]), 0, 60_000, 25],
    ['a late start near 0: no further than the zero point', samples(40_000, 10_000, [1, 11, 21]), 0, 60_000, 21],
    ['a start from 0: nothing before it', samples(40_000, 10_000, [0, 10, 20]), 0, 60_000, 20],
    ['an early end: half a distance after it', samples(5_000, 10_000, [100, 110, 120]), 0, 60_000, 30],
    ['a reset: what came after it counts whole', samples(5_000, 10_000, [100, 110, 5, 15, 25, 35]), 0, 60_000, 45 * (60 / 50)],
    ['two resets', samples(0, 15_000, [null, 10, 3, 4, 1]), 0, 60_000, 5 * (60 / 45)],
    ['no growth', samples(5_000, 10_000, [7, 7, 7]), 0, 30_000, 0],
    ['NaN at the end: NaN', samples(5_000, 10_000, [7, Number.NaN]), 0, 30_000, Number.NaN],
  ])('computes %s', (_name, series, startMs, endMs, expected) => {
    const actual = extrapolatedIncrease(series, startMs, endMs);

    if (expected === null || Number.isNaN(expected)) expect(actual).toBe(expected);
    else expect(actual).toBeCloseTo(expected, 9);
  });
});

describe('histogramQuantile', () => {
  const plain = new Map([
    [0.1, 10],
    [0.5, 30],
    [1, 40],
    [Infinity, 40],
  ]);

  it.each<[name: string, q: number, ReadonlyMap<number, number>, expected: number]>([
    ['NaN for q NaN', Number.NaN, plain, Number.NaN],
    ['-Infinity below 0', -0.1, plain, -Infinity],
    ['+Infinity above 1', 1.1, plain, Infinity],
    ['the middle of a bucket', 0.5, plain, 0.3],
    ['from 0 in the lowest bucket', 0.125, plain, 0.05],
    ['the bound itself', 0.75, plain, 0.5],
    ['0 at q 0', 0, plain, 0],
    ['the last finite bound at q 1', 1, plain, 1],
    [
      'the highest finite bound for a rank in +Inf',
      0.99,
      new Map([
        [1, 50],
        [Infinity, 100],
      ]),
      1,
    ],
    [
      'NaN without observations',
      0.5,
      new Map([
        [1, 0],
        [Infinity, 0],
      ]),
      Number.NaN,
    ],
    [
      'NaN without +Inf',
      0.5,
      new Map([
        [1, 5],
        [2, 6],
      ]),
      Number.NaN,
    ],
    ['NaN with +Inf alone', 0.5, new Map([[Infinity, 6]]), Number.NaN],
    ['NaN for nothing', 0.5, new Map(), Number.NaN],
    [
      'a lowest bound at or under 0 itself',
      0.1,
      new Map([
        [-1, 5],
        [1, 10],
        [Infinity, 10],
      ]),
      -1,
    ],
    [
      'between bounds that are negative',
      0.75,
      new Map([
        [-2, 5],
        [-1, 10],
        [Infinity, 10],
      ]),
      -1.5,
    ],
    [
      'buckets in any order',
      0.5,
      new Map([
        [Infinity, 40],
        [0.5, 30],
        [1, 40],
        [0.1, 10],
      ]),
      0.3,
    ],
    [
      'levelled counts where they fall',
      0.5,
      new Map([
        [1, 10],
        [2, 8],
        [3, 9],
        [4, 20],
        [Infinity, 20],
      ]),
      1,
    ],
    [
      'differences that are rounding as none',
      1,
      new Map([
        [1, 1e3],
        [2, 1e3 * (1 + 1e-14)],
        [Infinity, 1e3],
      ]),
      1,
    ],
    [
      'NaN with a count that is NaN',
      0.5,
      new Map([
        [1, Number.NaN],
        [Infinity, Number.NaN],
      ]),
      Number.NaN,
    ],
  ])('gives %s', (_name, q, buckets, expected) => {
    const actual = histogramQuantile(q, buckets);

    if (Number.isFinite(expected)) expect(actual).toBeCloseTo(expected, 12);
    else expect(actual).toBe(expected);
  });
});
