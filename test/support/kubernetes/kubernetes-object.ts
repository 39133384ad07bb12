/** Any JSON value. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
export type JsonMap = { [key: string]: unknown };

/** What all objects have; everything else is JSON. */
export type KubernetesObject = {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  spec?: JsonMap;
  status?: JsonMap;
  [field: string]: unknown;
};

export type ObjectMeta = {
  name: string;
  namespace?: string;
  generateName?: string;
  uid?: string;
  resourceVersion?: string;
  generation?: number;
  creationTimestamp?: string;
  deletionTimestamp?: string;
  deletionGracePeriodSeconds?: number;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  finalizers?: string[];
  ownerReferences?: OwnerReference[];
  managedFields?: ManagedFieldsEntry[];
  [field: string]: unknown;
};

export type OwnerReference = { apiVersion: string; kind: string; name: string; uid: string; controller?: boolean; blockOwnerDeletion?: boolean };

export type ManagedFieldsEntry = {
  manager: string;
  operation: 'Update' | 'Apply';
  apiVersion: string;
  time: string;
  fieldsType: 'FieldsV1';
  fieldsV1: JsonMap;
  subresource?: string;
};

export function isMap(value: unknown): value is JsonMap {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Whether all that is wished is there, whatever the server filled in beside it and in whatever order; lists have the same length. */
export function includes(present: unknown, wished: unknown): boolean {
  if (Array.isArray(wished)) return Array.isArray(present) && present.length === wished.length && wished.every((each, index) => includes(present[index], each));
  if (!isMap(wished)) return present === wished;
  return isMap(present) && Object.entries(wished).every(([key, value]) => includes(present[key], value));
}
