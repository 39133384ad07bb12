import type { Decision } from '../domain/decision.ts';
import type { Episode } from '../domain/episode.ts';
import type { RollbackMode } from '../domain/model.ts';
import type { VersionState } from '../domain/observation.ts';
import type { VerdictKind } from '../domain/verdict.ts';

/** RFC 3339 in UTC, with `Z`. */
export type Instant = string;

/** One version of a model. */
export type VersionView = {
  readonly version: string;
  readonly role: 'active' | 'candidate' | 'baseline' | 'quarantined' | null;
  readonly state: VersionState;
  /** Share of the traffic, 0..1. */
  readonly share: number;
  readonly known_good: boolean;
  /** Why it is known good, or what is missing: `served well for 3h on 120000 requests`. */
  readonly known_good_reason: string;
  readonly quarantined_until: Instant | null;
  readonly first_seen: Instant | null;
};

/** The last verdict of one rule about one version. */
export type VerdictView = {
  readonly rule: string;
  readonly version: string;
  readonly verdict: VerdictKind;
  readonly reason: string;
  readonly value: number | null;
  readonly threshold: number | null;
  readonly requests: number | null;
  readonly at: Instant;
};

export type PauseView = { readonly since: Instant; readonly until: Instant | null; readonly reason: string; readonly by: string };

/** A row of `GET models`. */
export type ModelView = {
  readonly name: string;
  readonly mode: RollbackMode;
  readonly source: string;
  readonly control_plane: string;
  readonly versions: readonly VersionView[];
  /** The gravest of its last verdicts, `null` before the first. */
  readonly verdict: VerdictKind | null;
  readonly reason: string | null;
  readonly paused: PauseView | null;
  /** Freeze windows that keep it from being rolled back now, in words; empty: none. */
  readonly frozen: readonly string[];
  readonly pinned: boolean;
  /** Id of the rollback that is under way. */
  readonly rollback_in_progress: string | null;
  readonly last_rollback: { readonly id: string; readonly at: Instant; readonly outcome: string | null } | null;
  readonly observed_at: Instant | null;
  /** Why the control plane could not be read, `null` when it could. */
  readonly error: string | null;
};

/** `GET models/{name}`. */
export type ModelDetailView = ModelView & { readonly verdicts: readonly VerdictView[] };

/** Prometheus's words, as in its own `/api/v1/rules`. */
export type AlertView = {
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly state: 'pending' | 'firing';
  readonly activeAt: Instant;
  readonly value: string;
};
export type RuleView = {
  readonly type: 'alerting';
  readonly name: string;
  readonly state: 'inactive' | 'pending' | 'firing';
  /** PromQL or the condition in words. */
  readonly query: string;
  /** `for`, seconds. */
  readonly duration: number;
  readonly keepFiringFor: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly health: 'ok' | 'err' | 'unknown';
  readonly lastError?: string;
  readonly lastEvaluation: Instant | null;
  /** What a breach leads to; `null`: it only tells. */
  readonly mode: RollbackMode | null;
  readonly alerts: readonly AlertView[];
};
export type RuleGroupView = {
  readonly name: string;
  readonly file: string;
  readonly model: string;
  /** Seconds. */
  readonly interval: number;
  readonly rules: readonly RuleView[];
};

/** What retention does, or would do, in one place where versions are kept. */
export type RetentionStoreView = {
  readonly store: string;
  /** Why it could not be looked at; then nothing is deleted there. */
  readonly error: string | null;
  readonly versions: readonly {
    readonly version: string;
    readonly created: Instant | null;
    /** Why it stays, `null` when it is (or would be) deleted. */
    readonly keep: string | null;
    /** What became of it; `null` in a plan, and for what stays. */
    readonly outcome: string | null;
  }[];
};
export type RetentionView = { readonly model: string; readonly mode: 'enforce' | 'dry_run' | 'off'; readonly stores: readonly RetentionStoreView[] };

/** How the talking with a part goes. */
export type PartView = {
  /** Whether the last conversation worked; `null` before the first. */
  readonly up: boolean | null;
  /** Since when it is so. */
  readonly since: Instant | null;
  readonly last_success: Instant | null;
  /** What went wrong the last time, in one line without secrets; `null` while all is well. */
  readonly error: string | null;
};
export type NamedPartView = { readonly name: string; readonly kind: string } & PartView;

