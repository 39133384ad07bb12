import { findIn } from '../domain/conditions/find.ts';
import { withHistory } from '../domain/ledger.ts';
import type { Answer } from '../domain/measurement.ts';
import type { Model } from '../domain/model.ts';
import type { Clock, Log, Source } from '../domain/ports.ts';
import type { LedgerEntry } from '../domain/records.ts';
import { type Condition, partsOf, type Rule, withWindow } from '../domain/rule.ts';
import type { Memory } from './memory.ts';
import { actingRules, type Runtime } from './runtime.ts';
import { MeasurePlan, type MeasureTask } from './stages/measure.ts';
import { standingOf } from './stages/standing.ts';

/** Points a backfill reads: its step is the look-back divided by this, 1 minute at least. */
const pointsWanted = 1_000;
const minStepMs = 60_000;

/**
 * Reads the source's history into the ledger, so that a fresh start knows which versions served well: of versions the ledger knows nothing of all of it,
 * of those it watches the time before they were first seen, once. Only where a label carries the version; expressions are left out, since what they mean cannot be counted
 * after the fact. A failure is logged and leaves the ledger as it was.
 */
export async function backfillLedger(runtime: Runtime, deps: { memory: Memory; clock: Clock; log: Log }, signal: AbortSignal): Promise<void> {
  for (const model of runtime.models.values()) {
    if (signal.aborted) return;
    const source = runtime.sources.get(model.source);
    const rules = actingRules(runtime, model).filter((rule) => isCountedBack(rule.condition));
    if (source === undefined || rules.length === 0 || model.attribution.kind !== 'label' || model.rollback.knownGood.backfillMs === 0) continue;
    try {
      const names = await namesOf(runtime, model, signal);
      if (signal.aborted) return;
      if (names === 'unknown') {
        deps.log.warn({ model: model.name }, 'history cannot be read: which versions its metrics name is not known while the control plane cannot be observed');
        continue;
      }
      const watched = new Map(deps.memory.ledger(model.name).map((entry) => [entry.version, entry.firstSeenMs]));
      const entries = await readHistory({ model, rules, source, nowMs: deps.clock.nowMs(), watched, names, signal });
      if (signal.aborted) return;
      // Held at once, so that a turn meanwhile builds on the merged line.
      const merged = entries.flatMap((history) => merge(deps.memory.ledgerEntry(model.name, history.version), history));
      if (merged.length === 0) continue;
      for (const entry of merged) deps.memory.holdLedger(entry);
      await deps.memory.append([{ type: 'ledger', entries: merged }]);
      deps.log.info({ model: model.name, versions: merged.map((entry) => entry.version) }, 'ledger backfilled from history');
    } catch (error) {
      if (!signal.aborted) deps.log.warn({ model: model.name, err: error }, 'history could not be read; the ledger starts from now');
    }
  }
}

/** Whether a history can be judged step by step: what an expression means cannot be counted after the fact, and what a registry says of a version is of today. */
function isCountedBack(condition: Condition): boolean {
  return condition.kind !== 'expr' && condition.kind !== 'quality' && partsOf(condition).every(isCountedBack);
}

/** Metrics' names of versions → versions; absent: the same. */
type Names = Readonly<Record<string, string>> | undefined;

/** `unknown`: the plane knows them and cannot be asked; without them a metrics' name would be taken for a version. */
async function namesOf(runtime: Runtime, model: Model, signal: AbortSignal): Promise<Names | 'unknown'> {
  if (runtime.planes.get(model.controlPlane)?.capabilities().translatesNames !== true) return undefined;
  const observation = runtime.observer.latest(model) ?? (await runtime.observer.observe(model, { thorough: false }, signal));
  return observation === null ? 'unknown' : observation.names;
}

async function readHistory(input: {
  model: Model;
  rules: readonly Rule[];
  source: Source;
  nowMs: number;
  /** When each version was first seen: history counts for the time before only. */
  watched: ReadonlyMap<string, number>;
  names: Names;
  signal: AbortSignal;
}): Promise<readonly LedgerEntry[]> {
  const { model, rules, source, nowMs } = input;
  if (source.history === null) return [];
  const stepMs = Math.max(minStepMs, Math.ceil(model.rollback.knownGood.backfillMs / pointsWanted / 1000) * 1000);
  // Each point judges the step before it, so that no time is counted twice and none is left out.
  const stepRules = rules.map((rule) => ({ ...rule, condition: withWindow(rule.condition, stepMs) }));
  const plan = new MeasurePlan(nowMs);
  const { names } = input;
  const task = { model, rules: stepRules, serving: [], sinceMs: null, ...(names === undefined ? {} : { names }) };
  plan.add(task);
  const endMs = Math.floor(nowMs / stepMs) * stepMs;
  const points = await source.history(plan.questions, { startMs: endMs - model.rollback.knownGood.backfillMs, endMs, stepMs }, input.signal);
  const ledger = new Map<string, LedgerEntry>();
  for (const point of points) addPoint({ ledger, task, stepMs, watched: input.watched, atMs: point.atMs, answers: point.answers });
  return [...ledger.values()];
}

function addPoint(input: {
  ledger: Map<string, LedgerEntry>;
  task: MeasureTask;
  stepMs: number;
  watched: ReadonlyMap<string, number>;
  atMs: number;
  answers: ReadonlyMap<string, Answer>;
}): void {
  const { ledger, task, stepMs, atMs } = input;
  const { model } = task;
  const plan = new MeasurePlan(atMs);
  plan.add(task);
  const measured = plan.read(input.answers).get(model.name) ?? [];
  const versions = new Set(measured.flatMap((entry) => [...entry.byVersion.keys()]));
  for (const version of versions) {
    const each = measured.map(({ rule, byVersion }) => ({ rule, byVersion, measurement: byVersion.get(version) }));
    const found = each.map(({ rule, byVersion, measurement }) => {
      const standing = standingOf(model, version, byVersion, (id) => ledger.get(id) ?? null);
      return measurement === undefined ? null : findIn(rule.condition, measurement, { ...standing, version, nowMs: atMs });
    });
    const findings = found.filter((finding) => finding?.isMoot !== true);
    const requests = Math.max(0, ...each.map(({ measurement }) => measurement?.requests ?? 0));
    if (!(requests > 0) || atMs > (input.watched.get(version) ?? Number.POSITIVE_INFINITY)) continue;
    const before = ledger.get(version) ?? emptyEntry(model.name, version, atMs - stepMs);
    const served = { ...before, lastServedMs: atMs };
    if (findings.some((finding) => finding?.kind === 'breaching')) ledger.set(version, { ...served, healthyMs: 0, healthyRequests: 0, lastBreachMs: atMs });
    else if (findings.length > 0 && findings.every((finding) => finding?.kind === 'ok'))
      ledger.set(version, { ...served, healthyMs: before.healthyMs + stepMs, healthyRequests: before.healthyRequests + requests, lastHealthyMs: atMs });
    else ledger.set(version, served);
  }
}

/** The line with its history, none when it has been read into it before. */
function merge(known: LedgerEntry | null, history: LedgerEntry): readonly LedgerEntry[] {
  if (known === null) return [history];
  return known.origin === 'backfill' ? [] : [withHistory(known, history)];
}

function emptyEntry(model: string, version: string, firstSeenMs: number): LedgerEntry {
  return { model, version, firstSeenMs, servingSinceMs: null, lastServedMs: null, healthyMs: 0, healthyRequests: 0, lastHealthyMs: null, origin: 'backfill' };
}
