import type { Clock, Log } from '../../domain/ports.ts';
import { createHttpClient, type HttpClient, type HttpResponse, type HttpStream } from '../http/client.ts';
import { classOfReading } from '../http/error-class.ts';
import { HttpError } from '../http/http-error.ts';
import { longestRetryAfterMs, parseRetryAfter } from '../http/retry-after.ts';
import type { KubernetesAccess } from './access.ts';
import type { Connection, ConnectionSource } from './connection.ts';
import { classOfAnswer, fromHttpError, isStatus, KubernetesError, type ServerStatus } from './errors.ts';
import { InCluster, serviceAccountFolder } from './in-cluster.ts';
import { Kubeconfig } from './kubeconfig.ts';
import { type KubernetesObject, kubernetesList, kubernetesObject, statusObject } from './object.ts';

export type Query = Readonly<Record<string, string>>;

/** RFC 6902. */
export type JsonPatchOperation =
  | { readonly op: 'add' | 'replace' | 'test'; readonly path: string; readonly value: unknown }
  | { readonly op: 'remove'; readonly path: string };

/** A change: `json` carries operations, `merge` a part of the object (RFC 7386: lists are replaced whole). */
export type Patch =
  | { readonly type: 'json'; readonly body: readonly JsonPatchOperation[]; readonly query?: Query }
  | { readonly type: 'merge'; readonly body: Readonly<Record<string, unknown>>; readonly query?: Query };

export type KubernetesList = { readonly items: readonly KubernetesObject[]; readonly resourceVersion: string };

/** A right, as a SelfSubjectAccessReview asks for it. */
export type AccessQuestion = {
  readonly verb: string;
  readonly group: string;
  readonly resource: string;
  readonly subresource?: string;
  readonly namespace: string;
  readonly name?: string;
};

/**
 * The few calls rollbackd needs of an API server. Paths start with `/api` or `/apis` (`resourcePath`). Every failure is a `KubernetesError` with its
 * class; an abort before an answer rejects with the signal's reason for reads, and is `indeterminate` for writes that were under way. A reading is
 * never `indeterminate`: it may simply be asked again.
 */
export interface KubernetesClient {
  get(path: string, signal: AbortSignal): Promise<KubernetesObject>;
  /** `null` when the server says 404 for the object (not for a kind it does not know). */
  find(path: string, signal: AbortSignal): Promise<KubernetesObject | null>;
  /** All items, over all pages. */
  list(path: string, query: Query, signal: AbortSignal): Promise<KubernetesList>;
  patch(path: string, patch: Patch, signal: AbortSignal): Promise<KubernetesObject>;
  /** Replaces an object; its `metadata.resourceVersion` makes it a compare-and-set. */
  put(path: string, body: Readonly<Record<string, unknown>>, signal: AbortSignal): Promise<KubernetesObject>;
  /** Creates an object; 409 `AlreadyExists` is a conflict. */
  post(path: string, body: Readonly<Record<string, unknown>>, signal: AbortSignal): Promise<KubernetesObject>;
  /**
   * Lines of one watch from `resourceVersion` on, as the server writes them; `watchObjects` makes sense of them.
   * @throws {KubernetesError} also while it is read
   */
  watchLines(path: string, query: Query, signal: AbortSignal): AsyncIterable<string>;
  /** Whether rollbackd has this right. */
  selfSubjectAccessReview(question: AccessQuestion, signal: AbortSignal): Promise<{ readonly allowed: boolean; readonly reason: string }>;
  /** Namespace of the service account or of the context. */
  defaultNamespace(signal: AbortSignal): Promise<string>;
  close(): Promise<void>;
}

export type KubernetesDeps = {
  readonly clock: Clock;
  readonly log: Log;
  /** Told of each call: method (`PATCH deployments`), code (`200`, `ECONNREFUSED`), duration. */
  readonly onRequest?: (method: string, code: string, durationMs: number) => void;
  /** The process's environment: where the API server is, and what exec plugins run in. Default: empty. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** Default: where the kubelet puts it. */
  readonly serviceAccountFolder?: string;
};

const fieldManager = 'rollbackd';
const pageSize = '500';
const maxBytes = 64 * 1024 * 1024;

/**
 * A client for one API server.
 *
 *     const client = createKubernetesClient(config, deps);
 *     const deployment = await client.get(resourcePath(deployments, 'shop', 'ranker'), signal);
 */
