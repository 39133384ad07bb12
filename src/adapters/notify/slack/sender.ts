import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { MessageContent } from '../../../domain/message.ts';
import type { NotifyFailure, Sender, SendResult } from '../../../domain/ports.ts';
import type { OutboxMessage } from '../../../domain/records.ts';
import { createHttpClient, type HttpClient, type HttpResponse } from '../../http/client.ts';
import { HttpError } from '../../http/http-error.ts';
import { parseRetryAfter } from '../../http/retry-after.ts';
import type { SenderDeps } from '../receiver-kind.ts';
import { slackMessage } from './message.ts';
import type { SlackConfig } from './schema.ts';

const timeoutMs = 10_000;
const maxBytes = 64 * 1024;

/**
 * Posts to an incoming webhook. Its address is a secret: no result, error or log line holds it, only the host (in transport failures).
 * @see https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks (answers are texts: `ok`, or a code)
 */
export class SlackSender implements Sender {
  readonly lane: string;
  readonly #config: SlackConfig;
  readonly #deps: SenderDeps;
  readonly #client: HttpClient;

  constructor(config: SlackConfig, deps: SenderDeps) {
    this.#config = config;
    this.#deps = deps;
    this.lane = `slack/${createHash('sha256').update(`${deps.receiver}\n${deps.index}`).digest('hex').slice(0, 16)}`;
    this.#client = createHttpClient(config.http_config ?? {}, {
      timeoutMs,
      maxBytes,
      sleep: async (ms, signal) => await deps.clock.sleep(ms, signal),
      nowMs: () => deps.clock.nowMs(),
    });
  }

  async send(message: OutboxMessage, signal: AbortSignal): Promise<SendResult> {
    if (!this.#config.send_resolved && message.kind === 'alert' && message.content['status'] === 'resolved')
      return { kind: 'sent', detail: 'not sent: send_resolved is false' };
    const url = await this.#url();
    if (url === null) return retry('other', 'api_url_file cannot be read, or holds no http or https address');
    try {
      const payload = slackMessage({ kind: message.kind, content: message.content } as MessageContent);
      const answer = await this.#post(url, payload, signal);
      if (!isRefused(answer)) return this.#resultOf(answer);
      // Something in the blocks is not to Slack's taste: the text alone says the main thing.
      const second = this.#resultOf(await this.#post(url, { text: payload.text }, signal));
      return second.kind === 'retry' ? second : { ...second, detail: `${second.detail} (as plain text; blocks were refused: ${codeOf(answer)})` };
    } catch (error) {
      return failureOf(error);
    }
  }

  close(): void {
    this.#client.close();
  }

  /** Read at each message, so that a rotated webhook needs no reload. `null`: not there, or no URL. */
  async #url(): Promise<string | null> {
    if (this.#config.api_url !== undefined) return this.#config.api_url;
    const text = await readFile(this.#config.api_url_file ?? '', 'utf8').catch(() => '');
    const url = URL.parse(text.trim());
    return url !== null && (url.protocol === 'http:' || url.protocol === 'https:') ? url.href : null;
  }

  async #post(url: string, payload: object, signal: AbortSignal): Promise<HttpResponse> {
    return await this.#client.request({
      method: 'POST',
      url,
      headers: { 'Content-Type': 'application/json; charset=utf-8' },
      body: JSON.stringify(payload),
      signal,
    });
  }

  #resultOf(answer: HttpResponse): SendResult {
    const { status } = answer;
    if (status >= 200 && status < 300) return acceptedOrNot(answer);
    const detail = `answered ${status} ${codeOf(answer)}`;
    if (status === 429)
      return { kind: 'retry', retryAfterMs: parseRetryAfter(answer.headers['retry-after'], this.#deps.clock.nowMs()) ?? 1000, reason: 'rateLimited', detail };
    if (status === 408) return retry('clientError', detail);
    if (status >= 500)
      return { kind: 'retry', retryAfterMs: parseRetryAfter(answer.headers['retry-after'], this.#deps.clock.nowMs()), reason: 'serverError', detail };
    return { kind: 'permanent', reason: status === 401 || status === 403 ? 'authError' : 'clientError', detail };
  }
}

/** Slack refuses the message itself, not the sender. */
function isRefused({ status }: HttpResponse): boolean {
  return status === 400 || status === 413 || status === 422;
}

/** `ok`, nothing, or JSON that says so is success; a bare code (`no_service`) is final; a page of something in between is tried again. */
function acceptedOrNot(answer: HttpResponse): SendResult {
  const body = answer.body.trim();
  if (body === '' || body === 'ok') return { kind: 'sent', detail: 'ok' };
  const json = parseObject(body);
  if (json !== null) {
    const isRefusal = json['ok'] === false || json['success'] === false;
    return isRefusal
      ? { kind: 'permanent', reason: 'clientError', detail: `answered ${answer.status} ${codeOf(answer)}` }
      : { kind: 'sent', detail: `answered ${answer.status}` };
  }
  if (/^[\w .:-]{1,100}$/.test(body)) return { kind: 'permanent', reason: 'clientError', detail: `answered ${answer.status} ${codeOf(answer)}` };
  return retry('other', `answered ${answer.status} with something else than Slack's ok`);
}

function parseObject(text: string): Record<string, unknown> | null {
  if (!text.startsWith('{')) return null;
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return null;
  }
}

/** Slack's code when it looks like one; never free text, which may quote what we sent. */
function codeOf({ body }: HttpResponse): string {
  const text = body.trim();
  const error = parseObject(text)?.['error'];
  const code = typeof error === 'string' ? error : text;
  return /^[a-z][a-z_]{1,59}$/.test(code) ? code : 'without a code';
}

function retry(reason: NotifyFailure, detail: string): SendResult {
  return { kind: 'retry', retryAfterMs: null, reason, detail };
}

function failureOf(error: unknown): SendResult {
  if (!(error instanceof HttpError))
    return { kind: 'permanent', reason: 'other', detail: `the message cannot be built: ${error instanceof Error ? error.name : 'unknown'}` };
  switch (error.code) {
    case 'ABORTED':
      return retry('contextCanceled', error.message);
    case 'TIMEOUT':
      return retry('contextDeadlineExceeded', error.message);
    case 'REDIRECT':
      return { kind: 'permanent', reason: 'clientError', detail: error.message };
    default:
      return retry('other', error.message);
  }
}
