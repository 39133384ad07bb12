import { consequence } from '../domain/decide.ts';
import type { Decision } from '../domain/decision.ts';
import { formatDuration } from '../domain/duration.ts';
import type { Episode } from '../domain/episode.ts';
import type { JournalEvent } from '../domain/event.ts';
import { countsAsFlip } from '../domain/flap-lock.ts';
import type { Model } from '../domain/model.ts';
import { mainVersion, type Observation } from '../domain/observation.ts';
import type { Clock, ControlPlane, Log } from '../domain/ports.ts';
import type { Step } from '../domain/step.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import { type Actions, ApiError, type PauseView, type Request } from '../web/api.ts';
import type { App } from './app.ts';
import { openEpisode } from './episode-opening.ts';
import { openByHand } from './group-opening.ts';
import { createId } from './ids.ts';
import { planeTarget } from './observer.ts';
import { viewPause } from './queries.ts';
import { effectivePolicy } from './runtime.ts';
import { readSignatures } from './stages/compatibility.ts';
import { type DecideContext, type DecideSubject, describeFollower, freezeEvidence, judgeGuards, toDecision } from './stages/decide.ts';
import { Stopwatch } from './stopwatch.ts';
import type { Teller } from './teller.ts';

/** How long an action may wait for the control plane. */
const planeTimeoutMs = 60_000;
const unpinLookMs = 250;

/** What a person may do to a running application; each is journalled with the name and the reason. */
export class AppActions implements Actions {
  readonly #app: App;
  readonly #clock: Clock;
  readonly #teller: Teller;
  readonly #metrics: Metrics;
  readonly #log: Log;

  constructor(app: App, deps: { clock: Clock; teller: Teller; metrics: Metrics; log: Log }) {
    this.#app = app;
    this.#clock = deps.clock;
    this.#teller = deps.teller;
    this.#metrics = deps.metrics;
    this.#log = deps.log;
  }

  async pause(name: string, request: Request & { readonly forMs: number | null }): Promise<PauseView> {
    this.#refuseFollower();
    const nowMs = this.#clock.nowMs();
    const pause = {
      model: this.#scope(name),
      sinceMs: nowMs,
      untilMs: request.forMs === null ? null : nowMs + request.forMs,
      reason: request.reason,
      by: request.by,
    };
    await this.#app.memory.append([{ type: 'paused', pause }]);
    return viewPause(pause);
  }

