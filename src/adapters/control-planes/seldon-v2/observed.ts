import { z } from 'zod';
import type { EndpointObservation, Share, VersionObservation, VersionState } from '../../../domain/observation.ts';
import type { ArtifactNames } from '../artifact-names.ts';
import type { Experiment, Model } from './objects.ts';
import type { ExperimentState, ScheduledVersion } from './scheduler-client.ts';

/** Versions of a target whose versions are artifacts of one Model: by the pattern, or Seldon's own `artifactVersion` numbers. */
export type Versioning = { readonly kind: 'uri'; readonly names: ArtifactNames } | { readonly kind: 'artifact_version' };

export const artifact = z.object({ uri: z.string(), artifact_version: z.number().nullable() });
export type Artifact = z.output<typeof artifact>;

const modelTruth = z.object({
  form: z.literal('model'),
  /** The wish: `spec.storageUri` and `spec.artifactVersion`. */
  artifact,
  version: z.string(),
  /** What the scheduler made of the present generation; `none`: it has not seen it yet. */
  generation_state: z.string(),
  reason: z.string(),
});

export const candidate = z.object({ name: z.string(), weight: z.number() });
export type Candidate = z.output<typeof candidate>;

const experimentTruth = z.object({
  form: z.literal('experiment'),
  default: z.string().nullable(),
  candidates: z.array(candidate),
  /** Candidates none of whose versions can take traffic, each with why. */
  unavailable: z.record(z.string(), z.string()),
  /** Whether the scheduler has seen the present generation, and runs it. */
  applied: z.enum(['yes', 'not_seen', 'inactive']),
  description: z.string(),
});

const truth = z.discriminatedUnion('form', [modelTruth, experimentTruth]);
export type ModelTruth = z.output<typeof modelTruth>;
export type ExperimentTruth = z.output<typeof experimentTruth>;

export function truthOf(endpoint: EndpointObservation): ModelTruth | ExperimentTruth {
  return truth.parse(endpoint.config);
}

export function versionOf(given: Artifact, versioning: Versioning): string {
  if (versioning.kind === 'artifact_version') return given.artifact_version === null ? '?' : String(given.artifact_version);
  return given.uri === '' ? '?' : (versioning.names.versionOf(given.uri) ?? given.uri);
}

/** @param from the artifact that is replaced: what the version does not say stays */
export function artifactFor(version: string, from: Artifact, versioning: Versioning): Artifact | null {
  if (versioning.kind === 'uri') return { ...from, uri: versioning.names.uriOf(version) };
  return /^\d{1,10}$/.test(version) ? { ...from, artifact_version: Number(version) } : null;
}

/** What one form of target makes of what it read. `names`: metrics' name of a version (`iris_4`) → version. */
export type Seen = {
  readonly versions: readonly VersionObservation[];
  readonly serving: readonly Share[];
  readonly config: ModelTruth | ExperimentTruth;
  readonly names: Readonly<Record<string, string>>;
};

const states: Readonly<Partial<Record<ScheduledVersion['state'], VersionState>>> = {
  ModelProgressing: 'loading',
  ModelAvailable: 'available',
  ModelFailed: 'failed',
  ModelTerminating: 'draining',
  ModelTerminated: 'unloaded',
  ModelTerminateFailed: 'draining',
  ScheduleFailed: 'failed',
  ModelScaledDown: 'unloaded',
  ModelCreate: 'pending',
  ModelTerminate: 'draining',
};

/** Best first: a version that was loaded, unloaded and loaded again has several lines with the scheduler. */
const order: readonly VersionState[] = ['available', 'loading', 'pending', 'failed', 'draining', 'unloaded', 'absent'];

