import type { StatusError } from './status.ts';

/** Life of a version as `GetModelStatus` shows it; END is final and is kept for ever, also for versions long gone. */
export type ManagerState = 'START' | 'LOADING' | 'AVAILABLE' | 'UNLOADING' | 'END';

/** One version of one model. `error` is set when its END was a failed load. */
export interface ServableState {
  name: string;
  version: bigint;
  state: ManagerState;
  error?: StatusError | undefined;
}

type Listener = (event: ServableState) => void;

/** Tells every subscriber of every change of state, in order and at once (util/event_bus.h). */
export class ServableEventBus {
  readonly #listeners = new Set<Listener>();

  publish(event: ServableState): void {
    for (const listener of [...this.#listeners]) listener(event);
  }

  /** @returns a function that ends the subscription */
  subscribe(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

interface Wait {
  models: string[];
  resolve: (reached: ServableState[]) => void;
}

/**
 * Last known state of every version since this monitor began to listen (core/servable_state_monitor.cc). The server keeps one
 * for its whole life, which is why END entries stay, and makes a fresh one per reload to wait for new models.
 */
export class ServableStateMonitor implements Disposable {
  readonly #states = new Map<string, Map<bigint, ServableState>>();
  readonly #waits = new Set<Wait>();
  readonly #unsubscribe: () => void;

  constructor(bus: ServableEventBus) {
    this.#unsubscribe = bus.subscribe((event) => this.#handle(event));
  }

  [Symbol.dispose](): void {
    this.#unsubscribe();
  }

  /** Every version of a model ever seen, highest first; empty for a model never seen. */
  versionStates(name: string): ServableState[] {
    const versions = [...(this.#states.get(name)?.values() ?? [])];
    return versions.sort((a, b) => (a.version < b.version ? 1 : -1));
  }

  /** The state of one version, or `undefined` when it was never seen. */
  state(name: string, version: bigint): ServableState | undefined {
    return this.#states.get(name)?.get(version);
  }

  /**
   * Waits, for ever if need be, until each of the models has some version that is AVAILABLE or at its END.
   * @returns per model the highest such version
   */
  whenSettled(models: string[]): Promise<ServableState[]> {
    return new Promise((resolve) => {
      const wait = { models, resolve };
      this.#waits.add(wait);
      this.#notify(wait);
    });
  }

  #handle(event: ServableState): void {
    const versions = this.#states.get(event.name) ?? new Map<bigint, ServableState>();
    this.#states.set(event.name, versions.set(event.version, event));
    for (const wait of [...this.#waits]) this.#notify(wait);
  }

  #notify(wait: Wait): void {
    const reached: ServableState[] = [];
    for (const model of wait.models) {
      const settled = this.versionStates(model).find(({ state }) => state === 'AVAILABLE' || state === 'END');
      if (settled === undefined) return;
      reached.push(settled);
    }
    this.#waits.delete(wait);
    wait.resolve(reached);
  }
}
