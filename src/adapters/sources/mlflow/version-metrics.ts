import type { QualityValue } from '../../../domain/measurement.ts';
import type { MlflowRun } from '../../mlflow/answers.ts';
import type { MlflowClient } from '../../mlflow/client.ts';

/** Evaluation runs of one logged model that are read: the newest. */
const maxEvaluations = 20;
/** MLflow writes infinity as the greatest double. */
const greatest = Number.MAX_VALUE;

/** A metric's newest value, of the runs of one version. */
type Found = { readonly value: number; readonly measuredMs: number; readonly runId: string };

/** What was logged of one version: metric → where it was measured last. */
export type VersionMetrics = { readonly status: 'found'; readonly newest: ReadonlyMap<string, Found> } | { readonly status: 'missing' };

/**
 * Reads every metric of a version: of the run that logged it, of runs that measured its logged model since (MLflow 3), and of runs that name it by tags.
 * Values are read from the runs themselves, since the list of a logged model shows NaN as 0. Runs under way, failed or deleted tell nothing.
 * @throws {MlflowError}
 */
export async function readVersionMetrics(
  client: MlflowClient,
  subject: { readonly model: string; readonly version: string; readonly tags: Readonly<Record<string, string>> },
  signal: AbortSignal,
): Promise<VersionMetrics> {
  const version = await client.version(subject.model, subject.version, signal);
  if (version === null) return { status: 'missing' };
  const own = version.run_id === '' ? null : await client.run(version.run_id, signal);
  const modelId = /^models:\/(m-[\w-]+)$/.exec(version.source)?.[1];
  const linked = modelId === undefined ? [] : ((await client.runsOfLoggedModel(modelId, signal)) ?? []);
  const tagged = own === null || own.info.experiment_id === '' ? [] : await client.taggedRuns(own.info.experiment_id, subject.tags, signal);
  const known = new Map([...(own === null ? [] : [own]), ...tagged].map((run) => [run.info.run_id, run]));
  const others = linked.filter((id) => !known.has(id)).slice(0, maxEvaluations);
  for (const run of await Promise.all(others.map(async (id) => await client.run(id, signal)))) if (run !== null) known.set(run.info.run_id, run);
  return { status: 'found', newest: newestOf([...known.values()]) };
}

function newestOf(runs: readonly MlflowRun[]): ReadonlyMap<string, Found> {
  const newest = new Map<string, Found>();
  for (const { info, data } of runs) {
    if (info.status !== 'FINISHED' || info.lifecycle_stage === 'deleted') continue;
    for (const { key, value, timestamp } of data.metrics) {
      const known = newest.get(key);
      if (known === undefined || timestamp > known.measuredMs) newest.set(key, { value: toNumber(value), measuredMs: timestamp, runId: info.run_id });
    }
  }
  return newest;
}

function toNumber(value: number | string): number {
  const number = typeof value === 'number' || /^[-+]?(?:Infinity|(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)$/.test(value) ? Number(value) : Number.NaN;
  return Math.abs(number) >= greatest ? Math.sign(number) * Number.POSITIVE_INFINITY : number;
}

/** One metric of a version as it is judged. */
export function qualityOf(metrics: VersionMetrics, metric: string): QualityValue {
  if (metrics.status === 'missing') return { value: null, measuredMs: 0, note: 'MLflow has no such version (any more)' };
  const found = metrics.newest.get(metric);
  if (found !== undefined) return { value: found.value, measuredMs: found.measuredMs, note: `run ${found.runId}` };
  const others = [...metrics.newest.keys()].toSorted().slice(0, 10);
  return {
    value: null,
    measuredMs: 0,
    note: `no finished run of it logged ${metric}${others.length === 0 ? ', nor any metric' : `; there are: ${others.join(', ')}`}`,
  };
}
