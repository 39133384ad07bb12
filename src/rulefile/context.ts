import type { RollbackPolicy } from '../domain/model.ts';
import type { YamlFile } from './yaml-document.ts';

/** What is known of a model when rules are checked together with the daemon's file; `null` = not known. */
export type KnownModel = {
  /** Whether the model's source answers PromQL. */
  readonly promql: boolean | null;
  readonly hasErrors: boolean | null;
  readonly hasLatency: boolean | null;
  /** Why a signal is missing, and the way out, where the model's preset knows. */
  readonly lacks?: { readonly errors?: string; readonly latency?: string };
  /** Highest finite bucket of the latency histogram, seconds. */
  readonly highestBucketSeconds: number | null;
  /** Bounds of its buckets, seconds, where they are known. */
  readonly bucketBoundsSeconds?: readonly number[] | null;
  /** Whether the model names a registry that measures its versions. */
  readonly hasQuality?: boolean | null;
  readonly hasSmokeTest: boolean | null;
  readonly policy: RollbackPolicy | null;
  /** Names of `time_intervals:`; absent: not known. */
  readonly timeIntervals?: readonly string[];
};

/** Absent `models`: the files are judged alone, and any model may exist. */
export type RuleFileContext = { readonly models?: ReadonlyMap<string, KnownModel>; readonly evaluationIntervalMs?: number };

/** What checks and lints of one group look at. */
export type GroupContext = { readonly yaml: YamlFile; readonly path: readonly PropertyKey[]; readonly model: KnownModel | null; readonly intervalMs: number };
