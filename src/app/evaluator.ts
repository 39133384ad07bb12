import { isSequential } from '../domain/conditions/sequential.ts';
import { consequence } from '../domain/decide.ts';
import type { Decision } from '../domain/decision.ts';
import type { Episode } from '../domain/episode.ts';
import type { JournalEvent } from '../domain/event.ts';
import { addService, isKnownGood } from '../domain/ledger.ts';
import type { Model } from '../domain/model.ts';
import { groupOf } from '../domain/model-group.ts';
import type { Clock, Leadership, Log } from '../domain/ports.ts';
import type { LedgerEntry } from '../domain/records.ts';
import type { Rule, RuleGroup } from '../domain/rule.ts';
import type { RuleState, Verdict } from '../domain/verdict.ts';
import { spell } from '../domain/words.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { openEpisode } from './episode-opening.ts';
import type { FleetWatch } from './fleet-watch.ts';
import { type Opened, openGroup } from './group-opening.ts';
import type { Memory } from './memory.ts';
import { servingVersions } from './observer.ts';
import { actingRules, effectivePolicy, intervalOf, isActing, type Runtime, ruleById, rulesOf } from './runtime.ts';
import { readSignatures } from './stages/compatibility.ts';
import { type DecideContext, type DecideSubject, freezeEvidence, judgeGuards, toDecision } from './stages/decide.ts';
import { type GroupLook, judgeWithGroup, lookAtGroup, movesInStep } from './stages/group.ts';
import { judgeAll, ruleStateEvents } from './stages/judge.ts';
import { type Measured, MeasurePlan, queriesOf } from './stages/measure.ts';
import { Stopwatch } from './stopwatch.ts';
import type { Teller } from './teller.ts';
import type { VerdictBoard } from './verdict-board.ts';
import { Watches } from './watches.ts';

/** A ledger line that only grew is journalled when it grew by a tenth, but not more often than the first and at least as often as the second. */
const ledgerStepMs = { least: 60_000, most: 3_600_000 };
/** States of rules about versions that were not seen for this long are forgotten. */
const stateAgeMs = 3_600_000;
const sweepMs = 60_000;
/** A clock that goes back by more than this shows numbers that were judged already. */
const setbackMs = 10_000;
/** A clock that went back further is believed after this time: then it was wrong before. */
const longestSetbackMs = 3_600_000;
/** Nobody looked for this long: then it is not known that the version served alone all the time. */
const longestAbsenceMs = 120_000;

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
  readonly leadership: Leadership;
  readonly fleet: FleetWatch;
  /** An episode was journalled; whoever runs episodes takes it from here. */
  readonly onOpened: (episode: Episode, runtime: Runtime) => void;
};

/** One turn: measure, judge, decide. Never awaits an episode, never throws. */
export class Evaluator {
  readonly #deps: EvaluatorDeps;
  /** Last recorded decision per model, version and rule: recorded again only when it changes or a new breach begins. */
  readonly #lastDecision = new Map<string, string>();
  /** Begin of the present breach of a version, by whichever acting rule first; times without sight do not end it. */
  readonly #breaches = new Map<string, number>();
  /** Decisions under way, per model: a plane that hangs delays no other model, and not the next turn. */
  readonly #deciding = new Map<string, Promise<void>>();
  readonly #ledgerMs = new Map<string, number>();
  /** What the journal has of ledger lines that grow. */
  readonly #ledgerWritten = new Map<string, { readonly healthyMs: number; readonly atMs: number }>();
  /** Per model with `attribution: serving`: what serves, and since when nothing else has. */
  readonly #service = new Map<string, { readonly serving: string; readonly sinceMs: number }>();
  /** States that could not be journalled: tried again with the next turn. */
  readonly #unwritten = new Set<string>();
  readonly #watches: Watches;
  #sweptMs = Number.NEGATIVE_INFINITY;
  #latestMs = Number.NEGATIVE_INFINITY;
  #setback: Stopwatch | null = null;

  constructor(deps: EvaluatorDeps) {
    this.#deps = deps;
    this.#watches = new Watches(deps.memory);
  }

