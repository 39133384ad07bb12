import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { aPolicy, aRule } from '../../test/support/builders.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { FakePlane } from '../../test/support/fake-plane.ts';
import { FakeSource } from '../../test/support/fake-source.ts';
import { onlyEpisode, passWithTraffic } from '../../test/support/followed-traffic.ts';
import { type StageOptions, setStage, silentLog, stopAll } from '../../test/support/stage.ts';
import { openMemoryJournal } from '../adapters/journal/memory/open.ts';
import { toCalendar } from '../config/calendar.ts';
import { freezeWindowSchema } from '../config/freeze-windows.ts';
import type { Episode } from '../domain/episode.ts';
import type { SmokeTest } from '../domain/model.ts';
import type { Journal, SmokeRunner } from '../domain/ports.ts';
import type { Rule } from '../domain/rule.ts';
import type { App } from './app.ts';
import { MessageTeller, type NewMessage } from './message-teller.ts';
import type { Runtime } from './runtime.ts';

const minuteMs = 60_000;
const policy = aPolicy({
  knownGood: { minAgeMs: 1, minRequests: 1, backfillMs: 0, versions: ['1'] },
  convergeTimeoutMs: 2 * minuteMs,
  recoveryWithinMs: minuteMs,
  stickMs: minuteMs,
});

let clock: FakeClock;
let journal: Journal;
let source: FakeSource;
let plane: FakePlane;
let running: App[];

beforeEach(async () => {
  clock = new FakeClock();
  journal = await openMemoryJournal({ clock });
  source = new FakeSource();
  source.traffic.set('2', { requests: 100, errorRatio: 0 });
  plane = new FakePlane({ clock, serving: '2', loadMs: 20_000 });
  running = [];
});

afterEach(async () => {
  await stopAll(running);
  await journal.close();
});

const pass = async (durationMs: number): Promise<void> => await passWithTraffic({ clock, plane, source }, durationMs);

async function start(options: Partial<StageOptions> = {}): Promise<App> {
  const { app } = await setStage({ clock, journal, plane, source, model: { rollback: policy }, ...options });
  running.push(app);
  app.start();
  return app;
}

/** What other files would bring to life. */
async function otherwise(options: Partial<StageOptions> = {}): Promise<Runtime> {
  return (await setStage({ clock, journal: await openMemoryJournal({ clock }), plane, source, model: { rollback: policy }, ...options })).runtime;
}

async function until(state: Episode['state']): Promise<void> {
  for (let second = 0; second < 300; second += 1) {
    if ((await journal.episodes({}))[0]?.state === state) return;
    await pass(1_000);
  }
  throw new Error(`no episode became ${state}`);
}

/** Version 2 fails from now on. */
const spoil = (): void => void source.traffic.set('2', { requests: 100, errorRatio: 0.1 });