  /** Of one model also its flap lock: a person has looked. */
  async resume(name: string, request: Request): Promise<null> {
    this.#refuseFollower();
    const { memory } = this.#app;
    const [model, atMs] = [this.#scope(name), this.#clock.nowMs()];
    const flips = model === null ? [] : memory.episodes(model).filter((episode) => episode.finishedAtMs !== null && countsAsFlip(episode));
    await memory.append([
      { type: 'resumed', model, by: request.by, atMs },
      ...flips.map(({ id, state }): JournalEvent => ({ type: 'episode_state', episodeId: id, atMs, state, detail: '', changes: { flapLifted: true } })),
    ]);
    return null;
  }

  /** Gives the plane the policy back that it had before the rollback. */
  async unpin(name: string, request: Request): Promise<{ readonly detail: string }> {
    this.#refuseFollower();
    const model = this.#model(name);
    if (this.#app.memory.episodes(name).some((episode) => episode.finishedAtMs === null))
      throw new ApiError('conflict', `a rollback of ${name} is under way; wait for its end`);
    const plane = this.#app.runtime.planes.get(model.controlPlane);
    if (plane === undefined) throw new ApiError('internal', `no control plane "${model.controlPlane}"`);
    const signal = AbortSignal.timeout(planeTimeoutMs);
    const observation = await plane.observe(planeTarget(model), { thorough: true }, signal);
    const plan = plane.plan(planeTarget(model), observation, { kind: 'unpin' });
    if (plan.kind === 'refused') throw new ApiError('conflict', plan.reason);
    if (plan.kind === 'nothing') return { detail: `${name} is not pinned: nothing to do` };
    await this.#app.memory.recordDecision(this.#unpinAsked(name, mainVersion(observation) ?? '', plan.steps, request));
    const done: string[] = [];
    for (const step of plan.steps) done.push(await this.#applyUnpin(model, step, signal));
    for (const episode of this.#app.memory.episodes(name).filter((entry) => entry.pinned)) {
      await this.#app.memory.append([
        { type: 'episode_state', episodeId: episode.id, atMs: this.#clock.nowMs(), state: episode.state, detail: '', changes: { pinned: false } },
      ]);
    }
    await this.#app.runtime.observer.observe(model, { thorough: false }, signal);
    return { detail: [done.join('; '), ...this.#unpinWarnings(name)].join('. ') };
  }

  /** The policy of before may choose a version that was rolled back, if the plane still has it. */
  #unpinWarnings(name: string): readonly string[] {
    const nowMs = this.#clock.nowMs();
    const bad = this.#app.memory.quarantine(name).filter((entry) => entry.untilMs > nowMs);
    if (bad.length === 0) return [];
    const versions = bad.map((entry) => entry.version).join(', ');
    return [
      `Beware: ${versions} ${bad.length === 1 ? 'is' : 'are'} quarantined; if the policy of before picks ${bad.length === 1 ? 'it' : 'one of them'}, it serves again: remove it from the model's folder, or publish a newer version`,
    ];
  }

  async rollback(name: string, request: Request & { readonly to: string | null }): Promise<Episode> {
    this.#refuseFollower();
    const model = this.#model(name);
    const { runtime, memory, board } = this.#app;
    const signal = AbortSignal.timeout(planeTimeoutMs);
    const observation = await runtime.observer.observe(model, { thorough: true }, signal);
    const from = observation === null ? null : versionToLeave(observation, request.to);
    if (from === null) throw new ApiError('unavailable', `what serves ${name} could not be confirmed: ${runtime.observer.failure(name) ?? 'nothing serves'}`);
    const defaults = effectivePolicy(runtime, model, null);
    const policy = request.to === null ? defaults : { ...defaults, to: { kind: 'version' as const, version: request.to } };
    // A person who asks has opted in; only --dry-run still holds.
    const asked = runtime.forceDryRun ? policy : { ...policy, mode: 'enforce' as const };
    const subject: DecideSubject = { model, policy: asked, from, rule: null, verdict: null, observation, trigger: 'manual', episode: null };
    const context = { memory, board, leadership: this.#app.leadership, fleet: this.#app.fleet, runtime, nowMs: this.#clock.nowMs() };
    const plane = runtime.planes.get(model.controlPlane);
    const informed = await readSignatures(subject, context, { plane, log: this.#log, signal });
    return await memory.inTurn(async () => await this.#open(informed, context, request));
  }

  async #open(subject: DecideSubject, context: DecideContext, request: Request): Promise<Episode> {
    const { runtime, memory, board } = context;
    const { model } = subject;
    const nowMs = this.#clock.nowMs();
    const judgement = judgeGuards(subject, { ...context, nowMs });
    const decision = consequence(judgement);
    const target = judgement.choice.target;
    if (decision === 'hold' || target === null) {
      const held = toDecision(subject, judgement, nowMs, null);
      await memory.recordDecision(held);
      this.#metrics.decisionMade(held);
      throw new ApiError('conflict', `not rolled back (${judgement.reason}): ${judgement.detail}`);
    }
    const evidence = freezeEvidence(subject, target, board, []);
    const alone = openEpisode({
      subject,
      judgement,
      decision,
      target,
      plane: runtime.planes.get(model.controlPlane),
      evidence,
      nowMs,
      externalLabels: runtime.externalLabels,
      requestedBy: request.by,
      reason: request.reason,
    });
    const opened = openByHand(alone, runtime);
    const record = toDecision(subject, judgement, nowMs, opened.id);
    await memory.append([{ type: 'episode_opened', episode: opened }, { type: 'decision', decision: record }, ...this.#teller.onOpened(opened, runtime)]);
    this.#metrics.decisionMade(record);
    // The files may have been read again while the plane was asked.
    this.#app.runEpisode(opened, this.#app.runtime);
    return opened;
  }

  async approve(id: string, request: Request): Promise<Episode> {
    await this.#settle(id, 'planned', `approved by ${request.by}: ${request.reason}`);
    return this.#episode(id);
  }

  async reject(id: string, request: Request): Promise<Episode> {
    await this.#settle(id, 'rejected', `rejected by ${request.by}: ${request.reason}`);
    return this.#episode(id);
  }

  async #settle(id: string, state: 'planned' | 'rejected', detail: string): Promise<void> {
    this.#refuseFollower();
    const episode = this.#episode(id);
    if (episode.state !== 'pending_approval') throw new ApiError('conflict', `episode ${id} does not wait for approval: it is ${episode.state}`);
    const nowMs = this.#clock.nowMs();
    const event: JournalEvent = { type: 'episode_state', episodeId: id, atMs: nowMs, state, detail };
    if (state === 'planned') return await this.#app.memory.append([event]);
    const closed: Episode = { ...episode, state, outcome: 'failure', detail, finishedAtMs: nowMs };
    await this.#app.memory.append([event, ...this.#teller.onFinished(closed, this.#app.runtime)]);
    this.#metrics.episodeFinished(closed);
    this.#teller.logClosed(closed);
  }

  /** The intent, journalled before the first step. */
  #unpinAsked(model: string, version: string, steps: readonly Step[], request: Request): Decision {
    const nowMs = this.#clock.nowMs();
    const detail = `unpin asked for by ${request.by}${request.reason === '' ? '' : `: ${request.reason}`}; steps: ${steps.map((step) => step.name).join(', ')}`;
    const none = { rule: null, held: [], target: null, episode: null, verdict: '', value: null, threshold: null, requests: null } as const;
    return { id: createId('dc', nowMs), atMs: nowMs, model, version, trigger: 'manual', decision: 'notify', reason: 'go', detail, ...none };
  }

  async #applyUnpin(model: Model, step: Step, signal: AbortSignal): Promise<string> {
    const plane = this.#app.runtime.planes.get(model.controlPlane);
    const { memory } = this.#app;
    const before = await plane?.observe(planeTarget(model), { thorough: false }, signal);
    await memory.journal.confirmEpoch();
    this.#refuseFollower();
    const answer = await plane?.apply(
      planeTarget(model),
      step,
      { inverse: false, opId: createId('op', this.#clock.nowMs()), epoch: memory.journal.epoch },
      signal,
    );
    if (answer === undefined || (answer.kind !== 'applied' && answer.kind !== 'already'))
      throw new ApiError('conflict', `${step.name}: ${answer?.detail ?? 'no control plane'}`);
    if (answer.remember !== undefined)
      await memory.append([{ type: 'plane_memory', plane: plane?.remembersAs ?? model.controlPlane, values: answer.remember, atMs: this.#clock.nowMs() }]);
    if (plane !== undefined && before !== undefined) await this.#untilItTook(plane, model, step, before, signal);
    return step.name;
  }

  /** The next step may need what this one brings. */
  async #untilItTook(plane: ControlPlane, model: Model, step: Step, before: Observation, signal: AbortSignal): Promise<void> {
    const watch = new Stopwatch(this.#clock);
    for (;;) {
      const check = plane.check(step, before, await plane.observe(planeTarget(model), { thorough: false }, signal), watch.spentMs());
      if (check.kind === 'converged') return;
      if (check.kind === 'failed' || check.kind === 'reverted') throw new ApiError('conflict', `${step.name}: ${check.detail}`);
      await this.#clock.sleep(unpinLookMs, signal).catch(() => {
        throw new ApiError('unavailable', `${step.name}: ${check.detail}; not there after ${formatDuration(planeTimeoutMs)}, ask again`);
      });
    }
  }

  /** Only the leader writes the journal. */
  #refuseFollower(): void {
    const words = describeFollower(this.#app.leadership);
    if (words !== null) throw new ApiError('unavailable', `${words}: ask the leader`);
  }

  /** `*` or empty = all models. */
  #scope(name: string): string | null {
    return name === '*' || name === '' ? null : this.#model(name).name;
  }

  #model(name: string): Model {
    const model = this.#app.runtime.models.get(name);
    if (model === undefined) throw new ApiError('not_found', `no model "${name}"; there are: ${[...this.#app.runtime.models.keys()].join(', ') || 'none'}`);
    return model;
  }

  #episode(id: string): Episode {
    const episode = this.#app.memory.episode(id);
    if (episode === null) throw new ApiError('not_found', `no rollback "${id}"`);
    return episode;
  }
}

/** What a person wants to be rid of: the version with the most traffic besides the one they name. */
function versionToLeave(observation: Observation, to: string | null): string | null {
  const others = observation.serving.filter((share) => share.version !== to);
  return mainVersion({ ...observation, serving: others.length > 0 ? others : observation.serving });
}
