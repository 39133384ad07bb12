import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { createMlflowSource } from '../../src/adapters/sources/mlflow/index.ts';
import { mlflowSchema } from '../../src/adapters/sources/mlflow/schema.ts';
import { createPrometheusSource } from '../../src/adapters/sources/prometheus/index.ts';
import { prometheusSchema } from '../../src/adapters/sources/prometheus/schema.ts';
import type { Answer, Question } from '../../src/domain/measurement.ts';
import type { Source } from '../../src/domain/ports.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { answerIn, anyDamages, type Damage, damaged, forAll } from '../support/fuzz.ts';
import { answerBy } from '../support/in-memory-http.ts';
import { recordingLog } from '../support/recording-log.ts';

vi.mock('../../src/adapters/http/client.ts', async () => await import('../support/in-memory-http.ts'));

const ever = new AbortController().signal;
const atMs = Date.UTC(2026, 10, 22, 12);
const at = atMs / 1000;
const deps = { clock: new FakeClock(atMs), log: recordingLog() };

/** What the other side says, as text; set by each case. */
let bodyOf: (path: string) => string = () => '';
const owned = new AsyncDisposableStack();
let prometheus: Source;
let mlflow: Source;

beforeAll(() => {
  answerBy((_method, url) => ({ body: bodyOf(new URL(url).pathname) }));
  prometheus = createPrometheusSource(prometheusSchema.parse({ url: 'http://prometheus.test:9090' }), deps);
  mlflow = createMlflowSource(mlflowSchema.parse({ url: 'http://mlflow.test:5000', refresh: '1s' }), deps);
  owned.defer(async () => await prometheus.close());
  owned.defer(async () => await mlflow.close());
});
afterAll(async () => await owned.disposeAsync());

type Element = { readonly metric: Readonly<Record<string, string>>; readonly value: readonly [number, string] };

function vector(...elements: readonly (readonly [labels: Readonly<Record<string, string>>, value: string])[]) {
  const result = elements.map(([metric, value]): Element => ({ metric, value: [at, value] }));
  return { status: 'success', data: { resultType: 'vector', result } };
}

/** Written apart from the adapter: whether a document is, in every part that is read, what Prometheus's API says. */
function isWhole(document: unknown): document is ReturnType<typeof vector> {
  const { status, data, warnings } = (document ?? {}) as Record<string, unknown>;
  if (status !== 'success' || (warnings !== undefined && warnings !== null && !(Array.isArray(warnings) && warnings.length === 0))) return false;
  const { resultType, result } = (data ?? {}) as Record<string, unknown>;
  return resultType === 'vector' && Array.isArray(result) && result.every(isElement);
}

function isElement(element: unknown): boolean {
  const { metric, value } = (element ?? {}) as Record<string, unknown>;
  if (typeof metric !== 'object' || metric === null || Array.isArray(metric) || !Object.values(metric).every((label) => typeof label === 'string'))
    return false;
  if (!Array.isArray(value) || value.length !== 2) return false;
  const [time, text] = value as unknown[];
  return typeof time === 'number' && Math.abs(time - at) <= 1 && typeof text === 'string' && /^(NaN|[-+]Inf|-?\d+(\.\d+)?(e[-+]?\d+)?)$/i.test(text);
}

function aQuestion(changes: Partial<Question>): Question {
  return { id: 'q', kind: 'increase', metric: 'requests_total', matchers: [], windowMs: 60_000, versionLabel: 'version', ...changes };
}

/** Versions and numbers of an answer; none for one that is an error. */
function numbersIn(answer: Answer | undefined): readonly (readonly [version: string, value: number])[] {
  if (answer?.kind === 'increase' || answer?.kind === 'gauge') return [...answer.byVersion];
  if (answer?.kind === 'buckets') return [...answer.byVersion].flatMap(([version, buckets]) => [...buckets.values()].map((value) => [version, value] as const));
  return [];
}

