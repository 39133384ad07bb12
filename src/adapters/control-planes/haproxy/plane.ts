import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { lookUp } from '../../../domain/lookup.ts';
import type { EndpointObservation, Observation, Share, VersionObservation } from '../../../domain/observation.ts';
import { type ControlPlane, type PlaneCapabilities, type PlaneDeps, PlaneError, type PlaneTarget } from '../../../domain/ports.ts';
import type { ApplyOutcome, Desired, ErrorClass, PlanResult, Step, StepCheck } from '../../../domain/step.ts';
import { FileReplaceError, replaceFile } from '../../files/replace-file.ts';
import { conflict, indeterminate, notSent, refused, rejected } from '../answers.ts';
import { combine, describeServing, isServedAlone } from '../observed.ts';
import { parseMap, parseServersState, type ServerState, valueInFile, withServerStates, withValueInFile } from './node-state.ts';
import { ask, faultIn } from './runtime-api.ts';
import { type HaproxyConfig, type HaproxyKeys, type HaproxyNode, haproxyKeys } from './schema.ts';

const serverSetting = z.object({ server: z.string(), weight: z.number(), maint: z.boolean() });
type ServerSetting = z.output<typeof serverSetting>;
const settings = z.array(serverSetting);

/** What a step carries. `ready`: the target's servers run (out of maint with weight 0 where they were in it); `save`: the server-state-file; `file`: the map's. */
const mutationSchema = z.discriminatedUnion('op', [
  z.object({ op: z.literal('ready'), backend: z.string(), servers: z.array(z.string()), before: settings, after: settings }),
  z.object({ op: z.literal('weights'), backend: z.string(), before: settings, after: settings }),
  z.object({ op: z.literal('save'), backend: z.string(), before: settings, after: settings }),
  z.object({ op: z.literal('map'), file: z.string(), key: z.string(), before: z.string().nullable(), after: z.string().nullable() }),
  z.object({ op: z.literal('file'), file: z.string(), key: z.string(), before: z.string().nullable(), after: z.string().nullable() }),
]);
type Mutation = z.output<typeof mutationSchema>;
type WeightsMutation = Extract<Mutation, { op: 'weights' | 'ready' | 'save' }>;
type MapMutation = Extract<Mutation, { op: 'map' | 'file' }>;

/** `EndpointObservation.config`: the servers of each version's backend; of a map its value, and the value in its file (`null` where there is none or it is not ours to write). */
type NodeFacts = {
  readonly servers: Readonly<Record<string, readonly ServerState[]>>;
  readonly value: string | null;
  readonly written: string | null;
  readonly saved: readonly ServerSetting[] | null;
};

const graceMs = 2_000;

/** HAProxy: README.md says what it calls and what it cannot do. */
export class HaproxyPlane implements ControlPlane {
  readonly #config: HaproxyConfig;
  readonly #deps: PlaneDeps;
  #isClosed = false;

  constructor(config: HaproxyConfig, deps: PlaneDeps) {
    this.#config = config;
    this.#deps = deps;
  }

