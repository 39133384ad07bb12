import type { Answer, ExprQuestion, HistoryPoint, Question } from '../../../domain/measurement.ts';
import type { Source } from '../../../domain/ports.ts';
import { type PlannedQuery, planQueries } from '../../../domain/query-plan.ts';
import { createHttpClient, type HttpClient } from '../../http/client.ts';
import { AnswerBuilder, AnswerError, checkInstant, SamplesBuilder } from '../answer-builder.ts';
import { inTurns } from '../in-turns.ts';
import type { SourceDeps } from '../source-plugin.ts';
import { readElement, readSeries } from './answers.ts';
import { PrometheusApi, QueryError } from './api.ts';
import type { PrometheusConfig } from './schema.ts';

/** Queries under way at once. */
const concurrency = 4;
/** Prometheus refuses a range with more points per series. */
const maxPointsPerRange = 11_000;

/** A source that asks Prometheus, or whatever speaks its HTTP API. */
export function createPrometheusSource(config: PrometheusConfig, deps: SourceDeps): Source {
  return new PrometheusSource(config, deps);
}

/** `up`: a Prometheus was reached. */
type Attempt = { readonly error: Extract<Answer, { kind: 'error' }> | null; readonly up: boolean };

class PrometheusSource implements Source {
  readonly #client: HttpClient;
  readonly #api: PrometheusApi;
  #up: boolean | null = null;
  #failure: string | null = null;

