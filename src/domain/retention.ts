import { formatDuration } from './duration.ts';
import { isKnownGood } from './ledger.ts';
import type { RollbackPolicy } from './model.ts';
import type { Observation, VersionState } from './observation.ts';
import type { LedgerEntry } from './records.ts';
import { spell } from './words.ts';

/** How many versions of a model are kept where they lie. */
export type RetentionPolicy = {
  readonly mode: 'enforce' | 'dry_run' | 'off';
  /** The newest so many stay. */
  readonly keep: number;
  readonly minAgeMs: number;
  /** Cron, UTC. */
  readonly schedule: string;
  /** At most so many are deleted in one run, of one store. */
  readonly maxDeletions: number;
};

/** A version as it is kept, loaded or not. */
export type StoredVersion = {
  /** As the store writes it. */
  readonly id: string;
  /** ms since 1970; `null`: the store does not tell. */
  readonly createdMs: number | null;
  /** Why the store itself wants it kept (an alias, a tag), `null` when it does not. */
  readonly keep: string | null;
};

/** What becomes of one version in one store; `keep: null`: it would be deleted. */
export type RetentionItem = { readonly version: string; readonly createdMs: number | null; readonly keep: string | null };

/** States in which nobody holds the version. */
const idle: ReadonlySet<VersionState> = new Set(['absent', 'unloaded', 'failed']);

/** Versions that must stay wherever they lie, as the plane names them, with the reason of each. */
export function neededVersions(input: {
  readonly observation: Observation;
  readonly policy: RollbackPolicy;
  readonly ledger: readonly LedgerEntry[];
}): ReadonlyMap<string, string> {
  const { observation, policy, ledger } = input;
  const needed = new Map<string, string>();
  const need = (version: string, reason: string): void => void (needed.has(version) || needed.set(version, reason));
  for (const { version, share } of observation.serving) if (share > 0) need(version, 'it serves');
  for (const { id, state } of [...observation.versions, ...observation.endpoints.flatMap((endpoint) => endpoint.versions)])
    if (!idle.has(state)) need(id, `it is ${state}`);
  for (const { routes } of observation.endpoints) for (const [route, version] of Object.entries(routes)) need(version, `${route} points to it`);
  if (policy.to.kind === 'version') need(policy.to.version, 'it is the target of rollbacks (rollback.to)');
  for (const version of policy.knownGood.versions) need(version, 'it is vouched for (known_good.versions)');
  const good = ledger
    .filter((entry) => isKnownGood(entry, entry.version, policy.knownGood).good)
    .toSorted((a, b) => (b.lastServedMs ?? b.lastHealthyMs ?? 0) - (a.lastServedMs ?? a.lastHealthyMs ?? 0));
  // The one that serves is not gone back to: it must not use up the depth.
  const targets = good.filter(({ version }) => !observation.serving.some((share) => share.version === version));
  for (const { version } of targets.slice(0, policy.maxDepth)) need(version, `it is known good, within max_depth: ${policy.maxDepth}`);
  return needed;
}

/**
 * What becomes of every version of one store. Whatever is not clearly done with stays.
 * @param versions newest first
 * @param needed reason why a version of this store must stay, `null` for none
 */
export function planRetention(
  versions: readonly StoredVersion[],
  needed: (id: string) => string | null,
  policy: RetentionPolicy,
  nowMs: number,
): readonly RetentionItem[] {
  const items = versions.map(({ id, createdMs, keep }, index): RetentionItem => {
    const young = createdMs === null ? 'its age is not known' : tooYoung(nowMs - createdMs, policy.minAgeMs);
    const newest = index < policy.keep ? `it is one of the ${policy.keep} newest` : null;
    return { version: id, createdMs, keep: keep ?? needed(id) ?? newest ?? young };
  });
  // The oldest go first; the rest is left for the next run.
  const doomed = items.filter(({ keep }) => keep === null);
  const spared = new Set(doomed.slice(0, Math.max(0, doomed.length - policy.maxDeletions)));
  return items.map((item) => (spared.has(item) ? { ...item, keep: `left for the next run (max_deletions: ${policy.maxDeletions})` } : item));
}

function tooYoung(ageMs: number, minAgeMs: number): string | null {
  if (ageMs < 0) return 'it was made ahead of this clock';
  return ageMs < minAgeMs ? `it is ${spell(ageMs)} old, younger than ${formatDuration(minAgeMs)}` : null;
}
