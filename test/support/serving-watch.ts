import { setTimeout as sleep } from 'node:timers/promises';
import type { ServingClient } from './serving-client.ts';

/** What clients were served over time. */
export type ServingWatch = {
  /** Per server the versions that answered, each change once: `['2', '1']`. Samples without an answer say nothing. */
  readonly history: () => readonly (readonly string[])[];
  readonly stop: () => Promise<void>;
};

/** Asks every server again and again which version answers a client who names none. */
export function watchServing(clients: readonly ServingClient[], model: string, everyMs = 150): ServingWatch {
  const stopping = new AbortController();
  const histories = clients.map((): string[] => []);
  const watching = clients.map(async (client, index) => {
    const history = histories[index] as string[];
    while (!stopping.signal.aborted) {
      const version = await client.metadataVersion(model, { timeoutMs: 500 }).catch(() => null);
      if (version !== null && history.at(-1) !== version) history.push(version);
      await sleep(everyMs, undefined, { signal: stopping.signal }).catch(() => undefined);
    }
  });
  return {
    history: () => histories,
    stop: async () => {
      stopping.abort();
      await Promise.all(watching);
    },
  };
}
