import { formatDuration } from '../domain/duration.ts';
import type { Episode, EpisodeStep } from '../domain/episode.ts';
import type { JournalEvent } from '../domain/event.ts';
import type { Observation } from '../domain/observation.ts';
import { type Clock, type ControlPlane, type Leadership, type Log, PlaneError, type PlaneTarget } from '../domain/ports.ts';
import type { ApplyOutcome, StepCheck } from '../domain/step.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { Memory } from './memory.ts';
import { Stopwatch } from './stopwatch.ts';

/** First pause between looks at a step under way; doubles up to `maxLookMs`. */
const firstLookMs = 50;
const maxLookMs = 1_000;
/** First pause before a mutation is tried again; doubles up to `maxRetryMs`. */
const firstRetryMs = 500;
const maxRetryMs = 10_000;

export type StepResult = { readonly kind: 'done' } | { readonly kind: 'failed'; readonly detail: string };

type RunOptions = {
  readonly guard: (observation: Observation) => void;
  readonly signal: AbortSignal;
  /** Given up after this long, if that is shorter than `converge_timeout`. */
  readonly withinMs?: number;
};

export type StepRunnerDeps = {
  readonly plane: ControlPlane;
  readonly planeName: string;
  readonly target: PlaneTarget;
  readonly memory: Memory;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly leadership: Leadership;
};

/**
 * One mutation from intent to proof: guards, intent in the journal, apply, look until it took, outcome in the journal.
 * An answer that may or may not have been carried out is never repeated blind: the plane is looked at first.
 */
export class StepRunner {
  readonly #deps: StepRunnerDeps;

  constructor(deps: StepRunnerDeps) {
    this.#deps = deps;
  }

