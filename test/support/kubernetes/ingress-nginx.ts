import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { Agent, createServer, request as httpRequest, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { FakeKubernetes } from './fake-kubernetes.ts';
import type { KubernetesObject } from './kubernetes-object.ts';

const prefix = 'nginx.ingress.kubernetes.io';

type Path = { path?: string; pathType?: string; backend: { service?: { name: string; port: { number?: number; name?: string } } } };
type Spec = { rules?: { host?: string; http?: { paths: Path[] } }[] };
type Policy = { weight: number; weightTotal: number; header: string; headerValue: string; headerPattern: string; cookie: string };
type Upstream = {
  readonly name: string;
  readonly service: string;
  readonly endpoints: readonly string[];
  /** Of a canary: no location leads to it. */
  readonly noServer: boolean;
  readonly policy: Policy | null;
  affinity: string | null;
  readonly alternatives: string[];
};
type Location = { readonly host: string; readonly path: string; readonly pathType: string; readonly upstream: string; readonly ingress: string };
type Configuration = { readonly upstreams: readonly Upstream[]; readonly locations: readonly Location[] };

/** One request, as the controller answered it. `service` is who would have served it, `null` for none; `cookie` is set anew. */
export type IngressAnswer = { readonly status: number; readonly service: string | null; readonly cookie: string | null };
type Request = { readonly host?: string; readonly path?: string; readonly headers?: Readonly<Record<string, string>> };

/**
 * What ingress-nginx makes of the Ingresses of namespace `shop`: its admission webhook, its controller, which hands backends to the workers some time after
 * a change, and a worker that answers HTTP on loopback with the Service it would have asked. Nothing of it is in any status.
 * @see https://github.com/kubernetes/ingress-nginx/blob/main/internal/ingress/controller/controller.go and rootfs/etc/nginx/lua/balancer.lua
 */
export class IngressNginx implements AsyncDisposable {
  readonly #kubernetes: FakeKubernetes;
  readonly #server: Server;
  readonly #delayMs: number;
  readonly #stop = new AbortController();
  #done: Promise<void> = Promise.resolve();
  #locations: readonly Location[] = [];
  #running: Configuration = { upstreams: [], locations: [] };
  #seen: { readonly configuration: Configuration; readonly untilMs: number } | null = null;
  #requests = 0;
  readonly #agent = new Agent({ keepAlive: true });
  readonly #removeWebhook: () => void;

  private constructor(kubernetes: FakeKubernetes, server: Server, delayMs: number) {
    this.#kubernetes = kubernetes;
    this.#server = server;
    this.#delayMs = delayMs;
    server.on('request', (request: IncomingMessage, response: ServerResponse) => this.#answer(request, response));
    this.#removeWebhook = kubernetes.addWebhook({
      name: 'validate.nginx.ingress.kubernetes.io',
      review: ({ group, resource, subresource, object }) => {
        if (group !== 'networking.k8s.io' || resource !== 'ingresses' || subresource !== null || object === null) return null;
        const overlap = this.#overlap(object);
        return overlap === null ? null : { deny: overlap, code: 400 };
      },
    });
  }

  /** @param options.delayMs from a change until the workers follow it */
  static async start(kubernetes: FakeKubernetes, options: { delayMs: number }): Promise<IngressNginx> {
    const server = createServer();
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const controller = new IngressNginx(kubernetes, server, options.delayMs);
    await controller.#sync(true);
    controller.#done = controller.#run();
    return controller;
  }

  /** Asks it as a client does. */
  async ask({ host = 'fraud.example.org', path = '/', headers = {} }: Request = {}): Promise<IngressAnswer> {
    const { port } = this.#server.address() as AddressInfo;
    const request = httpRequest({ host: '127.0.0.1', port, path, headers: { ...headers, host }, agent: this.#agent });
    const [response] = (await once(request.end(), 'response')) as [IncomingMessage];
    response.resume();
    await once(response, 'end');
    const served = response.headers['x-served-by'];
    return {
      status: response.statusCode ?? 0,
      service: typeof served === 'string' ? served : null,
      cookie: response.headers['set-cookie']?.[0]?.split(';')[0] ?? null,
    };
  }

  /** Who serves ten requests: Service (or status) → how many. */
  async ten(request: Request = {}): Promise<Record<string, number>> {
    const counts = new Map<string, number>();
    for (let turn = 0; turn < 10; turn += 1) {
      const { service, status } = await this.ask(request);
      const who = service ?? String(status);
      counts.set(who, (counts.get(who) ?? 0) + 1);
    }
    return Object.fromEntries([...counts].toSorted());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    this.#removeWebhook();
    await this.#done;
    this.#agent.destroy();
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      await this.#sync(false).catch(() => undefined);
      await sleep(10, undefined, { signal: this.#stop.signal }).catch(() => undefined);
    }
  }

  async #sync(atOnce: boolean): Promise<void> {
    const ingresses = await this.#kubernetes.client.list('/apis/networking.k8s.io/v1/namespaces/shop/ingresses');
    const slices = await this.#kubernetes.client.list('/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices');
    const configuration = configure(ingresses, slices);
    this.#locations = configuration.locations;
    if (atOnce) this.#running = configuration;
    if (isDeepStrictEqual(configuration, this.#running)) return void (this.#seen = null);
    if (this.#seen === null || !isDeepStrictEqual(this.#seen.configuration, configuration))
      this.#seen = { configuration, untilMs: performance.now() + this.#delayMs };
    if (performance.now() >= this.#seen.untilMs) this.#running = configuration;
  }

  /** As the webhook's `checkOverlap`: two Ingresses that both say nothing of canaries. */
  #overlap(object: KubernetesObject): string | null {
    if (annotation(object, 'canary') !== null) return null;
    for (const { host, path } of pathsOf(object)) {
      const other = this.#locations.find((location) => location.host === host && location.path === path && location.ingress !== object.metadata.name);
      if (other !== undefined) return `host "${host}" and path "${path}" is already defined in ingress shop/${other.ingress}`;
    }
    return null;
  }

  #answer({ headers, url }: IncomingMessage, response: ServerResponse): void {
    const upstream = this.#route(headers['host'] ?? '', url ?? '/', headers);
    if (typeof upstream === 'number') return void response.writeHead(upstream).end();
    const isNew = upstream.affinity !== null && !isAffinitized(upstream, headers);
    response.writeHead(200, {
      'x-served-by': upstream.service,
      ...(isNew ? { 'set-cookie': `${upstream.affinity}=${upstream.endpoints[0]}|${backendKey(upstream)}; Path=/; HttpOnly` } : {}),
    });
    response.end();
  }

  #route(host: string, url: string, headers: IncomingMessage['headers']): Upstream | number {
    const { upstreams, locations } = this.#running;
    const [best] = locations
      .filter((location) => location.host === host && (location.pathType === 'Exact' ? url === location.path : url.startsWith(location.path)))
      .toSorted((a, b) => b.path.length - a.path.length);
    if (best === undefined) return 404;
    // A backend without endpoints has no balancer.
    const balancers = new Map(upstreams.filter(({ endpoints }) => endpoints.length > 0).map((upstream) => [upstream.name, upstream]));
    const primary = balancers.get(best.upstream);
    if (primary === undefined) return 503;
    const alternative = balancers.get(primary.alternatives[0] ?? '');
    return alternative !== undefined && this.#goesTo(alternative, primary, headers) ? alternative : primary;
  }

  #goesTo(alternative: Upstream, primary: Upstream, headers: IncomingMessage['headers']): boolean {
    if (isAffinitized(primary, headers)) return false;
    if (isAffinitized(alternative, headers)) return true;
    const { policy } = alternative;
    if (policy === null) return false;
    const header = policy.header === '' ? undefined : headers[policy.header.toLowerCase()];
    if (typeof header === 'string') {
      if (policy.headerValue !== '') {
        if (policy.headerValue === header) return true;
      } else if (policy.headerPattern !== '') {
        if (new RegExp(policy.headerPattern).test(header)) return true;
      } else if (header === 'always' || header === 'never') return header === 'always';
    }
    const cookie = policy.cookie === '' ? undefined : cookieOf(headers, policy.cookie);
    if (cookie === 'always' || cookie === 'never') return cookie === 'always';
    const total = policy.weightTotal > 100 ? policy.weightTotal : 100;
    // In place of math.random: ten requests are spread evenly from 1 to the total.
    this.#requests += 1;
    return Math.ceil((((this.#requests % 10) + 0.5) * total) / 10) <= policy.weight;
  }
}

function annotation(object: KubernetesObject, key: string): string | null {
  return object.metadata.annotations?.[`${prefix}/${key}`] ?? null;
}

/** `strconv.Atoi`; what it refuses counts as not written, and only the controller's log says so. */
function integer(text: string | null, fallback: number): number {
  return text !== null && /^[+-]?\d+$/.test(text) ? Number(text) : fallback;
}

function pathsOf(object: KubernetesObject): { host: string; path: string; bare: string; pathType: string; service: string; port: string }[] {
  const { rules = [] } = (object.spec ?? {}) as Spec;
  return rules.flatMap(({ host, http }) =>
    (http?.paths ?? []).flatMap(({ path, pathType, backend }) => {
      if (backend.service === undefined) return [];
      const { name, port } = backend.service;
      const type = pathType === undefined || pathType === 'ImplementationSpecific' ? 'Prefix' : pathType;
      return [
        {
          host: host ?? '_',
          path: path === undefined || path === '' ? '/' : path,
          bare: path ?? '',
          pathType: type,
          service: name,
          port: String(port.name ?? port.number),
        },
      ];
    }),
  );
}

function configure(ingresses: readonly KubernetesObject[], slices: readonly KubernetesObject[]): Configuration {
  // The oldest first; of the same second, the last by name.
  const sorted = ingresses.toSorted((a, b) => {
    const [first, second] = [a.metadata.creationTimestamp ?? '', b.metadata.creationTimestamp ?? ''];
    if (first !== second) return first < second ? -1 : 1;
    return a.metadata.name > b.metadata.name ? -1 : 1;
  });
  const isOn = (object: KubernetesObject): boolean => ['1', 't', 'T', 'true', 'TRUE', 'True'].includes(annotation(object, 'canary') ?? '');
  const upstreams = new Map<string, Upstream>();
  for (const object of sorted)
    for (const { service, port } of pathsOf(object)) {
      const name = `shop-${service}-${port}`;
      // The first Ingress that leads there decides what it is.
      if (upstreams.has(name)) continue;
      const policy = {
        weight: integer(annotation(object, 'canary-weight'), 0),
        weightTotal: integer(annotation(object, 'canary-weight-total'), 100),
        header: annotation(object, 'canary-by-header') ?? '',
        headerValue: annotation(object, 'canary-by-header-value') ?? '',
        headerPattern: annotation(object, 'canary-by-header-pattern') ?? '',
        cookie: annotation(object, 'canary-by-cookie') ?? '',
      };
      const endpoints = readyAddresses(slices, service);
      upstreams.set(name, { name, service, endpoints, noServer: isOn(object), policy: isOn(object) ? policy : null, affinity: null, alternatives: [] });
    }
  const locations: Location[] = [];
  for (const object of sorted)
    for (const { host, path, pathType, service, port } of pathsOf(object)) {
      const upstream = upstreams.get(`shop-${service}-${port}`) as Upstream;
      if (upstream.noServer) continue;
      if (annotation(object, 'affinity') === 'cookie') upstream.affinity = annotation(object, 'session-cookie-name') ?? 'INGRESSCOOKIE';
      if (locations.some((location) => location.host === host && location.path === path && location.pathType === pathType)) continue;
      locations.push({ host, path, pathType, upstream: upstream.name, ingress: object.metadata.name });
    }
  if (sorted.some((object) => !isOn(object))) for (const object of sorted) if (isOn(object)) merge(object, upstreams, locations);
  return { upstreams: [...upstreams.values()], locations };
}

/** Puts a canary behind the primaries of the same host and path. */
function merge(object: KubernetesObject, upstreams: ReadonlyMap<string, Upstream>, locations: readonly Location[]): void {
  for (const { host, bare, pathType, service, port } of pathsOf(object)) {
    const canary = upstreams.get(`shop-${service}-${port}`);
    for (const location of locations.filter((candidate) => candidate.host === host)) {
      const primary = upstreams.get(location.upstream);
      if (canary === undefined || primary === undefined || primary.noServer) continue;
      if (primary.name === canary.name) break;
      if (location.path !== bare || location.pathType !== pathType || primary.alternatives.includes(canary.name)) continue;
      if (annotation(object, 'affinity-canary-behavior')?.trim() !== 'legacy') canary.affinity = primary.affinity;
      primary.alternatives.push(canary.name);
    }
  }
}

function readyAddresses(slices: readonly KubernetesObject[], service: string): string[] {
  return slices
    .filter((slice) => slice.metadata.labels?.['kubernetes.io/service-name'] === service)
    .flatMap((slice) => (slice['endpoints'] ?? []) as { addresses: string[]; conditions?: { ready?: boolean } }[])
    .filter(({ conditions }) => conditions?.ready !== false)
    .flatMap(({ addresses }) => addresses);
}

function backendKey({ name }: Upstream): string {
  return createHash('md5').update(name).digest('hex');
}

function isAffinitized(upstream: Upstream, headers: IncomingMessage['headers']): boolean {
  return upstream.affinity !== null && cookieOf(headers, upstream.affinity)?.split('|')[1] === backendKey(upstream);
}

function cookieOf(headers: IncomingMessage['headers'], name: string): string | undefined {
  const pairs = (headers.cookie ?? '').split(';').map((pair) => pair.trim().split('='));
  return pairs.find(([key]) => key === name)?.[1];
}
