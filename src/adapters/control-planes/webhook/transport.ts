import { type PlaneDeps, PlaneError } from '../../../domain/ports.ts';
import type { ApplyOutcome, ErrorClass } from '../../../domain/step.ts';
import { parseTemplate, type TemplateValues, type TemplateVariable } from '../../../domain/template.ts';
import { renderUrl, UrlTemplateError } from '../../../domain/url-template.ts';
import { createHttpClient, type HttpClient, type HttpResponse } from '../../http/client.ts';
import { readSecret, SecretFileError } from '../../http/credentials.ts';
import { classOfReading, classOfStatus, isNotConnected } from '../../http/error-class.ts';
import { HttpError } from '../../http/http-error.ts';
import { parseRetryAfter } from '../../http/retry-after.ts';
import { type Action, type ObservationAnswer, parseObservation } from '../action-contract.ts';
import type { ActionSubject, ActionTransport } from '../action-plane.ts';
import { indeterminate, rejected } from '../answers.ts';
import { renderJson } from './json-template.ts';
import { actionVariables, type WebhookAction, type WebhookConfig } from './schema.ts';
import { sign } from './signature.ts';

const maxAnswerBytes = 1024 * 1024;
const maxShown = 200;
const firstPollMs = 250;
const maxPollMs = 5_000;

/** Actions over HTTP: README.md has the contract. */
export class WebhookTransport implements ActionTransport {
  readonly endpoint: string;
  readonly takes: ReadonlySet<Action['action']>;
  readonly #config: WebhookConfig;
  readonly #deps: PlaneDeps;
  readonly #http: HttpClient;

  constructor(config: WebhookConfig, deps: PlaneDeps) {
    this.#config = config;
    this.#deps = deps;
    this.endpoint = /^https?:\/\/([^/?#]*)/i.exec(config.switch.url)?.[1] ?? config.switch.url;
    this.takes = new Set((['stage', 'unstage', 'switch', 'persist'] as const).filter((name) => config[name] !== undefined));
    this.#http = createHttpClient(
      { ...config.http_config, follow_redirects: false },
      { timeoutMs: config.timeout, maxBytes: maxAnswerBytes, sleep: async (ms, signal) => deps.clock.sleep(ms, signal), nowMs: () => deps.clock.nowMs() },
    );
  }

  async observe(subject: ActionSubject, signal: AbortSignal): Promise<ObservationAnswer> {
    const url = urlOf(this.#config.observe.url, subject, ['model', 'labels']);
    const who = `GET ${hostOf(url)} (observe)`;
    try {
      const secret = await this.#secret();
      const answer = await this.#send('GET', url, '', {}, 'observe', secret, signal);
      if (answer.status !== 200) throw this.#statusError(who, answer, secret, classOfReading(classOfStatus(answer.status)));
      return parseObservation(this.#http.redact(answer.body).replaceAll(secret, '<secret>'), who);
    } catch (cause) {
      signal.throwIfAborted();
      if (cause instanceof HttpError) throw new PlaneError(classOfReading(classOfFailure(cause)), cause.message);
      if (cause instanceof SecretFileError) throw new PlaneError('permanent', cause.message);
      throw cause;
    }
  }

  async act(action: Action, signal: AbortSignal): Promise<ApplyOutcome> {
    const hook = this.#config[action.action];
    if (hook === undefined) return rejected('permanent', `no ${action.action} is configured`);
    const prepared = prepare(hook, action);
    if (typeof prepared === 'string') return rejected('permanent', prepared);
    const who = `${hook.method} ${hostOf(prepared.url)} (${action.action})`;
    let secret: string;
    try {
      secret = await this.#secret();
    } catch (cause) {
      return rejected('permanent', `${cause instanceof Error ? cause.message : String(cause)}; nothing was sent`);
    }
    try {
      // Header values are Latin letters only; a version may be any text.
      const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': encodeURIComponent(action.action_id) };
      const answer = await this.#send(hook.method, prepared.url, prepared.body, headers, action.action, secret, signal);
      if (answer.status === 202) return await this.#follow(who, prepared.url, answer, secret, signal);
      return this.#outcomeOf(who, answer, secret);
    } catch (cause) {
      if (!(cause instanceof HttpError)) throw cause;
      const errorClass = classOfFailure(cause);
      if (errorClass === 'indeterminate' || signal.aborted) return indeterminate(`${cause.message}; whether it took is not known`);
      return rejected(errorClass, `${cause.message}; nothing was sent`);
    }
  }

  close(): void {
    this.#http.close();
  }

  async #secret(): Promise<string> {
    const { signing_secret: secret, signing_secret_file: file } = this.#config;
    return file === undefined ? (secret ?? '') : readSecret('signing_secret_file', file);
  }

  async #send(
    method: string,
    url: string,
    body: string,
    headers: Readonly<Record<string, string>>,
    what: string,
    secret: string,
    signal: AbortSignal,
  ): Promise<HttpResponse> {
    const startedMs = this.#deps.clock.nowMs();
    const said = (code: string): void => this.#deps.onRequest(what, code, this.#deps.clock.nowMs() - startedMs);
    try {
      const answer = await this.#http.request({
        method,
        url,
        headers: { Accept: 'application/json', ...headers, ...sign(secret, body, startedMs) },
        ...(body === '' ? {} : { body }),
        signal,
      });
      said(String(answer.status));
      return answer;
    } catch (cause) {
      said(cause instanceof HttpError ? cause.code : 'ERROR');
      throw cause;
    }
  }

  /** 202: the Location is asked until it says how it ended. Only on the same origin: the signature is for nobody else. */
  async #follow(who: string, from: string, accepted: HttpResponse, secret: string, signal: AbortSignal): Promise<ApplyOutcome> {
    const { clock } = this.#deps;
    const location = accepted.headers['location'];
    if (location === undefined) return { kind: 'applied', detail: `${who} answered 202 without a Location; what serves will tell` };
    const next = URL.parse(location, from);
    if (next === null || next.origin !== new URL(from).origin)
      return indeterminate(`${who} answered 202 with a Location on another host, which is not asked; whether it took is not known`);
    const endMs = clock.nowMs() + this.#config.poll_timeout;
    let waitMs = retryAfterMs(accepted, clock.nowMs()) ?? firstPollMs;
    for (let pauseMs = firstPollMs; clock.nowMs() + waitMs < endMs; pauseMs = Math.min(pauseMs * 2, maxPollMs)) {
      await clock.sleep(waitMs, signal).catch(() => undefined);
      if (signal.aborted) break;
      waitMs = pauseMs;
      try {
        const answer = await this.#send('GET', next.href, '', {}, 'status', secret, signal);
        if (answer.status === 202) waitMs = retryAfterMs(answer, clock.nowMs()) ?? pauseMs;
        else if (answer.status < 500 && answer.status !== 429 && answer.status !== 408) return this.#outcomeOf(`${who}, its Location`, answer, secret);
      } catch (cause) {
        if (!(cause instanceof HttpError)) throw cause;
      }
    }
    return indeterminate(`${who} answered 202, and its Location did not tell the end within ${this.#config.poll_timeout} ms; whether it took is not known`);
  }

  #outcomeOf(who: string, answer: HttpResponse, secret: string): ApplyOutcome {
    if (answer.status >= 200 && answer.status < 300) return { kind: 'applied', detail: `${who} answered ${answer.status}` };
    const error = this.#statusError(who, answer, secret);
    if (error.class === 'conflict') return { kind: 'conflict', class: 'conflict', detail: `${error.message}: the world has changed` };
    return error.class === 'indeterminate' ? indeterminate(`${error.message}; whether it took is not known`) : rejected(error.class, error.message);
  }

  #statusError(who: string, answer: HttpResponse, secret: string, errorClass: ErrorClass = classOfStatus(answer.status)): PlaneError {
    const shown = this.#http.redact(answer.body).replaceAll(secret, '<secret>').replaceAll(/\s+/g, ' ').trim();
    const words = shown === '' ? '' : `: ${shown.length > maxShown ? `${shown.slice(0, maxShown)}…` : shown}`;
    const hint = answer.status >= 300 && answer.status < 400 ? ' (a redirect; give the final address)' : '';
    const afterMs = retryAfterMs(answer, this.#deps.clock.nowMs());
    return new PlaneError(errorClass, `${who} answered ${answer.status}${hint}${words}`, afterMs === null ? {} : { retryAfterMs: afterMs });
  }
}

