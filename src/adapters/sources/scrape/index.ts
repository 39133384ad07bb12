import { lookUp } from '../../../domain/lookup.ts';
import type { Answer, Question } from '../../../domain/measurement.ts';
import type { Source } from '../../../domain/ports.ts';
import { groupKey, type PlannedQuery, planQueries } from '../../../domain/query-plan.ts';
import { createHttpClient, type HttpClient } from '../../http/client.ts';
import { HttpError } from '../../http/http-error.ts';
import { AnswerBuilder, AnswerError, type Labels, labelsKey, SamplesBuilder } from '../answer-builder.ts';
import { inTurns } from '../in-turns.ts';
import type { SourceDeps } from '../source-plugin.ts';
import { evaluate, lookbackMs, rawSamples } from './evaluate.ts';
import { acceptHeader, ExpositionError, type ExpositionSample, formatOf, parseExposition } from './exposition.ts';
import { compileMatcher, fitsAll, type LabelTest, MatcherError, withoutEmpty } from './matching.ts';
import type { ScrapeConfig } from './schema.ts';
import { type SeriesRing, SeriesStore } from './series-store.ts';

/** Targets read at once. */
const concurrency = 10;

/** A source that reads the servers' metrics pages itself. */
export interface ScrapeSource extends Source {
  /** Begins to read every `scrape_interval`, at once for the first time; ends with `close`. */
  start(): void;
  /** Reads every target once. Never throws: a failed target is remembered as such. */
  scrapeOnce(signal?: AbortSignal): Promise<void>;
  /** Makes the source keep the series of these questions from the next read on; `ask` does it too. */
  want(questions: readonly Question[]): void;
}

export function createScrapeSource(config: ScrapeConfig, deps: SourceDeps): ScrapeSource {
  return new TargetScraper(config, deps);
}

/** The same, already reading. */
export function startScrapeSource(config: ScrapeConfig, deps: SourceDeps): ScrapeSource {
  const source = createScrapeSource(config, deps);
  source.start();
  return source;
}

type Target = {
  readonly address: string;
  readonly url: string;
  readonly labels: Labels;
  lastAttemptMs: number | null;
  lastSuccessMs: number;
  /** Why the last read failed; `null` when it did not. */
  failure: string | null;
  /** Series seen in the last read. */
  series: Set<SeriesRing>;
};

type Selector = { readonly tests: readonly LabelTest[] };
type Wanted = { keepMs: number; readonly selectors: Map<string, Selector> };
/** One kept line of a page, before the page is known to be whole. */
type Kept = { readonly metric: string; readonly key: string; readonly labels: Labels; readonly value: number };

class TargetScraper implements ScrapeSource {
  readonly askExpr = null;
  readonly history = null;
  readonly #config: ScrapeConfig;
  readonly #deps: SourceDeps;
  readonly #client: HttpClient;
  readonly #targets: readonly Target[];
  readonly #store = new SeriesStore();
  readonly #wanted = new Map<string, Wanted>();
  readonly #stop = new AbortController();
  readonly #timeoutMs: number;
  #loop: Promise<void> | null = null;

