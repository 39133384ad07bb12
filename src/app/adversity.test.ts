import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { aLedgerEntry, aModel, aPolicy, aRule } from '../../test/support/builders.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { FakePlane, type FakePlaneOptions } from '../../test/support/fake-plane.ts';
import { FakeSource } from '../../test/support/fake-source.ts';
import { onlyEpisode, passWithTraffic } from '../../test/support/followed-traffic.ts';
import { passingSmoke, type StageOptions, setStage } from '../../test/support/stage.ts';
import { openMemoryJournal } from '../adapters/journal/memory/open.ts';
import type { Episode } from '../domain/episode.ts';
import type { JournalEvent } from '../domain/event.ts';
import type { Answer } from '../domain/measurement.ts';
import type { Model, SmokeTest } from '../domain/model.ts';
import type { Journal, SmokeRunner } from '../domain/ports.ts';
import type { App } from './app.ts';

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const policy = aPolicy({ knownGood: { minAgeMs: 1, minRequests: 1, backfillMs: 0, versions: ['1'] }, convergeTimeoutMs: 2 * minuteMs });
/** Soon stuck, so that many runs fit in a test. */
const quick = { ...policy, stickMs: 20_000, convergeTimeoutMs: 30_000 };
const smokeTest: SmokeTest = { timeoutMs: 1, retries: 0, onFailure: 'stop', requests: [] };
const failingSmoke: SmokeRunner = { run: async () => [{ name: 'one transaction', outcome: 'failed', durationMs: 5, detail: 'status 500' }] };

let clock: FakeClock;
let journal: Journal;
let source: FakeSource;
let plane: FakePlane;

beforeEach(async () => {
  clock = new FakeClock();
  journal = await openMemoryJournal({ clock });
  source = new FakeSource();
  source.traffic.set('2', { requests: 100, errorRatio: 0.1 });
  plane = aPlane();
});

afterEach(async () => {
  await journal.close();
});

function aPlane(options: Partial<FakePlaneOptions> = {}): FakePlane {
  return new FakePlane({ clock, serving: '2', loadMs: 5_000, ...options });
}

async function start(options: Partial<StageOptions> = {}): Promise<App> {
  const { app } = await setStage({ clock, journal, plane, source, model: { rollback: policy }, ...options });
  app.start();
  return app;
}

const pass = async (durationMs: number, healthy?: ReadonlySet<string>): Promise<void> => await passWithTraffic({ clock, plane, source }, durationMs, healthy);

async function until(state: Episode['state']): Promise<void> {
  for (let look = 0; look < 1_000; look += 1) {
    if ((await journal.episodes({}))[0]?.state === state) return;
    await pass(1_000);
  }
  throw new Error(`no episode became ${state}`);
}

const only = async (): Promise<Episode> => await onlyEpisode(journal);

async function eventsOf<Type extends JournalEvent['type']>(type: Type): Promise<readonly Extract<JournalEvent, { type: Type }>[]> {
  const all = await journal.events(0, 100_000);
  return all.map((stored) => stored.event).filter((event): event is Extract<JournalEvent, { type: Type }> => event.type === type);
}

