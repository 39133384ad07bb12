import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import nock from 'nock';
import { afterAll, describe, expect, it } from 'vitest';
import { noNetwork } from '../../../test/support/no-network.ts';
import type { SmokeRequest, SmokeTest } from '../../domain/model.ts';
import type { Clock, Log, SmokeContext } from '../../domain/ports.ts';
import { createSmokeRunner } from './index.ts';

noNetwork();

const folder = mkdtempSync(path.join(tmpdir(), 'rollbackd-smoke-'));
afterAll(() => rmSync(folder, { recursive: true }));

const quiet: Log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined, child: () => quiet };
const context: SmokeContext = { model: 'fraud', to: '6', from: '7', labels: { region: 'eu/west' } };

/** Pauses take no time; the time limit never comes unless `expire` is called. */
function aClock() {
  const pauses: number[] = [];
  let expire = (): void => undefined;
  const clock: Clock = {
    nowMs: () => Date.now(),
    sleep: async (durationMs, signal) => {
      signal?.throwIfAborted();
      if (durationMs < 10_000) return void pauses.push(durationMs);
      await new Promise<void>((resolve, reject) => {
        if (durationMs === 10_000) expire = resolve;
        signal?.addEventListener('abort', () => reject(new Error('aborted')), { once: true });
      });
    },
  };
  return { clock, pauses, expire: () => expire() };
}

function aRequest(changes: Partial<Extract<SmokeRequest, { kind: 'http' }>> = {}): SmokeRequest {
  return {
    kind: 'http',
    name: 'one known transaction',
    method: 'POST',
    url: 'http://tfs:8501/v1/models/fraud/versions/{{ $to }}:predict',
    headers: {},
    body: '{"instances": [[1.0, 2.0]]}',
    bodyFile: null,
    expect: { status: 200, json: {}, durationBelowMs: null },
    ...changes,
  };
}

async function run(requests: readonly SmokeRequest[], changes: Partial<SmokeTest> = {}, use = aClock()) {
  const runner = createSmokeRunner({ clock: use.clock, log: quiet, baseEnv: {}, secrets: () => ['planted-secret'] });
  const results = await runner.run({ timeoutMs: 10_000, retries: 0, requests, onFailure: 'stop', ...changes }, context, new AbortController().signal);
  runner.close();
  return results;
}

const predict = (): nock.Interceptor => nock('http://tfs:8501').post('/v1/models/fraud/versions/6:predict', { instances: [[1, 2]] });

