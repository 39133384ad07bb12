import { Agent } from 'node:http';
import type { Readable } from 'node:stream';
import { setTimeout as sleepFor } from 'node:timers/promises';
import axios, { type AxiosInstance } from 'axios';
import { type Credentials, readCredentials, SecretFileError } from './credentials.ts';
import { describeFailure, HttpError } from './http-error.ts';
import type { HttpSettings } from './http-settings.ts';
import { parseRetryAfter } from './retry-after.ts';
import { TlsAgents } from './tls-agents.ts';

/** One call. `method`, `url` and, where there is one, `body` are sent as they are given. */
export type HttpRequest = {
  readonly method: string;
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly body?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Limit of the (decompressed) answer; the client's unless given. */
  readonly maxBytes?: number | undefined;
  /** Limit of the whole call; the client's unless given. */
  readonly timeoutMs?: number | undefined;
  /** Statuses that are an answer; the others throw `HttpError` with code `STATUS`. Default: every status is an answer. */
  readonly expectStatus?: ((status: number) => boolean) | undefined;
  /** May be sent again when a kept-alive connection turns out to be closed. Default: GET and HEAD. */
  readonly idempotent?: boolean | undefined;
};

/** A whole answer. Header names in lower case. */
export type HttpResponse = { readonly status: number; readonly headers: Readonly<Record<string, string>>; readonly body: string; readonly durationMs: number };

/** The head of an answer whose body is still to come. `text` may fail at any time, as connections do. */
export type HttpStream = { readonly status: number; readonly headers: Readonly<Record<string, string>>; readonly text: AsyncIterable<string> };

export type HttpClientOptions = {
  /** Limit of the whole call: connecting, headers, the last byte of the body, redirects. Default 10 s. */
  readonly timeoutMs?: number;
  /** Limit of the (decompressed) answer. Default 16 MiB. */
  readonly maxBytes?: number;
  /** Connections per host. Default 8. */
  readonly maxSockets?: number;
  /** The timer behind the time limit (a `Clock`'s `sleep`); the machine's unless given. */
  readonly sleep?: (durationMs: number, signal?: AbortSignal) => Promise<void>;
  /** For `Retry-After` dates; the machine's clock unless given. */
  readonly nowMs?: () => number;
};

export interface HttpClient {
  /** @throws {HttpError} when there is no whole answer, or `expectStatus` refuses it; nothing else */
  request(request: HttpRequest): Promise<HttpResponse>;
  /**
   * An answer that is read as it comes, such as a watch. The time limit is for its head only; it ends with `signal`, or when the caller stops reading.
   * No redirects. @throws {HttpError} before the head
   */
  stream(request: Omit<HttpRequest, 'expectStatus' | 'idempotent' | 'maxBytes'>): Promise<HttpStream>;
  /** Replaces every secret this client has used by `<secret>`: for texts of the other side (error bodies) before they are shown. */
  redact(text: string): string;
  close(): void;
}

const redirects: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
const maxHops = 10;

/**
 * An HTTP client with Prometheus's `http_config`: credentials files read at each request, TLS files watched by mtime,
 * keep-alive, no proxy from the environment, a limit on size and on the whole time (a body that drips is cut too).
 *
 *     const client = createHttpClient(config.http_config ?? {}, { timeoutMs: 10_000 });
 *     const { status, body } = await client.request({ method: 'GET', url, signal });
 */
export function createHttpClient(settings: HttpSettings, options: HttpClientOptions = {}): HttpClient {
  return new AxiosHttpClient(settings, options);
}

class AxiosHttpClient implements HttpClient {
  readonly #settings: HttpSettings;
  readonly #options: Required<HttpClientOptions>;
  readonly #axios: AxiosInstance;
  readonly #plainAgent: Agent;
  readonly #tlsAgents: TlsAgents;
  readonly #secrets = new Set<string>();

