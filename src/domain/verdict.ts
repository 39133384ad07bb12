import type { SequentialState } from './sequential/version-watch.ts';

/** What one rule says of one version at one instant. */
export type VerdictKind = 'ok' | 'pending' | 'breach' | 'no_data' | 'error' | 'suppressed';

/** A verdict with its arithmetic in words; only `breach` may lead to a rollback. */
export type Verdict = {
  readonly rule: string;
  readonly model: string;
  readonly version: string;
  readonly atMs: number;
  readonly kind: VerdictKind;
  /** `error ratio 10.2% (588 of 5771) > 5% for 1m12s, for: 1m` */
  readonly reason: string;
  readonly signal: string;
  readonly value: number | null;
  readonly threshold: number | null;
  readonly requests: number | null;
  /** ms since 1970 of the first breaching evaluation in this run, `null` when not breaching. */
  readonly breachingSinceMs: number | null;
  /** The version it was compared to, with its value; absent where nothing was compared. */
  readonly baseline?: { readonly version: string; readonly value: number };
  /** Estimated begin of what was counted, ms since 1970; absent where the rule has a window. */
  readonly countedSinceMs?: number;
  /** What the other versions with traffic show since the estimated begin of the breach, where that was counted. */
  readonly others?: readonly { readonly version: string; readonly isAlike: boolean; readonly words: string }[];
  /** A comparison for which there is nothing to compare with: neither for nor against the version. */
  readonly isMoot?: true;
};

/** Memory of one rule about one version; journalled, so that `for` survives a restart. */
export type RuleState = {
  readonly rule: string;
  readonly version: string;
  /** Mark of the condition it was judged by: the clock of `for` is that of one condition. Absent in what older versions wrote. */
  readonly condition?: string;
  /** First breaching evaluation of the present run. */
  readonly breachingSinceMs: number | null;
  /** Last evaluation that could see (anything but `error`). */
  readonly lastSeenMs: number;
  readonly lastEvaluatedMs: number;
  /** The alert (not the verdict) fires since; kept for `keep_firing_for` after the breach ended. */
  readonly firingSinceMs: number | null;
  readonly keepFiringUntilMs: number | null;
  /** What a detector knew when this was written. */
  readonly sequential?: SequentialState;
};