function retryAfterMs(answer: HttpResponse, nowMs: number): number | null {
  return parseRetryAfter(answer.headers['retry-after'], nowMs);
}

type Prepared = { readonly url: string; readonly body: string };

/** Or why it cannot be sent. */
function prepare(hook: WebhookAction, action: Action): Prepared | string {
  const values: TemplateValues = { to: action.to, from: action.from, model: action.model, labels: action.labels };
  try {
    const url = urlOf(hook.url, values, actionVariables);
    if (hook.body === undefined) return { url, body: JSON.stringify(action) };
    const { template, fault } = parseTemplate(hook.body, actionVariables);
    const body = fault === undefined ? renderJson(template, values) : null;
    return body === null ? `${action.action}: body gives no JSON` : { url, body };
  } catch (cause) {
    if (cause instanceof PlaneError) return cause.message;
    throw cause;
  }
}

/** @throws {PlaneError} permanent, when a value cannot stand in a URL */
function urlOf(source: string, values: TemplateValues, variables: readonly TemplateVariable[]): string {
  const { template, fault } = parseTemplate(source, variables);
  if (fault !== undefined) throw new PlaneError('permanent', `url: ${fault.message}`);
  try {
    return renderUrl(template, values);
  } catch (cause) {
    if (cause instanceof UrlTemplateError) throw new PlaneError('permanent', `url: ${cause.message}`);
    throw cause;
  }
}

function hostOf(url: string): string {
  return URL.parse(url)?.host ?? '';
}

/** A call without a whole answer: where it cannot have been received it may be tried again, else nobody knows. */
function classOfFailure(error: HttpError): ErrorClass {
  if (isNotConnected(error)) return 'transient';
  if (error.code === 'FILE' || error.code === 'BAD_URL' || error.code.startsWith('ERR_TLS') || error.code.includes('CERT')) return 'permanent';
  return 'indeterminate';
}
