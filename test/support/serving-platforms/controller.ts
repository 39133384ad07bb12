import { setTimeout as sleep } from 'node:timers/promises';
import { KubernetesAnswerError, type KubernetesTestClient } from '../kubernetes/kubernetes-client.ts';

/** A controller, as a client of an API server; it can be held still, and moved by hand. */
export abstract class Controller implements AsyncDisposable {
  protected readonly client: KubernetesTestClient;
  /** Paths of the collections that it acts on. */
  readonly #watched: readonly string[];
  #everyMs = 5;
  #wake = new AbortController();
  readonly #watches: Promise<void>[] = [];
  readonly #stop = new AbortController();
  #loop: Promise<void> | null = null;
  #isPaused = false;
  #turning: Promise<void> = Promise.resolve();

  constructor(client: KubernetesTestClient, watched: readonly string[]) {
    this.client = client;
    this.#watched = watched;
  }

  /** One look at the world, and at most one change per object. */
  protected abstract reconcile(): Promise<void>;

  /** Looks every few milliseconds. */
  start(): this {
    this.#loop ??= this.#run();
    return this;
  }

  /** Looks when a watch tells of a change, and ten times a second besides: for a server that others need, too. */
  follow(): this {
    this.#everyMs = 100;
    for (const path of this.#watched) this.#watches.push(this.client.watch(path, {}, () => this.#wake.abort(), this.#stop.signal));
    return this.start();
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
    await Promise.all([this.#loop, ...this.#watches]);
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      this.#wake = new AbortController();
      if (!this.#isPaused) await this.turn().catch(() => undefined);
      await sleep(this.#everyMs, undefined, { signal: AbortSignal.any([this.#stop.signal, this.#wake.signal]) }).catch(() => undefined);
    }
  }
}

/** What becomes of a pod with this artifact: it serves, its container dies again and again, or it never comes up in time. */
export type Fate = 'serves' | 'crashes' | 'starts slowly';