describe('what rules remember', () => {
  const condition = aRule().condition;
  const told = (id: string, changes: Partial<Rule> = {}): Rule =>
    aRule({ id, alert: id, rollback: null, forMs: minuteMs, condition: { ...condition }, ...changes });
  const kinds = (app: App): Record<string, string> => Object.fromEntries(app.board.of('fraud').map(({ rule, kind }) => [rule, kind]));
  const stricter: Rule['condition'] = { kind: 'error_ratio', windowMs: minuteMs, limit: { op: 'above', value: 0.04 }, minRequests: 100 };

  it('survives a reload for rules that did not change, and begins anew for those whose condition did', async () => {
    const app = await start({ rules: [told('kept'), told('changed')] });
    spoil();
    await clock.advance(45_000);
    expect(kinds(app)).toEqual({ kept: 'pending', changed: 'pending' });

    const words = { annotations: { summary: 'other words' }, labels: { severity: 'page' } };
    await app.replaceRuntime(await otherwise({ rules: [told('kept', words), told('changed', { condition: stricter })] }));
    await clock.advance(30_000);

    expect(kinds(app)).toEqual({ kept: 'breach', changed: 'pending' });
    await clock.advance(45_000);
    expect(kinds(app)).toEqual({ kept: 'breach', changed: 'breach' });
  });

  it('begins anew when the signals of the model changed', async () => {
    const app = await start({ rules: [told('kept')] });
    spoil();
    await clock.advance(45_000);

    const { runtime } = app;
    const [name, model] = [...runtime.models][0]!;
    const signals = { ...model.signals, requests: { ...model.signals.requests, counter: 'other_requests_total' } };
    await app.replaceRuntime({ ...(await otherwise({ rules: [told('kept')] })), models: new Map([[name, { ...model, signals }]]) });
    await clock.advance(30_000);

    expect(kinds(app)).toEqual({ kept: 'pending' });
  });

  it('begins anew, too, where the files changed while no process ran', async () => {
    const first = await start({ rules: [told('kept'), told('changed')] });
    spoil();
    await clock.advance(55_000);
    first.hurry();
    await first.stop(0);

    const second = await start({ rules: [told('kept'), told('changed', { condition: stricter })] });
    await clock.advance(6_000);

    expect(kinds(second)).toEqual({ kept: 'breach', changed: 'pending' });
  });

  it('is told no second time, and the wait of a group goes on where it stood', async () => {
    const messages: NewMessage[] = [];
    const sink = { enqueue: async (message: NewMessage) => messages.push(message) > 0, events: () => [] };
    const tell: StageOptions['tell'] = (parts) => new MessageTeller({ ...parts, sink, log: silentLog });
    const route = {
      receiver: 'oncall',
      groupBy: [],
      groupWaitMs: 40_000,
      groupIntervalMs: minuteMs,
      repeatIntervalMs: 60 * minuteMs,
      matchers: [],
      continue: false,
      routes: [],
    };
    const app = await start({ rules: [told('kept', { forMs: 0 })], tell });
    await app.replaceRuntime({ ...app.runtime, route });
    spoil();
    await clock.advance(25_000);
    expect(messages).toEqual([]);

    await app.replaceRuntime({ ...(await otherwise({ rules: [told('kept', { forMs: 0 })] })), route });
    await clock.advance(25_000);
    expect(messages.filter(({ kind }) => kind === 'alert')).toHaveLength(1);

    await app.replaceRuntime({ ...(await otherwise({ rules: [told('kept', { forMs: 0 })] })), route });
    await clock.advance(5 * minuteMs);
    expect(messages.filter(({ kind }) => kind === 'alert')).toHaveLength(1);
  });

  it('keeps a breaker open, since when it was', async () => {
    const names = ['a', 'b', 'c', 'd', 'e', 'f'];
    const others = names.map((name) => ({ model: { name, rollback: policy }, plane: new FakePlane({ clock, serving: '2' }) }));
    const app = await start({ others });
    await clock.advance(20_000);
    source.failure = 'connection refused';
    await clock.advance(3 * minuteMs);
    const [open] = app.fleet.open;
    expect(open?.name).toBe('telemetry');

    await app.replaceRuntime(await otherwise({ others }));
    await clock.advance(10_000);

    expect(app.fleet.open).toMatchObject([{ name: 'telemetry', sinceMs: open?.sinceMs }]);
  });
});

