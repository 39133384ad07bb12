import type { z } from 'zod';
import type { Clock } from '../../domain/ports.ts';
import { createHttpClient, type HttpClient, type HttpResponse } from '../http/client.ts';
import { HttpError } from '../http/http-error.ts';
import type { HttpSettings } from '../http/http-settings.ts';
import { parseRetryAfter } from '../http/retry-after.ts';
import {
  emptyAnswer,
  failureAnswer,
  loggedModelAnswer,
  type MlflowRun,
  type MlflowVersion,
  modelVersionAnswer,
  modelVersionsAnswer,
  registeredModelAnswer,
  runAnswer,
  runsAnswer,
} from './answers.ts';
import { type CallKind, classOfAnswer, fromTransport, MlflowError } from './failure.ts';
import { filterText } from './filter.ts';

/** Versions asked for at once; MLflow would give 200,000. */
const pageSize = 500;
/** Longest part of MLflow's own words in a message. */
const longestQuote = 300;

export type MlflowSettings = { readonly url: string; readonly timeout: number; readonly http_config?: HttpSettings | undefined };

export type MlflowClientDeps = {
  readonly clock: Clock;
  /** Told of each call: its path below `mlflow/`, status or failure code, duration in ms. */
  readonly onRequest: (method: string, code: string, durationMs: number) => void;
};

/** Rights as MLflow's basic-auth app calls them; managed offers have others. */
function reading(name: string): CallKind {
  return { writes: false, right: `READ on registered model "${name}"` };
}
function editing(name: string): CallKind {
  return { writes: true, right: `EDIT on registered model "${name}"` };
}
function managing(name: string): CallKind {
  return { writes: true, right: `MANAGE on registered model "${name}"` };
}

/**
 * The calls of MLflow's REST API that are used; versions are always texts there, a number is refused. Every call throws `MlflowError` and nothing else.
 * @see https://mlflow.org/docs/latest/api_reference/rest-api.html
 */
export class MlflowClient {
  readonly #http: HttpClient;
  readonly #base: URL;
  readonly #deps: MlflowClientDeps;
  #isClosed = false;