describe('an http smoke test', () => {
  it('passes when status, JSON and duration are as expected, and says how fast it was', async () => {
    nock('http://tfs:8501', { reqheaders: { 'content-type': 'application/json' } })
      .post('/v1/models/fraud/versions/6:predict', { instances: [[1, 2]] })
      .reply(200, { predictions: [[0.1, 0.9]] });

    const [result] = await run([
      aRequest({ expect: { status: 200, json: { '$.predictions[0].length()': 2, '$.predictions[0][1]': 0.9 }, durationBelowMs: 5_000 } }),
    ]);

    expect(result).toMatchObject({ name: 'one known transaction', outcome: 'passed' });
    expect(result?.detail).toMatch(/^200 in \d+ ms$/);
  });

  it.each([
    ['a wrong status', { status: 200, json: {}, durationBelowMs: null }, 503, 'no\n  version', 'answered 503, expected 200: no version'],
    ['an empty answer', { status: 200, json: {}, durationBelowMs: null }, 500, '', 'answered 500, expected 200: an empty body'],
    ['anything but 2xx without status', { status: null, json: {}, durationBelowMs: null }, 404, 'x', 'answered 404, expected 2xx: x'],
    [
      'a wrong value',
      { status: 200, json: { '$.predictions.length()': 2 }, durationBelowMs: null },
      200,
      '{"predictions":[1]}',
      '$.predictions.length(): found 1, expected 2',
    ],
    [
      'a missing value',
      { status: 200, json: { '$.outputs': 1 }, durationBelowMs: null },
      200,
      '{"predictions":[1]}',
      '$.outputs: $ is an object with the keys predictions, so there is no key "outputs"; expected 1',
    ],
    ['no JSON', { status: 200, json: { $: 1 }, durationBelowMs: null }, 200, '<html>', 'the answer is no JSON: <html>'],
  ] as const)('fails on %s and says what it found', async (_name, expected, status, body, detail) => {
    predict().reply(status, body);

    expect(await run([aRequest({ expect: expected })])).toMatchObject([{ outcome: 'failed', detail }]);
  });

  it('fails when the answer is right but too slow', async () => {
    predict().delay(30).reply(200, {});

    const [result] = await run([aRequest({ expect: { status: 200, json: {}, durationBelowMs: 10 } })]);

    expect(result).toMatchObject({ outcome: 'failed' });
    expect(result?.detail).toMatch(/^took \d+ ms, expected below 10 ms$/);
  });

  it('tries again with growing pauses, and passes as soon as one try does', async () => {
    const use = aClock();
    predict().replyWithError(Object.assign(new Error('refused'), { code: 'ECONNREFUSED' }));
    predict().reply(503, 'loading');
    predict().reply(200, {});

    const results = await run([aRequest()], { retries: 3 }, use);

    expect(results).toMatchObject([{ outcome: 'passed' }]);
    expect(use.pauses).toEqual([500, 1000]);
  });

  it('gives up after the last retry and runs nothing behind the failure', async () => {
    predict().times(3).reply(503, 'loading');

    const results = await run([aRequest(), aRequest({ name: 'never asked' })], { retries: 2 });

    expect(results).toEqual([
      {
        name: 'one known transaction',
        outcome: 'failed',
        durationMs: expect.any(Number) as number,
        detail: 'answered 503, expected 200: loading (after 3 tries)',
      },
    ]);
  });

  it('runs all requests while they pass', async () => {
    predict().twice().reply(200, {});

    expect(await run([aRequest(), aRequest({ name: 'another' })])).toMatchObject([{ outcome: 'passed' }, { name: 'another', outcome: 'passed' }]);
  });

  it('fails when the whole time is over, retries or not', async () => {
    const use = aClock();
    predict().delay(60_000).reply(200, {});

    const running = run([aRequest()], { retries: 5 }, use);
    setTimeout(use.expire, 50);

    expect(await running).toMatchObject([{ outcome: 'failed', detail: 'not passed within 10s (try 1): POST tfs:8501: no answer yet' }]);
  });

  it('is no failed test when the daemon stops', async () => {
    const stop = new AbortController();
    const runner = createSmokeRunner({ clock: aClock().clock, log: quiet, baseEnv: {} });
    predict().delay(60_000).reply(200, {});

    const running = runner.run({ timeoutMs: 10_000, retries: 0, requests: [aRequest()], onFailure: 'stop' }, context, stop.signal);
    setTimeout(() => stop.abort(new Error('stopping')), 50);

    await expect(running).rejects.toThrow('stopping');
  });

  it('renders templates in URL, headers and body, each value as one part of the URL', async () => {
    nock('http://tfs:8501', { reqheaders: { 'x-version': '6 after 7', 'content-type': 'text/plain' } })
      .put('/eu%2Fwest/fraud?v=6', 'fraud 6')
      .reply(200, '');

    const request = aRequest({
      method: 'PUT',
      url: 'http://tfs:8501/{{ $labels.region }}/{{ $model }}?v={{ $to }}',
      headers: { 'X-Version': '{{ $to }} after {{ $from }}', 'content-type': 'text/plain' },
      body: '{{ $model }} {{ $to }}',
    });
    expect(await run([request])).toMatchObject([{ outcome: 'passed' }]);
  });

  it('reads the body file at each use', async () => {
    const bodyFile = path.join(folder, 'fraud.json');
    const request = aRequest({ body: null, bodyFile });

    writeFileSync(bodyFile, '{"instances": [[1.0, 2.0]]}');
    predict().reply(200, {});
    expect(await run([request])).toMatchObject([{ outcome: 'passed' }]);

    writeFileSync(bodyFile, '{"instances": "changed"}');
    nock('http://tfs:8501').post('/v1/models/fraud/versions/6:predict', { instances: 'changed' }).reply(200, {});
    expect(await run([request])).toMatchObject([{ outcome: 'passed' }]);

    rmSync(bodyFile);
    expect(await run([request])).toMatchObject([{ outcome: 'failed', detail: `body_file ${bodyFile} cannot be read (ENOENT)` }]);
  });

  it('follows no redirect', async () => {
    predict().reply(307, '', { location: 'http://elsewhere.test/' });

    expect(await run([aRequest()])).toMatchObject([
      { outcome: 'failed', detail: 'answered 307 (a redirect; redirects are not followed), expected 200: an empty body' },
    ]);
  });

  it.each([
    ['a host from a label', { url: 'http://{{ $labels.region }}/x' }, 'url: scheme, host and port must be written out'],
    ['a value that would climb', { url: 'http://tfs/{{ $labels.absent }}/x' }, 'url: a template in the URL gives "", which cannot stand in one'],
    ['a template that does not parse', { body: '{{ $to' }, 'body: '],
    ['a header with a line break', { headers: { 'X-A': 'a\nb' } }, 'header X-A: its value has a line break'],
  ])('asks nobody with %s, and tries it once', async (_name, changes, detail) => {
    const use = aClock();

    const [result] = await run([aRequest(changes)], { retries: 3 }, use);

    expect(result?.detail).toContain(detail);
    expect(result?.outcome).toBe('failed');
    expect(use.pauses).toEqual([]);
  });

  it('shows no secret that the answer echoes', async () => {
    predict().reply(401, 'no: Bearer hush-hush and planted-secret');

    const [result] = await run([aRequest({ headers: { Authorization: 'Bearer hush-hush' } })]);

    expect(result?.detail).toBe('answered 401, expected 200: no: <secret> and <secret>');
  });

  it('cuts what it shows', async () => {
    predict().reply(500, 'x'.repeat(5_000));

    expect((await run([aRequest()]))[0]?.detail.length).toBeLessThan(300);
  });
});
