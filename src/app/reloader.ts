import { isDeepStrictEqual } from 'node:util';
import type { Config } from '../config/config.ts';
import { fingerprint } from '../config/files.ts';
import type { LoadResult } from '../config/load.ts';
import type { Clock, Log } from '../domain/ports.ts';
import { formatDiagnostic } from '../rulefile/diagnostic.ts';
import type { Metrics } from '../telemetry/metrics.ts';

/** A file that changed is read only when it looks the same twice, this far apart: nobody's half-written file. */
const settleMs = 1_000;

export type ReloaderDeps = {
  readonly load: () => Promise<LoadResult>;
  readonly apply: (config: Config) => Promise<void>;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
};

/** How the last loading of the files went. */
export type SettingsStatus = {
  /** In force. */
  readonly config: Config;
  readonly loadedMs: number;
  /** Lines about the last attempt; empty: it worked. */
  readonly faults: readonly string[];
};

/** Reloads the files: all or nothing, one at a time; a reload that fails keeps the old settings and says every fault. */
export class Reloader {
  readonly #deps: ReloaderDeps;
  #config: Config;
  #loadedMs: number;
  #faults: readonly string[] = [];
  #queue: Promise<unknown> = Promise.resolve();

  constructor(config: Config, deps: ReloaderDeps) {
    this.#config = config;
    this.#deps = deps;
    this.#loadedMs = deps.clock.nowMs();
  }

  /** What is in force. */
  get config(): Config {
    return this.#config;
  }

  get status(): SettingsStatus {
    return { config: this.#config, loadedMs: this.#loadedMs, faults: this.#faults };
  }

  async reload(): Promise<{ readonly faults: readonly string[] }> {
    const turn = this.#queue.then(async () => await this.#reload());
    this.#queue = turn.catch(() => undefined);
    return await turn;
  }

  /** Looks at the hash of all files every `everyMs` (works on ConfigMap mounts, where watching does not). */
  async poll(everyMs: number, signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    let refused = '';
    while (!signal.aborted) {
      await clock.sleep(everyMs, signal).catch(() => undefined);
      if (signal.aborted) return;
      const seen = await fingerprint(this.#config.file).catch(() => null);
      // Files that cannot be read (a mount that is being swapped) are looked at again.
      if (seen === null || seen === this.#config.hash || seen === refused) continue;
      await clock.sleep(settleMs, signal).catch(() => undefined);
      if (signal.aborted || (await fingerprint(this.#config.file).catch(() => null)) !== seen) continue;
      const { faults } = await this.reload();
      refused = faults.length > 0 ? seen : '';
    }
  }

  async #reload(): Promise<{ readonly faults: readonly string[] }> {
    const { load, apply, log, metrics } = this.#deps;
    let loaded: LoadResult;
    try {
      loaded = await load();
    } catch (error) {
      return this.#refuse([error instanceof Error ? error.message : String(error)]);
    }
    const { config, diagnostics } = loaded;
    const faults = config === null ? diagnostics.map((diagnostic) => formatDiagnostic(diagnostic)) : [];
    if (config !== null && !isDeepStrictEqual(placeOf(config), placeOf(this.#config)))
      faults.push('journal and leader_election cannot change while rollbackd runs; start it anew');
    if (config === null || faults.length > 0) return this.#refuse(faults);
    try {
      await apply(config);
    } catch (error) {
      return this.#refuse([error instanceof Error ? error.message : String(error)]);
    }
    this.#config = config;
    log.info({ files: config.files.length, models: config.models.length }, 'settings reloaded');
    this.#loadedMs = this.#deps.clock.nowMs();
    this.#faults = [];
    metrics.configLoaded(this.#loadedMs, config.hash);
    return { faults: [] };
  }

  #refuse(faults: readonly string[]): { readonly faults: readonly string[] } {
    this.#faults = faults;
    this.#deps.metrics.configRefused();
    this.#deps.log.error({ faults }, 'settings refused; the old ones stay in force');
    return { faults };
  }
}

/** What is opened once, at start. */
function placeOf({ journal, leaderElection }: Config): unknown {
  return { ...journal, retentionMs: null, leaderElection };
}