  constructor(config: ScrapeConfig, deps: SourceDeps) {
    this.#config = config;
    this.#deps = deps;
    this.#timeoutMs = config.scrape_timeout ?? Math.min(config.scrape_interval, 10_000);
    this.#client = createHttpClient(config.http_config ?? {}, {
      timeoutMs: this.#timeoutMs,
      maxBytes: config.body_size_limit,
      maxSockets: 2,
      nowMs: () => deps.clock.nowMs(),
    });
    this.#targets = config.static_configs.flatMap(({ targets, labels }) =>
      targets.map((address) => ({
        address,
        url: `${config.scheme}://${address}${config.metrics_path}`,
        labels: withoutEmpty({ job: config.job_name, instance: address, ...labels }),
        lastAttemptMs: null,
        lastSuccessMs: -Infinity,
        failure: null,
        series: new Set<SeriesRing>(),
      })),
    );
  }

  start(): void {
    this.#loop ??= this.#run(this.#stop.signal);
  }

  async scrapeOnce(signal: AbortSignal = this.#stop.signal): Promise<void> {
    await inTurns(this.#targets, concurrency, async (target) => await this.#scrape(target, signal));
    this.#store.expire(this.#deps.clock.nowMs(), (metric) => this.#wanted.get(metric)?.keepMs ?? 0);
  }

  want(questions: readonly Question[]): void {
    for (const question of questions) {
      try {
        this.#selectorOf(question);
      } catch (error) {
        // `ask` says so for the question itself.
        if (!(error instanceof MatcherError)) throw error;
      }
    }
  }

  async ask(questions: readonly Question[], atMs: number): Promise<ReadonlyMap<string, Answer>> {
    return new Map(questions.map((question) => [question.id, this.#answer(question, atMs)]));
  }

  /** The PromQL that means the same; no query is sent. */
  describe(questions: readonly Question[]): ReadonlyMap<string, string> {
    return new Map(questions.map((question) => [question.id, planQueries([question])[0]?.promql ?? '']));
  }

  up(): boolean | null {
    const tried = this.#targets.filter(({ lastAttemptMs }) => lastAttemptMs !== null);
    return tried.length === 0 ? null : tried.every(({ failure }) => failure === null);
  }

  whyDown(): string | null {
    const failing = this.#targets.flatMap(({ failure }) => failure ?? []);
    return failing.length === 0 ? null : `${failing.length} of ${this.#targets.length} targets cannot be read: ${failing[0]}`;
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#loop;
    this.#client.close();
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    const everyMs = this.#config.scrape_interval;
    let dueMs = clock.nowMs();
    while (!signal.aborted) {
      await this.scrapeOnce(signal);
      const nowMs = clock.nowMs();
      // Turns that were missed are skipped, and a clock that was set back does not stop the reading.
      dueMs = dueMs + everyMs > nowMs && dueMs <= nowMs ? dueMs + everyMs : nowMs + everyMs;
      await clock.sleep(dueMs - nowMs, signal).catch(() => undefined);
    }
  }

  async #scrape(target: Target, signal: AbortSignal): Promise<void> {
    const atMs = this.#deps.clock.nowMs();
    // After a jump back, times would not rise any more: what was measured before is of another time.
    if (target.lastAttemptMs !== null && atMs < target.lastAttemptMs) this.#store.clear();
    target.lastAttemptMs = atMs;
    const failedBefore = target.failure !== null;
    try {
      this.#commit(target, atMs, await this.#read(target, signal));
      target.lastSuccessMs = atMs;
      target.failure = null;
      if (failedBefore) this.#deps.log.info({ target: target.address }, 'target is read again');
    } catch (error) {
      if (signal.aborted) return;
      for (const ring of target.series) ring.append(atMs, Number.NaN, true);
      target.series = new Set();
      target.failure = this.#client.redact(error instanceof Error ? error.message : String(error));
      if (!failedBefore) this.#deps.log.warn({ target: target.address, reason: target.failure }, 'target cannot be read');
    }
  }

  /** The page's lines that are wanted. @throws when the page cannot be had or is not what it should be */
  async #read(target: Target, signal: AbortSignal): Promise<readonly Kept[]> {
    const { body, contentType } = await this.#fetch(target, signal);
    const format = formatOf(contentType);
    if (format === null) throw new Error(`${target.address}: the answer is ${contentType ?? 'of no type'}, not a metrics page`);
    try {
      const samples = parseExposition(body, {
        format,
        limits: { maxSamples: this.#config.sample_limit, maxLabels: this.#config.label_limit },
        wanted: (name) => this.#wanted.has(name),
      });
      return samples.map((sample) => this.#keep(target, sample)).filter((kept) => kept !== null);
    } catch (error) {
      if (error instanceof ExpositionError) throw new Error(`${target.address}: ${error.message}`, { cause: error });
      throw error;
    }
  }

  async #fetch(target: Target, signal: AbortSignal): Promise<{ body: string; contentType: string | undefined }> {
    const startedMs = performance.now();
    try {
      const { status, body, headers } = await this.#client.request({
        method: 'GET',
        url: target.url,
        headers: { Accept: acceptHeader, 'X-Prometheus-Scrape-Timeout-Seconds': String(this.#timeoutMs / 1000) },
        signal,
        expectStatus: (status) => status === 200,
      });
      this.#deps.onRequest?.('scrape', String(status), performance.now() - startedMs);
      return { body, contentType: headers['content-type'] };
    } catch (error) {
      if (error instanceof HttpError)
        this.#deps.onRequest?.('scrape', error.status === null ? error.code : String(error.status), performance.now() - startedMs);
      throw error;
    }
  }

  /** Joins page and target labels and drops what no question selects. */
  #keep(target: Target, { name, labels: page, value }: ExpositionSample): Kept | null {
    const labels: Record<string, string> = this.#config.honor_labels ? { ...target.labels, ...page } : { ...page };
    if (!this.#config.honor_labels) {
      for (const [label, own] of Object.entries(target.labels)) {
        const clash = lookUp(page, label);
        if (clash !== undefined) labels[`exported_${label}`] = clash;
        labels[label] = own;
      }
    }
    const selectors = this.#wanted.get(name)?.selectors.values() ?? [];
    for (const { tests } of selectors) if (fitsAll(tests, labels)) return { metric: name, key: labelsKey(labels), labels, value };
    return null;
  }

  /** Writes a whole page: all of it or nothing. */
  #commit(target: Target, atMs: number, kept: readonly Kept[]): void {
    const lines = new Map(kept.map((line) => [`${line.metric}${line.key}`, line]));
    if (lines.size < kept.length) throw new Error(`${target.address}: the page holds a series twice`);
    const fresh = kept.filter(({ metric, key }) => this.#store.find(metric, key) === undefined).length;
    if (this.#store.size + fresh > this.#config.series_limit)
      throw new Error(`${target.address}: more than ${this.#config.series_limit} series are to be kept (series_limit); narrow the matchers`);
    const series = new Set<SeriesRing>();
    for (const { metric, key, labels, value } of kept) {
      const ring = this.#store.find(metric, key) ?? this.#store.add(metric, key, labels);
      ring.append(atMs, value, false);
      series.add(ring);
    }
    for (const ring of target.series) if (!series.has(ring)) ring.append(atMs, Number.NaN, true);
    target.series = series;
  }

  #answer(question: Question, atMs: number): Answer {
    try {
      const { tests } = this.#selectorOf(question);
      const incomplete = this.#whyIncomplete(tests, atMs);
      if (incomplete !== null) return { kind: 'error', reason: incomplete };
      if (question.kind === 'samples') {
        const raw = new SamplesBuilder(asQuery(question));
        for (const { labels, points } of rawSamples(this.#store, question, tests, atMs)) raw.add(labels, points);
        return raw.answers().get(question.id) ?? { kind: 'error', reason: 'no answer' };
      }
      const builder = new AnswerBuilder(asQuery(question), atMs);
      for (const { labels, value } of evaluate(this.#store, question, tests, atMs)) builder.add(labels, { atMs, value });
      return builder.answers().get(question.id) ?? { kind: 'error', reason: 'no answer' };
    } catch (error) {
      if (error instanceof MatcherError || error instanceof AnswerError) return { kind: 'error', reason: error.message };
      throw error;
    }
  }

  /**
   * An answer is whole when every target that may carry series of the question was read, and the last read is no older than two
   * intervals. A target may carry them unless one of its own labels contradicts a matcher.
   */
  #whyIncomplete(tests: readonly LabelTest[], atMs: number): string | null {
    const concerned = this.#targets.filter(({ labels }) => tests.every(({ label, fits }) => !Object.hasOwn(labels, label) || fits(labels[label] ?? '')));
    const missing = concerned.flatMap((target) => {
      const why = this.#whyMissing(target, atMs);
      return why === null ? [] : [why];
    });
    const [first] = missing;
    return first === undefined ? null : `${missing.length} of ${concerned.length} targets missing: ${first}`;
  }

  #whyMissing({ address, lastAttemptMs, lastSuccessMs, failure }: Target, atMs: number): string | null {
    if (lastAttemptMs === null) return `${address} was not read yet`;
    if (failure !== null) return failure;
    if (atMs - lastSuccessMs > 2 * this.#config.scrape_interval)
      return Number.isFinite(lastSuccessMs) ? `${address} was last read ${Math.round((atMs - lastSuccessMs) / 1000)} s ago` : `${address} was not read yet`;
    return null;
  }

  /** Compiled once; remembered so that its series are kept. @throws {MatcherError} */
  #selectorOf({ metric, matchers, windowMs }: Question): Selector {
    const key = JSON.stringify(matchers.map(({ label, op, value }) => [label, op, value]));
    let wanted = this.#wanted.get(metric);
    const known = wanted?.selectors.get(key);
    const keepMs = Math.max(windowMs, lookbackMs) + 2 * this.#config.scrape_interval;
    if (wanted !== undefined && known !== undefined) {
      wanted.keepMs = Math.max(wanted.keepMs, keepMs);
      return known;
    }
    const selector: Selector = { tests: matchers.map(compileMatcher) };
    if (wanted === undefined) this.#wanted.set(metric, (wanted = { keepMs, selectors: new Map() }));
    wanted.keepMs = Math.max(wanted.keepMs, keepMs);
    wanted.selectors.set(key, selector);
    return selector;
  }
}

/** One question as a query of its own, for the builder of answers. */
function asQuery({ id, kind, windowMs, versionLabel }: Question): PlannedQuery {
  return { kind, windowMs, promql: '', keyLabels: [], versionLabel, ids: new Map([[groupKey([]), [id]]]) };
}
