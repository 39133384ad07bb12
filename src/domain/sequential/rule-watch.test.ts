import { describe, expect, it } from 'vitest';
import { aSequentialCondition, noonMs } from '../../../test/support/builders.ts';
import { binomial, burstyChance, seededRandom } from '../../../test/support/random.ts';
import { findIn } from '../conditions/find.ts';
import { createDetector } from '../detect/index.ts';
import type { CounterSeries, Counters, SequentialReading } from '../measurement.ts';
import type { SequentialCondition } from '../rule.ts';
import { RuleWatch, type VersionSeen } from './rule-watch.ts';
import type { SequentialState } from './version-watch.ts';

const secondMs = 1_000;

/** Versions with counters, read together every second unless told otherwise. */
class World {
  watch: RuleWatch;
  nowMs = noonMs;
  readonly stepMs: number;
  readonly #counters = new Map<string, { ok: number; bad: number; points: { atMs: number; ok: number; bad: number }[] }>();
  states = new Map<string, SequentialState>();
  readings: ReadonlyMap<string, SequentialReading> = new Map();
  readonly condition: SequentialCondition;
  readonly forMs: number;
  seen: Partial<VersionSeen> = {};

  constructor(condition: SequentialCondition = aSequentialCondition(), options: { forMs?: number; stepMs?: number } = {}) {
    this.condition = condition;
    this.forMs = options.forMs ?? 0;
    this.stepMs = options.stepMs ?? secondMs;
    this.watch = this.aWatch();
  }

  aWatch(): RuleWatch {
    return new RuleWatch({ condition: this.condition, forMs: this.forMs, intervalMs: this.stepMs, sharers: 1 });
  }

  /** One step: counts per version, and who is read. */
  step(counts: Readonly<Record<string, readonly [n: number, k: number]>>, read: (version: string) => boolean = () => true): this {
    this.nowMs += this.stepMs;
    for (const [version, [n, k]] of Object.entries(counts)) {
      const known = this.#counters.get(version) ?? { ok: 1000, bad: 0, points: [] };
      known.ok += n - k;
      known.bad += k;
      if (read(version)) known.points.push({ atMs: this.nowMs, ok: known.ok, bad: known.bad });
      this.#counters.set(version, known);
    }
    this.readings = this.watch.read(this.#seen(), this.nowMs);
    return this;
  }

  standing(version: string): string | undefined {
    return this.readings.get(version)?.standing;
  }

  verdict(version: string) {
    const sequential = this.readings.get(version);
    const measurement = { requests: null, errors: null, buckets: null, value: null, newestMs: null, windowMs: 0, error: null };
    return findIn(this.condition, sequential === undefined ? measurement : { ...measurement, sequential }, {
      nowMs: this.nowMs,
      version,
      others: [],
      forMs: this.forMs,
    });
  }

  #seen(): VersionSeen[] {
    return [...this.#counters].map(([version, { points }]) => ({
      version,
      counters: this.#series(version, points.slice(-3)),
      state: this.states.get(version) ?? null,
      switchedMs: null,
      isKnownGood: version === '1',
      firstSeenMs: noonMs,
      ...this.seen,
    }));
  }

  #series(version: string, points: readonly { atMs: number; ok: number; bad: number }[]): Counters {
    const one = (code: 'ok' | 'bad'): CounterSeries => ({
      key: `${version} ${code}`,
      target: version,
      le: null,
      points: points.map((point) => ({ atMs: point.atMs, value: point[code] })),
    });
    return { total: [one('ok'), one('bad')], bad: [one('bad')], sinceMs: null };
  }
}

function healthy(world: World, steps: number, versions: readonly string[] = ['2'], seed = 1): World {
  const random = seededRandom(seed);
  for (let step = 0; step < steps; step += 1) world.step(Object.fromEntries(versions.map((version) => [version, [20, binomial(random, 20, 0.002)] as const])));
  return world;
}