  /** @param isAlone nobody watches before or after: what serves is taken to have served all along, unless the ledger knows better */
  async turn(runtime: Runtime, batch: Batch, signal: AbortSignal, isAlone = false): Promise<readonly Verdict[]> {
    const { clock, log, memory } = this.#deps;
    const nowMs = clock.nowMs();
    const source = runtime.sources.get(batch.source);
    if (source === undefined) return [];
    const plan = new MeasurePlan(nowMs);
    const samplesMs = (rule: Rule): number => this.#watches.windowMs(rule, source.history !== null, nowMs);
    for (const [model, rules] of rulesByModel(runtime, batch)) plan.add({ ...this.#task(runtime, model, rules, isAlone ? null : nowMs), samplesMs });
    const setback = this.#clockWentBack(nowMs);
    const raw = setback === null ? await plan.measure(source, runtime.sources, signal) : plan.fail(setback);
    if (signal.aborted) return [];
    const measured = this.#count(runtime, raw, batch.intervalMs, nowMs);
    const verdicts: Verdict[] = [];
    const states: Record<string, RuleState | null> = {};
    for (const [model, all] of measured) {
      const judged = judgeAll(all, memory, { model: runtime.models.get(model) ?? null, nowMs, intervalMs: batch.intervalMs, watches: this.#watches });
      this.#post(model, all, judged.verdicts);
      this.#deps.fleet.see(model, all, { atMs: nowMs, intervalMs: batch.intervalMs });
      verdicts.push(...judged.verdicts);
      Object.assign(states, judged.journalled);
    }
    Object.assign(states, this.#sweep(runtime, nowMs));
    this.#lookAtFleet(runtime, nowMs);
    if (!this.#deps.leadership.leads()) return this.#watchOnly(runtime, verdicts);
    for (const key of this.#unwritten) states[key] ??= memory.ruleStates().get(key) ?? null;
    try {
      for (const key of Object.keys(states)) this.#unwritten.add(key);
      await memory.append(ruleStateEvents(states));
      for (const key of Object.keys(states)) this.#unwritten.delete(key);
      await this.#keepLedger(runtime, measured, batch.intervalMs, nowMs);
    } catch (error) {
      // Without a writable journal nothing is enforced.
      log.error({ err: error }, 'journal cannot be written; nothing is enforced until it can');
      return verdicts;
    }
    await this.#decideAll(runtime, verdicts, batch.intervalMs / 2, signal);
    await this.#deps.teller.tellAlerts(runtime, clock.nowMs());
    return verdicts;
  }

  #lookAtFleet(runtime: Runtime, nowMs: number): void {
    const { fleet, log } = this.#deps;
    const { opened, closed } = fleet.update(runtime, this.#deps.memory, nowMs);
    for (const { name, detail } of opened) log.error({ breaker: name, detail }, 'breaker opened; nothing is rolled back until it has closed');
    for (const { name, sinceMs } of closed) log.info({ breaker: name, open_ms: nowMs - sinceMs }, 'breaker closed');
  }

  /** Another replica leads: what it judges it knows for itself, for the API and for the day it leads; it writes, decides and tells nothing. */
  #watchOnly(runtime: Runtime, verdicts: readonly Verdict[]): readonly Verdict[] {
    this.#trackBreaches(runtime, verdicts);
    for (const verdict of verdicts) {
      if (verdict.kind !== 'breach' || !isActingRule(runtime, verdict)) continue;
      const mark = `${this.#breaches.get(versionKey(verdict)) ?? ''} not_leader`;
      if (this.#lastDecision.get(decisionKey(verdict)) === mark) continue;
      this.#lastDecision.set(decisionKey(verdict), mark);
      this.#deps.metrics.decisionMade({ model: verdict.model, decision: 'hold', reason: 'not_leader' });
    }
    return verdicts;
  }

  /** Resolves when no decision is under way. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#deciding.values());
  }

  /** Journals what the ledger has grown by, and what detectors have counted; for an orderly stop. */
  async flush(runtime: Runtime): Promise<void> {
    const { memory, clock } = this.#deps;
    const states: Record<string, RuleState> = {};
    for (const [key, state] of memory.ruleStates()) {
      const sequential = this.#watches.stateOf(state.rule, state.version, clock.nowMs());
      if (sequential !== null) states[key] = { ...state, sequential };
    }
    await memory.append(ruleStateEvents(states));
    const entries = [...runtime.models.keys()].flatMap((name) => memory.ledger(name)).filter((entry) => entry.servingSinceMs !== null);
    if (entries.length > 0) await memory.append([{ type: 'ledger', entries }]);
  }

  /** Feeds the detectors of rules with `detect: sequential`. */
  #count(runtime: Runtime, measured: ReadonlyMap<string, readonly Measured[]>, intervalMs: number, nowMs: number): ReadonlyMap<string, readonly Measured[]> {
    if (![...measured.values()].flat().some(({ rule }) => isSequential(rule))) return measured;
    return new Map(
      [...measured].map(([name, all]) => {
        const model = runtime.models.get(name);
        if (model === undefined) return [name, all];
        const acting = actingRules(runtime, model).filter(isSequential);
        const sharers = (rule: Rule): number => (acting.some(({ id }) => id === rule.id) ? acting.length : 1);
        return [name, this.#watches.read(all, { model, nowMs, intervalMs, sharers })];
      }),
    );
  }

  #task(runtime: Runtime, model: Model, rules: readonly Rule[], nowMs: number | null): Parameters<MeasurePlan['add']>[0] {
    const observation = runtime.observer.latest(model);
    const serving = servingVersions(observation);
    const names = observation?.names === undefined ? {} : { names: observation.names };
    return { model, rules, serving, sinceMs: this.#servedAloneSince(runtime, model, serving, nowMs), ...names };
  }

  /**
   * Where metrics carry no version: the instant before which the numbers may be another version's. `null`: the label tells, or nobody knows what serves.
   * @param nowMs `null` for a turn alone
   */
  #servedAloneSince(runtime: Runtime, model: Model, serving: readonly string[], nowMs: number | null): number | null {
    const [main] = serving;
    if (model.attribution.kind === 'label' || main === undefined) return null;
    if (nowMs === null) return this.#deps.memory.ledgerEntry(model.name, main)?.servingSinceMs ?? null;
    const now = serving.join(' ');
    const known = this.#service.get(model.name);
    if (known?.serving === now) return known.sinceMs;
    const sinceMs = known === undefined && serving.length === 1 ? this.#resumedService(runtime, model, main, nowMs) : nowMs;
    this.#service.set(model.name, { serving: now, sinceMs });
    return sinceMs;
  }

  /** After a start: what the ledger says, if somebody looked a short while ago; else from now, since other versions may have served meanwhile. */
  #resumedService(runtime: Runtime, model: Model, main: string, nowMs: number): number {
    const { memory } = this.#deps;
    const entry = memory.ledgerEntry(model.name, main);
    if (entry?.servingSinceMs == null) return nowMs;
    const judgedMs = rulesOf(runtime, model.name).map((rule) => memory.ruleState(rule.id, main)?.lastEvaluatedMs ?? 0);
    const absentMs = nowMs - Math.max(entry.lastServedMs ?? 0, ...judgedMs);
    return absentMs <= longestAbsenceMs ? entry.servingSinceMs : nowMs;
  }

  /** Why nothing may be concluded: at the time the clock now shows, the source would answer with what was judged long ago. */
  #clockWentBack(nowMs: number): string | null {
    const backMs = this.#latestMs - nowMs;
    if (backMs > setbackMs) {
      if (this.#setback === null) this.#deps.log.error({ back_ms: backMs }, 'the clock went back; nothing is judged until it has caught up');
      this.#setback ??= new Stopwatch(this.#deps.clock);
      if (this.#setback.spentMs() < longestSetbackMs) return `the clock of this machine went back by ${spell(backMs)}; these numbers were judged already`;
    }
    this.#setback = null;
    this.#latestMs = backMs > setbackMs ? nowMs : Math.max(this.#latestMs, nowMs);
    return null;
  }

  #post(model: string, all: readonly Measured[], verdicts: readonly Verdict[]): void {
    const { board, metrics } = this.#deps;
    board.post(verdicts);
    for (const { rule, byVersion } of all) {
      const gone = board.retire(model, rule.id, byVersion);
      for (const verdict of gone) this.#lastDecision.delete(decisionKey(verdict));
      const own = verdicts.filter((verdict) => verdict.rule === rule.id);
      metrics.ruleJudged(
        rule,
        own,
        gone.map((verdict) => verdict.version),
      );
    }
  }

  /** Forgets states of versions and rules that are long gone. */
  #sweep(runtime: Runtime, nowMs: number): Record<string, null> {
    if (Math.abs(nowMs - this.#sweptMs) < sweepMs) return {};
    this.#sweptMs = nowMs;
    this.#watches.retain(new Set(runtime.groups.flatMap(({ rules }) => rules.map(({ id }) => id))));
    const { memory } = this.#deps;
    const forgotten: Record<string, null> = {};
    for (const [key, state] of memory.ruleStates()) {
      if (nowMs - state.lastEvaluatedMs <= stateAgeMs) continue;
      if (memory.dropRuleState(key)) forgotten[key] = null;
    }
    return forgotten;
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
      const fresh = board.of(name).filter((verdict) => acting.has(verdict.rule) && nowMs - verdict.atMs <= 2 * intervalOf(runtime, verdict.rule));
      const serving = servingVersions(observation);
      const served = memory.ledger(name).filter((entry) => entry.servingSinceMs !== null);
      for (const version of new Set([...serving, ...served.map((entry) => entry.version)])) {
        const before = memory.ledgerEntry(name, version);
        const verdicts = fresh.filter((verdict) => verdict.version === version);
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
        if (this.#isWorthWriting(before, entry, model, nowMs)) changed.push(entry);
      }
    }
    if (changed.length > 0) await memory.append([{ type: 'ledger', entries: changed }]);
  }

  /** News at once; mere growth in steps, so that a fleet that serves well for months does not fill the journal with it. */
  #isWorthWriting(before: LedgerEntry | null, entry: LedgerEntry, model: Model, nowMs: number): boolean {
    const key = `${entry.model} ${entry.version}`;
    const written = this.#ledgerWritten.get(key) ?? { healthyMs: before?.healthyMs ?? 0, atMs: nowMs };
    const isNews =
      before === null ||
      before.servingSinceMs !== entry.servingSinceMs ||
      (before.healthyMs > 0 && entry.healthyMs === 0) ||
      isKnownGood(before, entry.version, model.rollback.knownGood).good !== isKnownGood(entry, entry.version, model.rollback.knownGood).good;
    const stepMs = Math.min(Math.max(ledgerStepMs.least, written.healthyMs / 10), ledgerStepMs.most);
    const isDue = entry.healthyMs - written.healthyMs >= stepMs || Math.abs(nowMs - written.atMs) >= ledgerStepMs.most;
    this.#ledgerWritten.set(key, isNews || isDue ? { healthyMs: entry.healthyMs, atMs: nowMs } : written);
    return isNews || isDue;
  }

  async #decideAll(runtime: Runtime, verdicts: readonly Verdict[], patienceMs: number, signal: AbortSignal): Promise<void> {
    this.#trackBreaches(runtime, verdicts);
    const breaches = Map.groupBy(
      verdicts.filter((verdict) => verdict.kind === 'breach'),
      (verdict) => verdict.model,
    );
    const begun = [...breaches].filter(([model]) => !this.#deciding.has(model)).map(([model, each]) => this.#begin(runtime, model, each, signal));
    if (begun.length === 0) return;
    const done = new AbortController();
    await Promise.race([Promise.all(begun), this.#deps.clock.sleep(patienceMs, done.signal).catch(() => undefined)]);
    done.abort();
  }

  /** Decides on the breaches of one model, one after another. Never throws. */
  async #begin(runtime: Runtime, model: string, breaches: readonly Verdict[], signal: AbortSignal): Promise<void> {
    const work = async (): Promise<void> => {
      for (const verdict of breaches) {
        if (signal.aborted) return;
        try {
          await this.#decide(runtime, verdict, signal);
        } catch (error) {
          this.#deps.log.error({ err: error, model: verdict.model, version: verdict.version }, 'decision could not be carried through');
        }
      }
    };
    const done = work().finally(() => this.#deciding.delete(model));
    this.#deciding.set(model, done);
    await done;
  }

  #trackBreaches(runtime: Runtime, verdicts: readonly Verdict[]): void {
    for (const verdict of verdicts) {
      const key = versionKey(verdict);
      const knownMs = this.#breaches.get(key);
      if (verdict.kind === 'breach') {
        if (!isActingRule(runtime, verdict)) continue;
        this.#breaches.set(key, Math.min(knownMs ?? Number.POSITIVE_INFINITY, verdict.breachingSinceMs ?? verdict.atMs));
      } else if (verdict.kind !== 'error') {
        this.#lastDecision.delete(decisionKey(verdict));
        const goesOn = (other: Verdict): boolean =>
          other.version === verdict.version && (other.kind === 'breach' || other.kind === 'error') && isActingRule(runtime, other);
        if (knownMs !== undefined && !this.#deps.board.of(verdict.model).some(goesOn)) this.#breaches.delete(key);
      }
    }
  }

  async #decide(runtime: Runtime, verdict: Verdict, signal: AbortSignal): Promise<void> {
    const { memory, board, clock } = this.#deps;
    const model = runtime.models.get(verdict.model);
    const rule = ruleById(runtime, verdict.rule);
    if (model === undefined || rule === null || !isActing(runtime, model, rule)) return;
    const policy = effectivePolicy(runtime, model, rule);
    // Its episode is under way and speaks for itself.
    if (memory.episodes(model.name).some((episode) => episode.finishedAtMs === null && episode.from === verdict.version)) return;
    // A version that does not serve cannot be rolled back: told, not decided, unless nobody knows what serves.
    const known = runtime.observer.latest(model);
    const isBystander = known !== null && !servingVersions(known).includes(verdict.version);
    const isLookedAt = !isBystander && !this.#isSettled(verdict);
    const observation = isLookedAt ? await runtime.observer.observe(model, { thorough: true }, signal) : known;
    if (signal.aborted) return;
    const subject = { model, policy, from: verdict.version, rule, verdict, observation, trigger: 'rule', episode: null } as const;
    const context = { memory, board, leadership: this.#deps.leadership, fleet: this.#deps.fleet, runtime, nowMs: clock.nowMs() };
    const plane = runtime.planes.get(model.controlPlane);
    const informed = isLookedAt ? await readSignatures(subject, context, { plane, log: this.#deps.log, signal }) : subject;
    const look = isBystander ? null : await lookAtGroup(informed, context, { thorough: isLookedAt, log: this.#deps.log, signal });
    if (signal.aborted) return;
    await memory.inTurn(async () => await this.#conclude(informed, look, context, isBystander));
  }

  /** Asks the guards, and journals what follows: the decision, or an episode with it; of a group that moves in step all episodes at once. */
  async #conclude(subject: RuleSubject, look: GroupLook | null, decided: DecideContext, isBystander: boolean): Promise<void> {
    const context = { ...decided, nowMs: this.#deps.clock.nowMs() };
    const { board, runtime, nowMs } = context;
    const { model, policy, rule, verdict } = subject;
    const own = judgeGuards(subject, context);
    // What others would have to do hangs on the target: with another one they are looked at anew, in the next turn.
    if (look !== null && own.choice.target !== null && own.choice.target !== look.target) return;
    const { judgement, followers } = look === null ? { judgement: own, followers: [] } : judgeWithGroup(own, look, context);
    const wanted = isBystander ? 'notify' : consequence(judgement);
    const decision = wanted === 'approval' && this.#wasRejected(verdict, policy.cooldownMs) ? 'hold' : wanted;
    if (decision === 'hold' || decision === 'notify') {
      await this.#record(verdict, { ...toDecision(subject, judgement, nowMs, null), decision });
      return;
    }
    if (decision === 'dry_run' && this.#isRecorded(verdict)) return;
    const target = judgement.choice.target;
    if (target === null || (look === null && movesInStep(groupOf(runtime.modelGroups, model.name)))) return;
    const evidence = freezeEvidence(subject, target, board, queriesOf(runtime.sources.get(model.source), model, rule, nowMs));
    const episode = openEpisode({
      subject,
      judgement,
      decision,
      target,
      plane: runtime.planes.get(model.controlPlane),
      evidence,
      nowMs,
      externalLabels: runtime.externalLabels,
    });
    const alone: Opened = { episode, decision: toDecision(subject, judgement, nowMs, episode.id) };
    await this.#open(look === null ? [alone] : openGroup(alone, subject, { look, followers, context }), runtime);
    this.#lastDecision.set(decisionKey(verdict), this.#markOf(verdict, alone.decision));
  }

  /** One append for all of them: a process that dies leaves all or none. */
  async #open(all: readonly Opened[], runtime: Runtime): Promise<void> {
    const { memory, teller, metrics, log } = this.#deps;
    const events = all.flatMap(({ episode, decision }): JournalEvent[] => [
      { type: 'episode_opened', episode },
      { type: 'decision', decision },
    ]);
    await memory.append([...events, ...all.flatMap(({ episode }) => teller.onOpened(episode, runtime))]);
    for (const { episode, decision } of all) {
      metrics.decisionMade(decision);
      const { id, model, from, to, rule, reason, group } = episode;
      log.info(
        { episode: id, model, from, to, rule, reason, ...(group === undefined ? {} : { group: group.name }) },
        episode.mode === 'dry_run' ? 'dry run recorded' : 'episode opened',
      );
    }
    for (const { episode } of all) this.#deps.onOpened(episode, runtime);
  }

  /** Whether this breach has led to a recorded decision already: the plane need not be asked thoroughly in every turn. */
  #isSettled(verdict: Verdict): boolean {
    return this.#deps.memory.openEpisodes().some((episode) => episode.model === verdict.model) || this.#isRecorded(verdict);
  }

  /** Who has said no (or nothing) is not asked again in every turn. */
  #wasRejected(verdict: Verdict, forMs: number): boolean {
    const sinceMs = this.#deps.clock.nowMs() - forMs;
    return this.#deps.memory
      .episodes(verdict.model)
      .some((episode) => episode.state === 'rejected' && episode.from === verdict.version && (episode.finishedAtMs ?? 0) > sinceMs);
  }

  /** One dry-run episode a breach, whichever rules it breaks. */
  #isRecorded(verdict: Verdict): boolean {
    const sinceMs = this.#breaches.get(versionKey(verdict)) ?? verdict.breachingSinceMs ?? Number.POSITIVE_INFINITY;
    return this.#deps.memory
      .episodes(verdict.model)
      .some((episode) => episode.state === 'recorded' && episode.from === verdict.version && episode.detectedAtMs >= sinceMs);
  }

  #markOf(verdict: Verdict, decision: Decision): string {
    return `${this.#breaches.get(versionKey(verdict)) ?? verdict.breachingSinceMs ?? ''} ${decision.decision} ${decision.reason}`;
  }

  async #record(verdict: Verdict, decision: Decision): Promise<void> {
    const mark = this.#markOf(verdict, decision);
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

/** A breach of a rule, as the guards are asked about it. */
type RuleSubject = DecideSubject & { readonly rule: Rule; readonly verdict: Verdict };

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

function versionKey(verdict: Verdict): string {
  return `${verdict.model} ${verdict.version}`;
}

function isActingRule(runtime: Runtime, verdict: Verdict): boolean {
  const model = runtime.models.get(verdict.model);
  const rule = ruleById(runtime, verdict.rule);
  return model !== undefined && rule !== null && isActing(runtime, model, rule);
}
