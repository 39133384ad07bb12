import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import type { KubernetesObject } from './kubernetes-object.ts';

/** Requests of the tests' own client say so: what a plane sends is counted without them. */
export const testUserAgent = 'kubernetes-test-client';

export class KubernetesAnswerError extends Error {
  override readonly name = 'KubernetesAnswerError';
  readonly status: number;
  readonly body: Record<string, unknown>;
  constructor(what: string, status: number, body: Record<string, unknown>) {
    super(`${what}: ${status} ${String(body['message'] ?? JSON.stringify(body))}`);
    this.status = status;
    this.body = body;
  }
}

export type KubernetesAnswer = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Record<string, unknown>;
  readonly text: string;
};
type Query = Readonly<Record<string, string>>;
type WatchHandler = (type: 'ADDED' | 'MODIFIED' | 'DELETED', object: KubernetesObject) => void;

/** Talks to a Kubernetes API server, fake or real, for tests and their controllers. Shares nothing with rollbackd's own client. */
export class KubernetesTestClient {
  readonly url: string;
  readonly #token: string | null;
  readonly #ca: string | null;
  readonly #agent: HttpAgent;
  readonly #userAgent: string;

  /** @param options.ca PEM of the server's certificate authority, for https */
  constructor(options: { url: string; token: string | null; ca: string | null; userAgent?: string }) {
    this.url = options.url;
    this.#token = options.token;
    this.#ca = options.ca;
    this.#userAgent = options.userAgent ?? testUserAgent;
    this.#agent = options.url.startsWith('https:') ? new HttpsAgent({ keepAlive: true }) : new HttpAgent({ keepAlive: true });
  }

  /** Any request; every status is an answer. */
  async request(method: string, path: string, options: { body?: unknown; contentType?: string; query?: Query } = {}): Promise<KubernetesAnswer> {
    const content = options.body === undefined ? undefined : typeof options.body === 'string' ? options.body : JSON.stringify(options.body);
    const response = await this.#send(method, path, options.query ?? {}, content, options.contentType ?? 'application/json', null);
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString('utf8');
    return { status: response.statusCode ?? 0, headers: response.headers as Record<string, string>, body: parse(text), text };
  }

  async get<T = KubernetesObject>(path: string, query: Query = {}): Promise<T> {
    return this.#expect('GET', path, { query }) as Promise<T>;
  }

  /** `null` when it is not there. */
  async find(path: string): Promise<KubernetesObject | null> {
    const answer = await this.request('GET', path);
    if (answer.status === 404) return null;
    if (answer.status !== 200) throw new KubernetesAnswerError(`GET ${path}`, answer.status, answer.body);
    return answer.body as KubernetesObject;
  }

  async list(path: string, query: Query = {}): Promise<KubernetesObject[]> {
    const { items } = await this.get<{ items: KubernetesObject[] }>(path, query);
    return items;
  }

  /** Where it goes follows from its apiVersion, kind and namespace. */
  async create(object: KubernetesObject): Promise<KubernetesObject> {
    return this.#expect('POST', collectionPath(object), { body: object });
  }

  async replace(object: KubernetesObject, subresource = ''): Promise<KubernetesObject> {
    return this.#expect('PUT', `${objectPath(object)}${subresource === '' ? '' : `/${subresource}`}`, { body: object });
  }

  async merge(path: string, patch: unknown): Promise<KubernetesObject> {
    return this.#expect('PATCH', path, { body: patch, contentType: 'application/merge-patch+json' });
  }

  async jsonPatch(path: string, patch: unknown): Promise<KubernetesObject> {
    return this.#expect('PATCH', path, { body: patch, contentType: 'application/json-patch+json' });
  }

  /** Gone already is as good. */
  async remove(path: string, options?: unknown): Promise<void> {
    const answer = await this.request('DELETE', path, options === undefined ? {} : { body: options });
    if (answer.status >= 300 && answer.status !== 404) throw new KubernetesAnswerError(`DELETE ${path}`, answer.status, answer.body);
  }

