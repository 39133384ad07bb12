import { type Clock, type Journal, JournalError } from '../domain/ports.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { HealthBoard } from './health-board.ts';

type Watch = {
  readonly metrics: Metrics;
  readonly health: HealthBoard;
  readonly clock: Clock;
  /** Learns at once that another process writes the journal now. */
  readonly onFenced?: () => void;
};

/** The same journal, with each append counted and timed, and the board told of what works and what does not. */
export function measuredJournal(journal: Journal, { metrics, health, clock, onFenced }: Watch): Journal {
  /** What is read well while nothing can be written (a full disk) must not hide that. */
  const watched = async <T>(voice: 'read' | 'write', call: () => Promise<T>): Promise<T> => {
    try {
      const result = await call();
      health.told({ kind: 'journal' }, null, voice);
      return result;
    } catch (error) {
      // Another process writes now: the journal itself is well.
      if (error instanceof JournalError && error.isFenced) onFenced?.();
      else health.told({ kind: 'journal' }, error instanceof Error ? error.message : String(error), voice);
      throw error;
    }
  };
  const append: Journal['append'] = async (events) => {
    const startedMs = clock.nowMs();
    let isWritten = false;
    try {
      const stored = await watched('write', async () => await journal.append(events));
      isWritten = true;
      return stored;
    } finally {
      metrics.journalWritten(clock.nowMs() - startedMs, isWritten);
    }
  };
  const read = async <T>(call: () => Promise<T>): Promise<T> => await watched('read', call);
  return {
    append,
    episodes: async (filter) => await read(async () => await journal.episodes(filter)),
    episode: async (id) => await read(async () => await journal.episode(id)),
    decisions: async (filter) => await read(async () => await journal.decisions(filter)),
    ledger: async () => await read(async () => await journal.ledger()),
    quarantine: async () => await read(async () => await journal.quarantine()),
    pauses: async () => await read(async () => await journal.pauses()),
    ruleStates: async () => await read(async () => await journal.ruleStates()),
    planeMemory: async () => await read(async () => await journal.planeMemory()),
    outbox: async () => await read(async () => await journal.outbox()),
    events: async (afterSeq, limit) => await read(async () => await journal.events(afterSeq, limit)),
    verify: async () => await read(async () => await journal.verify()),
    prune: async (beforeMs) => await watched('write', async () => await journal.prune(beforeMs)),
    removeEvents: async (beforeMs) => await watched('write', async () => await journal.removeEvents(beforeMs)),
    newestSeq: async () => await read(async () => await journal.newestSeq()),
    sizeBytes: async () => await read(async () => await journal.sizeBytes()),
    get epoch() {
      return journal.epoch;
    },
    takeEpoch: async () => await watched('write', async () => await journal.takeEpoch()),
    confirmEpoch: async () => await read(async () => await journal.confirmEpoch()),
    close: async () => await journal.close(),
  };
}