export function createKubernetesClient(access: KubernetesAccess, deps: KubernetesDeps): KubernetesClient {
  const environment = deps.environment ?? {};
  const source =
    access.kubeconfig === undefined
      ? new InCluster(environment, deps.serviceAccountFolder ?? serviceAccountFolder)
      : new Kubeconfig(access.kubeconfig, access, { clock: deps.clock, log: deps.log, environment });
  return clientOn(source, access, deps);
}

/** The same with connections from elsewhere. */
export function clientOn(source: ConnectionSource, access: KubernetesAccess, deps: KubernetesDeps): KubernetesClient {
  return new RestClient(source, access, deps);
}

type Call = {
  readonly method: 'GET' | 'PATCH' | 'PUT' | 'POST';
  readonly path: string;
  readonly query?: Query | undefined;
  readonly body?: unknown;
  readonly contentType?: string;
};

/** A connection with its HTTP client; an old one ends with its last request. */
type Line = { readonly connection: Connection; readonly http: HttpClient; users: number; isOver: boolean };

class RestClient implements KubernetesClient {
  readonly #source: ConnectionSource;
  readonly #access: KubernetesAccess;
  readonly #deps: KubernetesDeps;
  #line: Line | null = null;
  #isClosed = false;

  constructor(source: ConnectionSource, access: KubernetesAccess, deps: KubernetesDeps) {
    this.#source = source;
    this.#access = access;
    this.#deps = deps;
  }

  async get(path: string, signal: AbortSignal): Promise<KubernetesObject> {
    return this.#object(await this.#call({ method: 'GET', path }, signal), `GET ${path}`);
  }

  async find(path: string, signal: AbortSignal): Promise<KubernetesObject | null> {
    try {
      return await this.get(path, signal);
    } catch (error) {
      if (isStatus(error, 404) && error.reason === 'NotFound') return null;
      throw error;
    }
  }

  async list(path: string, query: Query, signal: AbortSignal): Promise<KubernetesList> {
    const items: KubernetesObject[] = [];
    let next: string | null = null;
    for (;;) {
      const page: Query = { limit: pageSize, ...query, ...(next === null ? {} : { continue: next }) };
      let answer: unknown;
      try {
        answer = await this.#call({ method: 'GET', path, query: page }, signal);
      } catch (error) {
        // The snapshot the pages were of is gone: once more from the start, in one piece.
        if (!isStatus(error, 410) || next === null) throw error;
        return this.#page(await this.#call({ method: 'GET', path, query }, signal), path);
      }
      const { items: more, resourceVersion, next: following } = this.#page(answer, path);
      items.push(...more);
      if (following === null) return { items, resourceVersion };
      next = following;
    }
  }

