import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { aLedgerEntry, aPolicy, aRule, aSequentialCondition, noonMs } from '../../test/support/builders.ts';
import { CounterSource } from '../../test/support/counter-source.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { FakePlane } from '../../test/support/fake-plane.ts';
import { onlyEpisode } from '../../test/support/followed-traffic.ts';
import { binomial, burstyChance, seededRandom } from '../../test/support/random.ts';
import { type StageOptions, setStage } from '../../test/support/stage.ts';
import { openMemoryJournal } from '../adapters/journal/memory/open.ts';
import type { Episode } from '../domain/episode.ts';
import type { Journal } from '../domain/ports.ts';
import type { Rule, SequentialCondition } from '../domain/rule.ts';
import type { App } from './app.ts';

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const policy = aPolicy({ knownGood: { minAgeMs: 1, minRequests: 1, backfillMs: 0, versions: ['1'] }, stickMs: 5_000 });

function aSequentialRule(changes: Partial<SequentialCondition> = {}, rule: Partial<Rule> = {}): Rule {
  return aRule({ condition: aSequentialCondition(changes), ...rule });
}

let clock: FakeClock;
let journal: Journal;
let source: CounterSource;
let plane: FakePlane;
let random: () => number;

beforeEach(async () => {
  await prepare(1);
});

afterEach(async () => {
  await journal.close();
});

async function prepare(seed: number): Promise<void> {
  clock = new FakeClock();
  journal = await openMemoryJournal({ clock });
  source = new CounterSource();
  plane = new FakePlane({ clock, serving: '2', loadMs: 2_000 });
  random = seededRandom(seed);
}

async function start(options: Partial<StageOptions> = {}): Promise<App> {
  const { app } = await setStage({ clock, journal, plane, source, rules: [aSequentialRule()], intervalMs: 1_000, model: { rollback: policy }, ...options });
  app.start();
  return app;
}

/** Chance of a failure per version, from now on. */
type Rates = Readonly<Record<string, number | (() => number)>>;

/** Traffic goes where the plane sends it; the pages are read every `stepMs`, a moment before the rules are judged. */
async function pass(
  durationMs: number,
  rates: Rates,
  options: { stepMs?: number; perSecond?: number; share?: Readonly<Record<string, number>> } = {},
): Promise<void> {
  const { stepMs = 1_000, perSecond = 20, share } = options;
  for (let passedMs = 0; passedMs < durationMs; passedMs += stepMs) {
    await clock.advance(stepMs - 10);
    const shares = share ?? { [plane.serving()[0] ?? '']: 1 };
    for (const [version, part] of Object.entries(shares)) {
      const rate = rates[version] ?? 0;
      const requests = Math.round((perSecond * part * stepMs) / 1000);
      source.serve(version, requests, binomial(random, requests, typeof rate === 'number' ? rate : rate()));
    }
    source.read(clock.nowMs());
    await clock.advance(10);
  }
}

/** One turn run alone, after everything has been read: as `pass`, without the loops and their waiting. */
async function turn(app: App, rate: number, stepMs = 1_000, requests = 20): Promise<void> {
  clock.jump(clock.nowMs() + stepMs);
  source.serve('2', requests, binomial(random, requests, rate));
  source.read(clock.nowMs());
  await app.turn();
}

const only = async (): Promise<Episode> => await onlyEpisode(journal);

async function untilEpisode(rates: Rates, mostMs = 60_000): Promise<Episode> {
  for (let passedMs = 0; passedMs < mostMs; passedMs += 1_000) {
    const [episode] = await journal.episodes({});
    if (episode !== undefined) return episode;
    await pass(1_000, rates);
  }
  throw new Error('no episode was opened');
}

