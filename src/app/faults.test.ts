import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { aPolicy, aRule } from '../../test/support/builders.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { FakePlane } from '../../test/support/fake-plane.ts';
import { FakeSource } from '../../test/support/fake-source.ts';
import { onlyEpisode, passWithTraffic } from '../../test/support/followed-traffic.ts';
import { type StageOptions, setStage } from '../../test/support/stage.ts';
import { openMemoryJournal } from '../adapters/journal/memory/open.ts';
import type { Config } from '../config/config.ts';
import { type Journal, JournalError } from '../domain/ports.ts';
import type { StatusView } from '../web/api.ts';
import { AppQueries } from './queries.ts';

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const policy = aPolicy({ knownGood: { minAgeMs: 1, minRequests: 1, backfillMs: 0, versions: ['1'] }, convergeTimeoutMs: 2 * minuteMs });
const rule = aRule({ forMs: 20_000 });
const settings = {
  journal: { kind: 'sqlite' },
  leaderElection: null,
  sources: [{ name: 'prom', kind: 'prometheus' }],
  controlPlanes: [{ name: 'tfs', kind: 'tensorflow_serving' }],
  hash: 'ab12',
} as unknown as Config;

let clock: FakeClock;
let journal: Journal;
let source: FakeSource;
let plane: FakePlane;
/** What the journal's calls of that sort fail with; `null`: they do not. */
let broken: { readonly reads: string | null; readonly writes: string | null };

beforeEach(async () => {
  clock = new FakeClock();
  journal = await openMemoryJournal({ clock });
  source = new FakeSource();
  plane = new FakePlane({ clock, serving: '2', loadMs: 5_000 });
  broken = { reads: null, writes: null };
});

afterEach(async () => {
  await journal.close();
});

/** The journal behind what may break it. */
function breakable(): Journal {
  return new Proxy<Journal>(journal, {
    get: (target, key) => {
      const value: unknown = Reflect.get(target, key, target);
      if (typeof value !== 'function') return value;
      return async (...args: unknown[]): Promise<unknown> => {
        const why = key === 'append' ? broken.writes : broken.reads;
        if (why !== null) throw new JournalError(`journal /var/lib/rollbackd.db: ${why}`);
        return await (value.apply(target, args) as Promise<unknown>);
      };
    },
  });
}

async function start(options: Partial<StageOptions> = {}) {
  const { app, metrics } = await setStage({ clock, journal: breakable(), plane, source, model: { rollback: policy }, rules: [rule], ...options });
  app.start();
  const queries = new AppQueries(app, clock, { settings: () => ({ config: settings, loadedMs: clock.nowMs(), faults: [] }), messagesWaiting: () => 0 });
  return {
    app,
    status: async (): Promise<StatusView> => await queries.status(),
    metric: async (name: string): Promise<number> => {
      const line = (await metrics.render()).body.split('\n').find((each) => each.startsWith(`${name} `) || each.startsWith(`${name}{`));
      return Number(line?.split(' ').at(-1));
    },
  };
}

const pass = async (durationMs: number, healthy?: ReadonlySet<string>): Promise<void> => await passWithTraffic({ clock, plane, source }, durationMs, healthy);
const both = new Set(['1', '2']);

type Fault = {
  readonly name: string;
  readonly up: string;
  /** Also what the status says. */
  readonly words: string;
  readonly begin: (words: string) => void;
  readonly end: () => void;
  readonly of: (status: StatusView) => { readonly up: boolean | null; readonly error: string | null } | undefined;
};

const faults: readonly Fault[] = [
  {
    name: 'a source that fails',
    up: 'rollbackd_source_up',
    words: 'Prometheus prom:9090: answered 503',
    begin: (words) => (source.failure = words),
    end: () => (source.failure = null),
    of: ({ sources }) => sources[0],
  },
  {
    name: 'a control plane that fails',
    up: 'rollbackd_control_plane_up',
    words: 'tfs-0:8500: connection refused',
    begin: (words) => (plane.unreachable = words),
    end: () => (plane.unreachable = null),
    of: (status) => status.control_planes[0],
  },
  {
    name: 'a journal on a full disk',
    up: 'rollbackd_journal_up',
    words: 'journal /var/lib/rollbackd.db: the disk is full',
    begin: () => (broken = { reads: null, writes: 'the disk is full' }),
    end: () => (broken = { reads: null, writes: null }),
    of: (status) => status.journal,
  },
  {
    name: 'a journal that cannot be asked',
    up: 'rollbackd_journal_up',
    words: 'journal /var/lib/rollbackd.db: connection refused',
    begin: () => (broken = { reads: 'connection refused', writes: 'connection refused' }),
    end: () => (broken = { reads: null, writes: null }),
    of: (status) => status.journal,
  },
];

