import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import nock from 'nock';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { noNetwork } from '../../../test/support/no-network.ts';
import { createHttpClient } from './client.ts';
import { HttpError } from './http-error.ts';

const host = 'http://prom.test:9090';
const secret = 's3cr3t-planted';

noNetwork();

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'rollbackd-http-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

function aFile(name: string, content: string): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

async function failureOf(call: Promise<unknown>): Promise<HttpError> {
  const error: unknown = await call.then(
    () => new Error('did not fail'),
    (thrown: unknown) => thrown,
  );
  if (error instanceof HttpError) return error;
  throw new Error('not an HttpError', { cause: error });
}

describe('createHttpClient', () => {
  it('sends what it is given and answers status, headers and body as text', async () => {
    nock(host, { reqheaders: { 'content-type': 'application/x-www-form-urlencoded', 'user-agent': 'rollbackd' } })
      .post('/api/v1/query', 'query=up')
      .reply(200, '{"a":1}', { 'X-Thing': 'one' });

    const answer = await createHttpClient({}).request({
      method: 'POST',
      url: `${host}/api/v1/query`,
      headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
      body: 'query=up',
    });

    expect(answer).toMatchObject({ status: 200, body: '{"a":1}', headers: { 'x-thing': 'one' } });
    expect(answer.durationMs).toBeGreaterThanOrEqual(0);
  });

  it('takes every status for an answer unless told otherwise', async () => {
    nock(host).get('/').reply(503, 'busy').get('/').reply(429, 'slow down', { 'Retry-After': '7' });
    const client = createHttpClient({});

    expect(await client.request({ method: 'GET', url: host })).toMatchObject({ status: 503, body: 'busy' });
    expect(await failureOf(client.request({ method: 'GET', url: host, expectStatus: (status) => status < 300 }))).toMatchObject({
      name: 'HttpError',
      message: 'GET prom.test:9090: answered 429',
      method: 'GET',
      host: 'prom.test:9090',
      status: 429,
      code: 'STATUS',
      retryAfterMs: 7000,
    });
  });

  it('reads credentials files at each request, trimmed', async () => {
    const file = aFile('token', 'one\n');
    const client = createHttpClient({ authorization: { credentials_file: file } });
    nock(host, { reqheaders: { authorization: 'Bearer one' } })
      .get('/')
      .reply(200);
    nock(host, { reqheaders: { authorization: 'Bearer two' } })
      .get('/')
      .reply(200);

    await client.request({ method: 'GET', url: host });
    writeFileSync(file, ' two \n');
    await client.request({ method: 'GET', url: host });
  });

  it('sends basic_auth from files, headers of all three sorts, and another authorization type', async () => {
    const password = aFile('password', `${secret}\n`);
    const header = aFile('header', 'from-file\n');
    nock(host, { reqheaders: { authorization: `Basic ${Buffer.from(`me:${secret}`).toString('base64')}`, 'x-scope': 'a, b, from-file' } })
      .get('/')
      .reply(200);
    nock(host, { reqheaders: { authorization: 'Token t' } })
      .get('/')
      .reply(200);

    await createHttpClient({
      basic_auth: { username: 'me', password_file: password },
      http_headers: { 'X-Scope': { values: ['a'], secrets: ['b'], files: [header] } },
    }).request({ method: 'GET', url: host });
    await createHttpClient({ authorization: { type: 'Token', credentials: 't' } }).request({ method: 'GET', url: host });
  });

  it('takes userinfo of the URL for basic auth and keeps it out of the address', async () => {
    nock(host).get('/').basicAuth({ user: 'me', pass: 'p@ss' }).reply(200);

    await createHttpClient({}).request({ method: 'GET', url: 'http://me:p%40ss@prom.test:9090/' });
  });

  it('ignores proxies of the environment', async () => {
    process.env['HTTP_PROXY'] = 'http://proxy.test:3128';
    try {
      nock(host).get('/').reply(200);

      expect((await createHttpClient({}).request({ method: 'GET', url: host })).status).toBe(200);
    } finally {
      delete process.env['HTTP_PROXY'];
    }
  });

  it('follows redirects, with credentials to the same origin only', async () => {
    nock(host, { reqheaders: { authorization: `Bearer ${secret}` } })
      .get('/')
      .reply(302, '', { Location: '/there' })
      .get('/there')
      .reply(307, '', { Location: 'http://other.test/x' });
    nock('http://other.test', { badheaders: ['authorization', 'x-key', 'cookie'] })
      .get('/x')
      .reply(200, 'done');

    const client = createHttpClient({ authorization: { credentials: secret }, http_headers: { 'X-Key': { secrets: [secret] } } });

    expect(await client.request({ method: 'GET', url: host, headers: { Cookie: 'c=1' } })).toMatchObject({ status: 200, body: 'done' });
  });

  it('keeps method and body over 307, refuses to make a POST a GET, and answers the redirect when told not to follow', async () => {
    nock(host)
      .post('/a', 'x')
      .reply(307, '', { Location: '/b' })
      .post('/b', 'x')
      .reply(200)
      .post('/c')
      .reply(302, '', { Location: '/login' })
      .get('/d')
      .reply(301, '', { Location: '/e' });
    const client = createHttpClient({});

    expect((await client.request({ method: 'POST', url: `${host}/a`, body: 'x' })).status).toBe(200);
    expect((await failureOf(client.request({ method: 'POST', url: `${host}/c`, body: 'x' }))).message).toBe(
      'POST prom.test:9090: answered 302, a redirect that would turn POST into GET; give the final address',
    );
    expect((await createHttpClient({ follow_redirects: false }).request({ method: 'GET', url: `${host}/d` })).status).toBe(301);
  });

  it('gives up on a loop of redirects', async () => {
    nock(host).get('/').times(10).reply(302, '', { Location: '/' });

    expect(await failureOf(createHttpClient({}).request({ method: 'GET', url: host }))).toMatchObject({ code: 'REDIRECT', status: 302 });
  });

  it('refuses an answer over its size', async () => {
    nock(host).get('/').reply(200, 'x'.repeat(2000));

    expect(await failureOf(createHttpClient({}).request({ method: 'GET', url: host, maxBytes: 1000 }))).toMatchObject({
      code: 'TOO_LARGE',
      message: 'GET prom.test:9090: answer over the size limit',
    });
  });

  it('refuses what is no http URL, without showing it', async () => {
    expect((await failureOf(createHttpClient({}).request({ method: 'GET', url: `file:///${secret}` }))).message).toBe(
      'GET : the address is no http or https URL',
    );
  });

  it('says which file cannot be read', async () => {
    const file = join(folder, 'none');

    expect(await failureOf(createHttpClient({ basic_auth: { username: 'me', password_file: file } }).request({ method: 'GET', url: host }))).toMatchObject({
      code: 'FILE',
      message: `GET prom.test:9090: password_file: cannot read ${file} (ENOENT)`,
    });
  });

  it('obeys an abort before and during the call', async () => {
    nock(host).get('/').delay(5000).reply(200);
    const client = createHttpClient({});
    const controller = new AbortController();
    const call = failureOf(client.request({ method: 'GET', url: host, signal: controller.signal }));
    await new Promise((resolve) => setTimeout(resolve, 20));

    controller.abort();

    expect(await call).toMatchObject({ code: 'ABORTED' });
    expect(await failureOf(client.request({ method: 'GET', url: host, signal: controller.signal }))).toMatchObject({ code: 'ABORTED' });
  });

  it('lets an injected timer end the call', async () => {
    nock(host).get('/').delay(5000).reply(200);
    const client = createHttpClient(
      {},
      {
        timeoutMs: 12_345,
        sleep: async (durationMs) => {
          expect(durationMs).toBe(12_345);
          await new Promise((resolve) => setTimeout(resolve, 20));
        },
      },
    );

    expect(await failureOf(client.request({ method: 'GET', url: host }))).toMatchObject({
      code: 'TIMEOUT',
      message: 'GET prom.test:9090: no whole answer within 12345 ms',
    });
  });

  it('never shows a secret in a failure', async () => {
    const client = createHttpClient({ authorization: { credentials: secret }, http_headers: { 'X-Key': { secrets: [secret] } } });
    const url = `http://me:${secret}@prom.test:9090/services/${secret}?token=${secret}`;
    const mock = (): nock.Interceptor => nock(host).get(`/services/${secret}`).query(true);
    mock().replyWithError(`bad token ${secret}`);
    mock().replyWithError(Object.assign(new Error(`connect to ${secret}`), { code: 'ECONNRESET' }));
    mock().reply(401, `no such token: ${secret}`);
    mock().reply(302, '', { Location: `ftp://${secret}` });
    mock().reply(200, secret.repeat(100));

    const failures = [
      await failureOf(client.request({ method: 'GET', url })),
      await failureOf(client.request({ method: 'GET', url })),
      await failureOf(client.request({ method: 'GET', url, expectStatus: (status) => status === 200 })),
      await failureOf(client.request({ method: 'GET', url })),
      await failureOf(client.request({ method: 'GET', url, maxBytes: 100 })),
      await failureOf(client.request({ method: 'GET', url: `${secret}://x` })),
    ];

    const base64 = Buffer.from(`me:${secret}`).toString('base64');
    for (const failure of failures) {
      for (const shown of [
        failure.message,
        JSON.stringify(failure),
        inspect(failure, { depth: 20, showHidden: true }),
        String(failure.stack),
        JSON.stringify(Object.assign({}, failure)),
        inspect(failure.cause, { depth: 20 }),
      ]) {
        expect(shown).not.toContain(secret);
        expect(shown).not.toContain(base64);
      }
    }
    expect(client.redact(`the server says: bad token ${secret}`)).toBe('the server says: bad token <secret>');
  });
});
