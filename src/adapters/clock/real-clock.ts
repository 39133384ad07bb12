import { setTimeout as sleepFor } from 'node:timers/promises';
import type { Clock } from '../../domain/ports.ts';

/** The machine's clock. */
export const realClock: Clock = {
  nowMs: () => Date.now(),
  sleep: async (durationMs, signal) => {
    await sleepFor(Math.max(0, durationMs), undefined, signal === undefined ? {} : { signal });
  },
};
