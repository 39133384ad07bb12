import { type ChildProcess, spawn } from 'node:child_process';
import { statSync } from 'node:fs';
import type { Readable } from 'node:stream';
import type { SmokeRequest } from '../../domain/model.ts';
import type { Clock, SmokeContext } from '../../domain/ports.ts';
import type { Attempt, AttemptTools } from './attempt.ts';
import { redact, renderText, TemplateError } from './text.ts';

type CommandSmokeRequest = Extract<SmokeRequest, { kind: 'command' }>;
type Ending = { readonly code: number | null; readonly signal: string | null; readonly error: Error | null };

/** Output that is kept, from its end. */
const maxOutputBytes = 64 * 1024;
/** Of that, shown in the detail. */
const maxShown = 1_000;
const graceMs = 2_000;
/** After its end, for output that is still in the pipes. */
const leftoverMs = 500;

/** One try of a `command`: no shell, an environment of its own, exit code 0 passes. When time is up its whole process group gets SIGTERM, then SIGKILL. */
export async function runCommand(tools: AttemptTools, request: CommandSmokeRequest, context: SmokeContext, until: AbortSignal): Promise<Attempt> {
  const startedMs = tools.clock.nowMs();
  const { argv, env, fault } = render(request, context);
  if (fault !== undefined) return { passed: false, detail: fault, durationMs: 0, permanent: true };
  const output = new OutputTail(maxOutputBytes);
  const ending = await run(tools.clock, { argv, cwd: request.cwd, env: { ...tools.baseEnv, ...env } }, output, until);
  const durationMs = tools.clock.nowMs() - startedMs;
  if (ending.error !== null) return { passed: false, detail: describeStart(ending.error, argv[0], request.cwd), durationMs, permanent: true };
  const text = redact(output.text(), tools.secrets?.() ?? []);
  const passed = ending.code === 0 && !until.aborted;
  tools.log.debug({ component: 'smoke', test: request.name, exitCode: ending.code, signal: ending.signal, output: text }, 'smoke test command ended');
  const verdict = ending.code === null ? `ended by ${ending.signal ?? 'a signal'}` : `exit code ${ending.code}`;
  return { passed, detail: passed ? `${verdict} in ${durationMs} ms` : [verdict, shownPart(text)].filter((part) => part !== '').join(': '), durationMs };
}

function render(
  request: CommandSmokeRequest,
  context: SmokeContext,
): { argv: [string, ...string[]]; env: Record<string, string>; fault?: never } | { fault: string; argv?: never; env?: never } {
  try {
    const [program, ...rest] = request.argv;
    const argv: [string, ...string[]] = [renderText('argv', program, context), ...rest.map((part) => renderText('argv', part, context))];
    const env = Object.fromEntries(Object.entries(request.env).map(([name, value]) => [name, renderText(`env ${name}`, value, context)]));
    return [...argv, ...Object.values(env)].some((text) => text.includes('\0')) ? { fault: 'an argument holds a NUL byte' } : { argv, env };
  } catch (error) {
    if (error instanceof TemplateError) return { fault: error.message };
    throw error;
  }
}

async function run(
  clock: Clock,
  command: { argv: [string, ...string[]]; cwd: string; env: Record<string, string> },
  output: OutputTail,
  until: AbortSignal,
): Promise<Ending> {
  const [program, ...args] = command.argv;
  // A group of its own, so that what the command starts ends with it.
  const child = spawn(program, args, { cwd: command.cwd, env: command.env, detached: true, shell: false, stdio: ['ignore', 'pipe', 'pipe'] });
  const drained = Promise.all([child.stdout, child.stderr].map((stream) => drain(stream, output)));
  const hurry = new AbortController();
  const stop = (): void => void stopGroup(clock, child, hurry.signal);
  if (until.aborted) stop();
  until.addEventListener('abort', stop, { once: true });
  const ending = await new Promise<Ending>((resolve) => {
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

/** `spawn` says ENOENT for the program and for the folder alike. */
function describeStart(error: Error, program: string, cwd: string): string {
  const code = 'code' in error ? String(error.code) : error.message;
  if (statSync(cwd, { throwIfNoEntry: false })?.isDirectory() !== true) return `cwd ${cwd} is no folder`;
  if (code === 'ENOENT') return `program "${program}" not found; give its full path, or put its folder into PATH`;
  if (code === 'EACCES') return `program "${program}" may not be executed (EACCES)`;
  return `program "${program}" did not start: ${code}`;
}

/** What people need of a failed test stands at the end. */
function shownPart(text: string): string {
  const trimmed = text.trim();
  return trimmed.length > maxShown ? `…${trimmed.slice(-maxShown)}` : trimmed;
}

/** Keeps the end of what is written to it; a text that was cut starts at a whole line, so that no half secret is left at its start. */
class OutputTail {
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

  text(): string {
    const whole = Buffer.concat(this.#chunks);
    const tail = whole.subarray(Math.max(0, whole.length - this.#maxBytes)).toString('utf8');
    return this.#isCut || whole.length > this.#maxBytes ? tail.slice(tail.indexOf('\n') + 1) : tail;
  }
}
