import { z } from 'zod';
import { KubernetesError } from './errors.ts';

const managedField = z.object({
  manager: z.string().optional(),
  operation: z.string().optional(),
  subresource: z.string().optional(),
  time: z.string().optional(),
  fieldsV1: z.record(z.string(), z.unknown()).optional(),
});

const ownerReference = z.object({ apiVersion: z.string(), kind: z.string(), name: z.string(), uid: z.string(), controller: z.boolean().optional() });

/** `metadata` of a stored object, as far as it is used. */
export const objectMeta = z.object({
  name: z.string().min(1),
  namespace: z.string().optional(),
  uid: z.string().min(1),
  resourceVersion: z.string(),
  /** Moves with the spec; Services have none. */
  generation: z.number().optional(),
  creationTimestamp: z.string().optional(),
  deletionTimestamp: z.string().optional(),
  labels: z.record(z.string(), z.string()).optional(),
  annotations: z.record(z.string(), z.string()).optional(),
  ownerReferences: z.array(ownerReference).optional(),
  managedFields: z.array(managedField).optional(),
});

/** A stored object: its metadata checked, everything else as the server gave it. A plane parses what it uses of it with a schema of its own. */
export const kubernetesObject = z.looseObject({ metadata: objectMeta });
export type KubernetesObject = z.output<typeof kubernetesObject>;

export const kubernetesList = z.object({
  metadata: z.object({ resourceVersion: z.string().optional(), continue: z.string().optional() }).default({}),
  items: z.array(kubernetesObject).nullish(),
});

/** `Status`, what the server answers instead of an object when something failed. */
export const statusObject = z.object({
  kind: z.literal('Status'),
  message: z.string().optional(),
  reason: z.string().optional(),
  code: z.number().optional(),
  details: z.object({ retryAfterSeconds: z.number().optional() }).optional(),
});

/** What a resource is called in paths: `{ group: 'apps', version: 'v1', resource: 'deployments' }`; the core group is ''. */
export type Resource = { readonly group: string; readonly version: string; readonly resource: string };

/**
 * Path of a resource, or of one object of it, in a namespace.
 * @throws {KubernetesError} permanent, for names that would lead elsewhere: custom resources may name anything
 */
export function resourcePath({ group, version, resource }: Resource, namespace: string, name?: string, subresource?: string): string {
  const api = group === '' ? `/api/${version}` : `/apis/${encodeURIComponent(group)}/${version}`;
  const object = name === undefined ? '' : `/${segmentOf(name)}`;
  return `${api}/namespaces/${segmentOf(namespace)}/${resource}${object}${subresource === undefined ? '' : `/${subresource}`}`;
}

/** Dots alone climb the path, and nothing asks for all; half a character has no encoding. */
function segmentOf(name: string): string {
  if (name === '' || name === '.' || name === '..' || !name.isWellFormed())
    throw new KubernetesError('permanent', `kubernetes: found ${JSON.stringify(name)}, expected the name of an object or a namespace`);
  return encodeURIComponent(name);
}
