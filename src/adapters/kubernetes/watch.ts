import { z } from 'zod';
import type { Clock } from '../../domain/ports.ts';
import type { KubernetesClient, Query } from './client.ts';
import { isStatus, KubernetesError } from './errors.ts';
import { type KubernetesObject, kubernetesObject } from './object.ts';

/** `listed`: all there is, at the start and whenever the server had forgotten where we were; then single changes. */
export type WatchEvent =
  | { readonly kind: 'listed'; readonly items: readonly KubernetesObject[] }
  | { readonly kind: 'changed' | 'deleted'; readonly object: KubernetesObject };

const line = z.object({
  type: z.string(),
  object: z.looseObject({ metadata: z.looseObject({ resourceVersion: z.string().optional() }).optional(), code: z.number().optional() }),
});

/** The server ends a watch after this long, so that a connection that died unseen is noticed. */
const timeoutSeconds = '240';
const firstPauseMs = 500;
const maxPauseMs = 30_000;

/**
 * Lists, and then follows; a watch that ends is taken up where it was, one that is too old (410) starts with a new list. Ends with the signal.
 * With `resourceNames` in the role, give `fieldSelector: metadata.name=NAME`: the server allows no other list and watch then.
 * @throws {KubernetesError} auth or permanent; whatever may pass is waited for
 */
export async function* watchObjects(client: KubernetesClient, path: string, query: Query, clock: Clock, signal: AbortSignal): AsyncGenerator<WatchEvent> {
  let resourceVersion: string | null = null;
  let pauseMs = firstPauseMs;
  while (!signal.aborted) {
    try {
      if (resourceVersion === null) {
        const list = await client.list(path, query, signal);
        resourceVersion = list.resourceVersion;
        yield { kind: 'listed', items: list.items };
      }
      const asked: Query = { ...query, resourceVersion, timeoutSeconds, allowWatchBookmarks: 'true' };
      for await (const text of client.watchLines(path, asked, signal)) {
        const { type, object } = parseLine(text, path);
        if (type === 'ERROR') {
          // With HTTP 200: what went wrong stands in the object.
          if (object.code !== 410) throw new KubernetesError('transient', `kubernetes: watch ${path}: ended with code ${object.code ?? 'unknown'}`);
          resourceVersion = null;
          break;
        }
        resourceVersion = object.metadata?.resourceVersion ?? resourceVersion;
        pauseMs = firstPauseMs;
        if (type !== 'BOOKMARK') yield { kind: type === 'DELETED' ? 'deleted' : 'changed', object: kubernetesObject.parse(object) };
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof KubernetesError) || error.class === 'auth' || error.class === 'permanent') throw error;
      if (isStatus(error, 410)) resourceVersion = null;
      await clock.sleep(Math.max(pauseMs, error.retryAfterMs ?? 0), signal).catch(() => undefined);
      pauseMs = Math.min(pauseMs * 2, maxPauseMs);
    }
  }
}

function parseLine(text: string, path: string): z.output<typeof line> {
  try {
    return line.parse(JSON.parse(text));
  } catch {
    throw new KubernetesError('transient', `kubernetes: watch ${path}: a line is no event`);
  }
}
