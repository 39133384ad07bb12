import { setImmediate } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { type StageOptions, silentLog, stopAll } from '../../test/support/stage.ts';
import { StormStage } from '../../test/support/storm-stage.ts';
import { openMemoryJournal } from '../adapters/journal/memory/open.ts';
import { toCalendar } from '../config/calendar.ts';
import { freezeWindowSchema } from '../config/freeze-windows.ts';
import { timeIntervalsSchema } from '../config/time-intervals.ts';
import type { Calendar } from '../domain/calendar.ts';
import { defaultLimits } from '../domain/limits.ts';
import type { AlertContent } from '../domain/message.ts';
import type { Journal } from '../domain/ports.ts';
import { Metrics } from '../telemetry/metrics.ts';
import { AppActions } from './actions.ts';
import type { App } from './app.ts';
import { MessageTeller, type NewMessage } from './message-teller.ts';

const minuteMs = 60_000;
const names = ['a', 'b', 'c', 'd', 'e', 'f'];

let clock: FakeClock;
let journal: Journal;
let apps: App[];

beforeEach(async () => {
  clock = new FakeClock();
  journal = await openMemoryJournal({ clock });
  apps = [];
});

afterEach(async () => {
  await stopAll(apps);
  await journal.close();
});

function aStage(models: readonly string[] = names): StormStage {
  return new StormStage({ clock, journal, names: models });
}

async function started(starting: ReturnType<StormStage['start']>): Promise<App> {
  const { app, teller } = await starting;
  apps.push(app);
  actions = new AppActions(app, { clock, teller, log: silentLog, metrics: new Metrics({ version: 'test' }, { processMetrics: false }) });
  return app;
}
let actions: AppActions;

/** Appends take a while, as on a disk: others judge meanwhile. */
function slow(inner: Journal): Journal {
  return new Proxy(inner, {
    get: (target, key) => {
      if (key !== 'append')
        return typeof target[key as keyof Journal] === 'function' ? (target[key as keyof Journal] as () => unknown).bind(target) : target[key as keyof Journal];
      return async (events: Parameters<Journal['append']>[0]) => {
        for (let tick = 0; tick < 3; tick += 1) await setImmediate();
        return await target.append(events);
      };
    },
  });
}

async function openModels(): Promise<readonly string[]> {
  return (await journal.episodes({ open: true })).map(({ model }) => model);
}

/** Decisions of the models that were held, `model: reason`. */
async function held(): Promise<readonly string[]> {
  return [...new Set((await journal.decisions({})).filter(({ decision }) => decision === 'hold').map(({ model, reason }) => `${model}: ${reason}`))].toSorted();
}

describe('limits.max_concurrent_rollbacks', () => {
  const limits = { ...defaultLimits, maxConcurrentRollbacks: 2, maxModelsShare: 1 };

  it('opens no more at once than there are places, also in one turn on a slow journal', async () => {
    const stage = new StormStage({ clock, journal: slow(journal), names: ['a', 'b', 'c', 'd'], sharesSource: true });
    stage.spoil('a');
    await started(stage.start({ limits }));

    await clock.advance(7_000);

    expect(await journal.episodes({})).toHaveLength(2);
    expect((await held()).map((line) => line.slice(3))).toEqual(['too_many_at_once', 'too_many_at_once']);
  });

  it('takes the others once there is a place', async () => {
    const stage = aStage(['a', 'b', 'c', 'd']);
    stage.spoil('a', 'b', 'c', 'd');
    await started(stage.start({ limits }));

    await stage.pass(30_000);

    expect(await openModels()).toHaveLength(2);
    expect((await held()).map((line) => line.slice(3))).toEqual(['too_many_at_once', 'too_many_at_once']);
    await stage.pass(12 * minuteMs);
    expect(stage.serving('2')).toEqual([]);
    expect((await journal.episodes({})).map(({ state }) => state)).toEqual(['succeeded', 'succeeded', 'succeeded', 'succeeded']);
  });

  it('counts what a process before it had begun', async () => {
    const stage = aStage(['a', 'b', 'c', 'd']);
    stage.spoil('a', 'b');
    const first = await started(stage.start({ limits }));
    await stage.pass(3_000);
    expect(await openModels()).toHaveLength(2);
    first.hurry();
    await first.stop(0);

    stage.spoil('c', 'd');
    await started(stage.start({ limits }));
    await stage.pass(20_000);

    expect((await openModels()).toSorted()).toEqual(['a', 'b']);
    expect(await held()).toEqual(['c: too_many_at_once', 'd: too_many_at_once']);
  });

  it('holds a rollback by hand, too', async () => {
    const stage = aStage(['a', 'b', 'c']);
    stage.spoil('a', 'b');
    await started(stage.start({ limits }));
    await stage.pass(3_000);

    await expect(actions.rollback('c', { to: null, by: 'ada', reason: 'x' })).rejects.toThrow(
      /not rolled back \(too_many_at_once\): 2 rollbacks are under way/,
    );
  });

  it('rolls back a fifth of the models at once by default, and one at least', async () => {
    const stage = aStage(['a', 'b', 'c']);
    stage.spoil('a', 'b');
    await started(stage.start());

    await stage.pass(3_000);

    expect(await openModels()).toHaveLength(1);
    expect((await journal.decisions({})).find(({ reason }) => reason === 'too_many_at_once')?.detail).toMatch(
      /1 rollback is under way: . \(rb_.*\); max_models_share: 20% of 3 models, so 1 at once/,
    );
  });
});

