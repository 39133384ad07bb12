import { formatDuration } from '../duration.ts';
import type { Measurement } from '../measurement.ts';
import type { Verdict } from '../verdict.ts';
import { count, spell } from '../words.ts';

/** A sample older than this (or than the window, if that is shorter) is stale: two missed scrapes at a minute each, with room. */
export const maxSampleAgeMs = 150_000;
/** A sample that lies further ahead than this is no sample of now: one of the clocks is wrong. */
const maxSampleLeadMs = 10_000;

/** What the numbers alone say, before `for`. */
export type Finding = {
  readonly kind: 'ok' | 'breaching' | 'no_data' | 'error';
  /** Value against limit, in words. */
  readonly words: string;
  readonly value: number | null;
  readonly threshold: number | null;
  readonly requests: number | null;
  /** What it was compared to. */
  readonly baseline?: { readonly version: string; readonly value: number };
  /** A comparison without anything to compare with. */
  readonly isMoot?: true;
  /** Decides by itself whether it is old enough for a breach; absent: the rule's `for` does. */
  readonly isDue?: boolean;
  /** `no_data` while numbers flow: there is not enough evidence yet, which is no reason to tell that data is missing. */
  readonly isUndecided?: true;
  /** Estimated begin of what was counted; absent: the condition has a window. */
  readonly countedSinceMs?: number;
  /** What the other versions with traffic show over the same time. */
  readonly others?: Verdict['others'];
};

/** Another version that was measured for the same rule. */
export type OtherVersion = {
  readonly version: string;
  readonly measurement: Measurement;
  readonly isKnownGood: boolean;
  /** ms since 1970; `null`: never seen serving. */
  readonly firstSeenMs: number | null;
};

/** What is known beside a version's own numbers. */
export type FindContext = {
  readonly nowMs: number;
  readonly version: string;
  readonly others: readonly OtherVersion[];
  /** Whether the version itself is known good; absent: no. */
  readonly isKnownGood?: boolean;
  /** When it was first seen; absent: never. */
  readonly firstSeenMs?: number | null;
  /** The rule's `for`, where the condition looks at it itself; absent: 0. */
  readonly forMs?: number;
};

export function noData(words: string, requests: number | null, threshold: number | null): Finding {
  return { kind: 'no_data', words, value: null, threshold, requests };
}

/** Why the samples are not of now; `null`: they are. */
export function staleness(newestMs: number | null, windowMs: number, nowMs: number): string | null {
  if (newestMs === null) return 'no sample of this version in the window';
  const ageMs = nowMs - newestMs;
  const limitMs = Math.min(windowMs, maxSampleAgeMs);
  if (-ageMs > maxSampleLeadMs) return `newest sample lies ${spell(-ageMs)} ahead of this clock`;
  return ageMs > limitMs ? `newest sample is ${spell(ageMs)} old, more than ${formatDuration(limitMs)}` : null;
}

/** Why there are too few requests to judge on; `null`: there are enough. */
export function tooFew(requests: number | null, minRequests: number, windowMs: number): string | null {
  if (requests === null) return `no requests were counted in ${spell(windowMs)}`;
  // An extrapolated count of 99.6 is the hundred that was really sent.
  return requests + 0.5 >= minRequests ? null : `${count(requests)} of ${minRequests} requests needed in ${spell(windowMs)}`;
}

/** ` over 20s since the switch` where the window was cut. */
export function cutWords(measurement: Measurement, windowMs: number): string {
  return measurement.windowMs < windowMs ? ` over ${spell(measurement.windowMs)} since the switch` : '';
}
