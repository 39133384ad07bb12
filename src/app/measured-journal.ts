import { type Clock, type Journal, JournalError } from '../domain/ports.ts';
import type { Metrics } from '../telemetry/metrics.ts';

/** The same journal, with each append counted and timed; `onFenced` learns at once that another process writes it now. */
export function measuredJournal(journal: Journal, metrics: Metrics, clock: Clock, onFenced: () => void = () => undefined): Journal {
  const watched = async <T>(call: () => Promise<T>): Promise<T> => {
    try {
      return await call();
    } catch (error) {
      if (error instanceof JournalError && error.isFenced) onFenced();
      throw error;
    }
  };
  const append: Journal['append'] = async (events) => {
    const startedMs = clock.nowMs();
    let isWritten = false;
    try {
      const stored = await watched(async () => await journal.append(events));
      isWritten = true;
      return stored;
    } finally {
      metrics.journalWritten(clock.nowMs() - startedMs, isWritten);
    }
  };
  return {
    append,
    episodes: async (filter) => await journal.episodes(filter),
    episode: async (id) => await journal.episode(id),
    decisions: async (filter) => await journal.decisions(filter),
    ledger: async () => await journal.ledger(),
    quarantine: async () => await journal.quarantine(),
    pauses: async () => await journal.pauses(),
    ruleStates: async () => await journal.ruleStates(),
    planeMemory: async () => await journal.planeMemory(),
    outbox: async () => await journal.outbox(),
    events: async (afterSeq, limit) => await journal.events(afterSeq, limit),
    verify: async () => await journal.verify(),
    prune: async (beforeMs) => await journal.prune(beforeMs),
    removeEvents: async (beforeMs) => await journal.removeEvents(beforeMs),
    newestSeq: async () => await journal.newestSeq(),
    sizeBytes: async () => await journal.sizeBytes(),
    get epoch() {
      return journal.epoch;
    },
    takeEpoch: async () => await journal.takeEpoch(),
    confirmEpoch: async () => await watched(async () => await journal.confirmEpoch()),
    close: async () => await journal.close(),
  };
}
