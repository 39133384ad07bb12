import { readdir, stat } from 'node:fs/promises';
import { clone } from '@bufbuild/protobuf';
import { lookUp } from '../../../domain/lookup.ts';
import type { EndpointObservation, Observation, VersionObservation } from '../../../domain/observation.ts';
import {
  type ControlPlane,
  type EndpointSignature,
  type PlaneCapabilities,
  type PlaneDeps,
  PlaneError,
  type PlaneTarget,
  type VersionStore,
} from '../../../domain/ports.ts';
import type { ApplyOutcome, Desired, ErrorClass, PlanResult, Step, StepCheck } from '../../../domain/step.ts';
import { Mutex } from '../mutex.ts';
import { combine } from '../observed.ts';
import { type Address, type Resolve, resolveAddresses } from './addresses.ts';
import { type BaseEntry, type BaseList, BaseListReader } from './base-list.ts';
import { ChangeMemory, type MemoryPatch, type MemorySnapshot, type Original, rememberedAfter } from './change-memory.ts';
import { checkStep, type Patience, patienceFor } from './check.ts';
import { editConfigFile, replaceFile, writeObstacle } from './config-file.ts';
import { readCredentials } from './credentials.ts';
import { type ModelServerConfig, ModelServerConfigSchema } from './gen/tensorflow_serving/config/model_server_config_pb.ts';
import { classOf, GrpcClient, type ReloadAnswer, type RouteAnswer } from './grpc-client.ts';
import { isSameState, type Judgement, judgePolicy, type ModelState, namedVersions, setState, sortVersions, stateText } from './model-state.ts';
import { type Mutation, mutationOf } from './mutation.ts';
import type { EndpointTruth } from './observed.ts';
import { fileEndpoint, planSteps } from './plan.ts';
import { isVersionNumber, type TensorFlowServingConfig } from './schema.ts';
import { VersionFolderStore, versionsNamed } from './version-store.ts';

/** A list read together with what we changed in it; or why it could not be read. */
type Truth = { readonly base: BaseList; readonly memory: MemorySnapshot };

/** A change that was sent and whose answer got lost: nobody knows which of both states the server has. */
type Doubt = { readonly before: ModelState; readonly after: ModelState; readonly sinceMs: number };

/** What one endpoint shows of one model. `versions: null`: the server does not know the model. `route: null`: not asked. */
type Shown = {
  readonly versions: readonly VersionObservation[] | null;
  readonly route: RouteAnswer | null;
  readonly routes: Readonly<Record<string, string>>;
  readonly lostRoutes: readonly string[];
};

/** Parallel status calls per endpoint while all listed models are looked at. */
const maxParallelCalls = 32;

/** TensorFlow Serving: README.md says what it calls and what it cannot do. */
export class TensorFlowServingPlane implements ControlPlane {
  readonly #config: TensorFlowServingConfig;
  readonly #deps: PlaneDeps;
  readonly #patience: Patience;
  readonly #resolve: Resolve | undefined;
  readonly #memory: ChangeMemory;
  readonly #base: BaseListReader;
  readonly #clients = new Map<string, { readonly client: GrpcClient; readonly fingerprint: string }>();
  readonly #endpointLocks = new Map<string, Mutex>();
  /** Base list and memory are read, and the file and memory changed, as one. */
  readonly #truthLock = new Mutex();
  readonly #doubts = new Map<string, Doubt>();
  /** What was found out about doubts of other models, for the list under way. */
  readonly #resolved = new Map<string, ModelState>();
  #isClosed = false;

  constructor(config: TensorFlowServingConfig, deps: PlaneDeps, options: { resolve?: Resolve } = {}) {
    this.#config = config;
    this.#deps = deps;
    this.#patience = patienceFor(config.file_system_poll_wait);
    this.#resolve = options.resolve;
    this.#memory = new ChangeMemory(deps.memory);
    this.#base = new BaseListReader(config);
  }

  capabilities(): PlaneCapabilities {
    return { actuates: true, trafficSplit: false, compareAndSet: false, preSwitchSmoke: true, perVersionMetrics: false };
  }

