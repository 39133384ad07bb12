import { describeTelemetry, findBreachStorm, type OpenBreaker, stepTelemetry, type TelemetryState } from '../domain/breakers.ts';
import { maxSampleAgeMs, staleness } from '../domain/conditions/finding.ts';
import { isFollower } from '../domain/group-rollback.ts';
import type { Measurement } from '../domain/measurement.ts';
import { type Condition, partsOf } from '../domain/rule.ts';
import type { Memory } from './memory.ts';
import { actingRules, intervalOf, isActing, type Runtime, ruleById } from './runtime.ts';
import type { Measured } from './stages/measure.ts';

/** What was said longer ago than so many intervals says nothing of now. */
const intervalsKept = 3;
/** A short restart included. */
const shortestMemoryMs = 120_000;

type Sight = { readonly atMs: number; readonly isFresh: boolean };

/** Looks at all models together: who has fresh data, who breaches since when, and which breakers are open for that. */
export class FleetWatch {
  /** Per model and interval of its rules. */
  readonly #sights = new Map<string, Map<number, Sight>>();
  #telemetry: TelemetryState = null;
  #open: readonly OpenBreaker[] = [];

  /** What one turn measured of a model. */
  see(model: string, all: readonly Measured[], turn: { readonly atMs: number; readonly intervalMs: number }): void {
    const told = all.flatMap((measured) => freshness(measured, turn.atMs)).filter((fresh) => fresh !== null);
    if (told.length === 0) return;
    const isFresh = told.includes(true);
    const sights = this.#sights.get(model) ?? new Map<number, Sight>();
    this.#sights.set(model, sights.set(turn.intervalMs, { atMs: turn.atMs, isFresh }));
  }

  /** Judges the breakers by what was seen so far. @returns those that opened and those that closed now */
  update(
    runtime: Runtime,
    memory: Memory,
    nowMs: number,
  ): {
    readonly opened: readonly OpenBreaker[];
    readonly closed: readonly OpenBreaker[];
  } {
    const { telemetryBreaker, breachBreaker } = runtime.limits;
    const acting = [...runtime.models.values()].filter((model) => actingRules(runtime, model).length > 0);
    const seen = acting.flatMap(({ name }) => this.#sights.get(name) ?? []);
    const counts = { blind: seen.filter((sights) => isBlind(sights, nowMs)).length, models: seen.length };
    this.#telemetry = stepTelemetry(this.#telemetry, counts, telemetryBreaker, nowMs);
    const breaching = breachOnsets(runtime, memory, nowMs);
    const breached = memory.openEpisodes().filter((episode) => episode.trigger === 'rule' && !isFollower(episode));
    const underWay = new Map(breached.map(({ model, detectedAtMs }) => [model, detectedAtMs]));
    const onsets = acting.flatMap(({ name }) => breaching.get(name) ?? underWay.get(name) ?? []);
    const storm = findBreachStorm(onsets, acting.length, breachBreaker);
    const before = this.#open;
    this.#open = [...(this.#telemetry === null ? [] : [describeTelemetry(this.#telemetry, counts, telemetryBreaker)]), ...(storm === null ? [] : [storm])];
    return { opened: missingIn(this.#open, before), closed: missingIn(before, this.#open) };
  }

  /** Breakers that are open. */
  get open(): readonly OpenBreaker[] {
    return this.#open;
  }
}

/** Per version whether there are numbers of now; `null`: these numbers cannot tell. */
function freshness({ rule, byVersion, error }: Measured, nowMs: number): readonly (boolean | null)[] {
  if (error !== null) return [false];
  if (byVersion.size === 0) return [rule.condition.kind === 'expr' || rule.condition.kind === 'quality' ? null : false];
  return [...byVersion.values()].map((measurement) => isOfNow(rule.condition, measurement, nowMs));
}

function isOfNow(condition: Condition, measurement: Measurement, nowMs: number): boolean | null {
  const parts = measurement.parts ?? [];
  const told = partsOf(condition).flatMap((part, index) => {
    const measured = parts[index];
    return measured === undefined ? [] : [isOfNow(part, measured, nowMs)];
  });
  const { newestMs, value } = measurement;
  if (measurement.error !== null) told.push(false);
  // What a registry says is days old and true; an expression that gives nothing says nothing of its age.
  else if (condition.kind === 'quality' || (condition.kind === 'expr' && newestMs === null))
    told.push(value !== null && condition.kind === 'expr' ? true : null);
  else if (told.length === 0 || newestMs !== null) told.push(staleness(newestMs, maxSampleAgeMs, nowMs) === null);
  return told.find((fresh) => fresh === true) ?? told.find((fresh) => fresh === false) ?? null;
}

function isBlind(sights: ReadonlyMap<number, Sight>, nowMs: number): boolean {
  return ![...sights].some(([intervalMs, { atMs, isFresh }]) => isFresh && nowMs - atMs <= intervalsKept * intervalMs);
}

/**
 * When each model began to breach what it breaches now, by whichever acting rule first; one that is about to counts. By the rules' journalled memory, not
 * by the verdicts of this process, so that a restart forgets none.
 */
function breachOnsets(runtime: Runtime, memory: Memory, nowMs: number): ReadonlyMap<string, number> {
  const onsets = new Map<string, number>();
  for (const state of memory.ruleStates().values()) {
    if (state.breachingSinceMs === null) continue;
    const rule = ruleById(runtime, state.rule);
    const model = rule === null ? undefined : runtime.models.get(rule.model);
    if (rule === null || model === undefined || !isActing(runtime, model, rule)) continue;
    if (nowMs - state.lastEvaluatedMs > Math.max(shortestMemoryMs, intervalsKept * intervalOf(runtime, rule.id))) continue;
    onsets.set(
      model.name,
      Math.min(onsets.get(model.name) ?? Number.POSITIVE_INFINITY, state.breachingSinceMs, state.firingSinceMs ?? Number.POSITIVE_INFINITY),
    );
  }
  return onsets;
}

function missingIn(these: readonly OpenBreaker[], those: readonly OpenBreaker[]): readonly OpenBreaker[] {
  return these.filter(({ name }) => !those.some((other) => other.name === name));
}