/** One Model whose artifact changes. Pure. */
export function seeModel(model: Model, scheduled: readonly ScheduledVersion[], versioning: Versioning): Seen {
  const wanted: Artifact = { uri: model.spec.storageUri, artifact_version: model.spec.artifactVersion ?? null };
  const nameOf = (entry: ScheduledVersion): string => versionOf({ uri: entry.uri, artifact_version: entry.artifactVersion }, versioning);
  const present = scheduled.find((entry) => entry.generation === model.metadata.generation);
  const versions = new Map<string, VersionObservation>();
  for (const entry of scheduled) {
    const state = states[entry.state] ?? 'pending';
    const known = versions.get(nameOf(entry));
    if (known !== undefined && order.indexOf(known.state) <= order.indexOf(state)) continue;
    versions.set(nameOf(entry), { id: nameOf(entry), state, ...(state === 'failed' ? { detail: `${entry.state}: ${entry.reason}` } : {}) });
  }
  return {
    versions: [...versions.values()],
    serving: servingOf(scheduled, nameOf),
    config: {
      form: 'model',
      artifact: wanted,
      version: versionOf(wanted, versioning),
      generation_state: present?.state ?? 'none',
      reason: present?.reason ?? '',
    },
    names: Object.fromEntries(scheduled.map((entry) => [`${model.metadata.name}_${entry.number}`, nameOf(entry)])),
  };
}

/**
 * What Envoy is told (reference control-planes-serving 4.2): the latest version once it is available; until then it and the last available one by their
 * replicas; nothing at all once the latest cannot be scheduled, although the older one is still loaded.
 */
function servingOf(scheduled: readonly ScheduledVersion[], nameOf: (entry: ScheduledVersion) => string): Share[] {
  const latest = scheduled.at(-1);
  if (latest === undefined || latest.state === 'ScheduleFailed') return [];
  if (latest.state === 'ModelAvailable') return [{ version: nameOf(latest), share: 1 }];
  const last = scheduled.findLast((entry) => entry.state === 'ModelAvailable');
  const parts = [latest, ...(last === undefined ? [] : [last])].map((entry) => ({ version: nameOf(entry), weight: entry.availableReplicas }));
  const weighted = last !== undefined && parts.every((part) => part.weight === 0) ? [{ version: nameOf(last), weight: 1 }] : parts;
  return toShares(weighted);
}

/** An Experiment over Models: its candidates are the versions. Pure. */
export function seeExperiment(
  experiment: Experiment,
  state: ExperimentState | null,
  models: ReadonlyMap<string, readonly ScheduledVersion[] | null>,
  before: readonly Candidate[] | null,
): Seen {
  const { spec, metadata } = experiment;
  const unavailable: [string, string][] = [];
  const versions = spec.candidates.map(({ name }): VersionObservation => {
    const scheduled = models.get(name) ?? null;
    const latest = scheduled?.at(-1);
    if (scheduled === null || latest === undefined) {
      unavailable.push([name, 'the scheduler does not know this model']);
      return { id: name, state: 'absent' };
    }
    if (scheduled.some((entry) => entry.state === 'ModelAvailable') && latest.state !== 'ScheduleFailed') return { id: name, state: 'available' };
    const detail = `${latest.state}${latest.reason === '' ? '' : `: ${latest.reason}`}`;
    unavailable.push([name, detail]);
    return { id: name, state: states[latest.state] ?? 'pending', detail };
  });
  const isSeen = state !== null && state.generation === metadata.generation;
  const applied = !isSeen ? 'not_seen' : state.active ? 'yes' : 'inactive';
  return {
    versions,
    serving: experimentShares(spec, unavailable.length > 0 || applied === 'inactive', isSeen ? spec.candidates : (before ?? spec.candidates)),
    config: {
      form: 'experiment',
      default: spec.default ?? null,
      candidates: spec.candidates,
      unavailable: Object.fromEntries(unavailable),
      applied,
      description: state?.description ?? '',
    },
    names: {},
  };
}

/** A candidate that cannot take traffic, and the route is rebuilt as the default model alone (reference control-planes-serving 4.4). */
function experimentShares(spec: Experiment['spec'], isBroken: boolean, candidates: readonly Candidate[]): Share[] {
  if (!isBroken) return toShares(candidates.map(({ name, weight }) => ({ version: name, weight })));
  return spec.default === undefined ? [] : [{ version: spec.default, share: 1 }];
}

function toShares(weighted: readonly { readonly version: string; readonly weight: number }[]): Share[] {
  const total = weighted.reduce((sum, entry) => sum + entry.weight, 0);
  if (total === 0) return [];
  const sums = new Map<string, number>();
  for (const { version, weight } of weighted) sums.set(version, (sums.get(version) ?? 0) + weight / total);
  return [...sums].filter(([, share]) => share > 0).map(([version, share]) => ({ version, share: Math.round(share * 1e6) / 1e6 }));
}
