/**
 * A small load generator: predictions over REST, without a version, at an even rate. In process by {@link generateLoad}, or as a process:
 * `node load.ts --endpoint=http://127.0.0.1:8501 [--endpoint=…] --model=fraud --rate=50 [--concurrency=32] [--seconds=10]`, which prints a
 * line of JSON each second and the total at its end (SIGTERM, SIGINT or the given time).
 */
import { Agent, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

/** What to send, where to and how often. */
export interface LoadOptions {
  /** URLs of REST ports, taken in turn. */
  endpoints: string[];
  model: string;
  /** Requests per second over all endpoints. */
  ratePerSecond: number;
  /** Requests under way at most; what would be more is left out and counted; default 32. */
  concurrency?: number;
  /** When a request is given up; default 5000 ms. */
  timeoutMs?: number;
  /** Body of every request; default one instance. */
  body?: string;
  /** Ends the load. */
  signal: AbortSignal;
}

/** What came of it. */
export interface LoadReport {
  sent: number;
  /** Left out because too many were under way. */
  leftOut: number;
  /** Answers by the version that gave them (`none` when the answer names none) and HTTP status. */
  byVersion: Record<string, Record<string, number>>;
  /** Requests without an answer, by error code, e.g. ECONNREFUSED. */
  failures: Record<string, number>;
}

/** A load under way. */
export interface Load {
  /** Counts so far; changes while it runs. */
  report: LoadReport;
  /** Settles when the signal has ended it and the last answer is in. Never rejects. */
  done: Promise<LoadReport>;
}

/** Begins to send at once. */
export function generateLoad(options: LoadOptions): Load {
  const report: LoadReport = { sent: 0, leftOut: 0, byVersion: {}, failures: {} };
  return { report, done: run(options, report) };
}

async function run(options: LoadOptions, report: LoadReport): Promise<LoadReport> {
  const { endpoints, ratePerSecond, concurrency = 32, signal } = options;
  using agent = disposableAgent(concurrency);
  const underWay = new Set<Promise<void>>();
  const began = performance.now();
  for (let due = 0; !signal.aborted; ) {
    const target = Math.floor(((performance.now() - began) / 1000) * ratePerSecond);
    for (; due < target; due += 1) {
      if (underWay.size >= concurrency) {
        report.leftOut += 1;
        continue;
      }
      report.sent += 1;
      const one = sendOne(options, endpoints[due % endpoints.length] ?? '', agent.agent, report).finally(() => underWay.delete(one));
      underWay.add(one);
    }
    await sleep(Math.min(10, 1000 / ratePerSecond), undefined, { signal }).catch(() => undefined);
  }
  await Promise.all(underWay);
  return report;
}

/** Counts what came of one request; never rejects. */
async function sendOne({ model, body, timeoutMs = 5000 }: LoadOptions, endpoint: string, agent: Agent, report: LoadReport): Promise<void> {
  try {
    const { status, version } = await post(`${endpoint}/v1/models/${encodeURIComponent(model)}:predict`, body ?? '{"instances":[[1]]}', agent, timeoutMs);
    const statuses = (report.byVersion[version] ??= {});
    statuses[status] = (statuses[status] ?? 0) + 1;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? (error as Error).name;
    report.failures[code] = (report.failures[code] ?? 0) + 1;
  }
}

function post(url: string, body: string, agent: Agent, timeoutMs: number): Promise<{ status: number; version: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; version: string }>();
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
  const sent = request(url, { method: 'POST', agent, headers, signal: AbortSignal.timeout(timeoutMs) }, (response) => {
    const version = response.headers['x-model-version'];
    response.on('end', () => resolve({ status: response.statusCode ?? 0, version: typeof version === 'string' ? version : 'none' }));
    response.on('error', reject);
    response.resume();
  });
  sent.on('error', reject);
  sent.end(body);
  return promise;
}

function disposableAgent(maxSockets: number): Disposable & { agent: Agent } {
  const agent = new Agent({ keepAlive: true, maxSockets });
  return { agent, [Symbol.dispose]: () => agent.destroy() };
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      endpoint: { type: 'string', multiple: true },
      model: { type: 'string' },
      rate: { type: 'string', default: '10' },
      concurrency: { type: 'string', default: '32' },
      seconds: { type: 'string' },
    },
  });
  const { endpoint: endpoints, model } = values;
  if (endpoints === undefined || model === undefined) throw new Error('give --endpoint=http://host:port (as often as needed) and --model=name');
  const stop = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => stop.abort());
  const signal = values.seconds === undefined ? stop.signal : AbortSignal.any([stop.signal, AbortSignal.timeout(Number(values.seconds) * 1000)]);
  const load = generateLoad({ endpoints, model, ratePerSecond: Number(values.rate), concurrency: Number(values.concurrency), signal });
  const print = (): unknown => process.stdout.write(`${JSON.stringify(load.report)}\n`);
  const timer = setInterval(print, 1000);
  await load.done;
  clearInterval(timer);
  print();
}

if (import.meta.main) {
  await main().catch((error: Error) => {
    process.stderr.write(`load: ${error.message}\n`);
    process.exitCode = 2;
  });
}
