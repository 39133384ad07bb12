import { consequence } from '../domain/decide.ts';
import type { Decision } from '../domain/decision.ts';
import type { Episode } from '../domain/episode.ts';
import type { JournalEvent } from '../domain/event.ts';
import { addService } from '../domain/ledger.ts';
import type { Model } from '../domain/model.ts';
import { mainVersion } from '../domain/observation.ts';
import type { Clock, Log } from '../domain/ports.ts';
import type { LedgerEntry } from '../domain/records.ts';
import type { Rule, RuleGroup } from '../domain/rule.ts';
import type { Verdict } from '../domain/verdict.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { openEpisode } from './episode-opening.ts';
import type { Memory } from './memory.ts';
import { servingVersions } from './observer.ts';
import { actingRules, effectivePolicy, isActing, type Runtime } from './runtime.ts';
import { type DecideSubject, freezeEvidence, judgeGuards, toDecision } from './stages/decide.ts';
import { judgeAll, ruleStateEvents } from './stages/judge.ts';
import { type Measured, MeasurePlan } from './stages/measure.ts';
import type { Teller } from './teller.ts';
import type { VerdictBoard } from './verdict-board.ts';

/** Ledger lines that only grew are journalled this often; changes of service at once. */
const ledgerFlushMs = 60_000;

/** Rules evaluated together: same source, same interval. */
export type Batch = { readonly source: string; readonly intervalMs: number; readonly groups: readonly RuleGroup[] };

/** Splits the groups of a runtime into batches, so that a slow source delays only its own. */
export function batchesOf(runtime: Runtime): readonly Batch[] {
  const batches = new Map<string, { source: string; intervalMs: number; groups: RuleGroup[] }>();
  for (const group of runtime.groups) {
    const model = runtime.models.get(group.model);
    if (model === undefined) continue;
    const key = `${model.source} ${group.intervalMs}`;
    const batch = batches.get(key) ?? { source: model.source, intervalMs: group.intervalMs, groups: [] };
    batch.groups.push(group);
    batches.set(key, batch);
  }
  return [...batches.values()];
}

export type EvaluatorDeps = {
  readonly memory: Memory;
  readonly board: VerdictBoard;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly teller: Teller;
  /** An episode was journalled; whoever runs episodes takes it from here. */
  readonly onOpened: (episode: Episode, runtime: Runtime) => void;
};

/** One turn: measure, judge, decide. Never awaits an episode, never throws. */
export class Evaluator {
  readonly #deps: EvaluatorDeps;
  /** Last recorded decision per model, version and rule: recorded again only when it changes or a new breach begins. */
  readonly #lastDecision = new Map<string, string>();
  readonly #ledgerMs = new Map<string, number>();
  #ledgerFlushedMs = 0;

  constructor(deps: EvaluatorDeps) {
    this.#deps = deps;
  }

  async turn(runtime: Runtime, batch: Batch, signal: AbortSignal): Promise<readonly Verdict[]> {
    const { clock, log, memory } = this.#deps;
    const nowMs = clock.nowMs();
    const source = runtime.sources.get(batch.source);
    if (source === undefined) return [];
    const plan = new MeasurePlan(nowMs);
    for (const [model, rules] of rulesByModel(runtime, batch)) plan.add(this.#task(runtime, model, rules));
    const measured = await plan.measure(source, signal);
    if (signal.aborted) return [];
    const verdicts: Verdict[] = [];
    const states = {};
    for (const [model, all] of measured) {
      const judged = judgeAll(all, memory, { nowMs, intervalMs: batch.intervalMs });
      this.#post(model, all, judged.verdicts);
      verdicts.push(...judged.verdicts);
      Object.assign(states, judged.journalled);
    }
    try {
      await memory.append(ruleStateEvents(states));
      await this.#keepLedger(runtime, measured, batch.intervalMs, nowMs);
    } catch (error) {
      // Without a writable journal nothing is enforced.
      log.error({ err: error }, 'journal cannot be written; nothing is enforced until it can');
      return verdicts;
    }
    await this.#decideAll(runtime, verdicts, signal);
    await this.#deps.teller.tellAlerts(runtime, clock.nowMs());
    return verdicts;
  }

  #task(runtime: Runtime, model: Model, rules: readonly Rule[]): Parameters<MeasurePlan['add']>[0] {
    const serving = servingVersions(runtime.observer.latest(model));
    const main = serving[0];
    const sinceMs =
      model.attribution.kind === 'serving' && main !== undefined ? (this.#deps.memory.ledgerEntry(model.name, main)?.servingSinceMs ?? null) : null;
    return { model, rules, serving, sinceMs };
  }

  #post(model: string, all: readonly Measured[], verdicts: readonly Verdict[]): void {
    const { board, metrics } = this.#deps;
    board.post(verdicts);
    for (const { rule, byVersion } of all) {
      const gone = board.retire(model, rule.id, new Set(byVersion.keys()));
      const own = verdicts.filter((verdict) => verdict.rule === rule.id);
      metrics.ruleJudged(
        rule,
        own,
        gone.map((verdict) => verdict.version),
      );
    }
  }

