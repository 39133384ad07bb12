/** An attempt that may go on. `succeeded` takes it off the count. */
export type Attempt = { readonly succeeded: () => void };

type Window = { readonly startedMs: number; count: number };

/**
 * Bounds failures per key within a window that begins with the first of them. An attempt counts as a failure until it
 * succeeded, so that many at once get no further than one after another.
 */
export class FailureLimit {
  readonly #limit: number;
  readonly #windowMs: number;
  readonly #maxKeys: number;
  readonly #windows = new Map<string, Window>();

  constructor(options: { readonly limit: number; readonly windowMs: number; readonly maxKeys: number }) {
    this.#limit = options.limit;
    this.#windowMs = options.windowMs;
    this.#maxKeys = options.maxKeys;
  }

  /** @returns the attempt, or how long to wait, ms */
  begin(key: string, nowMs: number): Attempt | { readonly retryAfterMs: number } {
    const window = this.#windowOf(key, nowMs);
    if (window.count >= this.#limit) return { retryAfterMs: Math.max(1, window.startedMs + this.#windowMs - nowMs) };
    window.count += 1;
    return {
      succeeded: () => {
        window.count -= 1;
      },
    };
  }

  #windowOf(key: string, nowMs: number): Window {
    const known = this.#windows.get(key);
    if (known !== undefined && nowMs - known.startedMs < this.#windowMs) return known;
    this.#windows.delete(key);
    if (this.#windows.size >= this.#maxKeys) this.#makeRoom(nowMs);
    const window = { startedMs: nowMs, count: 0 };
    this.#windows.set(key, window);
    return window;
  }

  /** The map is in order of age. */
  #makeRoom(nowMs: number): void {
    for (const [key, { startedMs }] of this.#windows) {
      if (this.#windows.size < this.#maxKeys && nowMs - startedMs < this.#windowMs) return;
      this.#windows.delete(key);
    }
  }
}
