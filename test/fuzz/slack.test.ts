import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseRetryAfter } from '../../src/adapters/http/retry-after.ts';
import { slack } from '../../src/adapters/notify/slack/index.ts';
import { slackSchema } from '../../src/adapters/notify/slack/schema.ts';
import type { Sender } from '../../src/domain/ports.ts';
import { aMessage } from '../contract/journal-builders.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { anyJson, anyText, forAll } from '../support/fuzz.ts';
import { answerInProcess, type InProcessAnswer } from '../support/in-process-http.ts';
import { recordingLog } from '../support/recording-log.ts';

const ever = new AbortController().signal;
/** Set by each case. */
let answer: InProcessAnswer = { body: '' };
const owned = new AsyncDisposableStack();
beforeAll(() => void owned.use(answerInProcess(() => answer)));
afterAll(async () => await owned.disposeAsync());

describe('slack, given any answer', () => {
  const message = aMessage({ id: 'n/1', receiver: 'oncall', kind: 'notice', content: { severity: 'info', title: 'hello', text: 'world', externalLabels: {} } });

  it('says that it was sent only when Slack said so', async () => {
    const sender: Sender = await slack.create(slackSchema.parse({ api_url: 'http://slack.test/services/T/B/secret' }), {
      clock: new FakeClock(),
      log: recordingLog(),
      receiver: 'oncall',
      index: 0,
    });
    const anyAnswer = fc.record({
      status: fc.constantFrom(200, 201, 204, 301, 400, 403, 404, 410, 413, 429, 500, 502, 503),
      body: fc.oneof(
        anyText,
        anyJson.map((json) => JSON.stringify(json)),
        fc.constantFrom('ok', 'no_service', '{"ok":false,"error":"x"}', '<html>'),
      ),
      headers: fc.record({ 'retry-after': fc.oneof(anyText, fc.constantFrom('0', '30', '9'.repeat(400), '1e9', 'Sun, 22 Nov 9999 12:00:00 GMT')) }),
    });
    await forAll(anyAnswer, 2_000, async (given) => {
      answer = given;
      const result = await sender.send(message, ever);

      if (result.kind === 'sent' && given.status >= 300) throw new Error(`${given.status} was taken for sent`);
      if (result.kind === 'retry' && result.retryAfterMs !== null && !(result.retryAfterMs >= 0 && result.retryAfterMs <= 3_600_000))
        throw new Error(`tried again after ${result.retryAfterMs} ms`);
      expect(result.detail).not.toContain('secret');
    });
  });
});

describe('Retry-After', () => {
  it('is between nothing and an hour, or none', async () => {
    await forAll(fc.oneof(anyText, fc.integer().map(String), fc.double().map(String), fc.date().map(String)), 2_000, (text) => {
      const ms = parseRetryAfter(text, 0);
      if (ms !== null && !(ms >= 0 && ms <= 3_600_000)) throw new Error(`${text} is ${ms}`);
    });
  });
});
