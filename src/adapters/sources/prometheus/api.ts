import type { HttpClient } from '../../http/client.ts';
import { HttpError } from '../../http/http-error.ts';
import { AnswerError } from '../answer-builder.ts';
import { type Envelope, elementsOf, parseEnvelope } from './answers.ts';

/** A query without a usable answer. The message is fit for a person and free of secrets. */
export class QueryError extends Error {
  override readonly name = 'QueryError';
  /** Whether a Prometheus answered at all: a refused or partial query is not an unreachable source. */
  readonly reached: boolean;
  constructor(message: string, options: { reached: boolean }) {
    super(message);
    this.reached = options.reached;
  }
}

/** Limit of one answer, decompressed. */
const maxAnswerBytes = 256 * 1024 * 1024;
/** Longest part of the other side's own words in a reason. */
const longestQuote = 400;

export type ApiOptions = {
  readonly client: HttpClient;
  /** Without `/api/v1`. */
  readonly url: string;
  readonly timeoutMs: number;
  readonly onRequest: (method: 'query' | 'query_range', code: string, durationMs: number) => void;
  readonly onWarning: () => void;
};

/** The calls of Prometheus's HTTP API that are used. */
export class PrometheusApi {
  readonly #options: ApiOptions;
  readonly #base: URL;

  constructor(options: ApiOptions) {
    this.#options = options;
    this.#base = new URL(options.url);
  }

  /** Elements of the vector at one instant. @throws {QueryError} */
  async query(promql: string, atMs: number, signal: AbortSignal): Promise<readonly unknown[]> {
    return await this.#call('query', { query: promql, time: seconds(atMs) }, 'vector', signal);
  }

  /** Series of a range selector at one instant: their samples as they were stored. @throws {QueryError} */
  async querySamples(promql: string, atMs: number, signal: AbortSignal): Promise<readonly unknown[]> {
    return await this.#call('query', { query: promql, time: seconds(atMs) }, 'matrix', signal);
  }

  /** Elements of the matrix over a range, both ends included. @throws {QueryError} */
  async queryRange(promql: string, range: { startMs: number; endMs: number; stepMs: number }, signal: AbortSignal): Promise<readonly unknown[]> {
    return await this.#call(
      'query_range',
      { query: promql, start: seconds(range.startMs), end: seconds(range.endMs), step: seconds(range.stepMs) },
      'matrix',
      signal,
    );
  }

  async #call(
    method: 'query' | 'query_range',
    parameters: Readonly<Record<string, string>>,
    resultType: 'vector' | 'matrix',
    signal: AbortSignal,
  ): Promise<readonly unknown[]> {
    const { client, timeoutMs, onRequest } = this.#options;
    const startedMs = performance.now();
    try {
      const { status, body } = await client.request({
        method: 'POST',
        url: this.#address(method),
        headers: { 'Content-Type': 'application/x-www-form-urlencoded', Accept: 'application/json' },
        body: new URLSearchParams({ ...parameters, timeout: seconds(timeoutMs) }).toString(),
        signal,
        timeoutMs,
        maxBytes: maxAnswerBytes,
        idempotent: true,
      });
      onRequest(method, String(status), performance.now() - startedMs);
      return this.#read(status, body, resultType);
    } catch (error) {
      if (error instanceof QueryError) throw error;
      if (!(error instanceof HttpError)) throw error;
      onRequest(method, error.code, performance.now() - startedMs);
      throw new QueryError(`Prometheus: ${error.message}`, { reached: false });
    }
  }

  #read(status: number, body: string, resultType: 'vector' | 'matrix'): readonly unknown[] {
    const who = `Prometheus ${this.#base.host}`;
    let envelope: Envelope;
    try {
      envelope = parseEnvelope(body);
    } catch (error) {
      if (!(error instanceof AnswerError)) throw error;
      throw new QueryError(status === 200 ? `${who}: ${error.message}` : `${who} answered ${status}`, { reached: false });
    }
    try {
      if (envelope.warnings != null && envelope.warnings.length > 0) this.#options.onWarning();
      const elements = elementsOf(envelope, resultType);
      if (status !== 200) throw new AnswerError('the status says failure, the body success');
      return elements;
    } catch (error) {
      if (!(error instanceof AnswerError)) throw error;
      const words = this.#options.client.redact(error.message).slice(0, longestQuote);
      throw new QueryError(`${who}${status === 200 ? '' : ` answered ${status}`}: ${words}`, { reached: status < 500 });
    }
  }

  /** Path and query of the configured address are kept (`/prometheus`, `?extra_label=…`). */
  #address(method: string): string {
    const url = new URL(this.#base);
    url.pathname = `${url.pathname.replace(/\/+$/, '')}/api/v1/${method}`;
    return url.href;
  }
}

/** Seconds with milliseconds, without the noise of binary fractions. */
function seconds(ms: number): string {
  return (Math.round(ms) / 1000).toFixed(3);
}
