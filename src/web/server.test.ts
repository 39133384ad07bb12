import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { aDetail, aModel, aServer, aStatus } from '../../test/support/a-web-server.ts';
import { anyJson, anyText, forAll } from '../../test/support/fuzz.ts';
import type { Queries } from './api.ts';
import { createWebServer, parseListenAddress, type WebDeps } from './server.ts';

describe('the management endpoints', () => {
  it.each(['GET', 'HEAD'] as const)('answers %s /-/healthy always', async (method) => {
    const answer = await aServer({ health: { ready: async () => ({ reasons: ['no source was seen'] }) } }).app.inject({ method, url: '/-/healthy' });

    expect([answer.statusCode, answer.body]).toEqual([200, method === 'GET' ? 'rollbackd is healthy.\n' : '']);
  });

  it('says what is missing until it is ready', async () => {
    const missing = await aServer({ health: { ready: async () => ({ reasons: ['source prom was not seen yet', 'no configuration'] }) } }).app.inject(
      '/-/ready',
    );
    expect([missing.statusCode, missing.body]).toEqual([503, 'rollbackd is not ready: source prom was not seen yet; no configuration\n']);

    expect((await aServer().app.inject('/-/ready')).statusCode).toBe(200);
  });

  it('shows metrics with their own content type', async () => {
    const answer = await aServer().app.inject('/metrics');

    expect([answer.headers['content-type'], answer.body]).toEqual(['text/plain; version=0.0.4; charset=utf-8', 'up 1\n']);
  });

  it.each(['POST', 'PUT'] as const)('reloads by %s when the lifecycle API is on, whatever the body', async (method) => {
    const { app, asked } = aServer();

    expect((await app.inject({ method, url: '/-/reload', payload: 'x=1', headers: { 'content-type': 'application/x-www-form-urlencoded' } })).statusCode).toBe(
      200,
    );
    expect((await app.inject({ method, url: '/-/reload' })).statusCode).toBe(200);
    expect(asked).toEqual([['reload'], ['reload']]);
  });

  it('does not reload when the lifecycle API is off, and says how to turn it on', async () => {
    const { app, asked } = aServer({ lifecycle: { enabled: false, reload: async () => ({ faults: [] }) } });

    const answer = await app.inject({ method: 'POST', url: '/-/reload' });

    expect(answer.statusCode).toBe(403);
    expect(answer.json()).toMatchObject({ errorType: 'forbidden', error: expect.stringContaining('--web.enable-lifecycle') as string });
    expect(asked).toEqual([]);
  });

  it('shows the faults of a reload that was refused', async () => {
    const { app } = aServer({
      lifecycle: { enabled: true, reload: async () => ({ faults: ['config/rollbackd.yaml:3:1: modles: unknown key; did you mean "models"?'] }) },
    });

    const answer = await app.inject({ method: 'POST', url: '/-/reload' });

    expect([answer.statusCode, answer.body]).toEqual([
      500,
      'the new configuration was refused, the old one stays:\nconfig/rollbackd.yaml:3:1: modles: unknown key; did you mean "models"?\n',
    ]);
  });

  it('is not reloaded by a web page', async () => {
    const answer = await aServer().app.inject({ method: 'POST', url: '/-/reload', headers: { origin: 'http://evil.example' } });

    expect(answer.statusCode).toBe(403);
  });
});

