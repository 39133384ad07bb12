import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type RealPostgres, startRealPostgres } from '../support/real-postgres.ts';
import { leadsByLog, leaseMs, type RealReplica, type RealReplicas, startReplicas } from '../support/real-replicas.ts';
import { describeDaemon, served } from '../support/stage-files.ts';
import { until } from '../support/until.ts';

/** Runs of the chaos; `npm run chaos:replicas` asks for 100. */
const runs = Number(process.env['ROLLBACKD_CHAOS_RUNS'] ?? 6);
const faults = ['kill', 'stop', 'cut'] as const;
type Fault = (typeof faults)[number];

/** How one run went. */
type Outcome = { readonly fault: Fault; readonly afterMs: number; readonly takeoverMs: number; readonly recoveredMs: number };
const outcomes: Outcome[] = [];

let postgres: RealPostgres;

beforeAll(async () => {
  postgres = await startRealPostgres();
});
afterAll(async () => {
  await postgres[Symbol.asyncDispose]();
  if (outcomes.length === 0) return;
  const rows = faults.flatMap((fault) => {
    const own = outcomes.filter((outcome) => outcome.fault === fault);
    if (own.length === 0) return [];
    const spread = (pick: (outcome: Outcome) => number): string => {
      const sorted = own.map(pick).toSorted((a, b) => a - b);
      return `${sorted[Math.floor(sorted.length / 2)]} (${sorted.at(-1)})`;
    };
    return [`${fault}: ${own.length} runs, takeover ms median (worst) ${spread((one) => one.takeoverMs)}, fault to end ms ${spread((one) => one.recoveredMs)}`];
  });
  process.stdout.write(`replicas: ${rows.join('; ')}\n`);
});

/** Does it to the leader. @returns what undoes it after a while, as far as it can be */
async function hurt(fault: Fault, { daemon, line }: RealReplica): Promise<() => void> {
  if (fault === 'kill') {
    await daemon.kill();
    return () => undefined;
  }
  if (fault === 'stop') {
    daemon.process.kill('SIGSTOP');
    return () => daemon.process.kill('SIGCONT');
  }
  line.cut();
  return () => line.mend();
}

async function untilEnded({ replicas }: RealReplicas, not: RealReplica): Promise<void> {
  const [other] = replicas.filter((replica) => replica !== not);
  await until('the episode to end', async () => (await other!.daemon.rollbacks()).some((episode) => episode.finished_at !== null), {
    withinMs: 60_000,
    seen: async () => (await Promise.all(replicas.map(async ({ daemon }) => await describeDaemon(daemon)))).join('\n'),
  });
}

/** One episode, one end, one change of what serves, a whole chain. */
async function expectOnce({ stage, watch, readJournal }: RealReplicas): Promise<void> {
  await watch.stop();
  for (const history of watch.history()) expect(history).toEqual(['2', '1']);
  for (const { client } of stage.servers) expect(await client.restVersion(served)).toBe('1');
  await readJournal(async (journal) => {
    expect(await journal.verify()).toMatchObject({ ok: true });
    const episodes = await journal.episodes({});
    expect(episodes.map(({ state, outcome, from, to }) => ({ state, outcome, from, to }))).toEqual([
      { state: 'succeeded', outcome: 'success', from: '2', to: '1' },
    ]);
    const events = (await journal.events(0, 10_000)).map(({ event }) => event);
    expect(events.filter(({ type }) => type === 'episode_opened')).toHaveLength(1);
    expect(events.filter((event) => event.type === 'episode_state' && event.outcome !== undefined)).toHaveLength(1);
    expect(events.filter((event) => event.type === 'episode_state' && event.changes?.switchedAtMs != null)).toHaveLength(1);
    const messages = events.flatMap((event) => (event.type === 'message_enqueued' ? [event.message.id] : []));
    expect(new Set(messages).size).toBe(messages.length);
  });
  await until('Slack to be told', () => stage.slack.deliveries.some(({ text }) => text.includes('rollback success')));
  const finished = stage.slack.deliveries.filter(({ text }) => text.includes('rollback success'));
  expect(new Set(finished.map(({ body }) => body)).size).toBe(1);
}

