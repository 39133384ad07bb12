import type { Clock } from '../domain/ports.ts';

/** One look counts for no more than this: a clock that jumps ahead by days, or a machine that slept, uses up nobody's patience. */
const longestLookMs = 10_000;

/** Time as it is lived through, look by look. The clock it reads may jump either way; a step back counts as no time at all. */
export class Stopwatch {
  readonly #clock: Clock;
  #lastMs: number;
  #spentMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#lastMs = clock.nowMs();
  }

  /** ms since it was made; ask at least every few seconds. */
  spentMs(): number {
    const nowMs = this.#clock.nowMs();
    this.#spentMs += Math.min(Math.max(0, nowMs - this.#lastMs), longestLookMs);
    this.#lastMs = nowMs;
    return this.#spentMs;
  }
}
