import type { Calendar } from '../domain/calendar.ts';
import type { Limits } from '../domain/limits.ts';
import type { Model } from '../domain/model.ts';
import type { ModelGroup } from '../domain/model-group.ts';
import type { Route } from '../domain/routing.ts';
import type { RuleGroup } from '../domain/rule.ts';

/** A plug-in's entry: `settings` is what its own schema gave, paths absolute. */
export type PluginConfig = { readonly name: string; readonly kind: string; readonly settings: unknown };

/** One receiver with all its integrations; `kind` is the key in the file (`slack_configs`), one entry per item of its list. */
export type ReceiverConfig = { readonly name: string; readonly integrations: readonly { readonly kind: string; readonly settings: unknown }[] };

/** Copies of an embedded journal: cron expression in UTC, and how many stay. */
export type JournalBackups = { readonly dir: string; readonly schedule: string; readonly keep: number };

/** Where the journal lies; `retentionMs`: older events are removed. */
export type JournalConfig = (
  | { readonly kind: 'sqlite'; readonly path: string; readonly backup: JournalBackups | null }
  | { readonly kind: 'postgres'; readonly urlFile: string }
) & {
  readonly retentionMs: number;
};

/** `leaseDurationMs` > `renewDeadlineMs` > 1.2 × `retryPeriodMs`. */
export type LeaderElectionConfig = {
  readonly leaseDurationMs: number;
  readonly renewDeadlineMs: number;
  readonly retryPeriodMs: number;
  /** `null`: a row of the journal's database. */
  readonly lease: { readonly kind: string; readonly settings: unknown } | null;
};

/** The daemon's file and its rule files, checked as a whole, all defaults filled in. Durations in ms, paths absolute. */
export type Config = {
  /** The daemon's file. */
  readonly file: string;
  readonly evaluationIntervalMs: number;
  /** `global.external_labels`, variables expanded. */
  readonly globalLabels: Readonly<Record<string, string>>;
  readonly journal: JournalConfig;
  /** `null`: there is nobody to elect among, the journal is this process's own. */
  readonly leaderElection: LeaderElectionConfig | null;
  readonly sources: readonly PluginConfig[];
  readonly controlPlanes: readonly PluginConfig[];
  readonly models: readonly Model[];
  /** Of all rule files, in the order of their paths; rule ids are unique over all of them. */
  readonly groups: readonly RuleGroup[];
  /** `groups:`, patterns spelled out. */
  readonly modelGroups: readonly ModelGroup[];
  readonly limits: Limits;
  /** Freeze windows and time intervals. */
  readonly calendar: Calendar;
  /** `null`: nobody is told. */
  readonly route: Route | null;
  readonly receivers: readonly ReceiverConfig[];
  /** Every file that was read: the daemon's and its rule files. */
  readonly files: readonly string[];
  /** SHA-256 over paths and contents of `files`; compare with `fingerprint(file)` to see that a reload is due. */
  readonly hash: string;
};
