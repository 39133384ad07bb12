import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Runs a function at once and then every `intervalMs`, counted from start to start and never overlapping: a turn that takes
 * longer than the interval delays the next one (TensorFlow's PeriodicFunction).
 * @returns a function that ends it; a turn under way is not interrupted
 */
export function runPeriodically(turn: () => void | Promise<void>, intervalMs: number): () => void {
  const stop = new AbortController();
  const loop = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      const began = performance.now();
      await turn();
      const restMs = Math.max(0, intervalMs - (performance.now() - began));
      await sleep(restMs, undefined, { signal: stop.signal }).catch(() => undefined);
    }
  };
  void loop();
  return () => stop.abort();
}
