import type { Calendar } from '../domain/calendar.ts';
import { formatDuration } from '../domain/duration.ts';
import type { Episode, EpisodeOutcome, EpisodeState, EpisodeStep, SmokeResult } from '../domain/episode.ts';
import { episodeEnds } from '../domain/episode.ts';
import type { JournalEvent } from '../domain/event.ts';
import { gateOf, isFollower, spellOthers } from '../domain/group-rollback.ts';
import type { Model } from '../domain/model.ts';
import type { Observation } from '../domain/observation.ts';
import { type Clock, type ControlPlane, type Leadership, type Log, PlaneError, type SmokeRunner, type Source } from '../domain/ports.ts';
import type { Difference } from '../domain/signature.ts';
import type { Desired, StepPhase } from '../domain/step.ts';
import { chooseTarget } from '../domain/target.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { FleetWatch } from './fleet-watch.ts';
import type { Memory } from './memory.ts';
import { planeTarget } from './observer.ts';
import { renderEpisodeLinks } from './rule-texts.ts';
import { actingRules, type Runtime, rulesOf } from './runtime.ts';
import { compareVersions, spellDifferences } from './stages/compatibility.ts';
import { judgeGuards } from './stages/decide.ts';
import { judgeRecovery } from './stages/recover.ts';
import { StepRunner } from './step-runner.ts';
import { Stopwatch } from './stopwatch.ts';
import type { Teller } from './teller.ts';
import type { VerdictBoard } from './verdict-board.ts';

/** How often a waiting episode looks again. */
export const pollMs = 1_000;
/** An unconfirmed endpoint is looked at for this long before it counts as taken back. */
const steadyMs = 5_000;
/** How long a registry that does not answer is asked again to write a rollback down. */
const recordWithinMs = 30_000;
/** A clock that was set back to before the switch is waited for, but no longer than this. */
const longestSetbackMs = 7_200_000;

export type EpisodeRunnerDeps = {
  readonly memory: Memory;
  readonly board: VerdictBoard;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly smoke: SmokeRunner;
  readonly teller: Teller;
  readonly leadership: Leadership;
  readonly fleet: FleetWatch;
  /** By the files as they are now: a freeze also stops what began before it was written. */
  readonly freezes: Calendar['freezes'];
};

/** What an episode works with while it runs. */
type Stage = { readonly episode: Episode; readonly model: Model; readonly plane: ControlPlane; readonly source: Source | null; readonly signal: AbortSignal };

/** Thrown inside a stage to end the episode, with the words of its end. */
class EpisodeEnd extends Error {
  override readonly name = 'EpisodeEnd';
  readonly state: EpisodeState;
  readonly outcome: EpisodeOutcome;
  constructor(state: EpisodeState, outcome: EpisodeOutcome, message: string) {
    super(message);
    this.state = state;
    this.outcome = outcome;
  }
}

/** Thrown before the switch: this target is given up, its staging taken back; the policy says whether another is tried. */
class TargetGivenUp extends Error {
  override readonly name = 'TargetGivenUp';
  /** What a person may do; `null`: what they may do about any target. */
  readonly advice: string | null;
  constructor(reason: string, advice: string | null = null) {
    super(reason);
    this.advice = advice;
  }
}

/**
 * Takes one episode from where the journal says it stands to its end. Every mutation has its intent journalled first and the guards asked again;
 * killed at any instant, another runner goes on from the journal. It never puts the bad version back.
 */
export class EpisodeRunner {
  readonly #deps: EpisodeRunnerDeps;
  readonly #runtime: Runtime;
  /** What is waited for, in this process. */
  readonly #watches = new Map<string, Stopwatch>();
  /** How far the clock stood before the switch at the worst. */
  #setbackMs = 0;
  /** How long the approval had been waited for when this process took it up; `null`: not looked at yet. */
  #waitedBeforeMs: number | null = null;

  constructor(runtime: Runtime, deps: EpisodeRunnerDeps) {
    this.#runtime = runtime;
    this.#deps = deps;
  }

