import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { inspect } from 'node:util';
import nock from 'nock';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { FakeClock } from '../../../../test/support/fake-clock.ts';
import { noNetwork } from '../../../../test/support/no-network.ts';
import type { Answer, Question } from '../../../domain/measurement.ts';
import type { Source } from '../../../domain/ports.ts';
import { createPrometheusSource } from './index.ts';
import { prometheusSchema } from './schema.ts';

const url = 'http://prom.test:9090';
const atMs = Date.UTC(2026, 10, 22, 12);
const at = atMs / 1000;
const never = new AbortController().signal;
const log = { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn(), child: () => log };

noNetwork();

const requests: string[] = [];
let warnings = 0;
let source: Source;
beforeEach(() => {
  requests.length = 0;
  warnings = 0;
  source = aSource({});
});
afterEach(async () => await source.close());

function aSource(config: object): Source {
  return createPrometheusSource(prometheusSchema.parse({ url, timeout: '5s', ...config }), {
    clock: new FakeClock(atMs),
    log,
    onRequest: (method, code) => requests.push(`${method} ${code}`),
    onWarning: () => {
      warnings += 1;
    },
  });
}

function aQuestion(overrides: Partial<Question> = {}): Question {
  return { id: 'q', kind: 'increase', metric: 'requests_total', matchers: [], windowMs: 60_000, versionLabel: 'version', ...overrides };
}

function vector(elements: readonly (readonly [labels: object, value: string, at?: number])[], extra: object = {}): object {
  return {
    status: 'success',
    data: { resultType: 'vector', result: elements.map(([metric, value, when]) => ({ metric, value: [when ?? at, value] })) },
    ...extra,
  };
}

function answering(reply: nock.Body, status = 200): void {
  nock(url).post('/api/v1/query').reply(status, reply);
}

async function askOne(question: Partial<Question> = {}): Promise<Answer | undefined> {
  return (await source.ask([aQuestion(question)], atMs, never)).get('q');
}

