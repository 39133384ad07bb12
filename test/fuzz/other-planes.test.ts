import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { mlflow } from '../../src/adapters/control-planes/mlflow/index.ts';
import { mlflowConfig } from '../../src/adapters/control-planes/mlflow/schema.ts';
import { webhook } from '../../src/adapters/control-planes/webhook/index.ts';
import { webhookConfig } from '../../src/adapters/control-planes/webhook/schema.ts';
import { parseRetryAfter } from '../../src/adapters/http/retry-after.ts';
import { slack } from '../../src/adapters/notify/slack/index.ts';
import { slackSchema } from '../../src/adapters/notify/slack/schema.ts';
import type { ControlPlane, PlaneTarget, Sender } from '../../src/domain/ports.ts';
import { aMessage } from '../contract/journal-builders.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { anyDamages, anyJson, anyText, damaged, forAll } from '../support/fuzz.ts';
import { answerInProcess, type InProcessAnswer } from '../support/in-process-http.ts';
import { aPlaneDeps } from '../support/plane-deps.ts';
import { recordingLog } from '../support/recording-log.ts';
import { expectSound, wasRefused } from './sound.ts';

const ever = new AbortController().signal;
/** Set by each case. */
let answer: (path: string) => InProcessAnswer = () => ({ body: '' });
const owned = new AsyncDisposableStack();
beforeAll(() => void owned.use(answerInProcess(({ url }) => answer(url.pathname))));
afterAll(async () => await owned.disposeAsync());

async function expectSoundOrRefused(plane: ControlPlane, target: PlaneTarget, said: unknown): Promise<void> {
  const observation = await wasRefused(plane.observe(target, { thorough: true }, ever));
  if (observation !== null) expectSound(observation, { plane, target, said });
}

describe('mlflow with alias_is_traffic, given any answers', () => {
  const versionOf = (version: string) => ({ name: 'fraud', version, creation_timestamp: 1_790_000_000_000, status: 'READY', run_id: `r${version}`, tags: [] });
  const good: Readonly<Record<string, unknown>> = {
    'registered-models/get': { registered_model: { name: 'fraud', aliases: [{ alias: 'champion', version: '7' }] } },
    'model-versions/search': { model_versions: [versionOf('7'), versionOf('6')] },
    'model-versions/get': { model_version: versionOf('7') },
  };
  const target: PlaneTarget = { model: 'fraud', plane: mlflow.planeKeys.parse({}) as Record<string, unknown> };
  const planeOf = async () => await mlflow.create(mlflowConfig.parse({ url: 'http://mlflow.test:5000', alias_is_traffic: true }), aPlaneDeps());
  const give = (answers: Readonly<Record<string, unknown>>): void => {
    answer = (path) => ({ body: JSON.stringify(answers[path.replace('/api/2.0/mlflow/', '')] ?? {}) });
  };

  it('reads good ones', async () => {
    const plane = await planeOf();
    give(good);

    expect((await plane.observe(target, { thorough: true }, ever)).serving).toEqual([{ version: '7', share: 1 }]);
    await plane.close();
  });

  it('never makes up a version', async () => {
    const plane = await planeOf();
    await forAll(anyDamages, 150, async (damages) => {
      const given = damaged(good, damages);
      give(given);
      await expectSoundOrRefused(plane, target, given);
    });
    await plane.close();
  });

  it.each([0, -1, 1.5, 1e21, '', true, null, ['7']])('takes %j for no version', async (version) => {
    const plane = await planeOf();
    give({ ...good, 'registered-models/get': { registered_model: { name: 'fraud', aliases: [{ alias: 'champion', version }] } } });

    await expect(plane.observe(target, { thorough: false }, ever)).rejects.toMatchObject({ name: 'PlaneError', class: 'permanent' });
    await plane.close();
  });
});

describe('webhook (and exec, which reads the same), given any answers', () => {
  const good = {
    serving: [
      { version: '7', share: 0.9 },
      { version: '6', share: 0.1 },
    ],
    versions: [
      { version: '6', state: 'available' },
      { version: '7', state: 'available', detail: 'fine' },
    ],
    generation: '12',
    durable: '7',
    routes: { stable: '6' },
    refusals: [],
  };
  const target: PlaneTarget = { model: 'fraud', plane: {} };
  const planeOf = async () =>
    await webhook.create(
      webhookConfig.parse({ observe: { url: 'http://hook.test/models' }, switch: { url: 'http://hook.test/switch' }, signing_secret: 'planted' }),
      aPlaneDeps(),
    );

  it('never makes up a version or a share', async () => {
    const plane = await planeOf();
    await forAll(anyDamages, 200, async (damages) => {
      const given = damaged(good, damages);
      answer = () => ({ body: JSON.stringify(given) });
      await expectSoundOrRefused(plane, target, given);
    });
    await forAll(anyJson, 100, async (given) => {
      answer = () => ({ body: JSON.stringify(given) });
      await expectSoundOrRefused(plane, target, given);
    });
    await plane.close();
  });

  it('reads nothing out of an answer that is no JSON, whatever its status', async () => {
    const plane = await planeOf();
    await forAll(fc.tuple(anyText, fc.constantFrom(200, 204, 301, 302, 400, 401, 403, 404, 429, 500, 503, 599)), 100, async ([body, status]) => {
      answer = () => ({ body: `x${body}`, status });
      expect(await wasRefused(plane.observe(target, { thorough: true }, ever))).toBeNull();
    });
    await plane.close();
  });
});

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
    await forAll(anyAnswer, 300, async (given) => {
      answer = () => given;
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
    await forAll(fc.oneof(anyText, fc.integer().map(String), fc.double().map(String), fc.date().map(String)), 1_000, (text) => {
      const ms = parseRetryAfter(text, 0);
      if (ms !== null && !(ms >= 0 && ms <= 3_600_000)) throw new Error(`${text} is ${ms}`);
    });
  });
});