/** Steps until `version` may be acted upon; `null`: not within `most`. */
function stepsUntilBreach(world: World, version: string, step: () => Readonly<Record<string, readonly [number, number]>>, most = 200): number | null {
  for (let count = 1; count <= most; count += 1) if (world.step(step()).verdict(version).isDue === true) return count;
  return null;
}

describe('a rule that is judged from counts', () => {
  it('finds half of 20 requests a second bad within 5 seconds, and says what it counted', () => {
    const world = healthy(new World(), 600);
    expect(world.standing('2')).toBe('ok');

    const random = seededRandom(7);
    const steps = stepsUntilBreach(world, '2', () => ({ '2': [20, binomial(random, 20, 0.5)] }));

    expect(steps).toBeLessThanOrEqual(4);
    const verdict = world.verdict('2');
    expect(verdict.words).toMatch(
      /^error ratio \d+(\.\d+)?% \(\d+ of \d+\) since 12:(09:5|10:0)\d > 5%: evidence \d+(\.\d+)? ≥ 4\.6 \(1 false alarm in 100 days\)$/,
    );
    expect(verdict).toMatchObject({ kind: 'breaching', isDue: true, threshold: 0.05 });
  });

  it('keeps a breach while the errors go on, and while nothing new is read', () => {
    const world = healthy(new World(), 100);
    stepsUntilBreach(world, '2', () => ({ '2': [20, 10] }));

    for (let step = 0; step < 300; step += 1) expect(world.step({ '2': [20, 10] }).standing('2')).toBe('breach');
    expect(world.step({ '2': [20, 0] }, () => false).standing('2')).toBe('breach');
    for (let step = 0; step < 120; step += 1) world.step({ '2': [20, 0] });
    expect(world.verdict('2').kind).toBe('ok');
  });

  it('never ages a degradation, and never calls it over, by reads that are missing', () => {
    const world = healthy(new World(aSequentialCondition(), { forMs: 30_000 }), 100);
    for (let step = 0; step < 4; step += 1) world.step({ '2': [20, 12] });
    expect(world.verdict('2')).toMatchObject({ kind: 'breaching', isDue: false, words: expect.stringContaining(', for: 30s') });

    for (let step = 0; step < 29; step += 1) expect(world.step({ '2': [0, 0] }, () => false).verdict('2')).toMatchObject({ isDue: false });
    for (let step = 0; step < 2; step += 1) world.step({ '2': [0, 0] }, () => false);
    expect(world.verdict('2')).toMatchObject({ kind: 'no_data', words: 'newest sample is 31s old, more than 30s' });
  });

  it('believes no old evidence when it sees again, until new counts say the same', () => {
    const spoil = (): World => {
      const world = healthy(new World(), 100);
      for (let step = 0; step < 10; step += 1) world.step({ '2': [20, 12] });
      expect(world.verdict('2')).toMatchObject({ isDue: true });
      return world;
    };

    const cured = spoil();
    cured.nowMs += 3_000_000;
    expect(cured.step({ '2': [60_000, 60] }).verdict('2').kind).toBe('no_data');

    const restarted = spoil();
    const state = restarted.watch.stateOf('2', restarted.nowMs, 'all');
    const next = new World();
    next.nowMs = restarted.nowMs + 7_200_000;
    if (state !== null) next.states.set('2', state);
    expect(next.step({ '2': [20, 0] }).verdict('2').kind).toBe('no_data');
    expect(next.step({ '2': [20, 0] }).verdict('2').kind).toBe('no_data');
    expect(
      next
        .step({ '2': [20, 15] })
        .step({ '2': [20, 15] })
        .verdict('2'),
    ).toMatchObject({ isDue: true });
  });

  it('waits for min_requests', () => {
    const world = new World(aSequentialCondition({ minRequests: 500 }));
    for (let step = 0; step < 20; step += 1) world.step({ '2': [20, 10] });
    expect(world.verdict('2')).toMatchObject({ kind: 'no_data', words: expect.stringContaining('fewer requests than min_requests: 500') });

    expect(stepsUntilBreach(world, '2', () => ({ '2': [20, 10] }))).toBe(6);
  });

  it('is undecided at the limit, which is neither health nor missing data', () => {
    const world = new World();
    for (let step = 0; step < 120; step += 1) world.step({ '2': [20, 1] });

    expect(world.verdict('2')).toMatchObject({
      kind: 'no_data',
      isUndecided: true,
      words: expect.stringContaining('undecided against 5%: evidence for a breach'),
    });
  });

  it('is upset by nothing between healthy and the limit, and sooner by what is above', () => {
    const play = (rate: number, healthy: number | null): number | null => {
      const random = seededRandom(11);
      return stepsUntilBreach(new World(aSequentialCondition({ healthy })), '2', () => ({ '2': [20, binomial(random, 20, rate)] }), 600);
    };
    expect(play(0.08, 0.02) ?? 600).toBeLessThan((play(0.08, null) ?? 600) / 2);

    const random = seededRandom(11);
    const world = new World(aSequentialCondition({ healthy: 0.01 }));
    for (let step = 0; step < 600; step += 1) world.step({ '2': [20, binomial(random, 20, 0.035)] });
    expect(world.verdict('2')).toMatchObject({
      kind: 'no_data',
      isUndecided: true,
      words: expect.stringMatching(/: above healthy: 1%, but since \S+ not above 5%$/),
    });
  });

  it('takes a severe degradation by a way of its own, and says so', () => {
    const world = healthy(new World(aSequentialCondition({ severe: { above: 0.25, forMs: 0 } }), { forMs: 60_000 }), 300);
    const steps = stepsUntilBreach(world, '2', () => ({ '2': [20, 18] }));

    expect(steps).toBeLessThan(10);
    expect(world.verdict('2').words).toContain('> 25% (severe)');
  });

  it('goes on after a restart where it stood, and counts nothing twice', () => {
    const plain = healthy(new World(), 200);
    const restarted = healthy(new World(), 200);
    for (let step = 0; step < 40; step += 1) for (const world of [plain, restarted]) world.step({ '2': [20, 2] });

    restarted.states.set('2', JSON.parse(JSON.stringify(restarted.watch.stateOf('2', restarted.nowMs, 'all'))) as SequentialState);
    restarted.watch = restarted.aWatch();
    for (let step = 0; step < 5; step += 1) for (const world of [plain, restarted]) world.step({ '2': [20, 2] });

    const [a, b] = [plain, restarted].map(({ readings }) => readings.get('2'));
    expect(b?.evidence).toBeCloseTo(a?.evidence ?? -1, 5);
    expect(b?.requests).toBeCloseTo(a?.requests ?? -1, 3);
    expect(b?.okEvidence).toBeCloseTo(a?.okEvidence ?? -1, 5);
  });

  it('starts anew when the limit was changed, and keeps what it knows of burstiness', () => {
    const world = healthy(new World(), 200);
    for (let step = 0; step < 10; step += 1) world.step({ '2': [20, 10] });
    const state = world.watch.stateOf('2', world.nowMs, 'all');
    const changed = new World(aSequentialCondition({ limit: { op: 'above', value: 0.6 } }));
    if (state !== null) changed.states.set('2', state);
    changed.nowMs = world.nowMs;

    changed.step({ '2': [20, 1] }).step({ '2': [20, 1] });

    expect(changed.readings.get('2')?.evidence).toBeLessThan(0.01);
    expect(changed.watch.stateOf('2', changed.nowMs, 'all')?.detector.burstiness.polls.den).toBeCloseTo(state?.detector.burstiness.polls.den ?? -1, 1);
  });

  it('forgets the evidence from before a switch', () => {
    const world = healthy(new World(), 100);
    for (let step = 0; step < 20; step += 1) world.step({ '2': [20, 10] });
    expect(world.standing('2')).toBe('breach');

    world.seen = { switchedMs: world.nowMs };
    world.step({ '2': [20, 0] }).step({ '2': [20, 0] });

    expect(world.readings.get('2')).toMatchObject({ standing: 'open' });
    expect(world.readings.get('2')?.evidence).toBeLessThan(0.01);
  });

  it('asks the journal for what a restart would miss, and seldom while all is well', () => {
    const world = new World();
    let written = 0;
    for (let step = 0; step < 7200; step += 1) {
      world.step({ '2': [20, 0] });
      if (world.watch.stateOf('2', world.nowMs, 'worth writing') !== null) written += 1;
    }
    expect(written).toBeGreaterThan(2);
    expect(written).toBeLessThan(60);

    world.step({ '2': [20, 10] });
    world.step({ '2': [20, 10] });
    const state = world.watch.stateOf('2', world.nowMs, 'worth writing');
    expect(state?.uptoMs).toBe(world.nowMs);
    expect(JSON.stringify(state).length).toBeLessThan(4000);
  });
});

