import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { startDeployer } from '../../test/support/action-planes/deployer.ts';
import { aModel, aPolicy } from '../../test/support/builders.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { FakeSource } from '../../test/support/fake-source.ts';
import { aPlaneDeps } from '../../test/support/plane-deps.ts';
import { setStage, silentLog } from '../../test/support/stage.ts';
import { exec } from '../adapters/control-planes/exec/index.ts';
import { execConfig } from '../adapters/control-planes/exec/schema.ts';
import { webhook } from '../adapters/control-planes/webhook/index.ts';
import { webhookConfig } from '../adapters/control-planes/webhook/schema.ts';
import { openMemoryJournal } from '../adapters/journal/memory/open.ts';
import { createSmokeRunner } from '../adapters/smoke/index.ts';
import type { Episode } from '../domain/episode.ts';
import type { SmokeRequest } from '../domain/model.ts';
import type { Clock, ControlPlane, Journal, SmokeRunner } from '../domain/ports.ts';

const minuteMs = 60_000;
const policy = aPolicy({ knownGood: { minAgeMs: 1, minRequests: 1, backfillMs: 0, versions: ['6'] }, convergeTimeoutMs: 20_000, stickMs: 15_000 });
const actions = ['stage', 'unstage', 'switch', 'persist'] as const;

/** The other side, with 7 serving and 6 not loaded. */
type World = {
  readonly plane: ControlPlane;
  readonly smoke: SmokeRequest;
  readonly serving: () => Promise<string>;
  readonly durable: () => Promise<string>;
  /** `unloaded`, `available` … */
  readonly stateOf6: () => Promise<string>;
  /** Actions in their order. */
  readonly calls: () => Promise<readonly string[]>;
} & AsyncDisposable;

type Scene = {
  readonly kind: string;
  /** `isUp`: whether 6 can be loaded. */
  readonly set: (clock: Clock, isUp: boolean) => Promise<World>;
  /** Why 6 does not come up. */
  readonly reason: string;
};

const scenes: readonly Scene[] = [
  {
    kind: 'webhook',
    reason: 'stage 6 on 127.0.0.1:PORT: 6 failed to load on 127.0.0.1:PORT: the archive is corrupt',
    set: async (clock, isUp) => {
      const deployer = await startDeployer({ secret: 'planted-secret', broken: isUp ? {} : { 6: 'the archive is corrupt' } });
      const model = `${deployer.url}/models/{{ $model }}`;
      const config = webhookConfig.parse({
        observe: { url: model },
        ...Object.fromEntries(actions.map((action) => [action, { url: `${model}/${action}` }])),
        signing_secret: 'planted-secret',
        smoke_before_switch: true,
      });
      const plane = await webhook.create(config, { ...aPlaneDeps(), clock });
      const url = `${deployer.url}/v1/models/fraud/versions/{{ $to }}:predict`;
      const expected = { status: 200, json: { '$.version': '6', '$.predictions[0].length()': 2 }, durationBelowMs: null };
      return {
        plane,
        smoke: { kind: 'http', name: 'one transaction', method: 'POST', url, headers: {}, body: '{}', bodyFile: null, expect: expected },
        serving: async () => deployer.serving(),
        durable: async () => deployer.durable(),
        stateOf6: async () => deployer.stateOf('6'),
        calls: async () => deployer.calls.map(({ action, to }) => `${action} ${to}`),
        [Symbol.asyncDispose]: async () => {
          await plane.close();
          await deployer[Symbol.asyncDispose]();
        },
      };
    },
  },
  {
    kind: 'exec',
    reason: 'stage 6 on release.sh: not there after 20s (converge_timeout): 6 is loading on release.sh',
    set: async (clock, isUp) => {
      const folder = await mkdtemp(join(tmpdir(), 'rollbackd-release-'));
      const program = join(import.meta.dirname, '../../test/support/action-planes/release.sh');
      await mkdir(join(folder, 'versions'));
      await mkdir(join(folder, 'stuck'));
      for (const [file, text] of Object.entries({ serving: '7', durable: '7', calls: '', 'versions/6': 'unloaded', 'versions/7': 'available' }))
        await writeFile(join(folder, file), text === '' ? '' : `${text}\n`);
      if (!isUp) await writeFile(join(folder, 'stuck/6'), '');
      const config = execConfig.parse({
        observe: { argv: [program, 'observe'] },
        ...Object.fromEntries(actions.map((action) => [action, { argv: [program, action] }])),
        cwd: folder,
        smoke_before_switch: true,
      });
      const plane = await exec.create(config, { ...aPlaneDeps(), clock });
      const read = async (file: string): Promise<string> => (await readFile(join(folder, file), 'utf8')).trim();
      return {
        plane,
        smoke: { kind: 'command', name: 'one transaction', argv: [program, 'predict', '{{ $to }}'], env: {}, cwd: folder },
        serving: async () => await read('serving'),
        durable: async () => await read('durable'),
        stateOf6: async () => await read('versions/6'),
        calls: async () => (await read('calls')).split('\n'),
        [Symbol.asyncDispose]: async () => {
          await plane.close();
          await rm(folder, { recursive: true, force: true });
        },
      };
    },
  },
];