describe('the prometheus source, given any answer', () => {
  const good = vector([{ version: '6' }, '120'], [{ version: '7' }, '3.5'], [{ version: 'constructor' }, '0']);
  const buckets = vector([{ version: '7', le: '0.5' }, '10'], [{ version: '7', le: '1.0' }, '12'], [{ version: '7', le: '+Inf' }, '12']);

  it('reads a whole one', async () => {
    bodyOf = () => JSON.stringify(good);

    const answers = await prometheus.ask([aQuestion({})], atMs, ever);

    expect(answers.get('q')).toEqual({
      kind: 'increase',
      byVersion: new Map([
        ['6', 120],
        ['7', 3.5],
        ['constructor', 0],
      ]),
    });
  });

  const cases = async (document: ReturnType<typeof vector>, changes: Partial<Question>, count: number): Promise<void> => {
    await forAll(anyDamages, count, async (damages: readonly Damage[]) => {
      const given = damaged(document, damages);
      bodyOf = () => JSON.stringify(given);

      const answer = (await prometheus.ask([aQuestion(changes)], atMs, ever)).get('q');

      if (answer?.kind !== 'error' && !isWhole(given)) throw new Error(`a broken answer was read as ${JSON.stringify(numbersIn(answer))}`);
      const written: readonly Element[] = isWhole(given) ? given.data.result : [];
      for (const [version, value] of numbersIn(answer)) {
        const label = changes.versionLabel === undefined ? 'version' : (changes.versionLabel ?? '');
        const own = written.filter(({ metric }) => (Object.hasOwn(metric, label) ? metric[label] : '') === version);
        if (!Number.isFinite(value) || own.length === 0 || (document === good && !own.some((element) => Number(element.value[1]) === value)))
          throw new Error(`${JSON.stringify(version)} has ${value}, which stands in no answer`);
      }
    });
  };

  it('reads no number out of a broken one', async () => await cases(good, {}, 1_000));
  it('reads no bucket out of a broken one', async () => await cases(buckets, { kind: 'buckets' }, 400));
  it('takes what objects inherit for no label', async () => await cases(good, { kind: 'gauge', versionLabel: 'constructor' }, 200));

  it('reads no element of an expression out of a broken one', async () => {
    await forAll(anyDamages, 400, async (damages) => {
      const given = damaged(good, damages);
      bodyOf = () => JSON.stringify(given);

      const answer = (await prometheus.askExpr?.([{ id: 'q', expr: 'up' }], atMs, ever))?.get('q');

      if (answer?.kind === 'expr') expect([isWhole(given), answer.elements.length]).toEqual([true, isWhole(given) ? given.data.result.length : -1]);
      else expect(answer?.kind).toBe('error');
    });
  });

  it('reads none out of one that was cut short', async () => {
    const whole = JSON.stringify(good);
    for (let length = 0; length < whole.length; length += 1) {
      bodyOf = () => whole.slice(0, length);

      expect((await prometheus.ask([aQuestion({})], atMs, ever)).get('q')?.kind, `${length} characters`).toBe('error');
    }
  });
});

describe('the mlflow source, given any answers', () => {
  const run = (id: string, value: number, timestamp: number) => ({
    info: { run_id: id, experiment_id: '1', status: 'FINISHED', lifecycle_stage: 'active' },
    data: { metrics: [{ key: 'accuracy', value, timestamp, step: 0 }], tags: [] },
  });
  const good: Readonly<Record<string, unknown>> = {
    'model-versions/get': { model_version: { name: 'fraud', version: '7', source: 'models:/m-1', run_id: 'r1', status: 'READY' } },
    'runs/get': { run: run('r1', 0.93, 1_790_000_000_000) },
    'runs/search': { runs: [run('r2', 0.91, 1_790_000_100_000)] },
    'logged-models/m-1': { model: { data: { metrics: [{ key: 'accuracy', run_id: 'r1', timestamp: 1_790_000_000_000 }] } } },
  };
  const ask = async (answers: unknown, model: string): Promise<Answer | undefined> => {
    bodyOf = (path) => JSON.stringify(answerIn(answers, path.replace('/api/2.0/mlflow/', '')) ?? {});
    return (await mlflow.askQuality?.([{ id: 'q', model, metric: 'accuracy', versions: ['7'] }], atMs, ever))?.get('q');
  };

  it('reads good ones', async () => {
    const answer = await ask(good, 'good');

    expect(answer).toEqual({ kind: 'quality', values: new Map([['7', { value: 0.91, measuredMs: 1_790_000_100_000, note: 'run r2' }]]) });
  });

  it('reads no metric out of broken ones', async () => {
    let turn = 0;
    await forAll(anyDamages, 2_000, async (damages) => {
      const given = damaged(good, damages);
      turn += 1;

      const answer = await ask(given, `fraud-${turn}`);

      if (answer?.kind === 'error') return;
      const value = answer?.kind === 'quality' ? answer.values.get('7')?.value : undefined;
      const numbers = (JSON.stringify(given) ?? '').matchAll(/-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?/g);
      const isWritten = value === null || (typeof value === 'number' && (!Number.isFinite(value) || [...numbers].some(([number]) => Number(number) === value)));
      if (!isWritten) throw new Error(`${String(value)} stands in no answer`);
    });
  });

  it.each(['', ' ', '0x10', '1_0', 'true', 'null', '0b1'])('takes the text "%s" for no number', async (value) => {
    const odd = { ...good, 'runs/search': {}, 'runs/get': { run: { ...run('r1', 0, 1), data: { metrics: [{ key: 'accuracy', value, timestamp: 1 }] } } } };

    const answer = await ask(odd, `odd ${value}`);

    expect(answer?.kind === 'quality' && answer.values.get('7')?.value).toBeNaN();
  });
});
