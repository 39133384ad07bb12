import { createHttpClient, type HttpResponse } from '../adapters/http/client.ts';
import { HttpError } from '../adapters/http/http-error.ts';
import type { DecisionView, EpisodeView } from '../domain/episode-view.ts';
import type { AlertView, ModelDetailView, ModelView, PauseView, RetentionView, RuleGroupView, StatusView } from '../web/api.ts';

/** Where a daemon listens unless told otherwise. */
export const defaultUrl = 'http://127.0.0.1:9797';

type Listing = { readonly model?: string | undefined; readonly limit?: number | undefined };
type Request = { readonly reason: string; readonly by?: string | undefined };

/** What the commands ask of a running daemon. Each call throws `ApiClientError`, whose message is fit to be printed. */
export interface ApiClient {
  models(): Promise<readonly ModelView[]>;
  model(name: string): Promise<ModelDetailView>;
  rollbacks(listing?: Listing): Promise<readonly EpisodeView[]>;
  rollback(id: string): Promise<EpisodeView>;
  decisions(listing?: Listing): Promise<readonly DecisionView[]>;
  rules(): Promise<readonly RuleGroupView[]>;
  alerts(): Promise<readonly AlertView[]>;
  status(): Promise<StatusView>;
  pause(model: string, request: Request & { readonly for?: string | undefined }): Promise<PauseView>;
  resume(model: string, request: Request): Promise<null>;
  unpin(model: string, request: Request): Promise<{ readonly detail: string }>;
  rollBack(model: string, request: Request & { readonly to?: string | undefined }): Promise<EpisodeView>;
  approve(id: string, request: Request): Promise<EpisodeView>;
  reject(id: string, request: Request): Promise<EpisodeView>;
  /** `check healthy`, `check ready`: what the daemon says, or why it is not. */
  probe(what: 'healthy' | 'ready'): Promise<{ readonly ok: boolean; readonly text: string }>;
  retention(model: string): Promise<RetentionView>;
  runRetention(model: string, request: Request): Promise<RetentionView>;
  close(): void;
}

/** `status`: what the daemon answered, `null` when it did not. */
export class ApiClientError extends Error {
  override readonly name = 'ApiClientError';
  readonly status: number | null;
  readonly errorType: string | null;
  constructor(message: string, facts: { readonly status?: number; readonly errorType?: string; readonly cause?: unknown } = {}) {
    super(message, facts.cause === undefined ? undefined : { cause: facts.cause });
    this.status = facts.status ?? null;
    this.errorType = facts.errorType ?? null;
  }
}

export type ApiClientOptions = {
  readonly url?: string;
  readonly timeoutMs?: number;
  readonly login?: { readonly user: string; readonly passwordFile: string };
  /** PEM files for https. */
  readonly tls?: { readonly caFile?: string | undefined; readonly certFile?: string | undefined; readonly keyFile?: string | undefined };
};

