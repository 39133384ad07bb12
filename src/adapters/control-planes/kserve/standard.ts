import type { VersionObservation } from '../../../domain/observation.ts';
import type { ArtifactNames } from '../artifact-names.ts';
import { failureOf } from './failure.ts';
import { artifactOf, conditionOf, type Deployment, type HttpRoute, type InferenceService, type ReplicaSet, sourceUriAnnotation } from './objects.ts';
import { bestOf, type Seen, type StandardTruth, sharesOf } from './observed.ts';

/** Name of the Deployment and Service of a predictor: `{isvc}-predictor`, or `{isvc}-{name}-predictor`. */
export function workloadOf(isvc: string, name: string | undefined): string {
  return name === undefined || name === '' ? `${isvc}-predictor` : `${isvc}-${name}-predictor`;
}

/** A Deployment with the ReplicaSets it owns. */
export type Workload = { readonly deployment: Deployment; readonly replicaSets: readonly ReplicaSet[] };

/**
 * Standard mode: Deployments carry versions, the HTTPRoute (where there is one) weighs them. Pods of two versions serve side by side while a Deployment rolls,
 * so what serves is read from its ReplicaSets; `status.canaryStatuses[].trafficPercent` only echoes the spec (reference control-planes-serving 5.4). Pure.
 */
export function seeStandard(isvc: InferenceService, workloads: ReadonlyMap<string, Workload>, route: HttpRoute | null, names: ArtifactNames): Seen {
  const stableName = workloadOf(isvc.metadata.name, isvc.spec.predictor.name);
  const weights = weightsOf(route, stableName);
  const shares = [...weights].flatMap(([workload, weight]) => {
    const own = podsOf(workloads.get(workload), names);
    const total = own.reduce((sum, entry) => sum + entry.weight, 0);
    return own.map((entry) => ({ version: entry.version, weight: (weight * entry.weight) / total }));
  });
  const versions = [...workloads].flatMap(([, workload]) => versionsOf(workload, names));
  const carried = [...workloads].map(([name, { deployment }]): [string, string] => [name, templateVersion(deployment, names)]);
  return {
    versions: bestOf(versions),
    serving: sharesOf(shares),
    config: truthOfStandard(isvc, workloads.get(stableName), names),
    names: Object.fromEntries(carried),
  };
}

/** Weight per Service. Without a route everything goes to the stable one. */
function weightsOf(route: HttpRoute | null, stableName: string): ReadonlyMap<string, number> {
  const backends = route?.spec.rules?.find((rule) => (rule.backendRefs ?? []).length > 0)?.backendRefs ?? [];
  return backends.length === 0 ? new Map([[stableName, 1]]) : new Map(backends.map(({ name, weight }) => [name, weight]));
}

function versionNamed(uri: string | undefined, names: ArtifactNames): string {
  return uri === undefined || uri === '' ? '?' : (names.versionOf(uri) ?? uri);
}

function templateVersion(deployment: Deployment, names: ArtifactNames): string {
  return versionNamed(deployment.spec.template.metadata?.annotations?.[sourceUriAnnotation], names);
}

/** Ready pods per version. With none ready, requests still go to what the Deployment now asks for. */
function podsOf(workload: Workload | undefined, names: ArtifactNames): { version: string; weight: number }[] {
  if (workload === undefined) return [];
  const ready = workload.replicaSets
    .map(({ spec, status }) => ({
      version: versionNamed(spec.template.metadata?.annotations?.[sourceUriAnnotation], names),
      weight: status?.readyReplicas ?? 0,
    }))
    .filter((entry) => entry.weight > 0);
  return ready.length > 0 ? ready : [{ version: templateVersion(workload.deployment, names), weight: 1 }];
}

function versionsOf(workload: Workload, names: ArtifactNames): VersionObservation[] {
  const { deployment } = workload;
  const wanted = templateVersion(deployment, names);
  const rollout = rolloutOf(deployment);
  const serving = podsOf(workload, names).filter((entry) => entry.version !== wanted);
  const own: VersionObservation =
    rollout.kind === 'complete'
      ? { id: wanted, state: (deployment.spec.replicas ?? 1) === 0 ? 'unloaded' : 'available' }
      : { id: wanted, state: rollout.kind === 'failed' ? 'failed' : 'loading', detail: rollout.detail };
  return [own, ...serving.map(({ version }): VersionObservation => ({ id: version, state: 'available' }))];
}

type Rollout = { readonly kind: StandardTruth['rollout']; readonly detail: string };

/** The Deployment's own word, believed only when it has seen its present spec. */
export function rolloutOf({ metadata, spec, status }: Deployment): Rollout {
  const wanted = spec.replicas ?? 1;
  if ((status?.observedGeneration ?? 0) < (metadata.generation ?? 0)) return { kind: 'progressing', detail: 'the Deployment has not seen its new spec yet' };
  const updated = status?.updatedReplicas ?? 0;
  const unavailable = status?.unavailableReplicas ?? 0;
  if (updated >= wanted && unavailable === 0 && (status?.replicas ?? 0) === updated) return { kind: 'complete', detail: '' };
  const stuck = conditionOf(status?.conditions, 'Progressing');
  const detail = `${updated} of ${wanted} pods updated, ${unavailable} unavailable`;
  if (stuck?.status === 'False') return { kind: 'failed', detail: `${stuck.reason ?? 'not progressing'}: ${stuck.message ?? detail}` };
  return { kind: 'progressing', detail };
}

function truthOfStandard(isvc: InferenceService, stable: Workload | undefined, names: ArtifactNames): StandardTruth {
  const uri = artifactOf(isvc.spec.predictor)?.uri ?? '';
  const canaries = isvc.spec.canary ?? [];
  const ready = new Map(isvc.status?.canaryStatuses?.map((status) => [status.name, status.ready]));
  const rollout: Rollout = stable === undefined ? { kind: 'progressing', detail: 'there is no Deployment yet' } : rolloutOf(stable.deployment);
  return {
    mode: 'Standard',
    wish: {
      uri,
      percent: null,
      predictor: isvc.spec.predictor.name ?? null,
      canaries: canaries.map(({ predictor, trafficPercent }) => ({
        name: predictor.name ?? '',
        percent: trafficPercent,
        uri: artifactOf(predictor)?.uri ?? null,
      })),
    },
    version: versionNamed(uri, names),
    canaries: canaries.map(({ predictor }) => ({
      name: predictor.name ?? '',
      version: versionNamed(artifactOf(predictor)?.uri ?? uri, names),
      ready: ready.get(predictor.name ?? '') === true,
    })),
    predictor_ready: conditionOf(isvc.status?.conditions, 'PredictorReady')?.status === 'True',
    rollout: rollout.kind,
    rollout_detail: rollout.detail,
    failure: failureOf(isvc),
  };
}