describe('a version on several servers', () => {
  /** Two servers of version 2, read in turns, every 4 s each; `late` samples of the second are seen only a turn later. */
  function counted(late: boolean): { readonly n: number; readonly k: number } {
    const watch = new RuleWatch({ condition: aSequentialCondition(), forMs: 0, intervalMs: 2_000, sharers: 1 });
    const points = { a: [] as { atMs: number; value: number }[], b: [] as { atMs: number; value: number }[] };
    let readings: ReadonlyMap<string, SequentialReading> = new Map();
    for (let turn = 1; turn <= 40; turn += 1) {
      const nowMs = noonMs + turn * 2_000;
      points[turn % 2 === 0 ? 'a' : 'b'].push({ atMs: nowMs - 100, value: 50 * turn });
      const series = (['a', 'b'] as const).map((server): CounterSeries => {
        const seen = points[server].filter(({ atMs }) => !(late && server === 'b' && atMs > nowMs - 2_500));
        return { key: server, target: server, le: null, points: seen.slice(-3) };
      });
      const shown = series.filter((one) => one.points.length > 0);
      const seen = { version: '2', counters: { total: shown, bad: shown.filter(({ key }) => key === 'b'), sinceMs: null } };
      readings = watch.read([{ ...seen, state: null, switchedMs: null, isKnownGood: false, firstSeenMs: null }], nowMs);
    }
    return readings.get('2')?.recent ?? { n: 0, k: 0 };
  }

  it('is counted whole, also when samples of one server come after newer ones of the other', () => {
    // Each server counts 100 between two of its reads, 19 times.
    expect(counted(false)).toMatchObject({ n: 3_800, k: 1_900 });
    expect(counted(true)).toMatchObject({ n: 3_700, k: 1_800 });
  });

  it('is read anew when the clock was set back', () => {
    const world = healthy(new World(), 100);
    world.nowMs -= 3_600_000;
    healthy(world, 3);

    expect(stepsUntilBreach(world, '2', () => ({ '2': [20, 15] }))).toBeLessThan(10);
  });
});

