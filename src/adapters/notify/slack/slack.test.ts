import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { inspect } from 'node:util';
import nock from 'nock';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { aMessage } from '../../../../test/contract/journal-builders.ts';
import { FakeClock } from '../../../../test/support/fake-clock.ts';
import { noNetwork } from '../../../../test/support/no-network.ts';
import type { Log, SendResult } from '../../../domain/ports.ts';
import { openMemoryJournal } from '../../journal/index.ts';
import { createOutbox } from '../outbox.ts';
import type { ClosableSender } from '../receiver-kind.ts';
import { slack } from './index.ts';
import { slackSchema } from './schema.ts';

const secret = 'T000/B000/pLaNtEdSeCrEt';
const host = 'https://hooks.slack.example';
const api_url = `${host}/services/${secret}`;
noNetwork();

const notice = aMessage({
  id: 'n/oncall/0',
  receiver: 'oncall',
  kind: 'notice',
  content: { severity: 'info', title: 'hello', text: 'world', externalLabels: {} },
});
const plain = { text: 'info: hello' };
const isBlocks = (body: { blocks?: unknown }): boolean => Array.isArray(body.blocks);
const isPlain = (body: object): boolean => JSON.stringify(body) === JSON.stringify(plain);

let clock: FakeClock;
let folder: string;
let logged: unknown[];
let senders: ClosableSender[];

beforeEach(() => {
  clock = new FakeClock();
  folder = mkdtempSync(path.join(os.tmpdir(), 'rollbackd-slack-'));
  logged = [];
  senders = [];
});
afterEach(() => {
  for (const sender of senders) sender.close();
  rmSync(folder, { recursive: true });
});

const write = (fields: unknown, message: string): number => logged.push(fields, message);
const log: Log = { debug: write, info: write, warn: write, error: write, child: () => log };

async function aSender(config: unknown = { api_url }): Promise<ClosableSender> {
  const sender = await slack.create(slackSchema.parse(config), { clock, log, receiver: 'oncall', index: 0 });
  senders.push(sender);
  return sender;
}

async function send(config?: unknown, message = notice, signal = new AbortController().signal): Promise<SendResult> {
  return await (await aSender(config)).send(message, signal);
}

const noSecret = (what: unknown): void => {
  expect(inspect(what, { depth: 20 }) + JSON.stringify(what)).not.toMatch(/pLaNtEdSeCrEt|services\/T000/);
};

describe('slackSchema', () => {
  it.each([
    ['neither address', {}, 'expected api_url or api_url_file'],
    ['both addresses', { api_url, api_url_file: '/x' }, 'expected only one of api_url and api_url_file'],
    ['another protocol', { api_url: 'ftp://x/y' }, 'expected a URL; write http://host:port'],
    ['an unknown key', { api_url, channel: '#x' }, 'Unrecognized key'],
  ])('refuses %s', (_, config, words) => {
    expect(
      slackSchema
        .safeParse(config)
        .error?.issues.map(({ message }) => message)
        .join(),
    ).toContain(words);
  });

  it('tells resolved alerts unless told not to', () => {
    expect(slackSchema.parse({ api_url }).send_resolved).toBe(true);
  });
});