  async *watchLines(path: string, query: Query, signal: AbortSignal): AsyncIterable<string> {
    const call: Call = { method: 'GET', path, query: { ...query, watch: '1' } };
    let line = await this.#takeLine(null, signal);
    let answer = await this.#open(line, call, signal);
    if (answer.status === 401) {
      line = await this.#takeLine(line.connection, signal);
      answer = await this.#open(line, call, signal);
    }
    line.users += 1;
    try {
      let rest = '';
      for await (const text of answer.text) {
        const lines = (rest + text).split('\n');
        rest = lines.pop() ?? '';
        if (answer.status === 200) yield* lines;
        else rest = [...lines, rest].join('\n');
      }
      if (answer.status !== 200) throw this.#refusal(call, { ...answer, body: rest, durationMs: 0 }, (text) => line.http.redact(text));
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof KubernetesError) throw error;
      throw new KubernetesError('transient', `kubernetes: watch ${path}: the connection ended`);
    } finally {
      this.#let(line);
    }
  }

  async #open({ connection, http }: Line, { path, query }: Call, signal: AbortSignal): Promise<HttpStream> {
    try {
      const headers = { Accept: 'application/json' };
      return await http.stream({ method: 'GET', url: `${connection.server}${path}${searchOf(query)}`, headers, timeoutMs: this.#access.timeout, signal });
    } catch (error) {
      signal.throwIfAborted();
      throw fromHttpError(error, 'GET', path);
    }
  }

  async patch(path: string, patch: Patch, signal: AbortSignal): Promise<KubernetesObject> {
    const contentType = patch.type === 'json' ? 'application/json-patch+json' : 'application/merge-patch+json';
    const query = { fieldManager, ...patch.query };
    return this.#object(await this.#call({ method: 'PATCH', path, query, body: patch.body, contentType }, signal), `PATCH ${path}`);
  }

  async put(path: string, body: Readonly<Record<string, unknown>>, signal: AbortSignal): Promise<KubernetesObject> {
    return this.#object(await this.#call({ method: 'PUT', path, query: { fieldManager }, body, contentType: 'application/json' }, signal), `PUT ${path}`);
  }

  async post(path: string, body: Readonly<Record<string, unknown>>, signal: AbortSignal): Promise<KubernetesObject> {
    return this.#object(await this.#call({ method: 'POST', path, query: { fieldManager }, body, contentType: 'application/json' }, signal), `POST ${path}`);
  }

  async selfSubjectAccessReview(question: AccessQuestion, signal: AbortSignal): Promise<{ readonly allowed: boolean; readonly reason: string }> {
    const path = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews';
    const body = { apiVersion: 'authorization.k8s.io/v1', kind: 'SelfSubjectAccessReview', spec: { resourceAttributes: question } };
    const answer = await this.#call({ method: 'POST', path, body, contentType: 'application/json' }, signal).catch((error: unknown) => {
      signal.throwIfAborted();
      throw asReading(error);
    });
    const status = typeof answer === 'object' && answer !== null && 'status' in answer ? answer.status : null;
    if (typeof status !== 'object' || status === null || !('allowed' in status))
      throw asReading(unexpected(`POST ${path}`, 'a SelfSubjectAccessReview with a status'));
    return { allowed: status.allowed === true, reason: 'reason' in status && typeof status.reason === 'string' ? status.reason : '' };
  }

  async defaultNamespace(signal: AbortSignal): Promise<string> {
    return (await this.#source.connect(null, signal)).namespace;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#retire();
  }

  #object(answer: unknown, what: string): KubernetesObject {
    const parsed = kubernetesObject.safeParse(answer);
    if (!parsed.success) throw unexpected(what, 'an object with metadata');
    return parsed.data;
  }

  #page(answer: unknown, path: string): KubernetesList & { readonly next: string | null } {
    const parsed = kubernetesList.safeParse(answer);
    if (!parsed.success) throw unexpected(`GET ${path}`, 'a list of objects with metadata');
    const { metadata, items } = parsed.data;
    const next = metadata.continue ?? '';
    return { items: items ?? [], resourceVersion: metadata.resourceVersion ?? '', next: next === '' ? null : next };
  }

  /** The answer's JSON. A 401 gets one try with fresh credentials: the server has not looked at the request. */
  async #call(call: Call, signal: AbortSignal): Promise<unknown> {
    const line = await this.#takeLine(null, signal);
    let answer = await this.#send(line, call, signal);
    let redact = line.http;
    if (answer.status === 401) {
      const fresh = await this.#takeLine(line.connection, signal);
      answer = await this.#send(fresh, call, signal);
      redact = fresh.http;
    }
    if (answer.status < 200 || answer.status > 299) throw this.#refusal(call, answer, (text) => redact.redact(text));
    try {
      return JSON.parse(answer.body) as unknown;
    } catch {
      throw unexpected(`${call.method} ${call.path}`, 'JSON');
    }
  }

  async #send(line: Line, call: Call, signal: AbortSignal): Promise<HttpResponse> {
    const startedMs = this.#deps.clock.nowMs();
    const method = `${call.method} ${resourceOf(call.path)}`;
    const told = (code: string): void => this.#deps.onRequest?.(method, code, this.#deps.clock.nowMs() - startedMs);
    line.users += 1;
    try {
      const answer = await line.http.request({
        method: call.method,
        url: `${line.connection.server}${call.path}${searchOf(call.query)}`,
        headers: { Accept: 'application/json', ...(call.contentType === undefined ? {} : { 'Content-Type': call.contentType }) },
        ...(call.body === undefined ? {} : { body: JSON.stringify(call.body) }),
        timeoutMs: call.method === 'GET' ? this.#access.timeout : this.#access.apply_timeout,
        signal,
      });
      told(String(answer.status));
      return answer;
    } catch (error) {
      told(error instanceof HttpError ? error.code : 'ERROR');
      if (call.method === 'GET') signal.throwIfAborted();
      throw fromHttpError(error, call.method, call.path);
    } finally {
      this.#let(line);
    }
  }

  #let(line: Line): void {
    line.users -= 1;
    if (line.isOver && line.users === 0) line.http.close();
  }

  async #takeLine(refused: Connection | null, signal: AbortSignal): Promise<Line> {
    signal.throwIfAborted();
    if (this.#isClosed) throw new Error('the Kubernetes client is closed');
    const connection = await this.#source.connect(refused, signal);
    // Closed while a plugin or a file was waited for.
    if (this.#isClosed) throw new Error('the Kubernetes client is closed');
    if (this.#line?.connection !== connection) {
      this.#retire();
      const { clock } = this.#deps;
      const http = createHttpClient(connection.http, {
        maxBytes,
        sleep: async (durationMs, until) => await clock.sleep(durationMs, until),
        nowMs: () => clock.nowMs(),
      });
      this.#line = { connection, http, users: 0, isOver: false };
    }
    return this.#line;
  }

  #retire(): void {
    const line = this.#line;
    if (line === null) return;
    this.#line = null;
    line.isOver = true;
    if (line.users === 0) line.http.close();
  }

  #refusal(call: Call, answer: HttpResponse, redact: (text: string) => string): KubernetesError {
    const status = statusOf(answer.body);
    const classed = classOfAnswer(answer.status, status);
    const errorClass = call.method === 'GET' ? classOfReading(classed) : classed;
    const said = redact(status.message).replaceAll(/\s+/g, ' ').trim();
    const hint = hintFor(answer.status, errorClass, status);
    const retryAfterMs = parseRetryAfter(answer.headers['retry-after'], this.#deps.clock.nowMs()) ?? status.retryAfterMs;
    return new KubernetesError(
      errorClass,
      `kubernetes: ${call.method} ${call.path}: answered ${answer.status}${status.reason === null ? '' : ` (${status.reason})`}${said === '' ? '' : `: ${said}`}${hint}`,
      { status: answer.status, reason: status.reason, retryAfterMs },
    );
  }
}

