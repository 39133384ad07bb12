import type { EndpointObservation, Observation, Share, VersionObservation, VersionState } from '../../../domain/observation.ts';
import { compareVersions, hashJson, type ModelState } from './model-state.ts';

/** `EndpointObservation.config` of this plane: what plan() and people need to know of the truth there. Plain JSON. */
export type EndpointTruth = {
  /** Name on the server. */
  readonly model: string;
  /** Where the list comes from: `file /models/models.config` or `model_config_list`. */
  readonly source: string;
  /** Why the truth is not known; then the four below are `null`. */
  readonly problem: string | null;
  /** Policy and labels in force by our knowledge: the base, or our journalled change of it. */
  readonly truth: ModelState | null;
  /** As the list's owner wrote it. */
  readonly base: ModelState | null;
  /** From before our first pin, while the pin stands; what `unpin` gives back. */
  readonly original: ModelState | null;
  /** Versions in the model's folder; `null` when it was not looked at or cannot be read from here. */
  readonly on_disk: readonly string[] | null;
};

export function truthOf(endpoint: EndpointObservation): EndpointTruth {
  return endpoint.config as EndpointTruth;
}

/** Worst last. `absent` on one endpoint and available on another is absent: not every client can get it. */
const severity: readonly VersionState[] = ['available', 'loading', 'pending', 'draining', 'unloaded', 'absent', 'failed'];

/** One observation from what each endpoint showed. */
export function combine(atMs: number, endpoints: readonly EndpointObservation[], pinned: boolean, refusals: readonly string[]): Observation {
  const readable = endpoints.filter((endpoint) => endpoint.error === undefined);
  return { atMs, endpoints, versions: worstOf(readable), serving: meanOf(readable), token: tokenOf(endpoints), pinned, refusals };
}

function worstOf(endpoints: readonly EndpointObservation[]): VersionObservation[] {
  const ids = new Set(endpoints.flatMap((endpoint) => endpoint.versions.map((version) => version.id)));
  return [...ids]
    .toSorted(compareVersions)
    .map((id) =>
      endpoints
        .map((endpoint): VersionObservation => endpoint.versions.find((version) => version.id === id) ?? { id, state: 'absent' })
        .reduce((worst, version) => (severity.indexOf(version.state) > severity.indexOf(worst.state) ? version : worst)),
    );
}

function meanOf(endpoints: readonly EndpointObservation[]): Share[] {
  const shares = new Map<string, number>();
  for (const { serving } of endpoints) for (const { version, share } of serving) shares.set(version, (shares.get(version) ?? 0) + share / endpoints.length);
  return [...shares].toSorted(([a], [b]) => compareVersions(a, b)).map(([version, share]) => ({ version, share }));
}

/** Over what a switch could change: states, serving, routes, and who could be read; neither words nor order. */
function tokenOf(endpoints: readonly EndpointObservation[]): string {
  return hashJson(
    endpoints
      .map((endpoint) => ({
        endpoint: endpoint.endpoint,
        readable: endpoint.error === undefined,
        versions: endpoint.versions.map((version) => `${version.id} ${version.state}`).toSorted(),
        serving: endpoint.serving.map((share) => `${share.version} ${share.share}`).toSorted(),
        routes: endpoint.routes,
      }))
      .toSorted((a, b) => (a.endpoint < b.endpoint ? -1 : 1)),
  );
}
