import { describe, expect, it } from 'vitest';
import { aModel, aRule, noonMs } from '../../../test/support/builders.ts';
import type { Answer } from '../../domain/measurement.ts';
import type { Model } from '../../domain/model.ts';
import { planQueries } from '../../domain/query-plan.ts';
import type { Condition } from '../../domain/rule.ts';
import { MeasurePlan } from './measure.ts';

const signalsOf = (model: string): Model['signals'] => ({
  ...aModel().signals,
  requests: { metric: 'requests_total', matchers: [{ label: 'model', op: '=', value: model }] },
});

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
  it('asks for the parts of a condition in the same queries as others ask for theirs', () => {
    const ratio = aRule().condition;
    const limit = { op: 'above' as const, value: 1 };
    const whileOthers = { windowMs: 60_000, limit };
    const rules = [
      aRule(),
      aRule({ condition: { kind: 'all', conditions: [ratio, { kind: 'request_rate', windowMs: 60_000, limit, minRequests: 0, whileOthers }] } }),
      aRule({ condition: { kind: 'burn_rate', objective: 0.99, minRequests: 1, windows: [{ longMs: 300_000, shortMs: 60_000, above: 2 }] } }),
    ];
    const plan = new MeasurePlan(noonMs);
    for (const name of ['fraud', 'churn', 'offers']) plan.add({ model: aModel({ name, signals: signalsOf(name) }), rules, serving: [], sinceMs: null });

    // Requests, errors and the newest sample, over 1m and over 5m; whatever the number of models and rules.
    expect(plan.questions).toHaveLength(3 * 6);
    expect(planQueries(plan.questions)).toHaveLength(6);
  });

  it('reads the parts of a condition per version', () => {
    const plan = new MeasurePlan(noonMs);
    const condition = { kind: 'any', conditions: [aRule().condition, { ...aRule().condition, windowMs: 120_000 }] } as Condition;
    plan.add({ model: aModel(), rules: [aRule({ condition })], serving: ['3'], sinceMs: null });
    const answers = new Map<string, Answer>(
      plan.questions.map(({ id, kind, windowMs, matchers }) => {
        const count = matchers.length > 0 ? windowMs / 6000 : windowMs / 60;
        return [id, kind === 'newest' ? { kind, byVersion: new Map([['3', noonMs]]) } : { kind: 'increase', byVersion: new Map([['3', count]]) }];
      }),
    );

    expect(plan.read(answers).get('fraud')?.[0]?.byVersion.get('3')?.parts).toMatchObject([
      { requests: 1000, errors: 10, windowMs: 60_000, newestMs: noonMs, error: null },
      { requests: 2000, errors: 20, windowMs: 120_000, newestMs: noonMs, error: null },
    ]);
  });

  it('takes what metrics call a version for the version the plane says it is, and drops names that are nobody’s', () => {
    const model = aModel({ attribution: { kind: 'label', label: 'revision_name' } });
    const plan = new MeasurePlan(noonMs);
    plan.add({ model, rules: [aRule()], serving: ['v2'], sinceMs: null, names: { 'iris-00001': 'v1', 'iris-00002': 'v2', 'iris-00004': 'v1' } });
    const counts = new Map([
      ['iris-00001', 30],
      ['iris-00002', 500],
      ['iris-00004', 12],
      ['constructor', 7],
      ['v2', 1],
    ]);
    const answers = new Map<string, Answer>(
      plan.questions.map(({ id, kind }) => [id, kind === 'newest' ? { kind, byVersion: new Map() } : { kind: 'increase', byVersion: counts }]),
    );

    const byVersion = plan.read(answers).get(model.name)?.[0]?.byVersion;

    expect([...(byVersion ?? [])].map(([version, { requests }]) => [version, requests])).toEqual([
      ['v2', 501],
      ['v1', 42],
    ]);
  });

  it('gives errors alone when nothing may be believed', () => {
    const plan = new MeasurePlan(noonMs);
    plan.add({ model: aModel(), rules: [rule, aRule()], serving: ['3'], sinceMs: null });

    const measured = plan.fail('the clock went back').get('fraud');

    expect(measured?.map(({ byVersion }) => byVersion.get('3')?.error)).toEqual(['the clock went back', 'the clock went back']);
  });
});
