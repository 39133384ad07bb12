import { isDeepStrictEqual } from 'node:util';
import type { Config } from '../config/config.ts';
import { fingerprinter } from '../config/files.ts';
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

/** How often the files are read again when they changed while they were read: two halves of a swap of a ConfigMap are no settings. */
const readingsMost = 3;

/** Reloads the files: all or nothing, one at a time; a reload that fails keeps the old settings and says every fault. */
export class Reloader {
  readonly #deps: ReloaderDeps;
  readonly #fingerprint: () => Promise<string>;
  #config: Config;
  #loadedMs: number;
  #queue: Promise<unknown> = Promise.resolve();
  /** Of the last attempt; none: it worked. */
  #faults: readonly string[] = [];

  constructor(config: Config, deps: ReloaderDeps) {
    this.#config = config;
    this.#deps = deps;
    this.#fingerprint = fingerprinter(config.file);
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
    return await this.#inTurn({ isAsked: true });
  }

  /**
   * Looks at the hash of all files every `everyMs` (works on ConfigMap mounts, where watching does not). What was refused is tried again each time: its
   * cause may lie in a file that has no part in the hash (a Secret that is mounted later), and files that are put back must count as taken.
   */
  async poll(everyMs: number, signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    while (!signal.aborted) {
      await clock.sleep(everyMs, signal).catch(() => undefined);
      if (signal.aborted) return;
      const seen = await this.#fingerprint().catch(() => null);
      // Files that cannot be read (a mount that is being swapped) are looked at again.
      if (seen === null || (seen === this.#config.hash && this.#faults.length === 0)) continue;
      await clock.sleep(settleMs, signal).catch(() => undefined);
      if (signal.aborted || (await this.#fingerprint().catch(() => null)) !== seen) continue;
      await this.#inTurn({ isAsked: false });
    }
  }

  async #inTurn(how: { readonly isAsked: boolean }): Promise<{ readonly faults: readonly string[] }> {
    const turn = this.#queue.then(async () => await this.#reload());
    this.#queue = turn.catch(() => undefined);
    const faults = await turn;
    // Nobody needs to read the same fault every half minute.
    if (faults.length > 0 && (how.isAsked || !isDeepStrictEqual(faults, this.#faults)))
      this.#deps.log.error({ faults }, 'settings refused; the old ones stay in force');
    this.#faults = faults;
    return { faults };
  }

  /** @returns the faults; none: the new settings are in force */
  async #reload(): Promise<readonly string[]> {
    const { apply, log, metrics, clock } = this.#deps;
    const faults: string[] = [];
    try {
      const { config, diagnostics } = await this.#load();
      if (config === null) faults.push(...diagnostics.map((diagnostic) => formatDiagnostic(diagnostic)));
      else if (!isDeepStrictEqual(placeOf(config), placeOf(this.#config)))
        faults.push('journal and leader_election cannot change while rollbackd runs; start it anew');
      else {
        await apply(config);
        this.#config = config;
        log.info({ files: config.files.length, models: config.models.length }, 'settings reloaded');
        this.#loadedMs = clock.nowMs();
        metrics.configLoaded(this.#loadedMs, config.hash);
        return [];
      }
    } catch (error) {
      faults.push(error instanceof Error ? error.message : String(error));
    }
    metrics.configRefused();
    return faults;
  }

  async #load(): Promise<LoadResult> {
    for (let reading = 1; ; reading += 1) {
      const loaded = await this.#deps.load();
      if (reading === readingsMost || loaded.config === null || loaded.config.hash === (await this.#fingerprint())) return loaded;
    }
  }
}

/** What is opened once, at start. */
function placeOf({ journal, leaderElection }: Config): unknown {
  return { ...journal, retentionMs: null, leaderElection };
}