describe('a process killed while things go wrong', () => {
  type Play = {
    readonly broken?: Readonly<Record<string, string>>;
    readonly smoke?: SmokeRunner;
    readonly model: Partial<Model>;
    readonly revertAtMs?: number;
    readonly healthy?: readonly string[];
  };

  /** One run that dies at the n-th crossing of the journal or the plane, then another process on the same journal. */
  async function play(crashAt: number, { broken = {}, smoke = passingSmoke, model, revertAtMs, healthy = ['1'] }: Play) {
    clock = new FakeClock();
    const own = await openMemoryJournal({ clock });
    source = new FakeSource();
    source.traffic.set('2', { requests: 100, errorRatio: 0.1 });
    plane = aPlane({ broken, loadMs: 2_000 });
    let crossings = 0;
    const cross = (): void => {
      crossings += 1;
      if (crossings >= crashAt) throw new Error('killed');
    };
    const append: Journal['append'] = async (events) => {
      cross();
      const stored = await own.append(events);
      cross();
      return stored;
    };
    const mortal = new Proxy<Journal>(own, {
      get: (target, key) => {
        if (key === 'append') return append;
        const value: unknown = Reflect.get(target, key, target);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    });
    plane.beforeApply = () => void cross();
    plane.afterApply = () => void cross();
    const first = await setStage({ clock, journal: mortal, plane, source, model, smoke });
    first.app.start();
    if (revertAtMs === undefined) {
      await pass(minuteMs, new Set(healthy));
    } else {
      await pass(revertAtMs, new Set(healthy));
      if (plane.switches.length >= 2) plane.switchBehindTheBack('2');
      await pass(minuteMs, new Set(healthy));
    }
    first.app.hurry();
    plane.beforeApply = null;
    plane.afterApply = null;
    await clock.advance(2_000);
    const second = await setStage({ clock, journal: own, plane, source, model, smoke });
    second.app.start();
    await pass(2.5 * minuteMs, new Set(healthy));
    await second.app.stop(0);
    const episodes = await own.episodes({});
    expect(await own.verify()).toMatchObject({ ok: true });
    await own.close();
    return { crossings, episodes, switches: [...plane.switches], serving: plane.serving() };
  }

  /** Every place of the first `limit` crossings, which hold the whole episode. */
  async function playAll(scene: Play, judge: (played: Awaited<ReturnType<typeof play>>, crashAt: number) => void): Promise<void> {
    const whole = await play(Number.POSITIVE_INFINITY, scene);
    judge(whole, Number.POSITIVE_INFINITY);
    for (let crashAt = 1; crashAt <= Math.min(whole.crossings, 70); crashAt += 1) judge(await play(crashAt, scene), crashAt);
  }

  it('never builds on a step that failed: the target is given up and nothing moves', async () => {
    await playAll({ broken: { '1': 'no such file' }, model: { rollback: quick } }, ({ episodes, switches, serving }, crashAt) => {
      expect({ crashAt, switches, serving }).toEqual({ crashAt, switches: [], serving: ['2', '2'] });
      expect({ crashAt, states: episodes.map((episode) => [episode.state, episode.outcome]) }).toEqual({ crashAt, states: [['failed', 'failure']] });
    });
  }, 60_000);

  it('goes on giving up a target whose staging was half taken back, then takes the next', async () => {
    const next = { ...quick, knownGood: { ...policy.knownGood, versions: ['1', '0'] } };
    const smoke: SmokeRunner = { run: async (test, context, signal) => await (context.to === '1' ? failingSmoke : passingSmoke).run(test, context, signal) };
    const scene = { smoke, model: { rollback: next, smokeTest: { ...smokeTest, onFailure: 'next_target' as const } }, healthy: ['0'] };

    await playAll(scene, ({ episodes, switches }, crashAt) => {
      expect({ crashAt, switches }).toEqual({ crashAt, switches: ['a: 2 -> 0', 'b: 2 -> 0'] });
      expect({ crashAt, states: episodes.map((episode) => [episode.state, episode.to]) }).toEqual({ crashAt, states: [['succeeded', '0']] });
    });
  }, 60_000);

  it('corrects a reverted switch at most once', async () => {
    await playAll({ model: { rollback: { ...quick, stickMs: minuteMs } }, revertAtMs: 25_000 }, ({ episodes, serving, switches }, crashAt) => {
      expect({ crashAt, serving }).toEqual({ crashAt, serving: ['1', '1'] });
      expect({ crashAt, states: episodes.map((episode) => episode.state) }).toEqual({ crashAt, states: ['succeeded'] });
      expect(switches.length).toBeLessThanOrEqual(4);
    });
  }, 60_000);
});

describe('taking back', () => {
  it('leaves alone what somebody else deployed while the staged version was tested', async () => {
    const smoke: SmokeRunner = {
      run: async (test, context, signal) => {
        plane.switchBehindTheBack('3');
        return await failingSmoke.run(test, context, signal);
      },
    };
    const app = await start({ smoke, model: { rollback: policy, smokeTest } });

    await pass(minuteMs);

    expect(await only()).toMatchObject({
      state: 'aborted',
      outcome: 'failure',
      detail: expect.stringContaining('stopped (version_changed): a serves 3, b serves 3') as string,
    });
    expect(plane.applied.filter((step) => step.startsWith('undo'))).toEqual([]);
    await app.stop(0);
  });

  it('never undoes a switch on an endpoint that cannot be read: it may have moved', async () => {
    plane = aPlane({ endpoints: ['a'] });
    plane.afterApply = (step) => {
      if (step.phase !== 'switch') return undefined;
      plane.unreadable.add('a');
      return { kind: 'rejected', detail: 'connection lost', class: 'permanent' };
    };
    const app = await start();

    await pass(minuteMs);

    expect(await only()).toMatchObject({ state: 'failed', outcome: 'failure', detail: expect.stringContaining('Nothing was put back') as string });
    expect(plane.serving()).toEqual(['1']);
    await app.stop(0);
  });
});

describe('the clock', () => {
  it.each([
    ['ahead by three days', 72 * hourMs],
    ['back by an hour', -hourMs],
  ])(
    'set %s in the middle of an episode neither ends it nor makes another',
    async (_name, byMs) => {
      for (const state of ['staging', 'watching'] as const) {
        await journal.close();
        clock = new FakeClock();
        journal = await openMemoryJournal({ clock });
        source = new FakeSource();
        source.traffic.set('2', { requests: 100, errorRatio: 0.1 });
        plane = aPlane();
        const app = await start();
        await until(state);

        clock.jump(clock.nowMs() + byMs);
        await pass(2_000);
        expect(await only()).toMatchObject({ outcome: null });
        await pass(byMs < 0 ? 70 * minuteMs : 8 * minuteMs);

        expect(await only()).toMatchObject({ state: 'succeeded' });
        expect(plane.switches).toEqual(['a: 2 -> 1', 'b: 2 -> 1']);
        await app.stop(0);
      }
    },
    30_000,
  );

  it('set back between turns makes no numbers of old into a breach', async () => {
    source.traffic.set('2', { requests: 100, errorRatio: 0 });
    const app = await start();
    await clock.advance(minuteMs);

    clock.jump(clock.nowMs() - hourMs);
    source.traffic.set('2', { requests: 100, errorRatio: 0.5 });
    await clock.advance(10 * minuteMs);

    expect(await journal.episodes({})).toEqual([]);
    expect(app.board.of('fraud')[0]).toMatchObject({ kind: 'error', reason: expect.stringContaining('went back by') as string });
    await app.stop(0);
  });
});

describe('a dry run', () => {
  const rules = [
    aRule(),
    aRule({ id: 'fraud/Slow', alert: 'Slow', condition: { kind: 'request_rate', windowMs: minuteMs, limit: { op: 'above', value: 150 }, minRequests: 1 } }),
  ];

  it('is recorded once a breach, also when the source fails in between and another rule joins in', async () => {
    const app = await start({ rules, model: { rollback: { ...policy, mode: 'dry_run' } } });
    await clock.advance(20_000);
    source.failure = 'prometheus answered 503';
    await clock.advance(20_000);
    source.failure = null;
    await clock.advance(20_000);
    source.traffic.set('2', { requests: 200, errorRatio: 0.1 });
    await clock.advance(20_000);

    expect(await journal.episodes({})).toHaveLength(1);

    source.traffic.set('2', { requests: 100, errorRatio: 0 });
    await clock.advance(20_000);
    source.traffic.set('2', { requests: 100, errorRatio: 0.1 });
    await clock.advance(20_000);
    expect(await journal.episodes({})).toHaveLength(2);
    await app.stop(0);
  });

  it('forced by --dry-run at a restart stops what was under way', async () => {
    const first = await start();
    await until('staging');
    first.hurry();
    await clock.advance(2_000);

    const second = await start({ forceDryRun: true });
    await pass(minuteMs);

    expect((await journal.episodes({})).at(-1)).toMatchObject({ state: 'aborted', detail: expect.stringContaining('stopped (dry_run)') as string });
    expect(plane.switches).toEqual([]);
    await second.stop(0);
  });
});

describe('storms', () => {
  it('does not try again in every turn where the plane has no plan', async () => {
    plane.planRefusal = 'version 1 has no folder';
    const app = await start();

    await pass(5 * minuteMs);

    expect(await only()).toMatchObject({ state: 'failed', startedAtMs: null, detail: expect.stringContaining('version 1 has no folder') as string });
    await app.stop(0);
  });

  it('does not ask again in every turn when nobody approves', async () => {
    const app = await start({ model: { rollback: { ...policy, requireApproval: 'always', approvalTimeoutMs: minuteMs } } });

    await pass(20 * minuteMs);

    expect(await only()).toMatchObject({ state: 'rejected' });
    await app.stop(0);
  });

  it('journals little while nothing happens, and while a rule fires', async () => {
    source.traffic.set('2', { requests: 100, errorRatio: 0 });
    const quiet = await start();
    await clock.advance(3 * hourMs);
    expect((await eventsOf('ledger')).length).toBeLessThan(60);
    expect(await eventsOf('rule_states')).toEqual([]);

    source.traffic.set('2', { requests: 100, errorRatio: 0.1 });
    await quiet.memory.append([{ type: 'paused', pause: { model: null, sinceMs: clock.nowMs(), untilMs: null, reason: 'x', by: 'ada' } }]);
    await clock.advance(10 * minuteMs);
    expect((await eventsOf('rule_states')).length).toBeLessThan(25);
    await quiet.stop(0);
    expect(quiet.memory.ledgerEntry('fraud', '2')).toEqual((await journal.ledger())[0]);
  }, 30_000);
});

describe('a control plane that hangs', () => {
  it('delays neither the decision about another model nor the next turn', async () => {
    const other = aPlane();
    const hang = Promise.withResolvers<void>();
    plane.hang = hang.promise;
    const app = await start({ others: [{ model: { name: 'ranker', rollback: policy }, plane: other }] });

    await clock.advance(minuteMs);

    expect((await journal.episodes({})).map((episode) => episode.model)).toEqual(['ranker']);
    expect(app.board.of('fraud')[0]?.atMs).toBeGreaterThan(clock.nowMs() - 10_000);
    hang.resolve();
    await app.stop(0);
  });

  it('proves nothing by silence: no success while an endpoint cannot be read', async () => {
    const app = await start();
    await until('watching');
    plane.unreadable.add('b');

    await pass(8 * minuteMs);

    expect(await only()).toMatchObject({ state: 'failed', outcome: 'unknown', detail: expect.stringContaining('b serves connection refused') as string });
    await app.stop(0);
  });
});

describe('attribution: serving', () => {
  const model = { attribution: { kind: 'serving' as const }, rollback: policy };

  it('judges nothing from before it first saw the version serve, nor from before a switch', async () => {
    const app = await start({ model });
    source.traffic.clear();
    source.traffic.set('', { requests: 100, errorRatio: 0 });

    await clock.advance(30_000);
    expect(Math.max(...source.windows)).toBeLessThan(31_000);
    await clock.advance(2 * minuteMs);
    expect(Math.max(...source.windows)).toBe(minuteMs);

    plane.switchBehindTheBack('3');
    await clock.advance(20_000);
    source.windows.length = 0;
    await clock.advance(5_000);
    expect(Math.max(...source.windows)).toBeLessThan(21_000);
    await app.stop(0);
  });

  it.each([
    ['goes on where a short restart left off', 30_000, minuteMs],
    ['begins anew after a long absence', 10 * minuteMs, 10_000],
  ])('%s', async (_name, absentMs, windowMs) => {
    const lastServedMs = clock.nowMs() - absentMs;
    await journal.append([{ type: 'ledger', entries: [aLedgerEntry('2', { servingSinceMs: clock.nowMs() - hourMs, lastServedMs })] }]);
    source.traffic.set('2', { requests: 100, errorRatio: 0 });
    const app = await start({ model });

    await clock.advance(7_000);

    expect(Math.max(...source.windows)).toBeLessThanOrEqual(windowMs);
    if (absentMs < minuteMs) expect(Math.max(...source.windows)).toBe(windowMs);
    await app.stop(0);
  });
});

describe('history', () => {
  const backfilled = { ...policy, knownGood: { minAgeMs: hourMs, minRequests: 1000, backfillMs: 4 * hourMs, versions: [] } };

  /** Version 1 served well for hours, then version 2. */
  function tellHistory(): void {
    source.history = async (questions, { startMs, endMs, stepMs }) => {
      const points = [];
      for (let atMs = startMs; atMs <= endMs; atMs += stepMs) {
        const version = endMs - atMs > hourMs ? '1' : '2';
        const answer = (kind: string, isErrors: boolean): Answer =>
          kind === 'newest'
            ? { kind: 'newest', byVersion: new Map([[version, atMs]]) }
            : { kind: 'increase', byVersion: new Map([[version, isErrors ? 0 : 6_000]]) };
        points.push({
          atMs,
          answers: new Map(
            questions.map((question) => [
              question.id,
              answer(
                question.kind,
                question.matchers.some((matcher) => matcher.label === 'code'),
              ),
            ]),
          ),
        });
      }
      return points;
    };
  }

  it('joins the line that the first turns have begun, and is read once', async () => {
    tellHistory();
    source.traffic.set('2', { requests: 100, errorRatio: 0 });
    const app = await start({ model: { rollback: backfilled } });
    const before = clock.nowMs();
    await clock.advance(10 * minuteMs);

    const entry = app.memory.ledgerEntry('fraud', '2');
    expect(entry?.origin).toBe('backfill');
    expect(entry?.healthyMs).toBeGreaterThanOrEqual(hourMs + 9 * minuteMs);
    expect(entry?.healthyMs).toBeLessThanOrEqual(hourMs + (clock.nowMs() - before) + minuteMs);
    expect(app.memory.ledgerEntry('fraud', '1')?.healthyMs).toBeGreaterThan(2 * hourMs);

    const known = entry?.healthyMs ?? 0;
    await app.replaceRuntime(app.runtime);
    await clock.advance(minuteMs);
    expect(app.memory.ledgerEntry('fraud', '2')?.healthyMs).toBeLessThanOrEqual(known + minuteMs + 10_000);
    await app.stop(0);
  });

  it('does not bring back health that a breach has taken away', async () => {
    tellHistory();
    const { firstSeenMs } = aLedgerEntry('2', { firstSeenMs: clock.nowMs() - 10_000 });
    await journal.append([{ type: 'ledger', entries: [aLedgerEntry('2', { firstSeenMs, healthyMs: 5, healthyRequests: 5, lastBreachMs: firstSeenMs + 5 })] }]);
    source.traffic.set('2', { requests: 100, errorRatio: 0 });
    const app = await start({ model: { rollback: backfilled } });
    await clock.advance(minuteMs);

    expect(app.memory.ledgerEntry('fraud', '2')?.healthyMs).toBeLessThan(2 * minuteMs);
    await app.stop(0);
  });
});

describe('a reload', () => {
  it('takes down what removed rules said, so that it blocks no target for ever', async () => {
    const app = await start({ rules: [aRule({ rollback: null })] });
    await clock.advance(20_000);
    expect(app.board.of('fraud')).toHaveLength(1);

    await app.replaceRuntime({ ...app.runtime, groups: [] });

    expect(app.board.of('fraud')).toEqual([]);
    await app.stop(0);
  });
});

it('keeps cooldown and budget at hand after many dry runs of other models', async () => {
  const app = await start();
  await pass(6 * minuteMs);
  await app.stop(0);
  const [done] = await journal.episodes({});
  const { detectedAtMs } = done as Episode;
  for (let index = 0; index < 300; index += 1) {
    const episode: Episode = {
      ...(done as Episode),
      id: `rb_dry${index}`,
      model: `m${index % 3}`,
      mode: 'dry_run',
      state: 'recorded',
      detectedAtMs: detectedAtMs + index,
      finishedAtMs: null,
      steps: [],
    };
    await journal.append([{ type: 'episode_opened', episode }]);
  }
  plane.switchBehindTheBack('2');
  const again = await start();
  await pass(minuteMs);

  expect(await journal.episodes({ model: aModel().name })).toHaveLength(1);
  expect((await journal.decisions({}))[0]).toMatchObject({ decision: 'hold', reason: 'cooldown' });
  expect(again.memory.episodes('m0')).toHaveLength(20);
  await again.stop(0);
});

it('journals no header, body or environment of a smoke test, and runs the whole test all the same', async () => {
  const seen: string[] = [];
  const smoke: SmokeRunner = {
    run: async (test) => {
      seen.push(...test.requests.map((request) => request.name));
      return [{ name: 'one transaction', outcome: 'passed', durationMs: 5, detail: '' }];
    },
  };
  const request = { kind: 'command' as const, name: 'pytest', argv: ['pytest'] as const, env: { TOKEN: 's3cr3t' }, cwd: '/' };
  const app = await start({ smoke, model: { rollback: policy, smokeTest: { ...smokeTest, requests: [request] } } });

  await pass(6 * minuteMs);

  expect(await only()).toMatchObject({ state: 'succeeded' });
  expect(seen).toEqual(['pytest', 'pytest']);
  expect(JSON.stringify(await journal.events(0, 100_000))).not.toContain('s3cr3t');
  await app.stop(0);
});
