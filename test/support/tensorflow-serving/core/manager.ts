import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { nextAction, type ServableAction } from './availability-preserving-policy.ts';
import { runPeriodically } from './periodic.ts';
import { Servable } from './servable.ts';
import type { ManagerState, ServableEventBus } from './servable-state.ts';
import { StatusError } from './status.ts';
import type { AspiredVersion } from './storage-path-source.ts';
import { ThreadPool } from './thread-pool.ts';

/** How the manager loads; names and defaults of the server's flags are in `flags.ts`. */
export interface ManagerOptions {
  /** 0: loads run in the manager's own loop, so that nothing else on the server loads or unloads meanwhile, retries included. */
  numLoadThreads: number;
  /** 0: unloads run in the manager's own loop, and wait there for the last request of the version. */
  numUnloadThreads: number;
  maxNumLoadRetries: number;
  loadRetryIntervalMs: number;
  /** Time between turns of the loop; one action a turn. 100 ms in the original. */
  manageStateIntervalMs: number;
  log: (line: string) => void;
}

/**
 * Brings what is loaded in line with what is wanted, one step at a time (core/aspired_versions_manager.cc, core/basic_manager.cc,
 * core/loader_harness.cc). Wanted sets are queued per model, the latest one only, and taken up in the loop.
 */
export class Manager {
  readonly #bus: ServableEventBus;
  readonly #options: ManagerOptions;
  readonly #managed = new Map<string, Map<bigint, Servable>>();
  readonly #pending = new Map<string, AspiredVersion[]>();
  readonly #stopped = new AbortController();
  readonly #unloadPool: ThreadPool;
  #loadPool: ThreadPool;
  #stopLoop: () => void = () => undefined;

  constructor(bus: ServableEventBus, options: ManagerOptions) {
    this.#bus = bus;
    this.#options = options;
    this.#loadPool = new ThreadPool(options.numLoadThreads);
    this.#unloadPool = new ThreadPool(options.numUnloadThreads);
    setMaxListeners(0, this.#stopped.signal);
  }

  start(): void {
    this.#stopLoop = runPeriodically(() => this.#turn(), this.#options.manageStateIntervalMs);
  }

  stop(): void {
    this.#stopLoop();
    this.#stopped.abort();
  }

  /** Sets what is wanted of a model; taken up by the loop. */
  setAspiredVersions(name: string, versions: AspiredVersion[]): void {
    this.#pending.set(name, versions);
  }

  /** Changes how many versions load at a time, once everything under way is done. */
  async setLoadThreads(count: number): Promise<void> {
    await this.#loadPool.drain();
    this.#loadPool = new ThreadPool(count);
  }

  /**
   * The version that answers a request: the given one, else the highest that is loaded.
   * @throws {StatusError} NOT_FOUND
   */
  serving(name: string, version?: bigint): Servable {
    const ready = this.#servables(name).filter(({ state }) => state === 'ready');
    const found = version === undefined ? ready.sort(byVersion).at(-1) : ready.find((one) => one.version === version);
    if (found) return found;
    const request = version === undefined ? `Latest(${name})` : `Specific(${name}, ${version})`;
    throw new StatusError('NOT_FOUND', `Servable not found for request: ${request}`);
  }

  #servables(name: string): Servable[] {
    return [...(this.#managed.get(name)?.values() ?? [])];
  }

  async #turn(): Promise<void> {
    this.#flush();
    this.#takeUpPending();
    await this.#act();
  }

  /** Forgets versions that are over and no longer wanted. A failed one that stays wanted stays, and is never tried again. */
  #flush(): void {
    for (const [name, versions] of this.#managed) {
      for (const one of versions.values()) {
        if (!one.aspired && ['new', 'disabled', 'error'].includes(one.state)) versions.delete(one.version);
      }
      if (versions.size === 0) this.#managed.delete(name);
    }
  }