describe('the flap lock', () => {
  const rollback = { maxPer: { count: 9, windowMs: minuteMs }, to: { kind: 'version', version: '1' } } as const;

  async function flap(stage: StormStage, times: number): Promise<void> {
    for (let turn = 0; turn < times; turn += 1) {
      stage.of('a').plane.switchBehindTheBack('2');
      await stage.pass(6 * minuteMs);
    }
  }

  it('stops a model that somebody brings back to the bad version again and again, over a restart', async () => {
    const stage = aStage(['a']);
    stage.spoil('a');
    const first = await started(stage.start({ rollback }));
    await flap(stage, 3);
    expect((await journal.episodes({})).map(({ to, outcome }) => `${to} ${outcome}`)).toEqual(['1 success', '1 success']);
    await first.stop(0);

    await started(stage.start({ rollback }));
    await stage.pass(6 * minuteMs);

    expect(stage.serving('2')).toEqual(['a']);
    expect(await held()).toEqual(['a: flap_lock']);
    await expect(actions.rollback('a', { to: null, by: 'ada', reason: 'x' })).rejects.toThrow(/\(flap_lock\): rolled back to 1 twice within 1d/);
  });

  it('is lifted by hand, which outlives a restart', async () => {
    const stage = aStage(['a']);
    stage.spoil('a');
    const first = await started(stage.start({ rollback }));
    await flap(stage, 3);
    expect(stage.serving('2')).toEqual(['a']);

    await actions.resume('*', { by: 'ada', reason: 'says nothing of one model' });
    await stage.pass(10_000);
    expect(stage.serving('2')).toEqual(['a']);
    await actions.resume('a', { by: 'ada', reason: 'the deployment job is off' });
    first.hurry();
    await first.stop(0);
    await started(stage.start({ rollback }));
    await stage.pass(6 * minuteMs);

    expect(stage.serving('2')).toEqual([]);
    expect(await journal.episodes({})).toHaveLength(3);
    expect(await journal.verify()).toMatchObject({ ok: true });
  });

  it('is over after its time', async () => {
    const stage = aStage(['a']);
    stage.spoil('a');
    await started(stage.start({ rollback, limits: { ...defaultLimits, flapLock: { windowMs: 20 * minuteMs } } }));
    await flap(stage, 3);
    expect(await held()).toEqual(['a: flap_lock']);

    await stage.pass(20 * minuteMs);

    expect(stage.serving('2')).toEqual([]);
  });
});

describe('the telemetry breaker', () => {
  it('rolls nothing back while half of the models are without data, pages, and goes on after a minute of good data', async () => {
    const stage = aStage();
    const sent: NewMessage[] = [];
    await started(stage.start({ tell: tellTo(sent) }));
    await stage.pass(10_000);
    for (const name of ['a', 'b', 'c']) stage.of(name).source.failure = 'prometheus answered 503';
    await stage.pass(10_000);

    stage.spoil('f');
    await stage.pass(30_000);

    expect(await held()).toEqual(['f: breaker_open']);
    expect((await journal.decisions({}))[0]?.detail).toMatch(/telemetry breaker open since .*: 3 of 6 models are without fresh data, telemetry_breaker: 50%/);
    await expect(actions.rollback('e', { to: null, by: 'ada', reason: 'x' })).rejects.toThrow(/breaker_open/);
    expect(alerts(sent)).toContain('firing RollbackdBreakerOpen telemetry');

    for (const name of ['a', 'b', 'c']) stage.of(name).source.failure = null;
    await stage.pass(50_000);
    expect(stage.serving('1')).toEqual([]);
    await stage.pass(60_000);
    expect(stage.serving('1')).toEqual(['f']);
  });

  it('takes stale samples for lost ones, and few requests for none', async () => {
    const stage = aStage();
    for (const name of ['a', 'b', 'c', 'd']) stage.of(name).source.traffic.set('2', { requests: 0.1, errorRatio: 0 });
    stage.spoil('f');
    const quiet = await started(stage.start());
    await clock.advance(10_000);
    expect(quiet.fleet.open).toEqual([]);
    expect(await openModels()).toEqual(['f']);

    for (const name of ['a', 'b', 'c', 'd']) stage.of(name).source.traffic.clear();
    await clock.advance(10_000);
    expect(quiet.fleet.open).toMatchObject([{ name: 'telemetry', detail: expect.stringContaining('4 of 6') as string }]);
  });
});

