import { describe, expect, it } from 'vitest';
import { aPolicy } from '../../test/support/builders.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { FakePlane } from '../../test/support/fake-plane.ts';
import { FakeSource } from '../../test/support/fake-source.ts';
import { type Fleet, leaseMs, type Replica, startFleet } from '../../test/support/replicas.ts';

const policy = aPolicy({
  knownGood: { minAgeMs: 1, minRequests: 1, backfillMs: 0, versions: ['1'] },
  convergeTimeoutMs: 60_000,
  recoveryWithinMs: 60_000,
  stickMs: 10_000,
});

/** Park and Miller: the same play for the same seed. */
function seeded(seed: number): () => number {
  let state = (seed * 2_654_435_761) % 2_147_483_647 || 1;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
}

type World = { readonly clock: FakeClock; readonly plane: FakePlane; readonly source: FakeSource; readonly fleet: Fleet };

async function aWorld(random: () => number = () => 0.5): Promise<World> {
  const clock = new FakeClock();
  const source = new FakeSource();
  source.traffic.set('2', { requests: 100, errorRatio: 0 });
  const plane = new FakePlane({ clock, serving: '2', loadMs: 2_000 });
  const fleet = await startFleet({ clock, plane, source, model: { rollback: policy, observeIntervalMs: 5_000 }, random });
  return { clock, plane, source, fleet };
}

/** Traffic goes where the plane leads it; version 2 goes bad when told. */
async function pass({ clock, plane, source }: World, durationMs: number, isBad: boolean): Promise<void> {
  for (let passedMs = 0; passedMs < durationMs; passedMs += 1_000) {
    await clock.advance(1_000);
    const serving = new Set(plane.serving());
    for (const version of ['1', '2']) source.traffic.set(version, { requests: serving.has(version) ? 100 : 0, errorRatio: version === '2' && isBad ? 0.1 : 0 });
  }
}

async function untilLed(world: World, withinMs: number, { isBad = false, not = null }: { isBad?: boolean; not?: Replica | null } = {}): Promise<Replica> {
  for (let passedMs = 0; ; passedMs += 500) {
    const leading = world.fleet.replicas.filter((replica) => replica !== not && !replica.isDead() && replica.leads());
    if (leading[0] !== undefined) return leading[0];
    if (passedMs >= withinMs) throw new Error(`nobody led within ${withinMs} ms`);
    await pass(world, 500, isBad);
  }
}

async function untilEnded(world: World, withinMs: number): Promise<void> {
  for (let passedMs = 0; passedMs < withinMs; passedMs += 2_000) {
    const episodes = await world.fleet.journal.episodes({});
    if (episodes.length > 0 && episodes.every((episode) => episode.finishedAtMs !== null)) return;
    await pass(world, 2_000, true);
  }
}

async function expectOnce(world: World): Promise<void> {
  const { fleet, plane } = world;
  const episodes = await fleet.journal.episodes({});
  expect(episodes.map(({ state, outcome, from, to }) => ({ state, outcome, from, to }))).toEqual([
    { state: 'succeeded', outcome: 'success', from: '2', to: '1' },
  ]);
  expect(plane.switches).toEqual(['a: 2 -> 1', 'b: 2 -> 1']);
  expect(await fleet.journal.verify()).toMatchObject({ ok: true });
  const stored = await fleet.journal.events(0, 100_000);
  expect(stored.filter(({ event }) => event.type === 'episode_opened')).toHaveLength(1);
  expect(stored.filter(({ event }) => event.type === 'episode_state' && event.outcome !== undefined)).toHaveLength(1);
}

