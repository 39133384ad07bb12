import { describe, expect, it } from 'vitest';
import { CompareFactors } from './compare-factors.ts';
import { CountFactors } from './count-factors.ts';
import reference from './fixtures/reference.json' with { type: 'json' };
import { createDetector, type Detector, type ThresholdOptions } from './index.ts';
import { lgamma } from './lgamma.ts';

const base: ThresholdOptions = { kind: 'threshold', threshold: 0.05, alpha: 0.01, pollSeconds: 5, horizonSeconds: 86_400 };
const relative = (value: number, wanted: number): number => Math.abs(value - wanted) / Math.max(1, Math.abs(wanted));

/** Polls until it decides for a rollback; `null`: not within `most`. */
function pollsUntilRollback(detector: Detector, n: number, k: number, most = 1000): number | null {
  for (let poll = 1; poll <= most; poll += 1) if (detector.update(n, k).decision === 'rollback') return poll;
  return null;
}

describe('values against 50 digits (scripts/detect-reference.py)', () => {
  it.each(reference.lgamma)('lgamma(%f)', (x = 0, wanted = 0) => {
    expect(relative(lgamma(x), wanted)).toBeLessThan(1e-14);
  });

  it.each(reference.count)('e-value of n %d, k %d, limit %f, rate %f, rho %f', (n = 0, k = 0, p0 = 0, rate = 0, rho = 0, wanted = 0) => {
    expect(relative(new CountFactors(p0, [rate]).factorsOf(n, k, rho)[0] ?? 0, wanted)).toBeLessThan(1e-8);
  });

  it.each(reference.compare)('e-value of %d/%d against %d/%d', (n = 0, k = 0, m = 0, x = 0, times = 0, points = 0, guess = 0, g = 0, wanted = 0) => {
    const [e = 0] = new CompareFactors({ times, points, andAbove: 0 }, [g]).factorsOf({ n, k }, { n: m, k: x }, guess);

    expect(relative(e, wanted)).toBeLessThan(1e-8);
  });
});

describe('an e-value', () => {
  /** Weights of a beta-binomial of `n` with mean p and correlation rho. */
  function weights(n: number, p: number, rho: number): number[] {
    const s = 1 / rho - 1;
    const choose = (k: number): number => lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1);
    return Array.from({ length: n + 1 }, (_, k) =>
      Math.exp(choose(k) + lgamma(k + s * p) + lgamma(n - k + s * (1 - p)) - lgamma(n + s) - lgamma(s * p) - lgamma(s * (1 - p)) + lgamma(s)),
    );
  }

  it('has a mean of at most 1 at the limit, also where the service is less bursty than assumed', () => {
    for (const p0 of [0.001, 0.05, 0.3])
      for (const rho of [0.001, 0.02, 0.2])
        for (const real of [1e-6, rho / 4, rho])
          for (const n of [1, 20, 200]) {
            const factors = new CountFactors(p0, [p0 * 1.1, p0 * 2, 0.6]);
            const chances = weights(n, p0, real);
            for (let j = 0; j < 3; j += 1) {
              const mean = chances.reduce((sum, chance, k) => sum + chance * (factors.factorsOf(n, k, rho)[j] ?? 0), 0);
              expect(mean).toBeLessThan(1 + 1e-7);
            }
          }
  });
});

