import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import type { Clock, Log } from '../../domain/ports.ts';
import type { HttpSettings, TlsSettings } from '../http/http-settings.ts';
import type { KubernetesAccess } from './access.ts';
import type { Connection, ConnectionSource } from './connection.ts';
import { KubernetesError } from './errors.ts';
import { askPlugin, type ExecConfig, type ExecCredential, execConfig } from './exec-credential.ts';

const given = z.union([z.string(), z.number(), z.boolean()]).transform(String);
const text = given.nullish().transform((value) => (value === null || value === '' ? undefined : value));

const cluster = z.object({
  server: z.string(),
  'certificate-authority': text,
  'certificate-authority-data': text,
  'insecure-skip-tls-verify': z.boolean().nullish(),
  'tls-server-name': text,
  'proxy-url': text,
});
const user = z.object({
  token: text,
  tokenFile: text,
  'client-certificate': text,
  'client-certificate-data': text,
  'client-key': text,
  'client-key-data': text,
  username: text,
  password: text,
  as: text,
  exec: execConfig.nullish(),
  'auth-provider': z.unknown().optional(),
});
const context = z.object({ cluster: given, user: text, namespace: text });

/** Part of a kubeconfig that is used; a file of others, so unknown keys pass. */
const kubeconfigSchema = z.object({
  'current-context': text,
  clusters: z.array(z.object({ name: given, cluster })).nullish(),
  contexts: z.array(z.object({ name: given, context })).nullish(),
  users: z.array(z.object({ name: given, user: user.nullish() })).nullish(),
});

type Chosen = { readonly cluster: z.output<typeof cluster>; readonly user: z.output<typeof user>; readonly namespace: string };

/** A plugin's credential is asked for anew this long before it expires. */
const earlyMs = 10_000;

export type KubeconfigDeps = { readonly clock: Clock; readonly log: Log; readonly environment: Readonly<Record<string, string | undefined>> };

/**
 * One context of a kubeconfig. Files it names are read by the HTTP client at each request; the kubeconfig itself is read again when it changes, a
 * plugin asked again when its credential expires or was refused.
 */
export class Kubeconfig implements ConnectionSource {
  readonly #file: string;
  readonly #access: KubernetesAccess;
  readonly #deps: KubeconfigDeps;
  #read: { readonly state: string; readonly chosen: Chosen } | null = null;
  #credential: { readonly config: ExecConfig; readonly got: ExecCredential } | null = null;
  #asking: Promise<ExecCredential> | null = null;
  #connection: { readonly of: Chosen; readonly credential: ExecCredential | null; readonly connection: Connection } | null = null;
  #hasWarned = false;

  constructor(file: string, access: KubernetesAccess, deps: KubeconfigDeps) {
    this.#file = file;
    this.#access = access;
    this.#deps = deps;
  }

