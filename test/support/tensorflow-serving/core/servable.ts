import { statSync } from 'node:fs';
import { type Behaviour, BehaviourReader, EvenShare } from './behaviour.ts';
import { StatusError } from './status.ts';
import type { AspiredVersion } from './storage-path-source.ts';

/** State of a version inside the manager; finer than what `GetModelStatus` shows. */
export type HarnessState = 'new' | 'loading' | 'ready' | 'unloading' | 'disabled' | 'error';

/** One version of one model under management: from being wanted until it is unloaded or has failed, and no longer wanted. */
export class Servable {
  readonly name: string;
  readonly version: bigint;
  state: HarnessState = 'new';
  aspired = true;
  /** Cleared when the version is no longer wanted while it loads: the attempt under way is the last one. */
  shouldRetry = true;
  readonly #path: string;
  readonly #behaviour: BehaviourReader;
  readonly #failing = new EvenShare();
  readonly #slow = new EvenShare();
  #requests = 0;
  #drained: (() => void)[] = [];

  constructor(name: string, { version, path }: AspiredVersion, log: (line: string) => void) {
    this.name = name;
    this.version = version;
    this.#path = path;
    this.#behaviour = new BehaviourReader(path, log);
  }

  get behaviour(): Behaviour {
    return this.#behaviour.read();
  }

  /** Why loading fails now, if it does. */
  loadError(): StatusError | undefined {
    const { load_error, load_error_code } = this.behaviour;
    if (load_error !== undefined) return new StatusError(load_error_code ?? 'INTERNAL', load_error);
    if (statSync(this.#path, { throwIfNoEntry: false })?.isDirectory()) return undefined;
    return new StatusError('NOT_FOUND', `Could not find SavedModel .pb or .pbtxt at supplied export directory path: ${this.#path}`);
  }

  /** What the next request will do: how long it takes, in ms, and how it fails, if it does. Counts as a request. */
  nextRequest(): { latencyMs: number; error: StatusError | undefined; score: number } {
    const { fail_ratio = 0, fail_code = 'INTERNAL', fail_message, latency_ms = 0, latency_ms_p99, score = 0.75 } = this.behaviour;
    const fails = this.#failing.pick(fail_ratio);
    const slow = this.#slow.pick(latency_ms_p99 === undefined ? 0 : 0.02);
    const error = fails ? new StatusError(fail_code, fail_message ?? `version ${this.version} of ${this.name} fails on purpose`) : undefined;
    return { latencyMs: slow ? (latency_ms_p99 ?? latency_ms) : latency_ms, error, score };
  }

  /** Runs a request against the version; unloading waits for it. */
  async use<T>(request: () => Promise<T>): Promise<T> {
    this.#requests += 1;
    try {
      return await request();
    } finally {
      this.#requests -= 1;
      if (this.#requests === 0) for (const resolve of this.#drained.splice(0)) resolve();
    }
  }

  /** Waits until no request uses the version. */
  async drained(): Promise<void> {
    if (this.#requests > 0) await new Promise<void>((resolve) => this.#drained.push(resolve));
  }
}