describe('the queries', () => {
  it.each([
    ['models', [aModel]],
    ['models/fraud-detector', aDetail],
    ['rules', []],
    ['alerts', []],
    ['status', aStatus],
  ])('answers %s in the envelope', async (path, data) => {
    const answer = await aServer().app.inject(`/api/v1/${path}`);

    expect(answer.statusCode).toBe(200);
    expect(answer.json()).toEqual({ status: 'success', data });
  });

  it('gives an episode its fixed keys in their order', async () => {
    const answer = await aServer().app.inject('/api/v1/rollbacks/rb_01JDEXAMPLE');

    expect(JSON.stringify(answer.json<{ data: unknown }>().data, null, 1)).toMatchInlineSnapshot(`
      "{
       "id": "rb_01JDEXAMPLE",
       "model": "fraud-detector",
       "from": "7",
       "to": "6",
       "trigger": "rule",
       "rule": "ModelErrorRatioHigh",
       "mode": "enforce",
       "state": "succeeded",
       "outcome": "success",
       "reason": "error ratio 10.2% (588 of 5771) > 5% for 1m12s, for: 1m",
       "detected_at": "2026-11-22T12:00:00.000Z",
       "started_at": "2026-11-22T12:00:00.100Z",
       "switched_at": "2026-11-22T12:00:04.000Z",
       "finished_at": "2026-11-22T12:00:12.500Z",
       "evidence": {
        "signal": "error_ratio",
        "value": 0.102,
        "threshold": 0.05,
        "requests": 5771,
        "window": "1m",
        "baseline": {
         "version": "6",
         "value": 0.001
        },
        "series": [
         "sum(rate(x[1m]))"
        ]
       },
       "steps": [
        {
         "name": "stage 6 on tfs-0:8500",
         "state": "done",
         "started_at": "2026-11-22T12:00:00.100Z",
         "finished_at": "2026-11-22T12:00:02.000Z",
         "detail": "available"
        }
       ],
       "smoke_tests": [
        {
         "name": "one known transaction",
         "outcome": "passed",
         "duration_ms": 181,
         "detail": "200 in 181 ms"
        }
       ],
       "links": {
        "git_tag": "https://git.example.org/fraud/tags/v7"
       },
       "detail": "version 6 serves alone and is healthy",
       "tried_targets": [],
       "refused_targets": [
        {
         "version": "5",
         "reason": "quarantined"
        }
       ],
       "pinned": true,
       "notes": [],
       "group": null
      }"
    `);
  });

  it('lists rollbacks and decisions as arrays, filtered as asked', async () => {
    const { app, asked } = aServer();

    const rollbacks = (await app.inject('/api/v1/rollbacks')).json<{ data: { id: string }[] }>();
    const decisions = (await app.inject('/api/v1/decisions?model=fraud-detector&limit=7')).json<{ data: object[] }>();

    expect(rollbacks.data.map((each) => each.id)).toEqual(['rb_01JDEXAMPLE']);
    expect(decisions.data).toEqual([
      expect.objectContaining({
        at: '2026-11-22T00:00:00.000Z',
        decision: 'hold',
        reason: 'cooldown',
        held: [{ reason: 'cooldown', detail: 'rolled back 3m ago, cooldown: 30m' }],
      }),
    ]);
    expect(asked).toEqual([
      ['rollbacks', { limit: 100 }],
      ['decisions', { model: 'fraud-detector', limit: 7 }],
    ]);
  });

  it.each([
    ['rollbacks?limit=0', 400, 'bad_data', 'query.limit: '],
    ['rollbacks?limt=5', 400, 'bad_data', 'limt'],
    ['models/ranker', 404, 'not_found', 'no model is named "ranker"'],
    ['models/%2e%2e%2fetc', 404, 'not_found', 'no model is named "../etc"'],
    ['rollbacks/rb_2', 404, 'not_found', 'no rollback has the id "rb_2"'],
    ['nothing', 404, 'not_found', 'nothing is at GET /api/v1/nothing'],
  ])('refuses %s in the envelope', async (path, status, errorType, words) => {
    const answer = await aServer().app.inject(`/api/v1/${path}`);

    expect(answer.statusCode).toBe(status);
    expect(answer.json()).toEqual({ status: 'error', errorType, error: expect.stringContaining(words) as string });
  });

  it('tells nothing of a failure of ours but that it happened; the log has the rest', async () => {
    const { app, logged } = aServer({
      queries: { ...({} as Queries), models: async () => await Promise.reject(new Error('SELECT planted-secret FROM /var/lib')) },
    });

    const answer = await app.inject('/api/v1/models');

    expect(answer.statusCode).toBe(500);
    expect(answer.json()).toEqual({ status: 'error', errorType: 'internal', error: 'rollbackd failed to answer; its log says why' });
    expect(logged).toEqual([
      [{ err: expect.objectContaining({ message: 'SELECT planted-secret FROM /var/lib' }) as Error, route: 'GET /api/v1/models' }, 'a web request failed'],
    ]);
  });

  it.each(['/-/healthy', '/metrics', '/api/v1/models', '/api/v1/nothing'])('sends security headers with %s', async (url) => {
    const { headers } = await aServer().app.inject(url);

    expect(headers).toMatchObject({
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
      'cache-control': 'no-store',
    });
    expect(headers).not.toHaveProperty('access-control-allow-origin');
  });
});

