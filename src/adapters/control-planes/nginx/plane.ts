import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { z } from 'zod';
import { lookUp } from '../../../domain/lookup.ts';
import type { EndpointObservation, Observation, VersionObservation } from '../../../domain/observation.ts';
import { type ControlPlane, type PlaneCapabilities, type PlaneDeps, PlaneError, type PlaneTarget } from '../../../domain/ports.ts';
import type { ApplyOutcome, Desired, ErrorClass, PlanResult, Step, StepCheck } from '../../../domain/step.ts';
import { FileReplaceError, replaceFile, writeBeside, writeObstacle } from '../../files/replace-file.ts';
import { createHttpClient, type HttpClient } from '../../http/client.ts';
import { classOfReading, classOfStatus } from '../../http/error-class.ts';
import { HttpError } from '../../http/http-error.ts';
import { describeStart, OutputTail, runProcess } from '../../process/run-process.ts';
import { conflict, indeterminate, notSent, refused, rejected } from '../answers.ts';
import { combine, describeServing, isServedAlone } from '../observed.ts';
import { isMarkerTrue, type OwnedFile, OwnedFileFault, parseOwnedFile, withVersion } from './owned-file.ts';
import { type NginxConfig, type NginxKeys, type NginxNode, nginxKeys } from './schema.ts';

/** What a step carries: `reach` connects to the target's servers; `write` goes from one whole text of the file to another. */
const mutationSchema = z.discriminatedUnion('op', [
  z.object({ op: z.literal('reach'), servers: z.array(z.string()) }),
  z.object({ op: z.literal('write'), path: z.string(), before: z.string(), after: z.string() }),
]);
type Mutation = z.output<typeof mutationSchema>;
type Write = Extract<Mutation, { op: 'write' }>;

/** `EndpointObservation.config`: the file, the marker on the wire, and why the two do not go together (`null` when they do). */
type NodeFacts = { readonly path: string; readonly file: string; readonly marker: string; readonly problem: string | null };

const maxShown = 600;

/** NGINX: README.md says what it calls and what it cannot do. */
export class NginxPlane implements ControlPlane {
  readonly #config: NginxConfig;
  readonly #deps: PlaneDeps;
  readonly #http: HttpClient;
  readonly #closing = new AbortController();

