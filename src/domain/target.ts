import { isKnownGood } from './ledger.ts';
import { lookUp } from './lookup.ts';
import type { RollbackPolicy } from './model.ts';
import type { Observation } from './observation.ts';
import type { LedgerEntry, QuarantineEntry } from './records.ts';
import type { Verdict } from './verdict.ts';

export type TargetInput = {
  readonly from: string;
  readonly policy: RollbackPolicy;
  readonly observation: Observation;
  readonly ledger: readonly LedgerEntry[];
  readonly quarantine: readonly QuarantineEntry[];
  /** This turn's verdicts for all versions of the model. */
  readonly verdicts: readonly Verdict[];
  /** Targets that were already tried in this episode. */
  readonly tried: readonly string[];
  /** Versions to pass over because they cannot take today's requests, with what differs. Default: none. */
  readonly incompatible?: ReadonlyMap<string, string>;
  /** The version must have served before then, since what came later came with the release that its group leaves; ms since 1970. Default: any time will do. */
  readonly servedBeforeMs?: number | null;
  readonly nowMs: number;
};

export type TargetChoice = {
  readonly target: string | null;
  readonly reason: string;
  readonly refused: readonly { readonly version: string; readonly reason: string }[];
};

/** Names the version to go back to, or tells of each candidate why it was refused. Never «previous»: always a version with a reason. */
export function chooseTarget(input: TargetInput): TargetChoice {
  const refused: { version: string; reason: string }[] = [];
  for (const candidate of candidates(input)) {
    const refusal = refuse(candidate, input);
    if (refusal === null) return { target: candidate.version, reason: candidate.why(), refused };
    refused.push({ version: candidate.version, reason: refusal });
  }
  const { to } = input.policy;
  const none = to.kind === 'label' ? `the label "${to.label}" does not point to one version` : 'no other version is known';
  const words = refused.length === 0 ? none : refused.map(({ version, reason }) => `${version}: ${reason}`).join('; ');
  return { target: null, reason: words, refused };
}

type Candidate = { readonly version: string; readonly depth: number; readonly named: boolean; readonly why: () => string };

function candidates(input: TargetInput): readonly Candidate[] {
  const { to } = input.policy;
  if (to.kind === 'version') return [{ version: to.version, depth: 1, named: true, why: () => 'named by rollback.to' }];
  if (to.kind === 'label') {
    const versions = new Set(input.observation.endpoints.map((endpoint) => lookUp(endpoint.routes, to.label)).filter((found) => found !== undefined));
    // Endpoints that disagree name no version.
    const [version] = versions.size === 1 ? versions : [];
    return version === undefined ? [] : [{ version, depth: 1, named: true, why: () => `the label "${to.label}" points to it` }];
  }
  return otherVersions(input).map((version, index) => ({
    version,
    depth: index + 1,
    named: false,
    why: () => isKnownGood(entryOf(input, version), version, input.policy.knownGood).reason,
  }));
}

/**
 * Versions other than `from` of which anything is known: newest service first, then those vouched for but never seen, then those merely
 * loaded (they are no targets, and must not use up `max_depth`); each part highest first.
 */
function otherVersions(input: TargetInput): readonly string[] {
  const known = new Set<string>([
    ...input.ledger.map((entry) => entry.version),
    ...input.policy.knownGood.versions,
    ...input.observation.versions.filter((version) => version.state === 'available').map((version) => version.id),
  ]);
  known.delete(input.from);
  const served = (version: string): number => entryOf(input, version)?.lastServedMs ?? entryOf(input, version)?.lastHealthyMs ?? Number.NEGATIVE_INFINITY;
  const isVouched = (version: string): number => (input.policy.knownGood.versions.includes(version) ? 1 : 0);
  return [...known].toSorted((a, b) => (served(a) === served(b) ? isVouched(b) - isVouched(a) || compareVersions(b, a) : served(b) - served(a)));
}

function refuse(candidate: Candidate, input: TargetInput): string | null {
  const { version } = candidate;
  if (version === input.from) return 'it is the version in breach';
  if (input.tried.includes(version)) return 'already tried in this episode';
  if (candidate.depth > input.policy.maxDepth) return `more than ${input.policy.maxDepth} versions back (max_depth)`;
  const quarantined = input.quarantine.find((entry) => entry.version === version && entry.untilMs > input.nowMs);
  if (quarantined !== undefined) return `quarantined until ${new Date(quarantined.untilMs).toISOString()} (${quarantined.reason})`;
  const breaching = input.verdicts.find((verdict) => verdict.version === version && isFailing(verdict) && hasTraffic(verdict));
  if (breaching !== undefined) return `breaching now: ${breaching.reason}`;
  const observed = input.observation.versions.find((entry) => entry.id === version);
  if (observed?.state === 'failed') return `the plane could not load it${observed.detail === undefined ? '' : `: ${observed.detail}`}`;
  const difference = input.incompatible?.get(version);
  if (difference !== undefined) return `it cannot take today's requests: ${difference}`;
  if (candidate.named) return null;
  const firstSeenMs = entryOf(input, version)?.firstSeenMs ?? null;
  if (isOfRelease(firstSeenMs, input.servedBeforeMs ?? null) && !input.policy.knownGood.versions.includes(version))
    return `it came with the release that the group leaves: it first served at ${new Date(firstSeenMs ?? 0).toISOString()}`;
  const record = isKnownGood(entryOf(input, version), version, input.policy.knownGood);
  return record.good ? null : record.reason;
}

/** A version that was there before the release goes with what the group goes back to. */
function isOfRelease(firstSeenMs: number | null, releasedMs: number | null): boolean {
  return firstSeenMs !== null && releasedMs !== null && firstSeenMs >= releasedMs;
}

function isFailing(verdict: Verdict): boolean {
  return verdict.kind === 'breach' || verdict.kind === 'pending';
}

/** A version that serves nobody fails nobody: `request_rate below` breaches on it by its nature. `null`: not counted, taken as traffic. */
export function hasTraffic(verdict: Verdict): boolean {
  return verdict.requests === null || verdict.requests > 0;
}

function entryOf(input: TargetInput, version: string): LedgerEntry | null {
  return input.ledger.find((entry) => entry.version === version) ?? null;
}

/** Natural order: runs of digits compare as numbers, so `10` comes after `9`. */
export function compareVersions(a: string, b: string): number {
  const pattern = /(\d+)|(\D+)/g;
  const [left, right] = [a.match(pattern) ?? [], b.match(pattern) ?? []];
  for (let index = 0; index < Math.max(left.length, right.length); index += 1) {
    const [x, y] = [left[index] ?? '', right[index] ?? ''];
    if (x === y) continue;
    if (/^\d/.test(x) && /^\d/.test(y)) {
      const difference = BigInt(x) - BigInt(y);
      if (difference !== 0n) return difference < 0n ? -1 : 1;
    }
    return x < y ? -1 : 1;
  }
  return 0;
}
