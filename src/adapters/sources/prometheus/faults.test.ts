import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { FakeClock } from '../../../../test/support/fake-clock.ts';
import type { Answer } from '../../../domain/measurement.ts';
import type { Source } from '../../../domain/ports.ts';
import { createPrometheusSource } from './index.ts';
import { prometheusSchema } from './schema.ts';

const atMs = Date.UTC(2026, 10, 22, 12);
const good = JSON.stringify({ status: 'success', data: { resultType: 'vector', result: [{ metric: { version: '1' }, value: [atMs / 1000, '5'] }] } });
const secret = 's3cr3t-planted';
const log = { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn(), child: () => log };

let server: Server;
let answerWith: (request: IncomingMessage, response: ServerResponse) => void;
let folder: string;
let source: Source;
let codes: string[];

beforeEach(async () => {
  answerWith = (_request, response) => response.end(good);
  server = createServer((request, response) => {
    request.resume();
    answerWith(request, response);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  folder = mkdtempSync(join(tmpdir(), 'rollbackd-faults-'));
  codes = [];
  source = aSource({});
});
afterEach(async () => {
  await source.close();
  server.closeAllConnections();
  server.close();
  rmSync(folder, { recursive: true });
});

function aSource(config: object, timeout = '300ms'): Source {
  const { port } = server.address() as AddressInfo;
  return createPrometheusSource(prometheusSchema.parse({ url: `http://127.0.0.1:${port}`, timeout, ...config }), {
    clock: new FakeClock(atMs),
    log,
    onRequest: (_method, code) => codes.push(code),
  });
}

async function ask(signal = new AbortController().signal): Promise<Answer> {
  const answer = (
    await source.ask([{ id: 'q', kind: 'increase', metric: 'x_total', matchers: [], windowMs: 60_000, versionLabel: 'version' }], atMs, signal)
  ).get('q');
  if (answer === undefined) throw new Error('no answer');
  return answer;
}

const healthy = { kind: 'increase', byVersion: new Map([['1', 5]]) };

/** Faults of a server or of the way to it; each must give an error, in time, without a secret. */
const faults: readonly [name: string, reason: RegExp, act: (request: IncomingMessage, response: ServerResponse) => void][] = [
  ['a 503', /answered 503$/, (_request, response) => response.writeHead(503).end(`backend of ${secret} is down`)],
  ['a 401', /answered 401$/, (_request, response) => response.writeHead(401, { 'WWW-Authenticate': 'Basic' }).end(secret)],
  ['a hang before the headers', /no whole answer within 300 ms$/, () => undefined],
  ['a hang in the body', /no whole answer within 300 ms$/, (_request, response) => response.writeHead(200).write(good.slice(0, 40))],
  [
    'a body that drips',
    /no whole answer within 300 ms$/,
    (_request, response) => {
      const timer = setInterval(() => response.write(' '), 20);
      response.on('close', () => clearInterval(timer));
      response.writeHead(200);
    },
  ],
  ['cut JSON', /no whole JSON \(cut short\?\)$/, (_request, response) => response.end(good.slice(0, -20))],
  [
    'a body shorter than announced',
    /answer cut short$/,
    (_request, response) => {
      response.writeHead(200, { 'Content-Length': good.length + 10 });
      response.write(good);
      setTimeout(() => response.destroy(), 20);
    },
  ],
  ['a reset before the headers', /connection reset \(ECONNRESET\)$/, (request) => request.socket.destroy()],
  ['no HTTP at all', /Parse Error.*\(HPE_INVALID_CONSTANT\)$/, (request) => request.socket.end('hello, this is not HTTP\r\n\r\n')],
  ['a loop of redirects', /more than 10 redirects$/, (_request, response) => response.writeHead(307, { Location: '/' }).end()],
  [
    'a redirect to a login page',
    /redirect that would turn POST into GET; give the final address$/,
    (_request, response) => response.writeHead(302, { Location: `/login?token=${secret}` }).end(),
  ],
  [
    'a broken gzip',
    /incorrect header check|unknown compression method|invalid/i,
    (_request, response) => response.writeHead(200, { 'Content-Encoding': 'gzip' }).end('no gzip'),
  ],
  ['an empty body', /the answer is no JSON/, (_request, response) => response.end()],
  ['null', /not of the shape/, (_request, response) => response.end('null')],
];

describe('the prometheus source and a server at fault', () => {
  it.each(faults)('answers %s with an error, and recovers', async (_name, reason, act) => {
    const startedMs = performance.now();
    answerWith = act;

    expect(await ask()).toEqual({ kind: 'error', reason: expect.stringMatching(reason) });
    expect(performance.now() - startedMs).toBeLessThan(5000);
    expect(source.up()).toBe(false);

    answerWith = (_request, response) => response.end(good);
    expect(await ask()).toEqual(healthy);
    expect(source.up()).toBe(true);
    expect(codes).toHaveLength(2);
  });

  it('answers a server that is gone with an error', async () => {
    server.close();
    await once(server, 'close');

    expect(await ask()).toEqual({ kind: 'error', reason: expect.stringMatching(/connection refused \(ECONNREFUSED\)$/) });
    server = createServer();
    await once(server.listen(0, '127.0.0.1'), 'listening');
  });

  it('stops reading a body that has no end', async () => {
    source = aSource({}, '20s');
    let sent = 0;
    answerWith = (_request, response) => {
      const chunk = Buffer.alloc(4 * 2 ** 20, 32);
      const more = (): void => {
        while (!response.destroyed && response.write(chunk)) sent += chunk.length;
        if (!response.destroyed) response.once('drain', more);
      };
      more();
    };

    expect(await ask()).toEqual({ kind: 'error', reason: expect.stringMatching(/answer over the size limit$/) });
    expect(sent).toBeLessThan(300 * 2 ** 20);
  });

  it('obeys an abort at once', async () => {
    source = aSource({}, '30s');
    answerWith = () => undefined;
    const controller = new AbortController();
    const startedMs = performance.now();
    const answer = ask(controller.signal);
    await sleep(30);

    controller.abort();

    expect(await answer).toEqual({ kind: 'error', reason: expect.stringMatching(/given up by the caller$/) });
    expect(performance.now() - startedMs).toBeLessThan(2000);
  });

  it('repeats a query over a kept-alive connection that the server had closed', async () => {
    expect(await ask()).toEqual(healthy);
    let resets = 0;
    answerWith = (request, response) => {
      if (resets > 0) return response.end(good);
      resets += 1;
      return request.socket.resetAndDestroy();
    };

    expect(await ask()).toEqual(healthy);
    expect(resets).toBe(1);
  });

  it('takes a rotated bearer token at the next query, and says 401 in between', async () => {
    const file = join(folder, 'token');
    writeFileSync(file, 'one\n');
    source = aSource({ http_config: { authorization: { credentials_file: file } } });
    let accepted = 'Bearer one';
    answerWith = (request, response) => response.writeHead(request.headers.authorization === accepted ? 200 : 401).end(good);

    expect(await ask()).toEqual(healthy);
    accepted = 'Bearer two';
    expect(await ask()).toMatchObject({ kind: 'error' });
    writeFileSync(file, 'two\n');
    expect(await ask()).toEqual(healthy);
  });

  it('never shows the secrets of its http_config, whatever fails', async () => {
    const file = join(folder, 'password');
    writeFileSync(file, `${secret}\n`);
    const base64 = Buffer.from(`me:${secret}`).toString('base64');
    const configs = [
      { basic_auth: { username: 'me', password_file: file }, http_headers: { 'X-Key': { secrets: [secret], files: [file] } } },
      { authorization: { credentials: secret } },
      { authorization: { credentials_file: file } },
      { authorization: { credentials: `${secret}\u0000broken` } },
      { http_headers: { 'X-Key': { secrets: [`${secret}\nbroken`] } } },
    ];
    for (const http_config of configs) {
      source = aSource({ http_config }, '100ms');
      for (const [name, , act] of faults) {
        answerWith = act;
        const answer = await ask();
        expect(answer.kind, name).toBe('error');
        for (const shown of [inspect(answer, { depth: 9 }), inspect(source, { depth: 3 }), JSON.stringify(source)]) {
          expect(shown, name).not.toContain(secret);
          expect(shown, name).not.toContain(base64);
        }
      }
      await source.close();
    }
  }, 60_000);
});
