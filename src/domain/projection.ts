import { type Episode, type EpisodeOutcome, type EpisodeState, type EpisodeStep, episodeEnds } from './episode.ts';
import type { JournalEvent } from './event.ts';
import type { OutboxMessage } from './records.ts';

/** An event that does not fit what was recorded before it: unknown episode, unknown step, change of an ended episode … Nothing of its append is written. */
export class IllegalEventError extends Error {
  override readonly name = 'IllegalEventError';
}

export type EpisodeOpened = Extract<JournalEvent, { type: 'episode_opened' }>;
/** Events that change an episode that is there. */
export type EpisodeEvent = Extract<JournalEvent, { type: 'episode_state' | 'steps_planned' | 'step_intent' | 'step_outcome' | 'smoke_test' }>;

/**
 * The episode as it begins. One that is opened in an end state (a dry run is `recorded` at once) is finished at `detectedAtMs` unless it says when.
 */
export function openEpisode(event: EpisodeOpened): Episode {
  const { episode } = event;
  if (!episodeEnds.has(episode.state)) return episode;
  return { ...episode, outcome: outcomeAt(episode.state, episode.outcome ?? undefined), finishedAtMs: episode.finishedAtMs ?? episode.detectedAtMs };
}

/**
 * The episode after the event; pure, the fold of all its events is the episode.
 * @throws {IllegalEventError} when the event does not fit
 */
export function applyToEpisode(episode: Episode, event: EpisodeEvent): Episode {
  switch (event.type) {
    case 'episode_state':
      return changeState(episode, event);
    case 'steps_planned':
      return planSteps(episode, event);
    case 'step_intent':
      refuseWhenEnded(episode, `the intent of step "${event.step}"`);
      return changeStep(episode, event.step, (step) => ({
        ...step,
        state: event.inverse ? 'inverting' : 'started',
        startedAtMs: event.inverse ? step.startedAtMs : (step.startedAtMs ?? event.atMs),
        finishedAtMs: null,
        attempts: event.inverse ? step.attempts : step.attempts + 1,
      }));
    case 'step_outcome':
      // Also after the end: a late answer of the plane is a fact, and no new act.
      return changeStep(episode, event.step, (step) => ({
        ...step,
        state: event.state,
        detail: event.detail,
        finishedAtMs: settledSteps.has(event.state) ? event.atMs : null,
      }));
    case 'smoke_test':
      return { ...episode, smokeTests: [...episode.smokeTests, ...event.results] };
  }
}

/** Steps that will not change any more by themselves. */
const settledSteps: ReadonlySet<EpisodeStep['state']> = new Set(['done', 'failed', 'inverted']);

function changeState(episode: Episode, event: Extract<EpisodeEvent, { type: 'episode_state' }>): Episode {
  if (episodeEnds.has(episode.state)) return changeEnded(episode, event);
  const changed = { ...episode, ...event.changes, state: event.state, detail: event.detail === '' ? episode.detail : event.detail };
  if (!episodeEnds.has(event.state)) {
    if (event.outcome !== undefined)
      throw new IllegalEventError(`episode ${episode.id}: outcome ${event.outcome} given with state ${event.state}; an open episode has none`);
    return changed;
  }
  return { ...changed, outcome: outcomeAt(event.state, event.outcome), finishedAtMs: event.atMs };
}

/** All that may change after the end: whether the plane still holds the target for us (`unpin`), and whether it counts for the flap lock (`resume`). */
function changeEnded(episode: Episode, event: Extract<EpisodeEvent, { type: 'episode_state' }>): Episode {
  const changes = Object.keys(event.changes ?? {});
  const isAllowed = changes.length === 1 && (event.changes?.pinned !== undefined || event.changes?.flapLifted === true);
  if (event.state !== episode.state || event.outcome !== undefined || !isAllowed) {
    throw new IllegalEventError(
      `episode ${episode.id} ended as ${episode.state}; it cannot become ${event.state} (only "pinned" and "flapLifted" may still change)`,
    );
  }
  return { ...episode, ...event.changes };
}

function outcomeAt(state: EpisodeState, given: EpisodeOutcome | undefined): EpisodeOutcome | null {
  switch (state) {
    case 'succeeded':
      if (given !== undefined && given !== 'success') throw new IllegalEventError(`outcome ${given} does not go with state succeeded`);
      return 'success';
    case 'recorded':
      return null;
    case 'failed':
      if (given === 'success') throw new IllegalEventError('outcome success does not go with state failed');
      return given ?? 'failure';
    case 'aborted':
    case 'rejected':
      return given ?? 'failure';
    case 'pending_approval':
    case 'planned':
    case 'staging':
    case 'switching':
    case 'confirming':
    case 'smoke_testing':
    case 'watching':
      return null;
  }
}

/** Keeps what has run to its end as history; open steps, and settled ones of the same name, give way to the new plan. */
function planSteps(episode: Episode, event: Extract<EpisodeEvent, { type: 'steps_planned' }>): Episode {
  refuseWhenEnded(episode, 'a plan');
  const names = new Set<string>();
  for (const { name } of event.steps) {
    if (names.has(name)) throw new IllegalEventError(`episode ${episode.id}: the plan names step "${name}" twice`);
    names.add(name);
  }
  const history = episode.steps.filter((step) => settledSteps.has(step.state) && !names.has(step.name)).map((step) => ({ ...step, isPast: true as const }));
  return { ...episode, steps: [...history, ...event.steps] };
}

function changeStep(episode: Episode, name: string, change: (step: EpisodeStep) => EpisodeStep): Episode {
  const index = episode.steps.findIndex((step) => step.name === name);
  const step = episode.steps[index];
  if (step === undefined)
    throw new IllegalEventError(`episode ${episode.id} has no step "${name}"; it has ${episode.steps.map((known) => `"${known.name}"`).join(', ') || 'none'}`);
  return { ...episode, steps: episode.steps.with(index, change(step)) };
}

function refuseWhenEnded(episode: Episode, what: string): void {
  if (episodeEnds.has(episode.state)) throw new IllegalEventError(`episode ${episode.id} ended as ${episode.state}; ${what} came after its end`);
}

/**
 * The message after an attempt (or after it was dropped without one). A sent or dropped message stays so.
 * @throws {IllegalEventError} when it was sent or dropped before
 */
export function applyToMessage(message: OutboxMessage, event: Extract<JournalEvent, { type: 'message_attempt' }>): OutboxMessage {
  if (message.state !== 'waiting') throw new IllegalEventError(`message ${message.id} is ${message.state}; it cannot become ${event.state}`);
  return { ...message, attempts: message.attempts + 1, state: event.state, notBeforeMs: event.notBeforeMs, detail: event.detail };
}

/** What a plane asked to remember, after `values`: key by key, `null` forgets a key. */
export function applyToMemory(memory: Readonly<Record<string, unknown>>, values: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries({ ...memory, ...values }).filter(([, value]) => value !== null && value !== undefined));
}