  constructor(settings: MlflowSettings, deps: MlflowClientDeps) {
    this.#base = new URL(settings.url);
    this.#deps = deps;
    this.#http = createHttpClient(settings.http_config ?? {}, {
      timeoutMs: settings.timeout,
      sleep: async (ms, signal) => await deps.clock.sleep(ms, signal),
      nowMs: () => deps.clock.nowMs(),
    });
  }

  /** `host:port`, with the path where there is one: names this server in steps and messages. */
  get name(): string {
    return `${this.#base.host}${this.#base.pathname.replace(/\/+$/, '')}`;
  }

  /** The page of a version in MLflow's own pages; it leads to the run and its commit. */
  versionPage(name: string, version: string): string {
    const url = new URL(this.#base);
    url.search = '';
    url.pathname = `${url.pathname.replace(/\/+$/, '')}/`;
    url.hash = `/models/${encodeURIComponent(name.toWellFormed())}/versions/${encodeURIComponent(version.toWellFormed())}`;
    return url.href;
  }

  /** The page of a run; it shows what was run, by whom, from which source. */
  runPage(experimentId: string, runId: string): string {
    const url = new URL(this.versionPage('', ''));
    url.hash = `/experiments/${encodeURIComponent(experimentId)}/runs/${encodeURIComponent(runId)}`;
    return url.href;
  }

  /** Alias → version. Search results have no aliases, so this is the only place to read them. Aliases may dangle. */
  async aliases(name: string, signal: AbortSignal): Promise<Readonly<Record<string, string>>> {
    const answer = await this.#get('registered-models/get', { name }, registeredModelAnswer, reading(name), signal);
    return Object.fromEntries(answer.registered_model.aliases.map(({ alias, version }) => [alias, version]));
  }

  /** `null`: there is no such version (any more). */
  async version(name: string, version: string, signal: AbortSignal): Promise<MlflowVersion | null> {
    try {
      return (await this.#get('model-versions/get', { name, version }, modelVersionAnswer, reading(name), signal)).model_version;
    } catch (error) {
      if (error instanceof MlflowError && error.errorCode === 'RESOURCE_DOES_NOT_EXIST') return null;
      throw error;
    }
  }

  /** The file MLmodel of a version, `null` where there is none; the server reads it from the artifact store with its own rights. */
  async modelFile(name: string, version: string, signal: AbortSignal): Promise<string | null> {
    const path = 'model-versions/get-artifact';
    const query = new URLSearchParams({ name, version, path: 'MLmodel' }).toString();
    const answer = await this.#request('GET', path, `${this.#address(path, '')}?${query}`, reading(name), signal);
    if (answer.status === 200) return answer.body;
    if (answer.status === 404) return null;
    throw this.#failure('GET', path, answer, reading(name));
  }

  /** Newest first. `pages`: how many pages of 500 at most. */
  async versions(name: string, pages: number, signal: AbortSignal): Promise<readonly MlflowVersion[]> {
    const found: MlflowVersion[] = [];
    const query = { filter: `name=${filterText(name)}`, max_results: String(pageSize), order_by: 'version_number DESC' };
    for (let page = 0, token = ''; page < pages; page += 1) {
      const answer = await this.#get(
        'model-versions/search',
        { ...query, ...(token === '' ? {} : { page_token: token }) },
        modelVersionsAnswer,
        reading(name),
        signal,
      );
      found.push(...answer.model_versions);
      token = answer.next_page_token;
      if (token === '') break;
    }
    return found;
  }

  /** An upsert without compare-and-set: the last writer wins. */
  async setAlias(name: string, alias: string, version: string, signal: AbortSignal): Promise<void> {
    await this.#send('POST', 'registered-models/alias', { name, alias, version }, editing(name), signal);
  }

  /** An alias that is not there is no failure. */
  async deleteAlias(name: string, alias: string, signal: AbortSignal): Promise<void> {
    await this.#send('DELETE', 'registered-models/alias', { name, alias }, managing(name), signal);
  }

  async setVersionTag(name: string, version: string, key: string, value: string, signal: AbortSignal): Promise<void> {
    await this.#send('POST', 'model-versions/set-tag', { name, version, key, value }, editing(name), signal);
  }

  /** Soft: its artifacts stay, its number is not used again. Its aliases may stay and dangle: take them away first. */
  async deleteVersion(name: string, version: string, signal: AbortSignal): Promise<void> {
    await this.#send('DELETE', 'model-versions/delete', { name, version }, managing(name), signal);
  }

  async run(runId: string, signal: AbortSignal): Promise<MlflowRun | null> {
    try {
      return (await this.#get('runs/get', { run_id: runId }, runAnswer, { writes: false, right: 'READ on the experiment of the run' }, signal)).run;
    } catch (error) {
      if (error instanceof MlflowError && error.errorCode === 'RESOURCE_DOES_NOT_EXIST') return null;
      throw error;
    }
  }

  /** Runs of an experiment that carry both tags, newest first. */
  async taggedRuns(experimentId: string, tags: Readonly<Record<string, string>>, signal: AbortSignal): Promise<readonly MlflowRun[]> {
    const filter = Object.entries(tags)
      .map(([key, value]) => `tags.\`${key.replaceAll('`', '')}\` = ${filterText(value)}`)
      .join(' and ');
    const body = { experiment_ids: [experimentId], filter, max_results: 50, order_by: ['attributes.start_time DESC'] };
    const kind = { writes: false, right: `READ on experiment ${experimentId}` };
    return (await this.#call('POST', 'runs/search', kind, runsAnswer, signal, body)).runs;
  }

  /** Ids of runs that measured a logged model (`m-…`), newest measurement first; `null`: no such model, or a server before MLflow 3. */
  async runsOfLoggedModel(modelId: string, signal: AbortSignal): Promise<readonly string[] | null> {
    const kind = { writes: false, right: 'READ on the experiment of the logged model' };
    try {
      const { model } = await this.#get(`logged-models/${encodeURIComponent(modelId)}`, {}, loggedModelAnswer, kind, signal);
      const newestFirst = model.data.metrics.toSorted((a, b) => b.timestamp - a.timestamp).map((metric) => metric.run_id);
      return [...new Set(newestFirst)].filter((id) => id !== '');
    } catch (error) {
      if (error instanceof MlflowError && error.class === 'permanent') return null;
      throw error;
    }
  }

  /** Secrets of this client taken out of a text of the other side. */
  redact(text: string): string {
    return this.#http.redact(text);
  }

  close(): void {
    this.#isClosed = true;
    this.#http.close();
  }

  async #get<T extends z.ZodType>(path: string, query: Readonly<Record<string, string>>, schema: T, kind: CallKind, signal: AbortSignal): Promise<z.output<T>> {
    const text = new URLSearchParams(query).toString();
    return await this.#call('GET', path, kind, schema, signal, undefined, text === '' ? '' : `?${text}`);
  }

  async #send(method: 'POST' | 'DELETE', path: string, body: object, kind: CallKind, signal: AbortSignal): Promise<void> {
    await this.#call(method, path, kind, emptyAnswer, signal, body);
  }

  async #call<T extends z.ZodType>(
    method: string,
    path: string,
    kind: CallKind,
    schema: T,
    signal: AbortSignal,
    body?: object,
    query = '',
  ): Promise<z.output<T>> {
    const answer = await this.#request(method, path, `${this.#address(path)}${query}`, kind, signal, body);
    return this.#read(method, path, answer, schema, kind);
  }

  async #request(method: string, path: string, url: string, kind: CallKind, signal: AbortSignal, body?: object): Promise<HttpResponse> {
    if (this.#isClosed) throw new MlflowError('permanent', `MLflow ${this.name}: the connection is closed`);
    const startedMs = performance.now();
    let answer: HttpResponse;
    try {
      answer = await this.#http.request({
        method,
        url,
        headers: { Accept: 'application/json', ...(body === undefined ? {} : { 'Content-Type': 'application/json' }) },
        body: body === undefined ? undefined : JSON.stringify(body),
        signal,
        idempotent: !kind.writes,
      });
    } catch (error) {
      if (!(error instanceof HttpError)) throw error;
      this.#deps.onRequest(path, error.code, performance.now() - startedMs);
      throw fromTransport(error, kind);
    }
    this.#deps.onRequest(path.startsWith('logged-models/') ? 'logged-models/get' : path, String(answer.status), performance.now() - startedMs);
    return answer;
  }

  #read<T extends z.ZodType>(method: string, path: string, answer: HttpResponse, schema: T, kind: CallKind): z.output<T> {
    if (answer.status < 200 || answer.status >= 300) throw this.#failure(method, path, answer, kind);
    const parsed = schema.safeParse(parseJson(answer.body));
    if (parsed.success) return parsed.data;
    // The server said yes: a write has happened, whatever it says beside it.
    throw new MlflowError(
      kind.writes ? 'indeterminate' : 'permanent',
      `MLflow ${this.name}: ${method} ${path} answered ${answer.status}, but not as MLflow does; is this the address of an MLflow server, without a login page before it?`,
    );
  }

  #failure(method: string, path: string, answer: HttpResponse, kind: CallKind): MlflowError {
    const who = `MLflow ${this.name}: ${method} ${path} answered ${answer.status}`;
    const failure = failureAnswer.safeParse(parseJson(answer.body));
    const errorCode = failure.success ? failure.data.error_code : null;
    const said = this.#http
      .redact(failure.success ? failure.data.message : '')
      .replaceAll(/\s+/g, ' ')
      .slice(0, longestQuote);
    const words = `${who}${errorCode === null ? '' : ` ${errorCode}`}${said === '' ? '' : `: ${said}`}${advice(answer.status, errorCode, kind)}`;
    const retryAfterMs = parseRetryAfter(answer.headers['retry-after'], this.#deps.clock.nowMs());
    return new MlflowError(classOfAnswer(answer.status, errorCode, kind), words, { errorCode, ...(retryAfterMs === null ? {} : { retryAfterMs }) });
  }

  #address(path: string, api = 'api/2.0/mlflow/'): string {
    const url = new URL(this.#base);
    url.pathname = `${url.pathname.replace(/\/+$/, '')}/${api}${path}`;
    return url.href;
  }
}

function advice(status: number, errorCode: string | null, kind: CallKind): string {
  if (status === 401) return '; give http_config.basic_auth or http_config.authorization';
  if (status === 403) return `; this user needs ${kind.right}`;
  if (status === 404 && errorCode === null) return '; is this the address of an MLflow server (without /api/2.0)?';
  return '';
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
