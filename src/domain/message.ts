import type { EpisodeOutcome, EpisodeState, EpisodeStep, Evidence, SmokeResult, Trigger } from './episode.ts';

/**
 * What messages are built from (`OutboxMessage.content`), per kind. Plain JSON without secrets, since it is journalled; times are ISO 8601
 * in UTC (`2026-11-22T12:00:00Z`). Texts are as they are: escaping is the sender's.
 */

/** An episode as the API, the CLI and webhooks show it (design 7); keys fixed. */
export type PublicEpisode = {
  readonly id: string;
  readonly model: string;
  readonly from: string;
  readonly to: string;
  readonly trigger: Trigger;
  readonly rule: string | null;
  readonly mode: 'enforce' | 'dry_run';
  readonly state: EpisodeState;
  readonly outcome: EpisodeOutcome | null;
  readonly reason: string;
  readonly detected_at: string;
  readonly started_at: string | null;
  readonly switched_at: string | null;
  readonly finished_at: string | null;
  readonly evidence: Evidence;
  readonly steps: readonly {
    readonly name: string;
    readonly state: EpisodeStep['state'];
    readonly started_at: string | null;
    readonly finished_at: string | null;
    readonly detail: string;
  }[];
  readonly smoke_tests: readonly { readonly name: string; readonly outcome: SmokeResult['outcome']; readonly duration_ms: number; readonly detail: string }[];
  readonly links: Readonly<Record<string, string>>;
};

/** `episode_started` and `episode_finished` (also a dry run: state `recorded`). */
export type EpisodeContent = PublicEpisode & {
  readonly externalLabels: Readonly<Record<string, string>>;
  /** Until when `from` is no target; `null` when it is not quarantined. */
  readonly quarantinedUntil: string | null;
  /** Endpoints that were told; `null` when unknown. */
  readonly replicas: number | null;
  /** What the end was about, in words. */
  readonly detail: string;
  /** The plane holds the target on our account (`rollbackd unpin MODEL` gives the policy back). */
  readonly pinned: boolean;
  /** What the rollback leaves for people to do; absent in messages of older journals. */
  readonly notes?: readonly string[];
  /** Who asked for a rollback by hand. */
  readonly requestedBy?: string | null;
};

/** `approval_needed`: an episode that waits. */
export type ApprovalContent = EpisodeContent & {
  /** When it is rejected by itself. */
  readonly expiresAt: string | null;
};

export type AlertItem = {
  /** Name of the rule. */
  readonly alert: string;
  readonly model: string;
  readonly version: string;
  /** The rule's annotation, rendered; '' when it has none. */
  readonly summary: string;
  /** The verdict's arithmetic in words. */
  readonly reason: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly startsAt: string;
  readonly endsAt: string | null;
};

/** `alert`: one group of alerts that lead to no rollback. */
export type AlertContent = {
  /** `firing` while one of them fires. */
  readonly status: 'firing' | 'resolved';
  readonly alerts: readonly AlertItem[];
  readonly externalLabels: Readonly<Record<string, string>>;
  readonly links?: Readonly<Record<string, string>>;
};

/** `digest`: a day in short. */
export type DigestContent = {
  /** `2026-11-22` */
  readonly day: string;
  readonly wouldHave: readonly { readonly model: string; readonly from: string; readonly to: string; readonly rule: string | null; readonly reason: string }[];
  readonly did: readonly {
    readonly id: string;
    readonly model: string;
    readonly from: string;
    readonly to: string;
    readonly rule: string | null;
    readonly outcome: EpisodeOutcome | null;
  }[];
  readonly externalLabels: Readonly<Record<string, string>>;
};

/** `notice`: anything else a person should know. */
export type NoticeContent = {
  readonly severity: 'info' | 'warning' | 'error';
  /** One line. */
  readonly title: string;
  readonly text: string;
  readonly links?: Readonly<Record<string, string>>;
  readonly externalLabels: Readonly<Record<string, string>>;
};

/** A message's kind with its content. */
export type MessageContent =
  | { readonly kind: 'episode_started' | 'episode_finished'; readonly content: EpisodeContent }
  | { readonly kind: 'approval_needed'; readonly content: ApprovalContent }
  | { readonly kind: 'alert'; readonly content: AlertContent }
  | { readonly kind: 'digest'; readonly content: DigestContent }
  | { readonly kind: 'notice'; readonly content: NoticeContent };
