import type { Answer, QualityQuestion, QualityValue, Question } from '../../../domain/measurement.ts';
import { PlaneError, type Source } from '../../../domain/ports.ts';
import { MlflowClient } from '../../mlflow/client.ts';
import type { MlflowError } from '../../mlflow/failure.ts';
import { inTurns } from '../in-turns.ts';
import type { SourceDeps } from '../source-plugin.ts';
import type { MlflowSourceConfig } from './schema.ts';
import { qualityOf, readVersionMetrics, type VersionMetrics } from './version-metrics.ts';

/** Versions looked up at once. */
const concurrency = 4;
/** Versions remembered; those not asked about for longest are forgotten. */
const maxRemembered = 1_000;

/** A source that looks up what MLflow knows of versions: README.md says where. It counts no requests. */
export function createMlflowSource(config: MlflowSourceConfig, deps: SourceDeps): Source {
  return new MlflowSource(config, deps);
}

type Remembered = { readonly atMs: number; readonly metrics: VersionMetrics };

class MlflowSource implements Source {
  readonly #config: MlflowSourceConfig;
  readonly #deps: SourceDeps;
  readonly #client: MlflowClient;
  readonly #known = new Map<string, Remembered>();
  #up: boolean | null = null;
  #failure: string | null = null;

  readonly askExpr = null;
  readonly history = null;

  constructor(config: MlflowSourceConfig, deps: SourceDeps) {
    this.#config = config;
    this.#deps = deps;
    this.#client = new MlflowClient(config, { clock: deps.clock, onRequest: (_path, code, durationMs) => deps.onRequest?.('quality', code, durationMs) });
  }

  /** Models never name it as their source: nothing may be concluded from its silence. */
  async ask(questions: readonly Question[]): Promise<ReadonlyMap<string, Answer>> {
    return new Map(questions.map(({ id }): [string, Answer] => [id, { kind: 'error', reason: 'MLflow counts no requests; give the model another source' }]));
  }

  readonly askQuality = async (questions: readonly QualityQuestion[], _atMs: number, signal: AbortSignal): Promise<ReadonlyMap<string, Answer>> => {
    const wanted = new Map(questions.flatMap(({ model, versions }) => versions.map((version) => [keyOf(model, version), { model, version }] as const)));
    const found = new Map<string, VersionMetrics | string>();
    const unreached: string[] = [];
    await inTurns([...wanted], concurrency, async ([key, subject]) => {
      try {
        found.set(key, await this.#metricsOf(key, subject, signal));
      } catch (error) {
        if (!(error instanceof PlaneError)) throw error;
        if (!wasReached(error as MlflowError)) unreached.push(error.message);
        found.set(key, error.message);
      }
    });
    if (!signal.aborted && wanted.size > 0) {
      this.#up = unreached.length === 0;
      this.#failure = unreached[0] ?? null;
    }
    return new Map(questions.map((question) => [question.id, answerOf(question, found)]));
  };

  describe(): ReadonlyMap<string, string> {
    return new Map();
  }

  up(): boolean | null {
    return this.#up;
  }

  whyDown(): string | null {
    return this.#failure;
  }

  async close(): Promise<void> {
    this.#client.close();
  }

  async #metricsOf(key: string, { model, version }: { model: string; version: string }, signal: AbortSignal): Promise<VersionMetrics> {
    const nowMs = this.#deps.clock.nowMs();
    const known = this.#known.get(key);
    if (known !== undefined && nowMs - known.atMs < this.#config.refresh && nowMs >= known.atMs) return known.metrics;
    const tags = this.#config.evaluation_tags;
    const metrics = await readVersionMetrics(this.#client, { model, version, tags: { [tags.model]: model, [tags.version]: version } }, signal);
    this.#known.delete(key);
    this.#known.set(key, { atMs: nowMs, metrics });
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= maxRemembered) break;
      this.#known.delete(oldest);
    }
    return metrics;
  }
}

/** A version whose metrics could not be read makes the whole answer unsure: which of them is bad is what is asked. */
function answerOf({ model, metric, versions }: QualityQuestion, found: ReadonlyMap<string, VersionMetrics | string>): Answer {
  const values = new Map<string, QualityValue>();
  for (const version of versions) {
    const metrics = found.get(keyOf(model, version));
    if (metrics === undefined || typeof metrics === 'string') return { kind: 'error', reason: metrics ?? 'MLflow was not asked' };
    values.set(version, qualityOf(metrics, metric));
  }
  return { kind: 'quality', values };
}

function keyOf(model: string, version: string): string {
  return JSON.stringify([model, version]);
}

/** What MLflow itself refuses is an answer; a login page and what a proxy says are none. */
function wasReached({ class: errorClass, errorCode }: MlflowError): boolean {
  return errorCode !== null && errorClass !== 'transient';
}
