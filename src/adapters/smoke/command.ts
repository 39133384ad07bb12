import type { SmokeRequest } from '../../domain/model.ts';
import type { SmokeContext } from '../../domain/ports.ts';
import { describeStart, OutputTail, runProcess } from '../process/run-process.ts';
import type { Attempt, AttemptTools } from './attempt.ts';
import { redact, renderText, TemplateError } from './text.ts';

type CommandSmokeRequest = Extract<SmokeRequest, { kind: 'command' }>;

/** Output that is kept, from its end. */
const maxOutputBytes = 64 * 1024;
/** Of that, shown in the detail. */
const maxShown = 1_000;

/** One try of a `command`: no shell, an environment of its own, exit code 0 passes. When time is up its whole process group gets SIGTERM, then SIGKILL. */
export async function runCommand(tools: AttemptTools, request: CommandSmokeRequest, context: SmokeContext, until: AbortSignal): Promise<Attempt> {
  const startedMs = tools.clock.nowMs();
  const { argv, env, fault } = render(request, context);
  if (fault !== undefined) return { passed: false, detail: fault, durationMs: 0, permanent: true };
  const output = new OutputTail(maxOutputBytes);
  const ending = await runProcess(tools.clock, { argv, cwd: request.cwd, env: { ...tools.baseEnv, ...env } }, { stdout: output, stderr: output }, until);
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

/** What people need of a failed test stands at the end. */
function shownPart(text: string): string {
  const trimmed = text.trim();
  return trimmed.length > maxShown ? `…${trimmed.slice(-maxShown)}` : trimmed;
}
