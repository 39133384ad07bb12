/** The ledger's line on one version: how long and on how many requests it served well. */
export type LedgerEntry = {
  readonly model: string;
  readonly version: string;
  readonly firstSeenMs: number;
  /** Start of its present service, `null` while it does not serve. */
  readonly servingSinceMs: number | null;
  readonly lastServedMs: number | null;
  /** Time served with every acting rule `ok`, ms; a breach sets it (and the requests) back to 0. */
  readonly healthyMs: number;
  readonly healthyRequests: number;
  readonly lastHealthyMs: number | null;
  /** Last turn in which it breached; what was healthy before that counts no more. */
  readonly lastBreachMs?: number;
  /** `backfill`: the source's history has been read into it, once. */
  readonly origin: 'watched' | 'backfill';
};

export type QuarantineEntry = {
  readonly model: string;
  readonly version: string;
  readonly sinceMs: number;
  readonly untilMs: number;
  readonly reason: string;
  readonly by: string;
};

/** `model: null` = all models. */
export type Pause = { readonly model: string | null; readonly sinceMs: number; readonly untilMs: number | null; readonly reason: string; readonly by: string };

export function isInForce({ untilMs }: Pause, nowMs: number): boolean {
  return untilMs === null || untilMs > nowMs;
}

/** The pause that holds a model now, its own or that of all; `undefined`: none does. */
export function pauseOf(pauses: readonly Pause[], model: string, nowMs: number): Pause | undefined {
  return pauses.find((pause) => (pause.model === null || pause.model === model) && isInForce(pause, nowMs));
}

/** A message that must reach a receiver. */
export type OutboxMessage = {
  /** `<episode>/started`, `<episode>/finished`, `alert/<rule>/<version>/<since>`: a repeat carries the same id. */
  readonly id: string;
  readonly receiver: string;
  /** What the sender builds the message from; plain JSON, no secrets. */
  readonly kind: 'episode_started' | 'episode_finished' | 'approval_needed' | 'alert' | 'digest' | 'notice';
  readonly content: Readonly<Record<string, unknown>>;
  readonly enqueuedMs: number;
  readonly notBeforeMs: number;
  readonly attempts: number;
  readonly state: 'waiting' | 'sent' | 'dropped';
  readonly detail: string;
};