describe('SlackSender', () => {
  it('posts text and blocks as JSON', async () => {
    nock(host, { reqheaders: { 'content-type': 'application/json; charset=utf-8' } })
      .post(`/services/${secret}`, (body) => isBlocks(body) && body.text === plain.text)
      .reply(200, 'ok');

    expect(await send()).toEqual({ kind: 'sent', detail: 'ok' });
  });

  it.each<[number, string, Record<string, string>, Partial<SendResult>]>([
    [200, 'ok\n', {}, { kind: 'sent' }],
    [200, '', {}, { kind: 'sent' }],
    [200, '{"ok":true}', {}, { kind: 'sent' }],
    [200, '{"ok":false,"error":"no_team"}', {}, { kind: 'permanent', reason: 'clientError', detail: 'answered 200 no_team' }],
    [200, 'no_service', {}, { kind: 'permanent', reason: 'clientError', detail: 'answered 200 no_service' }],
    [200, '<html>log in</html>', {}, { kind: 'retry', reason: 'other' }],
    [401, '', {}, { kind: 'permanent', reason: 'authError' }],
    [403, 'action_prohibited', {}, { kind: 'permanent', reason: 'authError', detail: 'answered 403 action_prohibited' }],
    [404, 'channel_not_found', {}, { kind: 'permanent', reason: 'clientError', detail: 'answered 404 channel_not_found' }],
    [408, '', {}, { kind: 'retry', reason: 'clientError', retryAfterMs: null }],
    [410, 'channel_is_archived', {}, { kind: 'permanent', reason: 'clientError', detail: 'answered 410 channel_is_archived' }],
    [418, 'free text that quotes us', {}, { kind: 'permanent', reason: 'clientError', detail: 'answered 418 without a code' }],
    [429, 'rate_limited', { 'Retry-After': '30' }, { kind: 'retry', reason: 'rateLimited', retryAfterMs: 30_000 }],
    [429, 'rate_limited', { 'Retry-After': 'Sun, 22 Nov 2026 12:00:07 GMT' }, { kind: 'retry', reason: 'rateLimited', retryAfterMs: 7000 }],
    [429, '', {}, { kind: 'retry', reason: 'rateLimited', retryAfterMs: 1000 }],
    [500, 'rollup_error', {}, { kind: 'retry', reason: 'serverError', retryAfterMs: null, detail: 'answered 500 rollup_error' }],
    [503, '', { 'Retry-After': '5' }, { kind: 'retry', reason: 'serverError', retryAfterMs: 5000 }],
  ])('takes %i %j as it is meant', async (status, body, headers, expected) => {
    nock(host).post(`/services/${secret}`).reply(status, body, headers);

    const result = await send();

    expect(result).toMatchObject(expected);
    noSecret(result);
  });

  it('sends the text alone when the blocks are refused', async () => {
    nock(host).post(`/services/${secret}`, isBlocks).reply(400, 'invalid_blocks');
    nock(host).post(`/services/${secret}`, isPlain).reply(200, 'ok');

    expect(await send()).toEqual({ kind: 'sent', detail: 'ok (as plain text; blocks were refused: invalid_blocks)' });
  });

  it('gives up with the code when the text is refused too, and waits when that is rate limited', async () => {
    nock(host).post(`/services/${secret}`).twice().reply(400, 'invalid_payload');
    expect(await send()).toMatchObject({
      kind: 'permanent',
      reason: 'clientError',
      detail: 'answered 400 invalid_payload (as plain text; blocks were refused: invalid_payload)',
    });

    nock(host).post(`/services/${secret}`, isBlocks).reply(400, 'invalid_blocks');
    nock(host).post(`/services/${secret}`, isPlain).reply(429, '', { 'Retry-After': '3' });
    expect(await send()).toMatchObject({ kind: 'retry', retryAfterMs: 3000 });
  });

  it.each(['ECONNREFUSED', 'ECONNRESET', 'ENOTFOUND'])('tries again after %s, naming the host only', async (code) => {
    nock(host)
      .post(`/services/${secret}`)
      .replyWithError(Object.assign(new Error(`connect ${code} ${api_url}`), { code }));

    const result = await send();

    expect(result).toMatchObject({ kind: 'retry', retryAfterMs: null, reason: 'other' });
    expect(result.detail).toContain('hooks.slack.example');
    noSecret(result);
  });

  it('tries again after no answer within the time limit', async () => {
    nock(host).post(`/services/${secret}`).delay(60_000).reply(200, 'ok');
    const result = send();
    await clock.advance(0);
    await clock.advance(10_000);

    expect(await result).toMatchObject({ kind: 'retry', reason: 'contextDeadlineExceeded' });
  });

  it('obeys an abort', async () => {
    nock(host).post(`/services/${secret}`).delay(60_000).reply(200, 'ok');
    const controller = new AbortController();
    const result = send(undefined, notice, controller.signal);
    await clock.advance(0);
    controller.abort();

    expect(await result).toMatchObject({ kind: 'retry', reason: 'contextCanceled' });
  });

  it('reads api_url_file at each message, trimmed', async () => {
    const file = path.join(folder, 'url');
    const sender = await aSender({ api_url_file: file });
    const signal = new AbortController().signal;
    expect(await sender.send(notice, signal)).toMatchObject({ kind: 'retry', detail: 'api_url_file cannot be read, or holds no http or https address' });

    writeFileSync(file, ` ${api_url}\n`);
    nock(host).post(`/services/${secret}`).reply(200, 'ok');
    expect(await sender.send(notice, signal)).toMatchObject({ kind: 'sent' });

    writeFileSync(file, `${host}/services/rotated`);
    nock(host).post('/services/rotated').reply(200, 'ok');
    expect(await sender.send(notice, signal)).toMatchObject({ kind: 'sent' });
  });

  it('keeps resolved alerts to itself when send_resolved is false', async () => {
    const alert = aMessage({ kind: 'alert', content: { status: 'resolved', alerts: [], externalLabels: {} } });

    expect(await send({ api_url, send_resolved: false }, alert)).toEqual({ kind: 'sent', detail: 'not sent: send_resolved is false' });
  });

  it('drops what it cannot read, instead of failing', async () => {
    expect(await send(undefined, aMessage({ kind: 'alert', content: { nonsense: true } }))).toMatchObject({ kind: 'permanent', reason: 'other' });
  });

  it('names its lane without the address', async () => {
    const sender = await aSender();

    expect(sender.lane).toMatch(/^slack\/[0-9a-f]{16}$/);
    noSecret(sender.lane);
  });
});

it('the address stands in no log line, journal event or error, whatever the answers', async () => {
  const journal = await openMemoryJournal({ clock });
  const outbox = createOutbox({ journal, clock, log, senders: new Map([['oncall', [await aSender()]]]), random: () => 0 });
  const controller = new AbortController();
  const done = outbox.run(controller.signal);
  for (const [status, body] of [
    [500, api_url],
    [429, secret],
    [403, `no ${api_url}`],
  ] as const)
    nock(host).post(`/services/${secret}`).reply(status, body);
  nock(host)
    .post(`/services/${secret}`)
    .replyWithError(Object.assign(new Error(`getaddrinfo ${api_url}`), { code: 'ENOTFOUND' }));
  nock(host).post(`/services/${secret}`).reply(200, 'ok');
  await outbox.enqueue({ id: 'a', receiver: 'oncall', kind: 'notice', content: notice.content });
  await outbox.enqueue({ id: 'b', receiver: 'oncall', kind: 'notice', content: notice.content });
  for (let turn = 0; turn < 100 && outbox.waiting > 0; turn += 1) await clock.advance(1000);
  controller.abort();
  await done;

  expect(logged.length).toBeGreaterThan(5);
  noSecret([logged, await journal.events(0, 100)]);
  await journal.close();
});
