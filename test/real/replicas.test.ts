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
  expect(takeoverMs).toBeLessThanOrEqual(leaseMs.duration + 2 * leaseMs.retry + 500);
  outcomes.push({ fault, afterMs, takeoverMs, recoveredMs });
}

const plays = Array.from({ length: runs }, (_, index) => [index + 1, faults[index % 3]!, (index * 787) % 3_500] as const);

describe.concurrent('three replicas, and what befalls the leader in the middle of a rollback', { timeout: 180_000 }, () => {
  it.each(plays)('run %i: %s, %i ms after the decision: another takes over in time, and what serves changes once', async (_, fault, afterMs) => {
    await play(fault, afterMs);
  });
});
