import path from 'node:path';
import { z } from 'zod';
import type { Clock } from '../../domain/ports.ts';
import { describeStart, OutputTail, runProcess } from '../process/run-process.ts';
import { KubernetesError } from './errors.ts';

/** `users[].user.exec` of a kubeconfig. */
export const execConfig = z.object({
  apiVersion: z.string(),
  command: z.string().min(1),
  args: z.array(z.string()).nullish(),
  env: z.array(z.object({ name: z.string(), value: z.string() })).nullish(),
  installHint: z.string().nullish(),
  provideClusterInfo: z.boolean().nullish(),
  interactiveMode: z.string().nullish(),
});
export type ExecConfig = z.output<typeof execConfig>;

/** What a plugin gave. `expiresAtMs: null`: good until the server refuses it. */
export type ExecCredential = {
  readonly token: string | null;
  readonly cert: string | null;
  readonly key: string | null;
  readonly expiresAtMs: number | null;
};

const answer = z.object({
  apiVersion: z.string(),
  kind: z.literal('ExecCredential'),
  status: z.object({
    token: z.string().nullish(),
    clientCertificateData: z.string().nullish(),
    clientKeyData: z.string().nullish(),
    expirationTimestamp: z.string().nullish(),
  }),
});

const knownVersions: ReadonlySet<string> = new Set(['client.authentication.k8s.io/v1', 'client.authentication.k8s.io/v1beta1']);
const maxOutputBytes = 1_048_576;
const maxShown = 300;

export type ExecOptions = {
  /** Folder of the kubeconfig: a command with a slash in it is meant relative to it. */
  readonly folder: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly timeoutMs: number;
  readonly clock: Clock;
  /** `spec.cluster` of the question, for plugins that want it. */
  readonly cluster: Readonly<Record<string, unknown>>;
};

/**
 * Asks a credential plugin, without a terminal, within its time limit.
 * @throws {KubernetesError} auth; the message names the command, never what it printed to stdout
 * @see https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
 */
export async function askPlugin(config: ExecConfig, options: ExecOptions, signal: AbortSignal): Promise<ExecCredential> {
  const refuse = (words: string): KubernetesError => new KubernetesError('auth', `kubernetes: exec plugin "${config.command}": ${words}`);
  if (!knownVersions.has(config.apiVersion)) throw refuse(`found apiVersion ${config.apiVersion}, expected ${[...knownVersions].join(' or ')}`);
  if (config.interactiveMode === 'Always')
    throw refuse('wants a terminal (interactiveMode: Always), and a daemon has none; use a service account or a plugin that asks nobody');
  const ending = await run(config, options, signal);
  if (ending.fault !== null) throw refuse(ending.fault);
  const parsed = answer.safeParse(parseJson(ending.stdout));
  if (!parsed.success) throw refuse('did not print an ExecCredential with a status; run it by hand and look');
  const { token, clientCertificateData, clientKeyData, expirationTimestamp } = parsed.data.status;
  if (parsed.data.apiVersion !== config.apiVersion) throw refuse(`answered in ${parsed.data.apiVersion}, expected ${config.apiVersion}`);
  const hasCertificate = isText(clientCertificateData) && isText(clientKeyData);
  if (!isText(token) && !hasCertificate) throw refuse('gave neither a token nor a client certificate with its key');
  const expiresAtMs = isText(expirationTimestamp) ? Date.parse(expirationTimestamp) : null;
  if (expiresAtMs !== null && Number.isNaN(expiresAtMs)) throw refuse('gave an expirationTimestamp that is no RFC 3339 time');
  return {
    token: isText(token) ? token : null,
    cert: hasCertificate ? clientCertificateData : null,
    key: hasCertificate ? clientKeyData : null,
    expiresAtMs,
  };
}

type Ending = { readonly stdout: string; readonly fault: string | null };

async function run(config: ExecConfig, options: ExecOptions, signal: AbortSignal): Promise<Ending> {
  const { clock, folder, environment, timeoutMs, cluster } = options;
  const program = config.command.includes('/') ? path.resolve(folder, config.command) : config.command;
  const spec = { interactive: false, ...(config.provideClusterInfo === true ? { cluster } : {}) };
  const own = Object.fromEntries((config.env ?? []).map(({ name, value }) => [name, value]));
  const env = { ...onlyTexts(environment), ...own, KUBERNETES_EXEC_INFO: JSON.stringify({ apiVersion: config.apiVersion, kind: 'ExecCredential', spec }) };
  const output = { stdout: new OutputTail(maxOutputBytes), stderr: new OutputTail(maxOutputBytes) };
  const limit = new AbortController();
  const ended = new AbortController();
  clock.sleep(timeoutMs, ended.signal).then(
    () => limit.abort(),
    () => undefined,
  );
  const ending = await runProcess(clock, { argv: [program, ...(config.args ?? [])], cwd: folder, env }, output, AbortSignal.any([signal, limit.signal]));
  ended.abort();
  signal.throwIfAborted();
  if (ending.error !== null && 'code' in ending.error && ending.error.code === 'ENOENT')
    return { stdout: '', fault: `is not found; ${config.installHint?.trim() ?? 'install it, or put its folder into PATH'}` };
  if (ending.error !== null) return { stdout: '', fault: describeStart(ending.error, program, folder) };
  if (limit.signal.aborted) return { stdout: '', fault: `did not end within ${timeoutMs} ms (exec_timeout)` };
  const said = shown(output.stderr.text(), Object.values(own));
  if (ending.code !== 0)
    return { stdout: '', fault: `ended ${ending.code === null ? `by ${ending.signal ?? 'a signal'}` : `with exit code ${ending.code}`}${said}` };
  return { stdout: output.stdout.text(), fault: null };
}

function onlyTexts(environment: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(Object.entries(environment).filter((entry): entry is [string, string] => entry[1] !== undefined));
}

/** The end of what it said on stderr, without the values the kubeconfig gives it. */
function shown(stderr: string, secrets: readonly string[]): string {
  let text = stderr.replaceAll(/\s+/g, ' ').trim();
  for (const secret of secrets) if (secret.length >= 3) text = text.replaceAll(secret, '<secret>');
  if (text === '') return '';
  return `: ${text.length > maxShown ? `…${text.slice(-maxShown)}` : text}`;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function isText(value: string | null | undefined): value is string {
  return value !== null && value !== undefined && value !== '';
}
