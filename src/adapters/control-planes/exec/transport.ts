import { basename } from 'node:path';
import { type PlaneDeps, PlaneError } from '../../../domain/ports.ts';
import type { ApplyOutcome, ErrorClass } from '../../../domain/step.ts';
import { readSecret } from '../../http/credentials.ts';
import { describeStart, OutputTail, type ProcessEnding, runProcess } from '../../process/run-process.ts';
import { type Action, type ObservationAnswer, parseObservation } from '../action-contract.ts';
import type { ActionSubject, ActionTransport } from '../action-plane.ts';
import { rejected } from '../answers.ts';
import { type ExecConfig, exitCodes } from './schema.ts';

/** An observation longer than this is refused; of other output the end is kept. */
const maxStdoutBytes = 1024 * 1024;
const maxStderrBytes = 64 * 1024;
const maxShown = 1_000;

type Run = {
  readonly ending: ProcessEnding;
  readonly stdout: string;
  readonly isCut: boolean;
  readonly shown: string;
  readonly timedOut: boolean;
  /** It was ended from here. */
  readonly stopped: boolean;
};

/** Actions by commands: README.md has the contract. */
export class ExecTransport implements ActionTransport {
  readonly endpoint: string;
  readonly takes: ReadonlySet<Action['action']>;
  readonly #config: ExecConfig;
  readonly #deps: PlaneDeps;
  /** Ends what runs when the plane is closed. */
  readonly #closing = new AbortController();

  constructor(config: ExecConfig, deps: PlaneDeps) {
    this.#config = config;
    this.#deps = deps;
    this.endpoint = basename(config.switch.argv[0]);
    this.takes = new Set((['stage', 'unstage', 'switch', 'persist'] as const).filter((name) => config[name] !== undefined));
  }

  async observe(subject: ActionSubject, signal: AbortSignal): Promise<ObservationAnswer> {
    const { argv } = this.#config.observe;
    const who = `${basename(argv[0])} (observe)`;
    const run = await this.#run('observe', argv, { action: 'observe', ...subject }, this.#config.observe_timeout, signal);
    signal.throwIfAborted();
    const { ending } = run;
    if (ending.error !== null) throw new PlaneError('permanent', `${who}: ${describeStart(ending.error, argv[0], this.#cwd())}`);
    if (ending.code !== exitCodes.done) throw new PlaneError(classOfReading(ending.code), `${who}: ${this.#wordsOf(run, this.#config.observe_timeout)}`);
    if (run.isCut) throw new PlaneError('permanent', `${who}: more than ${maxStdoutBytes} bytes of output`);
    return parseObservation(run.stdout, who);
  }

  async act(action: Action, signal: AbortSignal): Promise<ApplyOutcome> {
    const argv = this.#config[action.action]?.argv;
    if (argv === undefined) return rejected('permanent', `no ${action.action} is configured`);
    const who = `${basename(argv[0])} (${action.action})`;
    let run: Run;
    try {
      run = await this.#run(action.action, argv, action, this.#config.timeout, signal);
    } catch (cause) {
      // Only what comes before the start throws: a secret's file.
      return rejected('permanent', `${who}: ${cause instanceof Error ? cause.message : String(cause)}; it was not started`);
    }
    const { ending } = run;
    if (ending.error !== null) return rejected('permanent', `${who}: ${describeStart(ending.error, argv[0], this.#cwd())}`);
    const detail = `${who}: ${this.#wordsOf(run, this.#config.timeout)}`;
    // A program that is told to end may still leave with a code of its own.
    const isUnknown =
      ending.code === null ||
      this.#config.unknown_exit_codes.includes(ending.code) ||
      (run.stopped && ending.code !== exitCodes.done && ending.code !== exitCodes.already);
    if (isUnknown) return { kind: 'indeterminate', class: 'indeterminate', detail: `${detail}; whether it took is not known` };
    switch (ending.code) {
      case exitCodes.done:
        return { kind: 'applied', detail };
      case exitCodes.already:
        return { kind: 'already', detail };
      case exitCodes.conflict:
        return { kind: 'conflict', class: 'conflict', detail };
      case exitCodes.temporary:
        return rejected('transient', detail);
      case exitCodes.noPermission:
        return rejected('auth', detail);
      default:
        return rejected('permanent', detail);
    }
  }

  close(): void {
    this.#closing.abort();
  }

  #cwd(): string {
    return this.#config.cwd ?? '/';
  }

  /** @throws {SecretFileError} before anything was started */
  async #run(what: string, argv: readonly [string, ...string[]], input: object, timeoutMs: number, signal: AbortSignal): Promise<Run> {
    const secretEntries = await Promise.all(
      Object.entries(this.#config.env_files).map(async ([name, file]) => [name, await readSecret(`env_files ${name}`, file)] as const),
    );
    const secrets = secretEntries.map(([, value]) => value);
    const { clock } = this.#deps;
    const limit = new AbortController();
    const timer = new AbortController();
    clock.sleep(timeoutMs, timer.signal).then(
      () => limit.abort(),
      () => undefined,
    );
    const stdout = new OutputTail(maxStdoutBytes);
    const stderr = new OutputTail(maxStderrBytes);
    const startedMs = clock.nowMs();
    const env = { ...this.#deps.commandEnv, ...this.#config.env, ...Object.fromEntries(secretEntries) };
    const command = { argv, cwd: this.#cwd(), env, input: `${JSON.stringify(input)}\n` };
    const until = AbortSignal.any([signal, limit.signal, this.#closing.signal]);
    const ending = await runProcess(clock, command, { stdout, stderr }, until);
    timer.abort();
    this.#deps.onRequest(what, String(ending.code ?? ending.signal ?? 'ERROR'), clock.nowMs() - startedMs);
    const clean = (text: string): string => redact(text, secrets);
    // What people need stands at the end; a command that says nothing on stderr may have said it on stdout.
    const words = stderr.text().trim() === '' && what !== 'observe' ? stdout.text() : stderr.text();
    const shown = shownPart(clean(words));
    this.#deps.log.debug({ command: what, exitCode: ending.code, signal: ending.signal, output: shown }, 'command of a control plane ended');
    return { ending, stdout: clean(stdout.text()), isCut: stdout.isCut(), shown, timedOut: limit.signal.aborted, stopped: until.aborted };
  }

  #wordsOf({ ending, shown, timedOut }: Run, timeoutMs: number): string {
    const verdict = `${ending.code === null ? `ended by ${ending.signal ?? 'a signal'}` : `exit code ${ending.code}`}${timedOut ? ` after its time limit of ${timeoutMs} ms` : ''}`;
    return shown === '' ? verdict : `${verdict}: ${shown}`;
  }
}

/** Reading can be repeated without harm: only what another try cannot change is final. */
function classOfReading(code: number | null): ErrorClass {
  if (code === exitCodes.noPermission) return 'auth';
  // EX_USAGE, EX_CONFIG; 126 and 127: what the program itself wanted to start is not there.
  return code === 64 || code === 78 || code === 126 || code === 127 ? 'permanent' : 'transient';
}

function shownPart(text: string): string {
  const trimmed = text.trim();
  return trimmed.length > maxShown ? `…${trimmed.slice(-maxShown)}` : trimmed;
}

/** Very short ones would blank half the text and are no secrets. */
function redact(text: string, secrets: readonly string[]): string {
  let clean = text;
  for (const secret of secrets.filter((each) => each.length >= 4).toSorted((a, b) => b.length - a.length)) clean = clean.replaceAll(secret, '<secret>');
  return clean;
}
