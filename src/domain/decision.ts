/** Why rollbackd acts or does not: a closed set, in the order in which the guards are asked (design 7). */
export const guardReasons = [
  'not_leader',
  'paused',
  'frozen',
  'breaker_open',
  'already_rolling_back',
  'cooldown',
  'budget_spent',
  'flap_lock',
  'too_many_at_once',
  'breach_everywhere',
  'no_target',
  'incompatible_target',
  'version_changed',
  'approval_needed',
  'dry_run',
  'go',
] as const;
export type GuardReason = (typeof guardReasons)[number];

/** A guard that holds, with its words. */
export type HeldGuard = { readonly reason: GuardReason; readonly detail: string };

/** What follows from a breach; also when nothing is done. Newest first in every list. */
export type Decision = {
  readonly id: string;
  readonly atMs: number;
  readonly model: string;
  readonly version: string;
  readonly rule: string | null;
  readonly trigger: 'rule' | 'manual' | 'alertmanager';
  /** `rollback`: an episode opened; `dry_run`: recorded what would have been done; `hold`: nothing; `approval`: asked; `notify`: told only. */
  readonly decision: 'rollback' | 'dry_run' | 'hold' | 'approval' | 'notify';
  readonly reason: GuardReason;
  readonly detail: string;
  /** All guards that held, in order. */
  readonly held: readonly HeldGuard[];
  readonly target: string | null;
  readonly episode: string | null;
  readonly verdict: string;
  readonly value: number | null;
  readonly threshold: number | null;
  readonly requests: number | null;
};
