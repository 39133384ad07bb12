import type { RetentionPolicy } from './retention.ts';

/** How far rollbackd may go: act, only write down what it would do, or nothing. */
export type RollbackMode = 'enforce' | 'dry_run' | 'off';

/** The version to go back to. */
export type RollbackTo =
  | { readonly kind: 'last_known_good' }
  | { readonly kind: 'version'; readonly version: string }
  | { readonly kind: 'label'; readonly label: string };

/** When a version's record counts as good. */
export type KnownGoodPolicy = {
  readonly minAgeMs: number;
  readonly minRequests: number;
  /** How far back the source's history is read at start; 0 = not at all. */
  readonly backfillMs: number;
  /** Versions vouched for by hand: their record is not asked for. Newest first has no meaning here. */
  readonly versions: readonly string[];
};

/** Settings of a rollback; every key may be overridden by a rule. Durations in ms. */
export type RollbackPolicy = {
  readonly mode: RollbackMode;
  readonly to: RollbackTo;
  readonly knownGood: KnownGoodPolicy;
  readonly cooldownMs: number;
  readonly maxPer: { readonly count: number; readonly windowMs: number };
  readonly maxDepth: number;
  readonly quarantineMs: number;
  readonly convergeTimeoutMs: number;
  readonly recoveryWithinMs: number;
  readonly stickMs: number;
  readonly requireApproval: 'never' | 'always' | 'outside';
  /** Names of time intervals; `outside` of all of them a person is asked. */
  readonly activeTimeIntervals: readonly string[];
  readonly approvalTimeoutMs: number;
  /** A version that served well for longer than this is asked about first; 0 = never asked for that. */
  readonly approvalAfterMs: number;
  /** A target may take other requests than the version that serves. */
  readonly allowIncompatible: boolean;
};

export type RollbackOverrides = Partial<RollbackPolicy>;

/** A label matcher, parsed to structure at load. */
export type Matcher = { readonly label: string; readonly op: '=' | '!=' | '=~' | '!~'; readonly value: string };

/** Where the numbers of a model come from. */
export type Signals = {
  readonly requests: { readonly metric: string; readonly matchers: readonly Matcher[] };
  /** Failed requests: `matchers` are added to the requests' selector unless `metric` names a counter of its own (then they stand alone). */
  readonly errors: { readonly metric: string | null; readonly matchers: readonly Matcher[] } | null;
  /** Histogram without its `_bucket` suffix. `unitSeconds`: seconds per unit of its bounds (microseconds: 1e-6). */
  readonly latency: { readonly metric: string; readonly matchers: readonly Matcher[]; readonly unitSeconds: number } | null;
};

/** How a series is attributed to a version: by a label, or (`serving`) all traffic is the serving version's. */
export type Attribution = { readonly kind: 'label'; readonly label: string } | { readonly kind: 'serving' };

export type SmokeExpect = {
  readonly status: number | null;
  /** JSON path → expected value; a path may end in `.length()`. */
  readonly json: Readonly<Record<string, unknown>>;
  readonly durationBelowMs: number | null;
};

export type SmokeRequest =
  | {
      readonly kind: 'http';
      readonly name: string;
      readonly method: string;
      /** Template. */
      readonly url: string;
      readonly headers: Readonly<Record<string, string>>;
      /** Template text, or a file read at use (absolute path). */
      readonly body: string | null;
      readonly bodyFile: string | null;
      readonly expect: SmokeExpect;
    }
  | {
      readonly kind: 'command';
      readonly name: string;
      /** Program and arguments, templates; never a shell. */
      readonly argv: readonly [string, ...string[]];
      readonly env: Readonly<Record<string, string>>;
      /** Absolute path; the folder of the daemon's file unless given. */
      readonly cwd: string;
    };

export type SmokeTest = {
  readonly timeoutMs: number;
  /** Tries after the first. */
  readonly retries: number;
  readonly requests: readonly SmokeRequest[];
  readonly onFailure: 'stop' | 'next_target';
};

/** Where the quality of a model's versions is looked up. */
export type QualitySource = {
  readonly source: string;
  /** Name of the model in the registry. */
  readonly model: string;
  /** Regular expression with one capture, anchored: our name of a version → the registry's; `null`: the same. */
  readonly versionPattern: string | null;
};

/** One served model as the daemon's file describes it. */
export type Model = {
  readonly name: string;
  readonly source: string;
  readonly controlPlane: string;
  /** What the plane calls it: keys depend on the plane's kind, validated by its schema. */
  readonly plane: Readonly<Record<string, unknown>>;
  readonly attribution: Attribution;
  /** Regular expression with one capture, anchored; metrics' name of a version → the plane's. */
  readonly versionMap: string | null;
  readonly observeIntervalMs: number;
  /** Name of the preset that filled `signals` and `attribution`, for people; absent: none did. */
  readonly preset?: string;
  readonly signals: Signals;
  /** Registry that measures the quality of its versions; `null`: none. */
  readonly quality: QualitySource | null;
  readonly rollback: RollbackPolicy;
  readonly smokeTest: SmokeTest | null;
  /** How many versions are kept; `null`: nothing is deleted. */
  readonly retention: RetentionPolicy | null;
  /** Templates: git_tag, changelog, runbook … */
  readonly links: Readonly<Record<string, string>>;
};