describe('counts of several versions', () => {
  it('show what is common to all: it is not the version', () => {
    let breaches = 0;
    let missed = 0;
    for (let seed = 1; seed <= 40; seed += 1) {
      const random = seededRandom(seed);
      const world = healthy(new World(), 60, ['1', '2'], seed);
      // One upstream of both fails in bursts: each second has a share of its own, the same for both.
      const burst = (): Readonly<Record<string, readonly [number, number]>> => {
        const chance = burstyChance(random, 0.3, 0.3);
        return { '1': [60, binomial(random, 60, chance)], '2': [6, binomial(random, 6, chance)] };
      };
      for (let step = 0; step < 120; step += 1) {
        const verdict = world.step(burst()).verdict('2');
        if (verdict.isDue !== true) continue;
        breaches += 1;
        if (verdict.others?.every(({ isAlike }) => isAlike) !== true) missed += 1;
      }
    }

    expect(breaches).toBeGreaterThan(500);
    expect(missed).toBe(0);
  });

  it('tell a bad version from a good one beside it', () => {
    const random = seededRandom(3);
    const world = healthy(new World(), 60, ['1', '2']);
    stepsUntilBreach(world, '2', () => ({ '1': [60, binomial(random, 60, 0.01)], '2': [6, binomial(random, 6, 0.4)] }));

    expect(world.verdict('2').others).toEqual([{ version: '1', isAlike: false, words: expect.stringMatching(/^error ratio/) }]);
  });

  it('wait for a version that was not read since, but not for long', () => {
    const world = healthy(new World(), 60, ['1', '2']);
    const onlyNew = (version: string): boolean => version === '2';
    for (let step = 0; step < 4; step += 1) world.step({ '1': [60, 0], '2': [20, 20] }, onlyNew);
    expect(world.verdict('2')).toMatchObject({ kind: 'breaching', isDue: false, words: expect.stringContaining('waits for the counts of version 1') });

    world.step({ '1': [60, 0], '2': [20, 20] }, onlyNew);
    expect(world.verdict('2')).toMatchObject({ isDue: true });
  });
});