describe('the breach breaker', () => {
  it('holds and pages when a third of the models begins to fail at once, also over a restart, and ends when they are well', async () => {
    const stage = aStage();
    const sent: NewMessage[] = [];
    const first = await started(stage.start({ tell: tellTo(sent) }));
    await stage.pass(10_000);
    stage.spoil('a', 'b', 'c');
    await stage.pass(30_000);
    // Whichever was judged first had begun, and was stopped.
    const before = (await journal.episodes({})).length;
    expect(before).toBeLessThan(2);
    first.hurry();
    await first.stop(0);
    await started(stage.start({ tell: tellTo(sent) }));
    await stage.pass(10 * minuteMs);

    expect(await journal.episodes({})).toHaveLength(before);
    expect(stage.serving('1')).toEqual([]);
    expect(await held()).toEqual(['a: breaker_open', 'b: breaker_open', 'c: breaker_open']);
    expect(alerts(sent)).toContain('firing RollbackdBreakerOpen breach');

    for (const name of ['a', 'b']) stage.of(name).source.traffic.set('2', { requests: 100, errorRatio: 0 });
    await stage.pass(minuteMs);
    expect(stage.serving('1')).toEqual(['c']);
  });

  it('stops what has not begun to switch', async () => {
    const stage = aStage();
    stage.spoil('a');
    await started(stage.start());
    await stage.pass(3_000);
    expect(await openModels()).toEqual(['a']);

    stage.spoil('b', 'c', 'd');
    await stage.pass(20_000);

    expect((await journal.episodes({})).map(({ model, state, detail }) => `${model} ${state}: ${detail}`)).toEqual([
      expect.stringMatching(/^a aborted: stopped \(breaker_open\): breach breaker open since .* Nothing moved: 2 still serves/) as string,
    ]);
    expect(stage.serving('1')).toEqual([]);
  });
});

describe('a freeze window', () => {
  // Sunday, 12:00 UTC is when the clock begins: 13:00 in Berlin.
  const freeze = { name: 'load-test', schedule: '2 13 * * 0', duration: '10m', time_zone: 'Europe/Berlin' };
  const calendarOf = (...windows: readonly object[]): Calendar => toCalendar(z.array(freezeWindowSchema).parse(windows), []);

  it('holds until it is over, but not a person where it says so, nor other models', async () => {
    const stage = aStage(['a', 'b', 'c']);
    const calendar = calendarOf({ ...freeze, models: ['a'], manual_rollback: true }, { ...freeze, name: 'audit', models: ['b'] });
    await started(stage.start({ calendar, limits: { ...defaultLimits, maxModelsShare: 1 } }));
    await stage.pass(2 * minuteMs + 1_000);
    stage.spoil('a', 'c');
    await stage.pass(30_000);

    expect(await held()).toEqual(['a: frozen']);
    expect(stage.serving('1')).toEqual(['c']);
    expect((await journal.decisions({})).find(({ reason }) => reason === 'frozen')?.detail).toBe(
      'freeze window load-test is on until 2026-11-22T12:12:00.000Z',
    );
    await expect(actions.rollback('b', { to: null, by: 'ada', reason: 'x' })).rejects.toThrow('not rolled back (frozen): freeze window audit is on until');
    expect(await actions.rollback('a', { to: null, by: 'ada', reason: 'it is our button' })).toMatchObject({ model: 'a', trigger: 'manual' });
    await stage.pass(30_000);
    expect(stage.serving('1')).toEqual(['a', 'c']);
  });

  it('is over by itself', async () => {
    const stage = aStage(['a']);
    await started(stage.start({ calendar: calendarOf({ ...freeze, schedule: '0 13 * * 0' }) }));
    stage.spoil('a');
    await stage.pass(9 * minuteMs);
    expect(stage.serving('1')).toEqual([]);

    await stage.pass(2 * minuteMs);
    expect(stage.serving('1')).toEqual(['a']);
  });

  it('that begins meanwhile stops what has not begun to switch', async () => {
    const stage = aStage(['a']);
    await started(stage.start({ calendar: calendarOf(freeze) }));
    await stage.pass(2 * minuteMs - 7_000);
    stage.spoil('a');
    await stage.pass(30_000);

    expect(await journal.episodes({})).toMatchObject([
      {
        state: 'aborted',
        detail: expect.stringMatching(/^stopped \(frozen\): freeze window load-test is on until .* Nothing moved: 2 still serves/) as string,
      },
    ]);
  });
});

