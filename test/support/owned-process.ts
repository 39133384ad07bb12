import { type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';

/** How a process ended. */
export type Ending = { readonly code: number | null; readonly signal: NodeJS.Signals | null };

/** A process of a test, with all it wrote. It does not outlive the process that runs the test. */
export type OwnedProcess = {
  readonly pid: number;
  readonly stdout: () => string;
  readonly stderr: () => string;
  /** Settles when it has ended and its output is whole; never rejects. */
  readonly ended: Promise<Ending>;
  readonly hasEnded: () => boolean;
  /** Sends a signal; nothing when it has ended. */
  readonly kill: (signal: NodeJS.Signals) => void;
};

const running = new Set<number>();
// A worker that is ended in the middle of a test leaves nobody behind.
process.once('exit', () => {
  for (const pid of running) killQuietly(pid);
});

/** Sees to it that a process does not outlive this one. @returns to be called when it has ended */
export function ownProcess(pid: number): () => void {
  running.add(pid);
  return () => void running.delete(pid);
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It is gone.
  }
}

/** Starts one; `program` is not looked up by a shell. */
export function startOwnedProcess(program: string, args: readonly string[], options: Pick<SpawnOptions, 'cwd' | 'env'> = {}): OwnedProcess {
  const child = spawn(program, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
  const disown = ownProcess(child.pid ?? 0);
  const out = collect(child.stdout);
  const err = collect(child.stderr);
  let ending: Ending | null = null;
  const ended = once(child, 'close')
    .then(([code, signal]): Ending => ({ code: code as number | null, signal: signal as NodeJS.Signals | null }))
    .catch((error: unknown): Ending => {
      err.note(`${program}: ${String(error)}`);
      return { code: null, signal: null };
    })
    .then((found) => {
      disown();
      ending = found;
      return found;
    });
  return {
    pid: child.pid ?? 0,
    stdout: out.text,
    stderr: err.text,
    ended,
    hasEnded: () => ending !== null,
    kill: (signal) => void child.kill(signal),
  };
}

function collect(stream: Readable): { text: () => string; note: (line: string) => void } {
  const chunks: Buffer[] = [];
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  return { text: () => Buffer.concat(chunks).toString('utf8'), note: (line) => chunks.push(Buffer.from(line)) };
}
