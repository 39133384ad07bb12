import type { Decision } from '../domain/decision.ts';
import type { Episode } from '../domain/episode.ts';
import type { JournalEvent } from '../domain/event.ts';
import { type Journal, JournalError } from '../domain/ports.ts';
import type { LedgerEntry, Pause, QuarantineEntry } from '../domain/records.ts';
import type { RuleState } from '../domain/verdict.ts';

/** Ended episodes kept at hand per model: enough for every cooldown and budget window. Dry runs count apart, so that they push nothing out. */
const episodesAtHand = 200;
const dryRunsAtHand = 20;
/** Episodes read at start: far more than any window holds. */
const episodesRead = 20_000;
/** A state that fires and does not change is journalled this often, not in every turn. */
const firingRefreshMs = 30_000;
/** Events read at once when others' are folded in. */
const eventsAtOnce = 500;

/**
 * The journal's projections, held in memory for the turn: written through, never ahead of the journal.
 * Nothing here is true before it is in the journal.
 */
export class Memory {
  readonly #journal: Journal;
  #pauses: Pause[] = [];
  #quarantine: QuarantineEntry[] = [];
  readonly #ledger = new Map<string, Map<string, LedgerEntry>>();
  readonly #ruleStates = new Map<string, RuleState>();
  /** Evaluation that the journal has of a state. */
  readonly #ruleStatesWritten = new Map<string, number>();
  readonly #planes = new Map<string, Record<string, unknown>>();
  readonly #episodes = new Map<string, Episode>();
  readonly #episodesByModel = new Map<string, Map<string, Episode>>();
  readonly #listeners = new Set<(events: readonly JournalEvent[]) => void>();
  readonly #catchUpListeners = new Set<() => void>();
  /** Newest event that is folded in here. */
  #seq = 0;
  /** An append failed, and nobody knows whether it was written: the journal is read before anything is believed. */
  #isUnsure = false;
  #catchingUp: Promise<readonly JournalEvent[]> | null = null;
  #opening: Promise<unknown> = Promise.resolve();

  private constructor(journal: Journal) {
    this.#journal = journal;
  }

  /** @param nowMs ms since 1970; given, states that fire are taken as evaluated up to the last time they need not have been journalled */
  static async load(journal: Journal, nowMs = Number.NEGATIVE_INFINITY): Promise<Memory> {
    const memory = new Memory(journal);
    // Before the projections: what is appended meanwhile is folded in once more, which changes nothing.
    memory.#seq = await journal.newestSeq();
    memory.#pauses = [...(await journal.pauses())];
    memory.#quarantine = [...(await journal.quarantine())];
    for (const entry of await journal.ledger()) memory.#setLedger(entry);
    for (const [key, state] of await journal.ruleStates()) {
      const unseenMs = state.firingSinceMs === null ? 0 : Math.min(firingRefreshMs, Math.max(0, nowMs - state.lastEvaluatedMs));
      memory.#ruleStates.set(key, { ...state, lastEvaluatedMs: state.lastEvaluatedMs + unseenMs });
      memory.#ruleStatesWritten.set(key, state.lastEvaluatedMs);
    }
    for (const [plane, values] of await journal.planeMemory()) memory.#planes.set(plane, { ...values });
    const recent = await journal.episodes({ limit: episodesRead });
    const open = await journal.episodes({ open: true, limit: episodesRead });
    for (const episode of [...open, ...recent].toReversed()) memory.#setEpisode(episode);
    return memory;
  }

  get journal(): Journal {
    return this.#journal;
  }

