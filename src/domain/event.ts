import type { Decision } from './decision.ts';
import type { Episode, EpisodeOutcome, EpisodeState, EpisodeStep, SmokeResult } from './episode.ts';
import type { LedgerEntry, OutboxMessage, Pause, QuarantineEntry } from './records.ts';
import type { RuleState } from './verdict.ts';

/**
 * What the journal is made of. Everything else (episodes, ledger, quarantine, outbox …) is a projection of these.
 * All payloads are plain JSON.
 */
export type JournalEvent =
  | { readonly type: 'episode_opened'; readonly episode: Episode }
  | {
      readonly type: 'episode_state';
      readonly episodeId: string;
      readonly atMs: number;
      readonly state: EpisodeState;
      readonly detail: string;
      readonly outcome?: EpisodeOutcome;
      readonly changes?: Partial<
        Pick<
          Episode,
          | 'startedAtMs'
          | 'switchedAtMs'
          | 'recoveredAtMs'
          | 'to'
          | 'triedTargets'
          | 'corrected'
          | 'pinned'
          | 'refusedTargets'
          | 'links'
          | 'notes'
          | 'flapLifted'
          | 'stagedAtMs'
        >
      >;
    }
  /** Replaces the steps that are not yet done (a plan, or a new plan for the next target). */
  | { readonly type: 'steps_planned'; readonly episodeId: string; readonly atMs: number; readonly steps: readonly EpisodeStep[] }
  /** Intent, written before the mutation is sent. */
  | { readonly type: 'step_intent'; readonly episodeId: string; readonly atMs: number; readonly step: string; readonly inverse: boolean }
  | {
      readonly type: 'step_outcome';
      readonly episodeId: string;
      readonly atMs: number;
      readonly step: string;
      readonly state: EpisodeStep['state'];
      readonly detail: string;
      readonly remember?: { readonly plane: string; readonly values: Readonly<Record<string, unknown>> };
    }
  | { readonly type: 'smoke_test'; readonly episodeId: string; readonly atMs: number; readonly results: readonly SmokeResult[] }
  | { readonly type: 'decision'; readonly decision: Decision }
  | { readonly type: 'ledger'; readonly entries: readonly LedgerEntry[] }
  | { readonly type: 'quarantined'; readonly entry: QuarantineEntry }
  | { readonly type: 'quarantine_lifted'; readonly model: string; readonly version: string; readonly by: string; readonly atMs: number }
  | { readonly type: 'paused'; readonly pause: Pause }
  | { readonly type: 'resumed'; readonly model: string | null; readonly by: string; readonly atMs: number }
  /** Retention of one version in one store: `begun` before it is sent, then what became of it. */
  | {
      readonly type: 'version_retention';
      readonly model: string;
      readonly store: string;
      readonly version: string;
      readonly by: string;
      readonly atMs: number;
      readonly state: 'begun' | 'deleted' | 'kept' | 'unknown';
      readonly detail: string;
    }
  /** States that changed in a turn; `null` values forget a state. Key: `<rule> <version>`. */
  | { readonly type: 'rule_states'; readonly states: Readonly<Record<string, RuleState | null>> }
  | { readonly type: 'plane_memory'; readonly plane: string; readonly values: Readonly<Record<string, unknown>>; readonly atMs: number }
  | { readonly type: 'message_enqueued'; readonly message: OutboxMessage }
  | {
      readonly type: 'message_attempt';
      readonly id: string;
      readonly atMs: number;
      readonly state: OutboxMessage['state'];
      readonly notBeforeMs: number;
      readonly detail: string;
    }
  /** Written in the transaction that removes all events up to `upToSeq`, whose hash is `hash`: so the chain itself says what is gone. */
  | { readonly type: 'events_removed'; readonly upToSeq: number; readonly hash: string; readonly beforeMs: number };

/** An event as stored. `hash` = SHA-256 over the canonical JSON of the row and the hash of the one before. */
export type StoredEvent = { readonly seq: number; readonly atMs: number; readonly epoch: number; readonly event: JournalEvent; readonly hash: string };
