import { describe, expect, it } from 'vitest';
import { aMeasurement, aRule, noonMs } from '../../test/support/builders.ts';
import { judge } from './judge.ts';
import type { Measurement } from './measurement.ts';
import type { Rule } from './rule.ts';
import type { RuleState, Verdict } from './verdict.ts';

const failing = { requests: 5771, errors: 588 };
const intervalMs = 15_000;

/** Judges a row of measurements 15 s apart (or at given times) and gives the verdicts. */
function run(rule: Rule, row: readonly (Partial<Measurement> & { atMs?: number })[]): readonly Verdict[] {
  let state: RuleState | null = null;
  return row.map(({ atMs, ...measurement }, index) => {
    const nowMs = atMs ?? noonMs + index * intervalMs;
    const result = judge({ rule, version: '7', measurement: aMeasurement({ newestMs: nowMs, ...measurement }), state, nowMs, intervalMs });
    state = result.state;
    return result.verdict;
  });
}

const kinds = (verdicts: readonly Verdict[]): readonly string[] => verdicts.map((verdict) => verdict.kind);

describe('judge', () => {
  it('says its arithmetic in words', () => {
    const verdicts = run(aRule({ forMs: 60_000 }), [failing, failing, failing, failing, failing, failing]);

    expect(verdicts.at(-1)).toMatchObject({
      kind: 'breach',
      reason: 'error ratio 10.2% (588 of 5771) > 5% for 1m15s, for: 1m',
      value: 588 / 5771,
      threshold: 0.05,
      requests: 5771,
    });
    expect(verdicts[1]).toMatchObject({ kind: 'pending', reason: 'error ratio 10.2% (588 of 5771) > 5% for 15s, for: 1m' });
    expect(run(aRule(), [{ errors: 50 }])[0]).toMatchObject({ kind: 'ok', reason: 'error ratio 5% (50 of 1000) ≤ 5%' });
  });

  it('fires at once without «for»', () => {
    expect(kinds(run(aRule(), [failing]))).toEqual(['breach']);
  });

  it.each([
    ['a value within the limit', { errors: 0 }],
    ['no data', { requests: 5 }],
    ['a stale sample', { newestMs: noonMs - 600_000 }],
  ])('lets %s reset «for»', (_name, between) => {
    expect(kinds(run(aRule({ forMs: 20_000 }), [failing, failing, between, failing, failing, failing]))).toEqual([
      'pending',
      'pending',
      'errors' in between ? 'ok' : 'no_data',
      'pending',
      'pending',
      'breach',
    ]);
  });

  it('lets an error freeze «for»: blind time is not counted', () => {
    const verdicts = run(aRule({ forMs: 40_000 }), [failing, failing, { error: 'prom: 503' }, { error: 'prom: 503' }, failing, failing]);

    expect(kinds(verdicts)).toEqual(['pending', 'pending', 'error', 'error', 'pending', 'breach']);
    expect(verdicts[4]?.reason).toContain('for 30s');
  });

  it('lets a gap of more than two intervals, or a clock that went back, reset «for»', () => {
    expect(kinds(run(aRule({ forMs: 20_000 }), [failing, failing, { ...failing, atMs: noonMs + 15_000 + 30_001 }]))).toEqual(['pending', 'pending', 'pending']);
    expect(kinds(run(aRule({ forMs: 20_000 }), [failing, failing, { ...failing, atMs: noonMs + 15_000 + 30_000 }]))).toEqual(['pending', 'pending', 'breach']);
    expect(kinds(run(aRule({ forMs: 20_000 }), [failing, failing, { ...failing, atMs: noonMs - 1 }]))).toEqual(['pending', 'pending', 'pending']);
  });

  it.each([
    ['no sample at all', { newestMs: null }, 'no_data', 'no sample of this version in the window'],
    ['an old sample', { newestMs: noonMs - 61_000 }, 'no_data', 'newest sample is 1m1s old, more than 1m'],
    ['no requests counted', { requests: null, errors: null }, 'no_data', 'no requests were counted in 1m'],
    ['too few requests', { requests: 99, errors: 99 }, 'no_data', '99 of 100 requests needed in 1m'],
    ['a sample from ahead of this clock', { newestMs: noonMs + 3_600_000 }, 'no_data', 'newest sample lies 1h ahead of this clock'],
    ['failures that are no number', { errors: Number.NaN }, 'no_data', 'the counts are no numbers'],
    ['requests without end', { requests: Number.POSITIVE_INFINITY }, 'no_data', 'the counts are no numbers'],
    ['a source in error', { error: 'prometheus answered 503' }, 'error', 'prometheus answered 503'],
  ])('is neither well nor bad on %s', (_name, measurement, kind, reason) => {
    expect(run(aRule(), [measurement])[0]).toMatchObject({ kind, reason });
  });

  it('does not call zero requests healthy where min_requests is 0', () => {
    const rule = aRule({ condition: { kind: 'error_ratio', windowMs: 60_000, limit: { op: 'above', value: 0.05 }, minRequests: 0 } });

    expect(run(rule, [{ requests: 0, errors: 0 }])[0]?.kind).toBe('no_data');
  });

  it('judges a latency quantile from the buckets', () => {
    const rule = aRule({ condition: { kind: 'latency', quantile: 0.99, windowMs: 300_000, limit: { op: 'above', value: 0.25 }, minRequests: 300 } });
    const buckets = (slow: number): ReadonlyMap<number, number> =>
      new Map([
        [0.1, 1000 - slow],
        [0.25, 1000 - slow],
        [0.5, 1000],
        [Number.POSITIVE_INFINITY, 1000],
      ]);

    expect(run(rule, [{ buckets: buckets(100), windowMs: 300_000 }])[0]).toMatchObject({
      kind: 'breach',
      reason: 'p99 latency 475ms (of 1000 requests) > 250ms for 0s',
    });
    expect(run(rule, [{ buckets: buckets(5) }])[0]).toMatchObject({ kind: 'ok' });
    expect(
      run(rule, [
        {
          buckets: new Map([
            [0.1, 0],
            [Number.POSITIVE_INFINITY, 0],
          ]),
        },
      ])[0]?.kind,
    ).toBe('no_data');
  });

  it('judges a request rate below its limit', () => {
    const rule = aRule({ condition: { kind: 'request_rate', windowMs: 60_000, limit: { op: 'below', value: 10 }, minRequests: 0 } });

    expect(run(rule, [{ requests: 60 }])[0]).toMatchObject({ kind: 'breach', reason: 'request rate 1/s (60 in 1m) < 10/s for 0s' });
    expect(run(rule, [{ requests: 600 }])[0]).toMatchObject({ kind: 'ok', reason: 'request rate 10/s (600 in 1m) ≥ 10/s' });
  });

  it('takes an element of an expression for a breach, and its absence for well only with enough requests', () => {
    const rule = aRule({ condition: { kind: 'expr', expr: 'x > 1', rangeMs: 60_000, minRequests: 100 } });

    expect(kinds(run(rule, [{ value: 3 }]))).toEqual(['breach']);
    expect(kinds(run(rule, [{ value: null }]))).toEqual(['ok']);
    expect(kinds(run(rule, [{ value: 3, requests: 10 }]))).toEqual(['no_data']);
    expect(kinds(run(rule, [{ value: null, requests: null }]))).toEqual(['no_data']);
    expect(kinds(run(rule, [{ value: Number.NaN }]))).toEqual(['no_data']);
  });

  it('keeps an alert firing for «keep_firing_for» while the verdict is ok already', () => {
    const rule = aRule({ keepFiringForMs: 20_000 });
    const at = (nowMs: number, errors: number, state: RuleState | null) =>
      judge({ rule, version: '7', measurement: aMeasurement({ errors, newestMs: nowMs }), state, nowMs, intervalMs });

    const first = at(noonMs, 500, null);
    const second = at(noonMs + 15_000, 0, first.state);
    const third = at(noonMs + 30_000, 0, second.state);

    expect([first, second, third].map(({ state }) => state.firingSinceMs)).toEqual([noonMs, noonMs, null]);
    expect(second.verdict.kind).toBe('ok');
  });
});
