import type { EndpointObservation, Observation, Share, VersionObservation } from '../../../domain/observation.ts';
import type { GitOpsState } from '../../kubernetes/gitops-state.ts';
import { originOf } from '../../kubernetes/origin.ts';
import { type VersionFrom, versionOf } from '../pod-template.ts';
import { newestByName, type ReplicaSet, type Revision, revisionIn } from '../replica-sets.ts';
import { type Deployment, hashOf, isSameTemplate, revisionOf } from './objects.ts';

/** `EndpointObservation.config` of this plane. */
export type DeploymentTruth = {
  readonly namespace: string;
  readonly deployment: string;
  readonly uid: string;
  readonly paused: boolean;
  readonly strategy: string;
  readonly history_limit: number;
  /** Hash of the ReplicaSet whose template the Deployment asks for; `null` while there is none yet. */
  readonly current: string | null;
  /** Newest first; of several ReplicaSets with one version the newest is meant. */
  readonly revisions: readonly Revision[];
  readonly gitops: GitOpsState;
};

/** `Observation.token` of this plane, as JSON: what `check` needs and what moves without a change of the configuration. */
export type Progress = {
  readonly uid: string;
  readonly generation: number;
  readonly observed: number;
  readonly replicas: { readonly wanted: number; readonly all: number; readonly updated: number; readonly available: number };
  readonly deadline: { readonly exceeded: boolean; readonly at: string; readonly message: string };
  /** Why pods cannot be made (quota, admission); '' while they can. */
  readonly failure: string;
  readonly writer: string | null;
};

export function truthOf(endpoint: EndpointObservation): DeploymentTruth {
  return endpoint.config as DeploymentTruth;
}

export function progressOf(observation: Observation): Progress {
  return JSON.parse(observation.token ?? '{}') as Progress;
}

export type Read = {
  readonly namespace: string;
  readonly deployment: Deployment;
  readonly sets: readonly ReplicaSet[];
  readonly versionFrom: VersionFrom;
  readonly gitops: GitOpsState;
  readonly writer: string | null;
};

/** One observation from a Deployment and the ReplicaSets it owns. */
export function observationOf(atMs: number, read: Read, written: Pick<EndpointObservation, 'writer'>): Observation {
  const { namespace, deployment, gitops } = read;
  const sets = read.sets.toSorted((a, b) => revisionOf(b) - revisionOf(a));
  const revisions = sets.map((set) => revisionIn(set, hashOf(set), read.versionFrom));
  const versionBy = new Map(revisions.map(({ uid, version }) => [uid, version]));
  const current = sets.filter((set) => isSameTemplate(set.spec.template, deployment.spec.template)).at(-1);
  const serving = sharesOf(sets, versionBy);
  const config: DeploymentTruth = {
    namespace,
    deployment: deployment.metadata.name,
    uid: deployment.metadata.uid,
    paused: deployment.spec.paused,
    strategy: deployment.spec.strategy.type,
    history_limit: deployment.spec.revisionHistoryLimit,
    current: current === undefined ? null : hashOf(current),
    revisions: newestByName(revisions),
    gitops,
  };
  const progress = progressIn(read);
  const versions = statesOf(sets, versionBy, current, progress);
  const endpoint: EndpointObservation = { endpoint: `${namespace}/${deployment.metadata.name}`, versions, serving, routes: {}, config, ...written };
  return { atMs, endpoints: [endpoint], versions, serving, token: JSON.stringify(progress), pinned: gitops.paused.length > 0, refusals: [] };
}

/** Pages about each version, of the newest ReplicaSet with it: its pods' annotations before its own. */
export function originsOf({ sets, versionFrom }: Pick<Read, 'sets' | 'versionFrom'>): ReadonlyMap<string, Readonly<Record<string, string>>> {
  const oldestFirst = sets.toSorted((a, b) => revisionOf(a) - revisionOf(b));
  return new Map(
    oldestFirst.map((set) => {
      const { template } = set.spec;
      return [versionOf(template, versionFrom, hashOf(set)), originOf(template.metadata?.annotations, set.metadata.annotations)];
    }),
  );
}

function sharesOf(sets: readonly ReplicaSet[], versionBy: ReadonlyMap<string, string>): Share[] {
  const available = new Map<string, number>();
  for (const set of sets) {
    const version = versionBy.get(set.metadata.uid) as string;
    if (set.status.availableReplicas > 0) available.set(version, (available.get(version) ?? 0) + set.status.availableReplicas);
  }
  const all = [...available.values()].reduce((sum, count) => sum + count, 0);
  return [...available].map(([version, count]) => ({ version, share: count / all }));
}

function statesOf(
  sets: readonly ReplicaSet[],
  versionBy: ReadonlyMap<string, string>,
  current: ReplicaSet | undefined,
  progress: Progress,
): VersionObservation[] {
  const states = new Map<string, VersionObservation>();
  for (const set of sets) {
    const id = versionBy.get(set.metadata.uid) as string;
    const isCurrent = set.metadata.uid === current?.metadata.uid;
    const state = ((): VersionObservation => {
      if (set.status.availableReplicas > 0) return { id, state: 'available' };
      if (set.spec.replicas === 0) return { id, state: set.status.replicas > 0 ? 'draining' : 'unloaded' };
      if (isCurrent && progress.observed >= progress.generation && progress.deadline.exceeded)
        return { id, state: 'failed', detail: progress.deadline.message };
      return { id, state: 'loading' };
    })();
    // Of several ReplicaSets with one version: any that serves, else the newest.
    const known = states.get(id);
    if (known === undefined || (known.state !== 'available' && state.state === 'available')) states.set(id, state);
  }
  return [...states.values()].toSorted((a, b) => a.id.localeCompare(b.id));
}

function progressIn({ deployment: { metadata, spec, status }, writer }: Read): Progress {
  const find = (type: string) => status.conditions.find((condition) => condition.type === type);
  const progressing = find('Progressing');
  const failure = find('ReplicaFailure');
  return {
    uid: metadata.uid,
    generation: metadata.generation ?? 0,
    observed: status.observedGeneration,
    replicas: { wanted: spec.replicas, all: status.replicas, updated: status.updatedReplicas, available: status.availableReplicas },
    deadline: {
      exceeded: progressing?.reason === 'ProgressDeadlineExceeded',
      at: progressing?.lastUpdateTime ?? '',
      message: progressing?.message ?? '',
    },
    failure: failure?.status === 'True' ? failure.message : '',
    writer,
  };
}
