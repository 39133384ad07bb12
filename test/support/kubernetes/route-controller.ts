import { setTimeout as sleep } from 'node:timers/promises';
import { KubernetesAnswerError, type KubernetesTestClient } from './kubernetes-client.ts';
import type { JsonMap, KubernetesObject } from './kubernetes-object.ts';

/** A destination that proxies answer for with 503. */
export const nowhere = '503';
/** Weight per destination. */
export type Weights = Readonly<Record<string, number>>;

export type RouteControllerOptions = {
  /** Default: shop. */
  readonly namespace?: string;
  /** Until the controller has looked at a change. */
  readonly delayMs: number;
  /** Until the proxies have it, after that. Default: none. */
  readonly proxyDelayMs?: number;
};

/**
 * A controller of routes and the proxies behind it, as a client of an API server, fake or real: it follows a kind by a watch, looks at each change some time
 * after it was written, and writes statuses. The proxies get what it has looked at later still, and until then route as before.
 */
export abstract class RouteController implements AsyncDisposable {
  protected readonly client: KubernetesTestClient;
  protected readonly delayMs: number;
  readonly #collection: string;
  readonly #proxyDelayMs: number;
  readonly #stop = new AbortController();
  readonly #watching: Promise<void>;
  readonly #newest = new Map<string, KubernetesObject>();
  readonly #proxies = new Map<string, Weights>();
  #work: Promise<void> = Promise.resolve();

  constructor(client: KubernetesTestClient, collection: string, { delayMs, proxyDelayMs = 0 }: RouteControllerOptions) {
    this.client = client;
    this.delayMs = delayMs;
    this.#proxyDelayMs = proxyDelayMs;
    this.#collection = collection;
    this.#watching = client.watch(collection, {}, (type, object) => this.#onEvent(type, object), this.#stop.signal);
  }

  /** Shares the proxies send, by destination; what is answered with 503 is missing. */
  routed(name: string): Weights {
    const weights = this.#proxies.get(name) ?? {};
    const sum = Object.values(weights).reduce((total, weight) => total + weight, 0);
    return Object.fromEntries(
      Object.entries(weights).flatMap(([destination, weight]) => (weight > 0 && destination !== nowhere ? [[destination, weight / sum]] : [])),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#watching;
    await this.#work;
  }

  /** Does all there is to do for one state of an object, with its pauses. Gives up when `isOutdated`. */
  protected abstract reconcile(object: KubernetesObject, isOutdated: () => boolean): Promise<void>;
  /** What the proxies will do with it. */
  protected abstract weightsOf(object: KubernetesObject): Promise<Weights>;

  protected async pause(ms = this.delayMs): Promise<void> {
    await sleep(ms, undefined, { signal: this.#stop.signal }).catch(() => undefined);
  }

  protected async writeStatus(name: string, status: JsonMap): Promise<void> {
    if (!this.#stop.signal.aborted) await this.client.merge(`${this.#collection}/${name}/status`, { status });
  }

  #onEvent(type: 'ADDED' | 'MODIFIED' | 'DELETED', object: KubernetesObject): void {
    const { name, generation } = object.metadata;
    if (type === 'DELETED') {
      this.#newest.delete(name);
      this.#proxies.delete(name);
      return;
    }
    // Its own status writes come by here, too.
    const isNews = this.#newest.get(name)?.metadata.generation !== generation;
    this.#newest.set(name, object);
    if (isNews) this.#work = this.#work.then(async () => await this.#take(name, generation ?? 0));
  }

  async #take(name: string, generation: number): Promise<void> {
    const isOutdated = (): boolean => this.#stop.signal.aborted || this.#newest.get(name)?.metadata.generation !== generation;
    const object = this.#newest.get(name);
    if (object === undefined || isOutdated()) return;
    try {
      await this.reconcile(object, isOutdated);
      if (isOutdated()) return;
      const weights = await this.weightsOf(object);
      await this.pause(this.#proxyDelayMs);
      this.#proxies.set(name, weights);
    } catch (error) {
      // Deleted meanwhile, or the server goes away with the test.
      if (error instanceof KubernetesAnswerError && error.status !== 404) throw error;
    }
  }
}