/** Logs that hold no password. */
function expectNoSecret({ replicas }: RealReplicas): void {
  for (const { daemon } of replicas) expect(`${daemon.process.stderr()}${daemon.process.stdout()}`).not.toContain(postgres.password.slice(3, 15));
}

async function play(fault: Fault, afterMs: number): Promise<void> {
  const fleet = await startReplicas(postgres, { versions: { 1: { load_ms: 500 }, 2: { fail_ratio: 0.2, unload_ms: 300 } } });
  await using _ = fleet.stage;
  const leader = await fleet.leader();
  await until('an episode', async () => (await leader.daemon.rollbacks()).length > 0, { everyMs: 20, seen: async () => await describeDaemon(leader.daemon) });
  await sleep(afterMs);

  const startedMs = performance.now();
  const undo = await hurt(fault, leader);
  await fleet.leader({ not: leader, withinMs: 15_000 });
  const takeoverMs = Math.round(performance.now() - startedMs);
  await sleep(1_000);
  undo();
  await untilEnded(fleet, leader);
  const recoveredMs = Math.round(performance.now() - startedMs);

  await expectOnce(fleet);
  expectNoSecret(fleet);
  if (fault !== 'kill') await until('the old leader to follow', () => !leadsByLog(leader.daemon));
  // A second for the machine, which runs nine of them.
  expect(takeoverMs).toBeLessThanOrEqual(leaseMs.duration + 2 * leaseMs.retry + 1_000);
  outcomes.push({ fault, afterMs, takeoverMs, recoveredMs });
  if (runs > faults.length * 2)
    process.stdout.write(`${outcomes.length} of ${runs}: ${fault} after ${afterMs} ms, takeover ${takeoverMs} ms, end ${recoveredMs} ms\n`);
}

const plays = Array.from({ length: runs }, (_, index) => ({ run: index + 1, fault: faults[index % 3]!, afterMs: (index * 787) % 3_500 }));
/** Together on two cores; more of them would only wait for each other. */
const atOnce = 3;
const batches = Array.from({ length: Math.ceil(runs / atOnce) }, (_, index) => plays.slice(index * atOnce, (index + 1) * atOnce));

describe('three replicas, and what befalls the leader in the middle of a rollback', { timeout: 180_000 }, () => {
  for (const batch of batches) {
    it(`runs ${batch.map(({ run, fault, afterMs }) => `${run} (${fault} ${afterMs} ms after the decision)`).join(', ')}: another takes over in time, what serves changes once`, async () => {
      const played = await Promise.allSettled(batch.map(async ({ fault, afterMs }) => await play(fault, afterMs)));
      for (const one of played) if (one.status === 'rejected') throw one.reason;
    });
  }
});