describe('the prometheus source', () => {
  describe('asked for raw samples', () => {
    const series = (metric: object, ...values: readonly (readonly [secondsBefore: number, value: string])[]) => ({
      metric,
      values: values.map(([seconds, value]) => [at - seconds, value]),
    });
    const matrix = (result: readonly object[], extra: object = {}) => ({ status: 'success', data: { resultType: 'matrix', result }, ...extra });
    const matchers = (model: string) => [{ label: 'model', op: '=' as const, value: model }];

    it('asks for the range itself, alike questions at once, and keeps series and targets apart', async () => {
      const own = { __name__: 'requests_total', job: 'tfs', instance: 'a:8501', version: '7' };
      nock(url)
        .post('/api/v1/query', { query: 'requests_total{model=~"fraud|shop"}[1m]', time: '1795348800.000', timeout: '5.000' })
        .reply(
          200,
          matrix([
            series({ ...own, model: 'fraud', code: '200' }, [15.5, '10'], [5.5, '30']),
            series({ ...own, model: 'fraud', code: '500' }, [5.5, '1']),
            series({ ...own, model: 'shop', code: '200', instance: 'b:8501' }, [3, '4']),
          ]),
        );

      const answers = await source.ask(
        [aQuestion({ kind: 'samples', matchers: matchers('fraud') }), aQuestion({ id: 'r', kind: 'samples', matchers: matchers('shop') })],
        atMs,
        never,
      );

      const [fraud, shop] = ['q', 'r'].map((id) => {
        const answer = answers.get(id);
        return answer?.kind === 'samples' ? (answer.byVersion.get('7') ?? []) : [];
      });
      expect(fraud?.map(({ points }) => points)).toEqual([
        [
          { atMs: atMs - 15_500, value: 10 },
          { atMs: atMs - 5_500, value: 30 },
        ],
        [{ atMs: atMs - 5_500, value: 1 }],
      ]);
      expect(fraud?.[0]?.target).toBe(fraud?.[1]?.target);
      expect(fraud?.[0]?.target).not.toBe(shop?.[0]?.target);
      expect(shop).toHaveLength(1);
    });

    it.each([
      ['a partial answer', matrix([series({ version: '7' }, [5, '1'])], { warnings: ['a store is not reachable'] }), 'may be partial'],
      ['samples of another time', matrix([series({ version: '7' }, [75, '1'])]), 'outside the range'],
      ['a series twice', matrix([series({ version: '7' }, [5, '1']), series({ version: '7' }, [5, '1'])]), 'twice'],
      ['a vector', vector([[{ version: '7' }, '1']]), 'not a matrix'],
    ])('takes %s for an error', async (_name, body, reason) => {
      answering(body);

      expect(await askOne({ kind: 'samples' })).toMatchObject({ kind: 'error', reason: expect.stringContaining(reason) });
    });
  });

  it('asks by POST with query, time and timeout, and answers per version', async () => {
    nock(url)
      .post('/api/v1/query', { query: 'sum by (version) (increase(requests_total[1m]))', time: '1795348800.000', timeout: '5.000' })
      .reply(
        200,
        vector([
          [{ version: '6' }, '0'],
          [{ version: '7' }, '12.5'],
        ]),
      );

    expect(await askOne()).toEqual({
      kind: 'increase',
      byVersion: new Map([
        ['6', 0],
        ['7', 12.5],
      ]),
    });
    expect(source.up()).toBe(true);
    expect(requests).toEqual(['query 200']);
  });

  it('hands the answer of a merged query to each of its questions by exact values', async () => {
    const questions = ['a', 'a.b', 'a|b'].map((model) => aQuestion({ id: model, matchers: [{ label: 'model', op: '=', value: model }] }));
    nock(url)
      .post(
        '/api/v1/query',
        (body: { query: string }) => body.query === String.raw`sum by (model, version) (increase(requests_total{model=~"a|a\\.b|a\\|b"}[1m]))`,
      )
      .reply(
        200,
        vector([
          [{ model: 'a', version: '1' }, '1'],
          [{ model: 'a|b', version: '1' }, '3'],
          [{ model: 'axb', version: '1' }, '99'],
        ]),
      );

    expect(await source.ask(questions, atMs, never)).toEqual(
      new Map([
        ['a', { kind: 'increase', byVersion: new Map([['1', 1]]) }],
        ['a.b', { kind: 'increase', byVersion: new Map() }],
        ['a|b', { kind: 'increase', byVersion: new Map([['1', 3]]) }],
      ]),
    );
  });

  it('reads buckets per version, and bounds that are written in two ways as one', async () => {
    answering(
      vector([
        [{ version: '1', le: '0.5' }, '3'],
        [{ version: '1', le: '1' }, '4'],
        [{ version: '1', le: '1.0' }, '2'],
        [{ version: '1', le: '+Inf' }, '7'],
        [{ version: '2', le: '0.5' }, 'NaN'],
        [{ version: '2', le: '+Inf' }, '7'],
      ]),
    );

    expect(await askOne({ kind: 'buckets', metric: 'd_bucket' })).toEqual({
      kind: 'buckets',
      byVersion: new Map([
        [
          '1',
          new Map([
            [0.5, 3],
            [1, 6],
            [Infinity, 7],
          ]),
        ],
      ]),
    });
  });

  it('leaves out a newest sample older than the window', async () => {
    answering(
      vector([
        [{ version: '1' }, String(at - 15.25)],
        [{ version: '2' }, String(at - 61)],
      ]),
    );

    expect(await askOne({ kind: 'newest' })).toEqual({ kind: 'newest', byVersion: new Map([['1', atMs - 15_250]]) });
  });

  it('reports all traffic under version «» when there is no version label', async () => {
    answering(vector([[{}, '5']]));

    expect(await askOne({ versionLabel: null })).toEqual({ kind: 'increase', byVersion: new Map([['', 5]]) });
  });

  it.each<[string, readonly (readonly [object, string])[]]>([
    ['an empty answer', []],
    ['NaN', [[{ version: '1' }, 'NaN']]],
    ['+Inf', [[{ version: '1' }, '+Inf']]],
    ['-Inf', [[{ version: '1' }, '-Inf']]],
  ])('takes %s for no data', async (_name, elements) => {
    answering(vector(elements));

    expect(await askOne()).toEqual({ kind: 'increase', byVersion: new Map() });
  });

  it('does not take infos for a failure', async () => {
    answering(vector([[{ version: '1' }, '1']], { infos: ['metric might not be a counter'] }));

    expect(await askOne()).toMatchObject({ kind: 'increase' });
  });

  it.each<[string, number, nock.Body, string, boolean]>([
    ['a 503 without words', 503, 'upstream connect error', 'Prometheus prom.test:9090 answered 503', false],
    [
      'a refused query',
      400,
      { status: 'error', errorType: 'bad_data', error: 'parse error' },
      'Prometheus prom.test:9090 answered 400: the query failed: bad_data: parse error',
      true,
    ],
    [
      'a server that is starting',
      503,
      { status: 'error', errorType: 'unavailable', error: 'starting' },
      'Prometheus prom.test:9090 answered 503: the query failed: unavailable: starting',
      false,
    ],
    [
      'an error with status 200',
      200,
      { status: 'error', errorType: 'timeout', error: 'query timed out' },
      'Prometheus prom.test:9090: the query failed: timeout: query timed out',
      true,
    ],
    ['success with status 500', 500, vector([]), 'Prometheus prom.test:9090 answered 500: the status says failure, the body success', false],
    [
      'warnings',
      200,
      vector([[{ version: '1' }, '1']], { warnings: ['store-2 unreachable'] }),
      'Prometheus prom.test:9090: the answer may be partial, warnings: store-2 unreachable',
      true,
    ],
    ['cut JSON', 200, '{"status":"success","data":{"resultType":"vec', 'Prometheus prom.test:9090: the answer is no whole JSON (cut short?)', false],
    ['a login page', 200, '<html>please log in</html>', 'Prometheus prom.test:9090: the answer is no JSON (is this the address of a Prometheus API?)', false],
    ['other JSON', 200, { hello: 'world' }, 'Prometheus prom.test:9090: the answer is not of the shape of the Prometheus API', false],
    ['no data', 200, { status: 'success' }, 'Prometheus prom.test:9090: the answer holds no data', true],
    [
      'a scalar',
      200,
      { status: 'success', data: { resultType: 'scalar', result: [at, '1'] } },
      'Prometheus prom.test:9090: the answer is a scalar, not a vector',
      true,
    ],
    [
      'a matrix',
      200,
      { status: 'success', data: { resultType: 'matrix', result: [] } },
      'Prometheus prom.test:9090: the answer is a matrix, not a vector',
      true,
    ],
    [
      'a stale answer',
      200,
      vector([[{ version: '1' }, '1', at - 120]]),
      'Prometheus: the answer is of 2026-11-22T11:58:00.000Z, asked was 2026-11-22T12:00:00.000Z',
      true,
    ],
    [
      'a series twice',
      200,
      vector([
        [{ version: '1' }, '1'],
        [{ version: '1' }, '2'],
      ]),
      'Prometheus: the answer holds a series twice',
      true,
    ],
    [
      'a series twice, once NaN',
      200,
      vector([
        [{ version: '1' }, 'NaN'],
        [{ version: '1' }, '2'],
      ]),
      'Prometheus: the answer holds a series twice',
      true,
    ],
    [
      'a native histogram',
      200,
      { status: 'success', data: { resultType: 'vector', result: [{ metric: {}, histogram: [at, {}] }] } },
      'Prometheus: the answer holds a native histogram; only classic ones are read',
      true,
    ],
    ['a value that is no number', 200, vector([[{ version: '1' }, 'many']]), `Prometheus: a sample's value is no number: "many"`, true],
    [
      'an element without labels',
      200,
      { status: 'success', data: { resultType: 'vector', result: [{ value: [at, '1'] }] } },
      'Prometheus: an element of the answer has no labels',
      true,
    ],
    ['a redirect of the POST', 302, '', 'Prometheus prom.test:9090 answered 302', false],
  ])('answers %s with an error', async (_name, status, reply, reason, up) => {
    answering(reply, status);

    expect(await askOne()).toEqual({ kind: 'error', reason });
    expect(source.up()).toBe(up);
  });

  it('answers repeated buckets with an error', async () => {
    answering(
      vector([
        [{ version: '1', le: '1' }, '1'],
        [{ version: '1', le: '2' }, '1'],
        [{ version: '1', le: '1' }, '1'],
      ]),
    );

    expect(await askOne({ kind: 'buckets' })).toEqual({ kind: 'error', reason: 'Prometheus: the answer holds a series twice' });
  });

  it('answers an unreachable server and an abort with an error, and is down', async () => {
    nock(url)
      .post('/api/v1/query')
      .replyWithError(Object.assign(new Error('x'), { code: 'ECONNREFUSED' }));

    expect(await askOne()).toEqual({ kind: 'error', reason: 'Prometheus: POST prom.test:9090: connection refused (ECONNREFUSED)' });
    expect(source.up()).toBe(false);
    expect(requests).toEqual(['query ECONNREFUSED']);
    expect((await source.ask([aQuestion()], atMs, AbortSignal.abort())).get('q')).toEqual({
      kind: 'error',
      reason: 'Prometheus: POST prom.test:9090: given up by the caller',
    });
  });

  it('fails only the questions of the query that failed', async () => {
    nock(url)
      .post('/api/v1/query', /metric_a/)
      .reply(200, vector([[{ version: '1' }, '1']]))
      .post('/api/v1/query', /metric_b/)
      .reply(500);

    const answers = await source.ask([aQuestion({ id: 'a', metric: 'metric_a' }), aQuestion({ id: 'b', metric: 'metric_b' })], atMs, never);

    expect([...answers].map(([id, { kind }]) => [id, kind]).toSorted()).toEqual([
      ['a', 'increase'],
      ['b', 'error'],
    ]);
    expect(source.up()).toBe(false);
  });

  it('does not take an abort for a source that is down', async () => {
    answering(vector([]));
    await askOne();

    await source.ask([aQuestion()], atMs, AbortSignal.abort());

    expect(source.up()).toBe(true);
  });

  it('counts warnings', async () => {
    answering(vector([], { warnings: ['a', 'b'] }));
    await askOne();

    expect(warnings).toBe(1);
  });

  it('keeps path and query of its address', async () => {
    source = aSource({ url: `${url}/prometheus/?extra_label=a%3Db` });
    nock(url).post('/prometheus/api/v1/query?extra_label=a%3Db').reply(200, vector([]));

    expect(await askOne()).toEqual({ kind: 'increase', byVersion: new Map() });
  });

  it('asks expressions as they are, equal ones once, and wants a vector', async () => {
    nock(url)
      .post('/api/v1/query', (body: { query: string }) => body.query === 'a > 1')
      .reply(200, vector([[{ __name__: 'a', version: '7' }, '2']]))
      .post('/api/v1/query', (body: { query: string }) => body.query === '1')
      .reply(200, { status: 'success', data: { resultType: 'scalar', result: [at, '1'] } });

    const answers = await source.askExpr?.(
      [
        { id: 'one', expr: 'a > 1' },
        { id: 'two', expr: 'a > 1' },
        { id: 'scalar', expr: '1' },
      ],
      atMs,
      never,
    );

    const element = { kind: 'expr', elements: [{ labels: { __name__: 'a', version: '7' }, value: 2 }] };
    expect(answers).toEqual(
      new Map<string, object>([
        ['one', element],
        ['two', element],
        ['scalar', { kind: 'error', reason: 'Prometheus prom.test:9090: the answer is a scalar, not a vector' }],
      ]),
    );
  });

  it('answers an expression with an error when its answer is of another instant', async () => {
    answering(vector([[{ version: '7' }, '2', at - 120]]));

    const answers = await source.askExpr?.([{ id: 'q', expr: 'a > 1' }], atMs, never);

    expect(answers?.get('q')).toEqual({ kind: 'error', reason: 'Prometheus: the answer is of 2026-11-22T11:58:00.000Z, asked was 2026-11-22T12:00:00.000Z' });
  });

  it('reads history step by step', async () => {
    const range = { startMs: atMs - 120_000, endMs: atMs, stepMs: 60_000 };
    nock(url)
      .post('/api/v1/query_range', {
        query: 'sum by (version) (increase(requests_total[1m]))',
        start: '1795348680.000',
        end: '1795348800.000',
        step: '60.000',
        timeout: '5.000',
      })
      .reply(200, {
        status: 'success',
        data: {
          resultType: 'matrix',
          result: [
            {
              metric: { version: '1' },
              values: [
                [at - 120, '1'],
                [at, '3'],
              ],
            },
            {
              metric: { version: '2' },
              values: [
                [at - 60, 'NaN'],
                [at, '5'],
              ],
            },
          ],
        },
      });

    const history = await source.history?.([aQuestion()], range, never);

    expect(history?.map((point) => [point.atMs, point.answers.get('q')])).toEqual([
      [atMs - 120_000, { kind: 'increase', byVersion: new Map([['1', 1]]) }],
      [atMs - 60_000, { kind: 'increase', byVersion: new Map() }],
      [
        atMs,
        {
          kind: 'increase',
          byVersion: new Map([
            ['1', 3],
            ['2', 5],
          ]),
        },
      ],
    ]);
  });

  it('splits history at 11,000 points, and a part that fails is an error at its points', async () => {
    nock(url)
      .post('/api/v1/query_range')
      .reply(200, { status: 'success', data: { resultType: 'matrix', result: [] } })
      .post('/api/v1/query_range')
      .reply(503);

    const history = await source.history?.([aQuestion()], { startMs: atMs - 12_000_000, endMs: atMs, stepMs: 1000 }, never);

    expect(history).toHaveLength(12_001);
    expect(history?.filter(({ answers }) => answers.get('q')?.kind === 'error')).toHaveLength(1001);
  });

  it.each<[string, number, Partial<Question>, Answer]>([
    [
      'vector',
      200,
      {},
      {
        kind: 'increase',
        byVersion: new Map([
          ['6', 60],
          ['7', 60],
        ]),
      },
    ],
    [
      'buckets',
      200,
      { kind: 'buckets' },
      {
        kind: 'buckets',
        byVersion: new Map(
          ['6', '7'].map((version) => [
            version,
            new Map([
              [0.1, 6],
              [1, 12],
              [Infinity, 18],
            ]),
          ]),
        ),
      },
    ],
    ['empty', 200, {}, { kind: 'increase', byVersion: new Map() }],
    ['nan', 200, {}, { kind: 'increase', byVersion: new Map() }],
    ['scalar', 200, {}, { kind: 'error', reason: 'Prometheus prom.test:9090: the answer is a scalar, not a vector' }],
    ['matrix', 200, {}, { kind: 'error', reason: 'Prometheus prom.test:9090: the answer is a matrix, not a vector' }],
    [
      'parse-error',
      400,
      {},
      {
        kind: 'error',
        reason: 'Prometheus prom.test:9090 answered 400: the query failed: bad_data: invalid parameter "query": 1:5: parse error: unclosed left parenthesis',
      },
    ],
  ])('reads what a real Prometheus answered (fixtures/%s.json)', async (name, status, question, expected) => {
    answering(readFileSync(join(import.meta.dirname, 'fixtures', `${name}.json`), 'utf8'), status);

    const answers = await source.ask([aQuestion(question)], 1_763_640_000_000, never);

    expect(answers.get('q')).toEqual(expected);
  });

  it('describes each question by the query it is part of', () => {
    const questions = ['a', 'b'].map((model) => aQuestion({ id: model, matchers: [{ label: 'model', op: '=', value: model }] }));

    const promql = 'sum by (model, version) (increase(requests_total{model=~"a|b"}[1m]))';
    expect(source.describe(questions)).toEqual(
      new Map([
        ['a', promql],
        ['b', promql],
      ]),
    );
  });

  it('never shows a secret of its own in a reason', async () => {
    const secret = 's3cr3t-planted';
    source = aSource({ http_config: { authorization: { credentials: secret }, http_headers: { 'X-Key': { secrets: [secret] } } } });
    answering({ status: 'error', errorType: 'unauthorized', error: `token ${secret} is not valid` }, 401);
    answering(vector([], { warnings: [`no store for ${secret}`] }));
    answering(vector([[{ version: '1' }, secret]]));
    answering(`<html>${secret}</html>`);
    nock(url).post('/api/v1/query').replyWithError(`socket for ${secret}`);

    for (let round = 0; round < 5; round += 1) {
      const answer = await askOne();
      expect(answer?.kind).toBe('error');
      expect(inspect(answer)).not.toContain(secret);
    }
  });
});