  /**
   * Durable first, then visible.
   * @throws {JournalError} also when an earlier append that had failed turns out to be written: the caller must look again at what is true
   */
  async append(events: readonly JournalEvent[]): Promise<void> {
    if (events.length === 0) return;
    await this.settle();
    const lines = new Map(
      events.flatMap((event) => (event.type === 'ledger' ? event.entries : [])).map((entry) => [entry, this.ledgerEntry(entry.model, entry.version)]),
    );
    const stored = await this.#journal.append(events).catch((error: unknown) => {
      this.#isUnsure = true;
      throw error;
    });
    if (!this.#isUnsure) this.#seq = Math.max(this.#seq, stored.at(-1)?.seq ?? 0);
    // A line that a turn has held meanwhile is newer than what was just written.
    for (const [entry, known] of lines) if (this.ledgerEntry(entry.model, entry.version) === known) this.#setLedger(entry);
    const touched = new Set<string>();
    for (const event of events) this.#fold(event, touched);
    await this.#refresh(touched);
    for (const listener of this.#listeners) listener(events);
  }

  /** After a failed append: reads what the journal has. @throws {JournalError} when it had been written after all, or cannot be read */
  async settle(): Promise<void> {
    if (!this.#isUnsure) return;
    const found = await this.catchUp();
    if (found.some((event) => !event.type.startsWith('message_')))
      throw new JournalError('an append that had failed was written after all; what it changed is looked at again');
  }

  /** Folds in what others appended since. @returns it */
  async catchUp(): Promise<readonly JournalEvent[]> {
    this.#catchingUp ??= this.#catchUp().finally(() => {
      this.#catchingUp = null;
    });
    return await this.#catchingUp;
  }

  async #catchUp(): Promise<readonly JournalEvent[]> {
    const found: JournalEvent[] = [];
    for (;;) {
      const stored = await this.#journal.events(this.#seq, eventsAtOnce);
      if (stored.length === 0) break;
      const events = stored.map(({ event }) => event);
      const touched = new Set<string>();
      for (const event of events) {
        if (event.type === 'ledger') for (const entry of event.entries) this.#setLedger(entry);
        this.#fold(event, touched);
      }
      await this.#refresh(touched);
      this.#seq = stored.at(-1)?.seq ?? this.#seq;
      found.push(...events);
    }
    this.#isUnsure = false;
    if (found.length === 0) return found;
    for (const listener of this.#listeners) listener(found);
    for (const listener of this.#catchUpListeners) listener();
    return found;
  }

  async #refresh(touched: ReadonlySet<string>): Promise<void> {
    for (const id of touched) {
      const episode = await this.#journal.episode(id);
      if (episode !== null) this.#setEpisode(episode);
    }
  }

  /** Called after each append with what became true. */
  onAppend(listener: (events: readonly JournalEvent[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Called after events were folded in that this process did not append, or did not know to be written. */
  onCatchUp(listener: () => void): void {
    this.#catchUpListeners.add(listener);
  }

  pauses(): readonly Pause[] {
    return this.#pauses;
  }

  quarantine(model: string): readonly QuarantineEntry[] {
    return this.#quarantine.filter((entry) => entry.model === model);
  }

  ledger(model: string): readonly LedgerEntry[] {
    return [...(this.#ledger.get(model)?.values() ?? [])];
  }

  ledgerEntry(model: string, version: string): LedgerEntry | null {
    return this.#ledger.get(model)?.get(version) ?? null;
  }

  /** A ledger line that is not journalled yet (flushed once a minute). */
  holdLedger(entry: LedgerEntry): void {
    this.#setLedger(entry);
  }

  ruleState(rule: string, version: string): RuleState | null {
    return this.#ruleStates.get(ruleStateKey(rule, version)) ?? null;
  }

  ruleStates(): ReadonlyMap<string, RuleState> {
    return this.#ruleStates;
  }

  /** State that need not survive a restart (nothing pends, nothing fires). */
  holdRuleState(state: RuleState): void {
    this.#ruleStates.set(ruleStateKey(state.rule, state.version), state);
  }

  /** Whether the journal needs this state: while it pends in every turn (`for` survives a restart), while it fires when it changed, and now and then. */
  isWorthWriting(before: RuleState | null, state: RuleState): boolean {
    if (state.firingSinceMs === null || before?.firingSinceMs !== state.firingSinceMs || before.breachingSinceMs !== state.breachingSinceMs) return true;
    const writtenMs = this.#ruleStatesWritten.get(ruleStateKey(state.rule, state.version)) ?? Number.NEGATIVE_INFINITY;
    return Math.abs(state.lastEvaluatedMs - writtenMs) >= firingRefreshMs;
  }

  /** @returns whether the journal has it, and must be told */
  dropRuleState(key: string): boolean {
    this.#ruleStates.delete(key);
    return this.#ruleStatesWritten.has(key);
  }

  planeMemory(plane: string): Readonly<Record<string, unknown>> {
    return this.#planes.get(plane) ?? {};
  }

  episode(id: string): Episode | null {
    return this.#episodes.get(id) ?? null;
  }

  /** Newest first. */
  episodes(model?: string): readonly Episode[] {
    const all = [...(model === undefined ? this.#episodes : (this.#episodesByModel.get(model) ?? new Map<string, Episode>())).values()];
    return all.toSorted((a, b) => b.detectedAtMs - a.detectedAtMs);
  }

  openEpisodes(): readonly Episode[] {
    return [...this.#episodes.values()].filter((episode) => episode.finishedAtMs === null).toSorted((a, b) => b.detectedAtMs - a.detectedAtMs);
  }

  /** One at a time: what is judged by the open episodes and then journalled as one of them must not be judged twice by the same ones. */
  async inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    const mine = this.#opening.then(work);
    this.#opening = mine.catch(() => undefined);
    return await mine;
  }

  async recordDecision(decision: Decision): Promise<void> {
    await this.append([{ type: 'decision', decision }]);
  }

  #fold(event: JournalEvent, touched: Set<string>): void {
    switch (event.type) {
      case 'episode_opened':
        touched.add(event.episode.id);
        return;
      case 'step_outcome':
        touched.add(event.episodeId);
        if (event.remember !== undefined) this.#remember(event.remember.plane, event.remember.values);
        return;
      case 'episode_state':
      case 'steps_planned':
      case 'step_intent':
      case 'smoke_test':
        touched.add(event.episodeId);
        return;
      case 'plane_memory':
        this.#remember(event.plane, event.values);
        return;
      case 'quarantined':
        this.#quarantine = [...this.#quarantine.filter((entry) => !sameVersion(entry, event.entry)), event.entry];
        return;
      case 'quarantine_lifted':
        this.#quarantine = this.#quarantine.filter((entry) => !sameVersion(entry, event));
        return;
      case 'paused':
        this.#pauses = [...this.#pauses.filter((pause) => pause.model !== event.pause.model), event.pause];
        return;
      case 'resumed':
        this.#pauses = this.#pauses.filter((pause) => pause.model !== event.model);
        return;
      case 'rule_states':
        for (const [key, state] of Object.entries(event.states)) {
          if (state === null) {
            this.#ruleStates.delete(key);
            this.#ruleStatesWritten.delete(key);
          } else {
            this.#ruleStates.set(key, state);
            this.#ruleStatesWritten.set(key, state.lastEvaluatedMs);
          }
        }
        return;
      case 'ledger':
      case 'version_retention':
      case 'decision':
      case 'message_enqueued':
      case 'message_attempt':
      case 'events_removed':
        return;
    }
  }

  #setEpisode(episode: Episode): void {
    const own = this.#episodesByModel.get(episode.model) ?? new Map<string, Episode>();
    this.#episodesByModel.set(episode.model, own);
    own.set(episode.id, episode);
    this.#episodes.set(episode.id, episode);
    const alike = [...own.values()].filter((other) => other.finishedAtMs !== null && (other.mode === 'dry_run') === (episode.mode === 'dry_run'));
    // Insertion order is the order of opening.
    for (const old of alike.slice(0, Math.max(0, alike.length - (episode.mode === 'dry_run' ? dryRunsAtHand : episodesAtHand)))) {
      own.delete(old.id);
      this.#episodes.delete(old.id);
    }
  }

  #setLedger(entry: LedgerEntry): void {
    let versions = this.#ledger.get(entry.model);
    if (versions === undefined) this.#ledger.set(entry.model, (versions = new Map()));
    versions.set(entry.version, entry);
  }

  #remember(plane: string, values: Readonly<Record<string, unknown>>): void {
    const known = this.#planes.get(plane) ?? {};
    const merged = Object.entries({ ...known, ...values }).filter(([, value]) => value !== null);
    this.#planes.set(plane, Object.fromEntries(merged));
  }
}

/** Key of a rule's memory about one version, as the journal's `rule_states` uses it. */
export function ruleStateKey(rule: string, version: string): string {
  return `${rule} ${version}`;
}

function sameVersion(a: { model: string; version: string }, b: { model: string; version: string }): boolean {
  return a.model === b.model && a.version === b.version;
}
