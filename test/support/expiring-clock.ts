import { realClock } from '../../src/adapters/clock/real-clock.ts';
import type { Clock } from '../../src/domain/ports.ts';

/** The machine's clock, whose sleeps can be made to be over: a time limit then passes in no time, and not before the server has the request. */
export type ExpiringClock = Clock & {
  /** Ends every sleep under way. */
  readonly expire: () => void;
};

export function expiringClock(): ExpiringClock {
  const pending = new Set<() => void>();
  return {
    nowMs: () => realClock.nowMs(),
    sleep: async (durationMs, signal) => {
      const over = new AbortController();
      const { promise: expired, resolve } = Promise.withResolvers<void>();
      pending.add(resolve);
      try {
        await Promise.race([expired, realClock.sleep(durationMs, signal === undefined ? over.signal : AbortSignal.any([signal, over.signal]))]);
      } finally {
        pending.delete(resolve);
        over.abort();
      }
    },
    expire: () => {
      for (const end of pending) end();
    },
  };
}
