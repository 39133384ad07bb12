import { z } from 'zod';
import type { Observation } from '../../domain/observation.ts';
import { PlaneError } from '../../domain/ports.ts';
import type { ApplyOutcome } from '../../domain/step.ts';
import type { JsonPatchOperation, KubernetesClient } from '../kubernetes/client.ts';
import { KubernetesError, outcomeOf } from '../kubernetes/errors.ts';
import { annotate, guardedPatch, marks } from '../kubernetes/guarded-patch.ts';
import type { KubernetesObject, Resource } from '../kubernetes/object.ts';
import { judgeOwners } from '../kubernetes/owners.ts';

/** What a plane makes of an object as it now stands. */
export type PatchDecision =
  | { readonly kind: 'already' | 'conflict' | 'impossible'; readonly detail: string }
  | {
      readonly kind: 'patch';
      readonly operations: readonly JsonPatchOperation[];
      readonly annotations: Readonly<Record<string, string | null>>;
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
  const operations = [...decision.operations, ...annotate(object.metadata.annotations, decision.annotations)];
  try {
    await guardedPatch(client, path, { read: object, by: 'generation', operations }, signal);
    return { kind: 'applied', detail: decision.detail };
  } catch (error) {
    return outcomeOf(error, decision.detail);
  }
}

function notSent(error: unknown, signal: AbortSignal): ApplyOutcome {
  if (signal.aborted) return { kind: 'rejected', class: 'transient', detail: 'aborted before anything was sent' };
  if (!(error instanceof KubernetesError)) throw error;
  return outcomeOf(error);
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

/** Key of the planes of custom resources: what to do where a GitOps tool keeps the resource as git has it. It cannot be paused from the resource alone. */
export const gitopsPolicy = z.enum(['refuse', 'alert'], { error: 'expected refuse or alert' }).default('refuse').meta({
  description:
    'Where Argo CD or Flux keeps the resource as git has it: refuse, or alert (act; the tool may take it back, which the stick watch sees). Default: refuse.',
});
export type GitopsPolicy = z.output<typeof gitopsPolicy>;

/** Why changing the resource would not last or would be another controller's work, and what to tell people where it is changed all the same. */
export function judgeResourceOwners(object: KubernetesObject, policy: GitopsPolicy, what: string): Required<Pick<Observation, 'refusals' | 'notes'>> {
  const { refusals, notes } = judgeOwners(object.metadata, policy, what);
  return { refusals, notes };
}

/** Why rollbackd may not patch a resource, or nothing. */
export async function missingRight(
  client: KubernetesClient,
  resource: Resource & { readonly subresource?: string },
  namespace: string,
  name: string,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const { group, resource: plural, subresource } = resource;
  const { allowed, reason } = await client.selfSubjectAccessReview(
    { verb: 'patch', group, resource: plural, ...(subresource === undefined ? {} : { subresource }), namespace, name },
    signal,
  );
  if (allowed) return [];
  return [
    `rollbackd may not patch ${plural}${subresource === undefined ? '' : `/${subresource}`} ${namespace}/${name}${reason === '' ? '' : ` (${reason})`}; grant the role in the README of this control plane`,
  ];
}

/** What every write says of itself, in the same patch. */
export function signed({ opId, from, to }: Writer): Readonly<Record<string, string>> {
  return { [marks.opId]: opId, [marks.from]: from, [marks.to]: to };
}