function unexpected(what: string, expected: string): KubernetesError {
  return new KubernetesError(
    what.startsWith('GET ') ? 'permanent' : 'indeterminate',
    `kubernetes: ${what}: the answer is not ${expected}; is this address an API server?`,
  );
}

/** A POST that changes nothing may simply be sent again. */
function asReading(error: unknown): unknown {
  if (!(error instanceof KubernetesError) || error.class !== 'indeterminate') return error;
  const { message, status, reason, retryAfterMs } = error;
  return new KubernetesError(classOfReading(error.class), message, { status, reason, retryAfterMs, cause: error });
}

const maxSaid = 1_000;

function statusOf(body: string): ServerStatus & { readonly retryAfterMs: number | null } {
  try {
    const { message = '', reason, details } = statusObject.parse(JSON.parse(body));
    const seconds = details?.retryAfterSeconds;
    return {
      message: message.slice(0, maxSaid),
      reason: reason ?? null,
      retryAfterMs: seconds === undefined || seconds <= 0 ? null : Math.min(seconds * 1_000, longestRetryAfterMs),
    };
  } catch {
    return { message: body.slice(0, maxSaid), reason: null, retryAfterMs: null };
  }
}

function hintFor(status: number, errorClass: string, { reason }: ServerStatus): string {
  if (status === 401) return '; the credentials are refused: look at the token, certificate or plugin of the kubeconfig, or the service account';
  if (status === 403 && errorClass === 'auth') return '; grant this right (the README of the control plane has the role it needs)';
  if (status === 404 && reason === null) return '; the server does not know this kind of object (is its CustomResourceDefinition installed?)';
  return '';
}

/** `deployments`, `deployments/scale`: a bounded word for metrics. */
function resourceOf(path: string): string {
  const inNamespace = /\/namespaces\/[^/]+\/([^/]+)(?:\/[^/]+(\/[^/]+)?)?$/.exec(path);
  if (inNamespace !== null) return `${inNamespace[1]}${inNamespace[2] ?? ''}`;
  return path.split('/').at(-1) ?? path;
}

function searchOf(query: Query | undefined): string {
  const text = new URLSearchParams(query).toString();
  return text === '' ? '' : `?${text}`;
}
