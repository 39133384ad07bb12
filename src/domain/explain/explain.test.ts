import { describe, expect, it } from 'vitest';
import { aRule, aSequentialCondition } from '../../../test/support/builders.ts';
import type { Condition } from '../rule.ts';
import { binomialTail } from './binomial-tail.ts';
import { type Delay, explainRule, spellDelay, type Traffic } from './explain.ts';
import { shareSlowerThan } from './slow-share.ts';

const pace = { intervalMs: 5000, scrapeMs: 5000 };
const busy: Traffic = { requestsPerSecond: 20, badShare: 0 };
const errorRatio = { kind: 'error_ratio', windowMs: 60_000, limit: { op: 'above', value: 0.05 }, minRequests: 100 } as const;

function explained(condition: Condition, traffic: Traffic, forMs = 0) {
  return explainRule(aRule({ condition, forMs }), pace, traffic);
}

function seconds(delays: readonly Delay[]): readonly (number | null)[] {
  return delays.map(({ afterMs }) => (afterMs === null ? null : afterMs / 1000));
}

describe('the tail of a binomial distribution', () => {
  // Exact fractions: sum(comb(n, i) * p**i * (1 - p)**(n - i) for i in range(k + 1, n + 1)) in Python.
  it.each([
    [10, 3, 0.5, 0.828125],
    [1000, 50, 0.05, 0.462_470_959_198],
    [60, 3, 0.01, 0.003_123_329_171_55],
    [1200, 60, 0.04, 0.036_418_062_048_76],
    [10, 10, 0.5, 0],
    [10, 0, 0, 0],
  ])('P(more than k of n): n %d, k %d, p %d', (n, k, p, wanted) => {
    expect(binomialTail(n, k, p)).toBeCloseTo(wanted, 9);
  });
});

describe('a share over a window', () => {
  it('is seen as the window fills, after for, a scrape and a turn', () => {
    // 5 % of a minute that was clean; half of it at 10 %; all of it at just above 5 %. for: 30s and twice 5 s on top.
    expect(seconds(explained(errorRatio, busy, 30_000).delays)).toEqual([43, 70, 100]);
  });

  it('is seen sooner where a part of the limit is used up already', () => {
    const [, twice] = explained(errorRatio, { ...busy, badShare: 0.03 }).delays;

    expect(twice?.afterMs).toBeCloseTo(60_000 * (0.02 / 0.07) + 10_000, 6);
  });

  it('says when the traffic is too low for a verdict', () => {
    const { needs, isFed, delays } = explained(errorRatio, { requestsPerSecond: 1, badShare: 0 });

    expect(isFed).toBe(false);
    expect(needs).toBe('100 requests in 1m (1.67 a second); now 1 a second: too few, the verdict stays no_data');
    expect(delays.map(spellDelay)).toEqual(['never or unknown', 'never or unknown', 'never or unknown']);
  });

  it('errs as often as chance puts it over the limit', () => {
    const condition = { ...errorRatio, minRequests: 0 };
    const at1 = explained(condition, { requestsPerSecond: 1, badShare: 0.01 });
    const at20 = explained(condition, { requestsPerSecond: 20, badShare: 0.01 });

    expect(at1.falseAlarmsPerYear).toBeCloseTo(365 * 24 * 60 * binomialTail(60, 3, 0.01), 6);
    expect(at20.falseAlarmsPerYear).toBeLessThan(1e-9);
    expect(explained(condition, { requestsPerSecond: 1, badShare: 0.01 }, 60_000).falseAlarmsPerYear).toBeLessThan((at1.falseAlarmsPerYear ?? 0) / 100);
  });

  it('of a latency is that of the requests slower than the limit', () => {
    const condition: Condition = { kind: 'latency', quantile: 0.99, windowMs: 60_000, limit: { op: 'above', value: 0.25 }, minRequests: 100 };

    expect(explained(condition, busy).delays.map(({ of }) => of)).toEqual(['every request bad', 'twice the limit (2%)', 'just above the limit']);
  });
});

describe('a sequential rule', () => {
  const condition = aSequentialCondition();

  it('takes as long as the information in its requests, whatever the window', () => {
    const [all, , twice, barely] = seconds(explained(condition, busy).delays);

    // 695 requests after a change to 10 %, by reference; 1.5 times that at 20 a second, and 10 s.
    expect(twice).toBeGreaterThan(10 + 0.9 * 52);
    expect(twice).toBeLessThan(10 + 1.1 * 52);
    expect(all).toBeLessThan(12);
    expect(barely).toBeGreaterThan(600);
    expect(seconds(explained(condition, { ...busy, requestsPerSecond: 2 }).delays)[2]).toBeGreaterThan(300);
  });

  it('keeps to the stated false alarms at the worst', () => {
    expect(explained(condition, busy).falseAlarmsPerYear).toBeCloseTo(0.01 * (0.5 + 365 / 2), 9);
  });

  it('is quicker against a healthy rate below the limit', () => {
    const [, , twice = null] = seconds(explained(condition, busy).delays);

    expect(seconds(explained({ ...condition, healthy: 0.02 }, busy).delays)[2]).toBeLessThan((twice ?? 0) / 2);
  });
});

describe('conditions of conditions', () => {
  const slow = { ...errorRatio, windowMs: 300_000 };

  it('wait for the slowest of all, and for the quickest of any', () => {
    expect(seconds(explained({ kind: 'all', conditions: [errorRatio, slow] }, busy).delays)).toEqual([310]);
    expect(seconds(explained({ kind: 'any', conditions: [errorRatio, slow] }, busy).delays)).toEqual([70]);
  });

  it('of a burn rate wait for the longer window of the quickest pair', () => {
    const condition: Condition = {
      kind: 'burn_rate',
      objective: 0.99,
      minRequests: 100,
      windows: [
        { longMs: 3_600_000, shortMs: 300_000, above: 14.4 },
        { longMs: 600_000, shortMs: 60_000, above: 30 },
      ],
    };

    expect(seconds(explained(condition, busy).delays)).toEqual([610]);
  });
});

describe('what cannot be known', () => {
  it('is said', () => {
    const condition: Condition = { kind: 'expr', expr: 'x > 1', rangeMs: 60_000, minRequests: 50 };

    expect(explained(condition, busy)).toMatchObject({ needs: '50 requests', falseAlarmsPerYear: null, delays: [{ of: 'at the latest', afterMs: 70_000 }] });
  });
});

describe('requests slower than a limit', () => {
  const buckets = new Map([
    [0.1, 900],
    [0.5, 990],
    [Number.POSITIVE_INFINITY, 1000],
  ]);

  it.each([
    [0.1, 0.1],
    [0.25, 0.01],
    [0.5, 0.01],
    [9, 0],
  ])('slower than %d s for certain: %d', (limit, share) => {
    expect(shareSlowerThan(buckets, limit)).toBeCloseTo(share, 12);
  });

  it('are no share of no requests', () => {
    expect(shareSlowerThan(new Map(), 1)).toBeNull();
  });
});
