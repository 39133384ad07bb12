import type { KnownGoodPolicy } from './model.ts';
import type { LedgerEntry } from './records.ts';
import type { Verdict } from './verdict.ts';
import { count, spell } from './words.ts';

/** What one turn saw of one version. */
export type ServiceSeen = {
  readonly model: string;
  readonly version: string;
  readonly nowMs: number;
  /** Time since the turn before, ms; capped by the caller at two intervals, so that an outage of ours is not counted as health. */
  readonly elapsedMs: number;
  /** Whether the plane serves it. */
  readonly serves: boolean;
  /** Verdicts of the acting rules for this version; empty when no rule may act. */
  readonly verdicts: readonly Verdict[];
  /** Requests per second in the window that was judged. */
  readonly requestsPerSecond: number | null;
};

/**
 * Adds one turn to a version's record. Health grows only while it serves requests and every acting rule says `ok`; a breach sets it back to nothing;
 * pending, no data, errors and silence add nothing (an expression without an element is `ok`, also where nothing is measured any more).
 */
export function addService(entry: LedgerEntry | null, seen: ServiceSeen): LedgerEntry {
  const before: LedgerEntry = entry ?? {
    model: seen.model,
    version: seen.version,
    firstSeenMs: seen.nowMs,
    servingSinceMs: null,
    lastServedMs: null,
    healthyMs: 0,
    healthyRequests: 0,
    lastHealthyMs: null,
    origin: 'watched',
  };
  const servingSinceMs = seen.serves ? (before.servingSinceMs ?? seen.nowMs) : null;
  const lastServedMs = seen.serves ? seen.nowMs : before.lastServedMs;
  const next = { ...before, servingSinceMs, lastServedMs };
  if (seen.verdicts.some((verdict) => verdict.kind === 'breach')) return { ...next, healthyMs: 0, healthyRequests: 0, lastBreachMs: seen.nowMs };
  const isBusy = seen.serves && seen.requestsPerSecond !== null && seen.requestsPerSecond > 0;
  // A comparison without anything to compare with speaks neither for nor against it.
  const telling = seen.verdicts.filter((verdict) => verdict.isMoot !== true);
  const isHealthy = isBusy && telling.length > 0 && telling.every((verdict) => verdict.kind === 'ok');
  if (!isHealthy) return next;
  return {
    ...next,
    healthyMs: before.healthyMs + seen.elapsedMs,
    healthyRequests: before.healthyRequests + ((seen.requestsPerSecond ?? 0) * seen.elapsedMs) / 1000,
    lastHealthyMs: seen.nowMs,
  };
}

/**
 * The record with what history tells of the time before it was first seen; each time is counted once. A breach since then has taken
 * the earlier health away as well.
 */
export function withHistory(entry: LedgerEntry, history: LedgerEntry): LedgerEntry {
  const merged = {
    ...entry,
    origin: 'backfill' as const,
    firstSeenMs: Math.min(entry.firstSeenMs, history.firstSeenMs),
    lastServedMs: latest(entry.lastServedMs, history.lastServedMs),
  };
  if (entry.lastBreachMs !== undefined) return merged;
  return {
    ...merged,
    healthyMs: entry.healthyMs + history.healthyMs,
    healthyRequests: entry.healthyRequests + history.healthyRequests,
    lastHealthyMs: latest(entry.lastHealthyMs, history.lastHealthyMs),
  };
}

function latest(a: number | null, b: number | null): number | null {
  return a === null || b === null ? (a ?? b) : Math.max(a, b);
}

/** Whether a version's record makes it known good, with the arithmetic. */
export function isKnownGood(entry: LedgerEntry | null, version: string, policy: KnownGoodPolicy): { readonly good: boolean; readonly reason: string } {
  if (policy.versions.includes(version)) return { good: true, reason: 'vouched for in known_good.versions' };
  if (entry === null) return { good: false, reason: 'no record of healthy service' };
  const words = `healthy for ${spell(entry.healthyMs)} on ${count(entry.healthyRequests)} requests`;
  const isOldEnough = entry.healthyMs >= policy.minAgeMs;
  const isBusyEnough = entry.healthyRequests + 0.5 >= policy.minRequests;
  if (isOldEnough && isBusyEnough) return { good: true, reason: words };
  return { good: false, reason: `${words}, needed: ${spell(policy.minAgeMs)} and ${policy.minRequests} requests` };
}
