import type { Clock } from '../../src/domain/ports.ts';

type Sleeper = { dueMs: number; readonly wake: () => void };

/** A clock that moves only when told; sleepers wake in order of their time. */
export class FakeClock implements Clock {
  #nowMs: number;
  #sleepers: Sleeper[] = [];
  #jumpedMs = 0;

  constructor(startMs = Date.UTC(2026, 10, 22, 12)) {
    this.#nowMs = startMs;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  async sleep(durationMs: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    await new Promise<void>((resolve, reject) => {
      const abort = (): void => {
        this.#sleepers = this.#sleepers.filter((other) => other !== sleeper);
        reject(signal?.reason instanceof Error ? signal.reason : new Error('aborted'));
      };
      const sleeper: Sleeper = {
        dueMs: this.#nowMs + Math.max(0, durationMs),
        wake: () => {
          signal?.removeEventListener('abort', abort);
          resolve();
        },
      };
      signal?.addEventListener('abort', abort, { once: true });
      this.#sleepers.push(sleeper);
    });
  }

  /** Sets the clock without waking anybody: a jump of the machine's clock. Timers run on, as they do on a real machine. */
  jump(toMs: number): void {
    const byMs = toMs - this.#nowMs;
    this.#sleepers = this.#sleepers.map((sleeper) => Object.assign(sleeper, { dueMs: sleeper.dueMs + byMs }));
    this.#jumpedMs += byMs;
    this.#nowMs = toMs;
  }

  /** Time that really passed, whatever the clock was set to. */
  livedMs(): number {
    return this.#nowMs - this.#jumpedMs;
  }

  /** How many wait. */
  get sleeping(): number {
    return this.#sleepers.length;
  }

  /** Moves time on, waking each sleeper at its instant and letting what it does run before the next. */
  async advance(durationMs: number): Promise<void> {
    const untilMs = this.#nowMs + durationMs;
    await settle();
    for (;;) {
      const next = this.#sleepers.filter((sleeper) => sleeper.dueMs <= untilMs).toSorted((a, b) => a.dueMs - b.dueMs)[0];
      if (next === undefined) break;
      this.#nowMs = Math.max(this.#nowMs, next.dueMs);
      this.#sleepers = this.#sleepers.filter((sleeper) => sleeper !== next);
      next.wake();
      await settle();
    }
    this.#nowMs = untilMs;
    await settle();
  }
}

/** Lets promises and immediate I/O callbacks run. */
async function settle(): Promise<void> {
  for (let round = 0; round < 8; round += 1) await new Promise<void>((resolve) => setImmediate(resolve));
}
