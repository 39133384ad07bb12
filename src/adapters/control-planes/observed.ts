import { createHash } from 'node:crypto';
import type { EndpointObservation, Observation, Share, VersionObservation, VersionState } from '../../domain/observation.ts';
import { compareVersions } from '../../domain/target.ts';

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
  const facts = endpoints
    .map((endpoint) => ({
      endpoint: endpoint.endpoint,
      readable: endpoint.error === undefined,
      versions: endpoint.versions.map((version) => `${version.id} ${version.state}`).toSorted(),
      serving: endpoint.serving.map((share) => `${share.version} ${share.share}`).toSorted(),
      routes: endpoint.routes,
    }))
    .toSorted((a, b) => (a.endpoint < b.endpoint ? -1 : 1));
  return createHash('sha256').update(JSON.stringify(facts)).digest('hex').slice(0, 16);
}

/** Whether an endpoint gives all of its traffic to one version. */
export function isServedAlone(endpoint: EndpointObservation, version: string): boolean {
  return endpoint.serving.length === 1 && endpoint.serving[0]?.version === version;
}

/** `7 (90%) and 6 (10%)`, or `nothing`. */
export function describeServing(endpoint: EndpointObservation): string {
  const [only, ...others] = endpoint.serving;
  if (only === undefined) return 'nothing';
  if (others.length === 0) return only.version;
  return endpoint.serving.map(({ version, share }) => `${version} (${Math.round(share * 100)}%)`).join(' and ');
}