  async connect(refused: Connection | null, signal: AbortSignal): Promise<Connection> {
    const chosen = await this.#choose();
    const credential = await this.#credentialFor(chosen, refused !== null && refused === this.#connection?.connection, signal);
    if (this.#connection?.of !== chosen || this.#connection.credential !== credential)
      this.#connection = { of: chosen, credential, connection: this.#build(chosen, credential) };
    return this.#connection.connection;
  }

  async #choose(): Promise<Chosen> {
    const state = await stat(this.#file).then(
      ({ mtimeMs, size, ino }) => `${mtimeMs}/${size}/${ino}`,
      (cause: NodeJS.ErrnoException) => {
        throw this.#fault('auth', `cannot be read (${cause.code ?? 'unknown'})`);
      },
    );
    if (this.#read?.state !== state) {
      const chosen = await this.#parse();
      // Another call may have read the same: what was chosen first stays, so that its credential does.
      if (this.#read?.state !== state) this.#read = { state, chosen };
    }
    return this.#read.chosen;
  }

  async #parse(): Promise<Chosen> {
    const content = await readFile(this.#file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
      throw this.#fault('auth', `cannot be read (${cause.code ?? 'unknown'})`);
    });
    const parsed = kubeconfigSchema.safeParse(parseYaml(content));
    // Neither the parser's words nor zod's values: both may quote the file.
    if (!parsed.success)
      throw this.#fault('permanent', `is no kubeconfig: ${parsed.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.code}`).join('; ')}`);
    const { contexts, clusters, users } = parsed.data;
    const wanted = this.#access.context ?? parsed.data['current-context'];
    if (wanted === undefined) throw this.#fault('permanent', `has no current-context; give context: one of ${names(contexts)}`);
    const found = this.#named('context', contexts, wanted).context;
    const foundUser = found.user === undefined ? undefined : this.#named('user', users, found.user).user;
    return {
      cluster: this.#named('cluster', clusters, found.cluster).cluster,
      user: foundUser ?? user.parse({}),
      namespace: found.namespace ?? 'default',
    };
  }

  #named<Entry extends { readonly name: string }>(what: string, entries: readonly Entry[] | null | undefined, name: string): Entry {
    const entry = entries?.find((candidate) => candidate.name === name);
    if (entry === undefined) throw this.#fault('permanent', `has no ${what} "${name}"; it has: ${names(entries)}`);
    return entry;
  }

  async #credentialFor(chosen: Chosen, isRefused: boolean, signal: AbortSignal): Promise<ExecCredential | null> {
    const { exec } = chosen.user;
    if (exec === null || exec === undefined) return null;
    const held = this.#credential?.config === exec ? this.#credential.got : null;
    const isExpired = held !== null && held.expiresAtMs !== null && this.#deps.clock.nowMs() >= held.expiresAtMs - earlyMs;
    if (held !== null && !isRefused && !isExpired) return held;
    // Those who need it at once share one run; whoever gives up alone does not end it for the others.
    this.#asking ??= this.#ask(exec, chosen).finally(() => {
      this.#asking = null;
    });
    return await abortable(this.#asking, signal);
  }

  async #ask(exec: ExecConfig, { cluster: { server } }: Chosen): Promise<ExecCredential> {
    const { clock, environment } = this.#deps;
    const options = { folder: path.dirname(this.#file), environment, timeoutMs: this.#access.exec_timeout, clock, cluster: { server } };
    const got = await askPlugin(exec, options, new AbortController().signal);
    this.#credential = { config: exec, got };
    return got;
  }

  #build({ cluster: where, user: who, namespace }: Chosen, credential: ExecCredential | null): Connection {
    const server = this.#server(where);
    if (where['proxy-url'] !== undefined) throw this.#fault('permanent', 'names a proxy-url, and rollbackd uses no proxy; give the server’s own address');
    if (who.as !== undefined) throw this.#fault('permanent', 'impersonates somebody (as), which rollbackd does not; give it a service account of its own');
    if (who['auth-provider'] !== undefined && who['auth-provider'] !== null)
      throw this.#fault('permanent', 'uses an auth-provider, which Kubernetes has removed; use an exec plugin');
    const insecure = where['insecure-skip-tls-verify'] === true;
    if (insecure) this.#insecure('has insecure-skip-tls-verify: anybody between here and the server could read and change what is sent');
    const token = credential?.token ?? who.token;
    const tls: TlsSettings = {
      insecure_skip_verify: insecure,
      ...(where['tls-server-name'] === undefined ? {} : { server_name: where['tls-server-name'] }),
      ...(insecure ? {} : this.#pem('ca', where['certificate-authority-data'], where['certificate-authority'])),
      ...(credential?.cert === null || credential?.cert === undefined
        ? { ...this.#pem('cert', who['client-certificate-data'], who['client-certificate']), ...this.#pem('key', who['client-key-data'], who['client-key']) }
        : { cert: credential.cert, ...(credential.key === null ? {} : { key: credential.key }) }),
    };
    const http: HttpSettings = {
      tls_config: tls,
      follow_redirects: false,
      ...(who.tokenFile !== undefined && credential === null
        ? { authorization: { credentials_file: this.#path(who.tokenFile) } }
        : token !== undefined && token !== null
          ? { authorization: { credentials: token } }
          : who.username === undefined
            ? {}
            : { basic_auth: { username: who.username, password: who.password ?? '' } }),
    };
    return { server, namespace, http };
  }

  #server({ server }: Chosen['cluster']): string {
    const url = URL.parse(server);
    if (url === null || (url.protocol !== 'https:' && url.protocol !== 'http:') || url.username !== '' || url.password !== '')
      throw this.#fault('permanent', 'has a cluster whose server is no plain https URL');
    const isHere = url.hostname === 'localhost' || url.hostname === '[::1]' || /^127(?:\.\d+){3}$/.test(url.hostname);
    if (url.protocol === 'http:' && !isHere) this.#insecure('has a server without TLS: tokens would go over the network in the clear');
    return url.href.replace(/\/+$/, '');
  }

  /** Refused, or loud. */
  #insecure(words: string): void {
    if (!this.#access.allow_insecure) throw this.#fault('permanent', `${words}. Mend it, or set allow_insecure: true`);
    if (!this.#hasWarned)
      this.#deps.log.warn({ kubeconfig: this.#file }, 'kubeconfig is insecure and allow_insecure is set: the API server is not authenticated');
    this.#hasWarned = true;
  }

  #pem(key: 'ca' | 'cert' | 'key', data: string | undefined, file: string | undefined): TlsSettings {
    if (data !== undefined) return { [key]: Buffer.from(data, 'base64').toString('utf8') };
    return file === undefined ? {} : { [`${key}_file`]: this.#path(file) };
  }

  #path(file: string): string {
    return path.resolve(path.dirname(this.#file), file);
  }

  #fault(errorClass: 'auth' | 'permanent', words: string): KubernetesError {
    return new KubernetesError(errorClass, `kubernetes: kubeconfig ${this.#file} ${words}`);
  }
}

function names(entries: readonly { readonly name: string }[] | null | undefined): string {
  return entries === null || entries === undefined || entries.length === 0 ? 'none' : entries.map(({ name }) => name).join(', ');
}

function parseYaml(content: string): unknown {
  try {
    return parse(content, { logLevel: 'silent' });
  } catch {
    return null;
  }
}

async function abortable<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const given = Promise.withResolvers<never>();
  const stop = (): void => given.reject(signal.reason);
  signal.addEventListener('abort', stop, { once: true });
  try {
    return await Promise.race([work, given.promise]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