  /**
   * Lists and then follows, and again from the start whenever the watch ends; an object may be told of more than once.
   * Ends with the signal.
   */
  async watch(path: string, query: Query, onEvent: WatchHandler, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.#follow(path, query, onEvent, signal);
      } catch {
        // The server is away or starts anew.
      }
      await sleep(50, undefined, { signal }).catch(() => undefined);
    }
  }

  async #follow(path: string, query: Query, onEvent: WatchHandler, signal: AbortSignal): Promise<void> {
    const list = await this.get<{ metadata: { resourceVersion: string }; items: KubernetesObject[] }>(path, query);
    for (const item of list.items) onEvent('ADDED', item);
    const response = await this.#send('GET', path, { ...query, watch: '1', resourceVersion: list.metadata.resourceVersion }, undefined, '', signal);
    let rest = '';
    for await (const chunk of response) {
      const lines = (rest + (chunk as Buffer).toString('utf8')).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        const event = JSON.parse(line) as { type: string; object: KubernetesObject };
        if (event.type === 'ERROR') return void response.destroy();
        if (event.type !== 'BOOKMARK') onEvent(event.type as 'ADDED', event.object);
      }
    }
  }

  close(): void {
    this.#agent.destroy();
  }

  async #expect(method: string, path: string, options: { body?: unknown; contentType?: string; query?: Query }): Promise<KubernetesObject> {
    const answer = await this.request(method, path, options);
    if (answer.status < 200 || answer.status > 299) throw new KubernetesAnswerError(`${method} ${path}`, answer.status, answer.body);
    return answer.body as KubernetesObject;
  }

  async #send(method: string, path: string, query: Query, body: string | undefined, contentType: string, signal: AbortSignal | null): Promise<IncomingMessage> {
    const url = new URL(path, this.url);
    for (const [key, value] of Object.entries(query)) url.searchParams.set(key, value);
    const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
    return new Promise((resolve, reject) => {
      const request = send(
        url,
        {
          method,
          agent: this.#agent,
          ...(this.#ca === null ? {} : { ca: this.#ca }),
          ...(signal === null ? {} : { signal }),
          headers: {
            'user-agent': this.#userAgent,
            accept: 'application/json',
            ...(this.#token === null ? {} : { authorization: `Bearer ${this.#token}` }),
            // Without it Node sends a DELETE's body unframed.
            ...(body === undefined ? {} : { 'content-type': contentType, 'content-length': Buffer.byteLength(body) }),
          },
        },
        resolve,
      );
      request.on('error', reject);
      request.end(body);
    });
  }
}

function parse(text: string): Record<string, unknown> {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return { message: text };
  }
}

/** `Deployment` → `deployments`, `Ingress` → `ingresses`, `InferenceService` → `inferenceservices`. */
function pluralOf(kind: string): string {
  const lower = kind.toLowerCase();
  if (lower === 'endpoints') return lower;
  if (/(?:s|x|ch|sh)$/.test(lower)) return `${lower}es`;
  return lower.endsWith('y') ? `${lower.slice(0, -1)}ies` : `${lower}s`;
}

const clusterKinds = new Set(['Namespace', 'Node', 'CustomResourceDefinition', 'ClusterRole', 'ClusterRoleBinding', 'GatewayClass']);

/** Path of the list an object belongs to; `default` when it names no namespace. */
export function collectionPath({ apiVersion = 'v1', kind = '', metadata }: KubernetesObject): string {
  const base = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`;
  const namespace = clusterKinds.has(kind) ? '' : `/namespaces/${metadata.namespace ?? 'default'}`;
  return `${base}${namespace}/${pluralOf(kind)}`;
}

export function objectPath(object: KubernetesObject): string {
  return `${collectionPath(object)}/${object.metadata.name}`;
}
