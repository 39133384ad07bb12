import { beforeAll, describe, expect, it } from 'vitest';
import type { Answer, Question } from '../../src/domain/measurement.ts';
import type { Source } from '../../src/domain/ports.ts';

/** Samples of one series, in seconds before the instant that is asked about; `null` = the series was not there. */
export type SeriesSpec = {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly samples: readonly (readonly [secondsBefore: number, value: number])[];
};

type ContractCase = { readonly name: string; readonly series: readonly SeriesSpec[]; readonly question: Omit<Question, 'id'>; readonly expected: Answer };

const never = new AbortController().signal;

/** A value every 10 s, the last one `last` seconds before the instant. */
function every10(last: number, values: readonly number[]): (readonly [number, number])[] {
  return values.map((value, index) => [last + (values.length - 1 - index) * 10, value] as const);
}

function increase(byVersion: Readonly<Record<string, number>>): Answer {
  return { kind: 'increase', byVersion: new Map(Object.entries(byVersion)) };
}

/** Raw samples by version, each series a list of [seconds from the instant, value]. */
function samples(byVersion: Readonly<Record<string, readonly (readonly (readonly [number, number])[])[]>>, bounds?: readonly number[]): Answer {
  const series = (points: readonly (readonly [number, number])[], index: number) => ({
    key: `${index}`,
    target: '',
    le: bounds?.[index] ?? null,
    points: points.map(([seconds, value]) => ({ atMs: seconds * 1000, value })),
  });
  return { kind: 'samples', byVersion: new Map(Object.entries(byVersion).map(([version, all]) => [version, all.map(series)])) };
}

const minute = { kind: 'increase', matchers: [], windowMs: 60_000, versionLabel: 'version' } as const;
const nasty = 'a"b\\c\nd|e.*';