  capabilities(): PlaneCapabilities {
    return { actuates: true, trafficSplit: false, compareAndSet: false, preSwitchSmoke: this.#config.smoke_before_switch, perVersionMetrics: false };
  }

  async observe(target: PlaneTarget, _options: { thorough: boolean }, signal: AbortSignal): Promise<Observation> {
    signal.throwIfAborted();
    if (this.#isClosed) throw new PlaneError('permanent', 'the control plane is closed');
    const keys = haproxyKeys.parse(target.plane);
    const classes = new Set<ErrorClass>();
    const endpoints = await Promise.all(
      this.#config.endpoints.map(async (node): Promise<EndpointObservation> => {
        try {
          return await this.#observeNode(node, keys, signal);
        } catch (cause) {
          signal.throwIfAborted();
          const error = cause instanceof PlaneError ? cause : new PlaneError('transient', cause instanceof Error ? cause.message : String(cause));
          // Reading twice does no harm: an answer that got lost is asked for again.
          classes.add(error.class === 'indeterminate' ? 'transient' : error.class);
          return { endpoint: node.address, versions: [], serving: [], routes: {}, config: null, error: error.message };
        }
      }),
    );
    signal.throwIfAborted();
    if (endpoints.every((endpoint) => endpoint.error !== undefined)) {
      const [only, ...others] = classes;
      throw new PlaneError(
        only !== undefined && others.length === 0 ? only : 'transient',
        `HAProxy: no node can be read: ${endpoints.map((endpoint) => endpoint.error).join('; ')}`,
      );
    }
    const refusals = endpoints.flatMap((endpoint) => (endpoint.error === undefined ? [] : [`${endpoint.endpoint} cannot be read: ${endpoint.error}`]));
    return combine(this.#deps.clock.nowMs(), endpoints, false, refusals);
  }

  async #observeNode(node: HaproxyNode, keys: HaproxyKeys, signal: AbortSignal): Promise<EndpointObservation> {
    const { weights, map } = keys;
    if (weights !== undefined) {
      const found = await this.#servers(node, weights.backend, signal);
      const of = (version: string): readonly ServerState[] =>
        (lookUp(weights.versions, version) ?? []).map((name) => serverNamed(found, name, weights.backend, node.address));
      const versions = Object.keys(weights.versions);
      const unknown = found.filter(
        (server) => isGivenTraffic(server) && !versions.some((version) => (lookUp(weights.versions, version) ?? []).includes(server.name)),
      );
      if (unknown.length > 0)
        throw new PlaneError(
          'permanent',
          `${node.address}: ${weights.backend}/${unknown.map((server) => server.name).join(', ')} gets traffic, but no version names it under plane.weights.versions`,
        );
      const saved =
        node.server_state_file === undefined ? null : await savedSettings(node.server_state_file, weights.backend, Object.values(weights.versions).flat());
      const servers = Object.fromEntries(versions.map((version) => [version, of(version)]));
      const config: NodeFacts = { servers, value: null, written: null, saved };
      return { endpoint: node.address, versions: statesOf(servers), serving: sharesOf(servers), routes: {}, config };
    }
    return await this.#observeMap(node, map as NonNullable<HaproxyKeys['map']>, signal);
  }

