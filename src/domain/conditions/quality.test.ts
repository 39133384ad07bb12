import { describe, expect, it } from 'vitest';
import { aMeasurement } from '../../../test/support/builders.ts';
import type { QualityCondition } from '../rule.ts';
import { findIn } from './find.ts';

const nowMs = Date.UTC(2026, 10, 22, 12);
const dayMs = 86_400_000;
const accuracy: QualityCondition = { kind: 'quality', of: { kind: 'metric', metric: 'accuracy' }, limit: { op: 'below', value: 0.9 }, maxAgeMs: null };
const gauge: QualityCondition = { ...accuracy, of: { kind: 'gauge', metric: 'model_accuracy', matchers: [] } };

function find(condition: QualityCondition, changes: Parameters<typeof aMeasurement>[0]) {
  const { kind, words } = findIn(condition, aMeasurement({ requests: null, errors: null, newestMs: nowMs, ...changes }), { nowMs, version: '2', others: [] });
  return `${kind}: ${words}`;
}

describe('the condition quality', () => {
  it.each([
    ['below its limit', accuracy, { value: 0.85, note: 'run r1' }, 'breaching: accuracy 0.85 (run r1) < 0.9'],
    ['on its limit', accuracy, { value: 0.9 }, 'ok: accuracy 0.9 ≥ 0.9'],
    ['above a limit', { ...accuracy, limit: { op: 'above', value: 0.3 } }, { value: 0.31 }, 'breaching: accuracy 0.31 > 0.3'],
    ['measured days ago', accuracy, { value: 0.85, newestMs: nowMs - 30 * dayMs }, 'breaching: accuracy 0.85 < 0.9'],
    [
      'measured longer ago than max_age',
      { ...accuracy, maxAgeMs: 7 * dayMs },
      { value: 0.85, newestMs: nowMs - 30 * dayMs },
      'no_data: accuracy was measured 30d ago, more than 1w',
    ],
    ['a gauge that was scraped', gauge, { value: 0.85, newestMs: nowMs - 60_000 }, 'breaching: model_accuracy 0.85 < 0.9'],
    ['a gauge that is not scraped any more', gauge, { value: 0.85, newestMs: nowMs - 301_000 }, 'no_data: model_accuracy was measured 5m1s ago, more than 5m'],
    ['measured in times to come', accuracy, { value: 0.85, newestMs: nowMs + dayMs }, 'no_data: accuracy was measured 1d ahead of this clock'],
    [
      'not measured',
      accuracy,
      { value: null, newestMs: null, note: 'no finished run of it logged accuracy' },
      'no_data: no value of accuracy for this version: no finished run of it logged accuracy',
    ],
    ['no number', accuracy, { value: Number.NaN, note: 'run r1' }, 'no_data: accuracy is NaN (run r1)'],
    ['infinite', accuracy, { value: Number.NEGATIVE_INFINITY }, 'no_data: accuracy is -Infinity'],
    ['not to be had', accuracy, { value: 0.85, error: 'MLflow answered 503' }, 'error: MLflow answered 503'],
    ['without any request', accuracy, { value: 0.85, requests: 0 }, 'breaching: accuracy 0.85 < 0.9'],
  ] as const)('%s', (_name, condition, measurement, said) => {
    expect(find(condition, measurement)).toBe(said);
  });
});
