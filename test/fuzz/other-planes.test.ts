import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { exec } from '../../src/adapters/control-planes/exec/index.ts';
import { execConfig } from '../../src/adapters/control-planes/exec/schema.ts';
import { mlflow } from '../../src/adapters/control-planes/mlflow/index.ts';
import { mlflowConfig } from '../../src/adapters/control-planes/mlflow/schema.ts';
import { webhook } from '../../src/adapters/control-planes/webhook/index.ts';
import { webhookConfig } from '../../src/adapters/control-planes/webhook/schema.ts';
import type * as RunProcess from '../../src/adapters/process/run-process.ts';
import type { ControlPlane, PlaneTarget } from '../../src/domain/ports.ts';
import type { Step } from '../../src/domain/step.ts';
import { answerIn, anyDamages, anyJson, anyText, damaged, forAll, jsonOf } from '../support/fuzz.ts';
import { answerBy } from '../support/in-memory-http.ts';
import { aPlaneDeps } from '../support/plane-deps.ts';
import { expectSound, wasRefused } from './sound.ts';

/** What a command writes, and how it ends; set by each case. */
let ran: { readonly stdout: string; readonly stderr: string; readonly ending: RunProcess.ProcessEnding };
vi.mock('../../src/adapters/process/run-process.ts', async (original) => ({
  ...(await original<typeof RunProcess>()),
  runProcess: async (...[, , output]: Parameters<typeof RunProcess.runProcess>) => {
    output.stdout.add(Buffer.from(ran.stdout));
    output.stderr.add(Buffer.from(ran.stderr));
    return ran.ending;
  },
}));
vi.mock('../../src/adapters/http/client.ts', async () => await import('../support/in-memory-http.ts'));

const ever = new AbortController().signal;

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
  const give = (answers: unknown): void => {
    answerBy((_method, url) => ({ body: jsonOf(answerIn(answers, new URL(url).pathname.replace('/api/2.0/mlflow/', '')) ?? {}) }));
  };

  it('reads good ones', async () => {
    const plane = await planeOf();
    give(good);

    expect((await plane.observe(target, { thorough: true }, ever)).serving).toEqual([{ version: '7', share: 1 }]);
    await plane.close();
  });

  it('never makes up a version', async () => {
    const plane = await planeOf();
    await forAll(anyDamages, 2_000, async (damages) => {
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

const contract = {
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

describe('webhook, given any answers', () => {
  const target: PlaneTarget = { model: 'fraud', plane: {} };
  const planeOf = async () =>
    await webhook.create(
      webhookConfig.parse({ observe: { url: 'http://hook.test/models' }, switch: { url: 'http://hook.test/switch' }, signing_secret: 'planted' }),
      aPlaneDeps(),
    );

  it('never makes up a version or a share', async () => {
    const plane = await planeOf();
    await forAll(anyDamages, 1_400, async (damages) => {
      const given = damaged(contract, damages);
      answerBy(() => ({ body: jsonOf(given ?? null) }));
      await expectSoundOrRefused(plane, target, given);
    });
    await forAll(anyJson, 400, async (given) => {
      answerBy(() => ({ body: jsonOf(given ?? null) }));
      await expectSoundOrRefused(plane, target, given);
    });
    await plane.close();
  });

  it('reads nothing out of an answer that is no JSON, whatever its status', async () => {
    const plane = await planeOf();
    await forAll(fc.tuple(anyText, fc.constantFrom(200, 204, 301, 302, 400, 401, 403, 404, 429, 500, 503, 599)), 200, async ([body, status]) => {
      answerBy(() => ({ body: `x${body}`, status }));
      expect(await wasRefused(plane.observe(target, { thorough: true }, ever))).toBeNull();
    });
    await plane.close();
  });
});

describe('exec, given any output and any end of its command', () => {
  const target: PlaneTarget = { model: 'fraud', plane: exec.planeKeys.parse({}) as Record<string, unknown> };
  const step: Step = {
    name: 'switch',
    phase: 'switch',
    endpoint: 'switch.sh',
    barrier: 0,
    mutation: { op: 'switch', from: '7', to: '6' },
    inverse: null,
    expect: { serving: '6' },
  };
  const ending = fc.oneof(
    { weight: 4, arbitrary: fc.constant<RunProcess.ProcessEnding>({ code: 0, signal: null, error: null }) },
    { weight: 2, arbitrary: fc.constantFrom(1, 2, 64, 75, 77, 78, 126, 127, 255).map((code) => ({ code, signal: null, error: null })) },
    { weight: 1, arbitrary: fc.constant({ code: null, signal: 'SIGKILL', error: null }) },
    { weight: 1, arbitrary: anyText.map((text) => ({ code: null, signal: null, error: Object.assign(new Error(text), { code: text }) })) },
  );
  const output = fc.oneof(
    { weight: 4, arbitrary: anyDamages.map((damages) => jsonOf(damaged(contract, damages) ?? null)) },
    { weight: 1, arbitrary: anyJson.map(jsonOf) },
    { weight: 1, arbitrary: anyText },
  );

  it('never makes up a version or a share, and calls nothing done that ended otherwise', async () => {
    const argv = ['/opt/switch.sh'];
    const plane = await exec.create(execConfig.parse({ observe: { argv }, switch: { argv } }), aPlaneDeps());
    await forAll(fc.record({ stdout: output, stderr: anyText, ending, acts: fc.boolean() }), 2_000, async (given) => {
      ran = given;
      if (given.acts) {
        const outcome = await plane.apply(target, step, { inverse: false, opId: 'rb_1', epoch: 1 }, ever);
        if (outcome.kind === 'applied') expect(given.ending.code).toBe(0);
        return;
      }
      const observation = await wasRefused(plane.observe(target, { thorough: true }, ever));
      if (observation !== null) {
        expect(given.ending.code).toBe(0);
        expectSound(observation, { plane, target, said: JSON.parse(given.stdout) });
      }
    });
    await plane.close();
  });
});
