import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** What is sent where, per look: the platform's name of what serves (a predictor, a revision, `fraud_4`) with its share, and the version behind it. */
export type Routed = readonly { readonly name: string; readonly version: string; readonly share: number }[];

const everyMs = 50;
const perLook = 5;

/**
 * Clients and servers in one: it looks where the platform routes to, counts requests there under the metric names of that platform, and fails as many of
 * them as the version does. `/metrics` shows the counters; anything else answers as the served version does.
 */
export class Traffic implements AsyncDisposable {
  readonly #route: () => Promise<Routed>;
  readonly #line: (name: string, ok: boolean) => string;
  readonly #failRatioOf: (version: string) => number;
  readonly #counts = new Map<string, number>();
  readonly #server: Server;
  readonly #stop = new AbortController();
  #loop: Promise<void> = Promise.resolve();
  /** Looks at which nothing was routed to. */
  outages = 0;

  /** @param options.line one series, name and labels, for what serves and whether the request went well */
  private constructor(options: { route: () => Promise<Routed>; line: (name: string, ok: boolean) => string; failRatioOf: (version: string) => number }) {
    this.#route = options.route;
    this.#line = options.line;
    this.#failRatioOf = options.failRatioOf;
    this.#server = createServer((request, response) => {
      if (request.url === '/metrics') return void response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4' }).end(this.#page());
      void this.#route().then((routed) => {
        const [main] = routed.toSorted((a, b) => b.share - a.share);
        response.writeHead(main === undefined ? 503 : 200, { 'content-type': 'application/json' }).end(JSON.stringify({ version: main?.version ?? null }));
      });
    });
  }

  static async start(options: {
    route: () => Promise<Routed>;
    line: (name: string, ok: boolean) => string;
    failRatioOf: (version: string) => number;
  }): Promise<Traffic> {
    const traffic = new Traffic(options);
    await new Promise<void>((resolve) => {
      traffic.#server.listen(0, '127.0.0.1', resolve);
    });
    traffic.#loop = traffic.#run();
    return traffic;
  }

  /** `host:port`. */
  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#loop;
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const routed = await this.#route().catch((): Routed => []);
      if (routed.length === 0) this.outages += 1;
      for (const { name, version, share } of routed) {
        const failing = this.#failRatioOf(version);
        this.#count(this.#line(name, true), perLook * share * (1 - failing));
        this.#count(this.#line(name, false), perLook * share * failing);
      }
      await sleep(everyMs, undefined, { signal: this.#stop.signal }).catch(() => undefined);
    }
  }

  #count(line: string, by: number): void {
    this.#counts.set(line, (this.#counts.get(line) ?? 0) + by);
  }

  #page(): string {
    const names = new Set([...this.#counts.keys()].map((line) => line.slice(0, line.indexOf('{'))));
    const types = [...names].map((name) => `# TYPE ${name} counter`);
    return `${[...types, ...[...this.#counts].map(([line, count]) => `${line} ${count}`)].join('\n')}\n`;
  }
}