  /** @throws {PlaneError} when no endpoint answers, or a `dns:///` name does not resolve */
  async observe(target: PlaneTarget, options: { thorough: boolean; isReverted?: boolean }, signal: AbortSignal): Promise<Observation> {
    signal.throwIfAborted();
    const model = nameOf(target);
    const clients = await this.#allClients();
    const truth = await this.#readTruth().catch((cause: unknown) => reasonOf(cause));
    const atMs = this.#deps.clock.nowMs();
    const onDisk = options.thorough && typeof truth !== 'string' ? await this.#versionsOnDisk(truth.base.entries.get(model)) : null;
    const classes = new Set<ErrorClass>();
    const endpoints = await Promise.all(clients.map(async (client) => this.#observeEndpoint(client, model, truth, onDisk, classes, signal)));
    signal.throwIfAborted();
    if (endpoints.every((endpoint) => endpoint.error !== undefined)) {
      const [only, ...others] = classes;
      throw new PlaneError(
        only !== undefined && others.length === 0 ? only : 'transient',
        `TensorFlow Serving: no endpoint can be read: ${endpoints.map((endpoint) => endpoint.error).join('; ')}`,
      );
    }
    const entry = typeof truth === 'string' ? undefined : truth.base.entries.get(model);
    const isPinned = entry !== undefined && typeof truth !== 'string' && endpoints.some(({ endpoint }) => truth.memory.isPinned(entry, endpoint));
    const refusals = options.thorough ? await this.#refusals({ model, truth, clients, endpoints, isReverted: options.isReverted ?? false }, signal) : [];
    return combine(atMs, endpoints, isPinned, refusals);
  }

  plan(_target: PlaneTarget, observation: Observation, desired: Desired): PlanResult {
    return planSteps(observation, desired, this.#fileToWrite());
  }

  async apply(_target: PlaneTarget, step: Step, options: { inverse: boolean; opId: string; epoch: number }, signal: AbortSignal): Promise<ApplyOutcome> {
    try {
      const mutation = mutationOf(step, options.inverse);
      if (mutation === null) return { kind: 'already', detail: 'there is nothing to take back' };
      if (signal.aborted) return notSent('transient', 'aborted before anything was sent');
      this.#memory.enterEpoch(options.epoch);
      if (mutation.op === 'persist') return await this.#truthLock.run(async () => this.#applyToFile(step, mutation));
      return await this.#lockOf(step.endpoint).run(async () => this.#applyToServer(step, mutation, options.inverse, signal));
    } catch (cause) {
      // Everything below sends one request, whose failures are answers: what is thrown was thrown before it.
      if (signal.aborted) return notSent('transient', 'aborted before anything was sent');
      if (cause instanceof PlaneError)
        return cause.class === 'conflict' ? { kind: 'conflict', class: 'conflict', detail: cause.message } : notSent(cause.class, cause.message);
      return notSent('permanent', reasonOf(cause));
    }
  }

  check(step: Step, before: Observation, now: Observation, sinceMs: number): StepCheck {
    return checkStep(step, before, now, sinceMs, this.#patience);
  }

  stores(): readonly VersionStore[] {
    return [
      new VersionFolderStore({
        entryOf: async (target) => await this.#entryOf(target),
        observe: async (target, signal) => await this.observe(target, { thorough: false }, signal),
      }),
    ];
  }

  /** @throws {PlaneError} when no endpoint answers */
  async signatures(target: PlaneTarget, version: string, signal: AbortSignal): Promise<readonly EndpointSignature[]> {
    if (!isVersionNumber(version)) return [];
    const clients = await this.#allClients();
    const failures: PlaneError[] = [];
    const found = await Promise.all(
      clients.map(async (client): Promise<EndpointSignature> => {
        try {
          return { endpoint: client.address, signature: await client.signature(nameOf(target), version, signal) };
        } catch (error) {
          signal.throwIfAborted();
          if (!(error instanceof PlaneError)) throw error;
          failures.push(error);
          return { endpoint: client.address, signature: null };
        }
      }),
    );
    const [failure] = failures;
    if (failure !== undefined && failures.length === clients.length) throw failure;
    return found;
  }

  /** The model's entry, with every version that the list or our changes of it name. */
  async #entryOf(target: PlaneTarget): Promise<{ entry: BaseEntry; named: readonly string[] }> {
    const { base, memory } = await this.#readTruth();
    const entry = base.entries.get(nameOf(target));
    if (entry === undefined) throw new PlaneError('permanent', `model ${nameOf(target)} is not in ${base.source}`);
    const addresses = await resolveAddresses(this.#config.endpoints, this.#resolve);
    const original = memory.original(entry.name);
    const states = [entry.state, ...addresses.map(({ name }) => memory.truth(entry, name)), ...(original === null ? [] : [original.state])];
    return { entry, named: states.flatMap(versionsNamed) };
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const { client } of this.#clients.values()) client.abort();
    this.#clients.clear();
  }

  /** Path of the file that a rollback is written to, `null` for none. */
  #fileToWrite(): string | null {
    return this.#config.write_back === false ? null : (this.#config.model_config_file ?? null);
  }

  #lockOf(endpoint: string): Mutex {
    const lock = this.#endpointLocks.get(endpoint) ?? new Mutex();
    this.#endpointLocks.set(endpoint, lock);
    return lock;
  }

  async #readTruth(): Promise<Truth> {
    return this.#truthLock.run(async () => this.#readTruthLocked());
  }

  async #readTruthLocked(): Promise<Truth> {
    const memory = this.#memory.snapshot();
    return { base: await this.#base.read(), memory };
  }

  /** A client per replica there is now; those that are gone, or whose certificates changed, are retired. */
  async #allClients(): Promise<readonly GrpcClient[]> {
    if (this.#isClosed) throw new PlaneError('permanent', 'the control plane is closed');
    const addresses = await resolveAddresses(this.#config.endpoints, this.#resolve);
    const clients = await Promise.all(addresses.map(async (address) => this.#clientFor(address)));
    for (const [name, { client }] of this.#clients) {
      if (addresses.some((address) => address.name === name)) continue;
      client.close();
      this.#clients.delete(name);
    }
    return clients;
  }

  async #clientFor(address: Address): Promise<GrpcClient> {
    const tls = this.#config.tls_config;
    const credentials = tls === undefined ? null : await readCredentials(tls);
    const fingerprint = credentials?.fingerprint ?? '';
    const known = this.#clients.get(address.name);
    if (known !== undefined && known.fingerprint === fingerprint) return known.client;
    known?.client.close();
    const serverName = tls?.server_name ?? address.serverName;
    const options =
      credentials === null ? null : { ...credentials.options, ...(serverName === null || serverName === undefined ? {} : { servername: serverName }) };
    const client = new GrpcClient(address.name, options, this.#config.timeout, this.#deps.onRequest);
    this.#clients.set(address.name, { client, fingerprint });
    return client;
  }

  async #show(client: GrpcClient, model: string, labels: readonly string[], signal: AbortSignal, wantsRoute = true): Promise<Shown> {
    const [versions, route, ...labelled] = await Promise.all([
      client.versions(model, signal),
      wantsRoute ? client.route(model, null, signal) : null,
      ...labels.map(async (label) => ({ label, answer: await client.route(model, label, signal) })),
    ]);
    const routes: [string, string][] = [];
    const lostRoutes: string[] = [];
    for (const { label, answer } of labelled) {
      if (answer.version === null) lostRoutes.push(label);
      else routes.push([label, answer.version]);
    }
    return { versions, route, routes: Object.fromEntries(routes), lostRoutes };
  }

  async #observeEndpoint(
    client: GrpcClient,
    model: string,
    truth: Truth | string,
    onDisk: readonly string[] | null,
    classes: Set<ErrorClass>,
    signal: AbortSignal,
  ): Promise<EndpointObservation> {
    const config = this.#truthFor(client.address, model, truth, onDisk);
    const labels = new Set([...Object.keys(config.truth?.labels ?? {}), ...Object.keys(config.original?.labels ?? {})]);
    try {
      const shown = await this.#show(client, model, [...labels], signal);
      const serving = shown.route?.version == null ? [] : [{ version: shown.route.version, share: 1 }];
      return { endpoint: client.address, versions: shown.versions ?? [], serving, routes: shown.routes, config };
    } catch (cause) {
      if (signal.aborted) throw cause;
      classes.add(cause instanceof PlaneError ? cause.class : 'transient');
      return { endpoint: client.address, versions: [], serving: [], routes: {}, config, error: reasonOf(cause) };
    }
  }

  #truthFor(endpoint: string, model: string, truth: Truth | string, onDisk: readonly string[] | null): EndpointTruth {
    const unknown = { model, truth: null, base: null, original: null, on_disk: onDisk };
    if (typeof truth === 'string') return { ...unknown, source: this.#config.model_config_file ?? 'model_config_list', problem: truth };
    const entry = truth.base.entries.get(model);
    const { source } = truth.base;
    if (entry === undefined)
      return { ...unknown, source, problem: `model ${model} is not in ${source} (found ${[...truth.base.entries.keys()].join(', ') || 'no model'})` };
    const original = truth.memory.original(model);
    const isOurs =
      original !== null &&
      (truth.memory.isPinned(entry, endpoint) ||
        truth.memory.change(entry, endpoint) !== null ||
        JSON.stringify(original.pin) === JSON.stringify(entry.state.policy));
    return {
      model,
      source,
      problem: null,
      truth: truth.memory.truth(entry, endpoint),
      base: entry.state,
      original: isOurs && original !== null ? original.state : null,
      on_disk: onDisk,
    };
  }

  /** Version folders under `base_path`, `null` when it cannot be read from here (another machine, a bucket). */
  async #versionsOnDisk(entry: BaseEntry | undefined): Promise<readonly string[] | null> {
    if (entry === undefined || !entry.basePath.startsWith('/')) return null;
    try {
      const folders = await readdir(entry.basePath, { withFileTypes: true });
      // The server takes 00000007 as version 7.
      return sortVersions(folders.filter((folder) => !folder.isFile() && /^\d{1,18}$/.test(folder.name)).map((folder) => String(BigInt(folder.name))));
    } catch {
      return null;
    }
  }

  // ---- is the list the truth?

  /** Reasons why sending the list would not be safe now. Looks twice where a server may just be on its way. */
  async #refusals(
    look: {
      readonly model: string;
      readonly truth: Truth | string;
      readonly clients: readonly GrpcClient[];
      readonly endpoints: readonly EndpointObservation[];
      readonly isReverted: boolean;
    },
    signal: AbortSignal,
  ): Promise<readonly string[]> {
    const { model, truth, clients, endpoints, isReverted } = look;
    if (typeof truth === 'string') return [truth];
    const refusals: string[] = [];
    if (!truth.base.entries.has(model)) refusals.push(this.#truthFor('', model, truth, null).problem ?? '');
    for (const endpoint of endpoints) if (endpoint.error !== undefined) refusals.push(`${endpoint.endpoint} cannot be read: ${endpoint.error}`);
    refusals.push(...(await missingFolders(truth.base)));
    const file = this.#fileToWrite();
    const obstacle = file === null ? null : await writeObstacle(file);
    if (obstacle !== null) refusals.push(obstacle);
    const readable = clients.filter((client) => endpoints.some((endpoint) => endpoint.endpoint === client.address && endpoint.error === undefined));
    // A late write of ours or another's: this model serves otherwise than the list says, which is why the list is sent again. The others must still agree.
    const asked = [...truth.base.entries.keys()].filter((name) => !isReverted || name !== model);
    refusals.push(...(await this.#contradictions(readable, truth, asked, model, signal)));
    if (!isReverted) refusals.push(...(await this.#disagreement(model, truth, readable, endpoints, signal)));
    return refusals;
  }

  /** Where a server does not look as the list says, of the models named; asked again after its poll before it counts. */
  async #contradictions(clients: readonly GrpcClient[], truth: Truth, models: readonly string[], own: string, signal: AbortSignal): Promise<readonly string[]> {
    const look = async (names: readonly string[]): Promise<ReadonlyMap<string, readonly string[]>> => {
      const found = new Map<string, string[]>();
      await forEachLimited(
        names.flatMap((name) => clients.map((client) => ({ name, client }))),
        maxParallelCalls,
        async ({ name, client }) => {
          const entry = truth.base.entries.get(name) as BaseEntry;
          const judgement = await this.#judge(client, entry, truth.memory.truth(entry, client.address), signal, name === own);
          if (judgement.kind === 'contradicts')
            found.set(name, [...(found.get(name) ?? []), `${client.address}: the list is not what the server serves: model ${name}: ${judgement.detail}`]);
        },
      );
      return found;
    };
    let found = await look(models);
    if (found.size > 0) {
      await this.#deps.clock.sleep(this.#patience.graceMs, signal);
      found = await look([...found.keys()]);
    }
    return [...found.values()].flat();
  }

  async #judge(client: GrpcClient, entry: BaseEntry, state: ModelState, signal: AbortSignal, wantsRoute = false): Promise<Judgement> {
    const shown = await this.#show(client, entry.name, Object.keys(state.labels), signal, wantsRoute);
    return judgeShown(state, shown, await this.#versionsOnDisk(entry));
  }

  /** Replicas with the same list must serve the same, once they had the time to follow. */
  async #disagreement(
    model: string,
    truth: Truth,
    clients: readonly GrpcClient[],
    endpoints: readonly EndpointObservation[],
    signal: AbortSignal,
  ): Promise<readonly string[]> {
    const entry = truth.base.entries.get(model);
    if (entry === undefined || clients.length < 2) return [];
    const groups = Map.groupBy(clients, (client) => JSON.stringify(truth.memory.truth(entry, client.address)));
    const differs = (names: readonly (string | undefined)[]): boolean => new Set(names).size > 1;
    const refusals: string[] = [];
    for (const group of groups.values()) {
      if (!differs(group.map((client) => endpoints.find((endpoint) => endpoint.endpoint === client.address)?.serving[0]?.version))) continue;
      await this.#deps.clock.sleep(this.#patience.graceMs, signal);
      const served = await Promise.all(group.map(async (client) => (await client.route(model, null, signal)).version ?? 'nothing'));
      if (differs(served))
        refusals.push(
          `the endpoints disagree on model ${model} although they have the same list: ${group.map((client, index) => `${client.address} serves ${served[index]}`).join(', ')}`,
        );
    }
    return refusals;
  }

  // ---- acting on a server

  async #applyToServer(step: Step, mutation: Mutation, isInverse: boolean, signal: AbortSignal): Promise<ApplyOutcome> {
    const clients = await this.#allClients();
    const client = clients.find((candidate) => candidate.address === step.endpoint);
    if (client === undefined)
      return {
        kind: 'conflict',
        class: 'conflict',
        detail: `${step.endpoint} is not an endpoint any more (found ${clients.map((other) => other.address).join(', ')})`,
      };
    const truth = await this.#readTruth();
    const entry = truth.base.entries.get(mutation.model);
    if (entry === undefined) return { kind: 'conflict', class: 'conflict', detail: `model ${mutation.model} is not in ${truth.base.source} any more` };

    const present = truth.memory.truth(entry, client.address);
    const shown = await this.#show(client, mutation.model, Object.keys(mutation.after.labels), signal);
    const isInDoubt = this.#doubts.has(doubtKey(client.address, mutation.model));
    const remember = (): MemoryPatch => this.#remember(truth, entry, clients, client.address, mutation);
    // After a lost answer the sight must tell both states apart; where it does not, the same list is sent again, which does no harm.
    const isKnown = isSameState(present, mutation.after) || (isInDoubt && !isVisible(null, mutation.before, shown));
    if (isKnown && isVisible(isInverse ? null : step, mutation.after, shown)) {
      return this.#settle(client, mutation, { kind: 'already', detail: `${client.address} shows it`, remember: remember() });
    }
    const obstacle = precondition(client.address, mutation, present, shown) ?? (await this.#othersObstacle(client, truth, mutation.model, signal));
    if (obstacle !== null) return obstacle;

    const list = this.#compose(truth, client.address, mutation);
    signal.throwIfAborted();
    const doubt: Doubt = { before: present, after: mutation.after, sinceMs: this.#deps.clock.nowMs() };
    const answer = await client.reload(list, this.#config.apply_timeout, signal);
    const outcome = outcomeOf(client.address, answer);
    if (outcome.kind === 'indeterminate') {
      this.#doubts.set(doubtKey(client.address, mutation.model), doubt);
      return outcome;
    }
    return outcome.kind === 'applied' ? this.#settle(client, mutation, { ...outcome, remember: remember() }) : outcome;
  }

  /** Ends a doubt and lets the next episode see the change before the journal shows it. */
  #settle(client: GrpcClient, mutation: Mutation, outcome: ApplyOutcome): ApplyOutcome {
    this.#doubts.delete(doubtKey(client.address, mutation.model));
    if ('remember' in outcome && outcome.remember !== undefined) this.#memory.lay(outcome.remember);
    return outcome;
  }

  #remember(truth: Truth, entry: BaseEntry, clients: readonly GrpcClient[], changed: string, mutation: Mutation): MemoryPatch {
    const truths = new Map(clients.map(({ address }) => [address, address === changed ? mutation.after : truth.memory.truth(entry, address)]));
    return rememberedAfter(truth.memory, entry, truths, this.#originalFor(truth, entry, clients, mutation));
  }

  /** The original from before our first pin; the present state when no pin of ours stands. */
  #originalFor(truth: Truth, entry: BaseEntry, clients: readonly GrpcClient[], mutation: Mutation): Original {
    const known = truth.memory.original(entry.name);
    const isOurs = clients.some(({ address }) => truth.memory.isPinned(entry, address) || truth.memory.change(entry, address) !== null);
    const state = known !== null && isOurs ? known.state : mutation.before;
    const pin = namedVersions(mutation.after.policy) === null ? (known?.pin ?? null) : mutation.after.policy;
    return { state, pin };
  }

  /** The whole list as it is the truth on one endpoint, with one model changed. */
  #compose(truth: Truth, endpoint: string, mutation: Mutation): ModelServerConfig {
    const list = clone(ModelServerConfigSchema, truth.base.config);
    const models = list.config.case === 'modelConfigList' ? list.config.value.config : [];
    for (const model of models) {
      const entry = truth.base.entries.get(model.name) as BaseEntry;
      setState(
        model,
        model.name === mutation.model ? mutation.after : (this.#resolved.get(doubtKey(endpoint, model.name)) ?? truth.memory.truth(entry, endpoint)),
      );
    }
    return list;
  }

  /** Why the rest of the list may not be sent: what the server serves of the other models is not what the list says. */
  async #othersObstacle(client: GrpcClient, truth: Truth, model: string, signal: AbortSignal): Promise<ApplyOutcome | null> {
    const others = [...truth.base.entries.keys()].filter((name) => name !== model);
    const certain: string[] = [];
    for (const name of others) {
      const key = doubtKey(client.address, name);
      this.#resolved.delete(key);
      const doubt = this.#doubts.get(key);
      if (doubt === undefined) {
        certain.push(name);
        continue;
      }
      const state = await this.#resolveDoubt(client, truth.base.entries.get(name) as BaseEntry, doubt, signal);
      if (state === null)
        return {
          kind: 'conflict',
          class: 'conflict',
          detail: `${client.address}: whether the last change of model ${name} took is not known yet; sending the list could undo it`,
        };
      this.#resolved.set(key, state);
    }
    const contradictions = await this.#contradictions([client], truth, certain, model, signal);
    if (contradictions.length > 0)
      return { kind: 'conflict', class: 'conflict', detail: `${contradictions.join('; ')}. Sending the list would change that; make the list true first` };
    return null;
  }

  /** Which of both states the server has, once it had the time to follow; `null` when it fits both. */
  async #resolveDoubt(client: GrpcClient, entry: BaseEntry, doubt: Doubt, signal: AbortSignal): Promise<ModelState | null> {
    const restMs = doubt.sinceMs + this.#patience.graceMs - this.#deps.clock.nowMs();
    if (restMs > 0) await this.#deps.clock.sleep(restMs, signal);
    const fits = async (state: ModelState): Promise<boolean> => (await this.#judge(client, entry, state, signal)).kind !== 'contradicts';
    const [before, after] = await Promise.all([fits(doubt.before), fits(doubt.after)]);
    if (before === after) return null;
    return after ? doubt.after : doubt.before;
  }

  // ---- the file

  async #applyToFile(step: Step, mutation: Mutation): Promise<ApplyOutcome> {
    const path = this.#fileToWrite();
    if (path === null || step.endpoint !== fileEndpoint(path))
      return { kind: 'conflict', class: 'conflict', detail: `${step.endpoint} is not the file to write any more` };
    const clients = await this.#allClients();
    const truth = await this.#readTruthLocked();
    const entry = truth.base.entries.get(mutation.model);
    const { file } = truth.base;
    if (entry === undefined || file === null)
      return { kind: 'conflict', class: 'conflict', detail: `model ${mutation.model} is not in ${truth.base.source} any more` };
    const isThere = isSameState(entry.state, mutation.after);
    if (!isThere && !isSameState(entry.state, mutation.before)) {
      return {
        kind: 'conflict',
        class: 'conflict',
        detail: `${path}: model ${mutation.model} is ${stateText(entry.state)}, expected ${stateText(mutation.before)}: somebody changed it`,
      };
    }
    const original = this.#originalFor(truth, entry, clients, mutation);
    // What the endpoints have stays; only what the file says of it changes, and with it what must be remembered beside it.
    const truths = new Map(clients.map(({ address }) => [address, truth.memory.truth(entry, address)]));
    if (!isThere) await replaceFile(path, file.text, editConfigFile(file, mutation.model, mutation.after));
    const written = (await this.#base.read()).entries.get(mutation.model);
    if (written === undefined || !isSameState(written.state, mutation.after))
      return { kind: 'conflict', class: 'conflict', detail: `${path}: somebody wrote it at the same time` };
    const remember = rememberedAfter(truth.memory, written, truths, original);
    this.#memory.lay(remember);
    return { kind: isThere ? 'already' : 'applied', detail: `${path} says ${stateText(mutation.after)}`, remember };
  }
}

function nameOf(target: PlaneTarget): string {
  const name = target.plane['model'];
  return typeof name === 'string' ? name : target.model;
}

function doubtKey(endpoint: string, model: string): string {
  return `${endpoint} ${model}`;
}

function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

function notSent(errorClass: ErrorClass, detail: string): ApplyOutcome {
  return { kind: 'rejected', class: errorClass, detail };
}

function judgeShown(state: ModelState, shown: Shown, onDisk: readonly string[] | null): Judgement {
  if (shown.versions === null)
    return { kind: 'contradicts', detail: 'the server does not know it; a list with a new name would hold up every later change until it loads' };
  const judgement = judgePolicy(
    state.policy,
    shown.versions,
    onDisk === null || shown.versions.every((version) => version.state !== 'available' || onDisk.includes(version.id)) ? onDisk : null,
  );
  if (judgement.kind !== 'matches') return judgement;
  for (const [label, version] of Object.entries(state.labels)) {
    if (shown.lostRoutes.includes(label)) return { kind: 'contradicts', detail: `label ${label} should lead to ${version}, but leads nowhere` };
    if (lookUp(shown.routes, label) !== version)
      return { kind: 'contradicts', detail: `label ${label} should lead to ${version}, but leads to ${lookUp(shown.routes, label)}` };
  }
  const newest = shown.versions.findLast((version) => version.state === 'available')?.id ?? null;
  if (shown.route !== null && shown.route.version !== newest) {
    return {
      kind: 'contradicts',
      detail: `clients get ${shown.route.version ?? 'nothing'}, but the newest loaded version is ${newest ?? 'none'}: is a load balancer in front of several servers?`,
    };
  }
  return judgement;
}

/** Whether the server looks as a state says (or is on its way there), and serves what a step expects. */
function isVisible(step: Step | null, state: ModelState, shown: Shown): boolean {
  if (judgePolicy(state.policy, shown.versions ?? [], null).kind === 'contradicts') return false;
  if (!Object.entries(state.labels).every(([label, version]) => lookUp(shown.routes, label) === version)) return false;
  return step?.expect.serving === undefined || shown.route?.version === step.expect.serving;
}

/** What must hold before this one model is changed; answers for the caller when it does not. */
function precondition(address: string, mutation: Mutation, present: ModelState, shown: Shown): ApplyOutcome | null {
  const { before, after, known } = mutation;
  if (!isSameState(present, before) && !isSameState(present, after)) {
    return {
      kind: 'conflict',
      class: 'conflict',
      detail: `${address}: model ${mutation.model} is ${stateText(present)} by the list, expected ${stateText(before)}: somebody changed it`,
    };
  }
  if (shown.versions === null)
    return {
      kind: 'conflict',
      class: 'conflict',
      detail: `${address} does not know model ${mutation.model}; a list with a new name would hold up every later change until it loads`,
    };
  const available = shown.versions.filter((version) => version.state === 'available').map((version) => version.id);
  const unexpected = known === undefined ? [] : available.filter((id) => !known.includes(id));
  if (unexpected.length > 0)
    return { kind: 'conflict', class: 'conflict', detail: `${address}: version ${unexpected.join(', ')} appeared since the plan was made` };
  const named = namedVersions(after.policy);
  if (named !== null && available.length > 0 && !named.some((id) => available.includes(id))) {
    return notSent('staging_needed', `${address}: none of ${named.join(', ')} is loaded; the list would take model ${mutation.model} down`);
  }
  const early = Object.entries(after.labels).find(([label, version]) => lookUp(present.labels, label) !== version && !available.includes(version));
  if (early !== undefined) return notSent('staging_needed', `${address}: label ${early[0]} cannot lead to version ${early[1]}, which is not loaded`);
  return null;
}

/**
 * Reference 6.3. After a rejection nothing is sent again: the server stores the rejected list (1.4, item 3), but loads and routes by
 * none of it, so the stored list does no harm, while sending "the truth" unasked would be one more write without a compare-and-set.
 */
function outcomeOf(address: string, answer: ReloadAnswer): ApplyOutcome {
  if (answer.kind === 'ok') return { kind: 'applied', detail: `${address} took the list` };
  if (answer.kind === 'unsent') return notSent('transient', `${address}: ${answer.message}; nothing was sent`);
  const detail = `${address}: HandleReloadConfigRequest answered ${answer.code}: ${answer.message}`;
  if (answer.kind === 'lost')
    return {
      kind: 'indeterminate',
      class: 'indeterminate',
      detail: `${address}: HandleReloadConfigRequest got no answer (${answer.code}: ${answer.message}); whether it took is not known`,
    };
  // The list was accepted; a model new to the server did not load. Nothing of ours is new, so the rest is in force.
  if (answer.code === 'UNKNOWN' && answer.message.includes('did not become available')) return { kind: 'applied', detail };
  const errorClass = answer.code === 'FAILED_PRECONDITION' && !answer.message.includes('not currently available') ? 'permanent' : classOf(answer.code);
  return errorClass === 'indeterminate' ? { kind: 'indeterminate', class: errorClass, detail } : notSent(errorClass, detail);
}

/** A missing folder of any model stops the server's poll for all. Told only where this machine sees the others, so shares the disk. */
async function missingFolders(base: BaseList): Promise<readonly string[]> {
  const found = await Promise.all(
    [...base.entries.values()]
      .filter((entry) => entry.basePath.startsWith('/'))
      .map(async (entry) => ({
        entry,
        state: await stat(entry.basePath).then(
          () => 'there' as const,
          (cause: NodeJS.ErrnoException) => (cause.code === 'ENOENT' ? ('missing' as const) : ('unknown' as const)),
        ),
      })),
  );
  if (!found.some(({ state }) => state === 'there')) return [];
  return found
    .filter(({ state }) => state === 'missing')
    .map(({ entry }) => `base_path ${entry.basePath} of model ${entry.name} does not exist: the server then polls no model at all, and no change takes`);
}

async function forEachLimited<T>(items: readonly T[], limit: number, work: (item: T) => Promise<void>): Promise<void> {
  const queue = items.values();
  await Promise.all(
    Array.from({ length: Math.min(limit, items.length) }, async () => {
      for (const item of queue) await work(item);
    }),
  );
}