  async #observeMap(node: HaproxyNode, map: NonNullable<HaproxyKeys['map']>, signal: AbortSignal): Promise<EndpointObservation> {
    const value = await this.#mapValue(node, map.file, map.key, signal);
    const servers: Record<string, readonly ServerState[]> = {};
    for (const [version, backend] of Object.entries(map.versions)) servers[version] = await this.#servers(node, backend, signal).catch(unlessUnknownBackend);
    const version = value === null ? (map.default_version ?? null) : (Object.keys(map.versions).find((id) => lookUp(map.versions, id) === value) ?? null);
    if (version === null)
      throw new PlaneError(
        'permanent',
        value === null
          ? `${node.address}: map ${map.file} has no key ${map.key}; add it, or say under plane.map.default_version what serves without it`
          : `${node.address}: map ${map.file}: ${map.key} is ${value}, which no version names under plane.map.versions`,
      );
    const written = node.write_maps ? valueInFile(await readText(map.file), map.key) : null;
    const config: NodeFacts = { servers, value, written, saved: null };
    return { endpoint: node.address, versions: statesOf(servers), serving: [{ version, share: 1 }], routes: {}, config };
  }

  async #servers(node: HaproxyNode, backend: string, signal: AbortSignal): Promise<readonly ServerState[]> {
    const answer = await ask(node.address, `show servers state ${backend}`, this.#config.timeout, this.#deps, signal);
    if (/can't find backend/i.test(answer)) throw new UnknownBackend(`${node.address}: HAProxy knows no backend ${backend}`);
    return parseServersState(answer, backend, node.address);
  }

  /** @throws {PlaneError} permanent, when there is no such map, or its key stands there with different values */
  async #mapValue(node: HaproxyNode, file: string, key: string, signal: AbortSignal): Promise<string | null> {
    const answer = await ask(node.address, `show map ${file}`, this.#config.timeout, this.#deps, signal);
    if (faultIn(answer) !== null)
      throw new PlaneError(/permission denied/i.test(answer) ? 'auth' : 'permanent', `${node.address}: show map ${file}: ${faultIn(answer)}`);
    const values = new Set(parseMap(answer, key));
    if (values.size > 1) throw new PlaneError('permanent', `${node.address}: map ${file} has ${key} more than once, with ${[...values].join(' and ')}`);
    return [...values][0] ?? null;
  }

  plan(target: PlaneTarget, observation: Observation, desired: Desired): PlanResult {
    if (desired.kind === 'unpin') return { kind: 'nothing' };
    const [only, ...others] = desired.shares.filter((share) => share.share > 0);
    if (only === undefined || others.length > 0) return refused('expected one version with 100 %: a rollback here moves all traffic');
    const keys = haproxyKeys.parse(target.plane);
    const known = Object.keys((keys.weights ?? keys.map)?.versions ?? {});
    if (!known.includes(only.version))
      return refused(`version ${only.version} is not under plane.${keys.weights === undefined ? 'map' : 'weights'}.versions (found ${known.join(', ')})`);
    const steps: Step[] = [];
    for (const [index, endpoint] of observation.endpoints.entries()) {
      if (endpoint.error !== undefined)
        return refused(`${endpoint.endpoint} cannot be read (${endpoint.error}); every node must be told, or clients would get either version`);
      const node = this.#config.endpoints.find((candidate) => candidate.address === endpoint.endpoint);
      if (node === undefined) return refused(`${endpoint.endpoint} is not a node any more`);
      // One node first, the rest after it took.
      const planned = keys.weights === undefined ? planMap(endpoint, node, keys, only.version) : planWeights(endpoint, node, keys, only.version);
      if (typeof planned === 'string') return refused(planned);
      steps.push(...planned.map((step) => ({ ...step, barrier: index === 0 ? 0 : 1 })));
    }
    const phases = ['stage', 'switch', 'persist'];
    const ordered = steps.toSorted((a, b) => phases.indexOf(a.phase) - phases.indexOf(b.phase) || a.barrier - b.barrier);
    return ordered.length === 0 ? { kind: 'nothing' } : { kind: 'steps', steps: ordered };
  }

  async apply(_target: PlaneTarget, step: Step, options: { inverse: boolean; opId: string; epoch: number }, signal: AbortSignal): Promise<ApplyOutcome> {
    const raw = options.inverse ? step.inverse : step.mutation;
    if (raw === null) return { kind: 'already', detail: 'there is nothing to take back' };
    try {
      if (signal.aborted) return rejected('transient', 'aborted before anything was sent');
      const mutation = mutationSchema.parse(raw);
      const node = this.#config.endpoints.find((candidate) => candidate.address === step.endpoint);
      if (node === undefined) return conflict(`${step.endpoint} is not a node any more`);
      switch (mutation.op) {
        case 'map':
          return await this.#applyMap(node, mutation, signal);
        case 'file':
          return await applyMapFile(mutation);
        case 'save':
          return await this.#save(node, mutation, signal);
        case 'ready':
        case 'weights':
          return await this.#applyWeights(node, mutation, signal);
      }
    } catch (cause) {
      if (signal.aborted && !(cause instanceof PlaneError)) return rejected('transient', 'aborted before anything was sent');
      if (cause instanceof PlaneError) return notSent(cause);
      return rejected('permanent', cause instanceof Error ? cause.message : String(cause));
    }
  }

  async #applyWeights(node: HaproxyNode, mutation: WeightsMutation, signal: AbortSignal): Promise<ApplyOutcome> {
    const { backend, before, after } = mutation;
    const found = await this.#servers(node, backend, signal);
    if (mutation.op === 'ready') {
      const target = mutation.servers.map((name) => serverNamed(found, name, backend, node.address));
      if (after.length === 0 || isEnoughRunning(target)) {
        if (isEnoughRunning(target)) return { kind: 'already', detail: `${target.filter((server) => server.running).length} of ${target.length} servers run` };
        return rejected('target_will_not_load', `${node.address}: ${notRunning(backend, target)}: HAProxy’s health check finds them down; start them first`);
      }
    }
    const present = settingsOf(
      found,
      after.map(({ server }) => server),
    );
    if (isSame(present, after)) return { kind: 'already', detail: `${node.address} shows it` };
    const odd = present.filter((setting) => ![...before, ...after].some((wanted) => isSame([setting], [wanted])));
    if (odd.length > 0) return conflict(`${node.address}: ${odd.map((setting) => `${backend}/${describe(setting)}`).join(', ')}: somebody changed it`);
    const faults: string[] = [];
    let isLost = false;
    // What gets traffic first, so that there is no moment without a server.
    for (const wanted of after.toSorted((a, b) => b.weight - a.weight)) {
      const now = found.find((server) => server.name === wanted.server);
      for (const command of now === undefined ? [] : commandsFor(backend, now, wanted)) {
        try {
          const fault = faultIn(await ask(node.address, command, this.#config.timeout, this.#deps, signal));
          if (fault !== null) faults.push(`${command}: ${fault}`);
        } catch (cause) {
          if (!(cause instanceof PlaneError) && !signal.aborted) throw cause;
          isLost = true;
          faults.push(cause instanceof Error ? cause.message : String(cause));
        }
        if (faults.length > 0) break;
      }
      if (faults.length > 0) break;
    }
    return await this.#readBack(node, backend, after, faults, isLost, signal);
  }

  /** Success is an empty line, which says little: what counts is what is there afterwards. */
  async #readBack(
    node: HaproxyNode,
    backend: string,
    after: readonly ServerSetting[],
    faults: readonly string[],
    isLost: boolean,
    signal: AbortSignal,
  ): Promise<ApplyOutcome> {
    let present: readonly ServerSetting[];
    try {
      present = settingsOf(
        await this.#servers(node, backend, signal),
        after.map(({ server }) => server),
      );
    } catch (cause) {
      return indeterminate(
        `${node.address}: ${[...faults, `cannot be read back: ${cause instanceof Error ? cause.message : String(cause)}`].join('; ')}; whether it took is not known`,
      );
    }
    if (isSame(present, after)) return { kind: 'applied', detail: `${node.address}: ${present.map(describe).join(', ')}` };
    const took = after.filter((wanted) =>
      isSame(
        present.filter((setting) => setting.server === wanted.server),
        [wanted],
      ),
    );
    const partly = took.length === 0 ? 'nothing changed' : `partly applied: ${took.map(describe).join(', ')} took, the rest did not`;
    const detail = `${node.address}: ${faults.join('; ') || 'another value was read back'} (${partly})`;
    if (isLost) return indeterminate(detail);
    if (faults.length === 0) return conflict(`${detail}: somebody else writes there`);
    const hint = /static LB/i.test(detail) ? '. Give the backend a dynamic balance (roundrobin, leastconn), or its servers a configured weight above 0' : '';
    return rejected(/permission denied/i.test(detail) ? 'auth' : 'permanent', `${detail}${hint}`);
  }

  async #applyMap(node: HaproxyNode, mutation: MapMutation, signal: AbortSignal): Promise<ApplyOutcome> {
    const { file, key, before, after } = mutation;
    const present = await this.#mapValue(node, file, key, signal);
    const words = `map ${file}: ${key} is ${after ?? 'gone'}`;
    if (present === after) return { kind: 'already', detail: `${node.address}: ${words}` };
    if (present !== before)
      return conflict(`${node.address}: map ${file}: ${key} is ${present ?? 'not there'}, expected ${before ?? 'nothing'}: somebody changed it`);
    // HAProxy takes any text as a value; one that names no backend answers every client with 503.
    if (after !== null) await this.#servers(node, after, signal);
    const command = after === null ? `del map ${file} ${key}` : `${present === null ? 'add' : 'set'} map ${file} ${key} ${after}`;
    let fault: string | null = null;
    let isLost = false;
    try {
      fault = faultIn(await ask(node.address, command, this.#config.timeout, this.#deps, signal));
    } catch (cause) {
      isLost = true;
      fault = cause instanceof Error ? cause.message : String(cause);
    }
    const now = await this.#mapValue(node, file, key, signal).catch(() => undefined);
    if (now === after) return { kind: 'applied', detail: `${node.address}: ${words}` };
    if (isLost || now === undefined) return indeterminate(`${node.address}: ${fault ?? 'cannot be read back'}; whether it took is not known`);
    if (fault === null) return conflict(`${node.address}: map ${file}: ${key} is ${now ?? 'not there'} after ${command}: somebody else writes there`);
    return rejected(/permission denied/i.test(fault) ? 'auth' : 'permanent', `${node.address}: ${command}: ${fault}`);
  }

  /** The server-state-file as HAProxy would write it, with our servers as they are meant to be. */
  async #save(node: HaproxyNode, mutation: WeightsMutation, signal: AbortSignal): Promise<ApplyOutcome> {
    const path = node.server_state_file;
    if (path === undefined) return conflict(`${node.address} has no server_state_file any more`);
    const names = mutation.after.map(({ server }) => server);
    const saved = await savedSettings(path, mutation.backend, names);
    if (saved !== null && isSame(saved, mutation.after)) return { kind: 'already', detail: `${path} says so` };
    const state = await ask(node.address, 'show servers state', this.#config.timeout, this.#deps, signal);
    parseServersState(state, mutation.backend, node.address);
    const text = withServerStates(state, mutation.backend, new Map(mutation.after.map((setting) => [setting.server, setting])));
    await replace(path, await readText(path), text);
    return { kind: 'applied', detail: `${path} written: a reload keeps it, where the configuration loads that file` };
  }

  check(step: Step, before: Observation, now: Observation, sinceMs: number): StepCheck {
    const parsed = mutationSchema.safeParse(step.mutation);
    const endpoint = now.endpoints.find((candidate) => candidate.endpoint === step.endpoint);
    if (!parsed.success) return { kind: 'failed', detail: `${step.name}: no mutation of this plane` };
    if (endpoint === undefined) return { kind: 'failed', detail: `${step.endpoint} is not a node any more` };
    if (endpoint.error !== undefined) return { kind: 'progressing', detail: `${step.endpoint} cannot be read: ${endpoint.error}` };
    const facts = endpoint.config as NodeFacts;
    const mutation = parsed.data;
    if (mutation.op === 'ready') {
      const servers = Object.values(facts.servers)
        .flat()
        .filter((server) => mutation.servers.includes(server.name));
      return isEnoughRunning(servers)
        ? { kind: 'converged', detail: 'the servers run' }
        : { kind: 'progressing', detail: notRunning(mutation.backend, servers) };
    }
    if (mutation.op === 'save' || mutation.op === 'file') {
      const isThere = mutation.op === 'file' ? facts.written === mutation.after : facts.saved !== null && isSame(facts.saved, mutation.after);
      return isThere ? { kind: 'converged', detail: 'the file says so' } : { kind: 'reverted', detail: 'the file does not say it: somebody wrote it again' };
    }
    const to = step.expect.serving ?? '';
    if (isServedAlone(endpoint, to)) return { kind: 'converged', detail: `${to} serves alone on ${step.endpoint}` };
    const then = before.endpoints.find((candidate) => candidate.endpoint === step.endpoint);
    const detail = `${step.endpoint} serves ${describeServing(endpoint)}`;
    if (then !== undefined && then.error === undefined && isServedAlone(then, to))
      return { kind: 'reverted', detail: `it had taken, and was taken back: ${detail}` };
    return sinceMs < graceMs ? { kind: 'stale', detail } : { kind: 'failed', detail: `${detail}; was HAProxy reloaded meanwhile?` };
  }

  async close(): Promise<void> {
    this.#isClosed = true;
  }
}

class UnknownBackend extends PlaneError {
  constructor(message: string) {
    super('permanent', `${message}: nothing was changed`);
  }
}

function unlessUnknownBackend(cause: unknown): readonly ServerState[] {
  if (cause instanceof UnknownBackend) return [];
  throw cause;
}

function planWeights(endpoint: EndpointObservation, node: HaproxyNode, keys: HaproxyKeys, to: string): Step[] | string {
  const weights = keys.weights as NonNullable<HaproxyKeys['weights']>;
  const facts = endpoint.config as NodeFacts;
  const target = lookUp(facts.servers, to) ?? [];
  const names = new Set(target.map(({ name }) => name));
  const every = [
    ...new Map(
      Object.values(facts.servers)
        .flat()
        .map((server) => [server.name, server]),
    ).values(),
  ];
  const before = settingsOf(
    every,
    every.map(({ name }) => name),
  );
  // Percents are of the configured weight: where that is 0, no percentage gives traffic.
  const fallback = Math.max(1, ...every.map((server) => server.initial));
  const after = every.map((server): ServerSetting => {
    if (names.has(server.name)) return { server: server.name, weight: server.initial > 0 ? server.initial : fallback, maint: false };
    return { server: server.name, weight: weights.retire === 'weight' ? 0 : server.weight, maint: server.maint || weights.retire === 'maint' };
  });
  const steps: Step[] = [];
  const { backend } = weights;
  if (!isServedAlone(endpoint, to)) {
    const asleep = target.filter((server) => server.maint);
    const stagedBefore = settingsOf(
      asleep,
      asleep.map(({ name }) => name),
    );
    const stagedAfter = asleep.map(({ name }): ServerSetting => ({ server: name, weight: 0, maint: false }));
    const ready = (from: readonly ServerSetting[], then: readonly ServerSetting[]): Mutation => ({
      op: 'ready',
      backend,
      servers: [...names],
      before: [...from],
      after: [...then],
    });
    const inverse: Mutation | null = asleep.length === 0 ? null : { op: 'weights', backend, before: stagedAfter, after: stagedBefore };
    steps.push(stepOf('stage', `see that ${to} runs`, endpoint, ready(stagedBefore, stagedAfter), inverse, {}));
    const staged = before.map((setting) => stagedAfter.find(({ server }) => server === setting.server) ?? setting);
    const op = 'weights';
    steps.push(
      stepOf(
        'switch',
        `give all weight to ${to}`,
        endpoint,
        { op, backend, before: staged, after },
        { op, backend, before: after, after: staged },
        { serving: to },
      ),
    );
  }
  const wanted = isServedAlone(endpoint, to) ? before : after;
  if (node.server_state_file !== undefined && (facts.saved === null || !isSame(facts.saved, wanted))) {
    const op = 'save';
    const old = facts.saved ?? before;
    steps.push(
      stepOf(
        'persist',
        `save ${to} in ${node.server_state_file}`,
        endpoint,
        { op, backend, before: [...old], after: wanted },
        { op, backend, before: wanted, after: [...old] },
        {},
      ),
    );
  }
  return steps;
}

function planMap(endpoint: EndpointObservation, node: HaproxyNode, keys: HaproxyKeys, to: string): Step[] | string {
  const map = keys.map as NonNullable<HaproxyKeys['map']>;
  const facts = endpoint.config as NodeFacts;
  const backend = lookUp(map.versions, to) ?? '';
  const servers = lookUp(facts.servers, to) ?? [];
  if (servers.length === 0)
    return `${endpoint.endpoint}: backend ${backend} of version ${to} does not exist or has no server: the map would send every client into a 503`;
  const steps: Step[] = [];
  const { file, key } = map;
  if (!isServedAlone(endpoint, to)) {
    const ready: Mutation = { op: 'ready', backend, servers: servers.map(({ name }) => name), before: [], after: [] };
    steps.push(stepOf('stage', `see that ${to} runs`, endpoint, ready, null, {}));
    const op = 'map';
    steps.push(
      stepOf(
        'switch',
        `point ${key} to ${to}`,
        endpoint,
        { op, file, key, before: facts.value, after: backend },
        { op, file, key, before: backend, after: facts.value },
        { serving: to },
      ),
    );
  }
  if (node.write_maps && facts.written !== backend) {
    const op = 'file';
    steps.push(
      stepOf(
        'persist',
        `write ${to} to ${file}`,
        endpoint,
        { op, file, key, before: facts.written, after: backend },
        { op, file, key, before: backend, after: facts.written },
        {},
      ),
    );
  }
  return steps;
}

function stepOf(
  phase: Step['phase'],
  words: string,
  endpoint: EndpointObservation,
  mutation: Mutation,
  inverse: Mutation | null,
  expect: Step['expect'],
): Step {
  return { name: `${words} on ${endpoint.endpoint}`, phase, endpoint: endpoint.endpoint, barrier: 0, mutation, inverse, expect };
}

/** Percents where they say it, since a static balance takes only 0% and 100%. */
function commandsFor(backend: string, now: ServerState, wanted: ServerSetting): string[] {
  const where = `${backend}/${now.name}`;
  const commands: string[] = [];
  if (now.weight !== wanted.weight) {
    const weight = wanted.weight === 0 ? '0%' : wanted.weight === now.initial ? '100%' : String(wanted.weight);
    commands.push(`set server ${where} weight ${weight}`);
  }
  if (wanted.maint && !now.maint) commands.push(`set server ${where} state maint`);
  if (!wanted.maint && (now.maint || now.drain)) commands.push(`set server ${where} state ready`);
  return commands;
}

function serverNamed(found: readonly ServerState[], name: string, backend: string, address: string): ServerState {
  const server = found.find((candidate) => candidate.name === name);
  if (server === undefined)
    throw new PlaneError('permanent', `${address}: backend ${backend} has no server ${name} (found ${found.map((each) => each.name).join(', ') || 'none'})`);
  return server;
}

function settingsOf(servers: readonly ServerState[], names: readonly string[]): ServerSetting[] {
  return servers.filter(({ name }) => names.includes(name)).map(({ name, weight, maint, drain }) => ({ server: name, weight: drain ? 0 : weight, maint }));
}

function isSame(a: readonly ServerSetting[], b: readonly ServerSetting[]): boolean {
  const text = (list: readonly ServerSetting[]): string => list.map(describe).toSorted().join();
  return text(a) === text(b);
}

function describe({ server, weight, maint }: ServerSetting): string {
  return `${server} weight ${weight}${maint ? ' in maint' : ''}`;
}

function isGivenTraffic(server: ServerState): boolean {
  return server.weight > 0 && !server.maint && !server.drain;
}

/** At least half of them: a version with one dead server of many is still the better one. */
function isEnoughRunning(servers: readonly ServerState[]): boolean {
  return servers.length > 0 && servers.filter((server) => server.running).length * 2 >= servers.length;
}

function notRunning(backend: string, servers: readonly ServerState[]): string {
  return `${
    servers
      .filter((server) => !server.running)
      .map((server) => `${backend}/${server.name}`)
      .join(', ') || backend
  } not running`;
}

function statesOf(servers: Readonly<Record<string, readonly ServerState[]>>): VersionObservation[] {
  return Object.entries(servers).map(([id, list]) => ({ id, state: list.some((server) => server.running) ? 'available' : 'unloaded' }));
}

/** By weight over what runs, as HAProxy balances. */
function sharesOf(servers: Readonly<Record<string, readonly ServerState[]>>): Share[] {
  const sums = Object.entries(servers).map(([version, list]) => ({
    version,
    sum: list.filter((server) => isGivenTraffic(server) && server.running).reduce((total, server) => total + server.weight, 0),
  }));
  const all = sums.reduce((total, { sum }) => total + sum, 0);
  return sums.filter(({ sum }) => sum > 0).map(({ version, sum }) => ({ version, share: sum / all }));
}

async function applyMapFile({ file, key, before, after }: MapMutation): Promise<ApplyOutcome> {
  const text = await readText(file);
  const present = valueInFile(text, key);
  if (present === after) return { kind: 'already', detail: `${file} says so` };
  if (present !== before) return conflict(`${file}: ${key} is ${present ?? 'not there'}, expected ${before ?? 'nothing'}: somebody changed it`);
  await replace(file, text, withValueInFile(text, key, after));
  return { kind: 'applied', detail: `${file}: ${key} is ${after ?? 'gone'}` };
}

/** `null` when the file has none of these servers yet. */
async function savedSettings(path: string, backend: string, names: readonly string[]): Promise<readonly ServerSetting[] | null> {
  const text = await readText(path);
  if (text.trim() === '') return null;
  const found = settingsOf(parseServersState(text, backend, path), names);
  return found.length === 0 ? null : found;
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new PlaneError('permanent', `${path} cannot be read (${(cause as NodeJS.ErrnoException).code ?? String(cause)})`, { cause });
  }
}

async function replace(path: string, expected: string, text: string): Promise<void> {
  try {
    await replaceFile(path, expected, text);
  } catch (cause) {
    if (!(cause instanceof FileReplaceError)) throw cause;
    throw new PlaneError(cause.changed ? 'conflict' : 'permanent', cause.message, { cause });
  }
}
