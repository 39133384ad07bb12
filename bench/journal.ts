import { mkdtempSync, rmSync } from 'node:fs';
import path from 'node:path';
import { openJournal } from '../src/adapters/journal/index.ts';

/**
 * How many durable appends a second the journal makes, and how fast it is read back.
 *
 *     ./node_modules/.bin/node bench/journal.ts [FOLDER]      (a folder on the disk in question; default: here)
 */
const folder = mkdtempSync(path.join(process.argv[2] ?? '.', 'bench-journal-'));
try {
  const journal = await openJournal({ path: path.join(folder, 'rollbackd.db'), clock: { nowMs: () => Date.now(), sleep: async () => undefined } });
  const episode = (await import('../test/contract/journal-builders.ts')).anEpisode();
  await journal.append([{ type: 'episode_opened', episode }]);

  await measure('commits/s, one event each (an episode state)', 2000, async (turn) => {
    await journal.append([{ type: 'episode_state', episodeId: episode.id, atMs: turn, state: 'staging', detail: `turn ${turn}` }]);
  });
  const state = { rule: 'r', version: '7', breachingSinceMs: null, lastSeenMs: 1, lastEvaluatedMs: 1, firingSinceMs: null, keepFiringUntilMs: null };
  const states = Object.fromEntries(Array.from({ length: 2000 }, (_, index) => [`rule-${index} 7`, state]));
  await measure('commits/s, one event with 2,000 rule states', 20, async () => {
    await journal.append([{ type: 'rule_states', states }]);
  });
  await measure('reads/s of one episode', 5000, async () => {
    await journal.episode(episode.id);
  });
  const startedMs = performance.now();
  const verdict = await journal.verify();
  console.log(`verify: ${JSON.stringify(verdict)} in ${Math.round(performance.now() - startedMs)} ms; file ${await journal.sizeBytes()} bytes`);
  await journal.close();
} finally {
  rmSync(folder, { recursive: true });
}

async function measure(what: string, turns: number, task: (turn: number) => Promise<void>): Promise<void> {
  const timesMs: number[] = [];
  const startedMs = performance.now();
  for (let turn = 0; turn < turns; turn += 1) {
    const turnMs = performance.now();
    await task(turn);
    timesMs.push(performance.now() - turnMs);
  }
  const tookMs = performance.now() - startedMs;
  const sorted = timesMs.toSorted((a, b) => a - b);
  const quantile = (q: number): string => (sorted[Math.floor(q * (sorted.length - 1))] ?? 0).toFixed(2);
  console.log(`${what}: ${Math.round((turns / tookMs) * 1000)} (p50 ${quantile(0.5)} ms, p99 ${quantile(0.99)} ms)`);
}