describe('an episode in flight', () => {
  const smokeTest: SmokeTest = { timeoutMs: 1, retries: 0, onFailure: 'stop', requests: [] };
  const otherPlane = (): FakePlane => new FakePlane({ clock, serving: '2', endpoints: ['c', 'd'] });

  it.each(['staging', 'watching'] as const)(
    'keeps plane, policy, rules and smoke test while it is %s, also when its model is gone from the files',
    async (state) => {
      const tests: (SmokeTest | null)[] = [];
      const smoke: SmokeRunner = { run: async (test) => (tests.push(test), [{ name: 'one', outcome: 'passed', durationMs: 1, detail: '' }]) };
      const app = await start({ smoke, model: { rollback: policy, smokeTest } });
      spoil();
      await until(state);
      const elsewhere = otherPlane();

      const hasty = { ...policy, recoveryWithinMs: 1, stickMs: 1, to: { kind: 'version' as const, version: '0' } };
      const changed = await otherwise({ plane: elsewhere, model: { rollback: hasty, smokeTest: { ...smokeTest, timeoutMs: 99 } }, rules: [] });
      await app.replaceRuntime(changed);
      await pass(5_000);
      await app.replaceRuntime({ ...changed, models: new Map(), groups: [], planes: new Map(), sources: new Map() });
      await pass(4 * minuteMs);

      const episode = await onlyEpisode(journal);
      expect(episode).toMatchObject({ state: 'succeeded', outcome: 'success', to: '1' });
      expect((episode.finishedAtMs ?? 0) - (episode.recoveredAtMs ?? 0)).toBeGreaterThanOrEqual(policy.stickMs);
      expect(plane.serving()).toEqual(['1', '1']);
      expect(elsewhere.applied).toEqual([]);
      expect(tests.map((test) => test?.timeoutMs)).toEqual([1, 1]);
    },
  );

  it('is stopped by a freeze window that the reload brings, before its next mutation', async () => {
    const app = await start();
    spoil();
    await until('staging');
    await pass(2_000);
    const freeze = z.array(freezeWindowSchema).parse([{ name: 'incident', schedule: '0 13 * * 0', duration: '2h', time_zone: 'Europe/Berlin' }]);

    await app.replaceRuntime({ ...app.runtime, calendar: toCalendar(freeze, []) });
    await pass(2 * minuteMs);

    expect(await onlyEpisode(journal)).toMatchObject({
      state: 'aborted',
      detail: expect.stringMatching(/^stopped \(frozen\): freeze window incident is on until .* Nothing moved: 2 still serves/) as string,
    });
    expect(plane.switches).toEqual([]);
  });

  it('keeps its policy over a kill after the reload', async () => {
    const first = await start();
    spoil();
    await until('watching');
    const hasty = { ...policy, stickMs: 1, recoveryWithinMs: 1 };
    await first.replaceRuntime(await otherwise({ model: { rollback: hasty } }));
    await pass(2_000);
    first.hurry();
    await first.stop(0);

    await start({ model: { rollback: hasty } });
    await pass(4 * minuteMs);

    const episode = await onlyEpisode(journal);
    expect(episode).toMatchObject({ state: 'succeeded', outcome: 'success' });
    expect((episode.finishedAtMs ?? 0) - (episode.recoveredAtMs ?? 0)).toBeGreaterThanOrEqual(policy.stickMs);
    expect(plane.switches).toEqual(['a: 2 -> 1', 'b: 2 -> 1']);
  });

  it.each(['staging', 'watching'] as const)(
    'killed while it is %s, its model gone from the files: ends unknown, and asks for a look by hand',
    async (state) => {
      const first = await start();
      spoil();
      await until(state);
      first.hurry();
      await first.stop(0);
      const switched = [...plane.switches];

      await start({ model: { name: 'another' }, rules: [] });
      await pass(minuteMs);

      expect(await onlyEpisode(journal)).toMatchObject({
        state: 'failed',
        outcome: 'unknown',
        detail: expect.stringContaining('the files no longer name the model "fraud"') as string,
      });
      expect(plane.switches).toEqual(switched);
    },
  );

  it('killed, its plane at another address now: carries nothing out there that was planned here', async () => {
    const first = await start();
    spoil();
    await until('staging');
    first.hurry();
    await first.stop(0);
    const elsewhere = otherPlane();
    source.traffic.set('2', { requests: 100, errorRatio: 0 });

    await start({ plane: elsewhere });
    for (let second = 0; second < 120; second += 1) await clock.advance(1_000);

    expect(await onlyEpisode(journal)).toMatchObject({ state: 'failed', detail: expect.stringContaining('no such endpoint') as string });
    expect(elsewhere.applied).toEqual([]);
  });
});
