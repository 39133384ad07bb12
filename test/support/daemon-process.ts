import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { DecisionView, EpisodeView } from '../../src/domain/episode-view.ts';
import type { ModelDetailView } from '../../src/web/api.ts';
import type { KillAt } from './chaos/kill-point.ts';
import { keepOutput } from './kept-output.ts';
import { type MetricsPage, readMetricsPage } from './metrics-page.ts';
import { type Ending, type OwnedProcess, startOwnedProcess } from './owned-process.ts';
import { until } from './until.ts';

const mainPath = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const killAtUrl = new URL('./chaos/kill-at.ts', import.meta.url).href;
/** What a program needs and nothing that could change what it does. */
const environment = {
  // Tests start it hundreds of times: compiled once, it is up in half the time.
  NODE_COMPILE_CACHE: join(tmpdir(), 'node-compile-cache'),
  PATH: process.env['PATH'] ?? '',
  HOME: process.env['HOME'] ?? '',
  LANG: 'C.UTF-8',
  NO_COLOR: '1',
};

/** A line of the log, as JSON. */
export type LogRecord = Readonly<Record<string, unknown>>;

/** `rollbackd run` as a process of its own. */
export type DaemonProcess = {
  /** Where it listens. */
  readonly url: string;
  readonly process: OwnedProcess;
  /** Whole lines of its log. */
  readonly logLines: () => readonly string[];
  /** The same parsed. @throws when a line is no JSON */
  readonly logRecords: () => readonly LogRecord[];
  /** `data` of an answer under `/api/v1/`. @throws on an error answer */
  readonly api: <Data>(path: string, init?: RequestInit) => Promise<Data>;
  readonly model: () => Promise<ModelDetailView>;
  /** Newest first. */
  readonly rollbacks: () => Promise<readonly EpisodeView[]>;
  readonly decisions: () => Promise<readonly DecisionView[]>;
  readonly metrics: () => Promise<MetricsPage>;
  /** SIGTERM, and how it ended; killed when it takes longer than 40 s. */
  readonly stop: () => Promise<Ending>;
  /** SIGKILL, and waits until it is gone. */
  readonly kill: () => Promise<void>;
};

/**
 * Starts the daemon and waits until it listens.
 * @throws when it ends instead; the message holds what it wrote
 */
export async function startDaemonProcess(options: {
  configFile: string;
  model: string;
  cwd: string;
  args?: readonly string[];
  /** Where it kills itself. */
  killAt?: KillAt | undefined;
}): Promise<DaemonProcess> {
  const args = ['run', '--config.file', options.configFile, '--web.listen-address', '127.0.0.1:0', '--web.enable-admin-api', ...(options.args ?? [])];
  const child = startCli(args, options.cwd, options.killAt);
  const logLines = (): readonly string[] => child.stderr().split('\n').slice(0, -1);
  const logRecords = (): readonly LogRecord[] => logLines().map((line) => JSON.parse(line) as LogRecord);
  const url = await until(
    'rollbackd to listen',
    () => {
      if (child.hasEnded()) return 'ended';
      const line = logLines().find((text) => text.includes('rollbackd is up'));
      return line === undefined ? null : String((JSON.parse(line) as LogRecord)['rollbackd.url']);
    },
    // Ten at once on a machine with other work have taken over 30 s.
    { withinMs: 60_000, seen: () => child.stderr() },
  ).catch(async (error: unknown) => {
    child.kill('SIGKILL');
    await child.ended;
    throw error;
  });
  if (url === 'ended') {
    const { code, signal } = await child.ended;
    throw new Error(`rollbackd ended instead of listening (${signal ?? code}):\n${child.stderr()}${child.stdout()}`);
  }

  const api = async <Data>(path: string, init: RequestInit = {}): Promise<Data> => {
    const answer = await fetch(`${url}/api/v1/${path}`, { signal: AbortSignal.timeout(10_000), ...init });
    const envelope = (await answer.json()) as { status: string; data?: unknown; error?: string };
    if (envelope.status !== 'success') throw new Error(`${path} answered ${answer.status}: ${envelope.error}`);
    return envelope.data as Data;
  };
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL');
    await child.ended;
  };
  return {
    url,
    process: child,
    logLines,
    logRecords,
    api,
    model: async () => await api(`models/${options.model}`),
    rollbacks: async () => await api('rollbacks'),
    decisions: async () => await api('decisions'),
    metrics: async () => readMetricsPage(await (await fetch(`${url}/metrics`, { signal: AbortSignal.timeout(10_000) })).text()),
    stop: async () => {
      child.kill('SIGTERM');
      const late = setTimeout(() => child.kill('SIGKILL'), 40_000);
      const ending = await child.ended;
      clearTimeout(late);
      return ending;
    },
    kill,
  };
}

/** What a command of the CLI came to. */
export type CliResult = { readonly code: number | null; readonly stdout: string; readonly stderr: string };

/** Runs `rollbackd ARGS…` to its end. */
export async function runCli(args: readonly string[], cwd: string): Promise<CliResult> {
  const child = startCli(args, cwd);
  const late = setTimeout(() => child.kill('SIGKILL'), 60_000);
  const { code } = await child.ended;
  clearTimeout(late);
  return { code, stdout: child.stdout(), stderr: child.stderr() };
}

/** Starts `rollbackd ARGS…` without waiting for anything. */
export function startCli(args: readonly string[], cwd: string, killAt?: KillAt): OwnedProcess {
  const preload = killAt === undefined ? [] : ['--import', killAtUrl];
  const env = killAt === undefined ? environment : { ...environment, KILL_AT: JSON.stringify(killAt) };
  const child = startOwnedProcess(process.execPath, [...preload, mainPath, ...args], { cwd, env });
  void child.ended.then(() => {
    const command = `rollbackd ${args[0] ?? ''}`;
    keepOutput(`${command}, standard output`, child.stdout());
    keepOutput(`${command}, standard error`, child.stderr());
  });
  return child;
}