  async #keepLedger(runtime: Runtime, measured: ReadonlyMap<string, readonly Measured[]>, intervalMs: number, nowMs: number): Promise<void> {
    const { memory, board } = this.#deps;
    const changed: LedgerEntry[] = [];
    for (const [name, all] of measured) {
      const model = runtime.models.get(name);
      if (model === undefined) continue;
      const lastMs = this.#ledgerMs.get(name);
      this.#ledgerMs.set(name, nowMs);
      const elapsedMs = lastMs === undefined || nowMs < lastMs ? 0 : Math.min(nowMs - lastMs, 2 * intervalMs);
      const observation = runtime.observer.latest(model);
      // Without an observation nobody knows what serves: the record neither grows nor ends.
      if (observation === null) continue;
      const acting = new Set(actingRules(runtime, model).map((rule) => rule.id));
      const serving = servingVersions(observation);
      const versions = new Set([
        ...serving,
        ...memory
          .ledger(name)
          .filter((entry) => entry.servingSinceMs !== null)
          .map((entry) => entry.version),
      ]);
      for (const version of versions) {
        const before = memory.ledgerEntry(name, version);
        const verdicts = board.of(name).filter((verdict) => verdict.version === version && acting.has(verdict.rule));
        const isWhole = verdicts.length === acting.size;
        const entry = addService(before, {
          model: name,
          version,
          nowMs,
          elapsedMs,
          serves: serving.includes(version),
          verdicts: isWhole || verdicts.some((verdict) => verdict.kind === 'breach') ? verdicts : [],
          requestsPerSecond: requestRate(all, version),
        });
        memory.holdLedger(entry);
        const isNews = before === null || before.servingSinceMs !== entry.servingSinceMs || (before.healthyMs > 0 && entry.healthyMs === 0);
        if (isNews) changed.push(entry);
      }
    }
    if (nowMs - this.#ledgerFlushedMs >= ledgerFlushMs) {
      this.#ledgerFlushedMs = nowMs;
      changed.push(
        ...[...runtime.models.keys()].flatMap((name) => memory.ledger(name)).filter((entry) => entry.servingSinceMs !== null && !changed.includes(entry)),
      );
    }
    if (changed.length > 0) await memory.append([{ type: 'ledger', entries: changed }]);
  }

  async #decideAll(runtime: Runtime, verdicts: readonly Verdict[], signal: AbortSignal): Promise<void> {
    for (const verdict of verdicts) {
      if (verdict.kind !== 'breach') {
        this.#lastDecision.delete(decisionKey(verdict));
        continue;
      }
      try {
        await this.#decide(runtime, verdict, signal);
      } catch (error) {
        this.#deps.log.error({ err: error, model: verdict.model, version: verdict.version }, 'decision could not be carried through');
      }
    }
  }

  async #decide(runtime: Runtime, verdict: Verdict, signal: AbortSignal): Promise<void> {
    const { memory, board, clock } = this.#deps;
    const model = runtime.models.get(verdict.model);
    const rule = runtime.groups.flatMap((group) => group.rules).find((candidate) => candidate.id === verdict.rule);
    if (model === undefined || rule === undefined || !isActing(runtime, model, rule)) return;
    const policy = effectivePolicy(runtime, model, rule);
    // Its episode is under way and speaks for itself.
    if (memory.episodes(model.name).some((episode) => episode.finishedAtMs === null && episode.from === verdict.version)) return;
    // A version that does not serve cannot be rolled back: told, not decided, unless nobody knows what serves.
    const known = runtime.observer.latest(model);
    const isBystander = known !== null && !servingVersions(known).includes(verdict.version);
    const observation = isBystander || this.#isSettled(verdict) ? known : await runtime.observer.observe(model, { thorough: true }, signal);
    const subject: DecideSubject = { model, policy, from: verdict.version, rule, verdict, observation, trigger: 'rule', episode: null };
    const judgement = judgeGuards(subject, { memory, board, nowMs: clock.nowMs() });
    const decision = isBystander ? 'notify' : consequence(judgement);
    if (decision === 'hold' || decision === 'notify') {
      await this.#record(verdict, { ...toDecision(subject, judgement, clock.nowMs(), null), decision });
      return;
    }
    if (decision === 'dry_run' && this.#isRecorded(verdict)) return;
    const target = judgement.choice.target;
    if (target === null) return;
    const queries = new MeasurePlan(clock.nowMs());
    queries.add({ model, rules: [rule], serving: [], sinceMs: null });
    const source = runtime.sources.get(model.source);
    const series = rule.condition.kind === 'expr' ? [rule.condition.expr] : source === undefined ? [] : [...source.describe(queries.questions).values()];
    const evidence = freezeEvidence(subject, target, board, series);
    const opened = openEpisode({ subject, judgement, decision, target, evidence, nowMs: clock.nowMs(), externalLabels: runtime.externalLabels });
    const record = toDecision(subject, judgement, clock.nowMs(), opened.id);
    const events: JournalEvent[] = [
      { type: 'episode_opened', episode: opened },
      { type: 'decision', decision: record },
    ];
    await memory.append([...events, ...this.#deps.teller.onOpened(opened, runtime)]);
    this.#lastDecision.set(decisionKey(verdict), decisionMark(verdict, record));
    this.#deps.metrics.decisionMade(record);
    this.#deps.log.info(
      { episode: opened.id, model: model.name, from: opened.from, to: opened.to, rule: rule.alert, reason: verdict.reason },
      opened.mode === 'dry_run' ? 'dry run recorded' : 'episode opened',
    );
    this.#deps.onOpened(opened, runtime);
  }

  /** Whether this breach has led to a recorded decision already: the plane need not be asked thoroughly in every turn. */
  #isSettled(verdict: Verdict): boolean {
    return this.#deps.memory.openEpisodes().some((episode) => episode.model === verdict.model) || this.#isRecorded(verdict);
  }

  /** One dry-run episode a breach, whichever rules it breaks. */
  #isRecorded(verdict: Verdict): boolean {
    return this.#deps.memory
      .episodes(verdict.model)
      .some(
        (episode) =>
          episode.state === 'recorded' && episode.from === verdict.version && episode.detectedAtMs >= (verdict.breachingSinceMs ?? Number.POSITIVE_INFINITY),
      );
  }

  async #record(verdict: Verdict, decision: Decision): Promise<void> {
    const mark = decisionMark(verdict, decision);
    if (this.#lastDecision.get(decisionKey(verdict)) === mark) return;
    this.#lastDecision.set(decisionKey(verdict), mark);
    await this.#deps.memory.recordDecision(decision);
    this.#deps.metrics.decisionMade(decision);
    this.#deps.log.warn(
      { model: decision.model, version: decision.version, rule: decision.rule, reason: decision.reason, detail: decision.detail, verdict: decision.verdict },
      'breach held',
    );
  }
}

function rulesByModel(runtime: Runtime, batch: Batch): ReadonlyMap<Model, readonly Rule[]> {
  const found = new Map<Model, Rule[]>();
  for (const group of batch.groups) {
    const model = runtime.models.get(group.model);
    if (model === undefined) continue;
    found.set(model, [...(found.get(model) ?? []), ...group.rules]);
  }
  return found;
}

function requestRate(all: readonly Measured[], version: string): number | null {
  for (const { byVersion } of all) {
    const measurement = byVersion.get(version);
    if (measurement?.requests != null && measurement.windowMs > 0) return measurement.requests / (measurement.windowMs / 1000);
  }
  return null;
}

function decisionKey(verdict: Verdict): string {
  return `${verdict.model} ${verdict.rule} ${verdict.version}`;
}

function decisionMark(verdict: Verdict, decision: Decision): string {
  return `${verdict.breachingSinceMs ?? ''} ${decision.decision} ${decision.reason}`;
}

/** Version that a model is judged by: the one with the biggest share. */
export function servedNow(runtime: Runtime, model: Model): string | null {
  const observation = runtime.observer.latest(model);
  return observation === null ? null : mainVersion(observation);
}
