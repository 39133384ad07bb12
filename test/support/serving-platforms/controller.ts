import { setTimeout as sleep } from 'node:timers/promises';
import { KubernetesAnswerError } from '../kubernetes/kubernetes-client.ts';

/** A controller that looks every few milliseconds, as one that is woken by watches does; it can be held still, and moved by hand. */
export abstract class Controller implements AsyncDisposable {
  /** Between two looks. */
  everyMs = 5;
  readonly #stop = new AbortController();
  #loop: Promise<void> | null = null;
  #isPaused = false;
  #turning: Promise<void> = Promise.resolve();

  /** One look at the world, and at most one change per object. */
  protected abstract reconcile(): Promise<void>;

  start(): this {
    this.#loop ??= this.#run();
    return this;
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
  }

  /** One turn now, also while paused. Turns never overlap; a write that lost a race is made up for in the next. */
  async turn(): Promise<void> {
    const before = this.#turning;
    this.#turning = before.then(
      async () =>
        await this.reconcile().catch((error: unknown) => {
          if (!(error instanceof KubernetesAnswerError) || ![404, 409].includes(error.status)) throw error;
        }),
    );
    await this.#turning;
  }

  async turns(count: number): Promise<void> {
    for (let done = 0; done < count; done += 1) await this.turn();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#loop;
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      if (!this.#isPaused) await this.turn().catch(() => undefined);
      await sleep(this.everyMs, undefined, { signal: this.#stop.signal }).catch(() => undefined);
    }
  }
}

/** What becomes of a pod with this artifact: it serves, its container dies again and again, or it never comes up in time. */
export type Fate = 'serves' | 'crashes' | 'starts slowly';
