/** Runs tasks a few at a time, like the thread pools that load and unload models. */
export class ThreadPool {
  readonly #size: number;
  readonly #queue: (() => Promise<void>)[] = [];
  #running = 0;
  #idle: (() => void)[] = [];

  /** @param size number of tasks at a time; 0 means no pool: the caller is kept waiting instead, see `schedule` */
  constructor(size: number) {
    this.#size = size;
  }

  /** Puts a task to work. The promise is what the caller has to wait for: at once with a pool, the whole task without one. */
  schedule(task: () => Promise<void>): Promise<void> {
    if (this.#size === 0) return task();
    this.#queue.push(task);
    this.#next();
    return Promise.resolve();
  }

  /** Waits until nothing is queued or under way. */
  async drain(): Promise<void> {
    if (this.#running > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  #next(): void {
    while (this.#running < this.#size) {
      const task = this.#queue.shift();
      if (task === undefined) break;
      this.#running += 1;
      void task().finally(() => {
        this.#running -= 1;
        this.#next();
      });
    }
    if (this.#running > 0) return;
    for (const resolve of this.#idle.splice(0)) resolve();
  }
}
