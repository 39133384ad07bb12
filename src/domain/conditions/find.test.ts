import { describe, expect, it } from 'vitest';
import { aMeasurement, noonMs } from '../../../test/support/builders.ts';
import type { Measurement } from '../measurement.ts';
import type { BaselineLimit, Condition, ErrorRatioCondition } from '../rule.ts';
import { type FindContext, findIn, type OtherVersion } from './find.ts';

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;

function find(condition: Condition, measurement: Partial<Measurement>, context: Partial<FindContext> = {}) {
  return findIn(condition, aMeasurement(measurement), { nowMs: noonMs, version: '7', others: [], ...context });
}

function another(version: string, measurement: Partial<Measurement>, changes: Partial<OtherVersion> = {}): OtherVersion {
  return { version, measurement: aMeasurement(measurement), isKnownGood: true, firstSeenMs: noonMs - 100 * hourMs, ...changes };
}

function worse(changes: Partial<BaselineLimit> = {}): ErrorRatioCondition {
  const limit = { op: 'above_baseline' as const, times: 2, byAtLeast: 0.005, andAbove: 0, ...changes };
  return { kind: 'error_ratio', windowMs: minuteMs, limit, minRequests: 100 };
}

describe('a condition against the baseline', () => {
  it('is a breach above times × the baseline + by_at_least, and says so in numbers', () => {
    const others = [another('6', { requests: 3000, errors: 3 })];

    expect(find(worse(), { requests: 1000, errors: 8 }, { others })).toEqual({
      kind: 'breaching',
      words: 'error ratio 0.8% (8 of 1000) > 2 × 0.1% (3 of 3000) of version 6 + 0.5% = 0.7%',
      value: 0.008,
      threshold: 0.007,
      requests: 1000,
      baseline: { version: '6', value: 0.001 },
    });
    expect(find(worse(), { requests: 1000, errors: 7 }, { others })).toMatchObject({ kind: 'ok', words: expect.stringContaining('(7 of 1000) ≤ 2 ×') });
  });

  it('is no breach at or below and_above, whatever the baseline', () => {
    const others = [another('6', { requests: 3000, errors: 3 })];

    expect(find(worse({ andAbove: 0.01 }), { requests: 1000, errors: 10 }, { others })).toMatchObject({
      kind: 'ok',
      words: 'error ratio 1% (10 of 1000) ≤ 2 × 0.1% (3 of 3000) of version 6 + 0.5% = 0.7%, at least 1%',
    });
    expect(find(worse({ andAbove: 0.01 }), { requests: 1000, errors: 11 }, { others })).toMatchObject({ kind: 'breaching' });
  });

  it('compares the quantiles of two histograms', () => {
    const histogram = (slow: number): Partial<Measurement> => ({
      buckets: new Map([
        [0.1, 1000 - slow],
        [0.2, 1000],
        [Number.POSITIVE_INFINITY, 1000],
      ]),
    });
    const condition: Condition = {
      kind: 'latency',
      quantile: 0.5,
      windowMs: minuteMs,
      minRequests: 100,
      limit: { op: 'above_baseline', times: 1, byAtLeast: 0.05, andAbove: 0 },
    };
    const others = [another('6', histogram(0))];

    expect(find(condition, histogram(800), { others })).toMatchObject({
      kind: 'breaching',
      words: 'p50 latency 138ms (of 1000 requests) > 50ms (of 1000 requests) of version 6 + 50ms = 100ms',
    });
    expect(find(condition, histogram(400), { others }).kind).toBe('ok');
  });

  it('needs enough fresh requests on both sides', () => {
    const bad = { requests: 1000, errors: 500 };

    expect(find(worse(), { requests: 99, errors: 99 }, { others: [another('6', {})] }).kind).toBe('no_data');
    expect(find(worse(), bad, { others: [another('6', { requests: 99, errors: 0 })] })).toMatchObject({
      kind: 'no_data',
      words: 'error ratio 50% (500 of 1000), but of the baseline 6: 99 of 100 requests needed in 1m',
    });
    expect(find(worse(), bad, { others: [another('6', { newestMs: noonMs - hourMs })] })).toMatchObject({ kind: 'no_data' });
  });

  it.each<[name: string, subject: Partial<FindContext>, baseline: string | null]>([
    ['the known good version with most requests', { others: [another('5', { requests: 200 }), another('6', { requests: 900 })] }, '6'],
    [
      'a known good version before a busier one that is not',
      { others: [another('5', { requests: 200 }), another('6', { requests: 900 }, { isKnownGood: false })] },
      '5',
    ],
    ['no newcomer, for a known good version', { isKnownGood: true, others: [another('8', {}, { isKnownGood: false })] }, null],
    ['the one seen before it, when none is known good', { firstSeenMs: noonMs, others: [another('6', {}, { isKnownGood: false })] }, '6'],
    ['no version seen after it', { firstSeenMs: noonMs - 200 * hourMs, others: [another('8', {}, { isKnownGood: false })] }, null],
    ['no version without requests', { others: [another('6', { requests: 0 })] }, null],
    ['nothing when it is alone', {}, null],
  ])('takes as the baseline %s', (_name, context, baseline) => {
    const finding = find(worse(), { requests: 1000, errors: 500 }, context);

    expect(finding.baseline?.version ?? null).toBe(baseline);
    expect(finding).toMatchObject(baseline === null ? { kind: 'no_data', isMoot: true } : { kind: 'breaching' });
  });
});