  /** Throws only when aborted, when a guard holds (from `guard`), when the plane cannot be observed for too long, or when the journal cannot be written. */
  async run(episode: Episode, name: string, options: RunOptions): Promise<StepResult> {
    const entry = entryOf(episode, name);
    const before = await this.#observe(options.signal, episode);
    options.guard(before);
    // A step found `started` was under way when the process died: its intent is there, the plane is asked before it is done again.
    if (entry.state === 'pending') await this.#journal(intent(episode, name, this.#deps.clock.nowMs(), false));
    const startedMs = this.#deps.clock.nowMs();
    const result = await this.#perform(episode, entry, { inverse: false, before, ...options });
    this.#deps.metrics.rollbackStepTook('converge', this.#deps.clock.nowMs() - startedMs);
    await this.#journal(
      outcome(
        episode,
        name,
        this.#deps.clock.nowMs(),
        result.kind,
        result.kind === 'failed' ? result.detail : `took ${formatDuration(this.#deps.clock.nowMs() - startedMs)}`,
      ),
    );
    return result;
  }

  /** Takes a step back, if `guard` still lets it. */
  async undo(episode: Episode, name: string, options: { guard: (observation: Observation) => void; signal: AbortSignal }): Promise<StepResult> {
    const { guard, signal } = options;
    const entry = entryOf(episode, name);
    if (entry.step.inverse === null) return { kind: 'done' };
    const before = await this.#observe(signal, episode);
    guard(before);
    if (entry.state !== 'inverting') await this.#journal(intent(episode, name, this.#deps.clock.nowMs(), true));
    const result = await this.#perform(episode, entry, { inverse: true, before, guard, signal });
    await this.#journal(
      outcome(episode, name, this.#deps.clock.nowMs(), result.kind === 'done' ? 'inverted' : 'failed', result.kind === 'failed' ? result.detail : 'taken back'),
    );
    return result;
  }

  async #perform(episode: Episode, entry: EpisodeStep, options: RunOptions & { readonly inverse: boolean; readonly before: Observation }): Promise<StepResult> {
    const { clock, plane, target, memory } = this.#deps;
    const { signal, inverse } = options;
    const watch = new Stopwatch(clock);
    const limitMs = Math.min(episode.policy.convergeTimeoutMs, options.withinMs ?? Number.POSITIVE_INFINITY);
    for (let retryMs = firstRetryMs; ; retryMs = Math.min(retryMs * 2, maxRetryMs)) {
      await this.#ensureLeads(signal);
      const sentMs = clock.nowMs();
      const answer = await plane.apply(
        target,
        entry.step,
        { inverse, opId: `${episode.id}/${entry.name}${inverse ? '/inverse' : ''}`, epoch: memory.journal.epoch },
        signal,
      );
      this.#deps.metrics.rollbackStepTook('control_plane', clock.nowMs() - sentMs);
      signal.throwIfAborted();
      if (isTaken(answer)) {
        if (answer.remember !== undefined) await this.#journal(remembered(episode, entry.name, clock.nowMs(), inverse, this.#deps.planeName, answer));
        if (inverse) return { kind: 'done' };
        return await this.#lookUntilItTook(entry, { before: options.before, watch, limitMs, signal }, episode);
      }
      this.#deps.log.warn(
        { episode: episode.id, step: entry.name, outcome: answer.kind, class: answer.class, detail: answer.detail },
        'step did not take at once',
      );
      if (answer.class === 'permanent' || answer.class === 'auth' || answer.class === 'target_will_not_load')
        return { kind: 'failed', detail: `${entry.name}: ${answer.detail}` };
      if (watch.spentMs() + retryMs >= limitMs) return { kind: 'failed', detail: `${entry.name}: ${answer.detail}; given up after ${formatDuration(limitMs)}` };
      await clock.sleep(retryMs, signal);
      // Every retry first looks: the world may have moved, ours may have happened.
      const now = await this.#observe(signal, episode);
      options.guard(now);
    }
  }

  async #lookUntilItTook(
    entry: EpisodeStep,
    { before, watch, limitMs, signal }: { before: Observation; watch: Stopwatch; limitMs: number; signal: AbortSignal },
    episode: Episode,
  ): Promise<StepResult> {
    const { clock, plane } = this.#deps;
    const sinceApplied = new Stopwatch(clock);
    let seen: StepCheck = { kind: 'progressing', detail: 'not looked at yet' };
    for (let lookMs = firstLookMs; ; lookMs = Math.min(lookMs * 2, maxLookMs)) {
      const now = await this.#observe(signal, episode);
      seen = plane.check(entry.step, before, now, sinceApplied.spentMs());
      if (seen.kind === 'converged') return { kind: 'done' };
      if (seen.kind === 'failed' || seen.kind === 'reverted') return { kind: 'failed', detail: `${entry.name}: ${seen.detail}` };
      if (watch.spentMs() >= limitMs) {
        const whose = limitMs === episode.policy.convergeTimeoutMs ? ' (converge_timeout)' : '';
        return { kind: 'failed', detail: `${entry.name}: not there after ${formatDuration(limitMs)}${whose}: ${seen.detail}` };
      }
      await clock.sleep(lookMs, signal);
    }
  }

  async #observe(signal: AbortSignal, episode: Episode): Promise<Observation> {
    const { clock, plane, target } = this.#deps;
    const watch = new Stopwatch(clock);
    for (;;) {
      signal.throwIfAborted();
      try {
        return await plane.observe(target, { thorough: false }, signal);
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof PlaneError) || watch.spentMs() >= episode.policy.convergeTimeoutMs) throw error;
        await clock.sleep(Math.max(maxLookMs, error.retryAfterMs ?? 0), signal);
      }
    }
  }

  /** Right before a mutation: the journal has no later epoch, and the lease outlasts the request. @throws when this process may not act any more */
  async #ensureLeads(signal: AbortSignal): Promise<void> {
    const { memory, leadership } = this.#deps;
    await memory.journal.confirmEpoch();
    signal.throwIfAborted();
    if (!leadership.leads()) throw new DOMException('this replica does not lead', 'AbortError');
  }

  async #journal(event: JournalEvent): Promise<void> {
    await this.#deps.memory.append([event]);
  }
}

function entryOf(episode: Episode, name: string): EpisodeStep {
  const entry = episode.steps.find((candidate) => candidate.name === name);
  if (entry === undefined) throw new Error(`episode ${episode.id} has no step "${name}"`);
  return entry;
}

function isTaken(answer: ApplyOutcome): answer is Extract<ApplyOutcome, { kind: 'applied' | 'already' }> {
  return answer.kind === 'applied' || answer.kind === 'already';
}

function intent(episode: Episode, step: string, atMs: number, inverse: boolean): JournalEvent {
  return { type: 'step_intent', episodeId: episode.id, atMs, step, inverse };
}

function outcome(episode: Episode, step: string, atMs: number, state: 'done' | 'failed' | 'inverted', detail: string): JournalEvent {
  return { type: 'step_outcome', episodeId: episode.id, atMs, step, state, detail };
}

/** Written as soon as the plane took the mutation: from then on its configuration is another. */
function remembered(
  episode: Episode,
  step: string,
  atMs: number,
  inverse: boolean,
  plane: string,
  answer: Extract<ApplyOutcome, { kind: 'applied' | 'already' }>,
): JournalEvent {
  const values = answer.remember ?? {};
  return {
    type: 'step_outcome',
    episodeId: episode.id,
    atMs,
    step,
    state: inverse ? 'inverting' : 'started',
    detail: answer.detail ?? 'applied, not yet seen to have taken',
    remember: { plane, values },
  };
}
