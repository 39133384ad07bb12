import type { EndpointObservation, Observation, Share, VersionObservation } from '../../../domain/observation.ts';
import type { VersionFrom } from '../pod-template.ts';
import { newestByName, type ReplicaSet, type Revision, revisionIn } from '../replica-sets.ts';
import type { Holder } from './mutation.ts';
import { hashOf, isObserved, type Rollout, revisionOf, type Workload } from './objects.ts';
import { hashByTemplate } from './template.ts';

/** `EndpointObservation.config` of this plane. */
export type RolloutTruth = {
  readonly namespace: string;
  readonly rollout: string;
  readonly uid: string;
  readonly strategy: 'canary' | 'blueGreen';
  /** Weights of a proxy split the traffic of a canary; else the number of pods does. */
  readonly routed: boolean;
  /** The stable pods become fewer as the canary gets more traffic. */
  readonly dynamic: boolean;
  readonly paused: boolean;
  /** Where the template stands; a reason, where that is nothing that could be written. */
  readonly holder: Holder | string;
  readonly history_limit: number;
  /** Hash of the ReplicaSet that the template asks for; `null` while the controller has not looked at it. */
  readonly asked: string | null;
  /** Hash of the ReplicaSet that was promoted last; `null` before the first. */
  readonly stable: string | null;
  /** Of each version the newest, by name, so that the same history reads the same: a rollback renumbers it. */
  readonly revisions: readonly Revision[];
  /** Why the template must not be written (GitOps); an abort writes the status only, which nobody takes back. */
  readonly kept: readonly string[];
};

/** `Observation.token` of this plane, as JSON: what moves without a change of the template. */
export type Progress = {
  readonly uid: string;
  /** The controller has looked at the spec as it now stands. */
  readonly observed: boolean;
  readonly generation: number;
  readonly wanted: number;
  /** `status.currentPodHash`: what the controller works on. */
  readonly current: string;
  readonly stable: string;
  readonly step: { readonly index: number | null; readonly count: number };
  readonly pauses: readonly string[];
  readonly abort: boolean;
  /** The controller has acted on the abort. */
  readonly aborted: boolean;
  readonly promote_full: boolean;
  /** The proxy was asked whether the weights are in force, and they are not yet. */
  readonly unverified: boolean;
  /** The controller drops an abort: the rollout under way goes back within `rollbackWindow`. */
  readonly abort_is_dropped: boolean;
  readonly deadline: { readonly exceeded: boolean; readonly at: string; readonly message: string };
  /** Why pods cannot be made, or the spec is not valid; '' while all is well. */
  readonly failure: string;
  readonly invalid: string;
  readonly message: string;
  readonly writer: string | null;
  /** Pods by hash. */
  readonly pods: Readonly<Record<string, { readonly wanted: number; readonly all: number; readonly available: number }>>;
};

export function truthOf(endpoint: EndpointObservation): RolloutTruth {
  return endpoint.config as RolloutTruth;
}

export function progressOf(observation: Observation): Progress {
  return JSON.parse(observation.token ?? '{}') as Progress;
}

export type Read = {
  readonly namespace: string;
  readonly rollout: Rollout;
  /** What spec.workloadRef names, `null` without one, or why it cannot be used. */
  readonly workload: Workload | string | null;
  readonly sets: readonly ReplicaSet[];
  readonly versionFrom: VersionFrom;
  readonly kept: readonly string[];
  /** Who wrote the template last. */
  readonly writer: string | null;
};

/** One observation from a Rollout and the ReplicaSets it owns. */
export function observationOf(atMs: number, read: Read, written: Pick<EndpointObservation, 'writer'>): Observation {
  const { namespace, rollout } = read;
  const { metadata, spec } = rollout;
  const sets = read.sets.toSorted((a, b) => revisionOf(b) - revisionOf(a));
  const revisions = sets.map((set) => revisionIn(set, hashOf(set), read.versionFrom));
  const versionBy = new Map(revisions.map(({ hash, version }) => [hash, version]));
  const config: RolloutTruth = {
    namespace,
    rollout: metadata.name,
    uid: metadata.uid,
    strategy: spec.strategy.blueGreen == null ? 'canary' : 'blueGreen',
    routed: spec.strategy.canary?.trafficRouting != null,
    dynamic: spec.strategy.canary?.dynamicStableScale ?? false,
    paused: spec.paused,
    holder: holderOf(read.workload),
    history_limit: spec.revisionHistoryLimit,
    asked: askedHash(rollout, read.workload, sets),
    stable: rollout.status.stableRS === '' ? null : rollout.status.stableRS,
    revisions: newestByName(revisions),
    kept: read.kept,
  };
  const progress = progressIn(read, sets);
  const versions = statesOf(sets, versionBy, progress);
  const serving = sharesOf(rollout, sets, versionBy);
  const endpoint: EndpointObservation = { endpoint: `${namespace}/${metadata.name}`, versions, serving, routes: {}, config, ...written };
  return { atMs, endpoints: [endpoint], versions, serving, token: JSON.stringify(progress), pinned: false, refusals: [] };
}

/**
 * Hash of the ReplicaSet that the template asks for. First by its words, since the status may be older than the template, and was in some releases
 * marked as seen before it was; then by the status, once it is of this spec.
 * @returns `null` while nobody knows
 */
