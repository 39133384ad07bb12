import type { KubernetesTestClient } from '../kubernetes-client.ts';
import type { JsonMap, KubernetesObject } from '../kubernetes-object.ts';
import { hashLabel, labelHash, withInjected } from './template.ts';

type Step = { readonly setWeight?: number; readonly pause?: JsonMap };
type Canary = {
  readonly steps?: readonly Step[];
  readonly trafficRouting?: JsonMap;
  readonly canaryMetadata?: JsonMap;
  readonly stableMetadata?: JsonMap;
  readonly antiAffinity?: JsonMap;
};
type BlueGreen = {
  readonly activeService: string;
  readonly previewService?: string;
  readonly autoPromotionEnabled?: boolean;
  readonly activeMetadata?: JsonMap;
  readonly previewMetadata?: JsonMap;
  readonly postPromotionAnalysis?: JsonMap;
};
export type RolloutSpec = {
  readonly replicas?: number;
  readonly paused?: boolean;
  readonly template?: JsonMap;
  readonly workloadRef?: { readonly name: string };
  readonly rollbackWindow?: { readonly revisions?: number };
  readonly strategy: { readonly canary?: Canary; readonly blueGreen?: BlueGreen };
};
type Weight = { weight: number; podTemplateHash: string };
export type RolloutStatus = {
  abort?: boolean;
  abortedAt?: string;
  promoteFull?: boolean;
  pauseConditions?: { reason: string; startTime: string }[];
  controllerPause?: boolean;
  currentPodHash?: string;
  currentStepIndex?: number;
  stableRS?: string;
  observedGeneration?: string;
  workloadObservedGeneration?: string;
  replicas?: number;
  HPAReplicas?: number;
  updatedReplicas?: number;
  availableReplicas?: number;
  phase?: string;
  message?: string;
  conditions?: { type: string; status: string; reason: string; message: string; lastUpdateTime: string }[];
  blueGreen?: { activeSelector?: string; previewSelector?: string };
  canary?: { weights?: { canary: Weight; stable: Weight; verified?: boolean } };
};

/** One look of the controller at one Rollout: what it read, and the status it makes of it. */
export type Pass = {
  readonly client: KubernetesTestClient;
  readonly namespace: string;
  readonly spec: RolloutSpec;
  /** As it was read. */
  readonly status: RolloutStatus;
  readonly next: RolloutStatus;
  /** The ReplicaSet of the template, and the one that was promoted last. */
  readonly current: KubernetesObject;
  readonly hash: string;
  readonly stable: KubernetesObject | null;
  readonly sets: readonly KubernetesObject[];
  readonly scaleDownDelayMs: number;
  readonly isInWindow: boolean;
};

const revision = 'rollout.argoproj.io/revision';
const deadline = 'scale-down-deadline';

export function revisionOf(set: KubernetesObject): number {
  return Number(set.metadata.annotations?.[revision] ?? 0);
}

export function wantedOf(set: KubernetesObject): number {
  return Number((set.spec as JsonMap)['replicas'] ?? 0);
}

export function availableOf(set: KubernetesObject | null): number {
  return Number(set?.status?.['availableReplicas'] ?? 0);
}

export function isPromoted({ status }: Pass): boolean {
  return status.stableRS === status.currentPodHash;
}

/** The current one is what is promoted from now on. */
export function promote({ next, spec, hash }: Pass): void {
  next.stableRS = hash;
  next.promoteFull = false;
  delete next.abort;
  delete next.abortedAt;
  delete next.pauseConditions;
  const steps = spec.strategy.canary?.steps?.length ?? 0;
  if (steps > 0) next.currentStepIndex = steps;
}

/** An abort stands, and from now on its time. */
export function keepAborted({ next, status }: Pass): void {
  next.abortedAt = status.abortedAt ?? `${new Date().toISOString().slice(0, 19)}Z`;
  delete next.pauseConditions;
  delete next.controllerPause;
}

/** @returns whether anything was changed */
export async function scale({ client, namespace }: Pass, set: KubernetesObject, replicas: number): Promise<boolean> {
  if (wantedOf(set) === replicas) return false;
  const path = `/apis/apps/v1/namespaces/${namespace}/replicasets/${set.metadata.name}`;
  await client.merge(path, { spec: { replicas }, metadata: { annotations: { [deadline]: null } } });
  return true;
}

/** Pods that nothing points to any more go after their delay, which stands on the ReplicaSet. */
export async function scaleDownLater(pass: Pass, set: KubernetesObject): Promise<void> {
  if (wantedOf(set) === 0) return;
  const until = set.metadata.annotations?.[deadline];
  const { client, namespace, scaleDownDelayMs } = pass;
  const path = `/apis/apps/v1/namespaces/${namespace}/replicasets/${set.metadata.name}`;
  if (until === undefined && scaleDownDelayMs > 0)
    await client.merge(path, { metadata: { annotations: { [deadline]: new Date(Date.now() + scaleDownDelayMs).toISOString() } } });
  else if (until === undefined || Date.parse(until) <= Date.now()) await scale(pass, set, 0);
}

/** Ones that are used again must not go by an old deadline. */
export async function forgetDeadline({ client, namespace }: Pass, set: KubernetesObject | null): Promise<void> {
  if (set?.metadata.annotations?.[deadline] === undefined) return;
  await client.merge(`/apis/apps/v1/namespaces/${namespace}/replicasets/${set.metadata.name}`, { metadata: { annotations: { [deadline]: null } } });
}

export function isWithinDelay(set: KubernetesObject): boolean {
  const until = set.metadata.annotations?.[deadline];
  return until !== undefined && Date.parse(until) > Date.now();
}

export function others({ sets, current, stable }: Pass): KubernetesObject[] {
  return sets.filter((set) => set !== current && set !== stable);
}

export function aReplicaSet(rollout: KubernetesObject, template: JsonMap, hash: string, number: number, stable: string): KubernetesObject {
  const { name, namespace, uid } = rollout.metadata;
  const metadata = (template['metadata'] ?? {}) as { labels?: Record<string, string> };
  const labels: Record<string, string> = { ...metadata.labels, [hashLabel]: hash };
  const { strategy } = rollout.spec as unknown as RolloutSpec;
  const own = { ...template, metadata: { ...metadata, labels } };
  return {
    apiVersion: 'apps/v1',
    kind: 'ReplicaSet',
    metadata: {
      name: `${name}-${hash}`,
      ...(namespace === undefined ? {} : { namespace }),
      labels,
      annotations: { [revision]: String(number) },
      ownerReferences: [{ apiVersion: 'argoproj.io/v1alpha1', kind: 'Rollout', name, uid: uid ?? '', controller: true, blockOwnerDeletion: true }],
    },
    spec: {
      replicas: 0,
      selector: { matchLabels: { app: labels['app'] ?? '', [hashLabel]: hash } },
      template: strategy.canary?.antiAffinity !== undefined && stable !== '' ? withInjected(own, stable) : own,
    },
  };
}

export { labelHash };
