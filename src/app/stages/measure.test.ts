import { describe, expect, it } from 'vitest';
import { aModel, aRule, noonMs } from '../../../test/support/builders.ts';
import type { Answer } from '../../domain/measurement.ts';
import type { Model } from '../../domain/model.ts';
import { MeasurePlan } from './measure.ts';

const rule = aRule({ condition: { kind: 'expr', expr: 'x > 1', rangeMs: 300_000, minRequests: 10 } });

function read(model: Model, sinceMs: number, elements: number) {
  const plan = new MeasurePlan(noonMs);
  plan.add({ model, rules: [rule], serving: ['3'], sinceMs });
  const answers = new Map<string, Answer>(
    plan.questions.map(({ id, kind }) => [id, { kind: kind === 'newest' ? 'newest' : 'increase', byVersion: new Map([['', noonMs]]) }]),
  );
  answers.set(`expr ${rule.id}`, { kind: 'expr', elements: Array.from({ length: elements }, () => ({ labels: {}, value: 7 })) });
  return plan.read(answers).get(model.name)?.[0]?.byVersion.get('3');
}

describe('an expression where metrics carry no version', () => {
  const model = aModel({ attribution: { kind: 'serving' } });

  it('is not held against a version that serves for less than its range', () => {
    expect(read(model, noonMs - 60_000, 1)).toMatchObject({ value: null, error: expect.stringContaining('reaches behind') as string });
    expect(read(model, noonMs - 300_000, 1)).toMatchObject({ value: 7, error: null });
  });

  it('is well without an element, also then', () => {
    expect(read(model, noonMs - 60_000, 0)).toMatchObject({ value: null, error: null });
  });
});

describe('MeasurePlan', () => {
  it('gives errors alone when nothing may be believed', () => {
    const plan = new MeasurePlan(noonMs);
    plan.add({ model: aModel(), rules: [rule, aRule()], serving: ['3'], sinceMs: null });

    const measured = plan.fail('the clock went back').get('fraud');

    expect(measured?.map(({ byVersion }) => byVersion.get('3')?.error)).toEqual(['the clock went back', 'the clock went back']);
  });
});
