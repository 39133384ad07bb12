import { describe, expect, it } from 'vitest';
import type { Question } from './measurement.ts';
import type { Matcher } from './model.ts';
import { groupKey, planQueries } from './query-plan.ts';

let nextId = 0;
function aQuestion(overrides: Partial<Question> = {}): Question {
  nextId += 1;
  return { id: `q${nextId}`, kind: 'increase', metric: 'requests_total', matchers: [], windowMs: 60_000, versionLabel: 'version', ...overrides };
}

function eq(label: string, value: string): Matcher {
  return { label, op: '=', value };
}

describe('planQueries', () => {
  it('asks one question as it is', () => {
    const question = aQuestion({ matchers: [eq('model', 'fraud'), { label: 'code', op: '=~', value: '5..' }] });

    expect(planQueries([question])).toEqual([
      {
        kind: 'increase',
        windowMs: 60_000,
        promql: 'sum by (version) (increase(requests_total{code=~"5..",model="fraud"}[1m]))',
        keyLabels: [],
        versionLabel: 'version',
        ids: new Map([['[]', [question.id]]]),
      },
    ]);
  });

  it.each<[string, Partial<Question>, string]>([
    ['buckets by their bound', { kind: 'buckets', metric: 'd_bucket' }, 'sum by (version, le) (increase(d_bucket[1m]))'],
    ['the newest sample', { kind: 'newest' }, 'max by (version) (timestamp(requests_total))'],
    ['all traffic as one', { versionLabel: null }, 'sum(increase(requests_total[1m]))'],
    ['the newest of all', { kind: 'newest', versionLabel: null }, 'max(timestamp(requests_total))'],
    ['a name with leading colon', { metric: ':tensorflow:serving:request_count' }, 'sum by (version) (increase(:tensorflow:serving:request_count[1m]))'],
    ['a name outside the grammar', { metric: 'http.requests"x' }, String.raw`sum by (version) (increase({__name__="http.requests\"x"}[1m]))`],
    ['a name that is a word of the language', { metric: 'sum', matchers: [eq('a', 'b')] }, 'sum by (version) (increase({__name__="sum",a="b"}[1m]))'],
    [
      'labels outside the grammar',
      { matchers: [eq('k8s.pod', 'x')], versionLabel: 'model-version' },
      'sum by ("model-version") (increase(requests_total{"k8s.pod"="x"}[1m]))',
    ],
    ['a window in mixed units', { windowMs: 90_500 }, 'sum by (version) (increase(requests_total[1m30s500ms]))'],
    [
      'values that would break out',
      { matchers: [eq('a', '"} or vector(1) #\\\n')] },
      String.raw`sum by (version) (increase(requests_total{a="\"} or vector(1) #\\\n"}[1m]))`,
    ],
    ['control characters', { matchers: [eq('a', '\u0000\u007f\t')] }, String.raw`sum by (version) (increase(requests_total{a="\u0000\u007f\u0009"}[1m]))`],
  ])('writes %s', (_name, overrides, promql) => {
    expect(planQueries([aQuestion(overrides)]).map((query) => query.promql)).toEqual([promql]);
  });

  it('merges questions that differ in the value of one label', () => {
    const a = aQuestion({ matchers: [eq('model', 'a'), eq('job', 'x')] });
    const b = aQuestion({ matchers: [eq('job', 'x'), eq('model', 'b.c|d')] });

    const [query, ...others] = planQueries([a, b]);

    expect(others).toEqual([]);
    expect(query).toMatchObject({
      promql: String.raw`sum by (model, version) (increase(requests_total{job="x",model=~"a|b\\.c\\|d"}[1m]))`,
      keyLabels: ['model'],
    });
    expect(query?.ids).toEqual(
      new Map([
        ['a', [a.id]],
        ['b.c|d', [b.id]],
      ]),
    );
  });

  it('merges over several labels and tells the questions apart by all of them', () => {
    const questions = [aQuestion({ matchers: [eq('ns', 'x'), eq('model', 'a')] }), aQuestion({ matchers: [eq('ns', 'y'), eq('model', 'b')] })];

    const [query] = planQueries(questions);

    expect(query?.promql).toBe('sum by (model, ns, version) (increase(requests_total{model=~"a|b",ns=~"x|y"}[1m]))');
    expect([...(query?.ids ?? [])]).toEqual([
      [groupKey(['a', 'x']), [questions[0]?.id]],
      [groupKey(['b', 'y']), [questions[1]?.id]],
    ]);
  });

  it('asks equal questions once', () => {
    const questions = [aQuestion(), aQuestion(), aQuestion()];

    const queries = planQueries(questions);

    expect(queries).toHaveLength(1);
    expect(queries[0]?.ids.get('[]')).toEqual(questions.map(({ id }) => id));
  });

  it.each<[string, Partial<Question>, Partial<Question>]>([
    ['kind', { kind: 'increase' }, { kind: 'newest' }],
    ['metric', { metric: 'a' }, { metric: 'b' }],
    ['window', { windowMs: 60_000 }, { windowMs: 300_000 }],
    ['version label', { versionLabel: 'a' }, { versionLabel: 'b' }],
    ['a label one has and the other has not', { matchers: [eq('a', '1')] }, { matchers: [] }],
    ['a matcher that is no equality', { matchers: [{ label: 'code', op: '!=', value: '200' }] }, { matchers: [{ label: 'code', op: '!=', value: '201' }] }],
    ['a label matched twice', { matchers: [eq('a', '1'), eq('a', '1')] }, { matchers: [eq('a', '1'), eq('a', '2')] }],
    ['the bucket bound', { kind: 'buckets', matchers: [eq('le', '1')] }, { kind: 'buckets', matchers: [eq('le', '2')] }],
    ['a name given as a label', { matchers: [eq('__name__', 'x')] }, { matchers: [eq('__name__', 'y')] }],
  ])('keeps apart what differs in %s', (_name, one, other) => {
    expect(planQueries([aQuestion(one), aQuestion(other)])).toHaveLength(2);
  });

  it('does not grow with models', () => {
    const questions = Array.from({ length: 2000 }, (_, index) =>
      (['increase', 'newest'] as const).map((kind) => aQuestion({ kind, matchers: [eq('model', `model-${index}`)] })),
    ).flat();

    expect(planQueries(questions)).toHaveLength(2);
  });

  it('halves a query that would be too long, and loses no question', () => {
    const questions = Array.from({ length: 100 }, (_, index) => aQuestion({ matchers: [eq('model', `model-${index}`)] }));

    const queries = planQueries(questions, { maxLength: 500 });

    expect(queries.length).toBeGreaterThan(2);
    for (const query of queries) expect(query.promql.length).toBeLessThanOrEqual(500);
    expect(queries.flatMap((query) => [...query.ids.values()].flat()).toSorted()).toEqual(questions.map(({ id }) => id).toSorted());
  });

  it('sends one question that is too long by itself', () => {
    expect(planQueries([aQuestion({ matchers: [eq('a', 'x'.repeat(1000))] })], { maxLength: 500 })).toHaveLength(1);
  });
});
