import { once } from 'node:events';
import { createServer as createHttpServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { ApiError, unauthorized } from './api-error.ts';
import { type ApiAnswer, type ApiRequest, ApiServer, type Watch, type Webhook } from './api-server.ts';
import { KubernetesTestClient, testUserAgent } from './kubernetes-client.ts';
import type { KubernetesObject } from './kubernetes-object.ts';
import type { User } from './rbac.ts';

/**
 * What can go wrong with a request. A number: answered with that status and not done. `timeout after send`, `reset after send`: done, but the
 * answer never comes, or the connection breaks instead. `hang`, `reset`: neither done nor answered.
 */
export type KubernetesFault = 401 | 403 | 404 | 409 | 410 | 422 | 429 | 500 | 503 | 504 | 'timeout after send' | 'reset after send' | 'hang' | 'reset';

/** Which requests: all that is given must fit. */
export type RequestFilter = {
  readonly method?: string | readonly string[];
  /** Fits within the path (without query). */
  readonly path?: string | RegExp;
  readonly test?: (request: LoggedRequest) => boolean;
};

export type LoggedRequest = {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly contentType: string;
  readonly body: string;
  readonly user: string;
  readonly userAgent: string;
  /** 0 while there is no answer. */
  readonly status: number;
};

export type FakeKubernetesOptions = {
  /** Beside `default` and `kube-system`. */
  readonly namespaces?: readonly string[];
  /** Bearer token → who that is; then a request needs one. Without: everybody is an administrator. */
  readonly tokens?: Readonly<Record<string, User>>;
  /** Roles and bindings decide, for all but `system:masters`. */
  readonly rbac?: boolean;
  /** PEM. With `clientCa` a client certificate is a login, too: its CN and Os. */
  readonly tls?: { readonly key: string; readonly cert: string; readonly clientCa?: string };
  readonly nowMs?: () => number;
};

const mutating = new Set(['POST', 'PUT', 'PATCH', 'DELETE']);
const reasons: Readonly<Record<number, string>> = {
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  409: 'Conflict',
  410: 'Expired',
  422: 'Invalid',
  429: 'TooManyRequests',
  500: 'InternalError',
  503: 'ServiceUnavailable',
  504: 'Timeout',
};

/** A Kubernetes API server in this process: README.md says what it knows. Its objects are reached by `client`. */
export class FakeKubernetes implements AsyncDisposable {
  readonly url: string;
  /** An administrator that is not counted in `mutations()`. */
  readonly client: KubernetesTestClient;
  /** Tokens that are valid now; may be changed at any time. */
  readonly tokens: Map<string, User>;
  readonly #api: ApiServer;
  readonly #server: Server;
  readonly #log: LoggedRequest[] = [];
  readonly #faults: { filter: RequestFilter; fault: KubernetesFault; left: number; detail: string | undefined; onHang: () => void }[] = [];
  readonly #watches = new Set<{ response: ServerResponse; watch: Watch; stop: () => void }>();
  readonly #hanging = new Set<ServerResponse>();
  readonly #adminToken = `admin-${Math.random().toString(36).slice(2)}`;
  readonly #needsToken: boolean;

  private constructor(server: Server, api: ApiServer, options: FakeKubernetesOptions) {
    const { port } = server.address() as AddressInfo;
    this.#server = server;
    this.#api = api;
    this.#needsToken = options.tokens !== undefined || options.tls?.clientCa !== undefined;
    this.tokens = new Map(Object.entries(options.tokens ?? {}));
    this.url = `${options.tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`;
    this.client = new KubernetesTestClient({ url: this.url, token: this.#adminToken, ca: options.tls?.cert ?? null });
    server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => this.#handle(request, Buffer.concat(chunks).toString('utf8'), response));
    });
  }

  static async start(options: FakeKubernetesOptions = {}): Promise<FakeKubernetes> {
    const { tls } = options;
    const server =
      tls === undefined
        ? createHttpServer()
        : createHttpsServer({
            key: tls.key,
            cert: tls.cert,
            ...(tls.clientCa === undefined ? {} : { ca: tls.clientCa, requestCert: true, rejectUnauthorized: false }),
          });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const api = new ApiServer(options.nowMs ?? Date.now);
    api.isRbacOn = options.rbac ?? false;
    for (const name of options.namespaces ?? []) api.ensureNamespace(name);
    return new FakeKubernetes(server, api, options);
  }

  /** Requests so far, the oldest first; those of `client` are left out. */
  get requests(): readonly LoggedRequest[] {
    return this.#log.filter((request) => !request.userAgent.startsWith(testUserAgent));
  }

  /** Requests that were to change something (no dry run, no access review), answered or not; those of `client` are left out. */
  mutations(): number {
    return this.requests.filter((request) => mutating.has(request.method) && !request.query.has('dryRun') && !request.path.endsWith('accessreviews')).length;
  }

  /**
   * Spoils the requests that fit, except those of `client`, until taken back.
   * @param options.times how many (default: all); `options.message` in the `Status`; `options.onHang` is called with each request that stays without answer
   * @returns takes it back
   */
  fail(filter: RequestFilter, fault: KubernetesFault, options: { times?: number; message?: string; onHang?: () => void } = {}): () => void {
    const { times = Number.POSITIVE_INFINITY, message: detail, onHang = () => undefined } = options;
    const entry = { filter, fault, left: times, detail, onHang };
    this.#faults.push(entry);
    return () => {
      const at = this.#faults.indexOf(entry);
      if (at >= 0) this.#faults.splice(at, 1);
    };
  }

  /** Takes every fault back, and lets go of what hangs. */
  heal(): void {
    this.#faults.length = 0;
    for (const response of this.#hanging) response.destroy();
    this.#hanging.clear();
  }

  /** An admission webhook. @returns takes it away */
  addWebhook(webhook: Webhook): () => void {
    this.#api.webhooks.push(webhook);
    return () => {
      const at = this.#api.webhooks.indexOf(webhook);
      if (at >= 0) this.#api.webhooks.splice(at, 1);
    };
  }

  /** Makes a kind known, as POST of the CustomResourceDefinition does. */
  async installCrd(crd: KubernetesObject): Promise<void> {
    await this.client.create(crd);
  }

  /** Forgets the history: a watch from an older version gets 410 Expired. */
  compact(): void {
    this.#api.store.compact();
  }

  /** Ends every open watch, as a server that restarts does. */
  endWatches(): void {
    for (const { response, stop } of this.#watches) {
      stop();
      response.end();
    }
    this.#watches.clear();
  }

  /** Sends a bookmark to every watch that wants some. */
  sendBookmarks(): void {
    for (const { response, watch } of this.#watches) if (watch.wantsBookmarks) response.write(`${JSON.stringify(watch.bookmark())}\n`);
  }

  /** Open watches now. */
  get watches(): number {
    return this.#watches.size;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.heal();
    this.endWatches();
    this.client.close();
    this.#server.closeAllConnections();
    if (this.#server.listening) await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #handle(request: IncomingMessage, body: string, response: ServerResponse): void {
    const url = new URL(request.url ?? '/', this.url);
    const entry: { -readonly [Key in keyof LoggedRequest]: LoggedRequest[Key] } = {
      method: request.method ?? 'GET',
      path: url.pathname,
      query: url.searchParams,
      contentType: request.headers['content-type'] ?? '',
      body,
      user: '',
      userAgent: request.headers['user-agent'] ?? '',
      status: 0,
    };
    this.#log.push(entry);
    response.on('error', () => undefined);
    const fault = this.#faultFor(entry);
    if (fault?.fault === 'reset') return void request.socket.destroy();
    if (fault?.fault === 'hang') return this.#hang(response, fault.onHang);
    const send = (status: number, content: unknown, headers: Record<string, string> = {}): void => {
      entry.status = status;
      answer(response, status, content, headers);
    };
    if (typeof fault?.fault === 'number') {
      if (fault.fault === 429)
        return send(429, `Too many requests, please try again later. ${fault.detail ?? ''}\n`, {
          'retry-after': '1',
          'content-type': 'text/plain; charset=utf-8',
        });
      const failure = new ApiError(fault.fault, reasons[fault.fault] ?? '', fault.detail ?? `planned failure ${fault.fault} of the fake API server`);
      return send(fault.fault, failure.status());
    }
    try {
      const user = this.#authenticate(request);
      entry.user = user.name;
      const result = this.#api.handle({ ...entry, user } satisfies ApiRequest);
      if (fault?.fault === 'timeout after send') return this.#hang(response, fault.onHang);
      if (fault?.fault === 'reset after send') return void request.socket.destroy();
      this.#send(result, send, response, entry);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      send(error.code, error.status());
    }
  }

  #hang(response: ServerResponse, onHang: () => void): void {
    this.#hanging.add(response);
    onHang();
  }

  #send(result: ApiAnswer, send: (status: number, content: unknown) => void, response: ServerResponse, entry: { status: number }): void {
    if (!('watch' in result)) return send(result.status, result.body);
    const { watch } = result;
    entry.status = 200;
    response.writeHead(200, { 'content-type': 'application/json' });
    response.flushHeaders();
    const isOver = watch.first.some((event) => event.type === 'ERROR');
    for (const event of watch.first) response.write(`${JSON.stringify(event)}\n`);
    if (isOver) return void response.end();
    const stopFollowing = watch.follow((event) => response.write(`${JSON.stringify(event)}\n`));
    const timer = setTimeout(() => {
      if (watch.wantsBookmarks) response.write(`${JSON.stringify(watch.bookmark())}\n`);
      open.stop();
      response.end();
    }, watch.timeoutMs);
    const open = {
      response,
      watch,
      stop: () => {
        clearTimeout(timer);
        stopFollowing();
        this.#watches.delete(open);
      },
    };
    this.#watches.add(open);
    response.on('close', () => open.stop());
  }

  #faultFor(request: LoggedRequest): { fault: KubernetesFault; detail: string | undefined; onHang: () => void } | null {
    if (request.userAgent.startsWith(testUserAgent)) return null;
    const entry = this.#faults.find(({ filter, left }) => left > 0 && fits(filter, request));
    if (entry === undefined) return null;
    entry.left -= 1;
    return entry;
  }

  #authenticate(request: IncomingMessage): User {
    const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1];
    if (token === this.#adminToken) return { name: 'test', groups: ['system:masters'] };
    const known = token === undefined ? undefined : this.tokens.get(token);
    if (known !== undefined) return known;
    if (token === undefined && isVouchedFor(request.socket)) {
      const { CN, O } = request.socket.getPeerCertificate().subject as { CN?: string; O?: string | string[] };
      return { name: CN ?? '', groups: [O ?? []].flat() };
    }
    if (this.#needsToken) throw unauthorized();
    return { name: 'anybody', groups: ['system:masters'] };
  }
}

/** A TLS connection whose client showed a certificate of the right authority. */
function isVouchedFor(socket: Socket): socket is TLSSocket {
  return 'authorized' in socket && socket.authorized === true;
}

function fits({ method, path, test }: RequestFilter, request: LoggedRequest): boolean {
  if (method !== undefined && ![method].flat().includes(request.method)) return false;
  if (typeof path === 'string' && !request.path.includes(path)) return false;
  if (path instanceof RegExp && !path.test(request.path)) return false;
  return test === undefined || test(request);
}

function answer(response: ServerResponse, status: number, content: unknown, headers: Record<string, string>): void {
  const text = typeof content === 'string' ? content : `${JSON.stringify(content)}\n`;
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text), ...headers }).end(text);
}

/** Starts one; it goes with `await using`. */
export async function startFakeKubernetes(options: FakeKubernetesOptions = {}): Promise<FakeKubernetes> {
  return FakeKubernetes.start(options);
}
