import type { Episode } from '../domain/episode.ts';
import { findFlapLock } from '../domain/flap-lock.ts';
import type { Clock, Leadership, Log, SmokeRunner } from '../domain/ports.ts';
import { pauseOf } from '../domain/records.ts';
import type { Verdict } from '../domain/verdict.ts';
import type { Metrics, VersionRole } from '../telemetry/metrics.ts';
import { backfillLedger } from './backfill.ts';
import { EpisodeRunner } from './episode-runner.ts';
import { type Batch, batchesOf, Evaluator } from './evaluator.ts';
import type { FleetWatch } from './fleet-watch.ts';
import type { HealthBoard } from './health-board.ts';
import { runLoop, spreadMs } from './loop.ts';
import type { Memory } from './memory.ts';
import { servingVersions } from './observer.ts';
import { type Runtime, ruleById } from './runtime.ts';
import type { Teller } from './teller.ts';
import type { VerdictBoard } from './verdict-board.ts';

/** How often it is looked which models are due for an observation. */
const observeBeatMs = 1_000;

/** Sends what waits in the outbox. */
export type Postman = { run(signal: AbortSignal): Promise<void>; flush(deadlineMs: number): Promise<void> };

export type AppDeps = {
  readonly memory: Memory;
  readonly board: VerdictBoard;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly teller: Teller;
  readonly smoke: SmokeRunner;
  readonly postman: Postman;
  readonly leadership: Leadership;
  readonly fleet: FleetWatch;
  readonly health: HealthBoard;
  /** Closes sources and planes of a runtime that is no longer used. */
  readonly closeRuntime: (runtime: Runtime) => Promise<void>;
};

/**
 * The worker: loops that observe, measure, judge and decide, and beside them the episodes, each on its own.
 * One turn can be run alone; nothing here knows an adapter.
 */
export class App {
  readonly #deps: AppDeps;
  readonly board: VerdictBoard;
  readonly #evaluator: Evaluator;
  readonly #running = new Map<string, { readonly runtime: Runtime; readonly done: Promise<void> }>();
  readonly #hard = new AbortController();
  readonly #handOver = new AbortController();
  readonly #observing = new Map<string, Promise<unknown>>();
  #term: AbortSignal | null = null;
  #backfilling: Promise<void> = Promise.resolve();
  #loops = new AbortController();
  #loopsDone: Promise<unknown> = Promise.resolve();
  #postman: Promise<void> = Promise.resolve();
  #runtime: Runtime;
  #stopped: Promise<void> | null = null;
  readonly startedMs: number;

