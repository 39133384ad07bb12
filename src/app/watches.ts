import { isSequential } from '../domain/conditions/sequential.ts';
import type { Measurement } from '../domain/measurement.ts';
import type { Model } from '../domain/model.ts';
import type { Rule, SequentialCondition } from '../domain/rule.ts';
import { RuleWatch } from '../domain/sequential/rule-watch.ts';
import type { SequentialState } from '../domain/sequential/version-watch.ts';
import type { Memory } from './memory.ts';
import type { Measured } from './stages/measure.ts';
import { standingOf } from './stages/standing.ts';

/** Samples are asked for in few windows, so that alike questions stay one query. */
const windowsMs = [60_000, 120_000, 300_000, 600_000, 1_800_000, 3_600_000];
/** Samples come late by up to this. */
const lateMs = 30_000;
/** The first time: with a history enough of it to know how bursty the service is. */
const firstWindowMs = { history: 1_800_000, none: 300_000 };

/** After so many answers in a row that could not be used, less is asked for: it may have been too much. */
const smallerAfter = [
  { failures: 3, windowMs: 60_000 },
  { failures: 1, windowMs: 300_000 },
];

type Watch = { readonly shape: string; readonly watch: RuleWatch };

export type WatchContext = {
  readonly model: Model;
  readonly nowMs: number;
  readonly intervalMs: number;
  /** Rules of the model that share the false alarms. */
  readonly sharers: (rule: Rule) => number;
};

/** What every rule with `detect: sequential` has counted. It outlives a reload, and over a restart what the journal has of it. */
export class Watches {
  readonly #memory: Memory;
  readonly #rules = new Map<string, Watch>();
  readonly #failures = new Map<string, number>();

  /** Up to when each rule had counted all its versions when this process began. */
  readonly #remembered = new Map<string, number>();

  constructor(memory: Memory) {
    this.#memory = memory;
    for (const { rule, sequential } of memory.ruleStates().values())
      if (sequential !== undefined) this.#remembered.set(rule, Math.min(sequential.uptoMs, this.#remembered.get(rule) ?? sequential.uptoMs));
  }

  /** How far back samples must be asked for. @param hasHistory whether the source keeps samples of its own */
  windowMs(rule: Rule, hasHistory: boolean, nowMs: number): number {
    const failures = this.#failures.get(rule.id) ?? 0;
    const most = smallerAfter.find((step) => failures >= step.failures)?.windowMs ?? Number.POSITIVE_INFINITY;
    return Math.min(this.#wantedMs(rule, hasHistory, nowMs), most);
  }

  #wantedMs(rule: Rule, hasHistory: boolean, nowMs: number): number {
    const readMs = this.#rules.get(rule.id)?.watch.readMs ?? null;
    if (readMs !== null) return windowFor(Math.max(nowMs - readMs + lateMs, this.#gapMs(rule)));
    const missedMs = nowMs - (this.#remembered.get(rule.id) ?? nowMs);
    return windowFor(Math.max(hasHistory ? firstWindowMs.history : firstWindowMs.none, missedMs + firstWindowMs.none));
  }

  /** Counts what the turn has measured, and puts beside it how each version stands. Rules of other kinds are given back as they are. */
  read(all: readonly Measured[], context: WatchContext): readonly Measured[] {
    return all.map((measured) => (isSequential(measured.rule) ? this.#read({ ...measured, rule: measured.rule }, context) : measured));
  }

  /** What the journal should have of this version now; `null`: nothing new. */
  worthWriting(rule: string, version: string, nowMs: number): SequentialState | null {
    return this.#rules.get(rule)?.watch.stateOf(version, nowMs, 'worth writing') ?? null;
  }

  /** All that is known of this version; `null`: nothing. */
  stateOf(rule: string, version: string, nowMs: number): SequentialState | null {
    return this.#rules.get(rule)?.watch.stateOf(version, nowMs, 'all') ?? null;
  }

  /** Forgets rules that are gone. */
  retain(rules: ReadonlySet<string>): void {
    for (const known of [this.#rules, this.#failures]) for (const id of known.keys()) if (!rules.has(id)) known.delete(id);
  }

  #gapMs(rule: Rule): number {
    return 2.5 * (this.#rules.get(rule.id)?.watch.typicalGapMs() ?? 0);
  }

  #read(measured: Measured & { readonly rule: Rule & { readonly condition: SequentialCondition } }, context: WatchContext): Measured {
    const { rule, byVersion } = measured;
    const { model, nowMs } = context;
    this.#failures.set(rule.id, measured.error === null ? 0 : (this.#failures.get(rule.id) ?? 0) + 1);
    const watch = this.#watchOf(rule, context);
    const seen = [...byVersion].flatMap(([version, { error, counters }]) => {
      if (error !== null) return [];
      const { isKnownGood = false, firstSeenMs = null } = standingOf(model, version, new Map(), (id) => this.#memory.ledgerEntry(model.name, id));
      return [
        {
          version,
          counters: counters ?? { total: [], bad: [], sinceMs: null },
          state: this.#memory.ruleState(rule.id, version)?.sequential ?? null,
          switchedMs: this.#switchedMs(model.name, version),
          isKnownGood,
          firstSeenMs,
        },
      ];
    });
    if (seen.length === 0) return measured;
    const readings = watch.read(seen, nowMs);
    const judged = [...byVersion].map(([version, measurement]): [string, Measurement] => {
      const reading = readings.get(version);
      if (reading === undefined) return [version, measurement];
      const { n, k, seconds } = reading.recent;
      const counts = { requests: n, errors: k, windowMs: seconds * 1000, newestMs: reading.newestMs };
      return [version, { ...measurement, ...counts, sequential: reading }];
    });
    return { ...measured, byVersion: new Map(judged) };
  }

  #watchOf(rule: Rule & { readonly condition: SequentialCondition }, { intervalMs, sharers }: WatchContext): RuleWatch {
    const options = { condition: rule.condition, forMs: rule.forMs, intervalMs, sharers: sharers(rule) };
    const shape = JSON.stringify([rule.condition.of, rule.condition.limit]);
    const known = this.#rules.get(rule.id);
    if (known?.shape === shape) {
      known.watch.adopt(options);
      return known.watch;
    }
    const watch = new RuleWatch(options);
    this.#rules.set(rule.id, { shape, watch });
    return watch;
  }

  /** When what serves was last switched to this version, or away from it. */
  #switchedMs(model: string, version: string): number | null {
    const switched = this.#memory.episodes(model).flatMap((episode) => {
      const isOurs = episode.mode === 'enforce' && (episode.from === version || episode.to === version);
      return isOurs && episode.switchedAtMs !== null ? [episode.switchedAtMs] : [];
    });
    return switched.length === 0 ? null : Math.max(...switched);
  }
}

function windowFor(wantedMs: number): number {
  return windowsMs.find((windowMs) => windowMs >= wantedMs) ?? windowsMs.at(-1) ?? wantedMs;
}