describe('three replicas', { timeout: 180_000 }, () => {
  it('are all ready and answer reads alike; a pause goes to the leader, a follower names it', async () => {
    const fleet = await startReplicas(postgres, { versions: { 1: {}, 2: {} } });
    await using _ = fleet.stage;
    const leader = await fleet.leader();
    const pause = async ({ daemon }: RealReplica): Promise<unknown> =>
      await daemon.api('models/fraud-detector/pause', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ reason: 'release', by: 'ann' }),
      });
    for (const { daemon } of fleet.replicas) await until('it to be ready', async () => (await fetch(`${daemon.url}/-/ready`)).ok);

    for (const replica of fleet.replicas.filter((other) => other !== leader)) {
      // Refused from the first; by name once its next look at the lease found the new leader there.
      const refusal = async (): Promise<string> => await pause(replica).then(() => 'taken', String);
      expect(await refusal()).toMatch(/answered 503: this replica does not lead/);
      await until('it to name the leader', async () => /not lead; .*\/[0-9a-f]{8} does: ask the leader/.test(await refusal()), { seen: refusal });
    }
    for (const replica of fleet.replicas) {
      const text = await (await fetch(replica.daemon.url, { headers: { accept: 'text/html' } })).text();
      expect([text.includes('>fraud-detector</bdi>'), text.includes('> not leader</span>')]).toEqual([true, replica !== leader]);
    }
    await pause(leader);

    for (const { daemon } of fleet.replicas) await until('the pause to be known everywhere', async () => (await daemon.model()).paused?.reason === 'release');
    const leading = await Promise.all(fleet.replicas.map(async ({ daemon }) => (await daemon.metrics()).sum('rollbackd_leader')));
    expect(leading.toSorted()).toEqual([0, 0, 1]);
    // A clean stop gives the lease up: nobody waits for its end.
    const startedMs = performance.now();
    const ending = leader.daemon.stop();
    await fleet.leader({ not: leader });
    expect(await ending).toEqual({ code: 0, signal: null });
    const stoppedMs = performance.now() - startedMs;
    expect(stoppedMs).toBeLessThan(leaseMs.duration + 10_000);
  });

  it('hold still while the database is away, are not ready, and go on by themselves when it is back', async () => {
    await using own = await startRealPostgres();
    const fleet = await startReplicas(own, { versions: { 1: {}, 2: { fail_ratio: 0 } } });
    await using _ = fleet.stage;
    await fleet.leader();
    await own.stop('immediate');
    for (const { daemon } of fleet.replicas)
      await until('it to say that it cannot ask the lease', async () => {
        const answer = await fetch(`${daemon.url}/-/ready`);
        return answer.status === 503 && (await answer.text()).includes('could not be asked');
      });
    await fleet.stage.repository.setBehaviour(served, '2', { fail_ratio: 0.3 });
    await sleep(5_000);
    expect(await fleet.stage.servers[0]!.orders()).toEqual([]);
    expect(fleet.replicas.some(({ daemon }) => leadsByLog(daemon))).toBe(false);

    await own.start();

    const leader = await fleet.leader();
    await until('the episode to end', async () => (await leader.daemon.rollbacks()).some((episode) => episode.finished_at !== null), { withinMs: 60_000 });
    await expectOnce(fleet);
  });

  it('a late write of a stopped leader, where the plane cannot compare: it is seen while the numbers are watched, and corrected once', async () => {
    const fleet = await startReplicas(postgres, { versions: { 1: {}, 2: { fail_ratio: 0.2 } }, rollback: { stick: '6s' } });
    await using _ = fleet.stage;
    const leader = await fleet.leader();
    await until('the switch', async () => (await leader.daemon.rollbacks()).some(({ state }) => state === 'watching' || state === 'smoke_testing'), {
      everyMs: 20,
    });
    leader.daemon.process.kill('SIGSTOP');
    const next = await fleet.leader({ not: leader });
    // What the stopped one had in hand, as it arrives now: its staging, both versions.
    const { repository, servers } = fleet.stage;
    await servers[0]!.client.reload(repository.configText([{ name: served, versions: ['1', '2'] }]));
    leader.daemon.process.kill('SIGCONT');

    await until('the episode to end', async () => (await next.daemon.rollbacks()).some((episode) => episode.finished_at !== null), { withinMs: 60_000 });

    await fleet.watch.stop();
    const [episode] = await next.daemon.rollbacks();
    expect(episode, JSON.stringify(episode)).toMatchObject({ state: 'succeeded', to: '1' });
    expect(fleet.watch.history()).toEqual([['2', '1', '2', '1']]);
    expect(episode!.steps.filter(({ name }) => name.includes('(again)')).length).toBeGreaterThan(0);
    await fleet.readJournal(async (journal) => expect(await journal.verify()).toMatchObject({ ok: true }));
  });
});
