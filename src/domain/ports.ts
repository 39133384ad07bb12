import type { Decision } from './decision.ts';
import type { Episode, SmokeResult } from './episode.ts';
import type { JournalEvent, StoredEvent } from './event.ts';
import type { Answer, ExprQuestion, HistoryPoint, QualityQuestion, Question } from './measurement.ts';
import type { SmokeTest } from './model.ts';
import type { Observation } from './observation.ts';
import type { LedgerEntry, OutboxMessage, Pause, QuarantineEntry } from './records.ts';
import type { StoredVersion } from './retention.ts';
import type { ModelSignature } from './signature.ts';
import type { ApplyOutcome, Desired, ErrorClass, PlanResult, Step, StepCheck } from './step.ts';
import type { RuleState } from './verdict.ts';

/** Time as an argument. `sleep` rejects with the signal's reason when aborted. */
export interface Clock {
  nowMs(): number;
  sleep(durationMs: number, signal?: AbortSignal): Promise<void>;
}

/** Fields first, constant text. */
export interface Log {
  debug(fields: Readonly<Record<string, unknown>>, message: string): void;
  info(fields: Readonly<Record<string, unknown>>, message: string): void;
  warn(fields: Readonly<Record<string, unknown>>, message: string): void;
  /** A human must act. */
  error(fields: Readonly<Record<string, unknown>>, message: string): void;
  child(bindings: Readonly<Record<string, unknown>>): Log;
}

/** Where numbers come from. Never throws for a failing source: each question gets an `error` answer instead. */
export interface Source {
  /** Answers many questions at one instant; equal questions may share one query. An entry for every id. */
  ask(questions: readonly Question[], atMs: number, signal: AbortSignal): Promise<ReadonlyMap<string, Answer>>;
  /** PromQL as written; `null` when the source has no PromQL (then rules with `expr` are refused at load). */
  readonly askExpr: ((questions: readonly ExprQuestion[], atMs: number, signal: AbortSignal) => Promise<ReadonlyMap<string, Answer>>) | null;
  /** What it has of versions as a registry; absent, or `null`: it is none. Never throws. */
  readonly askQuality?: ((questions: readonly QualityQuestion[], atMs: number, signal: AbortSignal) => Promise<ReadonlyMap<string, Answer>>) | null;
  /** The same questions at `startMs`, `startMs + stepMs` … `endMs`; `null` when the source has no history. */
  readonly history:
    | ((questions: readonly Question[], range: { startMs: number; endMs: number; stepMs: number }, signal: AbortSignal) => Promise<readonly HistoryPoint[]>)
    | null;
  /** PromQL (or its description) that `ask` sends for these questions; for `plan`, evidence and explanations. */
  describe(questions: readonly Question[]): ReadonlyMap<string, string>;
  /** Whether the last conversation worked; `null` before the first. */
  up(): boolean | null;
  /** Why it did not, for people and without secrets; `null` while `up` is not false. */
  whyDown(): string | null;
  close(): Promise<void>;
}

/** Which model on which plane. */
export type PlaneTarget = { readonly model: string; readonly plane: Readonly<Record<string, unknown>> };

export type PlaneCapabilities = {
  /** Can change what serves (false for a bare registry). */
  readonly actuates: boolean;
  readonly trafficSplit: boolean;
  /** `true`: writes are compare-and-set. */
  readonly compareAndSet: boolean;
  /** The staged target can be asked before traffic moves. */
  readonly preSwitchSmoke: boolean;
  readonly perVersionMetrics: boolean;
  /** Observations say by which other names metrics know the versions (`Observation.names`). */
  readonly translatesNames?: boolean;
};