  constructor(config: NginxConfig, deps: PlaneDeps) {
    this.#config = config;
    this.#deps = deps;
    this.#http = createHttpClient(
      { follow_redirects: false },
      { timeoutMs: config.timeout, maxBytes: 65_536, sleep: async (ms, signal) => deps.clock.sleep(ms, signal) },
    );
  }

  capabilities(): PlaneCapabilities {
    return { actuates: true, trafficSplit: false, compareAndSet: false, preSwitchSmoke: this.#config.smoke_before_switch, perVersionMetrics: false };
  }

  async observe(target: PlaneTarget, options: { thorough: boolean }, signal: AbortSignal): Promise<Observation> {
    signal.throwIfAborted();
    if (this.#closing.signal.aborted) throw new PlaneError('permanent', 'the control plane is closed');
    const keys = nginxKeys.parse(target.plane);
    const classes = new Set<ErrorClass>();
    const endpoints = await Promise.all(
      this.#config.nodes.map(async (node): Promise<EndpointObservation> => {
        try {
          return await this.#observeNode(node, keys, signal);
        } catch (cause) {
          signal.throwIfAborted();
          classes.add(cause instanceof PlaneError ? cause.class : 'transient');
          return { endpoint: nameOf(node), versions: [], serving: [], routes: {}, config: null, error: reasonOf(cause) };
        }
      }),
    );
    signal.throwIfAborted();
    if (endpoints.every((endpoint) => endpoint.error !== undefined)) {
      const [only, ...others] = classes;
      throw new PlaneError(
        only !== undefined && others.length === 0 ? only : 'transient',
        `NGINX: nothing can be read: ${endpoints.map((endpoint) => endpoint.error).join('; ')}`,
      );
    }
    const refusals = endpoints.flatMap((endpoint) => {
      const problem = endpoint.error ?? (endpoint.config as NodeFacts).problem;
      return problem === null ? [] : [`${endpoint.endpoint}: ${problem}`];
    });
    if (options.thorough) {
      for (const node of this.#config.nodes) {
        const obstacle = await writeObstacle(join(node.folder, keys.file));
        if (obstacle !== null) refusals.push(`${obstacle}; mount its folder writable`);
      }
    }
    return combine(this.#deps.clock.nowMs(), endpoints, false, refusals);
  }

  async #observeNode(node: NginxNode, keys: NginxKeys, signal: AbortSignal): Promise<EndpointObservation> {
    const path = join(node.folder, keys.file);
    const text = await readText(path);
    const file = parse(text, keys, path);
    const marker = await this.#marker(node, keys, signal);
    if (!isMarkerTrue(file))
      throw new PlaneError(
        'conflict',
        `${path} was edited by somebody else and kept rollbackd’s marker: what nginx serves is not known; give it a marker of its own and reload`,
      );
    const versions = Object.keys(versionsOf(keys)).map((id): VersionObservation => ({ id, state: 'available' }));
    const shown = (of: OwnedFile, problem: string | null): EndpointObservation => {
      const config: NodeFacts = { path, file: text, marker, problem };
      return { endpoint: nameOf(node), versions, serving: of.serving, routes: of.routes, config };
    };
    if (file.marker === marker) return shown(file, null);
    // The file is not what nginx has loaded: what it has is the text from before, if its marker is that one's.
    const previous = await readFile(previousOf(path), 'utf8').catch(() => null);
    const loaded = previous === null ? null : parse(previous, keys, previousOf(path));
    if (loaded?.marker === marker)
      return shown(
        loaded,
        `nginx still answers with what it had before ${path} was written (marker ${marker}, the file has ${file.marker}): the reload has not taken, or failed; look for [emerg] in its error_log`,
      );
    throw new PlaneError(
      'conflict',
      `${node.url}/${keys.marker} answers ${JSON.stringify(marker)}, but ${path} has ${JSON.stringify(file.marker)}: what nginx serves is not known; reload nginx, or change the marker with each edit`,
    );
  }

  /** Over a connection of its own: a kept-alive one could still lead to a worker from before the reload. */
  async #marker(node: NginxNode, keys: NginxKeys, signal: AbortSignal): Promise<string> {
    const startedMs = this.#deps.clock.nowMs();
    try {
      const answer = await this.#http.request({
        method: 'GET',
        url: `${node.url.replace(/\/$/, '')}/${keys.marker}`,
        headers: { Connection: 'close' },
        signal,
      });
      this.#deps.onRequest('marker', String(answer.status), this.#deps.clock.nowMs() - startedMs);
      if (answer.status !== 200)
        throw new PlaneError(
          classOfReading(classOfStatus(answer.status)),
          `${node.url}/${keys.marker} answered ${answer.status}; add: location = /${keys.marker} { return 200 "$${keys.marker}"; }`,
        );
      return answer.body.trim();
    } catch (cause) {
      signal.throwIfAborted();
      if (!(cause instanceof HttpError)) throw cause;
      this.#deps.onRequest('marker', cause.code, this.#deps.clock.nowMs() - startedMs);
      throw new PlaneError('transient', `${nameOf(node)}: ${cause.message}`);
    }
  }

  plan(target: PlaneTarget, observation: Observation, desired: Desired): PlanResult {
    if (desired.kind === 'unpin') return { kind: 'nothing' };
    const [only, ...others] = desired.shares.filter((share) => share.share > 0);
    if (only === undefined || others.length > 0) return refused('expected one version with 100 %: a rollback here moves all traffic');
    const keys = nginxKeys.parse(target.plane);
    const to = only.version;
    const versions = versionsOf(keys);
    const servers = lookUp(versions, to);
    if (servers === undefined) return refused(`version ${to} is not under plane’s versions (found ${Object.keys(versions).join(', ')})`);
    const steps: Step[] = [];
    for (const [index, endpoint] of observation.endpoints.entries()) {
      const facts = endpoint.config as NodeFacts | null;
      if (endpoint.error !== undefined || facts === null)
        return refused(`${endpoint.endpoint}: ${endpoint.error}; every nginx must be told, or clients would get either version`);
      if (facts.problem !== null) return refused(`${endpoint.endpoint}: ${facts.problem}`);
      const file = parse(facts.file, keys, facts.path);
      const isRouted = Object.values(file.routes).every((version) => version === to || !file.serving.some((share) => share.version === version));
      if (isServedAlone(endpoint, to) && isRouted) continue;
      const after = withVersion(file, keys, to, facts.path);
      const { path, file: before } = facts;
      const barrier = index === 0 ? 0 : 1;
      const at = { endpoint: endpoint.endpoint, barrier };
      steps.push(
        { ...at, name: `reach ${to} from ${endpoint.endpoint}`, phase: 'stage', mutation: { op: 'reach', servers: [...servers] }, inverse: null, expect: {} },
        {
          ...at,
          name: `give all traffic to ${to} on ${endpoint.endpoint}`,
          phase: 'switch',
          mutation: { op: 'write', path, before, after },
          inverse: { op: 'write', path, before: after, after: before },
          expect: { serving: to },
        },
      );
    }
    const phases = ['stage', 'switch'];
    const ordered = steps.toSorted((a, b) => phases.indexOf(a.phase) - phases.indexOf(b.phase) || a.barrier - b.barrier);
    return ordered.length === 0 ? { kind: 'nothing' } : { kind: 'steps', steps: ordered };
  }

  async apply(target: PlaneTarget, step: Step, options: { inverse: boolean; opId: string; epoch: number }, signal: AbortSignal): Promise<ApplyOutcome> {
    const raw = options.inverse ? step.inverse : step.mutation;
    if (raw === null) return { kind: 'already', detail: 'there is nothing to take back' };
    try {
      if (signal.aborted) return rejected('transient', 'aborted before anything was done');
      const mutation = mutationSchema.parse(raw);
      const node = this.#config.nodes.find((candidate) => nameOf(candidate) === step.endpoint);
      if (node === undefined) return conflict(`${step.endpoint} is not a node any more`);
      const keys = nginxKeys.parse(target.plane);
      if (mutation.op === 'write') return await this.#write(node, keys, mutation, signal);
      await this.#observeNode(node, keys, signal);
      return await this.#reach(mutation.servers, signal);
    } catch (cause) {
      if (signal.aborted && !(cause instanceof PlaneError)) return rejected('transient', 'aborted before anything was done');
      return cause instanceof PlaneError ? notSent(cause) : rejected('permanent', reasonOf(cause));
    }
  }

  /** An upstream without a living server is a full outage that nginx takes without a word. */
  async #reach(servers: readonly string[], signal: AbortSignal): Promise<ApplyOutcome> {
    const results = await Promise.all(servers.map(async (server) => ({ server, fault: await this.#connect(server, signal) })));
    signal.throwIfAborted();
    const lost = results.filter(({ fault }) => fault !== null);
    if (lost.length * 2 > servers.length)
      return rejected(
        'target_will_not_load',
        `${lost.map(({ server, fault }) => `${server}: ${fault}`).join(', ')}: nothing was written; start these servers first`,
      );
    return {
      kind: 'already',
      detail: servers.length === 0 ? 'no servers are named to connect to' : `${servers.length - lost.length} of ${servers.length} servers take connections`,
    };
  }

  async #connect(server: string, signal: AbortSignal): Promise<string | null> {
    const [, host = '', port = '80'] = /^(.*?)(?::(\d+))?$/.exec(server) ?? [];
    const socket = server.startsWith('unix:') ? connect(server.slice('unix:'.length)) : connect({ host: host.replaceAll(/[[\]]/g, ''), port: Number(port) });
    const done = new AbortController();
    try {
      return await new Promise<string | null>((resolve, reject) => {
        socket.once('connect', () => resolve(null));
        socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
        signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true, signal: done.signal });
        this.#deps.clock.sleep(this.#config.timeout, done.signal).then(
          () => resolve(`no connection within ${this.#config.timeout} ms`),
          () => undefined,
        );
      });
    } finally {
      done.abort();
      socket.destroy();
    }
  }

  async #write(node: NginxNode, keys: NginxKeys, { path, before, after }: Write, signal: AbortSignal): Promise<ApplyOutcome> {
    if (path !== join(node.folder, keys.file)) return conflict(`${path} is not the file of ${nameOf(node)} any more`);
    const marker = await this.#marker(node, keys, signal);
    const text = await readText(path);
    const wanted = parse(after, keys, path).marker;
    if (text === after && marker === wanted) return { kind: 'already', detail: `${nameOf(node)} answers ${marker}` };
    if (text !== before && text !== after) return conflict(`${path} is not what the plan found: somebody edited it, and it was left alone`);
    if (marker !== wanted && marker !== parse(before, keys, path).marker)
      return conflict(`${node.url}/${keys.marker} answers ${JSON.stringify(marker)}: nginx has loaded something else meanwhile`);
    signal.throwIfAborted();
    if (text === before) {
      await write(async () => writeBeside(path, previousOf(path), before));
      await write(async () => replaceFile(path, before, after));
    }
    // From here on it is carried to its end: a file that is written and not loaded would come into force with the next reload of anybody.
    const fault = await this.#command(node.test_command, 'test');
    if (fault !== null) {
      await write(async () => replaceFile(path, after, before));
      const hint = /host not found in upstream/.test(fault.message) ? '. Name servers by address, or through a resolver and a variable' : '';
      const words = `${nameOf(node)}: the test of the configuration failed, and the former file was put back: ${fault.message}${hint}`;
      return rejected(classOfReading(fault.class), words);
    }
    const reload = await this.#reload(node);
    if (reload === null) return { kind: 'applied', detail: `${path} written, tested, and nginx told to reload` };
    // The marker will tell. The file stays: taken back under a reload that is under way, it would not be what nginx serves.
    if (reload.class === 'indeterminate')
      return indeterminate(`${nameOf(node)}: ${path} is written, and whether nginx was told to reload is not known: ${reload.message}`);
    await write(async () => replaceFile(path, after, before));
    return rejected(reload.class, `${nameOf(node)}: nginx could not be told to reload, and the former file was put back: ${reload.message}`);
  }

  async #reload(node: NginxNode): Promise<PlaneError | null> {
    if (node.reload_command !== undefined) return await this.#command(node.reload_command, 'reload');
    const file = node.pid_file ?? '';
    const text = await readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => `(${cause.code})`);
    const pid = /^\s*(\d+)\s*$/.exec(text)?.[1];
    if (pid === undefined || Number(pid) < 2)
      return new PlaneError('permanent', `pid_file ${file}: found ${JSON.stringify(text.trim().slice(0, 40))}, expected the number of nginx’s master`);
    try {
      process.kill(Number(pid), 'SIGHUP');
      return null;
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      if (code === 'EPERM') return new PlaneError('auth', `no right to signal process ${pid} (EPERM); run as nginx’s user, or give a reload_command`);
      return new PlaneError('permanent', `process ${pid} of pid_file ${file} does not run (${code})`);
    }
  }

  /** What a command found wrong; `null` for exit code 0. `indeterminate`: it was ended before it could say. */
  async #command(argv: readonly [string, ...string[]], what: string): Promise<PlaneError | null> {
    const { clock } = this.#deps;
    const limit = new AbortController();
    const timer = new AbortController();
    clock.sleep(this.#config.command_timeout, timer.signal).then(
      () => limit.abort(),
      () => undefined,
    );
    const output = new OutputTail(16_384);
    const startedMs = clock.nowMs();
    const ending = await runProcess(clock, { argv, cwd: '/', env: { ...this.#deps.commandEnv } }, { stdout: output, stderr: output }, limit.signal);
    timer.abort();
    this.#deps.onRequest(what, String(ending.code ?? ending.signal ?? 'ERROR'), clock.nowMs() - startedMs);
    if (ending.error !== null) return new PlaneError('permanent', describeStart(ending.error, argv[0], '/'));
    if (ending.code === 0) return null;
    const text = output.text().trim().slice(-maxShown);
    const verdict =
      ending.code === null
        ? `ended by ${ending.signal}${limit.signal.aborted ? ` after ${this.#config.command_timeout} ms (command_timeout)` : ''}`
        : `exit code ${ending.code}`;
    return new PlaneError(ending.code === null ? 'indeterminate' : 'permanent', `${argv.join(' ')}: ${verdict}${text === '' ? '' : `: ${text}`}`);
  }

  check(step: Step, before: Observation, now: Observation, sinceMs: number): StepCheck {
    const parsed = mutationSchema.safeParse(step.mutation);
    const endpoint = now.endpoints.find((candidate) => candidate.endpoint === step.endpoint);
    if (!parsed.success) return { kind: 'failed', detail: `${step.name}: no mutation of this plane` };
    if (endpoint === undefined) return { kind: 'failed', detail: `${step.endpoint} is not a node any more` };
    if (parsed.data.op === 'reach') return { kind: 'converged', detail: 'the servers take connections' };
    const isLate = sinceMs >= this.#config.reload_timeout;
    if (endpoint.error !== undefined) return { kind: isLate ? 'failed' : 'progressing', detail: endpoint.error };
    const facts = endpoint.config as NodeFacts;
    const to = step.expect.serving ?? '';
    if (facts.problem === null && facts.file === parsed.data.after && isServedAlone(endpoint, to))
      return { kind: 'converged', detail: `${step.endpoint} answers ${facts.marker}: ${to} serves alone` };
    const detail = facts.problem ?? `${step.endpoint} serves ${describeServing(endpoint)}`;
    const then = before.endpoints.find((candidate) => candidate.endpoint === step.endpoint);
    if (facts.problem === null && then !== undefined && then.error === undefined && isServedAlone(then, to))
      return { kind: 'reverted', detail: `it had taken, and was taken back: ${detail}` };
    if (facts.problem === null && facts.file !== parsed.data.after)
      return { kind: 'reverted', detail: `${facts.path} was written by somebody else: ${detail}` };
    return isLate ? { kind: 'failed', detail: `the test of the configuration passed, but ${detail}` } : { kind: 'progressing', detail };
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#http.close();
  }
}

function nameOf(node: NginxNode): string {
  return node.name ?? node.folder;
}

function previousOf(path: string): string {
  return `${path}.prev`;
}

/** Version → servers to connect to. */
function versionsOf(keys: NginxKeys): Readonly<Record<string, readonly string[]>> {
  if (keys.upstream !== undefined) return keys.upstream.versions;
  return Object.fromEntries(Object.entries((keys.split_clients ?? keys.map)?.versions ?? {}).map(([version, { servers }]) => [version, servers]));
}

function parse(text: string, keys: NginxKeys, path: string): OwnedFile {
  try {
    return parseOwnedFile(text, keys, path);
  } catch (cause) {
    if (cause instanceof OwnedFileFault) throw new PlaneError('permanent', cause.message);
    throw cause;
  }
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new PlaneError('permanent', `${path} cannot be read (${(cause as NodeJS.ErrnoException).code ?? String(cause)})`, { cause });
  }
}

async function write(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (cause) {
    if (!(cause instanceof FileReplaceError)) throw cause;
    throw new PlaneError(cause.changed ? 'conflict' : 'permanent', cause.message, { cause });
  }
}

function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