describe('require_approval: outside', () => {
  const rollback = { requireApproval: 'outside', activeTimeIntervals: ['office'], approvalTimeoutMs: 5 * minuteMs } as const;
  const office = { name: 'office', time_intervals: [{ times: [{ start_time: '13:10', end_time: '18:00' }], location: 'Europe/Berlin' }] };
  const calendar = toCalendar([], z.array(timeIntervalsSchema).parse([office]));

  it('asks outside of the times, lets the question expire, and acts by itself within them', async () => {
    const stage = aStage(['a']);
    stage.spoil('a');
    await started(stage.start({ calendar, rollback }));
    await stage.pass(2 * minuteMs);
    expect(await journal.episodes({})).toMatchObject([{ state: 'pending_approval' }]);
    expect((await journal.decisions({}))[0]).toMatchObject({
      reason: 'approval_needed',
      detail: 'require_approval: outside, and it is not the time of office',
    });

    await stage.pass(7 * minuteMs);
    expect((await journal.episodes({})).at(-1)).toMatchObject({ state: 'rejected', detail: 'nobody approved it within 5m' });
    expect(stage.serving('1')).toEqual([]);

    await stage.pass(8 * minuteMs);
    expect(stage.serving('1')).toEqual(['a']);
  });
});

describe('the stop of all models', () => {
  it('stops episodes before their next mutation, holds everything after that, also by hand, and outlives a restart', async () => {
    const stage = aStage(['a', 'b', 'c']);
    stage.spoil('a', 'b', 'c');
    const limits = { ...defaultLimits, maxModelsShare: 1 };
    const first = await started(stage.start({ limits }));
    await stage.pass(3_000);
    expect(await openModels()).toHaveLength(3);

    await actions.pause('*', { forMs: null, by: 'ada', reason: 'incident 4711' });
    const sent = [...stage.models.values()].map(({ plane }) => plane.applied.filter((line) => !line.startsWith('undo')).length);
    await stage.pass(minuteMs);
    expect([...stage.models.values()].map(({ plane }) => plane.applied.filter((line) => !line.startsWith('undo')).length)).toEqual(sent);
    expect((await journal.episodes({})).map(({ state, detail }) => `${state} ${detail.slice(0, 80)}`)).toEqual(
      Array.from({ length: 3 }, () => 'aborted stopped (paused): all models are paused until resumed by ada: incident 4711. Not'.slice(0, 88)),
    );
    first.hurry();
    await first.stop(0);

    await started(stage.start({ limits }));
    await stage.pass(10 * minuteMs);
    expect(await journal.episodes({})).toHaveLength(3);
    expect(stage.serving('1')).toEqual([]);
    await expect(actions.rollback('a', { to: null, by: 'ada', reason: 'x' })).rejects.toThrow('not rolled back (paused)');

    await actions.resume('*', { by: 'ada', reason: 'over' });
    await stage.pass(minuteMs);
    expect(stage.serving('1')).toEqual(['a', 'b', 'c']);
  });
});

/** A teller that speaks through the route; what it tells is kept. */
function tellTo(sent: NewMessage[]): NonNullable<StageOptions['tell']> {
  const sink = { enqueue: async (message: NewMessage) => sent.push(message) > 0, events: () => [] };
  return (parts) => new MessageTeller({ ...parts, sink, log: silentLog });
}

/** `firing NAME BREAKER` of the alerts that were told. */
function alerts(sent: readonly NewMessage[]): readonly string[] {
  return sent.flatMap(({ content }) => {
    const { status, alerts: items } = content as unknown as AlertContent;
    return (items ?? []).map(({ alert, labels }) => `${status} ${alert} ${labels['breaker'] ?? ''}`);
  });
}