describe('an outage of all versions, read at different times', () => {
  it('is never taken for one version’s', () => {
    let breaches = 0;
    for (const [every, offset] of [
      [2, 1],
      [3, 2],
    ] as const) {
      const random = seededRandom(every);
      const world = healthy(new World(), 60, ['1', '2']);
      for (let step = 0; step < 600; step += 1) {
        const rate = step % 100 < 60 ? 0.002 : 0.4;
        world.step({ '1': [60, binomial(random, 60, rate)], '2': [20, binomial(random, 20, rate)] }, (version) => version === '2' || step % every === offset);
        const verdict = world.verdict('2');
        if (verdict.isDue !== true) continue;
        breaches += 1;
        expect(verdict.others).toMatchObject([{ version: '1', isAlike: true }]);
      }
    }
    expect(breaches).toBeGreaterThan(100);
  });
});

describe('the first reading of a source with a history', () => {
  it('learns from it how bursty the service is, and takes only the newest part for evidence', () => {
    const random = seededRandom(9);
    const totals = { ok: 0, bad: 0 };
    const points = Array.from({ length: 360 }, (_, index) => {
      const bad = binomial(random, 100, burstyChance(random, 0.02, 0.05));
      totals.bad += bad;
      totals.ok += 100 - bad;
      return { atMs: noonMs - (359 - index) * 5_000, ...totals };
    });
    const one = (code: 'ok' | 'bad'): CounterSeries => ({
      key: code,
      target: 'a',
      le: null,
      points: points.map((point) => ({ atMs: point.atMs, value: point[code] })),
    });
    const watch = new RuleWatch({ condition: aSequentialCondition(), forMs: 0, intervalMs: 5_000, sharers: 1 });
    const counters = { total: [one('ok'), one('bad')], bad: [one('bad')], sinceMs: null };

    watch.read([{ version: '2', counters, state: null, switchedMs: null, isKnownGood: false, firstSeenMs: null }], noonMs);

    const state = watch.stateOf('2', noonMs, 'all');
    expect(state?.detector.seen).toBe(6_000);
    expect(state?.detector.burstiness.polls.den).toBeGreaterThan(50);
    expect(state).toMatchObject({ begunMs: noonMs - 300_000, uptoMs: noonMs, pollSeconds: 5 });
  });
});

