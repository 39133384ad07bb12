import { setTimeout as sleep } from 'node:timers/promises';
import { describe, it } from 'vitest';
import { expectEndedOnce, setWatchedStage } from '../support/ended-once.ts';
import { describeDaemon } from '../support/stage-files.ts';
import { until } from '../support/until.ts';

/** From the decision to well into the watch, in steps that do not fall in with any beat of the program. */
const instantsMs = Array.from({ length: 15 }, (_, index) => Math.round(index * 213));

/** What test/e2e/kill.test.ts does state by state, here wherever it happens to be; nothing but Node is needed, but time. */
describe.concurrent('kill -9 at any instant of a rollback', { timeout: 150_000 }, () => {
  it.each(instantsMs)('%i ms after the decision, then a start on the same files: it ends once', async (afterMs) => {
    const { stage, watch } = await setWatchedStage({ versions: { 1: { load_ms: 300 }, 2: { fail_ratio: 0.2, unload_ms: 300 } }, servers: 2 });
    await using _ = stage;
    const first = await stage.startDaemon();
    const killed = await until('an episode', async () => (await first.rollbacks())[0], { everyMs: 10, seen: async () => await describeDaemon(first) });
    await sleep(afterMs);
    await first.kill();

    await expectEndedOnce(stage, { daemon: await stage.startDaemon(), starts: 2, killed, watch });
  });
});
