import { createHash } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import { z } from 'zod';
import type { VersionObservation } from '../../../domain/observation.ts';
import { FileSystemStoragePathSourceConfig_ServableVersionPolicySchema as PolicySchema } from './gen/tensorflow_serving/config/file_system_storage_path_source_pb.ts';
import { type ModelConfig, ModelConfigSchema } from './gen/tensorflow_serving/config/model_server_config_pb.ts';
import { isVersionNumber } from './schema.ts';
import { toText } from './text-format.ts';

const policySchema = z.union([
  z.strictObject({ latest: z.strictObject({ num_versions: z.number().optional() }) }),
  z.strictObject({ all: z.strictObject({}) }),
  z.strictObject({ specific: z.strictObject({ versions: z.array(z.string().refine(isVersionNumber)) }) }),
]);

/** The part of a model's entry that rollbackd changes; plain JSON. `policy: null` is unset: the newest version. Versions in numeric order. */
export const modelStateSchema = z.object({ policy: policySchema.nullable(), labels: z.record(z.string(), z.string()) });
export type ModelState = z.output<typeof modelStateSchema>;
export type Policy = ModelState['policy'];

export function specific(versions: Iterable<string>): Policy {
  return { specific: { versions: sortVersions(new Set(versions)) } };
}

/** Numeric order; ids that are no numbers cannot occur on this plane. */
export function sortVersions(versions: Iterable<string>): string[] {
  return [...versions].toSorted((a, b) => compareVersions(a, b));
}

export function compareVersions(a: string, b: string): number {
  const difference = BigInt(a) - BigInt(b);
  return difference < 0n ? -1 : difference > 0n ? 1 : 0;
}

/** The versions a `specific` policy names; `null` for the others, which depend on what is on disk. */
export function namedVersions(policy: Policy): readonly string[] | null {
  return policy !== null && 'specific' in policy ? policy.specific.versions : null;
}

export function stateOf(entry: ModelConfig): ModelState {
  const labels = Object.fromEntries(
    Object.entries(entry.versionLabels)
      .toSorted(byKey)
      .map(([label, version]) => [label, String(version)]),
  );
  const choice = entry.modelVersionPolicy?.policyChoice;
  if (choice?.case === 'latest') return { policy: { latest: choice.value.numVersions === 0 ? {} : { num_versions: choice.value.numVersions } }, labels };
  if (choice?.case === 'all') return { policy: { all: {} }, labels };
  if (choice?.case === 'specific') return { policy: specific(choice.value.versions.map(String)), labels };
  return { policy: null, labels };
}

/** Sets policy and labels of an entry in place, leaving alone what says the same already. */
export function setState(entry: ModelConfig, state: ModelState): void {
  const present = stateOf(entry);
  if (!isSamePolicy(present.policy, state.policy)) {
    if (state.policy === null) delete entry.modelVersionPolicy;
    else entry.modelVersionPolicy = policyMessage(state.policy);
  }
  entry.versionLabels = Object.fromEntries(Object.entries(state.labels).map(([label, version]) => [label, BigInt(version)]));
}

export function policyMessage(policy: NonNullable<Policy>): NonNullable<ModelConfig['modelVersionPolicy']> {
  if ('latest' in policy) return create(PolicySchema, { policyChoice: { case: 'latest', value: { numVersions: policy.latest.num_versions ?? 0 } } });
  if ('all' in policy) return create(PolicySchema, { policyChoice: { case: 'all', value: {} } });
  return create(PolicySchema, { policyChoice: { case: 'specific', value: { versions: policy.specific.versions.map(BigInt) } } });
}

/** Equal in effect is not asked for: unset and `latest {}` differ here, since one of them is what people wrote. */
export function isSamePolicy(a: Policy, b: Policy): boolean {
  return canonical(a) === canonical(b);
}

export function isSameState(a: ModelState, b: ModelState): boolean {
  return canonical(a) === canonical(b);
}

/** Hash of a model's whole entry: tells whether people changed it since. */
export function hashOf(entry: ModelConfig): string {
  // The text form: sorted, complete, and without need of the types inside an Any.
  return hashJson(toText(ModelConfigSchema, entry, { kind: 'line' }));
}