describe('replicas of one journal', () => {
  it('elect one leader; the others judge, know what it did, and do nothing', async () => {
    const world = await aWorld();
    const leader = await untilLed(world, 5_000);
    await pass(world, 10_000, false);

    await pass(world, 10_000, true);
    await untilEnded(world, 120_000);

    await pass(world, 3_000, true);
    await expectOnce(world);
    expect(world.fleet.terms).toHaveLength(1);
    expect(new Set(world.fleet.writes.map(({ name }) => name))).toEqual(new Set([leader.name]));
    for (const { app } of world.fleet.replicas) {
      expect(app.board.of('fraud').length).toBeGreaterThan(0);
      expect(app.memory.episodes('fraud').map(({ state }) => state)).toEqual(['succeeded']);
    }
    await world.fleet.close();
  });

  it('take over from one that is killed, within the lease and two retry periods', async () => {
    const world = await aWorld();
    const leader = await untilLed(world, 5_000);
    await pass(world, 7_000, false);

    leader.kill();
    const killedMs = world.clock.livedMs();
    const next = await untilLed(world, leaseMs.leaseDurationMs + 2 * leaseMs.retryPeriodMs);

    expect(next.name).not.toBe(leader.name);
    expect(world.clock.livedMs() - killedMs).toBeGreaterThan(leaseMs.leaseDurationMs - leaseMs.retryPeriodMs - 1_000);
    await world.fleet.close();
  });

  it('take over at once from one that stops in good order', async () => {
    const world = await aWorld();
    const leader = await untilLed(world, 5_000);
    const stopped = leader.stop();
    await pass(world, 1_000, false);
    await stopped;

    expect((await untilLed(world, 1.5 * leaseMs.retryPeriodMs)).name).not.toBe(leader.name);
    await world.fleet.close();
  });

  it('one that is cut off from the database stops acting before another may begin', async () => {
    const world = await aWorld();
    const leader = await untilLed(world, 5_000);
    leader.cut(true);
    const cutMs = world.clock.livedMs();
    while (leader.leads()) await pass(world, 500, false);
    const ceasedMs = world.clock.livedMs() - cutMs;

    await untilLed(world, leaseMs.leaseDurationMs);

    expect(ceasedMs).toBeLessThanOrEqual(leaseMs.renewDeadlineMs + 500);
    expect(world.fleet.terms[1]!.atMs - cutMs).toBeGreaterThan(ceasedMs);
    leader.cut(false);
    await pass(world, 30_000, false);
    expect(world.fleet.terms).toHaveLength(2);
    expect(leader.leads()).toBe(false);
    await world.fleet.close();
  });

  it('one that was stopped and goes on does not write: its epoch is refused', async () => {
    const world = await aWorld();
    const leader = await untilLed(world, 5_000);
    await pass(world, 5_000, true);
    leader.freeze();
    await untilLed(world, 40_000, { isBad: true, not: leader });
    leader.thaw();
    const refused = leader.app.memory.append([{ type: 'resumed', model: null, by: 'late', atMs: 0 }]).then(
      () => 'written',
      (error: unknown) => String(error),
    );

    await untilEnded(world, 200_000);

    expect(await refused).toContain('another replica leads since');
    expect(leader.leads()).toBe(false);
    await expectOnce(world);
    await world.fleet.close();
  });

  it('a clock that is set back does not lengthen a term, one that is set ahead only ends it early', async () => {
    const world = await aWorld();
    const leader = await untilLed(world, 5_000);
    leader.cut(true);
    world.clock.jump(world.clock.nowMs() - 3_600_000);
    await world.clock.advance(leaseMs.renewDeadlineMs + 1_000);
    expect(leader.leads()).toBe(false);

    const next = await untilLed(world, leaseMs.leaseDurationMs);
    world.clock.jump(world.clock.nowMs() + 7_200_000);
    expect(next.leads()).toBe(false);
    await untilLed(world, 3 * leaseMs.retryPeriodMs);
    await world.fleet.close();
  });

  const seeds = Number(process.env['ROLLBACKD_REPLICA_RUNS'] ?? 100);
  it(`whatever befalls them, ${seeds} plays: what serves changes once, and no write of an old epoch reaches the plane unless it had left already`, {
    timeout: 600_000,
  }, async () => {
    let faults = 0;
    for (let seed = 1; seed <= seeds; seed += 1) {
      const random = seeded(seed);
      const world = await aWorld(random);
      await untilLed(world, 5_000);
      await pass(world, Math.floor(random() * 6_000), false);
      const hurt: Replica[] = [];
      let dead = 0;
      for (let round = 0; round < 3; round += 1) {
        await pass(world, 1_000 + Math.floor(random() * 12_000), true);
        const leader = world.fleet.replicas.find((replica) => !replica.isDead() && replica.leads());
        if (leader === undefined) continue;
        faults += 1;
        const fault = random();
        if (fault < 0.3 && dead < 2) {
          dead += 1;
          leader.kill();
        } else if (fault < 0.6) {
          leader.freeze();
          hurt.push(leader);
        } else if (fault < 0.9 || dead >= 2) {
          leader.cut(true);
          hurt.push(leader);
        } else {
          dead += 1;
          void leader.stop();
        }
        await pass(world, Math.floor(random() * 25_000), true);
        for (const replica of hurt.splice(0)) {
          replica.thaw();
          replica.cut(false);
        }
      }
      await untilEnded(world, 400_000);
      await expectOnce(world).catch((error: unknown) => {
        throw new Error(`seed ${seed}: ${JSON.stringify(world.fleet.terms)} ${JSON.stringify(world.fleet.writes)}`, { cause: error });
      });
      expect(world.fleet.writes.filter(({ epoch, inForce, isLate }) => epoch !== inForce && !isLate)).toEqual([]);
      await world.fleet.close();
    }
    expect(faults).toBeGreaterThan(seeds);
  });
});