/** What a plane needs from the application. */
export type PlaneDeps = {
  readonly clock: Clock;
  readonly log: Log;
  /** What earlier steps asked to remember for this plane (from the journal), newest state. */
  readonly memory: () => Readonly<Record<string, unknown>>;
  /** Told of each request: method (`HandleReloadConfigRequest`), code (`OK`, `UNAVAILABLE`, `200`), duration. */
  readonly onRequest: (method: string, code: string, durationMs: number) => void;
  /** What the environment of a plane's commands starts from (PATH, HOME, LANG); nothing unless given. */
  readonly commandEnv?: Readonly<Record<string, string>>;
  /** The process's environment: where the API server of the cluster is, and what credential plugins run in. May hold secrets. Default: empty. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
};

/** What switches versions: design 8. One folder and one registry line per kind. */
export interface ControlPlane {
  capabilities(): PlaneCapabilities;
  /**
   * The applied state. No side effects, not counted in request metrics.
   * `thorough` also fills `refusals` (asked right before acting, and by `check config`). `isReverted`: somebody took back what we wrote for this
   * model, and it is about to be written again; that this model differs from our own record is then no reason to refuse.
   * @throws {PlaneError} when no endpoint answers
   */
  observe(target: PlaneTarget, options: { thorough: boolean; isReverted?: boolean }, signal: AbortSignal): Promise<Observation>;
  /** Pure: ordered steps, or a refusal. */
  plan(target: PlaneTarget, observation: Observation, desired: Desired): PlanResult;
  /** One mutation, or its inverse. Always observes first; never throws for an answer of the plane. */
  apply(target: PlaneTarget, step: Step, options: { inverse: boolean; opId: string; epoch: number }, signal: AbortSignal): Promise<ApplyOutcome>;
  /** Pure: compares the observation from before the step with the present one. `sinceMs` = time since the step was applied. */
  check(step: Step, before: Observation, now: Observation, sinceMs: number): StepCheck;
  /**
   * Rights that it needs for this model and lacks, for people; empty: it has all, `null`: it cannot tell. Asked at start and by `check config --rights`.
   * @throws {PlaneError} when nobody answers
   */
  missingRights?(target: PlaneTarget, signal: AbortSignal): Promise<readonly string[] | null>;
  /** Name under which the journal keeps what it remembers; absent: its own (a registry acts through another plane, whose memory it is). */
  readonly remembersAs?: string;
  /** Where versions are kept that nobody serves any more; absent: nowhere that can be reached. */
  stores?(): readonly VersionStore[];
  /** Pages about where a version came from, by name, for people; of what it has seen, asking nobody. They are journalled and sent, so no secret is in them. Absent: it has none. */
  origin?(target: PlaneTarget, version: string): Readonly<Record<string, string>>;
  /**
   * What a version takes and gives, by each endpoint; absent: it is never told here. No side effects.
   * @throws {PlaneError} when none can be asked
   */
  signatures?(target: PlaneTarget, version: string, signal: AbortSignal): Promise<readonly EndpointSignature[]>;
  close(): Promise<void>;
}

/** `null`: it does not know. A server tells the signature of what it has loaded, a registry that of what was registered with one. */
export type EndpointSignature = { readonly endpoint: string; readonly signature: ModelSignature | null };

/** Keeps versions: a registry, a folder. What serves, and what may be gone back to, the application knows. */
export interface VersionStore {
  /** For people: kind and place, unique on its plane. */
  readonly name: string;
  /** What it wants kept, every other store of the model keeps too; while it cannot be asked, none of them deletes. */
  readonly isAuthority: boolean;
  /** The store's name of a version that the plane serves; `null` when it has none by its rules. */
  idOf(target: PlaneTarget, serving: string): string | null;
  /** Newest first. @throws {PlaneError}, also when the store cannot be reached from here */
  list(target: PlaneTarget, signal: AbortSignal): Promise<readonly StoredVersion[]>;
  /** Deletes one, after it looked again that nothing in the store wants it kept. Never throws for an answer of the store. */
  delete(target: PlaneTarget, id: string, signal: AbortSignal): Promise<ApplyOutcome>;
}

/** A failure of a plane, with what may follow (reference control-planes-serving 6.3). The message never holds a secret. */
export class PlaneError extends Error {
  override readonly name = 'PlaneError';
  readonly class: ErrorClass;
  readonly retryAfterMs: number | null;
  constructor(errorClass: ErrorClass, message: string, options: { cause?: unknown; retryAfterMs?: number } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.class = errorClass;
    this.retryAfterMs = options.retryAfterMs ?? null;
  }
}

/** Values a smoke test's templates may use. */
export type SmokeContext = { readonly model: string; readonly to: string; readonly from: string; readonly labels: Readonly<Record<string, string>> };

/** Runs a smoke test: every request, with retries, under one time limit. Never throws for a failing test. */
export interface SmokeRunner {
  run(test: SmokeTest, context: SmokeContext, signal: AbortSignal): Promise<readonly Omit<SmokeResult, 'when'>[]>;
}

/**
 * The only memory. One append-only table of events; everything read from it is a projection.
 * Asynchronous so that Postgres fits; an append is durable when it resolves.
 * @throws {JournalError} when it cannot be written (then nothing is enforced)
 */
export interface Journal {
  append(events: readonly JournalEvent[]): Promise<readonly StoredEvent[]>;
  /** Newest first. */
  episodes(filter: { model?: string; open?: boolean; limit?: number; sinceMs?: number }): Promise<readonly Episode[]>;
  episode(id: string): Promise<Episode | null>;
  /** Newest first; `untilMs`: made then or before. */
  decisions(filter: { model?: string; limit?: number; sinceMs?: number; untilMs?: number }): Promise<readonly Decision[]>;
  ledger(): Promise<readonly LedgerEntry[]>;
  quarantine(): Promise<readonly QuarantineEntry[]>;
  pauses(): Promise<readonly Pause[]>;
  ruleStates(): Promise<ReadonlyMap<string, RuleState>>;
  planeMemory(): Promise<ReadonlyMap<string, Readonly<Record<string, unknown>>>>;
  /** Messages still to be sent, oldest first. */
  outbox(): Promise<readonly OutboxMessage[]>;
  /** Events after `seq`, oldest first. */
  events(afterSeq: number, limit: number): Promise<readonly StoredEvent[]>;
  /** Recomputes the hash chain; `ok: false` names the first row that does not fit. */
  verify(): Promise<{ readonly ok: true; readonly events: number } | { readonly ok: false; readonly seq: number; readonly reason: string }>;
  /** Drops closed detail older than `beforeMs` (decisions, sent messages) from the projections; events stay. */
  prune(beforeMs: number): Promise<{ readonly removed: number }>;
  /**
   * Removes the oldest events from before `beforeMs`, never those of an open episode, and at most a few thousand a call; an event tells how far. What
   * is left stays verifiable: the first row left carries the hash of the last one removed.
   */
  removeEvents(beforeMs: number): Promise<{ readonly removed: number }>;
  sizeBytes(): Promise<number>;
  /** Sequence number of the newest event, 0 before the first. */
  newestSeq(): Promise<number>;
  /**
   * The leader's epoch, written with each event: +1 per opening of an embedded journal, +1 per `takeEpoch` of a shared one. 0: this process reads only,
   * until it has taken one.
   */
  readonly epoch: number;
  /** Makes this process the one that writes: from now on appends of every earlier epoch are refused. */
  takeEpoch(): Promise<number>;
  /** Asks the journal itself. @throws {JournalError} `isFenced` when another process has taken the epoch since */
  confirmEpoch(): Promise<void>;
  close(): Promise<void>;
}

export class JournalError extends Error {
  override readonly name = 'JournalError';
  /** Another process writes this journal now: whoever gets this must not act any more. */
  readonly isFenced: boolean;
  constructor(message: string, options: { cause?: unknown; isFenced?: boolean } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.isFenced = options.isFenced ?? false;
  }
}

/** A lease that at most one of several processes holds. Knows nothing of clocks: who asks says how long it lasts. */
export interface LeaseLock {
  /** Where it lies, for messages; no secret. */
  readonly name: string;
  /** Takes it, or renews it when held already; one try. Rejects when it cannot be asked. */
  acquire(signal: AbortSignal): Promise<LeaseAnswer>;
  /** Gives it up, so that another need not wait for its end. Only after all guarded work has stopped. */
  release(): Promise<void>;
  close(): Promise<void>;
}
/** `holder`: `null` when nobody holds it (somebody else was faster to see that). */
export type LeaseAnswer = { readonly isHeld: boolean; readonly holder: string | null };

/** Which of several processes may act. */
export interface Leadership {
  /** By the clock that only goes forward: whether the lease outlasts any one request to a plane. Asked right before each mutation. */
  leads(): boolean;
  /** Who is known to lead, for messages. */
  leader(): string | null;
}

/** Sends one message; the outbox around it paces, retries and remembers. */
export interface Sender {
  /** `retryAfterMs` set: try again then. `permanent`: the receiver is broken. Never throws. */
  send(message: OutboxMessage, signal: AbortSignal): Promise<SendResult>;
  /** Messages of one lane are sent one after another, paced. Not a secret (a hash, a name). */
  readonly lane: string;
}
export type SendResult =
  | { readonly kind: 'sent'; readonly detail: string }
  | { readonly kind: 'retry'; readonly retryAfterMs: number | null; readonly reason: NotifyFailure; readonly detail: string }
  | { readonly kind: 'permanent'; readonly reason: NotifyFailure; readonly detail: string };
/** Alertmanager's words for why a notification failed. */
export type NotifyFailure = 'clientError' | 'serverError' | 'rateLimited' | 'authError' | 'contextCanceled' | 'contextDeadlineExceeded' | 'other';