  /**
   * A wanted set that names a version which is on its way out waits until that version is gone. So an undo in the middle of a
   * switch waits for the switch; and when the switch failed, the old version serves on but the undo is never taken up.
   */
  #takeUpPending(): void {
    for (const [name, wanted] of this.#pending) {
      const leaving = this.#servables(name).filter(({ aspired }) => !aspired);
      if (leaving.some(({ version }) => wanted.some((one) => one.version === version))) continue;
      this.#pending.delete(name);
      this.#setAspired(name, wanted);
    }
  }

  #setAspired(name: string, wanted: AspiredVersion[]): void {
    const known = new Set<bigint>();
    for (const one of this.#servables(name)) {
      known.add(one.version);
      if (wanted.some(({ version }) => version === one.version)) continue;
      one.aspired = false;
      one.shouldRetry = false;
    }
    for (const version of wanted) {
      if (known.has(version.version)) continue;
      const added = new Servable(name, version, this.#options.log);
      const versions = this.#managed.get(name) ?? new Map<bigint, Servable>();
      this.#managed.set(name, versions.set(version.version, added));
      this.#publish(added, 'START');
    }
  }

  /** One action a turn over all models, an unload before a load. */
  async #act(): Promise<void> {
    const actions = [...this.#managed.keys()].flatMap((name) => this.#nextAction(name));
    const action = actions.find(({ kind }) => kind === 'unload') ?? actions[0];
    if (action === undefined) return;
    const { kind, servable } = action;
    // Set before the pool gets to it, so that the next turn does not schedule it again.
    servable.state = kind === 'load' ? 'loading' : 'unloading';
    if (kind === 'load') await this.#loadPool.schedule(() => this.#load(servable));
    else await this.#unloadPool.schedule(() => this.#unload(servable));
  }

  #nextAction(name: string): { kind: ServableAction['kind']; servable: Servable }[] {
    const servables = this.#servables(name);
    const action = nextAction(
      servables.map(({ version, state, aspired }) => ({ version, aspired, state: state === 'new' || state === 'ready' ? state : 'other' })),
    );
    const servable = servables.find(({ version }) => version === action?.version);
    if (action === undefined || servable === undefined) return [];
    return [{ kind: action.kind, servable }];
  }

  async #load(servable: Servable): Promise<void> {
    this.#publish(servable, 'LOADING');
    const error = await this.#tryToLoad(servable);
    if (this.#stopped.signal.aborted) return;
    if (error !== undefined) {
      servable.state = 'error';
      this.#options.log(`Servable ${servable.name} ${servable.version} cannot be loaded: ${error.code}: ${error.message}`);
      this.#publish(servable, 'END', error);
    } else if (!servable.shouldRetry) {
      servable.state = 'disabled';
      this.#publish(servable, 'END', new StatusError('CANCELLED', 'Loading of servable cancelled'));
    } else {
      servable.state = 'ready';
      this.#publish(servable, 'AVAILABLE');
    }
  }

  async #tryToLoad(servable: Servable): Promise<StatusError | undefined> {
    let error: StatusError | undefined;
    for (let attempt = 0; attempt <= this.#options.maxNumLoadRetries; attempt += 1) {
      if (attempt > 0) await this.#wait(this.#options.loadRetryIntervalMs);
      await this.#wait(servable.behaviour.load_ms ?? 0);
      error = servable.loadError();
      if (error === undefined || !servable.shouldRetry || this.#stopped.signal.aborted) break;
    }
    return error;
  }

  async #unload(servable: Servable): Promise<void> {
    this.#publish(servable, 'UNLOADING');
    await servable.drained();
    await this.#wait(servable.behaviour.unload_ms ?? 0);
    servable.state = 'disabled';
    this.#publish(servable, 'END');
  }

  #publish({ name, version }: Servable, state: ManagerState, error?: StatusError): void {
    this.#bus.publish({ name, version, state, error });
  }

  async #wait(ms: number): Promise<void> {
    if (ms > 0) await sleep(ms, undefined, { signal: this.#stopped.signal }).catch(() => undefined);
  }
}

function byVersion(a: Servable, b: Servable): number {
  return a.version < b.version ? -1 : 1;
}