  /**
   * Runs until the end, or until `signal` (leave at once) or `handOver` (leave at the next safe place: before the switch began, or once it is confirmed).
   * Never throws.
   */
  async run(id: string, signal: AbortSignal, handOver: AbortSignal): Promise<void> {
    const log = this.#deps.log.child({ episode: id });
    const gentle = AbortSignal.any([signal, handOver]);
    while (!signal.aborted) {
      if (!(await this.#isSettled(signal, log))) continue;
      const episode = this.#deps.memory.episode(id);
      if (episode === null || episodeEnds.has(episode.state)) return;
      const isSafe = isSafeToLeave(episode);
      if (handOver.aborted && isSafe) {
        log.info({ state: episode.state }, 'episode handed over: the next process goes on with it');
        return;
      }
      try {
        await this.#advance(episode, isSafe ? gentle : signal);
      } catch (error) {
        const isVerdict = error instanceof EpisodeEnd || error instanceof GuardHeld;
        if (signal.aborted || (isSafe && handOver.aborted && !isVerdict)) continue;
        await this.#react(id, error, signal, log);
      }
    }
  }

  /** After an append whose fate is unknown the episode may stand elsewhere than it is remembered. */
  async #isSettled(signal: AbortSignal, log: Log): Promise<boolean> {
    try {
      await this.#deps.memory.settle();
      return true;
    } catch (error) {
      log.warn({ err: error }, 'episode waits until the journal can be read');
      await this.#deps.clock.sleep(pollMs, signal).catch(() => undefined);
      return false;
    }
  }

  /** Ends the episode where the error is a verdict on it, else waits for another try. */
  async #react(id: string, error: unknown, signal: AbortSignal, log: Log): Promise<void> {
    try {
      if (error instanceof EpisodeEnd) return await this.#end(id, error);
      if (error instanceof GuardHeld) return await this.#end(id, await this.#standDown(id, error, signal));
      if (error instanceof PlaneError) return await this.#end(id, unobservable(error, ''));
      log.error({ err: error }, 'episode could not go on; trying again');
    } catch (failure) {
      if (signal.aborted) return;
      log.error({ err: failure }, 'end of the episode could not be journalled; trying again');
    }
    await this.#deps.clock.sleep(pollMs, signal).catch(() => undefined);
  }