describe('a comparison from counts', () => {
  const condition = aSequentialCondition({ limit: { op: 'above_baseline', times: 1, byAtLeast: 0.02, andAbove: 0 } });

  it('finds the version that is worse than the one beside it', () => {
    const random = seededRandom(5);
    const world = healthy(new World(condition), 120, ['1', '2']);
    const steps = stepsUntilBreach(world, '2', () => ({ '1': [60, binomial(random, 60, 0.002)], '2': [20, binomial(random, 20, 0.3)] }));

    expect(steps).toBeLessThan(15);
    expect(world.verdict('2').words).toMatch(/of version 1 \+ 2% = \d+(\.\d+)?%: evidence/);
    expect(world.verdict('2').baseline).toMatchObject({ version: '1' });
  });

  it('sees no difference in an outage of both, also when they are read at different times', () => {
    const random = seededRandom(6);
    const world = healthy(new World(condition), 60, ['1', '2']);
    let step = 0;
    for (let round = 0; round < 40; round += 1) {
      const rate = round % 2 === 0 ? 0.002 : 0.5;
      for (let second = 0; second < 15; second += 1) {
        step += 1;
        world.step({ '1': [60, binomial(random, 60, rate)], '2': [20, binomial(random, 20, rate)] }, (version) => version === '2' || step % 2 === 0);
        expect(world.verdict('2').kind).not.toBe('breaching');
      }
    }
  });

  it('has nothing to say without another version', () => {
    const world = healthy(new World(condition), 30);

    expect(world.verdict('2')).toMatchObject({ kind: 'no_data', isMoot: true, words: expect.stringContaining('no other version has traffic') });
  });
});

describe('a month of a healthy version', () => {
  it.each([
    { errors: 'independent', rho: null },
    { errors: 'bursty', rho: 0.02 },
  ])('at 2 % under a limit of 5 %, with $errors errors, is no false alarm', ({ rho }) => {
    const random = seededRandom(2026);
    const detector = createDetector({ kind: 'threshold', threshold: 0.05, alpha: 0.01, pollSeconds: 15, horizonSeconds: 86_400 });
    let alarms = 0;
    for (let poll = 0; poll < 30 * 5760; poll += 1) {
      const chance = rho === null ? 0.02 : burstyChance(random, 0.02, rho);
      // 20 of 300 requests in a poll: enough to tell, and quick to draw.
      if (detector.update(20, binomial(random, 20, chance)).decision === 'rollback') alarms += 1;
    }

    expect(alarms).toBe(0);
  });
});

