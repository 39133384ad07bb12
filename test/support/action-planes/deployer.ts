import { createHmac, timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What the deployer was told to do, in its order. */
export type DeployerCall = { readonly action: string; readonly to: string; readonly key: string };

/** A team's own service that moves the traffic of one model, and the model servers behind it. */
export type Deployer = {
  /** Of the service; the models' own requests go to the same place. */
  readonly url: string;
  readonly serving: () => string;
  /** What a restart would bring. */
  readonly durable: () => string;
  readonly stateOf: (version: string) => string;
  /** Mutations, repeats of one key counted once. */
  readonly calls: readonly DeployerCall[];
} & AsyncDisposable;

type Answer = { readonly status: number; readonly body?: object; readonly headers?: Record<string, string> };
type Body = { readonly action: string; readonly to: string; readonly expect: string | null };

/** A version that is told to load has it after that many looks. */
const looksToLoad = 2;

/**
 * Starts one that serves 7 and has 6 in its store, not loaded. It loads in the background, and a switch is a job of its own (202).
 * @param options.broken version → why it does not load
 */
export async function startDeployer(options: { readonly secret: string; readonly broken?: Readonly<Record<string, string>> }): Promise<Deployer> {
  const states = new Map([
    ['6', 'unloaded'],
    ['7', 'available'],
  ]);
  let serving = '7';
  let durable = '7';
  let revision = 1;
  let looks = 0;
  const calls: DeployerCall[] = [];
  const answered = new Map<string, Answer>();
  const jobs = new Map<string, { looks: number; readonly finish: () => void }>();

  const moveOn = (): void => {
    looks += 1;
    for (const [version, state] of states) {
      if (state !== 'loading' || looks < looksToLoad) continue;
      states.set(version, options.broken?.[version] === undefined ? 'available' : 'failed');
    }
  };
  const observe = (): object => {
    moveOn();
    const detail = (version: string): object => (states.get(version) === 'failed' ? { detail: options.broken?.[version] } : {});
    return {
      serving: [{ version: serving, share: 1 }],
      versions: [...states].map(([version, state]) => ({ version, state, ...detail(version) })),
      generation: `r${revision}`,
      durable,
    };
  };
  const act = (key: string, { action, to, expect }: Body): Answer => {
    if (expect !== `r${revision}`) return { status: 409, body: { error: `this is r${revision}` } };
    if (!states.has(to)) return { status: 422, body: { error: `there is no version ${to}` } };
    calls.push({ action, to, key });
    revision += 1;
    if (action === 'switch') {
      const job = `/jobs/${jobs.size + 1}`;
      jobs.set(job, { looks: 0, finish: () => void (serving = to) });
      return { status: 202, headers: { Location: job } };
    }
    if (action === 'persist') durable = to;
    else states.set(to, action === 'stage' ? 'loading' : 'unloaded');
    looks = 0;
    return { status: 200 };
  };
  const follow = (path: string): Answer => {
    const job = jobs.get(path);
    if (job === undefined) return { status: 404 };
    job.looks += 1;
    if (job.looks < 2) return { status: 202, headers: { Location: path } };
    job.finish();
    return { status: 200, body: { done: true } };
  };
  const predict = (path: string): Answer => {
    const version = /\/versions\/(\d+):predict$/.exec(path)?.[1] ?? serving;
    if (states.get(version) !== 'available') return { status: 404, body: { error: `version ${version} is not loaded` } };
    return { status: 200, body: { version, predictions: [[0.25, 0.75]] } };
  };
  const answer = (request: IncomingMessage, body: string): Answer => {
    const path = request.url ?? '';
    if (path.endsWith(':predict')) return predict(path);
    if (!isSigned(options.secret, request, body)) return { status: 401, body: { error: 'the signature does not fit' } };
    if (path.startsWith('/jobs/')) return follow(path);
    if (request.method === 'GET') return { status: 200, body: observe() };
    const key = String(request.headers['idempotency-key']);
    const result = answered.get(key) ?? act(key, JSON.parse(body) as Body);
    if (result.status < 300) answered.set(key, result);
    return result;
  };

  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { status, headers, body } = answer(request, Buffer.concat(chunks).toString('utf8'));
      response.writeHead(status, { 'Content-Type': 'application/json', ...headers }).end(JSON.stringify(body ?? {}));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    serving: () => serving,
    durable: () => durable,
    stateOf: (version) => states.get(version) ?? 'absent',
    calls,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

/** The age of the timestamp is not looked at: tests run in a time of their own. */
function isSigned(secret: string, { headers }: IncomingMessage, body: string): boolean {
  const wanted = Buffer.from(
    `sha256=${createHmac('sha256', secret)
      .update(`${String(headers['x-rollbackd-timestamp'])}.${body}`)
      .digest('hex')}`,
  );
  const given = Buffer.from(String(headers['x-rollbackd-signature']));
  return given.length === wanted.length && timingSafeEqual(given, wanted);
}
