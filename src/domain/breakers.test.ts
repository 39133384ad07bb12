import { describe, expect, it } from 'vitest';
import { noonMs } from '../../test/support/builders.ts';
import { findBreachStorm, stepTelemetry, type TelemetryState } from './breakers.ts';
import { defaultLimits } from './limits.ts';

const minuteMs = 60_000;

describe('the telemetry breaker', () => {
  const limits = defaultLimits.telemetryBreaker;

  it.each([
    ['half of five models is three of them', 2, 5, false],
    ['three of five', 3, 5, true],
    ['half of six', 3, 6, true],
    ['all of four, which are too few', 4, 4, false],
  ])('%s', (_name, blind, models, opens) => {
    expect(stepTelemetry(null, { blind, models }, limits, noonMs) !== null).toBe(opens);
  });

  it('closes only after a minute of good data, which a relapse begins anew', () => {
    const seen: boolean[] = [];
    let state: TelemetryState = null;
    for (const [atMs, blind] of [
      [0, 5],
      [30_000, 2],
      [60_000, 5],
      [90_000, 0],
      [119_000, 0],
      [120_000, 0],
    ] as const) {
      state = stepTelemetry(state, { blind, models: 10 }, limits, noonMs + atMs);
      seen.push(state !== null);
      if (state !== null) expect(state.openSinceMs).toBe(noonMs);
    }

    expect(seen).toEqual([true, true, true, true, true, false]);
  });
});

describe('the breach breaker', () => {
  const limits = defaultLimits.breachBreaker;
  const at = (...minutes: readonly number[]): readonly number[] => minutes.map((each) => noonMs + each * minuteMs);

  it.each([
    ['three of ten within five minutes', at(0, 5, 1), 10, noonMs + 5 * minuteMs],
    ['three of ten over a longer time', at(0, 3, 6), 10, null],
    ['three of ten within five minutes, after others long ago', at(-600, -300, 0, 2, 4), 10, noonMs + 4 * minuteMs],
    ['two of ten', at(0, 1), 10, null],
    ['all of four, which are too few', at(0, 0, 0, 0), 4, null],
    ['two of five', at(0, 1), 5, noonMs + minuteMs],
    ['no breach at all', [], 5, null],
  ])('is told by %s', (_name, onsets, models, sinceMs) => {
    expect(findBreachStorm(onsets, models, limits)?.sinceMs ?? null).toBe(sinceMs);
  });

  it('says how many', () => {
    expect(findBreachStorm(at(0, 1, 2, 3, 90), 10, limits)?.detail).toBe(
      '4 of 10 models began to breach together, breach_breaker: 30%; it is not their versions: look at what they share',
    );
  });
});