describe('a burn rate', () => {
  const condition: Condition = {
    kind: 'burn_rate',
    objective: 0.99,
    minRequests: 100,
    windows: [
      { longMs: hourMs, shortMs: 5 * minuteMs, above: 14.4 },
      { longMs: 6 * hourMs, shortMs: 30 * minuteMs, above: 6 },
    ],
  };
  const windows = (...errors: readonly number[]): Partial<Measurement> => ({
    parts: errors.map((count, index) =>
      aMeasurement({ requests: 1000, errors: count, windowMs: [hourMs, 5 * minuteMs, 6 * hourMs, 30 * minuteMs][index] ?? 0 }),
    ),
  });

  it('is a breach when the long and the short window of one pair are above it', () => {
    expect(find(condition, windows(150, 200, 10, 10))).toMatchObject({
      kind: 'breaching',
      value: expect.closeTo(15, 9),
      threshold: 14.4,
      requests: 1000,
      words: 'burn rate 15 over 1h (errors 15% (150 of 1000)) > 14.4 and burn rate 20 over 5m (errors 20% (200 of 1000)) > 14.4, objective: 99%',
    });
    expect(find(condition, windows(100, 100, 70, 70)).kind).toBe('breaching');
  });

  it.each([
    ['the short window is over it again', windows(150, 0, 50, 50)],
    ['only the short one is above', windows(10, 500, 50, 500)],
  ])('is none when %s', (_name, measurement) => {
    expect(find(condition, measurement).kind).toBe('ok');
  });

  it('is neither without enough requests, unless the other pair says so', () => {
    const few = aMeasurement({ requests: 5, errors: 5, windowMs: hourMs });
    const [, short, long6h, short30m] = windows(0, 200, 70, 70).parts ?? [];
    const calm = aMeasurement({ requests: 1000, errors: 0 });

    expect(find(condition, { parts: [few, short, calm, calm].filter((part) => part !== undefined) }).kind).toBe('no_data');
    expect(find(condition, { parts: [few, short, long6h, short30m].filter((part) => part !== undefined) }).kind).toBe('breaching');
  });
});

