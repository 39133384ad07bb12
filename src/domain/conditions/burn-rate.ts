import type { Measurement } from '../measurement.ts';
import { type BurnRateCondition, type ErrorRatioCondition, partsOf } from '../rule.ts';
import { percent, spell, trimNumber } from '../words.ts';
import { findComposite } from './composite.ts';
import { type Finding, noData } from './finding.ts';
import { readSignal } from './reading.ts';

/** Long and short window alike above the pair's burn rate, for any pair. The short one ends the breach soon after the errors end. */
export function findBurnRate(condition: BurnRateCondition, measurement: Measurement, nowMs: number): Finding {
  const windows = partsOf(condition).map((part, index): Finding => {
    const above = condition.windows[Math.floor(index / 2)]?.above ?? 0;
    // Both kinds of window are error ratios by the way they are made.
    return findWindow(part as ErrorRatioCondition, measurement.parts?.[index], { above, budget: 1 - condition.objective, nowMs });
  });
  const pairs = condition.windows.map((_pair, index) => findComposite('all', windows.slice(2 * index, 2 * index + 2)));
  const found = findComposite('any', pairs);
  return { ...found, words: `${found.words}, objective: ${percent(condition.objective)}` };
}

function findWindow(part: ErrorRatioCondition, measurement: Measurement | undefined, pair: { above: number; budget: number; nowMs: number }): Finding {
  if (measurement === undefined) return noData('the window was not measured', null, pair.above);
  const reading = readSignal(part, measurement, pair.nowMs);
  if ('missing' in reading) return noData(reading.missing, reading.requests, pair.above);
  const value = reading.value / pair.budget;
  const isBreaching = value > pair.above;
  const words = `burn rate ${trimNumber(value)} over ${spell(measurement.windowMs)} (errors ${reading.short}) ${isBreaching ? '>' : '≤'} ${trimNumber(pair.above)}`;
  return { kind: isBreaching ? 'breaching' : 'ok', words, value, threshold: pair.above, requests: reading.requests };
}