/** Counts what is under way in real time, where the clock must not run on: commands have time limits by that clock. */
function counted<Subject extends ControlPlane | SmokeRunner>(subject: Subject, methods: readonly string[], pending: { count: number }): Subject {
  return new Proxy(subject, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== 'function') return value;
      const method = value.bind(target) as (...args: readonly unknown[]) => unknown;
      if (!methods.includes(String(name))) return method;
      return async (...args: readonly unknown[]) => {
        pending.count += 1;
        try {
          return await method(...args);
        } finally {
          pending.count -= 1;
        }
      };
    },
  });
}

describe.each(scenes)('a bad version behind a $kind', ({ kind, set, reason }) => {
  let stop: () => Promise<void> = async () => undefined;
  afterEach(async () => await stop());

  /** Starts everything, lets virtual time pass until an episode ended. */
  async function play(isUp: boolean): Promise<{ episode: Episode; world: World }> {
    const clock = new FakeClock();
    const journal: Journal = await openMemoryJournal({ clock });
    const world = await set(clock, isUp);
    const source = new FakeSource();
    const pending = { count: 0 };
    const runner = createSmokeRunner({ clock, log: silentLog, baseEnv: aPlaneDeps().commandEnv ?? {} });
    const { app, runtime } = await setStage({
      clock,
      journal,
      source,
      plane: counted(world.plane, ['observe', 'apply'], pending),
      smoke: counted(runner, ['run'], pending),
      model: { ...aModel(), rollback: policy, smokeTest: { timeoutMs: minuteMs, retries: 0, onFailure: 'stop', requests: [world.smoke] } },
    });
    stop = async () => {
      await app.stop(0);
      runner.close();
      await world[Symbol.asyncDispose]();
      await journal.close();
    };
    source.traffic.set('7', { requests: 100, errorRatio: 0.2 });
    app.start();
    for (let turn = 0; turn < 20_000; turn += 1) {
      // A 202 of the webhook is followed by the clock; commands are not waited for by it.
      if (kind === 'webhook' || pending.count === 0) await clock.advance(250);
      await sleep(1);
      if ((await world.serving()) === '6') {
        source.traffic.set('6', { requests: 100, errorRatio: 0 });
        source.traffic.set('7', { requests: 0, errorRatio: 0 });
      }
      const [episode] = await journal.episodes({});
      if (episode?.finishedAtMs != null) return { episode, world };
    }
    throw new Error(`no episode ended: ${JSON.stringify(await journal.decisions({}))} ${runtime.observer.failure('fraud') ?? ''}`);
  }

  it('is rolled back: rule, staging, test, one switch, confirmation, made to last, test, recovery, success', async () => {
    const { episode, world } = await play(true);

    expect(episode).toMatchObject({ state: 'succeeded', outcome: 'success', from: '7', to: '6', rule: 'ErrorsHigh' });
    expect(episode.smokeTests.map((result) => [result.when, result.outcome])).toEqual([
      ['staged', 'passed'],
      ['serving', 'passed'],
    ]);
    expect(await world.calls()).toEqual(['stage 6', 'switch 6', 'persist 6']);
    expect([await world.serving(), await world.durable()]).toEqual(['6', '6']);
  });

  it('serves on when the target does not come up: the staging is taken back, and the end says what to do', async () => {
    const { episode, world } = await play(false);

    expect(episode).toMatchObject({ state: 'failed', outcome: 'failure' });
    expect(episode.detail.replaceAll(/127\.0\.0\.1:\d+/g, '127.0.0.1:PORT')).toContain(reason);
    expect(episode.detail).toContain('Nothing moved: 7 still serves. Look why 6 does not come up, or roll back to another version by hand');
    expect(await world.calls()).toEqual(['stage 6', 'unstage 6']);
    expect([await world.serving(), await world.durable(), await world.stateOf6()]).toEqual(['7', '7', 'unloaded']);
  });
});