describe('all and any', () => {
  const high = (limit: number): Condition => ({ kind: 'error_ratio', windowMs: minuteMs, limit: { op: 'above', value: limit }, minRequests: 100 });
  const parts = { ok: { errors: 0 }, breaching: { errors: 500 }, no_data: { requests: 1 }, error: { error: 'prom: 503' } };
  type Kind = keyof typeof parts;

  it.each<[kind: 'all' | 'any', given: readonly Kind[], expected: Kind]>([
    ['all', ['breaching', 'breaching'], 'breaching'],
    ['all', ['breaching', 'ok'], 'ok'],
    ['all', ['breaching', 'no_data'], 'no_data'],
    ['all', ['no_data', 'error'], 'error'],
    ['all', ['error', 'ok'], 'ok'],
    ['any', ['ok', 'breaching'], 'breaching'],
    ['any', ['error', 'breaching'], 'breaching'],
    ['any', ['ok', 'no_data'], 'no_data'],
    ['any', ['ok', 'error'], 'error'],
    ['any', ['ok', 'ok'], 'ok'],
  ])('%s of %j is %s', (kind, given, expected) => {
    const finding = find({ kind, conditions: given.map(() => high(0.05)) }, { parts: given.map((part) => aMeasurement(parts[part])) });

    expect(finding.kind).toBe(expected);
  });

  it('says what settled it', () => {
    const measured = { parts: [aMeasurement({ errors: 20 }), aMeasurement({ errors: 500 })] };

    expect(find({ kind: 'all', conditions: [high(0.05), high(0.1)] }, measured)).toMatchObject({ words: 'error ratio 2% (20 of 1000) ≤ 5%', value: 0.02 });
    expect(find({ kind: 'any', conditions: [high(0.05), high(0.1)] }, measured)).toMatchObject({ words: 'error ratio 50% (500 of 1000) > 10%', value: 0.5 });
    expect(find({ kind: 'all', conditions: [high(0.01), high(0.1)] }, measured)).toMatchObject({
      words: 'error ratio 2% (20 of 1000) > 1% and error ratio 50% (500 of 1000) > 10%',
    });
  });

  it('compares part by part', () => {
    const others = [another('6', { parts: [aMeasurement({ errors: 1 }), aMeasurement()] })];

    expect(
      find({ kind: 'all', conditions: [worse(), high(0.1)] }, { parts: [aMeasurement({ errors: 500 }), aMeasurement({ errors: 500 })] }, { others }),
    ).toMatchObject({
      kind: 'breaching',
      baseline: { version: '6', value: 0.001 },
    });
  });
});

describe('a request rate while others get requests', () => {
  const condition: Condition = {
    kind: 'request_rate',
    windowMs: 10 * minuteMs,
    limit: { op: 'below', value: 0.1 },
    minRequests: 0,
    whileOthers: { windowMs: 10 * minuteMs, limit: { op: 'above', value: 1 } },
  };
  const gone = { requests: 6, windowMs: 10 * minuteMs };
  const busy = (requests: number, changes: Partial<Measurement> = {}): OtherVersion =>
    another('6', { parts: [aMeasurement({ requests, windowMs: 10 * minuteMs, ...changes })] });

  it('is a breach only while they do', () => {
    expect(find(condition, gone, { others: [busy(3000)] })).toMatchObject({
      kind: 'breaching',
      words: 'request rate 0.01/s (6 in 10m) < 0.1/s while others get 5/s (3000 in 10m) > 1/s',
    });
    expect(find(condition, gone, { others: [busy(60)] })).toMatchObject({ kind: 'ok', words: expect.stringContaining('but others get 0.1/s') });
    expect(find(condition, gone).kind).toBe('ok');
  });

  it('adds up what all others get, and leaves out what is stale', () => {
    expect(find(condition, gone, { others: [busy(400), busy(400)] }).kind).toBe('breaching');
    expect(find(condition, gone, { others: [busy(400), busy(4000, { newestMs: noonMs - hourMs })] }).kind).toBe('ok');
  });

  it('is no data, not a rate of 0, when its own series is gone', () => {
    expect(find(condition, { ...gone, requests: null, newestMs: null }, { others: [busy(3000)] }).kind).toBe('no_data');
    expect(find(condition, { ...gone, requests: 0 }, { others: [busy(3000)] }).kind).toBe('breaching');
  });
});