/** @throws {ApiClientError} when `url` is no http(s) URL */
export function createApiClient(options: ApiClientOptions = {}): ApiClient {
  const base = parseBase(options.url ?? defaultUrl);
  const { login, tls = {} } = options;
  const settings = {
    follow_redirects: false,
    tls_config: { ca_file: tls.caFile, cert_file: tls.certFile, key_file: tls.keyFile },
    ...(login === undefined ? {} : { basic_auth: { username: login.user, password_file: login.passwordFile } }),
  };
  const http = createHttpClient(settings, { timeoutMs: options.timeoutMs ?? 10_000 });

  const call = async (method: 'GET' | 'POST', path: string, body?: unknown): Promise<HttpResponse> => {
    try {
      const json = body === undefined ? {} : { body: JSON.stringify(body), headers: { 'Content-Type': 'application/json' } };
      return await http.request({ method, url: `${base.url}${path}`, ...json });
    } catch (error) {
      if (!(error instanceof HttpError)) throw error;
      const said = withoutPrefix(error).replace('tls_config.ca_file', '--web.ca-file');
      const hint = error.code === 'FILE' || said.includes('--web.ca-file') ? '' : '; is rollbackd running there? Give its address by --url';
      throw new ApiClientError(`${base.shown}: ${said}${hint}`, { cause: error });
    }
  };
  const data = async <Data>(method: 'GET' | 'POST', path: string, body?: unknown): Promise<Data> =>
    readEnvelope(`${base.shown}${path}`, await call(method, path, body)) as Data;
  const get = async <Data>(path: string, listing: Listing = {}): Promise<Data> => await data<Data>('GET', `/api/v1/${path}${queryOf(listing)}`);
  const post = async <Data>(path: string, body: object): Promise<Data> => await data<Data>('POST', `/api/v1/${path}`, body);
  const segment = encodeURIComponent;

  return {
    models: async () => await get('models'),
    model: async (name) => await get(`models/${segment(name)}`),
    rollbacks: async (listing) => await get('rollbacks', listing),
    rollback: async (id) => await get(`rollbacks/${segment(id)}`),
    decisions: async (listing) => await get('decisions', listing),
    rules: async () => await get('rules'),
    alerts: async () => await get('alerts'),
    status: async () => await get('status'),
    pause: async (model, request) => await post(`models/${segment(model)}/pause`, request),
    resume: async (model, request) => await post(`models/${segment(model)}/resume`, request),
    unpin: async (model, request) => await post(`models/${segment(model)}/unpin`, request),
    rollBack: async (model, request) => await post(`models/${segment(model)}/rollback`, request),
    approve: async (id, request) => await post(`rollbacks/${segment(id)}/approve`, request),
    reject: async (id, request) => await post(`rollbacks/${segment(id)}/reject`, request),
    probe: async (what) => {
      const { status, body } = await call('GET', `/-/${what}`);
      return { ok: status === 200, text: body.trim() };
    },
    retention: async (model) => await get(`models/${segment(model)}/retention`),
    runRetention: async (model, request) => await post(`models/${segment(model)}/retention`, request),
    close: () => http.close(),
  };
}

/** A path prefix (behind a proxy) is kept; user and password go with each request and are never shown. */
function parseBase(given: string): { readonly url: string; readonly shown: string } {
  const url = URL.parse(given);
  if (url === null || !/^https?:$/.test(url.protocol))
    throw new ApiClientError(`--url: found "${given.replace(/\/\/[^/@]*@/, '//')}", expected an http or https URL; write ${defaultUrl}`);
  const path = url.pathname.replace(/\/+$/, '');
  const userinfo = url.username === '' ? '' : `${url.username}:${url.password}@`;
  return { url: `${url.protocol}//${userinfo}${url.host}${path}`, shown: `${url.protocol}//${url.host}${path}` };
}

function queryOf(listing: Listing): string {
  const query = new URLSearchParams();
  if (listing.model !== undefined) query.set('model', listing.model);
  if (listing.limit !== undefined) query.set('limit', String(listing.limit));
  return query.size === 0 ? '' : `?${query.toString()}`;
}

/** `data` of the answer: the daemon's types are ours, so it is taken at its word. */
function readEnvelope(shown: string, answer: HttpResponse): unknown {
  const envelope = parseJson(answer.body);
  if (typeof envelope === 'object' && envelope !== null && 'status' in envelope) {
    if (envelope.status === 'success' && 'data' in envelope) return envelope.data;
    if ('error' in envelope && 'errorType' in envelope)
      throw new ApiClientError(String(envelope.error), { status: answer.status, errorType: String(envelope.errorType) });
  }
  throw new ApiClientError(`${shown}: answered ${answer.status}, and not as rollbackd does; is it rollbackd that listens there?`, { status: answer.status });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** `HttpError` begins with method and host, which are told already. */
function withoutPrefix(error: HttpError): string {
  return error.message.replace(`${error.method} ${error.host}: `, '');
}
