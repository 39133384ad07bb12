import { setTimeout as sleep } from 'node:timers/promises';

/** Not there yet: what {@link until} asks again for. */
export type Nothing = null | undefined | false;

/** Thrown when something did not come in time. */
export class NeverCameError extends Error {
  override readonly name = 'NeverCameError';
}

/**
 * Looks again and again until there is something; a look that throws counts as nothing.
 * @param what completes the sentence «waited for …»
 * @param options.withinMs default 30 s; `options.everyMs` default 150 ms; `options.seen` tells more when it did not come
 * @throws {NeverCameError} with the last failure as its cause
 */
export async function until<Found>(
  what: string,
  look: () => Promise<Found | Nothing> | Found | Nothing,
  options: { withinMs?: number; everyMs?: number; seen?: () => string | Promise<string> } = {},
): Promise<Found> {
  const { withinMs = 30_000, everyMs = 150 } = options;
  const deadlineMs = performance.now() + withinMs;
  for (;;) {
    let failure: unknown;
    try {
      const found = await look();
      if (found !== null && found !== undefined && found !== false) return found;
    } catch (error) {
      failure = error;
    }
    if (performance.now() > deadlineMs) {
      const seen = await Promise.resolve(options.seen?.()).catch(() => '');
      throw new NeverCameError(`waited ${withinMs} ms for ${what}${seen === undefined || seen === '' ? '' : `\n${seen}`}`, { cause: failure });
    }
    await sleep(everyMs);
  }
}