/** `GET status`: what this process talks to, and what keeps it from acting. It asks nobody: all of it is what was seen last. */
export type StatusView = {
  readonly started: Instant;
  /** `holder`: who is known to lead; `lease`: `null` where nobody is elected, since the journal is this process's own. */
  readonly leader: { readonly leads: boolean; readonly holder: string | null; readonly lease: PartView | null };
  /** `epoch`: 0 while this process only reads. `size_bytes`: as of the last minute. */
  readonly journal: { readonly kind: string; readonly epoch: number; readonly size_bytes: number | null } & PartView;
  readonly sources: readonly NamedPartView[];
  /** `up`: the last observation of each of its models worked; `null` also of a plane that no model names (a registry acts through it). */
  readonly control_planes: readonly NamedPartView[];
  /** One per integration of a receiver; `kind` names it (`slack`). */
  readonly receivers: readonly NamedPartView[];
  /** Messages that wait to be sent. */
  readonly messages_waiting: number;
  /** Breakers that are open. */
  readonly breakers: readonly { readonly name: string; readonly since: Instant; readonly detail: string }[];
  readonly freeze_windows: readonly { readonly name: string; readonly active: boolean }[];
  /** `model: null`: all of them. */
  readonly paused: readonly ({ readonly model: string | null } & PauseView)[];
  /** Models that flap, and are not rolled back any more. */
  readonly flap_locked: readonly string[];
  readonly config: {
    /** SHA-256 of the files in force. */
    readonly hash: string;
    readonly loaded: Instant;
    readonly last_reload_successful: boolean;
    /** Of the last reload, when it was refused. */
    readonly faults: readonly string[];
  };
};

export type ListFilter = { readonly model?: string; readonly limit: number };

/** What can be read; the application implements it. Lists newest first. */
export interface Queries {
  models(): Promise<readonly ModelView[]>;
  model(name: string): Promise<ModelDetailView | null>;
  rollbacks(filter: ListFilter): Promise<readonly Episode[]>;
  rollback(id: string): Promise<Episode | null>;
  /** The decision that opened a rollback; `null` once decisions of that age are gone. */
  decisionOf(episode: Episode): Promise<Decision | null>;
  decisions(filter: ListFilter): Promise<readonly Decision[]>;
  /** Of all models, or of one. */
  rules(model?: string): Promise<readonly RuleGroupView[]>;
  alerts(): Promise<readonly AlertView[]>;
  status(): Promise<StatusView>;
}

/** Who asked for an action and why; journalled. */
export type Request = { readonly reason: string; readonly by: string };

/**
 * What can be done; the application implements it. What is returned becomes `data`; `null` says only that it was done.
 * @throws {ApiError} when it cannot be done (unknown model, nothing waits for approval, refused by a guard)
 */
export interface Actions {
  /** `forMs: null`: until resumed. */
  pause(model: string, request: Request & { readonly forMs: number | null }): Promise<PauseView>;
  resume(model: string, request: Request): Promise<null>;
  unpin(model: string, request: Request): Promise<{ readonly detail: string }>;
  /** `to: null`: the last known good. Resolves when the episode is opened, not when it ends. */
  rollback(model: string, request: Request & { readonly to: string | null }): Promise<Episode>;
  approve(id: string, request: Request): Promise<Episode>;
  reject(id: string, request: Request): Promise<Episode>;
}

export type ErrorType = 'bad_data' | 'unauthorized' | 'not_found' | 'forbidden' | 'too_many_requests' | 'conflict' | 'unavailable' | 'internal';
const statuses: Readonly<Record<ErrorType, number>> = {
  bad_data: 400,
  unauthorized: 401,
  forbidden: 403,
  not_found: 404,
  conflict: 409,
  too_many_requests: 429,
  internal: 500,
  unavailable: 503,
};

/** An answer that is an error, in Prometheus's envelope; the message is shown to the caller. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly errorType: ErrorType;
  readonly status: number;
  constructor(errorType: ErrorType, message: string, status: number = statuses[errorType]) {
    super(message);
    this.errorType = errorType;
    this.status = status;
  }
}

/** Old versions of a model; the application implements it. */
export interface RetentionActions {
  /** What would be deleted now. @throws {ApiError} when that cannot be told */
  plan(model: string): Promise<RetentionView>;
  /** Deletes it, whatever the mode: who asks has opted in. @throws {ApiError} when it may not run now */
  run(model: string, request: Request): Promise<RetentionView>;
}

export interface Health {
  /** `reasons`: what is still missing; empty = ready. */
  ready(): Promise<{ readonly reasons: readonly string[] }>;
}

export interface Lifecycle {
  /** `--web.enable-lifecycle`. */
  readonly enabled: boolean;
  /** All or nothing; `faults`: lines to show, the old settings stay. */
  reload(): Promise<{ readonly faults: readonly string[] }>;
}