describe('createDetector', () => {
  it('says ok, undecided and rollback', () => {
    const detector = createDetector(base);

    expect(detector.update(0, 0).decision).toBe('undecided');
    for (let poll = 0; poll < 100; poll += 1) detector.update(100, 1);
    expect(detector.update(100, 1)).toMatchObject({ decision: 'ok' });
    expect(pollsUntilRollback(detector, 100, 50)).toBeLessThanOrEqual(3);
  });

  it('counts since the change, not since the beginning', () => {
    const detector = createDetector(base);
    for (let poll = 0; poll < 2000; poll += 1) detector.update(100, 1);

    const polls = pollsUntilRollback(detector, 100, 20) ?? 0;
    const { sinceSeconds, requests, bad } = detector.update(100, 20);

    expect(sinceSeconds).toBeGreaterThan(5 * polls - 2);
    expect(sinceSeconds).toBeLessThan(5 * polls + 15);
    expect(bad / requests).toBeGreaterThan(0.15);
  });

  it('goes on from its state as if nothing had been', () => {
    for (const options of [base, { kind: 'compare' as const, times: 2, alpha: 0.01, pollSeconds: 5, horizonSeconds: 86_400 }]) {
      const one = createDetector(options);
      for (let poll = 0; poll < 200; poll += 1) one.update(40, poll % 7 === 0 ? 2 : 0, { n: 300, k: 2 });
      const state = JSON.parse(JSON.stringify(one.state())) as ReturnType<Detector['state']>;
      const two = createDetector({ ...options, state });

      for (let poll = 0; poll < 20; poll += 1) expect(two.update(40, 4, { n: 300, k: 2 })).toEqual(one.update(40, 4, { n: 300, k: 2 }));
    }
  });

  it('has the same state after every poll, whether it went on from one or not', () => {
    let two = createDetector(base);
    const one = createDetector(base);
    for (let poll = 0; poll < 60; poll += 1) {
      for (const detector of [one, two]) detector.update(40 + poll, poll % 5);
      expect(two.state()).toEqual(one.state());
      two = createDetector({ ...base, state: JSON.parse(JSON.stringify(two.state())) as ReturnType<Detector['state']> });
    }
  });

  it('holds back what is younger than «for», and what has too few requests', () => {
    expect(pollsUntilRollback(createDetector({ ...base, forSeconds: 30 }), 1000, 900)).toBe(6);
    expect(pollsUntilRollback(createDetector({ ...base, minRequests: 5000 }), 1000, 900)).toBe(5);
  });

  it('forgets the evidence when it is reset', () => {
    const detector = createDetector(base);
    pollsUntilRollback(detector, 1000, 900);
    detector.reset();

    expect(detector.update(0, 0)).toMatchObject({ decision: 'undecided', isHot: false });
  });

  it('takes longer for bursty services, after it has learned that', () => {
    const calm = createDetector(base);
    const bursty = createDetector(base);
    for (let poll = 0; poll < 2000; poll += 1) {
      calm.calibrate(500, 5);
      bursty.calibrate(500, poll % 20 === 0 ? 100 : 0);
    }

    expect(bursty.update(500, 5).rho).toBeGreaterThan(10 * calm.update(500, 5).rho);
    expect(pollsUntilRollback(bursty, 500, 50) ?? 0).toBeGreaterThan(pollsUntilRollback(calm, 500, 50) ?? 0);
  });

  it('passes over what both versions suffer, and sees what one does', () => {
    const detector = createDetector({ kind: 'compare', times: 2, points: 0.01, alpha: 0.01, pollSeconds: 5, horizonSeconds: 86_400 });
    for (let poll = 0; poll < 500; poll += 1) detector.update(50, 0, { n: 450, k: 4 });
    for (let poll = 0; poll < 50; poll += 1) expect(detector.update(50, 20, { n: 450, k: 180 }).decision).not.toBe('rollback');
    let polls = 1;
    while (polls < 100 && detector.update(50, 10, { n: 450, k: 4 }).decision !== 'rollback') polls += 1;

    expect(polls).toBeLessThan(20);
  });

  it.each<[string, Partial<ThresholdOptions>]>([
    ['alpha', { alpha: 0 }],
    ['threshold', { threshold: 5 }],
    ['healthy', { healthy: 0.06 }],
    ['severe.above', { severe: { above: 0.01, forSeconds: 0 } }],
    ['pollSeconds', { pollSeconds: 0 }],
    ['burst', { burst: 1 }],
  ])('refuses a wrong %s by its name', (name, changes) => {
    expect(() => createDetector({ ...base, ...changes })).toThrow(new RegExp(`^${name}: found .*expected `));
  });

  it('refuses counts that are no numbers', () => {
    expect(() => createDetector(base).update(Number.NaN, 0)).toThrow(RangeError);
  });
});