describe.each(faults)('$name', ({ up, words, begin, end, of }) => {
  it('while the version breaches: nothing is rolled back, the status says why, and afterwards it is rolled back once', async () => {
    const { app, status, metric } = await start();
    begin(words);
    await pass(5 * minuteMs);

    expect(plane.switches).toEqual([]);
    expect(plane.applied).toEqual([]);
    expect(await metric(up)).toBe(0);
    expect(of(await status())).toMatchObject({ up: false, error: words });
    const turns = await metric('rollbackd_rule_group_last_evaluation_timestamp_seconds');
    expect(clock.nowMs() / 1000 - turns).toBeLessThan(30);

    end();
    await pass(6 * minuteMs);

    expect(await onlyEpisode(journal)).toMatchObject({ state: 'succeeded', from: '2', to: '1' });
    expect(plane.switches).toEqual(['a: 2 -> 1', 'b: 2 -> 1']);
    expect(await metric(up)).toBe(1);
    expect(of(await status())).toMatchObject({ up: true, error: null });
    await app.stop(0);
  });

  it('while the version is healthy: nothing is rolled back, then or later', async () => {
    const { app, status, metric } = await start();
    await pass(minuteMs, both);
    begin(words);
    await pass(5 * minuteMs, both);
    expect(await metric(up)).toBe(0);

    end();
    await pass(3 * minuteMs, both);

    expect(await journal.episodes({})).toEqual([]);
    expect(plane.applied).toEqual([]);
    expect(of(await status())).toMatchObject({ up: true, error: null });
    await app.stop(0);
  });

  it.each(['staging', 'watching'] as const)('while a rollback is %s: it ends well after it, with one switch', async (state) => {
    const { app, metric } = await start();
    for (let look = 0; (await journal.episodes({}))[0]?.state !== state; look += 1) {
      if (look > 300) throw new Error(`no episode became ${state}`);
      await pass(1_000);
    }
    begin(words);
    await pass(40_000);
    end();
    await pass(8 * minuteMs);

    expect(await onlyEpisode(journal)).toMatchObject({ state: 'succeeded', outcome: 'success' });
    expect(plane.switches).toEqual(['a: 2 -> 1', 'b: 2 -> 1']);
    expect(await metric(up)).toBe(1);
    await app.stop(0);
  });
});

describe('a clock that jumps', () => {
  const slow = aRule({ forMs: 5 * minuteMs });

  it.each([
    ['ahead by three hours', 3 * hourMs],
    ['back by three hours', -3 * hourMs],
  ])('%s while a breach is pending does not make it old', async (_name, byMs) => {
    const { app } = await start({ rules: [slow] });
    await pass(minuteMs);
    expect(app.board.of('fraud')[0]).toMatchObject({ kind: 'pending' });

    clock.jump(clock.nowMs() + byMs);
    await pass(3 * minuteMs);
    expect(await journal.episodes({})).toEqual([]);
    expect(app.board.of('fraud')[0]?.kind).toMatch(/pending|error/);

    // However far it went back: within an hour it is believed.
    await pass(byMs < 0 ? 75 * minuteMs : 15 * minuteMs);
    expect(await onlyEpisode(journal)).toMatchObject({ state: 'succeeded' });
    expect(plane.switches).toEqual(['a: 2 -> 1', 'b: 2 -> 1']);
    await app.stop(0);
  });

  it('back by hours in the cooldown lets nothing through before it is over', async () => {
    const { app } = await start({ model: { rollback: { ...policy, cooldownMs: 30 * minuteMs, knownGood: { ...policy.knownGood, versions: ['0', '1'] } } } });
    await pass(10 * minuteMs);
    expect(await onlyEpisode(journal)).toMatchObject({ state: 'succeeded' });

    clock.jump(clock.nowMs() - 2 * hourMs);
    await pass(25 * minuteMs, new Set(['0']));

    expect(plane.switches).toEqual(['a: 2 -> 1', 'b: 2 -> 1']);
    await app.stop(0);
  });

  it('ahead by hours while the version is healthy begins nothing', async () => {
    const { app } = await start();
    await pass(minuteMs, both);

    clock.jump(clock.nowMs() + 5 * hourMs);
    await pass(5 * minuteMs, both);
    clock.jump(clock.nowMs() - 5 * hourMs);
    await pass(5 * minuteMs, both);

    expect(await journal.episodes({})).toEqual([]);
    await app.stop(0);
  });
});
