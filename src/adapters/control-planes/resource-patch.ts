import type { z } from 'zod';
import { PlaneError } from '../../domain/ports.ts';
import type { ApplyOutcome } from '../../domain/step.ts';
import type { JsonPatchOperation, KubernetesClient } from '../kubernetes/client.ts';
import { isStatus, KubernetesError, outcomeOf } from '../kubernetes/errors.ts';
import type { KubernetesObject, Resource } from '../kubernetes/object.ts';

/** What a plane makes of an object as it now stands. */
export type PatchDecision =
  | { readonly kind: 'already' | 'conflict' | 'impossible'; readonly detail: string }
  | {
      readonly kind: 'patch';
      readonly operations: readonly JsonPatchOperation[];
      readonly annotations: Readonly<Record<string, string>>;
      readonly detail: string;
    };

/** Who writes, for the annotations that say so. */
export type Writer = { readonly opId: string; readonly from: string; readonly to: string };

/**
 * Reads the object, lets the plane decide, and patches it if uid and generation are still those just read: two processes with the same intent give one
 * patch. Never throws for an answer of the server.
 */
export async function patchResource(
  client: KubernetesClient,
  pathOf: () => Promise<string>,
  signal: AbortSignal,
  decide: (object: KubernetesObject) => PatchDecision,
): Promise<ApplyOutcome> {
  let path: string;
  let object: KubernetesObject;
  try {
    signal.throwIfAborted();
    path = await pathOf();
    object = await client.get(path, signal);
  } catch (error) {
    return notSent(error, signal);
  }
  const decision = decide(object);
  switch (decision.kind) {
    case 'already':
      return { kind: 'already', detail: decision.detail };
    case 'conflict':
      return { kind: 'conflict', class: 'conflict', detail: decision.detail };
    case 'impossible':
      return { kind: 'rejected', class: 'permanent', detail: decision.detail };
    case 'patch':
      return await send(client, path, object, decision, signal);
  }
}

async function send(
  client: KubernetesClient,
  path: string,
  object: KubernetesObject,
  decision: Extract<PatchDecision, { kind: 'patch' }>,
  signal: AbortSignal,
): Promise<ApplyOutcome> {
  const { uid, generation } = object.metadata;
  const guards: JsonPatchOperation[] = [
    { op: 'test', path: '/metadata/uid', value: uid },
    { op: 'test', path: '/metadata/generation', value: generation },
  ];
  try {
    await client.patch(path, { type: 'json', body: [...guards, ...decision.operations, ...annotate(object, decision.annotations)] }, signal);
    return { kind: 'applied', detail: decision.detail };
  } catch (error) {
    if (isStatus(error, 422) && (await hasMoved(client, path, object, signal)))
      return { kind: 'conflict', class: 'conflict', detail: `${path} was changed by somebody else between reading and writing it` };
    return outcomeOf(error, decision.detail);
  }
}

/** A 422 is a failed `test` or a patch the server does not like: the object tells which. */
async function hasMoved(client: KubernetesClient, path: string, before: KubernetesObject, signal: AbortSignal): Promise<boolean> {
  try {
    const { metadata } = await client.get(path, signal);
    return metadata.uid !== before.metadata.uid || metadata.generation !== before.metadata.generation;
  } catch {
    return false;
  }
}

function notSent(error: unknown, signal: AbortSignal): ApplyOutcome {
  if (signal.aborted) return { kind: 'rejected', class: 'transient', detail: 'aborted before anything was sent' };
  if (!(error instanceof KubernetesError)) throw error;
  // Nothing was written: an unanswered reading may simply be tried again.
  const errorClass = error.class === 'indeterminate' ? 'transient' : error.class;
  return errorClass === 'conflict'
    ? { kind: 'conflict', class: 'conflict', detail: error.message }
    : { kind: 'rejected', class: errorClass, detail: error.message };
}

/** Annotations do not move the generation of a custom resource, so they may go along. An empty value takes the annotation away. */
function annotate(object: KubernetesObject, annotations: Readonly<Record<string, string>>): JsonPatchOperation[] {
  const present = object.metadata.annotations;
  const written = Object.entries(annotations).filter(([, value]) => value !== '');
  if (present === undefined) return written.length === 0 ? [] : [{ op: 'add', path: '/metadata/annotations', value: Object.fromEntries(written) }];
  return Object.entries(annotations).flatMap(([key, value]): JsonPatchOperation[] => {
    const path = `/metadata/annotations/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`;
    if (value !== '') return [{ op: 'add', path, value }];
    return Object.hasOwn(present, key) ? [{ op: 'remove', path }] : [];
  });
}

/**
 * The fields of an object that a plane uses.
 * @throws {PlaneError} permanent, when the object is not of the shape its API promises
 */
export function readObject<T>(schema: z.ZodType<T>, object: KubernetesObject, kind: string): T {
  const parsed = schema.safeParse(object);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new PlaneError('permanent', `${kind} ${object.metadata.name}: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'not understood'}`);
}

/** Why rollbackd may not patch a resource, or nothing. */
export async function missingRight(
  client: KubernetesClient,
  resource: Resource,
  namespace: string,
  name: string,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const { allowed, reason } = await client.selfSubjectAccessReview(
    { verb: 'patch', group: resource.group, resource: resource.resource, namespace, name },
    signal,
  );
  if (allowed) return [];
  return [
    `rollbackd may not patch ${resource.resource} ${namespace}/${name}${reason === '' ? '' : ` (${reason})`}; grant the role in the README of this control plane`,
  ];
}

/** What every write says of itself, in the same patch. */
export function signed({ opId, from, to }: Writer): Readonly<Record<string, string>> {
  return { 'rollbackd.io/op-id': opId, 'rollbackd.io/from': from, 'rollbackd.io/to': to };
}