/** Every case has metric names of its own, so that all of them can be fed at once. */
const cases: readonly ContractCase[] = [
  {
    name: 'extrapolates an increase to the edges of its window',
    series: [{ name: 'c1_total', labels: { version: '1' }, samples: every10(5, [100, 110, 120, 130, 140, 150]) }],
    question: { ...minute, metric: 'c1_total' },
    expected: increase({ 1: 60 }),
  },
  {
    name: 'counts what came after a reset',
    series: [{ name: 'c2_total', labels: { version: '1' }, samples: every10(5, [100, 110, 5, 15, 25, 35]) }],
    question: { ...minute, metric: 'c2_total' },
    expected: increase({ 1: 54 }),
  },
  {
    name: 'sums the series of a version, and keeps versions apart',
    series: [
      { name: 'c3_total', labels: { version: '1', pod: 'a' }, samples: every10(5, [100, 110, 120, 130, 140, 150]) },
      { name: 'c3_total', labels: { version: '1', pod: 'b' }, samples: every10(5, [1000, 1000, 1000, 1000, 1000, 1000]) },
      { name: 'c3_total', labels: { version: '2', pod: 'a' }, samples: every10(5, [100, 102, 104, 106, 108, 110]) },
    ],
    question: { ...minute, metric: 'c3_total' },
    expected: increase({ 1: 60, 2: 12 }),
  },
  {
    name: 'knows all four matchers',
    series: [
      { name: 'c4_total', labels: { version: '1', code: '500', path: 'x' }, samples: every10(5, [100, 110, 120, 130, 140, 150]) },
      { name: 'c4_total', labels: { version: '1', code: '503', path: 'y' }, samples: every10(5, [100, 120, 140, 160, 180, 200]) },
      { name: 'c4_total', labels: { version: '1', code: '200', path: 'x' }, samples: every10(5, [100, 200, 300, 400, 500, 600]) },
      { name: 'c4_total', labels: { version: '1', code: '500', path: 'z' }, samples: every10(5, [100, 140, 180, 220, 260, 300]) },
    ],
    question: {
      ...minute,
      metric: 'c4_total',
      matchers: [
        { label: 'code', op: '=~', value: '5..' },
        { label: 'path', op: '!=', value: 'y' },
        { label: 'path', op: '!~', value: 'z|zz' },
        { label: 'none', op: '=', value: '' },
      ],
    },
    expected: increase({ 1: 60 }),
  },
  {
    name: 'matches values that look like syntax as they are',
    series: [
      { name: 'c5_total', labels: { version: '1', model: nasty }, samples: every10(5, [100, 110, 120, 130, 140, 150]) },
      { name: 'c5_total', labels: { version: '1', model: 'other' }, samples: every10(5, [100, 120, 140, 160, 180, 200]) },
    ],
    question: { ...minute, metric: 'c5_total', matchers: [{ label: 'model', op: '=', value: nasty }] },
    expected: increase({ 1: 60 }),
  },
  {
    name: 'has no answer for one sample, or none',
    series: [{ name: 'c6_total', labels: { version: '1' }, samples: [[5, 100]] }],
    question: { ...minute, metric: 'c6_total' },
    expected: increase({}),
  },
  {
    name: 'does not see samples before the window',
    series: [{ name: 'c7_total', labels: { version: '1' }, samples: every10(65, [0, 100, 200]) }],
    question: { ...minute, metric: 'c7_total' },
    expected: increase({}),
  },
  {
    name: 'stretches a series that began in the window by half a distance',
    series: [{ name: 'c8_total', labels: { version: '1' }, samples: every10(0, [1000, 1010, 1020]) }],
    question: { ...minute, metric: 'c8_total' },
    expected: increase({ 1: 25 }),
  },
  {
    name: 'takes the mean of a gauge’s newest samples, per version',
    series: [
      { name: 'c_accuracy', labels: { version: '1', pod: 'a' }, samples: every10(0, [0.7, 0.9]) },
      { name: 'c_accuracy', labels: { version: '1', pod: 'b' }, samples: every10(0, [0.7, 0.8]) },
      { name: 'c_accuracy', labels: { version: '2', pod: 'a' }, samples: every10(0, [0.25]) },
    ],
    question: { ...minute, kind: 'gauge', metric: 'c_accuracy', windowMs: 300_000 },
    expected: {
      kind: 'gauge',
      byVersion: new Map([
        ['1', 0.8500000000000001],
        ['2', 0.25],
      ]),
    },
  },
  {
    name: 'has no mean of a gauge of which one is no number',
    series: [
      { name: 'c_loss', labels: { version: '1', pod: 'a' }, samples: every10(0, [0.7]) },
      { name: 'c_loss', labels: { version: '1', pod: 'b' }, samples: every10(0, [Number.NaN]) },
    ],
    question: { ...minute, kind: 'gauge', metric: 'c_loss', windowMs: 300_000 },
    expected: { kind: 'gauge', byVersion: new Map() },
  },
  {
    name: 'takes no growth for 0, not for no data',
    series: [{ name: 'c9_total', labels: { version: '1' }, samples: every10(5, [7, 7, 7]) }],
    question: { ...minute, metric: 'c9_total' },
    expected: increase({ 1: 0 }),
  },
  {
    name: 'leaves out a version whose count is NaN',
    series: [
      { name: 'c10_total', labels: { version: '1' }, samples: every10(5, [7, Number.NaN, Number.NaN]) },
      { name: 'c10_total', labels: { version: '2' }, samples: every10(5, [7, 7, 7, 7, 7, 7]) },
    ],
    question: { ...minute, metric: 'c10_total' },
    expected: increase({ 2: 0 }),
  },
  {
    name: 'reports all series under one name without a version label',
    series: [
      { name: 'c11_total', labels: { pod: 'a' }, samples: every10(5, [100, 110, 120, 130, 140, 150]) },
      { name: 'c11_total', labels: { pod: 'b' }, samples: every10(5, [100, 110, 120, 130, 140, 150]) },
    ],
    question: { ...minute, metric: 'c11_total', versionLabel: null },
    expected: increase({ '': 120 }),
  },
  {
    name: 'gives buckets by bound',
    series: ['0.1', '1', '+Inf'].map((le, index) => ({
      name: 'c12_bucket',
      labels: { version: '1', le },
      samples: every10(
        5,
        [100, 110, 120, 130, 140, 150].map((value) => value * (index + 1)),
      ),
    })),
    question: { ...minute, kind: 'buckets', metric: 'c12_bucket' },
    expected: {
      kind: 'buckets',
      byVersion: new Map([
        [
          '1',
          new Map([
            [0.1, 60],
            [1, 120],
            [Infinity, 180],
          ]),
        ],
      ]),
    },
  },
  {
    name: 'gives the time of the newest sample per version, if it is young enough',
    series: [
      { name: 'c13_total', labels: { version: '1', pod: 'a' }, samples: every10(25, [1, 2]) },
      { name: 'c13_total', labels: { version: '1', pod: 'b' }, samples: every10(0, [1, 2]) },
      { name: 'c13_total', labels: { version: '2' }, samples: every10(70, [1, 2]) },
    ],
    question: { ...minute, kind: 'newest', metric: 'c13_total' },
    expected: { kind: 'newest', byVersion: new Map([['1', 0]]) },
  },
  {
    name: 'gives raw samples, series by series',
    series: [
      { name: 'c15_total', labels: { version: '1', code: '200' }, samples: every10(5, [100, 110, 3]) },
      { name: 'c15_total', labels: { version: '1', code: '500' }, samples: [[5, 1]] },
      { name: 'c15_total', labels: { version: '2', code: '200' }, samples: every10(55, [7, 8]) },
      { name: 'c15_total', labels: { version: '3', code: '200' }, samples: every10(65, [7, 8]) },
    ],
    question: { ...minute, kind: 'samples', metric: 'c15_total' },
    expected: samples({
      1: [
        [
          [-25, 100],
          [-15, 110],
          [-5, 3],
        ],
        [[-5, 1]],
      ],
      2: [[[-55, 8]]],
    }),
  },
  {
    name: 'gives raw samples of buckets with their bounds',
    series: ['0.1', '+Inf'].map((le, index) => ({
      name: 'c16_bucket',
      labels: { version: '1', le },
      samples: every10(
        5,
        [100, 110].map((value) => value * (index + 1)),
      ),
    })),
    question: { ...minute, kind: 'samples', metric: 'c16_bucket' },
    expected: samples(
      {
        1: [
          [
            [-15, 100],
            [-5, 110],
          ],
          [
            [-15, 200],
            [-5, 220],
          ],
        ],
      },
      [0.1, Infinity],
    ),
  },
  {
    name: 'has no raw samples of a version one of whose counters is NaN',
    series: [
      { name: 'c17_total', labels: { version: '1', code: '200' }, samples: every10(5, [7, 8]) },
      { name: 'c17_total', labels: { version: '1', code: '500' }, samples: every10(5, [7, Number.NaN]) },
      { name: 'c17_total', labels: { version: '2', code: '200' }, samples: [[5, 7]] },
    ],
    question: { ...minute, kind: 'samples', metric: 'c17_total' },
    expected: samples({ 2: [[[-5, 7]]] }),
  },
  {
    name: 'has an empty answer for a metric that is not there',
    series: [],
    question: { ...minute, metric: 'c14_total' },
    expected: increase({}),
  },
];