describe('a latency from counts', () => {
  const bounds = [0.1, 0.2, 0.4, Number.POSITIVE_INFINITY];

  /** Requests that took as long as the bound of the bucket they fall into. */
  class Histograms {
    nowMs = noonMs;
    readonly watch: RuleWatch;
    readonly condition: SequentialCondition;
    readonly #counts = new Map<string, number[]>();
    reading: SequentialReading | undefined;

    constructor(changes: Partial<SequentialCondition>) {
      this.condition = aSequentialCondition({ of: { kind: 'latency', quantile: 0.99, bound: 'conservative' }, limit: { op: 'above', value: 0.2 }, ...changes });
      this.watch = new RuleWatch({ condition: this.condition, forMs: 0, intervalMs: secondMs, sharers: 1 });
    }

    step(perBucket: Readonly<Record<string, readonly number[]>>): this {
      this.nowMs += secondMs;
      for (const [version, counts] of Object.entries(perBucket)) {
        const known = this.#counts.get(version) ?? bounds.map(() => 0);
        this.#counts.set(
          version,
          known.map((count, index) => count + (counts[index] ?? 0)),
        );
      }
      const seen = [...this.#counts].map(([version, counts]) => ({
        version,
        counters: this.#series(version, counts),
        state: null,
        switchedMs: null,
        isKnownGood: version === '1',
        firstSeenMs: noonMs,
      }));
      this.reading = this.watch.read(seen, this.nowMs).get('2');
      return this;
    }

    words(): string {
      const measurement = { requests: null, errors: null, buckets: null, value: null, newestMs: null, windowMs: 0, error: null };
      return findIn(this.condition, this.reading === undefined ? measurement : { ...measurement, sequential: this.reading }, {
        nowMs: this.nowMs,
        version: '2',
        others: [],
      }).words;
    }

    #series(version: string, counts: readonly number[]): Counters {
      const total = bounds.map((le, index): CounterSeries => {
        const value = counts.slice(0, index + 1).reduce((sum, count) => sum + count, 0);
        return { key: `${version} ${le}`, target: version, le, points: [{ atMs: this.nowMs, value }] };
      });
      return { total, bad: [], sinceMs: null };
    }
  }

  function steps(world: Histograms, count: number, perBucket: Readonly<Record<string, readonly number[]>>): Histograms {
    for (let step = 0; step < count; step += 1) world.step(perBucket);
    return world;
  }

  it('counts what is slower than a bound, and names it', () => {
    const world = steps(new Histograms({}), 200, { 2: [20, 0, 0, 0] });
    expect(world.reading?.standing).toBe('ok');
    expect(world.words()).toBe('slower than 200ms: 0% (0 of 2400) over 2m, within 1% (p99): evidence for it 3, needed 3');

    steps(world, 10, { 2: [16, 0, 4, 0] });

    expect(world.reading?.standing).toBe('breach');
    expect(world.words()).toMatch(/^slower than 200ms: \d+(\.\d+)?% \(\d+ of \d+\) since \S+ > 1% \(p99\): evidence/);
  });

  it('inside a bucket counts what is certainly slower, and does not call the rest healthy', () => {
    const world = steps(new Histograms({ limit: { op: 'above', value: 0.15 } }), 200, { 2: [10, 10, 0, 0] });

    expect(world.reading).toMatchObject({ standing: 'open', boundSeconds: 0.2 });
    expect(world.reading?.recent.k).toBe(0);
    expect(steps(world, 10, { 2: [10, 6, 4, 0] }).reading?.standing).toBe('breach');
  });

  it('interpolates as Prometheus does where the rule asks for it', () => {
    const of = { kind: 'latency', quantile: 0.99, bound: 'interpolate' } as const;
    const world = steps(new Histograms({ of, limit: { op: 'above', value: 0.15 } }), 20, { 2: [10, 10, 0, 0] });

    expect(world.reading?.recent).toMatchObject({ n: 380, k: 95 });
    expect(world.reading?.standing).toBe('breach');
  });

  it('has no data when no bucket is high enough', () => {
    const world = steps(new Histograms({ limit: { op: 'above', value: 0.5 } }), 20, { 2: [0, 0, 0, 20] });

    expect(world.words()).toBe('500ms lies at or above the highest finite bucket of the histogram, so nothing can be counted as slower');
  });

  it('is compared at the bound that the baseline keeps to when the comparison begins', () => {
    const limit = { op: 'above_baseline', times: 1.5, byAtLeast: 0.02, andAbove: 0 } as const;
    const world = steps(new Histograms({ limit }), 5, { 1: [60, 0, 0, 0], 2: [20, 0, 0, 0] });
    expect(world.words()).toContain('at which bound to compare is not known yet');

    steps(world, 60, { 1: [60, 0, 0, 0], 2: [20, 0, 0, 0] });
    expect(world.reading?.boundSeconds).toBe(0.2);
    expect(world.reading?.standing).toBe('ok');

    steps(world, 20, { 1: [40, 0, 20, 0], 2: [14, 0, 6, 0] });
    expect(world.reading?.standing).not.toBe('breach');
    expect(world.reading?.boundSeconds).toBe(0.2);

    steps(world, 30, { 1: [60, 0, 0, 0], 2: [12, 0, 8, 0] });
    expect(world.reading?.standing).toBe('breach');
    expect(world.words()).toMatch(/^slower than 200ms: .* of version 1, at least 1% \(p99\): evidence/);
  });

  it('is compared at another bound when a version comes after the baseline has changed', () => {
    const limit = { op: 'above_baseline', times: 1.5, byAtLeast: 0, andAbove: 0 } as const;
    const world = steps(new Histograms({ limit }), 20, { 1: [60, 0, 0, 0], 2: [20, 0, 0, 0] });
    expect(world.reading?.boundSeconds).toBe(0.2);
    steps(world, 1800, { 1: [0, 60, 0, 0], 2: [0, 20, 0, 0] });
    expect(world.reading?.boundSeconds).toBe(0.2);

    steps(world, 2, { 1: [0, 60, 0, 0], 2: [0, 20, 0, 0], 3: [0, 20, 0, 0] });

    expect(world.reading?.boundSeconds).toBe(0.4);
  });
});
