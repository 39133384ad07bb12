import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { JsonValue } from '@bufbuild/protobuf';
import { type CodeName, isCodeName } from './status.ts';

/**
 * How a version behaves, from `behaviour.json` in its folder; a missing file or key is the healthy default. Read anew at every
 * use, so that rewriting the file turns a running version good or bad. Replace the file by rename, or expect the old one to
 * be used while it is half written.
 */
export interface Behaviour {
  /** Time one attempt to load takes, in ms; default 0. */
  load_ms?: number;
  /** When set, every attempt to load fails with this message. */
  load_error?: string;
  /** Code of `load_error`; default INTERNAL. */
  load_error_code?: CodeName;
  /** Time to unload, in ms, after the last request is done; default 0. */
  unload_ms?: number;
  /** Share of requests that fail, 0..1, evenly spread and exact: 0.1 fails the 10th, 20th, 30th …; default 0. */
  fail_ratio?: number;
  /** Code of a failed request; default INTERNAL. */
  fail_code?: CodeName;
  /** Message of a failed request. */
  fail_message?: string;
  /** Time a request takes, in ms; default 0. */
  latency_ms?: number;
  /** Time 2 of 100 requests take instead, in ms, so that the 99th percentile is among them; default `latency_ms`. */
  latency_ms_p99?: number;
  /** First number of every prediction, 0..1; the second is the rest to 1; default 0.75. */
  score?: number;
  /** Its signatures by name, in protobuf's JSON, as REST's `/metadata` shows them; default: `serving_default`, rows of any length in, two numbers a row out. */
  signatures?: Record<string, JsonValue>;
}

/** File name of {@link Behaviour} in a version's folder. */
export const BEHAVIOUR_FILE = 'behaviour.json';

/** Reads one version's behaviour; keeps the last one that could be read, and says so once per fault. */
export class BehaviourReader {
  readonly #path: string;
  readonly #log: (line: string) => void;
  #last: Behaviour = {};
  #fault = '';

  /** @param folder the version's folder */
  constructor(folder: string, log: (line: string) => void) {
    this.#path = join(folder, BEHAVIOUR_FILE);
    this.#log = log;
  }

  read(): Behaviour {
    try {
      this.#last = check(JSON.parse(readFileSync(this.#path, 'utf8')));
      this.#fault = '';
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT') this.#last = {};
      else if (message !== this.#fault) this.#log(`${this.#path}: ${message}; the last good one is used`);
      this.#fault = message;
    }
    return this.#last;
  }
}

function check(behaviour: Behaviour): Behaviour {
  for (const key of ['fail_code', 'load_error_code'] as const) {
    const code: unknown = behaviour[key];
    if (code !== undefined && !isCodeName(code)) throw new Error(`${key}: found ${JSON.stringify(code)}, expected a status code such as INTERNAL`);
  }
  return behaviour;
}

/** Picks an exact share of a run of calls, evenly spread, without chance: ratio 0.1 picks the 10th, 20th, … call. */
export class EvenShare {
  #ratio = 0;
  #calls = 0;

  /** @param ratio share to pick, 0..1; a new ratio starts the count again */
  pick(ratio: number): boolean {
    if (ratio !== this.#ratio) {
      this.#ratio = ratio;
      this.#calls = 0;
    }
    this.#calls += 1;
    // The small term keeps 10 × 0.1 from falling short of 1.
    return Math.floor(this.#calls * ratio + 1e-9) > Math.floor((this.#calls - 1) * ratio + 1e-9);
  }
}
