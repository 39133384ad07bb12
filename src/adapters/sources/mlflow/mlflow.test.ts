import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeClock } from '../../../../test/support/fake-clock.ts';
import { MlflowServer } from '../../../../test/support/mlflow/server.ts';
import type { Answer } from '../../../domain/measurement.ts';
import type { Clock, Log, Source } from '../../../domain/ports.ts';
import { createMlflowSource } from './index.ts';
import { mlflowSchema } from './schema.ts';

const quiet: Log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined, child: () => quiet };
const ever = new AbortController().signal;
const secret = 's3cr3t-planted';

describe('the mlflow source', () => {
  let server: MlflowServer;
  let time: FakeClock;
  let source: Source;
  /** Refresh goes by this clock, time limits by the machine's. */
  let clock: Clock;

  beforeEach(async () => {
    server = await MlflowServer.start();
    time = new FakeClock();
    clock = { nowMs: () => time.nowMs(), sleep: async (ms) => await new Promise<void>((resolve) => void setTimeout(resolve, ms).unref()) };
    source = sourceAt(server.url);
    server.state.register('fraud', { metrics: { accuracy: 0.95 } });
    server.state.register('fraud', { metrics: { accuracy: 0.93, loss: 0.2 } });
  });

  afterEach(async () => {
    await source.close();
    await server[Symbol.asyncDispose]();
  });

  function sourceAt(url: string, settings: Record<string, unknown> = {}): Source {
    return createMlflowSource(mlflowSchema.parse({ url, ...settings }), { clock, log: quiet });
  }

  async function ask(metric: string, versions: readonly string[] = ['2'], from = source): Promise<Answer | undefined> {
    return (await from.askQuality?.([{ id: 'q', model: 'fraud', metric, versions }], time.nowMs(), ever))?.get('q');
  }

  async function valueOf(metric: string, version = '2'): Promise<{ value: number | null; note: string } | undefined> {
    const answer = await ask(metric, [version]);
    return answer?.kind === 'quality' ? answer.values.get(version) : undefined;
  }

  it('reads what the version’s own run logged, per version', async () => {
    const answer = await ask('accuracy', ['1', '2']);

    expect(answer).toEqual({
      kind: 'quality',
      values: new Map([
        ['1', { value: 0.95, measuredMs: 1_790_000_001_000, note: 'run run-fraud-1' }],
        ['2', { value: 0.93, measuredMs: 1_790_000_002_000, note: 'run run-fraud-2' }],
      ]),
    });
    expect(source.up()).toBe(true);
  });

  it('takes a newer evaluation that is linked by the logged model', async () => {
    server.state.log('evaluation', { accuracy: 0.7 }, { modelId: 'm-fraud-2', experimentId: '9' });

    expect(await valueOf('accuracy')).toMatchObject({ value: 0.7, note: 'run evaluation' });
    expect(await valueOf('accuracy', '1')).toMatchObject({ value: 0.95 });
  });

  it('takes a newer evaluation that names the version by tags', async () => {
    server.behaviour.withoutLoggedModels = true;
    server.state.log('evaluation', { accuracy: 0.6 }, { tags: { 'rollbackd.model': 'fraud', 'rollbackd.version': '2' } });
    server.state.log('of another model', { accuracy: 0.1 }, { tags: { 'rollbackd.model': 'churn', 'rollbackd.version': '2' } });

    expect(await valueOf('accuracy')).toMatchObject({ value: 0.6, note: 'run evaluation' });
  });

  it('looks for the tags it is told to look for', async () => {
    source = sourceAt(server.url, { evaluation_tags: { model: 'model', version: 'it`s version' } });
    server.state.log('evaluation', { accuracy: 0.6 }, { tags: { model: 'fraud', 'its version': '2' } });

    expect(await valueOf('accuracy')).toMatchObject({ value: 0.6 });
  });

  it('keeps to the newest measurement, whatever it was of', async () => {
    server.state.log('old', { accuracy: 0.1 }, { modelId: 'm-fraud-2', atMs: 1 });

    expect(await valueOf('accuracy')).toMatchObject({ value: 0.93 });
  });

  it.each([
    ['under way', { status: 'RUNNING' }],
    ['failed', { status: 'FAILED' }],
  ])('does not believe an evaluation that is %s', async (_name, options) => {
    server.state.log('evaluation', { accuracy: 0.1 }, { modelId: 'm-fraud-2', ...options });

    expect(await valueOf('accuracy')).toMatchObject({ value: 0.93 });
  });

  it('does not believe an evaluation that was deleted', async () => {
    server.state.log('evaluation', { accuracy: 0.1 }, { modelId: 'm-fraud-2' }).deleted = true;

    expect(await valueOf('accuracy')).toMatchObject({ value: 0.93 });
  });

  it.each([
    ['NaN, which a logged model shows as 0', Number.NaN, Number.NaN],
    ['infinity, which MLflow shows as the greatest double', Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY],
    ['minus infinity', Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY],
  ])('does not take for a number: %s', async (_name, logged, read) => {
    server.state.log('evaluation', { accuracy: logged }, { modelId: 'm-fraud-2' });

    expect(await valueOf('accuracy')).toMatchObject({ value: read, note: 'run evaluation' });
  });

  it('says which metrics there are when the one asked for is not', async () => {
    expect(await valueOf('acuracy')).toEqual({ value: null, measuredMs: 0, note: 'no finished run of it logged acuracy; there are: accuracy, loss' });
  });

  it('says that the registry has no such version', async () => {
    expect(await valueOf('accuracy', '99')).toEqual({ value: null, measuredMs: 0, note: 'MLflow has no such version (any more)' });
  });

  it('asks again only when the answer is older than refresh', async () => {
    await ask('accuracy');
    const asked = server.calls.length;
    server.state.log('evaluation', { accuracy: 0.5 }, { modelId: 'm-fraud-2' });

    expect(await valueOf('loss')).toMatchObject({ value: 0.2 });
    expect(server.calls).toHaveLength(asked);
    await time.advance(60_000);
    expect(await valueOf('accuracy')).toMatchObject({ value: 0.5 });
    expect(server.calls.length).toBeGreaterThan(asked);
  });

  it.each([
    [500, 'INTERNAL_ERROR', false],
    [503, 'TEMPORARILY_UNAVAILABLE', false],
    [403, 'PERMISSION_DENIED', true],
  ])('gives an error, never a number, when a call answers %i', async (status, code, up) => {
    server.fail({ route: /GET runs\/get/, times: 9, reply: { status, body: JSON.stringify({ error_code: code, message: 'words' }) } });

    expect(await ask('accuracy', ['1', '2'])).toEqual({ kind: 'error', reason: expect.stringContaining(`answered ${status} ${code}: words`) as string });
    expect(source.up()).toBe(up);
  });

  it('gives an error when nobody answers, and shows no secret', async () => {
    const away = sourceAt('http://127.0.0.1:1', { http_config: { basic_auth: { username: 'u', password: secret } } });

    const answer = await ask('accuracy', ['2'], away);

    expect(answer).toEqual({ kind: 'error', reason: expect.stringContaining('connection refused') as string });
    expect(JSON.stringify(answer)).not.toContain(secret);
    expect(away.up()).toBe(false);
    await away.close();
  });

  it('does not remember a failure', async () => {
    server.fail({ route: /GET model-versions\/get/, reply: { status: 503, body: '' } });

    expect(await ask('accuracy')).toMatchObject({ kind: 'error' });
    expect(await valueOf('accuracy')).toMatchObject({ value: 0.93 });
  });

  it('counts no requests, and says so', async () => {
    const answers = await source.ask([{ id: 'q', kind: 'increase', metric: 'x', matchers: [], windowMs: 1, versionLabel: null }], 0, ever);

    expect(answers.get('q')).toMatchObject({ kind: 'error', reason: expect.stringContaining('counts no requests') as string });
  });
});