  /**
   * A guard held before a mutation: nothing further is done. What was staged is taken back, but only while nothing has moved and nobody else has
   * written there (an inverse would overwrite theirs).
   */
  async #standDown(id: string, held: GuardHeld, signal: AbortSignal): Promise<EpisodeEnd> {
    const words = `stopped (${held.reason}): ${held.message}`;
    const episode = this.#deps.memory.episode(id);
    if (episode === null) return new EpisodeEnd('aborted', 'failure', words);
    const hasSwitched = presentSteps(episode).some((entry) => entry.step.phase !== 'stage' && entry.state !== 'pending');
    if (hasSwitched) return new EpisodeEnd('aborted', 'unknown', `${words}. The switch had begun: look at every endpoint by hand`);
    if (held.reason === 'version_changed') {
      const staged = presentSteps(episode).filter((entry) => entry.state !== 'pending' && entry.state !== 'inverted');
      const left = staged.length === 0 ? '' : `. Done before and not taken back: ${staged.map(({ name }) => name).join(', ')}`;
      return new EpisodeEnd('aborted', 'failure', `${words}. rollbackd moved nothing and leaves theirs alone${left}`);
    }
    try {
      await this.#undo(this.#stage(episode, signal));
    } catch (error) {
      // Not an end: the next process takes the staging back.
      signal.throwIfAborted();
      this.#deps.log.error({ err: error, episode: id }, 'staging could not be taken back');
      return new EpisodeEnd('aborted', 'failure', `${words}. Nothing moved, but ${episode.to} may still be loaded beside ${episode.from}`);
    }
    return new EpisodeEnd('aborted', 'failure', `${words}. Nothing moved: ${episode.from} still serves`);
  }

  async #advance(episode: Episode, signal: AbortSignal): Promise<void> {
    const stage = this.#stage(episode, signal);
    switch (episode.state) {
      case 'pending_approval':
        return await this.#awaitApproval(stage);
      case 'planned':
        return await this.#plan(stage);
      case 'staging':
        return await this.#stageTarget(stage);
      case 'switching':
        return await this.#switch(stage);
      case 'confirming':
        return await this.#confirm(stage);
      case 'smoke_testing':
        return await this.#smokeTestServing(stage);
      case 'watching':
        return await this.#watch(stage);
      case 'succeeded':
      case 'failed':
      case 'aborted':
      case 'rejected':
      case 'recorded':
        return;
    }
  }

  #stage(episode: Episode, signal: AbortSignal): Stage {
    const model = this.#runtime.models.get(episode.model);
    const plane = this.#runtime.planes.get(episode.controlPlane);
    if (model === undefined || plane === undefined) {
      throw new EpisodeEnd(
        'failed',
        'unknown',
        `the files no longer name the ${model === undefined ? `model "${episode.model}"` : `control plane "${episode.controlPlane}"`}; look at what serves by hand, then name it again or leave it`,
      );
    }
    return { episode, model, plane, source: this.#runtime.sources.get(model.source) ?? null, signal };
  }

  async #awaitApproval({ episode, signal }: Stage): Promise<void> {
    const { clock } = this.#deps;
    // What passed while no process ran counts by the clock, the rest as it is lived through.
    this.#waitedBeforeMs ??= Math.max(0, clock.nowMs() - episode.detectedAtMs);
    if (this.#waitedBeforeMs + this.#spentMs('approval') >= episode.policy.approvalTimeoutMs) {
      throw new EpisodeEnd('rejected', 'failure', `nobody approved it within ${formatDuration(episode.policy.approvalTimeoutMs)}`);
    }
    await clock.sleep(pollMs, signal);
  }

  async #plan(stage: Stage): Promise<void> {
    const { episode, model, plane, signal } = stage;
    await this.#awaitGroup(stage, 'begin');
    // The one the decision was made on, when it was just made and nothing was tried since.
    const decidedOn = episode.startedAtMs === null ? this.#runtime.observer.takeThorough(model) : null;
    const observation = decidedOn ?? (await this.#observe(stage, { thorough: true }));
    this.#askGuards(stage, observation);
    const plan = plane.plan(planeTarget(model), observation, desiredOf(episode));
    signal.throwIfAborted();
    if (plan.kind === 'refused') return await this.#giveUpTarget(stage, `the control plane refused the plan: ${plan.reason}`);
    const nowMs = this.#deps.clock.nowMs();
    const steps: EpisodeStep[] = (plan.kind === 'steps' ? plan.steps : []).map((step) => ({
      name: step.name,
      state: 'pending',
      startedAtMs: null,
      finishedAtMs: null,
      detail: '',
      attempts: 0,
      step,
    }));
    const notes = [...((plan.kind === 'steps' ? plan.notes : undefined) ?? []), ...(observation.notes ?? [])];
    const started = { ...episode, startedAtMs: episode.startedAtMs ?? nowMs, notes };
    this.#deps.metrics.episodeStarted(started);
    await this.#deps.memory.append([
      { type: 'steps_planned', episodeId: episode.id, atMs: nowMs, steps },
      stateEvent(episode, 'staging', nowMs, [`${steps.length} steps`, ...notes].join('; '), { startedAtMs: started.startedAtMs, notes }),
      ...(episode.startedAtMs === null ? this.#deps.teller.onStarted(started, this.#runtime) : []),
    ]);
  }

  async #stageTarget(stage: Stage): Promise<void> {
    const { episode, plane } = stage;
    let notes: readonly string[];
    try {
      await this.#steps(stage, 'stage');
      notes = await this.#refuseIncompatible(stage);
      if (plane.capabilities().preSwitchSmoke) await this.#smoke(stage, 'staged');
    } catch (error) {
      if (error instanceof TargetGivenUp) return await this.#giveUpTarget(stage, error.message, error.advice);
      throw error;
    }
    await this.#awaitOthersStaged(stage);
    await this.#state(episode, 'switching', [`version ${episode.to} is loaded and tested, traffic may move`, ...notes].join('; '));
  }

  /** The others of the group learn from the journal that this one is ready. */
  async #awaitOthersStaged(stage: Stage): Promise<void> {
    const { episode } = stage;
    if (episode.group?.kind !== 'together' || episode.group.members.length === 1) return;
    if (this.#current(stage).stagedAtMs == null)
      await this.#state(episode, 'staging', `version ${episode.to} is loaded and tested, waiting for the others of group ${episode.group.name}`, {
        stagedAtMs: this.#deps.clock.nowMs(),
      });
    await this.#awaitGroup(stage, 'switch');
  }

  /** @throws {GuardHeld} when the group goes no further, {@link EpisodeEnd} when it was rejected */
  async #awaitGroup(stage: Stage, step: 'begin' | 'switch'): Promise<void> {
    const { episode, signal } = stage;
    for (;;) {
      signal.throwIfAborted();
      const gate = gateOf(this.#current(stage), this.#membersOf(episode), step);
      if (gate.kind === 'go') return;
      if (gate.kind === 'wait') await this.#deps.clock.sleep(pollMs, signal);
      else if (gate.state === 'rejected') throw new EpisodeEnd('rejected', 'failure', gate.reason);
      else throw new GuardHeld(`group ${episode.group?.name}`, gate.reason);
    }
  }

  #membersOf({ group }: Episode): readonly Episode[] {
    return (group?.members ?? []).map((member) => this.#deps.memory.episode(member.episode)).filter((member) => member !== null);
  }

  /**
   * A server can tell the signature only of what it has loaded: so the staged target is compared once more.
   * @returns what people should know all the same
   */
  async #refuseIncompatible(stage: Stage): Promise<readonly string[]> {
    const { episode, model, plane, signal } = stage;
    let found: Difference;
    try {
      found = await compareVersions(plane, planeTarget(model), episode, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof PlaneError)) throw error;
      this.#deps.log.warn({ episode: episode.id, err: error }, 'signatures could not be read; they are not compared');
      return [`the signatures could not be compared: ${error.message}`];
    }
    const notes = found.readers.length === 0 ? [] : [`its answers differ: ${spellDifferences(found.readers)}`];
    if (found.requests.length === 0) return notes;
    const words = `version ${episode.to} cannot take the requests that ${episode.from} takes: ${spellDifferences(found.requests)}`;
    if (episode.policy.allowIncompatible) return [`${words} (allow_incompatible)`, ...notes];
    throw new TargetGivenUp(
      `incompatible_target: ${words}`,
      'Roll back to a version that takes them, or set rollback.allow_incompatible where the callers can change with it',
    );
  }

  async #switch(stage: Stage): Promise<void> {
    const { episode, model } = stage;
    try {
      await this.#steps(stage, 'switch');
    } catch (error) {
      if (!(error instanceof TargetGivenUp)) throw error;
      const observation = await this.#observe(stage, { thorough: false });
      const told = new Set(
        presentSteps(this.#current(stage))
          .filter((entry) => entry.step.phase !== 'stage' && entry.state !== 'pending')
          .map((entry) => entry.step.endpoint),
      );
      // An endpoint that was told and cannot be read may have moved: taking that back could put the bad version back.
      const hasMoved = observation.endpoints.some((endpoint) =>
        endpoint.error === undefined ? endpoint.serving.some((share) => share.version === episode.to) : told.has(endpoint.endpoint),
      );
      if (!hasMoved) return await this.#giveUpTarget(stage, error.message);
      throw new EpisodeEnd(
        'failed',
        'failure',
        `${error.message}; ${describeServing(observation)}. Nothing was put back: bring every endpoint to ${episode.to} by hand`,
      );
    }
    const nowMs = this.#deps.clock.nowMs();
    const { policy } = episode;
    await this.#deps.memory.append([
      stateEvent(episode, 'confirming', nowMs, 'every endpoint answered that it serves the target', { switchedAtMs: nowMs, recoveredAtMs: null }),
      {
        type: 'quarantined',
        entry: {
          model: model.name,
          version: episode.from,
          sinceMs: nowMs,
          untilMs: nowMs + policy.quarantineMs,
          reason: `rolled back by ${episode.id}: ${episode.reason}`,
          by: episode.requestedBy ?? 'rollbackd',
        },
      },
    ]);
  }

  async #confirm(stage: Stage): Promise<void> {
    const { episode } = stage;
    await this.#persist(stage);
    const spentMs = this.#spentMs(`confirm ${episode.switchedAtMs}`);
    const observation = await this.#observe(stage, { thorough: false });
    const elsewhere = observation.endpoints.filter((endpoint) => !servesAlone(endpoint.serving, episode.to));
    if (elsewhere.length === 0 && observation.endpoints.length > 0) {
      await this.#record(stage);
      const detail = `applied on ${observation.endpoints.length} ${observation.endpoints.length === 1 ? 'endpoint' : 'endpoints'}`;
      await this.#state(episode, 'smoke_testing', detail, { pinned: observation.pinned });
      return;
    }
    // Each endpoint had been seen to serve the target when its step ended: one that steadily serves the old version again was taken back.
    const isReverted = elsewhere.some((endpoint) => endpoint.error === undefined && servesAlone(endpoint.serving, episode.from));
    if (isReverted && !episode.corrected && spentMs >= steadyMs) return await this.#correct(stage);
    if (spentMs >= episode.policy.convergeTimeoutMs) {
      throw new EpisodeEnd(
        'failed',
        'failure',
        `the switch is not confirmed on ${elsewhere.map((endpoint) => endpoint.endpoint).join(', ') || 'any endpoint'} after ${formatDuration(episode.policy.convergeTimeoutMs)}; ${describeServing(observation)}. Look at these endpoints by hand`,
      );
    }
    await this.#deps.clock.sleep(pollMs, stage.signal);
  }

  /** The switch holds whether or not it could be written down for the next start of the plane; but then it is said. */
  async #persist(stage: Stage): Promise<void> {
    try {
      await this.#steps(stage, 'persist');
    } catch (error) {
      if (!(error instanceof TargetGivenUp)) throw error;
      throw new EpisodeEnd(
        'failed',
        'failure',
        `${stage.episode.to} serves, but the switch could not be made to last: ${error.message}. A restart of the server would bring ${stage.episode.from} back: write it down by hand`,
      );
    }
  }

  /** Tells the registry and whoever else keeps a record. The switch holds without it: what could not be written down is told, and stops nothing. */
  async #record(stage: Stage): Promise<void> {
    const runner = this.#stepRunner(stage);
    const open = presentSteps(this.#current(stage)).filter(
      (entry) => entry.step.phase === 'record' && (entry.state === 'pending' || entry.state === 'started'),
    );
    for (const { name } of open.toSorted((a, b) => a.step.barrier - b.step.barrier)) {
      const guard = (observation: Observation): void => this.#askGuards({ ...stage, episode: this.#current(stage) }, observation);
      try {
        const result = await runner.run(this.#current(stage), name, { guard, signal: stage.signal, withinMs: recordWithinMs });
        if (result.kind === 'failed') this.#deps.log.warn({ episode: stage.episode.id, step: name, detail: result.detail }, 'rollback could not be recorded');
      } catch (error) {
        if (!(error instanceof GuardHeld)) throw error;
        const detail = `${name}: left out (${error.reason}): ${error.message}`;
        await this.#deps.memory.append([
          { type: 'step_outcome', episodeId: stage.episode.id, atMs: this.#deps.clock.nowMs(), step: name, state: 'failed', detail },
        ]);
      }
    }
  }

  async #smokeTestServing(stage: Stage): Promise<void> {
    const { episode } = stage;
    try {
      await this.#smoke(stage, 'serving');
    } catch (error) {
      if (!(error instanceof TargetGivenUp)) throw error;
      throw new EpisodeEnd(
        'failed',
        'failure',
        `${error.message}. ${episode.to} serves now and ${episode.from} was not put back: decide by hand which version is the lesser evil`,
      );
    }
    await this.#state(episode, 'watching', 'watching the metrics recover');
  }

  async #watch(stage: Stage): Promise<void> {
    const { episode, signal } = stage;
    const { clock } = this.#deps;
    const observation = await this.#observe(stage, { thorough: false });
    if (observation.endpoints.some((endpoint) => endpoint.error === undefined && !servesAlone(endpoint.serving, episode.to))) return await this.#correct(stage);
    const switchedAtMs = episode.switchedAtMs ?? clock.nowMs();
    if (episode.recoveredAtMs === null) {
      const recovery = await judgeRecovery({
        ...stage,
        sources: this.#runtime.sources,
        switchedAtMs,
        rules: actingRules(this.#runtime, stage.model),
        nowMs: clock.nowMs(),
        names: observation.names,
        remembered: (rule) => this.#deps.memory.ruleState(rule.id, episode.from)?.sequential ?? null,
      });
      signal.throwIfAborted();
      if (recovery.kind === 'recovered') {
        await this.#state(episode, 'watching', `recovered: ${recovery.reason}`, { recoveredAtMs: clock.nowMs() });
      } else if (this.#spentMs(`recovery ${switchedAtMs}`) >= episode.policy.recoveryWithinMs + this.#setback(switchedAtMs)) {
        const within = formatDuration(episode.policy.recoveryWithinMs);
        if (recovery.kind === 'unknown') {
          throw new EpisodeEnd(
            'failed',
            'unknown',
            `${episode.to} serves, but whether it helped is not known after ${within}: ${recovery.reason}. Nothing further is switched; look at the traffic and the source`,
          );
        }
        throw new EpisodeEnd(
          'failed',
          'failure',
          `${episode.to} serves, but the numbers did not recover within ${within}: ${recovery.reason}. Nothing further is switched: it may not be the version`,
        );
      }
    } else {
      this.#endWhenStuck(episode, observation, this.#spentMs(`stick ${episode.recoveredAtMs}`));
    }
    await clock.sleep(pollMs, signal);
  }

  /** Succeeded only when every endpoint is seen to serve the target, after the whole stick period. */
  #endWhenStuck(episode: Episode, observation: Observation, spentMs: number): void {
    const { policy, to } = episode;
    if (spentMs < policy.stickMs) return;
    const unseen = observation.endpoints.filter((endpoint) => !servesAlone(endpoint.serving, to));
    if (unseen.length === 0 && observation.endpoints.length > 0)
      throw new EpisodeEnd(
        'succeeded',
        'success',
        [`recovered and still in force after ${formatDuration(policy.stickMs)}${unrecorded(episode)}`, ...(episode.notes ?? [])].join('. '),
      );
    if (spentMs < policy.stickMs + policy.convergeTimeoutMs) return;
    throw new EpisodeEnd(
      'failed',
      'unknown',
      `recovered, but whether the switch is still in force is not known: ${describeServing(observation)}. Look there by hand`,
    );
  }

  /** How much longer recovery is waited for because the clock was set back to before the switch: until it has caught up nothing can be told. */
  #setback(switchedAtMs: number): number {
    this.#setbackMs = Math.max(this.#setbackMs, Math.min(switchedAtMs - this.#deps.clock.nowMs(), longestSetbackMs));
    return this.#setbackMs;
  }

  /** Time spent in this process on what `wait` names. */
  #spentMs(wait: string): number {
    const watch = this.#watches.get(wait) ?? new Stopwatch(this.#deps.clock);
    this.#watches.set(wait, watch);
    return watch.spentMs();
  }

  /** A switch that was taken back is corrected once (a late write of a stalled process), then reported, not fought. */
  async #correct(stage: Stage): Promise<void> {
    const { episode, model, plane, signal } = stage;
    const observation = await this.#observe(stage, { thorough: true, isReverted: true });
    const reverted = observation.endpoints.filter((endpoint) => endpoint.error === undefined && !servesAlone(endpoint.serving, episode.to));
    if (reverted.length === 0) return;
    const writers = [...new Set(reverted.flatMap((endpoint) => endpoint.writer ?? []))];
    const words = `the switch was taken back by ${writers.join(' and ') || 'somebody else'}: ${describeServing(observation)}`;
    const foreign = reverted.some((endpoint) => endpoint.serving.some((share) => share.version !== episode.from && share.version !== episode.to));
    if (foreign || episode.corrected || plane.capabilities().compareAndSet) {
      const advice =
        writers.length > 0 ? 'undo it at its source or stop that writer first' : 'find who writes there (a config poll, a deploy job) and stop it first';
      throw new EpisodeEnd('failed', 'failure', `${words}. Not fought: ${advice}`);
    }
    this.#deps.log.warn({ episode: episode.id, model: model.name, writers }, 'switch was taken back; correcting it once');
    this.#askGuards(stage, observation);
    const plan = plane.plan(planeTarget(model), observation, desiredOf(episode));
    signal.throwIfAborted();
    if (plan.kind === 'refused') throw new EpisodeEnd('failed', 'failure', `${words}; and it cannot be corrected: ${plan.reason}`);
    const nowMs = this.#deps.clock.nowMs();
    const steps: EpisodeStep[] = (plan.kind === 'steps' ? plan.steps : []).map((step) => ({
      name: `${step.name} (again)`,
      state: 'pending',
      startedAtMs: null,
      finishedAtMs: null,
      detail: '',
      attempts: 0,
      step: { ...step, name: `${step.name} (again)` },
    }));
    await this.#deps.memory.append([
      { type: 'steps_planned', episodeId: episode.id, atMs: nowMs, steps },
      stateEvent(episode, 'switching', nowMs, `${words}; corrected once`, { corrected: true }),
    ]);
  }

  async #steps(stage: Stage, phase: StepPhase): Promise<void> {
    const runner = this.#stepRunner(stage);
    // A correction plans its steps while the episode is switching: what it stages comes first.
    const phases: readonly StepPhase[] = phase === 'switch' ? ['stage', 'switch'] : [phase];
    // The process died while a target was being given up: what failed once is not passed over.
    const lost = presentSteps(this.#current(stage)).find((entry) => phases.includes(entry.step.phase) && lostStates.has(entry.state));
    if (lost !== undefined) throw new TargetGivenUp(lost.state === 'failed' ? lost.detail : `${lost.name} was being taken back when the process ended`);
    for (const wanted of phases) {
      const steps = presentSteps(this.#current(stage)).filter(
        (entry) => entry.step.phase === wanted && (entry.state === 'pending' || entry.state === 'started'),
      );
      const barriers = [...new Set(steps.map((entry) => entry.step.barrier))].toSorted((a, b) => a - b);
      for (const barrier of barriers) {
        const together = steps.filter((entry) => entry.step.barrier === barrier);
        const results = await Promise.allSettled(
          together.map((entry) =>
            runner.run(this.#current(stage), entry.name, {
              guard: (observation) => this.#askGuards({ ...stage, episode: this.#current(stage) }, observation),
              signal: stage.signal,
            }),
          ),
        );
        for (const result of results) if (result.status === 'rejected') throw result.reason;
        for (const result of results) {
          if (result.status === 'fulfilled' && result.value.kind === 'failed') throw new TargetGivenUp(result.value.detail);
        }
      }
    }
  }

  #stepRunner({ plane, model, episode }: Stage): StepRunner {
    return new StepRunner({ ...this.#deps, plane, target: planeTarget(model), planeName: plane.remembersAs ?? episode.controlPlane });
  }

  #current(stage: Stage): Episode {
    return this.#deps.memory.episode(stage.episode.id) ?? stage.episode;
  }

  /** Guards, asked again before a mutation. */
  #askGuards(stage: Stage, observation: Observation): void {
    const { episode, model } = stage;
    const { memory, board, clock } = this.#deps;
    // The rule that one follows for is about another model.
    const rule = isFollower(episode) ? null : (rulesOf(this.#runtime, model.name).find((candidate) => candidate.alert === episode.rule) ?? null);
    const verdict = rule === null ? null : (board.of(model.name).find((entry) => entry.rule === rule.id && entry.version === episode.from) ?? null);
    // `--dry-run` also stops what an earlier process began.
    const policy = this.#runtime.forceDryRun ? { ...episode.policy, mode: 'dry_run' as const } : episode.policy;
    const subject = { model, policy, from: episode.from, rule, verdict, observation, trigger: episode.trigger, episode };
    const judgement = judgeGuards(subject, {
      memory,
      board,
      leadership: this.#deps.leadership,
      fleet: this.#deps.fleet,
      runtime: { ...this.#runtime, calendar: { ...this.#runtime.calendar, freezes: this.#deps.freezes } },
      nowMs: clock.nowMs(),
    });
    if (judgement.reason === 'go') return;
    // Not a verdict on the episode: whoever leads goes on with it.
    if (judgement.reason === 'not_leader') throw new DOMException(judgement.detail, 'AbortError');
    throw new GuardHeld(judgement.reason, judgement.detail);
  }

  async #smoke(stage: Stage, when: SmokeResult['when']): Promise<void> {
    const { episode, signal } = stage;
    const { smoke, memory, clock, metrics } = this.#deps;
    // The episode knows whether there is one; its requests are read from the files, which hold the secrets.
    const test = episode.smokeTest === null ? null : stage.model.smokeTest;
    if (test === null) return;
    const context = { model: episode.model, from: episode.from, to: episode.to, labels: episode.labels };
    const results = (await smoke.run(test, context, signal)).map((result): SmokeResult => ({ ...result, when }));
    signal.throwIfAborted();
    await memory.append([{ type: 'smoke_test', episodeId: episode.id, atMs: clock.nowMs(), results }]);
    metrics.smokeTested(episode.model, results);
    metrics.rollbackStepTook(
      'smoke_test',
      results.reduce((sum, result) => sum + result.durationMs, 0),
    );
    const failed = results.filter((result) => result.outcome === 'failed');
    if (failed.length > 0)
      throw new TargetGivenUp(
        `the smoke test failed on ${when === 'staged' ? 'the staged' : 'the serving'} version ${episode.to}: ${failed.map((result) => `${result.name}: ${result.detail}`).join('; ')}`,
      );
  }

  /** Before the switch: takes the staging back (the bad version never stopped serving), then the next target or the end. */
  async #giveUpTarget(stage: Stage, reason: string, advice: string | null = null): Promise<void> {
    const { memory, board, clock } = this.#deps;
    const left = await this.#undo(stage);
    const episode = this.#current(stage);
    const tried = [...episode.triedTargets, episode.to];
    if (episode.smokeTest?.onFailure === 'next_target') {
      const observation = await this.#observe(stage, { thorough: true });
      const choice = chooseTarget({
        from: episode.from,
        policy: episode.policy,
        observation,
        ledger: memory.ledger(episode.model),
        quarantine: memory.quarantine(episode.model),
        verdicts: board.of(episode.model),
        tried,
        servedBeforeMs: isFollower(episode) ? (episode.group?.releasedMs ?? null) : null,
        nowMs: clock.nowMs(),
      });
      if (choice.target !== null) {
        const changes = {
          ...(episode.stagedAtMs == null ? {} : { stagedAtMs: null }),
          to: choice.target,
          triedTargets: tried,
          refusedTargets: [...episode.refusedTargets, { version: episode.to, reason }],
          links: renderEpisodeLinks(stage.model, stage.plane, { from: episode.from, to: choice.target }),
        };
        await memory.append([stateEvent(episode, 'planned', clock.nowMs(), `${reason}; trying ${choice.target} next`, changes)]);
        return;
      }
    }
    throw new EpisodeEnd(
      'failed',
      'failure',
      `${reason}. Nothing moved: ${episode.from} still serves${left.length === 0 ? '' : `, but this could not be taken back: ${left.join('; ')}`}. ${advice ?? `Look why ${episode.to} does not come up, or roll back to another version by hand`}`,
    );
  }

  /** Takes back what was done for this target, last first. @returns what could not be */
  async #undo(stage: Stage): Promise<readonly string[]> {
    const runner = this.#stepRunner(stage);
    const touched = presentSteps(this.#current(stage)).filter((entry) => entry.state !== 'pending' && entry.state !== 'inverted');
    const left: string[] = [];
    for (const entry of touched.toReversed()) {
      const guard = (observation: Observation): void => refuseUndo(stage.episode, observation);
      const result = await runner.undo(this.#current(stage), entry.name, { guard, signal: stage.signal });
      if (result.kind === 'done') continue;
      left.push(result.detail);
      this.#deps.log.error({ episode: stage.episode.id, step: entry.name, detail: result.detail }, 'step could not be taken back');
    }
    return left;
  }

  async #observe(stage: Stage, options: { thorough: boolean; isReverted?: boolean }): Promise<Observation> {
    const { clock } = this.#deps;
    const watch = new Stopwatch(clock);
    const { convergeTimeoutMs } = stage.episode.policy;
    for (;;) {
      stage.signal.throwIfAborted();
      try {
        return await stage.plane.observe(planeTarget(stage.model), options, stage.signal);
      } catch (error) {
        stage.signal.throwIfAborted();
        if (!(error instanceof PlaneError)) throw error;
        if (error.class === 'auth' || error.class === 'permanent') throw unobservable(error, '');
        if (watch.spentMs() >= convergeTimeoutMs) throw unobservable(error, ` for ${formatDuration(convergeTimeoutMs)}`);
        await clock.sleep(Math.max(pollMs, error.retryAfterMs ?? 0), stage.signal);
      }
    }
  }

  async #state(episode: Episode, state: EpisodeState, detail: string, changes?: StateChanges): Promise<void> {
    const event = stateEvent(episode, state, this.#deps.clock.nowMs(), detail, changes);
    await this.#deps.memory.append([event]);
  }

  async #end(id: string, end: EpisodeEnd): Promise<void> {
    const { memory, clock, teller, metrics } = this.#deps;
    const episode = memory.episode(id);
    if (episode === null || episodeEnds.has(episode.state)) return;
    const nowMs = clock.nowMs();
    const ended: Episode = { ...episode, state: end.state, outcome: end.outcome, finishedAtMs: nowMs };
    const detail = [end.message, spellOthers(ended, this.#membersOf(ended))].filter((words) => words !== '').join('. ');
    const closed: Episode = { ...ended, detail };
    const event: JournalEvent = { type: 'episode_state', episodeId: id, atMs: nowMs, state: end.state, detail, outcome: end.outcome };
    await memory.append([event, ...teller.onFinished(closed, this.#runtime)]);
    metrics.episodeFinished(closed);
    teller.logClosed(memory.episode(id) ?? closed);
  }
}

/** A guard held before a mutation: nothing further is done. */
class GuardHeld extends Error {
  override readonly name = 'GuardHeld';
  readonly reason: string;
  constructor(reason: string, detail: string) {
    super(detail);
    this.reason = reason;
  }
}

/** States of a step that no later step may be built on. */
const lostStates: ReadonlySet<EpisodeStep['state']> = new Set(['failed', 'inverting', 'inverted']);

/** All of the target, and why. */
function desiredOf({ to, reason }: Episode): Desired {
  return { kind: 'serve', shares: [{ version: to, share: 1 }], reason };
}

/** What the end of a rollback that took must still tell. */
function unrecorded(episode: Episode): string {
  const left = presentSteps(episode).filter((entry) => entry.step.phase === 'record' && entry.state === 'failed');
  return left.length === 0 ? '' : `. Not recorded, do it by hand: ${left.map((entry) => entry.detail).join('; ')}`;
}

/** Steps of the plan in hand. */
function presentSteps(episode: Episode): readonly EpisodeStep[] {
  return episode.steps.filter((entry) => entry.isPast !== true);
}

/**
 * An inverse brings back the configuration from before: only while the version we came for still serves everywhere. Once the target serves it would put
 * the bad version back, and what somebody else has deployed it would overwrite.
 * @throws {GuardHeld}
 */
function refuseUndo({ from, to }: Episode, observation: Observation): void {
  const hasMoved = observation.endpoints.some((endpoint) => servesAlone(endpoint.serving, to));
  const serving = observation.serving.map((share) => share.version);
  // While traffic is split the target had a share before, too.
  if (!hasMoved && serving.includes(from) && serving.every((version) => version === from || version === to)) return;
  // Nothing serves at all: the step itself may have done it (Seldon's scheduler takes the route of a model away that it cannot place), and what was is better.
  if (serving.length === 0 && observation.endpoints.every((endpoint) => endpoint.error === undefined)) return;
  throw new GuardHeld('version_changed', `${describeServing(observation)}, so nothing is taken back`);
}

function unobservable(error: PlaneError, howLong: string): EpisodeEnd {
  return new EpisodeEnd('failed', 'unknown', `the control plane cannot be observed${howLong}: ${error.message}. What serves is not known: look by hand`);
}

type StateChanges = NonNullable<Extract<JournalEvent, { type: 'episode_state' }>['changes']>;

function stateEvent(episode: Episode, state: EpisodeState, atMs: number, detail: string, changes?: StateChanges): JournalEvent {
  return { type: 'episode_state', episodeId: episode.id, atMs, state, detail, ...(changes === undefined ? {} : { changes }) };
}

/** Before the switch nothing is half done that the next process could not take up; from `watching` on only looking is left. */
function isSafeToLeave(episode: Episode): boolean {
  return episode.state === 'pending_approval' || episode.state === 'planned' || episode.state === 'watching';
}

function servesAlone(serving: Observation['serving'], version: string): boolean {
  return serving.length === 1 && serving[0]?.version === version;
}

function describeServing(observation: Observation): string {
  return observation.endpoints
    .map((endpoint) => `${endpoint.endpoint} serves ${endpoint.error ?? (endpoint.serving.map((share) => share.version).join(' and ') || 'nothing')}`)
    .join(', ');
}