  constructor(config: PrometheusConfig, deps: SourceDeps) {
    this.#client = createHttpClient(config.http_config ?? {}, { timeoutMs: config.timeout, maxSockets: concurrency, nowMs: () => deps.clock.nowMs() });
    this.#api = new PrometheusApi({
      client: this.#client,
      url: config.url,
      timeoutMs: config.timeout,
      onRequest: (method, code, durationMs) => deps.onRequest?.(method, code, durationMs),
      onWarning: () => deps.onWarning?.(),
    });
  }

  async ask(questions: readonly Question[], atMs: number, signal: AbortSignal): Promise<ReadonlyMap<string, Answer>> {
    const answers = new Map<string, Answer>();
    const queries = planQueries(questions);
    await this.#askAll(queries, signal, async (query) => {
      const reached = await this.#attempt(async () => {
        const found = query.kind === 'samples' ? await this.#samples(query, atMs, signal) : await this.#numbers(query, atMs, signal);
        for (const [id, answer] of found) answers.set(id, answer);
      });
      if (reached.error !== null) for (const id of idsOf(query)) answers.set(id, reached.error);
      return reached;
    });
    return answers;
  }

  readonly askExpr = async (questions: readonly ExprQuestion[], atMs: number, signal: AbortSignal): Promise<ReadonlyMap<string, Answer>> => {
    const answers = new Map<string, Answer>();
    const idsByExpr = Map.groupBy(questions, ({ expr }) => expr);
    await this.#askAll([...idsByExpr], signal, async ([expr, asked]) => {
      const put = (answer: Answer): void => {
        for (const { id } of asked) answers.set(id, answer);
      };
      const reached = await this.#attempt(async () => {
        const elements = (await this.#api.query(expr, atMs, signal)).map((element) => {
          const { labels, point } = readElement(element);
          checkInstant(point.atMs, atMs);
          return { labels, value: point.value };
        });
        put({ kind: 'expr', elements });
      });
      if (reached.error !== null) put(reached.error);
      return reached;
    });
    return answers;
  };

  readonly history = async (
    questions: readonly Question[],
    range: { startMs: number; endMs: number; stepMs: number },
    signal: AbortSignal,
  ): Promise<readonly HistoryPoint[]> => {
    const points: { atMs: number; answers: Map<string, Answer> }[] = [];
    for (let atMs = range.startMs; atMs <= range.endMs; atMs += range.stepMs) points.push({ atMs, answers: new Map() });
    const chunks: (typeof points)[] = [];
    for (let from = 0; from < points.length; from += maxPointsPerRange) chunks.push(points.slice(from, from + maxPointsPerRange));
    const tasks = planQueries(questions).flatMap((query) => chunks.map((chunk) => ({ query, chunk })));
    await this.#askAll(tasks, signal, async ({ query, chunk }) => {
      const reached = await this.#attempt(async () => await this.#fill(query, chunk, range.stepMs, signal));
      if (reached.error !== null) for (const { answers } of chunk) for (const id of idsOf(query)) answers.set(id, reached.error);
      return reached;
    });
    return points;
  };

  describe(questions: readonly Question[]): ReadonlyMap<string, string> {
    const described = new Map<string, string>();
    for (const query of planQueries(questions)) for (const id of idsOf(query)) described.set(id, query.promql);
    return described;
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

  async #numbers(query: PlannedQuery, atMs: number, signal: AbortSignal): Promise<ReadonlyMap<string, Answer>> {
    const builder = new AnswerBuilder(query, atMs);
    for (const element of await this.#api.query(query.promql, atMs, signal)) {
      const { labels, point } = readElement(element);
      builder.add(labels, point);
    }
    return builder.answers();
  }

  async #samples(query: PlannedQuery, atMs: number, signal: AbortSignal): Promise<ReadonlyMap<string, Answer>> {
    const builder = new SamplesBuilder(query);
    for (const element of await this.#api.querySamples(query.promql, atMs, signal)) {
      const { labels, points } = readSeries(element);
      const isOutside = points.some((point) => point.atMs > atMs + 1 || point.atMs < atMs - query.windowMs - 1);
      if (isOutside) throw new AnswerError('a sample of the answer is outside the range asked');
      builder.add(labels, points);
    }
    return builder.answers();
  }

  /** Fills the answers of `query` at every point of one chunk. */
  async #fill(query: PlannedQuery, chunk: readonly { atMs: number; answers: Map<string, Answer> }[], stepMs: number, signal: AbortSignal): Promise<void> {
    const [first, last] = [chunk[0], chunk.at(-1)];
    if (first === undefined || last === undefined) return;
    const builders = chunk.map(({ atMs }) => new AnswerBuilder(query, atMs));
    for (const element of await this.#api.queryRange(query.promql, { startMs: first.atMs, endMs: last.atMs, stepMs }, signal)) {
      const { labels, points } = readSeries(element);
      for (const point of points) {
        const builder = builders[Math.round((point.atMs - first.atMs) / stepMs)];
        if (builder === undefined) throw new AnswerError('a sample of the answer is outside the range asked');
        builder.add(labels, point);
      }
    }
    for (const [index, { answers }] of chunk.entries()) for (const [id, answer] of builders[index]?.answers() ?? []) answers.set(id, answer);
  }

  /** Runs one query; a failure becomes an `error` answer, never an exception. */
  async #attempt(query: () => Promise<void>): Promise<Attempt> {
    try {
      await query();
      return { error: null, up: true };
    } catch (error) {
      if (error instanceof QueryError) return { error: { kind: 'error', reason: error.message }, up: error.reached };
      // Whatever else goes wrong while reading an answer: nothing may be concluded from it.
      return { error: { kind: 'error', reason: `Prometheus: ${this.#client.redact(error instanceof Error ? error.message : String(error))}` }, up: true };
    }
  }

  /** Runs the queries, some at once; remembers whether all of them reached a Prometheus. */
  async #askAll<T>(tasks: readonly T[], signal: AbortSignal, run: (task: T) => Promise<Attempt>): Promise<void> {
    if (tasks.length === 0) return;
    const failures: string[] = [];
    await inTurns(tasks, concurrency, async (task) => {
      const { up, error } = await run(task);
      if (!up) failures.push(error?.reason ?? 'no answer');
    });
    // Given up by the caller says nothing about the other side.
    if (signal.aborted) return;
    this.#up = failures.length === 0;
    this.#failure = failures[0] ?? null;
  }
}

function* idsOf(query: PlannedQuery): Generator<string> {
  for (const ids of query.ids.values()) yield* ids;
}