describe('the admin API', () => {
  it.each([
    [
      'models/fraud-detector/pause',
      { reason: 'release', for: '2h', by: 'ann' },
      ['pause', 'fraud-detector', { reason: 'release', by: 'ann', forMs: 7_200_000 }],
    ],
    ['models/fraud-detector/pause', { reason: 'release' }, ['pause', 'fraud-detector', { reason: 'release', by: 'admin-api', forMs: null }]],
    ['models/fraud-detector/resume', { reason: 'done' }, ['resume', 'fraud-detector', { reason: 'done', by: 'admin-api' }]],
    ['models/team%2Ffraud/unpin', { reason: 'fixed' }, ['unpin', 'team/fraud', { reason: 'fixed', by: 'admin-api' }]],
    ['models/fraud-detector/rollback', { reason: 'bad scores', to: '6' }, ['rollback', 'fraud-detector', { reason: 'bad scores', by: 'admin-api', to: '6' }]],
    ['models/fraud-detector/rollback', { reason: 'bad scores' }, ['rollback', 'fraud-detector', { reason: 'bad scores', by: 'admin-api', to: null }]],
    ['rollbacks/rb_1/approve', { reason: 'go on' }, ['approve', 'rb_1', { reason: 'go on', by: 'admin-api' }]],
  ])('does %s', async (path, body, call) => {
    const { post, asked } = aServer();

    expect((await post(`/api/v1/${path}`, body)).statusCode).toBe(200);
    expect(asked).toEqual([call]);
  });

  it('passes on why an action cannot be done', async () => {
    const answer = await aServer().post('/api/v1/rollbacks/rb_01JDEXAMPLE/reject');

    expect([answer.statusCode, answer.json()]).toEqual([409, { status: 'error', errorType: 'conflict', error: 'rb_01JDEXAMPLE does not wait for approval' }]);
  });

  it.each([
    ['without a reason', {}, 'body.reason: '],
    ['with an empty reason', { reason: ' ' }, 'body.reason: '],
    ['with a key that is unknown', { reason: 'x', froce: true }, 'froce'],
    ['with a duration that is none', { reason: 'x', for: '2 hours' }, 'body.for: expected a duration; write 30m or 2h'],
    ['with something that is no object', [1], 'body: '],
  ])('does nothing %s', async (_name, body, words) => {
    const { post, asked } = aServer();

    const answer = await post('/api/v1/models/fraud-detector/pause', body);

    expect(answer.statusCode).toBe(400);
    expect(answer.json<{ error: string }>().error).toContain(words);
    expect(asked).toEqual([]);
  });

  it.each([
    ['from another machine', { remoteAddress: '10.1.2.3' }, 403, 'loopback only'],
    ['from another machine over IPv6', { remoteAddress: '::ffff:10.1.2.3' }, 403, 'loopback only'],
    ['from another machine that claims to be this one', { remoteAddress: '10.1.2.3', headers: { 'x-forwarded-for': '127.0.0.1' } }, 403, 'loopback only'],
    ['under a name that was made to resolve to loopback', { headers: { host: 'evil.example:9797' } }, 403, 'Host header'],
    ['under a name that only starts like loopback', { headers: { host: '127.0.0.1.evil.example' } }, 403, 'Host header'],
    ['by the script of another page', { headers: { origin: 'http://evil.example', host: 'localhost:9797' } }, 403, 'other web pages'],
    ['by a page on another port of this machine', { headers: { origin: 'http://localhost:3000', host: 'localhost:9797' } }, 403, 'other web pages'],
    ['by a sandboxed page', { headers: { origin: 'null' } }, 403, 'other web pages'],
    ['by a page that hides its origin', { headers: { 'sec-fetch-site': 'cross-site' } }, 403, 'other web pages'],
    ['by a form', { headers: { 'content-type': 'text/plain' } }, 415, 'application/json'],
    ['by a form with a type that looks like JSON', { headers: { 'content-type': 'application/jsonx' } }, 415, 'application/json'],
  ])('does nothing when asked %s', async (_name, options, status, words) => {
    const { post, asked } = aServer();

    const answer = await post('/api/v1/models/fraud-detector/rollback', { reason: 'x' }, options);

    expect(answer.statusCode).toBe(status);
    expect(answer.json<{ error: string }>().error).toContain(words);
    expect(asked).toEqual([]);
  });

  it.each(['127.0.0.1', '::1', '::ffff:127.0.0.1', '127.5.5.5'])('listens to %s, also with the same origin', async (remoteAddress) => {
    const answer = await aServer().post(
      '/api/v1/models/fraud-detector/resume',
      { reason: 'x' },
      { remoteAddress, headers: { host: 'localhost:9797', origin: 'http://localhost:9797', 'sec-fetch-site': 'same-origin' } },
    );

    expect(answer.statusCode).toBe(200);
  });

  it.each(['pause', 'resume', 'unpin', 'rollback'])('is off unless turned on: %s', async (action) => {
    const { post, asked } = aServer({ adminApi: { enabled: false } });

    const answer = await post(`/api/v1/models/fraud-detector/${action}`);

    expect(answer.statusCode).toBe(403);
    expect(answer.json<{ error: string }>().error).toContain('--web.enable-admin-api');
    expect(asked).toEqual([]);
  });

  it('reads no body that is too long, or that is no JSON', async () => {
    const { app, post } = aServer();

    expect((await post('/api/v1/models/fraud-detector/pause', { reason: 'x'.repeat(70_000) })).statusCode).toBe(413);
    const broken = await app.inject({
      method: 'POST',
      url: '/api/v1/models/fraud-detector/pause',
      payload: '{',
      headers: { 'content-type': 'application/json' },
    });
    expect([broken.statusCode, broken.json()]).toEqual([400, { status: 'error', errorType: 'bad_data', error: 'the body is no JSON' }]);
  });

  it('changes nothing by GET', async () => {
    const { app, asked } = aServer();

    expect((await app.inject('/api/v1/models/fraud-detector/rollback')).statusCode).toBe(404);
    expect(asked).toEqual([]);
  });
});

