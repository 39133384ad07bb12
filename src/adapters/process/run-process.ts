import { type ChildProcess, spawn } from 'node:child_process';
import { statSync } from 'node:fs';
import type { Readable } from 'node:stream';
import type { Clock } from '../../domain/ports.ts';

/** A program with its arguments: no shell, and this environment only. `input` is written to its standard input. */
export type ProcessCommand = {
  readonly argv: readonly [string, ...string[]];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly input?: string;
};
/** How it ended. `error`: it did not start. */
export type ProcessEnding = { readonly code: number | null; readonly signal: string | null; readonly error: Error | null };

const graceMs = 2_000;
/** After its end, for output that is still in the pipes. */
const leftoverMs = 500;

/**
 * Runs a program to its end, or until `until` is aborted: then its whole process group gets SIGTERM, and SIGKILL after two seconds.
 * Its output goes to the tails given (one and the same for both, when they should stay mixed). Never rejects.
 */
export async function runProcess(
  clock: Clock,
  command: ProcessCommand,
  output: { readonly stdout: OutputTail; readonly stderr: OutputTail },
  until: AbortSignal,
): Promise<ProcessEnding> {
  const [program, ...args] = command.argv;
  // A group of its own, so that what the command starts ends with it.
  const child = spawn(program, args, { cwd: command.cwd, env: command.env, detached: true, shell: false, stdio: ['pipe', 'pipe', 'pipe'] });
  // A program that does not read its input ends the pipe: that is its right.
  child.stdin.on('error', () => undefined);
  child.stdin.end(command.input ?? '');
  const drained = Promise.all([drain(child.stdout, output.stdout), drain(child.stderr, output.stderr)]);
  const hurry = new AbortController();
  const stop = (): void => void stopGroup(clock, child, hurry.signal);
  if (until.aborted) stop();
  until.addEventListener('abort', stop, { once: true });
  const ending = await new Promise<ProcessEnding>((resolve) => {
    child.once('error', (error) => resolve({ code: null, signal: null, error }));
    child.once('exit', (code, signal) => resolve({ code, signal, error: null }));
  });
  until.removeEventListener('abort', stop);
  hurry.abort();
  // Children it left behind would keep the pipes open for ever.
  signalGroup(child, 'SIGKILL');
  if (ending.error === null) await drainedSoon(clock, child, drained);
  return ending;
}

/** What left the group (a daemon) may hold the pipes still; its words are not waited for. */
async function drainedSoon(clock: Clock, child: ChildProcess, drained: Promise<unknown>): Promise<void> {
  const done = new AbortController();
  const limit = clock.sleep(leftoverMs, done.signal).catch(() => undefined);
  await Promise.race([drained, limit]);
  done.abort();
  child.stdout?.destroy();
  child.stderr?.destroy();
}

async function stopGroup(clock: Clock, child: ChildProcess, ended: AbortSignal): Promise<void> {
  signalGroup(child, 'SIGTERM');
  const over = await clock.sleep(graceMs, ended).then(
    () => true,
    () => false,
  );
  if (over) signalGroup(child, 'SIGKILL');
}

function signalGroup(child: ChildProcess, signal: 'SIGTERM' | 'SIGKILL'): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch {
    // Nobody is left in the group.
  }
}

async function drain(stream: Readable, output: OutputTail): Promise<void> {
  await new Promise<void>((resolve) => {
    stream.on('data', (chunk: Buffer) => output.add(chunk));
    stream.once('close', () => resolve());
    stream.once('error', () => resolve());
  });
}

/** Why a program did not start. `spawn` says ENOENT for the program and for the folder alike. */
export function describeStart(error: Error, program: string, cwd: string): string {
  const code = 'code' in error ? String(error.code) : error.message;
  if (statSync(cwd, { throwIfNoEntry: false })?.isDirectory() !== true) return `cwd ${cwd} is no folder`;
  if (code === 'ENOENT') return `program "${program}" not found; give its full path, or put its folder into PATH`;
  if (code === 'EACCES') return `program "${program}" may not be executed (EACCES)`;
  return `program "${program}" did not start: ${code}`;
}

/** Keeps the end of what is written to it; a text that was cut starts at a whole line, so that no half secret is left at its start. */
export class OutputTail {
  readonly #maxBytes: number;
  #chunks: Buffer[] = [];
  #bytes = 0;
  #isCut = false;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  add(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    while (this.#chunks[0] !== undefined && this.#bytes - this.#chunks[0].length >= this.#maxBytes) {
      this.#bytes -= this.#chunks[0].length;
      this.#chunks.shift();
      this.#isCut = true;
    }
  }

  /** Whether something is missing at its start. */
  isCut(): boolean {
    return this.#isCut || this.#bytes > this.#maxBytes;
  }

  text(): string {
    const whole = Buffer.concat(this.#chunks);
    const tail = whole.subarray(Math.max(0, whole.length - this.#maxBytes)).toString('utf8');
    return this.isCut() ? tail.slice(tail.indexOf('\n') + 1) : tail;
  }
}