  constructor(runtime: Runtime, deps: AppDeps) {
    this.#runtime = runtime;
    this.#deps = deps;
    this.board = deps.board;
    this.startedMs = deps.clock.nowMs();
    // One turn can be run alone, without `start`.
    if (deps.leadership.leads()) this.#term = this.#hard.signal;
    // An append that had seemed to fail may have opened one.
    deps.memory.onCatchUp(() => this.#takeUp());
    this.#evaluator = new Evaluator({ ...deps, onOpened: (episode, opener) => this.runEpisode(episode, opener) });
  }

  get runtime(): Runtime {
    return this.#runtime;
  }

  get memory(): Memory {
    return this.#deps.memory;
  }

  get fleet(): FleetWatch {
    return this.#deps.fleet;
  }

  get health(): HealthBoard {
    return this.#deps.health;
  }

  get leadership(): Leadership {
    return this.#deps.leadership;
  }

  /** Starts the loops; a process that leads already also takes up what the journal says is open. */
  start(): void {
    this.#deps.metrics.leaderIs(false);
    this.#startLoops();
    if (this.#term !== null) this.lead(this.#hard.signal);
  }

  /** Acts, until `term` is aborted: sends what waits, and takes up what the journal says is open. */
  lead(term: AbortSignal): void {
    this.#term = AbortSignal.any([this.#hard.signal, term]);
    this.#deps.metrics.leaderIs(true);
    this.#postman = this.#deps.postman.run(this.#term);
    this.#takeUp();
    this.#backfill(this.#term);
  }

  /** After the end of a term. Resolves when nothing acts any more. */
  async standBy(): Promise<void> {
    this.#term = null;
    this.#deps.metrics.leaderIs(false);
    await this.#backfilling;
    await this.#evaluator.settled();
    await this.idle();
    await this.#postman;
  }

  #backfill(term: AbortSignal): void {
    this.#backfilling = backfillLedger(this.#runtime, this.#deps, AbortSignal.any([this.#loops.signal, term]));
  }

  /** Open episodes that nobody runs here: found at the start of a term, or written by an append that had seemed to fail. */
  #takeUp(): void {
    if (this.#term === null || this.#term.aborted) return;
    for (const episode of this.#deps.memory.openEpisodes()) {
      if (this.#running.has(episode.id)) continue;
      this.#deps.log.info({ episode: episode.id, model: episode.model, state: episode.state }, 'episode taken up from the journal');
      this.#deps.metrics.episodeStarted(episode);
      this.runEpisode(episode, this.#runtime);
    }
  }

  /** Swaps the settings: all or nothing was decided before. Episodes in flight keep theirs; the old runtime is closed after the last of them. */
  async replaceRuntime(next: Runtime): Promise<void> {
    const old = this.#runtime;
    this.#loops.abort();
    await Promise.all([this.#loopsDone, this.#backfilling]);
    this.#runtime = next;
    this.board.retain((rule) => ruleById(next, rule) !== null);
    if (!this.#hard.signal.aborted && this.#stopped === null) {
      this.#startLoops();
      if (this.#term !== null) this.#backfill(this.#term);
    }
    const users = [...this.#running.values()].filter((entry) => entry.runtime === old).map((entry) => entry.done);
    void Promise.allSettled(users).then(() => this.#deps.closeRuntime(old));
  }

  /** One turn of everything, alone: observe what is due, then evaluate every batch. */
  async turn(signal: AbortSignal = new AbortController().signal): Promise<readonly Verdict[]> {
    await this.observeTurn(signal);
    const all = await Promise.all(batchesOf(this.#runtime).map((batch) => this.#evaluator.turn(this.#runtime, batch, signal, true)));
    return all.flat();
  }

  /** Observes every model that is due, each on its own; resolves when all answered. */
  async observeTurn(signal: AbortSignal): Promise<void> {
    this.#beginObservations(this.#runtime, signal);
    await Promise.allSettled(this.#observing.values());
  }

  /** Advances an episode on its own until its end. A second call for the same episode is a no-op. */
  runEpisode(episode: Episode, runtime: Runtime): void {
    const term = this.#term;
    if (term === null || term.aborted || episode.finishedAtMs !== null || this.#running.has(episode.id)) return;
    const runner = new EpisodeRunner(runtime, { ...this.#deps, freezes: (model, nowMs) => this.#runtime.calendar.freezes(model, nowMs) });
    const done = runner
      .run(episode.id, term, this.#handOver.signal)
      .catch((error: unknown) => this.#deps.log.error({ episode: episode.id, err: error }, 'episode runner failed'))
      .finally(() => this.#running.delete(episode.id));
    this.#running.set(episode.id, { runtime, done });
  }

  /** What is still missing before this process may be relied on; empty = ready. */
  unready(): readonly string[] {
    const used = new Set(batchesOf(this.#runtime).map((batch) => batch.source));
    return [...this.#runtime.sources].filter(([name, source]) => used.has(name) && source.up() === null).map(([name]) => `source ${name} was not asked yet`);
  }

  /** Resolves when no episode is being run. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.allSettled([...this.#running.values()].map((entry) => entry.done));
  }

  /**
   * Stops: no new turns, episodes in hand finish up to their next safe place (or are left where the journal has them when `graceMs` is over), messages are flushed.
   * Concurrent calls share one stop.
   */
  stop(graceMs: number): Promise<void> {
    this.#stopped ??= this.#stop(graceMs);
    return this.#stopped;
  }

  /** Leaves at once: the journal makes that safe. */
  hurry(): void {
    this.#hard.abort(new Error('stopped'));
  }

  async #stop(graceMs: number): Promise<void> {
    const { log, postman, clock } = this.#deps;
    this.#loops.abort();
    this.#handOver.abort(new DOMException('stopping', 'AbortError'));
    await Promise.all([this.#loopsDone, this.#backfilling]);
    if (this.#deps.leadership.leads())
      await this.#evaluator.flush(this.#runtime).catch((error: unknown) => log.warn({ err: error }, 'ledger could not be flushed'));
    const timeout = new AbortController();
    const patience = clock.sleep(graceMs, AbortSignal.any([timeout.signal, this.#hard.signal])).catch(() => undefined);
    await Promise.race([this.idle(), patience]);
    timeout.abort();
    if (this.#running.size > 0) log.warn({ episodes: [...this.#running.keys()] }, 'episodes left where the journal has them: the next process goes on');
    await postman.flush(Math.min(graceMs, 5_000));
    this.#hard.abort(new Error('stopped'));
    await this.idle();
    await Promise.allSettled(this.#observing.values());
    await this.#postman;
    await this.#deps.closeRuntime(this.#runtime);
  }

  #startLoops(): void {
    this.#loops = new AbortController();
    const runtime = this.#runtime;
    const signal = AbortSignal.any([this.#loops.signal, this.#hard.signal]);
    const { clock } = this.#deps;
    const observing = runLoop({ clock, everyMs: observeBeatMs, firstInMs: 0, signal, turn: async () => this.#beginObservations(runtime, signal) });
    const evaluating = batchesOf(runtime).map((batch) => this.#evaluateForever(runtime, batch, signal));
    // Decisions under way may still open an episode with this runtime.
    this.#loopsDone = Promise.allSettled([observing, ...evaluating]).then(async () => await this.#evaluator.settled());
  }

  async #evaluateForever(runtime: Runtime, batch: Batch, signal: AbortSignal): Promise<void> {
    const { clock, metrics, log } = this.#deps;
    const firstInMs = Math.min(spreadMs(`${batch.source} ${batch.intervalMs}`, batch.intervalMs), 1_000);
    await runLoop({
      clock,
      everyMs: batch.intervalMs,
      firstInMs,
      signal,
      turn: async (missed) => {
        const startedMs = clock.nowMs();
        await this.#evaluator.turn(runtime, batch, signal).catch((error: unknown) => log.error({ err: error, source: batch.source }, 'evaluation failed'));
        const durationMs = clock.nowMs() - startedMs;
        for (const group of batch.groups) metrics.groupEvaluated(group.name, { atMs: startedMs, durationMs, missed });
        this.#publish(runtime);
      },
    });
  }

  /** Starts what is due without waiting: a plane that hangs delays no other model. */
  #beginObservations(runtime: Runtime, signal: AbortSignal): void {
    for (const model of runtime.models.values()) {
      if (this.#observing.has(model.name) || !runtime.observer.isDue(model)) continue;
      const done = runtime.observer.observe(model, { thorough: false }, signal).finally(() => this.#observing.delete(model.name));
      this.#observing.set(model.name, done);
    }
  }

  #publish(runtime: Runtime): void {
    const { metrics, memory, clock } = this.#deps;
    const nowMs = clock.nowMs();
    const alerts = this.board.all().flatMap((verdict) => {
      const rule = ruleById(runtime, verdict.rule);
      const isFiring = memory.ruleState(verdict.rule, verdict.version)?.firingSinceMs != null;
      if (rule === null || (!isFiring && verdict.kind !== 'pending')) return [];
      return [{ alertname: rule.alert, model: verdict.model, version: verdict.version, state: isFiring ? ('firing' as const) : ('pending' as const) }];
    });
    metrics.alertsAre(alerts);
    metrics.freezesAre(runtime.calendar.windows(nowMs));
    metrics.breakersAre(this.#deps.fleet.open.map(({ name }) => name));
    for (const [name, source] of runtime.sources) {
      const up = source.up();
      if (up !== null) this.#deps.health.told({ kind: 'source', name }, up ? null : (source.whyDown() ?? 'no answer'));
    }
    metrics.versionsAre([...runtime.models.values()].flatMap((model) => versionRoles(runtime, memory, model.name, nowMs)));
    for (const model of runtime.models.values()) {
      const pause = pauseOf(memory.pauses(), model.name, nowMs);
      metrics.modelPaused(model.name, pause?.sinceMs ?? null);
      metrics.modelFlapLocked(model.name, findFlapLock(memory.episodes(model.name), runtime.limits.flapLock.windowMs, nowMs) !== null);
      metrics.modelPinned(model.name, runtime.observer.latest(model)?.pinned ?? false);
    }
  }
}

/** Each known version of a model in its role. */
export function versionRoles(
  runtime: Runtime,
  memory: Memory,
  modelName: string,
  nowMs: number,
): readonly { model: string; version: string; role: VersionRole }[] {
  const model = runtime.models.get(modelName);
  if (model === undefined) return [];
  const serving = servingVersions(runtime.observer.latest(model));
  const { knownGood } = model.rollback;
  const isGood = (version: string): boolean => {
    const entry = memory.ledgerEntry(modelName, version);
    return knownGood.versions.includes(version) || (entry !== null && entry.healthyMs >= knownGood.minAgeMs && entry.healthyRequests >= knownGood.minRequests);
  };
  const quarantined = new Set(
    memory
      .quarantine(modelName)
      .filter((entry) => entry.untilMs > nowMs)
      .map((entry) => entry.version),
  );
  const versions = new Set([...serving, ...memory.ledger(modelName).map((entry) => entry.version), ...quarantined]);
  return [...versions].flatMap((version): { model: string; version: string; role: VersionRole }[] => {
    const base = { model: modelName, version };
    if (serving.includes(version)) return [{ ...base, role: isGood(version) ? 'active' : 'candidate' }];
    if (quarantined.has(version)) return [{ ...base, role: 'quarantined' }];
    return isGood(version) ? [{ ...base, role: 'baseline' }] : [];
  });
}
