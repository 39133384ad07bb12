import type { Clock } from '../domain/ports.ts';

/**
 * Runs `turn` every `everyMs`, never two at once; a turn that overruns skips the ones it covered and says how many.
 * The first turn comes at `firstInMs` (spread by the caller, so that groups do not all ask at once). Ends when aborted, after the turn in hand.
 * `turn` must not throw.
 */
export async function runLoop(options: {
  clock: Clock;
  everyMs: number;
  firstInMs: number;
  signal: AbortSignal;
  turn: (missed: number) => Promise<void>;
}): Promise<void> {
  const { clock, everyMs, signal, turn } = options;
  let dueMs = clock.nowMs() + options.firstInMs;
  let missed = 0;
  while (!signal.aborted) {
    try {
      await clock.sleep(Math.max(0, dueMs - clock.nowMs()), signal);
    } catch {
      return;
    }
    await turn(missed);
    const nowMs = clock.nowMs();
    // After a clock that jumped (either way) the beat starts anew from now.
    const behindMs = nowMs - dueMs;
    missed = behindMs >= 0 && behindMs < 1000 * everyMs ? Math.floor(behindMs / everyMs) : 0;
    dueMs = behindMs >= 0 && behindMs < 1000 * everyMs ? dueMs + (missed + 1) * everyMs : nowMs + everyMs;
  }
}

/** A steady offset in `[0, everyMs)` from a name, as Prometheus spreads its groups. */
export function spreadMs(name: string, everyMs: number): number {
  let hash = 2_166_136_261;
  for (const char of name) hash = Math.imul(hash ^ (char.codePointAt(0) ?? 0), 16_777_619) >>> 0;
  return hash % Math.max(1, everyMs);
}
