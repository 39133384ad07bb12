import type { VersionObservation } from '../../../domain/observation.ts';
import type { ArtifactNames } from '../artifact-names.ts';
import { failureOf } from './failure.ts';
import { artifactOf, conditionOf, type InferenceService, type Revision, sourceUriAnnotation } from './objects.ts';
import { bestOf, type KnativeTruth, type Seen, sharesOf } from './observed.ts';

/** Knative mode: revisions carry versions, `status.components.predictor.traffic` is what is applied. Pure. */
export function seeKnative(isvc: InferenceService, revisions: readonly Revision[], names: ArtifactNames): Seen {
  const carried = new Map(revisions.map((revision) => [revision.metadata.name, versionOf(revision, names)]));
  const nameOf = (revision: string): string => carried.get(revision) ?? revision;
  const traffic = isvc.status?.components?.predictor?.traffic ?? [];
  const weights = traffic.flatMap(({ revisionName, percent }) =>
    revisionName === undefined || revisionName === '' ? [] : [{ version: nameOf(revisionName), weight: percent ?? 0 }],
  );
  const versions = revisions.map((revision): VersionObservation => ({ id: nameOf(revision.metadata.name), ...stateOf(revision) }));
  return { versions: bestOf(versions), serving: sharesOf(weights), config: truthOfKnative(isvc, revisions, names, nameOf), names: Object.fromEntries(carried) };
}

function versionOf(revision: Revision, names: ArtifactNames): string {
  const uri = revision.metadata.annotations?.[sourceUriAnnotation];
  return uri === undefined || uri === '' ? revision.metadata.name : (names.versionOf(uri) ?? uri);
}

/** `Active: False` is no fault: a revision without traffic is scaled to zero and comes back when it is asked. */
function stateOf(revision: Revision): Pick<VersionObservation, 'state' | 'detail'> {
  const ready = conditionOf(revision.status?.conditions, 'Ready');
  if (ready?.status === 'True') return { state: 'available' };
  if (ready?.status !== 'False') return { state: 'loading' };
  if (ready.reason === 'NoTraffic') return { state: 'available' };
  const healthy = conditionOf(revision.status?.conditions, 'ContainerHealthy');
  const cause = healthy?.status === 'False' ? healthy : ready;
  return { state: 'failed', detail: [cause.reason, cause.message].filter((part) => part !== undefined && part !== '').join(': ') };
}

function truthOfKnative(isvc: InferenceService, revisions: readonly Revision[], names: ArtifactNames, nameOf: (revision: string) => string): KnativeTruth {
  const { predictor } = isvc.spec;
  const uri = artifactOf(predictor)?.uri ?? '';
  const created = isvc.status?.components?.predictor?.latestCreatedRevision;
  const newest = revisions.find((revision) => revision.metadata.name === created);
  return {
    mode: 'Knative',
    wish: { uri, percent: predictor.canaryTrafficPercent ?? null, predictor: predictor.name ?? null, canaries: [] },
    version: names.versionOf(uri) ?? uri,
    latest: { version: created === undefined ? null : nameOf(created), state: newest === undefined ? 'pending' : stateOf(newest).state },
    pin: pinOf(isvc, revisions, nameOf),
    routes_ready:
      conditionOf(isvc.status?.conditions, 'RoutesReady')?.status !== 'False' && conditionOf(isvc.status?.conditions, 'RoutesReady')?.status !== 'Unknown',
    failure: failureOf(isvc),
  };
}

/**
 * Where the controller would send the traffic with `canaryTrafficPercent: 0` (its `PropagateStatus`, reference control-planes-serving 5.3): to the revision
 * rolled out last while a newer one is a canary; else, in a second pass, to the one rolled out before; and nowhere when there is none.
 */
function pinOf(isvc: InferenceService, revisions: readonly Revision[], nameOf: (revision: string) => string): KnativeTruth['pin'] {
  const { latestReadyRevision, latestCreatedRevision, latestRolledoutRevision, previousRolledoutRevision } = isvc.status?.components?.predictor ?? {};
  const isCanaryUnderWay = latestRolledoutRevision !== undefined && latestRolledoutRevision !== latestReadyRevision;
  if (!isCanaryUnderWay && latestReadyRevision !== latestCreatedRevision)
    return { version: null, detail: 'the newest revision is not ready, and until it is the controller does not look back' };
  const revision = isCanaryUnderWay ? latestRolledoutRevision : previousRolledoutRevision;
  if (revision === undefined || revision === '' || revision === latestReadyRevision)
    return { version: null, detail: 'the status remembers no revision that was rolled out before (previousRolledoutRevision)' };
  const found = revisions.find((entry) => entry.metadata.name === revision);
  if (found === undefined) return { version: null, detail: 'the revision that was rolled out before was deleted' };
  const { state, detail } = stateOf(found);
  if (state !== 'available')
    return { version: null, detail: `the revision that was rolled out before is ${state}${detail === undefined ? '' : ` (${detail})`}` };
  return { version: nameOf(revision), detail: isCanaryUnderWay ? 'a canary is under way' : 'it was rolled out before' };
}
