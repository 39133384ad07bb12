import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect, it } from 'vitest';
import { drawKills, type Kill } from '../support/chaos/kill-point.ts';
import type { DaemonProcess } from '../support/daemon-process.ts';
import { expectEndedOnce, setWatchedStage } from '../support/ended-once.ts';
import { seededRandom } from '../support/random.ts';
import { describeDaemon, type Stage, untilFinished } from '../support/stage-files.ts';
import { until } from '../support/until.ts';

/** `npm run chaos` asks for 100; each run has a seed of its own, from the first one on. */
const runs = Number(process.env['ROLLBACKD_CHAOS_RUNS'] ?? 15);
const firstSeed = Number(process.env['ROLLBACKD_CHAOS_SEED'] ?? (process.env['ROLLBACKD_CHAOS_RUNS'] === undefined ? 1 : Date.now() % 1_000_000));
const seeds = Array.from({ length: runs }, (_, index) => firstSeed + index);

/** Where a kill struck; `end`: the episode had ended before its place was reached. */
type Struck = Kill['operation'] | 'end';

/** Runs that ended as they must. */
const outcomes: { readonly struck: readonly Struck[]; readonly recoveredMs: number }[] = [];

afterAll(() => {
  const kills = outcomes.flatMap(({ struck }) => struck);
  const sorted = outcomes.map(({ recoveredMs }) => recoveredMs).toSorted((a, b) => a - b);
  const by = Object.entries(Object.groupBy(kills, (kill) => kill)).map(([operation, all]) => `${operation} ${all.length}`);
  process.stdout.write(
    `chaos: seeds ${firstSeed} to ${firstSeed + runs - 1}, ${outcomes.length} of ${runs} runs right, ${kills.length} kills (${by.join(', ')}), ` +
      `last kill to proven end ms median (worst) ${sorted[Math.floor(sorted.length / 2)]} (${sorted.at(-1)})\n`,
  );
});

/** What test/e2e/kill.test.ts does state by state, here wherever it happens to be; nothing but Node is needed, but time. */
describe.concurrent('kill -9 at any place of a rollback, up to three times', { timeout: 400_000 }, () => {
  it.each(seeds)('it ends once (ROLLBACKD_CHAOS_SEED=%i)', async (seed) => {
    const kills = drawKills(seededRandom(seed));
    const { stage, watch } = await setWatchedStage({ versions: { 1: { load_ms: 300 }, 2: { fail_ratio: 0.2, unload_ms: 300 } }, servers: 2 });
    await using _ = stage;
    const struck: Struck[] = [];
    for (const kill of kills) struck.push(await live(stage, kill, struck.length === 0));
    const killedMs = Date.now();
    const daemon = await stage.startDaemon();
    const episode = await untilFinished(daemon, 90_000);
    const recoveredMs = Math.max(0, Date.parse(String(episode.finished_at)) - killedMs);

    await expectEndedOnce(stage, { daemon, starts: kills.length + 1, killed: episode, watch, kills: kills.length }).catch((error: unknown) => {
      throw new Error(`killed at ${JSON.stringify(kills)}: ${String(error)}`, { cause: error });
    });
    process.stdout.write(`chaos: seed ${seed} right, killed at ${struck.join(', ')}, ${recoveredMs} ms to the end\n`);
    outcomes.push({ struck, recoveredMs });
  });
});

/** One life of the daemon, up to its kill. @returns where it struck */
async function live(stage: Stage, kill: Kill, isFirst: boolean): Promise<Struck> {
  const isEnded = async (daemon: DaemonProcess): Promise<boolean> => (await daemon.rollbacks()).some((episode) => episode.finished_at !== null);
  if (kill.operation === 'instant') {
    const daemon = await stage.startDaemon();
    if (isFirst) await until('an episode', async () => (await daemon.rollbacks())[0], { everyMs: 10, seen: async () => await describeDaemon(daemon) });
    await sleep(kill.afterMs);
    await daemon.kill();
    return 'instant';
  }
  const daemon = await stage.startDaemon([], kill).catch((error: unknown) => {
    // It may die before it listens.
    if (String(error).includes('ended instead of listening (SIGKILL)')) return null;
    throw error;
  });
  if (daemon === null) return kill.operation;
  const end = await until(
    'the daemon to die, or the episode to end',
    async () => (daemon.process.hasEnded() ? 'died' : (await isEnded(daemon)) ? 'ended' : null),
    {
      withinMs: 90_000,
      everyMs: 50,
      seen: async () => await describeDaemon(daemon),
    },
  );
  if (end === 'ended') await daemon.kill();
  expect(await daemon.process.ended).toEqual({ code: null, signal: 'SIGKILL' });
  return end === 'ended' ? 'end' : kill.operation;
}
