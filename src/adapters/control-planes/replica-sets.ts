import { z } from 'zod';
import { type KubernetesObject, objectMeta } from '../kubernetes/object.ts';
import { mutableImages, podTemplate, specHash, type VersionFrom, versionOf } from './pod-template.ts';

/** What planes whose versions are ReplicaSets read of them; the hash and the revision are named otherwise by each controller. */

export const replicaSetSchema = z.object({
  metadata: objectMeta,
  spec: z.object({ replicas: z.number().default(1), template: podTemplate }),
  status: z.object({ replicas: z.number().default(0), availableReplicas: z.number().default(0) }).prefault({}),
});
export type ReplicaSet = z.output<typeof replicaSetSchema>;

/** A condition of the controller that owns them. */
export const workloadCondition = z.object({
  type: z.string(),
  status: z.string(),
  reason: z.string().default(''),
  message: z.string().default(''),
  lastUpdateTime: z.string().default(''),
});

/** A ReplicaSet that can be gone back to, by what cannot change. */
export type Revision = {
  readonly version: string;
  readonly name: string;
  readonly uid: string;
  readonly hash: string;
  /** Of what runs; equal: going from one to the other changes nothing. */
  readonly spec: string;
  readonly mutableImages: readonly string[];
};

export function revisionIn({ metadata: { name, uid }, spec: { template } }: ReplicaSet, hash: string, from: VersionFrom): Revision {
  return { version: versionOf(template, from, hash), name, uid, hash, spec: specHash(template), mutableImages: mutableImages(template) };
}

/**
 * Of each version the newest, by name, so that the same history reads the same: a rollback renumbers it.
 * @param newestFirst all that are kept
 */
export function newestByName(newestFirst: readonly Revision[]): readonly Revision[] {
  return newestFirst
    .filter((revision, index) => newestFirst.findIndex(({ version }) => version === revision.version) === index)
    .toSorted((a, b) => a.name.localeCompare(b.name));
}

/** Those whose controller is the object of this uid: a selector may match others' too. */
export function controlledBy(items: readonly KubernetesObject[], uid: string | undefined): readonly KubernetesObject[] {
  return items.filter(({ metadata }) => metadata.ownerReferences?.some((owner) => owner.uid === uid && owner.controller === true));
}

/** What a step keeps of a revision. */
export const namedRevision = z.object({ version: z.string(), name: z.string(), uid: z.string(), hash: z.string() });

export function named({ version, name, uid, hash }: Revision): z.output<typeof namedRevision> {
  return { version, name, uid, hash };
}
