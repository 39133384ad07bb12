import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Flags } from './flags.ts';

export { type ModelRepository, type ModelVersions, makeModelRepository } from './model-repository.ts';

/** How to start one. */
export interface StartOptions {
  /** Flags in the server's own words (README.md); the ports are free ones unless given. */
  flags?: Partial<Flags>;
  /** How long to wait until it is ready; default 20 s. The models have to load first, as in the original. */
  readyTimeoutMs?: number;
  /** What it logs, line by line; kept for {@link TensorFlowServing.log} anyway. */
  onLog?: (line: string) => void;
}

/** A running server. */
export interface TensorFlowServing extends AsyncDisposable {
  /** `host:port` of gRPC. */
  grpc: string;
  /** URL of REST, without a slash at the end. */
  rest: string;
  pid: number;
  /** What it has logged so far. */
  log: () => string;
  /** Ends it in an orderly way and waits for that. */
  stop: () => Promise<void>;
  /** Sends a signal; waits for the end when it is one that ends a process (not SIGSTOP or SIGCONT). */
  kill: (signal: NodeJS.Signals) => Promise<void>;
}

/** Thrown when the server ended, or was not ready in time; the message holds what it logged. */
export class TensorFlowServingStartError extends Error {
  override readonly name = 'TensorFlowServingStartError';
  /** Exit code of the process; `null` when it was ready too late. */
  readonly exitCode: number | null;

  constructor(message: string, exitCode: number | null) {
    super(message);
    this.exitCode = exitCode;
  }
}

/**
 * Starts the double as a process of its own and waits until it serves.
 * @throws {TensorFlowServingStartError}
 */
export async function startTensorFlowServing({ flags = {}, readyTimeoutMs = 20_000, onLog }: StartOptions = {}): Promise<TensorFlowServing> {
  const withPorts = { port: 0, rest_api_port: 0, ...flags };
  // Tests start it hundreds of times: compiled once, it is up in half the time.
  const env = { NODE_COMPILE_CACHE: join(tmpdir(), 'node-compile-cache'), ...process.env };
  const child = spawn(process.execPath, [mainPath(), ...toArguments(withPorts)], { stdio: ['ignore', 'pipe', 'pipe'], env });
  const closed = once(child, 'close');
  const logged: string[] = [];
  createInterface(child.stderr).on('line', (line) => {
    logged.push(line);
    onLog?.(line);
  });
  const log = (): string => logged.join('\n');
  const kill = async (signal: NodeJS.Signals): Promise<void> => {
    child.kill(signal);
    if (signal !== 'SIGSTOP' && signal !== 'SIGCONT') await closed;
  };
  const stop = (): Promise<void> => kill('SIGTERM');

  const ports = await readyPorts(child, closed, readyTimeoutMs);
  if (ports === undefined) {
    const { exitCode } = child;
    await kill('SIGKILL');
    const what = exitCode === null ? `was not ready after ${readyTimeoutMs} ms` : `ended with ${exitCode} instead of serving`;
    throw new TensorFlowServingStartError(`the double of TensorFlow Serving ${what}; it logged:\n${log()}`, exitCode);
  }
  const host = flags.bind ?? '127.0.0.1';
  return {
    grpc: `${host}:${ports.grpc}`,
    rest: `http://${host}:${ports.rest}`,
    pid: child.pid ?? 0,
    log,
    stop,
    kill,
    [Symbol.asyncDispose]: stop,
  };
}

/** The ports from the line of readiness; `undefined` when the process ended or the time was over first. */
async function readyPorts(
  child: ChildProcessByStdio<null, Readable, Readable>,
  closed: Promise<unknown>,
  timeoutMs: number,
): Promise<{ grpc: number; rest: number | null } | undefined> {
  const line = once(createInterface(child.stdout), 'line').then(([text]) => text as string);
  const late = new AbortController();
  const first = await Promise.race([line, closed.then(() => undefined), sleep(timeoutMs, undefined, { signal: late.signal }).catch(() => undefined)]);
  late.abort();
  return first === undefined ? undefined : JSON.parse(first);
}

function toArguments(flags: Partial<Flags>): string[] {
  return Object.entries(flags).flatMap(([name, value]) => (value === undefined ? [] : [`--${name}=${value}`]));
}

/** The main module beside this one: TypeScript in the sources, JavaScript once compiled. */
function mainPath(): string {
  return fileURLToPath(new URL(`./main${extname(new URL(import.meta.url).pathname)}`, import.meta.url));
}
