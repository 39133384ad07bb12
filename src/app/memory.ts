import type { Decision } from '../domain/decision.ts';
import type { Episode } from '../domain/episode.ts';
import type { JournalEvent } from '../domain/event.ts';
import type { Journal } from '../domain/ports.ts';
import type { LedgerEntry, Pause, QuarantineEntry } from '../domain/records.ts';
import type { RuleState } from '../domain/verdict.ts';

/** Episodes kept at hand per model: enough for every cooldown and budget window. */
const episodesAtHand = 200;

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
  readonly #planes = new Map<string, Record<string, unknown>>();
  readonly #episodes = new Map<string, Episode>();
  readonly #listeners = new Set<(events: readonly JournalEvent[]) => void>();

  private constructor(journal: Journal) {
    this.#journal = journal;
  }

  static async load(journal: Journal): Promise<Memory> {
    const memory = new Memory(journal);
    memory.#pauses = [...(await journal.pauses())];
    memory.#quarantine = [...(await journal.quarantine())];
    for (const entry of await journal.ledger()) memory.#setLedger(entry);
    for (const [key, state] of await journal.ruleStates()) memory.#ruleStates.set(key, state);
    for (const [plane, values] of await journal.planeMemory()) memory.#planes.set(plane, { ...values });
    const recent = await journal.episodes({ limit: episodesAtHand });
    const open = await journal.episodes({ open: true, limit: 10_000 });
    for (const episode of [...recent, ...open]) memory.#episodes.set(episode.id, episode);
    return memory;
  }

  get journal(): Journal {
    return this.#journal;
  }

  /** Durable first, then visible. */
  async append(events: readonly JournalEvent[]): Promise<void> {
    if (events.length === 0) return;
    await this.#journal.append(events);
    const touched = new Set<string>();
    for (const event of events) this.#fold(event, touched);
    for (const id of touched) {
      const episode = await this.#journal.episode(id);
      if (episode !== null) this.#episodes.set(id, episode);
    }
    for (const listener of this.#listeners) listener(events);
  }

  /** Called after each append with what became true. */
  onAppend(listener: (events: readonly JournalEvent[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
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

  planeMemory(plane: string): Readonly<Record<string, unknown>> {
    return this.#planes.get(plane) ?? {};
  }

  episode(id: string): Episode | null {
    return this.#episodes.get(id) ?? null;
  }

  /** Newest first. */
  episodes(model?: string): readonly Episode[] {
    const all = [...this.#episodes.values()].filter((episode) => model === undefined || episode.model === model);
    return all.toSorted((a, b) => b.detectedAtMs - a.detectedAtMs);
  }

  openEpisodes(): readonly Episode[] {
    return this.episodes().filter((episode) => episode.finishedAtMs === null);
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
      case 'ledger':
        for (const entry of event.entries) this.#setLedger(entry);
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
          if (state === null) this.#ruleStates.delete(key);
          else this.#ruleStates.set(key, state);
        }
        return;
      case 'decision':
      case 'message_enqueued':
      case 'message_attempt':
        return;
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