describe('detect: sequential through the whole program', () => {
  it('detects half of 20 requests a second failing within 5 s, by the median of many plays', async () => {
    const delays: number[] = [];
    for (let seed = 1; seed <= 11; seed += 1) {
      await prepare(seed);
      const { app } = await setStage({ clock, journal, plane, source, rules: [aSequentialRule()], intervalMs: 1_000, model: { rollback: policy } });
      for (let second = 0; second < 60; second += 1) await turn(app, 0.002);
      // Somewhere within the second that is read next.
      const beforeMs = 1_000 * random();
      const faultMs = clock.nowMs() + beforeMs;
      await turn(app, 0.002 + (1 - beforeMs / 1_000) * 0.498);
      for (let second = 0; second < 20 && (await journal.episodes({})).length === 0; second += 1) await turn(app, 0.5);
      delays.push((await only()).detectedAtMs - faultMs);
    }

    delays.sort((x, y) => x - y);
    expect(delays[Math.floor(delays.length / 2)]).toBeLessThan(5_000);
    expect(delays.at(-1)).toBeLessThan(8_000);
  });

  it('rolls back, sees the target recover by its own counts, and ends', async () => {
    await start();
    await pass(minuteMs, { 2: 0.002 });
    const opened = await untilEpisode({ 2: 0.5 });
    expect(opened.reason).toMatch(/^error ratio .* since .* > 5%: evidence .* \(1 false alarm in 100 days\)$/);

    expect(opened.evidence.window).toMatch(/^\ds$/);

    await pass(minuteMs, { 2: 0.5, 1: 0.002 });

    const episode = await only();
    expect(episode).toMatchObject({ state: 'succeeded', outcome: 'success', from: '2', to: '1' });
    expect(plane.switches).toHaveLength(2);
    expect((episode.recoveredAtMs ?? 0) - (episode.switchedAtMs ?? 0)).toBeLessThan(45_000);
  });

  it('says that it did not help when the target is no better', async () => {
    await start({ model: { rollback: { ...policy, recoveryWithinMs: minuteMs } } });
    await pass(minuteMs, { 2: 0.002 });
    await untilEpisode({ 2: 0.5 });

    await pass(2 * minuteMs, { 2: 0.5, 1: 0.5 });

    expect(await only()).toMatchObject({ state: 'failed', outcome: 'failure', detail: expect.stringContaining('did not recover') });
  });

  it('loses no evidence over a restart', async () => {
    const first = await start({ rules: [aSequentialRule({}, { forMs: 0 })] });
    await pass(2 * minuteMs, { 2: 0.01 });
    await pass(20_000, { 2: 0.12 });
    const before = (await journal.ruleStates()).get('fraud/ErrorsHigh 2')?.sequential;
    await first.stop(0);
    const stopped = (await journal.ruleStates()).get('fraud/ErrorsHigh 2')?.sequential;

    await start();
    await pass(1_000, { 2: 0.12 });
    await pass(1_000, { 2: 0.12 });

    const sum = (values: readonly number[] | undefined): number => (values ?? []).reduce((total, value) => total + value, 0);
    const after = (await journal.ruleStates()).get('fraud/ErrorsHigh 2')?.sequential;
    expect(stopped?.uptoMs).toBeGreaterThanOrEqual(before?.uptoMs ?? Number.POSITIVE_INFINITY);
    expect(sum(stopped?.detector.bad.value)).toBeGreaterThan(1e-3);
    expect(after?.begunMs).toBe(stopped?.begunMs);
    expect(sum(after?.detector.bad.value)).toBeGreaterThan(0.2 * sum(stopped?.detector.bad.value));
    expect((after?.detector.seen ?? 0) - (stopped?.detector.seen ?? 0)).toBeLessThanOrEqual(60);
  });

  it('decides in the same second when it was killed on the way', async () => {
    const decided = async (killAfter: number | null): Promise<number> => {
      await prepare(5);
      const stage = { clock, journal, plane, source, rules: [aSequentialRule()], intervalMs: 1_000, model: { rollback: policy } };
      let { app } = await setStage(stage);
      for (let second = 0; second < 60; second += 1) await turn(app, 0.01);
      for (let second = 1; second < 120; second += 1) {
        await turn(app, 0.2);
        if ((await journal.episodes({})).length > 0) return second;
        if (second === killAfter) ({ app } = await setStage(stage));
      }
      throw new Error('nothing was decided');
    };

    const undisturbed = await decided(null);
    expect(undisturbed).toBeGreaterThan(4);
    for (let second = 1; second < undisturbed; second += 3) expect(await decided(second)).toBe(undisturbed);
  });

  it('counts nothing from answers that are in part, and decides nothing on them', async () => {
    await start();
    await pass(minuteMs, { 2: 0.002 });
    source.failure = '1 of 2 targets missing';
    await pass(minuteMs, { 2: 0.5 });
    expect(await journal.episodes({})).toEqual([]);
    expect((await journal.ruleStates()).get('fraud/ErrorsHigh 2')?.sequential?.uptoMs ?? 0).toBeLessThanOrEqual(noonMs + minuteMs);

    source.failure = null;
    await untilEpisode({ 2: 0.5 }, 3_000);
  });

  it('asks for less when much cannot be had', async () => {
    source.failure = 'query processing would load too many samples into memory';
    await start();

    await pass(5_000, { 2: 0.002 });

    expect([...new Set(source.windows)]).toEqual([5 * minuteMs, minuteMs]);
  });

  it('holds when all versions with traffic show it', async () => {
    await start();
    const share = { 1: 0.8, 2: 0.2 };
    await pass(minuteMs, { 1: 0.002, 2: 0.002 }, { share, perSecond: 50 });

    for (let second = 0; second < 60; second += 1) {
      const chance = burstyChance(random, 0.4, 0.2);
      await pass(1_000, { 1: chance, 2: chance }, { share, perSecond: 50 });
    }

    expect(plane.switches).toEqual([]);
    expect(await journal.episodes({})).toEqual([]);
    const decisions = await journal.decisions({});
    expect(decisions.length).toBeGreaterThan(0);
    expect(new Set(decisions.map(({ reason }) => reason))).toEqual(new Set(['breach_everywhere']));
  });

  it('keeps to what a version counted itself where metrics carry no version', async () => {
    const model = { rollback: policy, attribution: { kind: 'serving' as const } };
    await start({ model });
    const oneServer = async (durationMs: number, rates: Rates): Promise<void> => {
      for (let passedMs = 0; passedMs < durationMs; passedMs += 1_000) {
        await clock.advance(990);
        // One server, whose counters go on whatever it serves.
        source.serve('any', 20, binomial(random, 20, Number(rates[plane.serving()[0] ?? ''] ?? 0)));
        source.read(clock.nowMs());
        await clock.advance(10);
      }
    };
    await oneServer(minuteMs, { 2: 0.002 });
    await oneServer(10_000, { 2: 0.5, 1: 0.002 });
    expect(await only()).toMatchObject({ from: '2', to: '1' });

    await oneServer(minuteMs, { 2: 0.5, 1: 0.002 });

    expect(await only()).toMatchObject({ state: 'succeeded', outcome: 'success' });
    const after = (await journal.ruleStates()).get('fraud/ErrorsHigh 1')?.sequential;
    expect(after?.begunMs).toBeGreaterThanOrEqual((await only()).switchedAtMs ?? 0);
  });

  it('keeps what an unchanged rule has counted over a reload, and starts a changed one anew', async () => {
    const stage = { clock, journal, plane, source, intervalMs: 1_000, model: { rollback: policy } };
    const { app } = await setStage({ ...stage, rules: [aSequentialRule()] });
    app.start();
    await pass(70_000, { 2: 0.002 });
    const evidence = async () => (await journal.ruleStates()).get('fraud/ErrorsHigh 2')?.sequential;
    const before = await evidence();

    const { runtime: same } = await setStage({ ...stage, rules: [aSequentialRule({}, { forMs: 1_000, labels: { severity: 'page' } })] });
    await app.replaceRuntime(same);
    await pass(70_000, { 2: 0.002 });
    expect((await evidence())?.begunMs).toBe(before?.begunMs);
    expect((await evidence())?.detector.seen).toBeGreaterThan((before?.detector.seen ?? 0) + 500);

    const { runtime: changed } = await setStage({ ...stage, rules: [aSequentialRule({ limit: { op: 'above', value: 0.1 } })] });
    await app.replaceRuntime(changed);
    await pass(10_000, { 2: 0.002 });
    const after = await evidence();
    expect(after?.shape).not.toBe(before?.shape);
    expect(after?.detector.seen).toBeLessThan(7_000);
    expect(await journal.episodes({})).toEqual([]);
  });

  it('rolls back a canary that is worse than the version beside it, and sees the target recover', async () => {
    const limit = { op: 'above_baseline' as const, times: 2, byAtLeast: 0.02, andAbove: 0 };
    await start({ rules: [aSequentialRule({ limit })] });
    const share = { 1: 0.8, 2: 0.2 };
    const rates = { 1: 0.01, 2: 0.01 };
    await pass(minuteMs, rates, { share, perSecond: 50 });
    expect(await journal.episodes({})).toEqual([]);

    for (let second = 0; second < 60 && (await journal.episodes({})).length === 0; second += 1)
      await pass(1_000, { 1: 0.01, 2: 0.4 }, { share, perSecond: 50 });
    const opened = await only();
    expect(opened.reason).toMatch(/^error ratio .* since .* > 2 × .* of version 1 \+ 2% = .*: evidence/);
    expect(opened.evidence.baseline).toMatchObject({ version: '1' });

    await pass(minuteMs, { 1: 0.01 }, { perSecond: 50 });
    expect(await only()).toMatchObject({ state: 'succeeded', outcome: 'success', to: '1' });
  });

  it('fills the journal with little while all is well, and while a breach is only recorded', async () => {
    const { app } = await setStage({ clock, journal, plane, source, rules: [aSequentialRule()], model: { rollback: { ...policy, mode: 'dry_run' } } });
    const written = async () => (await journal.events(0, 100_000)).filter(({ event }) => event.type === 'rule_states');
    for (let step = 0; step < 300; step += 1) await turn(app, 0.01, 5_000, 100);
    expect((await written()).length).toBeLessThan(40);
    const calm = await written();

    for (let step = 0; step < 300; step += 1) await turn(app, 0.5, 5_000, 100);

    expect((await written()).length - calm.length).toBeLessThan(80);
    expect(await journal.episodes({})).toMatchObject([{ state: 'recorded' }]);
  });

  it('tells of missing data, not of being undecided', async () => {
    const app = await start({ rules: [aSequentialRule({}, { onNoData: 'alert' })] });
    await pass(minuteMs, { 2: 0.05 });
    const states = async () => (await journal.ruleStates()).get('fraud/ErrorsHigh 2');
    expect(app.board.of('fraud')).toMatchObject([{ kind: 'no_data', reason: expect.stringContaining('undecided') }]);
    expect((await states())?.firingSinceMs ?? null).toBeNull();

    await clock.advance(3 * minuteMs);

    expect(app.board.of('fraud')).toMatchObject([{ kind: 'no_data', reason: expect.stringContaining('newest sample is') }]);
    expect((await states())?.firingSinceMs).not.toBeNull();
  });

  it('leaves healthy versions at 2 % alone for a day, one with independent errors and one with bursty ones', async () => {
    await journal.append([{ type: 'ledger', entries: [aLedgerEntry('1')] }]);
    const { app } = await setStage({ clock, journal, plane, source, rules: [aSequentialRule()], intervalMs: 30_000, model: { rollback: policy } });
    for (let step = 0; step < 2 * 60 * 24; step += 1) {
      source.serve('1', 120, binomial(random, 120, 0.02));
      await turn(app, burstyChance(random, 0.02, 0.02), 30_000, 120);
    }

    expect(await journal.episodes({})).toEqual([]);
    expect(await journal.decisions({})).toEqual([]);
    const verdicts = app.board.of('fraud');
    expect(verdicts.map(({ version }) => version).toSorted()).toEqual(['1', '2']);
    expect(verdicts.every(({ kind }) => kind === 'ok')).toBe(true);
    expect((await journal.ledger()).find(({ version }) => version === '2')?.healthyMs).toBeGreaterThan(20 * hourMs);
  }, 60_000);
});
