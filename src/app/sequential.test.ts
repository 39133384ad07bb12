import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { aLedgerEntry, aPolicy, aRule, noonMs } from '../../test/support/builders.ts';
import { CounterSource } from '../../test/support/counter-source.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { FakePlane } from '../../test/support/fake-plane.ts';
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
  const condition: SequentialCondition = {
    kind: 'sequential',
    of: { kind: 'error_ratio' },
    limit: { op: 'above', value: 0.05 },
    minRequests: 0,
    healthy: null,
    alpha: 0.01,
    perMs: 24 * hourMs,
    burst: 'auto',
    severe: null,
    ...changes,
  };
  return aRule({ condition, ...rule });
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

async function only(): Promise<Episode> {
  const episodes = await journal.episodes({});
  expect(episodes).toHaveLength(1);
  return episodes[0] as Episode;
}

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
    for (let seed = 1; seed <= 15; seed += 1) {
      await prepare(seed);
      const { app } = await setStage({ clock, journal, plane, source, rules: [aSequentialRule()], intervalMs: 1_000, model: { rollback: policy } });
      for (let second = 0; second < 120; second += 1) await turn(app, 0.002);
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

    await pass(2 * minuteMs, { 2: 0.5, 1: 0.002 });

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

  it.each([
    { errors: 'independent', chance: () => 0.02 },
    { errors: 'bursty', chance: () => burstyChance(random, 0.02, 0.02) },
  ])('leaves a healthy version at 2 % alone for a day, with $errors errors', async ({ chance }) => {
    await journal.append([{ type: 'ledger', entries: [aLedgerEntry('1')] }]);
    const { app } = await setStage({ clock, journal, plane, source, rules: [aSequentialRule()], intervalMs: 15_000, model: { rollback: policy } });
    for (let step = 0; step < 4 * 60 * 24; step += 1) await turn(app, chance(), 15_000, 60);

    expect(await journal.episodes({})).toEqual([]);
    expect(await journal.decisions({})).toEqual([]);
    expect(app.board.of('fraud')).toMatchObject([{ kind: 'ok' }]);
    expect((await journal.ledger()).find(({ version }) => version === '2')?.healthyMs).toBeGreaterThan(20 * hourMs);
  });
});
