import { AnswerBuilder, labelsKey, SamplesBuilder } from '../../src/adapters/sources/answer-builder.ts';
import { evaluate, rawSamples } from '../../src/adapters/sources/scrape/evaluate.ts';
import { compileMatcher } from '../../src/adapters/sources/scrape/matching.ts';
import { SeriesStore } from '../../src/adapters/sources/scrape/series-store.ts';
import type { Answer, Question } from '../../src/domain/measurement.ts';
import type { Source } from '../../src/domain/ports.ts';
import { planQueries } from '../../src/domain/query-plan.ts';

/** Counters of one process, as its metrics page has them. */
type Server = { readonly instance: string; readonly counters: Map<string, { readonly labels: Readonly<Record<string, string>>; value: number }> };

/**
 * The direct source without HTTP: servers with counters that a test raises, read when the test says so, and answered by the source's own store and arithmetic.
 * What a page holds is what `model_requests_total` and the buckets of `model_request_duration_seconds` would.
 */
export class CounterSource implements Source {
  readonly #store = new SeriesStore();
  readonly #servers = new Map<string, Server>();
  /** Set to make every answer an error. */
  failure: string | null = null;
  readonly askExpr = null;
  readonly history = null;
  /** Windows of raw samples that were asked for, ms. */
  readonly windows: number[] = [];

  /** Requests of a version that ended since the last read; a process is new after `restart`. */
  serve(version: string, requests: number, bad: number, instance = `server-${version}`): void {
    this.#raise(instance, { code: '200', model_version: version }, requests - bad);
    if (bad > 0) this.#raise(instance, { code: '500', model_version: version }, bad);
  }

  /** Durations: per bound how many requests took no longer. The last bound is Infinity. */
  time(version: string, counts: ReadonlyMap<number, number>, instance = `server-${version}`): void {
    for (const [bound, count] of counts) {
      const le = bound === Number.POSITIVE_INFINITY ? '+Inf' : String(bound);
      this.#raise(instance, { le, model_version: version }, count, 'model_request_duration_seconds_bucket');
    }
  }

  /** The process begins anew: all its counters are gone. */
  restart(instance: string): void {
    this.#servers.delete(instance);
  }

  /** Reads every page at this instant. */
  read(atMs: number, which: (instance: string) => boolean = () => true): void {
    for (const { instance, counters } of this.#servers.values()) {
      if (!which(instance)) continue;
      for (const { labels, value } of counters.values()) {
        const { __name__: name = '', ...rest } = labels;
        const key = labelsKey(rest);
        const ring = this.#store.find(name, key) ?? this.#store.add(name, key, rest);
        ring.append(atMs, value, false);
      }
    }
    this.#store.expire(atMs, () => 400_000);
  }

  async ask(questions: readonly Question[], atMs: number): Promise<ReadonlyMap<string, Answer>> {
    await Promise.resolve();
    this.windows.push(...questions.filter(({ kind }) => kind === 'samples').map(({ windowMs }) => windowMs));
    return new Map(questions.map((question) => [question.id, this.failure === null ? this.#answer(question, atMs) : { kind: 'error', reason: this.failure }]));
  }

  describe(questions: readonly Question[]): ReadonlyMap<string, string> {
    return new Map(questions.map((question) => [question.id, planQueries([question])[0]?.promql ?? '']));
  }

  up(): boolean {
    return this.failure === null;
  }

  whyDown(): string | null {
    return this.failure;
  }

  async close(): Promise<void> {}

  #raise(instance: string, labels: Readonly<Record<string, string>>, by: number, name = 'model_requests_total'): void {
    let server = this.#servers.get(instance);
    if (server === undefined) this.#servers.set(instance, (server = { instance, counters: new Map() }));
    const own = { __name__: name, job: 'models', instance, ...labels };
    const key = labelsKey(own);
    const counter = server.counters.get(key);
    if (counter === undefined) server.counters.set(key, { labels: own, value: by });
    else counter.value += by;
  }

  #answer(question: Question, atMs: number): Answer {
    const tests = question.matchers.map(compileMatcher);
    const [query] = planQueries([question]);
    if (query === undefined) throw new Error('no query');
    const one = { ...query, keyLabels: [], ids: new Map([['[]', [question.id]]]) };
    if (question.kind === 'samples') {
      const raw = new SamplesBuilder(one);
      for (const { labels, points } of rawSamples(this.#store, question, tests, atMs)) raw.add(labels, points);
      return raw.answers().get(question.id) ?? { kind: 'error', reason: 'no answer' };
    }
    const builder = new AnswerBuilder(one, atMs);
    for (const { labels, value } of evaluate(this.#store, question, tests, atMs)) builder.add(labels, { atMs, value });
    return builder.answers().get(question.id) ?? { kind: 'error', reason: 'no answer' };
  }
}
