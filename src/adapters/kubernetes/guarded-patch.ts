import type { JsonPatchOperation, KubernetesClient, Query } from './client.ts';
import { isStatus, KubernetesError } from './errors.ts';
import type { KubernetesObject } from './object.ts';

/** What we leave on an object in the patch that changes it: whose doing it was. */
export const marks = { opId: 'rollbackd.io/op-id', from: 'rollbackd.io/from', to: 'rollbackd.io/to' } as const;

/** JSON pointer of these segments (RFC 6901): `~` and `/` in them are escaped. */
export function pointer(...segments: readonly (string | number)[]): string {
  return segments.map((segment) => `/${String(segment).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
}

/**
 * Operations that set annotations (`null` takes one away) and lose none: the map is made first where there is none.
 * @param annotations of the object the patch is guarded by
 */
export function annotate(annotations: Readonly<Record<string, string>> | undefined, values: Readonly<Record<string, string | null>>): JsonPatchOperation[] {
  const operations: JsonPatchOperation[] = [];
  const present = new Map(Object.entries(annotations ?? {}));
  const entries = Object.entries(values).filter(([key, value]) => value !== null || present.has(key));
  if (annotations === undefined && entries.length > 0) operations.push({ op: 'add', path: pointer('metadata', 'annotations'), value: {} });
  for (const [key, value] of entries) {
    const path = pointer('metadata', 'annotations', key);
    operations.push(value === null ? { op: 'remove', path } : { op: 'add', path, value });
  }
  return operations;
}

/**
 * A JSON patch that is done only while the object is as it was read: same uid, and same generation (moves with the spec), or, by `resourceVersion`,
 * nothing at all written since (for objects without a generation, such as Services). After a 422 the object is read again: when it has moved
 * it was a lost race (class `conflict`), else the patch is wrong (class `permanent`).
 * @param read the object as it was read when the change was decided
 * @throws {KubernetesError}
 */
export async function guardedPatch(
  client: KubernetesClient,
  path: string,
  change: {
    readonly read: KubernetesObject;
    readonly by: 'generation' | 'resourceVersion';
    readonly operations: readonly JsonPatchOperation[];
    readonly query?: Query;
  },
  signal: AbortSignal,
): Promise<KubernetesObject> {
  const { uid, generation, resourceVersion } = change.read.metadata;
  const byGeneration = change.by === 'generation' && generation !== undefined;
  const guards: JsonPatchOperation[] = [
    { op: 'test', path: '/metadata/uid', value: uid },
    byGeneration
      ? { op: 'test', path: '/metadata/generation', value: generation }
      : // A replace, not a test: the server answers a clear 409 then.
        { op: 'replace', path: '/metadata/resourceVersion', value: resourceVersion },
  ];
  const query = change.query === undefined ? {} : { query: change.query };
  try {
    return await client.patch(path, { type: 'json', body: [...guards, ...change.operations], ...query }, signal);
  } catch (error) {
    if (!isStatus(error, 422)) throw error;
    const now = await client.find(path, signal);
    const hasMoved =
      now === null || now.metadata.uid !== uid || (byGeneration ? now.metadata.generation !== generation : now.metadata.resourceVersion !== resourceVersion);
    if (!hasMoved) throw error;
    throw new KubernetesError('conflict', `kubernetes: PATCH ${path}: the object ${now === null ? 'is gone' : 'was changed by someone else meanwhile'}`, {
      status: 422,
      reason: error.reason,
      cause: error,
    });
  }
}
