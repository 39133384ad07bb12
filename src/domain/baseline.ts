import type { Measurement } from './measurement.ts';

type Candidate = { readonly version: string; readonly measurement: Measurement; readonly isKnownGood: boolean; readonly firstSeenMs: number | null };

/**
 * The version that another one is compared to, over the same window. Only versions with requests come into question: known good ones first, among
 * them the one with most requests. Where none is known good, a version that is not either is compared to those seen before it. `null`: a known good
 * version is not compared to newcomers, and one that is alone to nothing.
 */
export function chooseBaseline<T extends Candidate>(subject: {
  readonly others: readonly T[];
  readonly isKnownGood?: boolean;
  readonly firstSeenMs?: number | null;
}): T | null {
  const busy = subject.others.filter(({ measurement }) => requestsOf(measurement) > 0);
  const good = busy.filter(({ isKnownGood }) => isKnownGood);
  if (good.length > 0) return mostRequested(good);
  if (subject.isKnownGood === true) return null;
  const ownMs = subject.firstSeenMs ?? Number.POSITIVE_INFINITY;
  return mostRequested(busy.filter(({ firstSeenMs }) => firstSeenMs !== null && firstSeenMs < ownMs));
}

function mostRequested<T extends Candidate>(candidates: readonly T[]): T | null {
  return candidates.toSorted((a, b) => requestsOf(b.measurement) - requestsOf(a.measurement))[0] ?? null;
}

function requestsOf({ requests, buckets, parts }: Measurement): number {
  return Math.max(requests ?? 0, buckets?.get(Number.POSITIVE_INFINITY) ?? 0, ...(parts ?? []).map(requestsOf));
}
