/** A version of a registered model as the double keeps it; `deleted` ones keep their number. */
export type VersionRecord = {
  readonly version: number;
  createdMs: number;
  status: 'READY' | 'PENDING_REGISTRATION' | 'FAILED_REGISTRATION';
  statusMessage: string;
  stage: string;
  runId: string;
  source: string;
  /** The file MLmodel among its artifacts. */
  modelFile: string | null;
  readonly tags: Map<string, string>;
  deleted: boolean;
};

export type ModelRecord = { readonly name: string; readonly aliases: Map<string, number>; readonly versions: Map<number, VersionRecord> };

export type MetricRecord = { readonly key: string; readonly value: number; readonly timestamp: number; readonly step: number; readonly modelId: string | null };
export type RunRecord = {
  readonly id: string;
  readonly experimentId: string;
  status: string;
  deleted: boolean;
  startMs: number;
  readonly tags: Map<string, string>;
  readonly metrics: MetricRecord[];
};

/** What a registry and its tracking store hold. */
export class RegistryState {
  readonly models = new Map<string, ModelRecord>();
  readonly runs = new Map<string, RunRecord>();
  #now = 1_790_000_000_000;

  model(name: string): ModelRecord {
    const known = this.models.get(name) ?? { name, aliases: new Map<string, number>(), versions: new Map<number, VersionRecord>() };
    this.models.set(name, known);
    return known;
  }

  /** Registers the next version, logged by a run of its own with these metrics. */
  register(
    name: string,
    options: { metrics?: Readonly<Record<string, number>>; createdMs?: number; tags?: Readonly<Record<string, string>>; modelFile?: string } = {},
  ): VersionRecord {
    const { versions } = this.model(name);
    // Numbers of deleted versions are not used again.
    const version = Math.max(0, ...versions.keys()) + 1;
    const createdMs = options.createdMs ?? (this.#now += 1_000);
    const modelId = `m-${name}-${version}`;
    const run = this.log(`run-${name}-${version}`, options.metrics ?? {}, { modelId, atMs: createdMs });
    const record: VersionRecord = {
      version,
      createdMs,
      status: 'READY',
      statusMessage: '',
      stage: 'None',
      runId: run.id,
      source: `models:/${modelId}`,
      modelFile: options.modelFile ?? null,
      tags: new Map(Object.entries(options.tags ?? {})),
      deleted: false,
    };
    versions.set(version, record);
    return record;
  }

  /** A run with metrics; with `modelId` they are measured on a logged model. */
  log(
    id: string,
    metrics: Readonly<Record<string, number>>,
    options: { modelId?: string; tags?: Readonly<Record<string, string>>; atMs?: number; experimentId?: string; status?: string } = {},
  ): RunRecord {
    const atMs = options.atMs ?? (this.#now += 1_000);
    const run: RunRecord = this.runs.get(id) ?? {
      id,
      experimentId: options.experimentId ?? '1',
      status: options.status ?? 'FINISHED',
      deleted: false,
      startMs: atMs,
      tags: new Map(Object.entries(options.tags ?? {})),
      metrics: [],
    };
    for (const [key, value] of Object.entries(metrics))
      run.metrics.push({ key, value, timestamp: atMs, step: run.metrics.length, modelId: options.modelId ?? null });
    this.runs.set(id, run);
    return run;
  }
}
