import type { Clock, Journal } from '../domain/ports.ts';
import type { Metrics } from '../telemetry/metrics.ts';

/** The same journal, with each append counted and timed. */
export function measuredJournal(journal: Journal, metrics: Metrics, clock: Clock): Journal {
  const append: Journal['append'] = async (events) => {
    const startedMs = clock.nowMs();
    let isWritten = false;
    try {
      const stored = await journal.append(events);
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
    sizeBytes: async () => await journal.sizeBytes(),
    get epoch() {
      return journal.epoch;
    },
    takeEpoch: async () => await journal.takeEpoch(),
    confirmEpoch: async () => await journal.confirmEpoch(),
    close: async () => await journal.close(),
  };
}