describe('given any request', () => {
  it.each(['GET', 'POST'] as const)('answers %s in JSON, as no page, and blames nobody but the caller', async (method) => {
    const { app } = aServer();
    const action = fc.constantFrom('pause', 'resume', 'unpin', 'rollback', 'retention', '<script>alert(1)</script>');
    const body = fc.oneof(
      anyText,
      anyJson.map((json) => JSON.stringify(json)),
    );
    await forAll(fc.tuple(anyText, action, body), 150, async ([name, what, payload]) => {
      const url = `/api/v1/models/${encodeURIComponent(name.toWellFormed())}${method === 'GET' ? `?${encodeURI(what)}` : `/${encodeURI(what)}`}`;
      const answer = await app.inject({ method, url, ...(method === 'GET' ? {} : { payload, headers: { 'content-type': 'application/json' } }) });

      expect([200, 400, 404, 409, 414]).toContain(answer.statusCode);
      expect(answer.headers).toMatchObject({ 'content-type': 'application/json; charset=utf-8', 'x-content-type-options': 'nosniff' });
      expect(['success', 'error']).toContain(answer.json<{ status: string }>().status);
    });
  });
});

describe('listening', () => {
  it('listens where it is told and ends what it began', async () => {
    const server = createWebServer({ ...({} as WebDeps), adminApi: { enabled: false } });

    const { host, port } = await server.listen('127.0.0.1:0');

    expect(host).toBe('127.0.0.1');
    expect(await (await fetch(`http://127.0.0.1:${port}/-/healthy`)).text()).toBe('rollbackd is healthy.\n');
    await server.close();
  });

  it.each([
    ['127.0.0.1:9797', { host: '127.0.0.1', port: 9797 }],
    [':9797', { host: '0.0.0.0', port: 9797 }],
    ['[::1]:80', { host: '::1', port: 80 }],
  ])('reads %s', (address, parsed) => {
    expect(parseListenAddress(address)).toEqual(parsed);
  });

  it.each(['9797', 'localhost', '127.0.0.1:99999', '::1:80', 'http://x:80'])('refuses %s', (address) => {
    expect(() => parseListenAddress(address)).toThrow(`found "${address}", expected host:port`);
  });
});
