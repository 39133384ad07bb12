import type { EndpointObservation, Observation, Share, VersionObservation } from '../../../domain/observation.ts';
import type { GitOpsState } from '../../kubernetes/gitops-state.ts';

/** What is known of one version (colour). */
export type Colour = {
  readonly version: string;
  /** Its Deployment, where there is exactly one. */
  readonly deployment: { readonly name: string; readonly uid: string; readonly replicas: number } | null;
};

/** `EndpointObservation.config` of this plane. */
export type ServiceTruth = {
  readonly namespace: string;
  readonly service: string;
  readonly uid: string;
  readonly label: string;
  readonly min_ready: number;
  readonly scale_up: boolean;
  /** What the selector asks for; `null` when the label is not in it. */
  readonly selected: string | null;
  readonly colours: readonly Colour[];
  readonly gitops: GitOpsState;
};

/** `Observation.token` of this plane, as JSON. */
export type Counts = {
  readonly uid: string;
  readonly selected: string | null;
  /** Ready pods by version, also of those that get no traffic. */
  readonly ready: Readonly<Record<string, number>>;
  /** Ready endpoints of the Service by version; `''` for those that are no known pod. */
  readonly endpoints: Readonly<Record<string, number>>;
  readonly writer: string | null;
};

export function truthOf(endpoint: EndpointObservation): ServiceTruth {
  return endpoint.config as ServiceTruth;
}

export function countsOf(observation: Observation): Counts {
  return JSON.parse(observation.token ?? '{}') as Counts;
}

/** @param pods pods there are by version, ready or not */
export function observationOf(
  atMs: number,
  truth: ServiceTruth,
  counts: Counts,
  pods: ReadonlyMap<string, number>,
  written: Pick<EndpointObservation, 'writer'>,
): Observation {
  const all = Object.values(counts.endpoints).reduce((sum, count) => sum + count, 0);
  const serving: Share[] = Object.entries(counts.endpoints)
    .filter(([, count]) => count > 0)
    .map(([version, count]) => ({ version: version === '' ? 'unknown' : version, share: count / all }));
  const ready = new Map(Object.entries(counts.ready));
  const versions = truth.colours.map(({ version }): VersionObservation => {
    if ((ready.get(version) ?? 0) > 0) return { id: version, state: 'available' };
    return { id: version, state: (pods.get(version) ?? 0) > 0 ? 'loading' : 'unloaded' };
  });
  const endpoint: EndpointObservation = { endpoint: `${truth.namespace}/${truth.service}`, versions, serving, routes: {}, config: truth, ...written };
  return { atMs, endpoints: [endpoint], versions, serving, token: JSON.stringify(counts), pinned: truth.gitops.paused.length > 0, refusals: [] };
}