export function askedHash(rollout: Rollout, workload: Workload | string | null, sets: readonly ReplicaSet[]): string | null {
  const { currentPodHash } = rollout.status;
  if (typeof workload === 'string') return currentPodHash === '' ? null : currentPodHash;
  const byWords = hashByTemplate(workload === null ? rollout.spec.template : workload.spec.template, sets, currentPodHash);
  if (byWords !== null) return byWords;
  return isObserved(rollout, workload) && sets.some((set) => hashOf(set) === currentPodHash) ? currentPodHash : null;
}

function holderOf(workload: Workload | string | null): RolloutTruth['holder'] {
  if (typeof workload === 'string') return workload;
  return workload === null ? { kind: 'rollout' } : { kind: 'deployment', name: workload.metadata.name, uid: workload.metadata.uid };
}

/** By the weights of the proxy, the active Service, or the pods: whichever moves the traffic of this strategy. */
function sharesOf({ spec, status }: Rollout, sets: readonly ReplicaSet[], versionBy: ReadonlyMap<string, string>): Share[] {
  const isUp = (hash: string): boolean => sets.some((set) => hashOf(set) === hash && set.status.availableReplicas > 0);
  const alone = (hash: string): [string, number][] => (isUp(hash) ? [[hash, 1]] : []);
  const parts = ((): [string, number][] => {
    if (spec.strategy.blueGreen != null) return alone(status.blueGreen.activeSelector);
    if (spec.strategy.canary?.trafficRouting == null) return sets.map((set) => [hashOf(set), set.status.availableReplicas]);
    const { weights } = status.canary;
    if (weights == null) return alone(status.stableRS);
    return [weights.canary, weights.stable, ...(weights.additional ?? [])].map(({ podTemplateHash, weight }) => [podTemplateHash, weight]);
  })();
  const byVersion = new Map<string, number>();
  for (const [hash, part] of parts) {
    // An experiment's pods are of no ReplicaSet of the Rollout.
    const version = versionBy.get(hash) ?? (hash === '' ? 'unknown' : hash);
    if (part > 0) byVersion.set(version, (byVersion.get(version) ?? 0) + part);
  }
  const all = [...byVersion.values()].reduce((sum, part) => sum + part, 0);
  return [...byVersion].map(([version, part]) => ({ version, share: part / all }));
}

function statesOf(sets: readonly ReplicaSet[], versionBy: ReadonlyMap<string, string>, progress: Progress): VersionObservation[] {
  const states = new Map<string, VersionObservation>();
  for (const set of sets) {
    const id = versionBy.get(hashOf(set)) as string;
    const state = ((): VersionObservation => {
      if (set.status.availableReplicas > 0) return { id, state: 'available' };
      if (set.spec.replicas === 0) return { id, state: set.status.replicas > 0 ? 'draining' : 'unloaded' };
      if (hashOf(set) === progress.current && progress.observed && progress.deadline.exceeded)
        return { id, state: 'failed', detail: progress.deadline.message };
      return { id, state: 'loading' };
    })();
    // Of several ReplicaSets with one version: any that is up, else the newest.
    const known = states.get(id);
    if (known === undefined || (known.state !== 'available' && state.state === 'available')) states.set(id, state);
  }
  return [...states.values()].toSorted((a, b) => a.id.localeCompare(b.id));
}

function progressIn({ rollout, workload, writer }: Read, sets: readonly ReplicaSet[]): Progress {
  const { metadata, spec, status } = rollout;
  const find = (type: string) => status.conditions?.find((condition) => condition.type === type);
  const progressing = find('Progressing');
  const failure = find('ReplicaFailure');
  return {
    uid: metadata.uid,
    observed: isObserved(rollout, typeof workload === 'string' ? null : workload),
    generation: metadata.generation ?? 0,
    wanted: spec.replicas,
    current: status.currentPodHash,
    stable: status.stableRS,
    step: { index: status.currentStepIndex ?? null, count: spec.strategy.canary?.steps?.length ?? 0 },
    pauses: status.pauseConditions?.map(({ reason }) => reason) ?? [],
    abort: status.abort,
    aborted: status.abort && status.abortedAt != null,
    promote_full: status.promoteFull,
    unverified: status.canary.weights?.verified === false,
    abort_is_dropped: (spec.rollbackWindow?.revisions ?? 0) > 0 && isOlder(status.currentPodHash, status.stableRS, sets),
    deadline: {
      exceeded: progressing?.reason === 'ProgressDeadlineExceeded',
      at: progressing?.lastUpdateTime ?? '',
      message: progressing?.message ?? '',
    },
    failure: failure?.status === 'True' ? failure.message : '',
    invalid: find('InvalidSpec')?.message ?? '',
    message: status.message,
    writer,
    pods: Object.fromEntries(
      sets.map((set) => [hashOf(set), { wanted: set.spec.replicas, all: set.status.replicas, available: set.status.availableReplicas }]),
    ),
  };
}

function isOlder(hash: string, than: string, sets: readonly ReplicaSet[]): boolean {
  const madeAt = (wanted: string): string => sets.find((set) => hashOf(set) === wanted)?.metadata.creationTimestamp ?? '';
  return madeAt(hash) !== '' && madeAt(hash) < madeAt(than);
}