  constructor(settings: HttpSettings, options: HttpClientOptions) {
    this.#settings = settings;
    this.#options = {
      timeoutMs: 10_000,
      maxBytes: 16 * 1024 * 1024,
      maxSockets: 8,
      sleep: async (durationMs, signal) => {
        await sleepFor(durationMs, undefined, signal === undefined ? {} : { signal });
      },
      nowMs: () => Date.now(),
      ...options,
    };
    this.#plainAgent = new Agent({ keepAlive: true, maxSockets: this.#options.maxSockets });
    this.#tlsAgents = new TlsAgents(settings.tls_config ?? {}, this.#options.maxSockets);
    this.#axios = axios.create({
      proxy: false,
      maxRedirects: 0,
      maxBodyLength: -1,
      httpAgent: this.#plainAgent,
      responseType: 'text',
      // Both transforms off: bodies are texts, JSON is the caller's.
      transformRequest: [(data: unknown) => data],
      transformResponse: [(data: unknown) => data],
      validateStatus: () => true,
      headers: { common: { 'User-Agent': 'rollbackd' } },
    });
  }

  async request(request: HttpRequest): Promise<HttpResponse> {
    const startedMs = performance.now();
    const { url, userinfo, host } = this.#parseUrl(request);
    const limit = new AbortController();
    const timer = new AbortController();
    let timedOut = false;
    const abort = (): void => limit.abort();
    const givenUp = (): boolean => request.signal?.aborted === true;
    if (givenUp()) throw abortError(request.method, host);
    request.signal?.addEventListener('abort', abort, { once: true });
    const timeoutMs = request.timeoutMs ?? this.#options.timeoutMs;
    this.#options.sleep(timeoutMs, timer.signal).then(
      () => {
        timedOut = true;
        limit.abort();
      },
      () => undefined,
    );
    try {
      const answer = await this.#withRedirects(request, url, userinfo, limit.signal);
      const response = { ...answer, durationMs: performance.now() - startedMs };
      if (request.expectStatus?.(answer.status) === false) throw this.#statusError(request.method, host, answer);
      return response;
    } catch (error) {
      if (timedOut) throw new HttpError({ method: request.method, host, code: 'TIMEOUT', detail: `no whole answer within ${timeoutMs} ms` });
      if (givenUp()) throw abortError(request.method, host);
      if (error instanceof HttpError) throw error;
      if (error instanceof SecretFileError) throw new HttpError({ method: request.method, host, code: 'FILE', detail: error.message });
      throw new HttpError({ method: request.method, host, ...describeFailure(error, (text) => this.redact(text)) });
    } finally {
      request.signal?.removeEventListener('abort', abort);
      timer.abort();
    }
  }

  async stream(request: Omit<HttpRequest, 'expectStatus' | 'idempotent' | 'maxBytes'>): Promise<HttpStream> {
    const { url, userinfo, host } = this.#parseUrl(request);
    const late = new AbortController();
    const timer = new AbortController();
    const timeoutMs = request.timeoutMs ?? this.#options.timeoutMs;
    this.#options.sleep(timeoutMs, timer.signal).then(
      () => late.abort(),
      () => undefined,
    );
    let release = (): void => undefined;
    try {
      const credentials = await readCredentials(this.#settings, userinfo);
      this.#remember(credentials.secrets);
      const lease = url.protocol === 'https:' ? await this.#tlsAgents.lease() : null;
      release = () => lease?.release();
      const answer = await this.#axios.request<Readable>({
        method: request.method,
        url: url.href,
        headers: { ...request.headers, ...credentials.headers },
        data: request.body,
        signal: request.signal === undefined ? late.signal : AbortSignal.any([request.signal, late.signal]),
        responseType: 'stream',
        maxContentLength: -1,
        ...(lease === null ? {} : { httpsAgent: lease.agent }),
      });
      answer.data.once('close', release);
      return { status: answer.status, headers: plainHeaders(answer.headers), text: answer.data.setEncoding('utf8') };
    } catch (error) {
      release();
      if (late.signal.aborted) throw new HttpError({ method: request.method, host, code: 'TIMEOUT', detail: `no answer within ${timeoutMs} ms` });
      if (request.signal?.aborted === true) throw abortError(request.method, host);
      if (error instanceof SecretFileError) throw new HttpError({ method: request.method, host, code: 'FILE', detail: error.message });
      throw new HttpError({ method: request.method, host, ...describeFailure(error, (text) => this.redact(text)) });
    } finally {
      timer.abort();
    }
  }

  redact(text: string): string {
    let clean = text;
    for (const secret of this.#secrets) clean = clean.replaceAll(secret, '<secret>');
    return clean;
  }

  close(): void {
    this.#plainAgent.destroy();
    this.#tlsAgents.close();
  }

  #parseUrl(request: HttpRequest): { url: URL; userinfo: { username: string; password: string } | null; host: string } {
    const url = URL.parse(request.url);
    if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:'))
      throw new HttpError({ method: request.method, host: '', code: 'BAD_URL', detail: 'the address is no http or https URL' });
    const userinfo = url.username === '' && url.password === '' ? null : { username: decode(url.username), password: decode(url.password) };
    if (userinfo !== null) this.#remember([userinfo.password, url.password]);
    url.username = '';
    url.password = '';
    return { url, userinfo, host: url.host };
  }

  /** One request, and the redirects after it: credentials go to the first origin only. */
  async #withRedirects(
    request: HttpRequest,
    first: URL,
    userinfo: { username: string; password: string } | null,
    signal: AbortSignal,
  ): Promise<Omit<HttpResponse, 'durationMs'>> {
    const credentials = await readCredentials(this.#settings, userinfo);
    this.#remember(credentials.secrets);
    let url = first;
    for (let hop = 0; ; hop += 1) {
      const sameOrigin = url.origin === first.origin;
      const answer = await this.#withRetry(request, url, sameOrigin ? credentials : null, signal);
      const location = answer.headers['location'];
      if (!redirects.has(answer.status) || location === undefined || this.#settings.follow_redirects === false) return answer;
      url = this.#nextHop(request, url, location, answer.status, hop);
    }
  }

  #nextHop(request: HttpRequest, from: URL, location: string, status: number, hop: number): URL {
    const refuse = (detail: string): HttpError =>
      new HttpError({ method: request.method, host: from.host, status, code: 'REDIRECT', detail: `answered ${status}, ${detail}` });
    if (hop + 1 >= maxHops) throw refuse(`more than ${maxHops} redirects`);
    const keepsMethod = status === 307 || status === 308 || request.method === 'GET' || request.method === 'HEAD';
    if (!keepsMethod) throw refuse(`a redirect that would turn ${request.method} into GET; give the final address`);
    const next = URL.parse(location, from.href);
    if (next === null || (next.protocol !== 'http:' && next.protocol !== 'https:')) throw refuse('a redirect to no http or https URL');
    if (from.protocol === 'https:' && next.protocol === 'http:') throw refuse('a redirect from https to http');
    next.username = '';
    next.password = '';
    return next;
  }

  /** A server may close an idle connection just as we use it; where the request may be repeated, that is no failure. */
  async #withRetry(request: HttpRequest, url: URL, credentials: Credentials | null, signal: AbortSignal): Promise<Omit<HttpResponse, 'durationMs'>> {
    try {
      return await this.#send(request, url, credentials, signal);
    } catch (error) {
      const repeatable = request.idempotent ?? (request.method === 'GET' || request.method === 'HEAD');
      if (!repeatable || signal.aborted || !lostIdleConnection(error)) throw error;
      return await this.#send(request, url, credentials, signal);
    }
  }

  async #send(request: HttpRequest, url: URL, credentials: Credentials | null, signal: AbortSignal): Promise<Omit<HttpResponse, 'durationMs'>> {
    const lease = url.protocol === 'https:' ? await this.#tlsAgents.lease() : null;
    try {
      const answer = await this.#axios.request<unknown>({
        method: request.method,
        url: url.href,
        headers: { ...(credentials === null ? withoutCredentials(request.headers) : request.headers), ...credentials?.headers },
        data: request.body,
        signal,
        maxContentLength: request.maxBytes ?? this.#options.maxBytes,
        ...(lease === null ? {} : { httpsAgent: lease.agent }),
      });
      return { status: answer.status, headers: plainHeaders(answer.headers), body: typeof answer.data === 'string' ? answer.data : '' };
    } finally {
      lease?.release();
    }
  }

  #statusError(method: string, host: string, answer: { status: number; headers: Readonly<Record<string, string>> }): HttpError {
    return new HttpError({
      method,
      host,
      status: answer.status,
      code: 'STATUS',
      retryAfterMs: parseRetryAfter(answer.headers['retry-after'], this.#options.nowMs()),
      detail: `answered ${answer.status}`,
    });
  }

  /** Keeps what was used last (a rotated secret may still come back in a late answer), bounded. */
  #remember(secrets: readonly string[]): void {
    for (const secret of secrets) {
      if (secret.length < 3) continue;
      for (const form of new Set([secret, encodeURIComponent(secret)])) {
        this.#secrets.delete(form);
        this.#secrets.add(form);
      }
    }
    for (const oldest of this.#secrets) {
      if (this.#secrets.size <= 100) break;
      this.#secrets.delete(oldest);
    }
  }
}

function abortError(method: string, host: string): HttpError {
  return new HttpError({ method, host, code: 'ABORTED', detail: 'given up by the caller' });
}

/** Axios keeps the request; Node marks it when it went over a kept-alive connection. */
function lostIdleConnection(error: unknown): boolean {
  if (!axios.isAxiosError(error) || (error.code !== 'ECONNRESET' && error.code !== 'EPIPE') || error.response !== undefined) return false;
  const sent: unknown = error.request;
  return typeof sent === 'object' && sent !== null && 'reusedSocket' in sent && sent.reusedSocket === true;
}

function withoutCredentials(headers: Readonly<Record<string, string>> = {}): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !/^(?:authorization|cookie|proxy-authorization)$/i.test(name)));
}

function plainHeaders(headers: object): Record<string, string> {
  const plain: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (typeof value === 'string') plain[name.toLowerCase()] = value;
    else if (Array.isArray(value)) plain[name.toLowerCase()] = value.join(', ');
  }
  return plain;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