/** All series of the suite, to be fed before the questions are asked. */
export const contractSeries: readonly SeriesSpec[] = cases.flatMap(({ series }) => series);
export const contractQuestions: readonly Question[] = cases.map(({ name, question }) => ({ id: name, ...question }));

/**
 * What every source must answer for the same samples.
 * @param prepare gives a source that has seen `contractSeries`, and the instant the samples count back from
 */
export function describeSourceContract(name: string, prepare: () => Promise<{ source: Source; atMs: number }>): void {
  describe(`${name} keeps the contract of sources: it`, () => {
    let source: Source;
    let atMs: number;
    beforeAll(async () => {
      ({ source, atMs } = await prepare());
    });

    it.each(cases)('$name', async ({ question, expected }) => {
      const answers = await source.ask([{ id: 'q', ...question }], atMs, never);

      expectAnswer(answers.get('q'), expected, atMs);
    });

    it('answers all questions of a turn at once, under their ids', async () => {
      const answers = await source.ask(contractQuestions, atMs, never);

      expect([...answers.keys()].toSorted()).toEqual(contractQuestions.map(({ id }) => id).toSorted());
      for (const { name: id, expected } of cases) expectAnswer(answers.get(id), expected, atMs);
    });

    it('answers nothing when nothing is asked', async () => {
      expect(await source.ask([], atMs, never)).toEqual(new Map());
    });

    it('describes every question', () => {
      const described = source.describe(contractQuestions);

      for (const { id, metric } of contractQuestions) expect(described.get(id)).toContain(metric);
    });

    it('is up', () => {
      expect(source.up()).toBe(true);
    });
  });
}

function expectAnswer(actual: Answer | undefined, expected: Answer, atMs: number): void {
  if (expected.kind === 'samples') {
    expect(actual?.kind).toBe('samples');
    return expect(plainSamples(actual, atMs)).toEqual(plainSamples(expected, 0));
  }
  expect(plain(actual, 0)).toEqual(plain(expected, expected.kind === 'newest' ? atMs : 0));
}

/** Bounds and points by version; keys must differ, and are otherwise the source's own. */
function plainSamples(answer: Answer | undefined, atMs: number): unknown {
  if (answer?.kind !== 'samples') return answer;
  const all = [...answer.byVersion.values()].flat();
  expect(new Set(all.map(({ key }) => key)).size).toBeGreaterThanOrEqual(Math.max(0, ...[...answer.byVersion.values()].map((series) => series.length)));
  const lines = [...answer.byVersion].flatMap(([version, series]) =>
    series.map(({ le, points }) => JSON.stringify([version, String(le), points.map(({ atMs: time, value }) => [Math.round((time - atMs) / 1000), value])])),
  );
  return lines.toSorted();
}

/** Numbers rounded to 9 digits, maps as sorted lists. */
function plain(answer: Answer | undefined, offset: number): unknown {
  if (answer === undefined || answer.kind === 'samples' || !('byVersion' in answer)) return answer;
  const byVersion = [...answer.byVersion].map(
    ([version, value]) =>
      [
        version,
        typeof value === 'number' ? round(value + offset) : [...value].map(([le, count]) => [le, round(count)] as const).toSorted(([a], [b]) => a - b),
      ] as const,
  );
  return { kind: answer.kind, byVersion: byVersion.toSorted(([a], [b]) => (a < b ? -1 : 1)) };
}

function round(value: number): number {
  return Number(value.toPrecision(12));
}
