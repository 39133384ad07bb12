import type { RollbackPolicy, SmokeTest } from './model.ts';
import type { Step } from './step.ts';

/** `recorded`: a dry run, nothing moves. The last five are ends. */
export type EpisodeState =
  | 'pending_approval'
  | 'planned'
  | 'staging'
  | 'switching'
  | 'confirming'
  | 'smoke_testing'
  | 'watching'
  | 'succeeded'
  | 'failed'
  | 'aborted'
  | 'rejected'
  | 'recorded';

export const episodeEnds: ReadonlySet<EpisodeState> = new Set(['succeeded', 'failed', 'aborted', 'rejected', 'recorded']);

export type EpisodeOutcome = 'success' | 'failure' | 'unknown';
export type Trigger = 'rule' | 'manual' | 'alertmanager';

/** The numbers the decision was made on, frozen. */
export type Evidence = {
  readonly signal: string;
  readonly value: number | null;
  readonly threshold: number | null;
  readonly requests: number | null;
  /** Prometheus duration. */
  readonly window: string | null;
  readonly baseline: { readonly version: string; readonly value: number | null } | null;
  /** Compiled queries behind the number, for graphing. */
  readonly series: readonly string[];
};

/** A step as the episode carries it. `inverted`: taken back. */
export type EpisodeStep = {
  readonly name: string;
  readonly state: 'pending' | 'started' | 'done' | 'failed' | 'inverting' | 'inverted';
  readonly startedAtMs: number | null;
  readonly finishedAtMs: number | null;
  readonly detail: string;
  /** Times the mutation was sent. */
  readonly attempts: number;
  readonly step: Step;
  /** Left from a plan that another has replaced: history only, it says nothing of the present target. */
  readonly isPast?: true;
};

export type SmokeResult = {
  readonly name: string;
  readonly outcome: 'passed' | 'failed';
  readonly durationMs: number;
  readonly detail: string;
  /** `staged`: before traffic moved; `serving`: after. */
  readonly when: 'staged' | 'serving';
};

/** The rollback of a group that moves in step, as each of its episodes carries it. */
export type EpisodeGroup = {
  readonly name: string;
  readonly kind: 'together' | 'ordered';
  /** Episode of the model whose breach began it, or that a person asked for. */
  readonly leader: string;
  /** Episodes in the order in which they were listed, the own among them. */
  readonly members: readonly { readonly model: string; readonly episode: string }[];
  /** Models of the group that stay, and why. */
  readonly stays: readonly { readonly model: string; readonly reason: string }[];
  /** Versions that first served then or later came with the release that is left: no targets for those that follow. ms since 1970; `null`: not known. */
  readonly releasedMs: number | null;
};

/** One rollback from decision to end; rebuilt from the journal's events. Times in ms since 1970. */
export type Episode = {
  readonly id: string;
  readonly model: string;
  readonly from: string;
  readonly to: string;
  readonly trigger: Trigger;
  /** Name of the alert; `null` for a rollback by hand. */
  readonly rule: string | null;
  readonly mode: 'enforce' | 'dry_run';
  readonly state: EpisodeState;
  readonly outcome: EpisodeOutcome | null;
  readonly reason: string;
  /** What the end was about, in words: why it failed, what to do. */
  readonly detail: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly detectedAtMs: number;
  readonly startedAtMs: number | null;
  readonly switchedAtMs: number | null;
  readonly recoveredAtMs: number | null;
  readonly finishedAtMs: number | null;
  readonly evidence: Evidence;
  readonly steps: readonly EpisodeStep[];
  readonly smokeTests: readonly SmokeResult[];
  /** Targets that were tried before `to` and gave up. */
  readonly triedTargets: readonly string[];
  /** Versions refused as target, with the reason of each. */
  readonly refusedTargets: readonly { readonly version: string; readonly reason: string }[];
  readonly links: Readonly<Record<string, string>>;
  readonly requestedBy: string | null;
  /** Set once the stick watch has corrected a reverted switch. */
  readonly corrected: boolean;
  /** The plane holds the target on our account since. */
  readonly pinned: boolean;
  /** A person has looked at it (`resume`): it counts no more for the flap lock. */
  readonly flapLifted?: true;
  /** What its plan leaves undone, for people; absent in episodes of older journals. */
  readonly notes?: readonly string[];
  /** Settings the episode started with; a reload does not change them. */
  readonly policy: RollbackPolicy;
  /** Without its requests: these may hold secrets and stay in the files. */
  readonly smokeTest: SmokeTest | null;
  readonly controlPlane: string;
  /** Absent: it moves alone. */
  readonly group?: EpisodeGroup;
  /** The target is loaded and tested, and waits for the others of its group; `null` and absent: not yet. */
  readonly stagedAtMs?: number | null;
};