export function hashJson(value: unknown): string {
  return createHash('sha256').update(canonical(value)).digest('hex').slice(0, 32);
}

function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner) ? Object.fromEntries(Object.entries(inner).toSorted(byKey)) : inner,
  );
}

function byKey([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** `specific 6, 7`, `latest 2`, `all`. */
export function policyText(policy: Policy): string {
  if (policy === null) return 'latest 1 (not set)';
  if ('latest' in policy) return `latest ${policy.latest.num_versions ?? 1}`;
  if ('all' in policy) return 'all';
  return `specific ${policy.specific.versions.join(', ')}`;
}

export function stateText(state: ModelState): string {
  const labels = Object.entries(state.labels).map(([label, version]) => `${label} → ${version}`);
  return policyText(state.policy) + (labels.length === 0 ? '' : `, labels ${labels.join(', ')}`);
}

/**
 * What a server's versions say of a policy. `moving`: on the way. `contradicts`: a server with this policy would not look like this
 * (after it had the time to follow). A version that failed to load is no contradiction: it is listed and would be again.
 */
export type Judgement = { readonly kind: 'matches' | 'moving' | 'contradicts'; readonly detail: string };

/** @param onDisk versions in the model's folder, `null` when it cannot be read from here */
export function judgePolicy(policy: Policy, versions: readonly VersionObservation[], onDisk: readonly string[] | null): Judgement {
  const idsIn = (...states: readonly VersionObservation['state'][]): string[] =>
    sortVersions(versions.filter((version) => states.includes(version.state)).map((version) => version.id));
  const available = idsIn('available');
  const coming = idsIn('pending', 'loading');
  const failed = idsIn('failed');
  const named = namedVersions(policy);
  const says = `policy ${policyText(policy)}`;

  if (named !== null) {
    const strangers = coming.filter((id) => !named.includes(id));
    if (strangers.length > 0) return { kind: 'contradicts', detail: `${says}, but ${list(strangers)} loading` };
    if (coming.length > 0) return { kind: 'moving', detail: `${list(coming)} loading` };
    const missing = named.filter((id) => !available.includes(id) && !failed.includes(id) && (onDisk === null || onDisk.includes(id)));
    if (missing.length > 0) return { kind: 'contradicts', detail: `${says}, but ${list(missing)} not loaded` };
    const extra = available.filter((id) => !named.includes(id));
    if (extra.length > 0 && named.every((id) => available.includes(id))) return { kind: 'contradicts', detail: `${says}, but ${list(extra)} served too` };
    return { kind: 'matches', detail: says };
  }

  if (coming.length > 0) return { kind: 'moving', detail: `${list(coming)} loading` };
  const newest = available.at(-1);
  if (newest === undefined) {
    if (failed.length > 0 || onDisk?.length === 0) return { kind: 'matches', detail: says };
    return { kind: 'contradicts', detail: `${says}, but no version is loaded` };
  }
  const limit = policy === null ? 1 : 'latest' in policy ? (policy.latest.num_versions ?? 1) : Number.POSITIVE_INFINITY;
  if (available.length > limit && failed.length === 0) return { kind: 'contradicts', detail: `${says}, but ${list(available)} served` };
  const dropped = idsIn('unloaded', 'draining').filter((id) => compareVersions(id, newest) > 0 && (onDisk === null || onDisk.includes(id)));
  if (dropped.length > 0) {
    const hint = onDisk === null ? ' (if its folder was deleted: let rollbackd read base_path, or restart the server)' : '';
    return { kind: 'contradicts', detail: `${says}, but ${dropped.at(-1)} was unloaded while ${newest} is served${hint}` };
  }
  const unseen = (onDisk ?? []).filter((id) => compareVersions(id, newest) > 0 && !versions.some((version) => version.id === id));
  if (unseen.length > 0) return { kind: 'contradicts', detail: `${says}, but ${unseen.at(-1)} lies in base_path and was never loaded` };
  return { kind: 'matches', detail: says };
}

function list(ids: readonly string[]): string {
  return ids.length === 1 ? `${ids[0]} is` : `${ids.join(', ')} are`;
}
