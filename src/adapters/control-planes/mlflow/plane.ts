import { commitPage } from '../../../domain/commit-page.ts';
import { lookUp } from '../../../domain/lookup.ts';
import type { Observation, VersionObservation } from '../../../domain/observation.ts';
import {
  type ControlPlane,
  type EndpointSignature,
  type PlaneCapabilities,
  type PlaneDeps,
  PlaneError,
  type PlaneTarget,
  type VersionStore,
} from '../../../domain/ports.ts';
import type { ModelSignature } from '../../../domain/signature.ts';
import type { ApplyOutcome, Desired, ErrorClass, PlanResult, Step, StepCheck } from '../../../domain/step.ts';
import type { MlflowRun, MlflowVersion } from '../../mlflow/answers.ts';
import { MlflowClient } from '../../mlflow/client.ts';
import { parseSignature } from '../../mlflow/signature.ts';
import { indeterminate, notSent } from '../answers.ts';
import { type AliasMutation, mutationOf, type TagsMutation } from './mutation.ts';
import { namesOf, registryVersion } from './names.ts';
import { checkStep, planSteps } from './plan.ts';
import type { MlflowConfig } from './schema.ts';
import { MlflowVersionStore } from './version-store.ts';

/** Runs of the newest versions are read in passing, a few at each observation: never while a decision waits. */
const runs = { newest: 50, atOnce: 4 };

/** Pages of versions read at each observation, and when it is thorough. */
const pages = { quick: 1, thorough: 20 };

/** MLflow's registry: README.md says what it calls and what it cannot do. */
export class MlflowPlane implements ControlPlane {
  readonly #config: MlflowConfig;
  readonly #client: MlflowClient;
  readonly #deps: PlaneDeps;
  readonly #store: MlflowVersionStore;
  /** By run; `null`: it cannot be read. */
  readonly #runs = new Map<string, MlflowRun | null>();
  /** By version: its run. */
  readonly #runOf = new Map<string, string>();
  readonly #signatures = new Map<string, ModelSignature>();
  #isClosed = false;

  constructor(config: MlflowConfig, deps: PlaneDeps) {
    this.#config = config;
    this.#deps = deps;
    this.#client = new MlflowClient(config, deps);
    this.#store = new MlflowVersionStore(this.#client);
  }

  capabilities(): PlaneCapabilities {
    return { actuates: this.#aliasIsTraffic, trafficSplit: false, compareAndSet: false, preSwitchSmoke: false, perVersionMetrics: false };
  }

  async observe(target: PlaneTarget, options: { thorough: boolean }, signal: AbortSignal): Promise<Observation> {
    signal.throwIfAborted();
    if (this.#isClosed) throw new PlaneError('permanent', 'the control plane is closed');
    const { registeredModel, alias } = namesOf(target);
    const atMs = this.#deps.clock.nowMs();
    const [aliases, found] = await this.#read(registeredModel, options.thorough ? pages.thorough : pages.quick, signal);
    if (!options.thorough) await this.#readRuns(registeredModel, found, signal);
    const routes = this.#withAlias(aliases, alias);
    const present = lookUp(routes, alias) ?? null;
    const versions = found.map((version) => toObservation(version, present));
    // Servers may have loaded a version before somebody deleted it.
    if (present !== null && !versions.some(({ id }) => id === present)) versions.unshift(await this.#missing(registeredModel, present, signal));
    const serving = present === null ? [] : [{ version: present, share: 1 }];
    const config = { registered_model: registeredModel, alias, version: present };
    return {
      atMs,
      endpoints: [{ endpoint: this.#client.name, versions, serving, routes, config }],
      versions,
      serving,
      // Reads and writes are apart: equal tokens say that nothing moved, not that a write would meet this state.
      token: JSON.stringify([present, versions.map(({ id, state }) => [id, state])]),
      pinned: false,
      refusals: [],
    };
  }

  plan(target: PlaneTarget, observation: Observation, desired: Desired): PlanResult {
    return planSteps(target, observation, desired, this.#aliasIsTraffic);
  }

  async apply(_target: PlaneTarget, step: Step, options: { inverse: boolean; opId: string; epoch: number }, signal: AbortSignal): Promise<ApplyOutcome> {
    try {
      const mutation = mutationOf(step, options.inverse);
      if (mutation === null) return { kind: 'already', detail: 'there is nothing to take back' };
      if (signal.aborted) return { kind: 'rejected', class: 'transient', detail: 'aborted before anything was sent' };
      return mutation.op === 'alias' ? await this.#moveAlias(mutation, signal) : await this.#writeTags(mutation, options.opId, signal);
    } catch (cause) {
      if (!(cause instanceof PlaneError)) return { kind: 'rejected', class: 'permanent', detail: cause instanceof Error ? cause.message : String(cause) };
      return cause.class === 'indeterminate' ? indeterminate(cause.message) : notSent(cause);
    }
  }

  check(step: Step, _before: Observation, now: Observation): StepCheck {
    return checkStep(step, now);
  }

  stores(): readonly VersionStore[] {
    return [this.#store];
  }

  origin(target: PlaneTarget, version: string): Readonly<Record<string, string>> {
    const registered = registryVersion(target, version);
    if (registered === null) return {};
    const { registeredModel, repository } = namesOf(target);
    const page = { mlflow: this.#client.versionPage(registeredModel, registered) };
    const run = this.#runs.get(this.#runOf.get(keyOf(registeredModel, registered)) ?? '');
    if (run === undefined || run === null) return page;
    const tags = new Map(run.data.tags.map(({ key, value }) => [key, value]));
    const commit = commitPage(repository ?? tags.get('mlflow.source.git.repoURL') ?? '', tags.get('mlflow.source.git.commit') ?? '');
    return { ...page, mlflow_run: this.#client.runPage(run.info.experiment_id, run.info.run_id), ...(commit === null ? {} : { commit }) };
  }

  /** For links only: what cannot be read is left out. */
  async #readRuns(model: string, versions: readonly MlflowVersion[], signal: AbortSignal): Promise<void> {
    const newest = versions.slice(0, runs.newest).filter(({ run_id: id }) => id !== '');
    for (const { version, run_id: id } of newest) this.#runOf.set(keyOf(model, version), id);
    const unread = newest.filter(({ run_id: id }) => !this.#runs.has(id)).slice(0, runs.atOnce);
    await Promise.all(
      unread.map(async ({ run_id: id }) => {
        try {
          this.#runs.set(id, await this.#client.run(id, signal));
        } catch (error) {
          signal.throwIfAborted();
          if (!(error instanceof PlaneError)) throw error;
          if (error.class === 'auth' || error.class === 'permanent') this.#runs.set(id, null);
        }
      }),
    );
  }

  /** What does not change of a version is read once. */
  async signatures(target: PlaneTarget, version: string, signal: AbortSignal): Promise<readonly EndpointSignature[]> {
    const registered = registryVersion(target, version);
    if (registered === null) return [];
    const { registeredModel } = namesOf(target);
    const key = keyOf(registeredModel, registered);
    const known = this.#signatures.get(key);
    const signature = known === undefined ? await this.#signatureOf(registeredModel, registered, signal) : known;
    // One that is not there yet may still be uploaded.
    if (signature !== null) this.#signatures.set(key, signature);
    return [{ endpoint: this.#client.name, signature }];
  }

  async #signatureOf(model: string, version: string, signal: AbortSignal): Promise<ModelSignature | null> {
    const file = await this.#client.modelFile(model, version, signal);
    if (file === null) return null;
    try {
      return parseSignature(file);
    } catch (cause) {
      this.#deps.log.warn({ model, version, err: cause }, 'MLmodel holds a signature that is not understood; it is not compared');
      return null;
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#client.close();
  }

  get #aliasIsTraffic(): boolean {
    return this.#config.alias_is_traffic === true;
  }

  async #read(name: string, maxPages: number, signal: AbortSignal): Promise<readonly [Readonly<Record<string, string>>, readonly MlflowVersion[]]> {
    try {
      return await Promise.all([this.#client.aliases(name, signal), this.#client.versions(name, maxPages, signal)]);
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    }
  }

  /** Whether `Champion` is `champion` is up to the server's database: ours is found under either, and shown as it is written here. */
  #withAlias(aliases: Readonly<Record<string, string>>, alias: string): Readonly<Record<string, string>> {
    if (lookUp(aliases, alias) !== undefined) return aliases;
    const alike = Object.entries(aliases).find(([name]) => name.toLowerCase() === alias.toLowerCase());
    return alike === undefined ? aliases : Object.fromEntries([...Object.entries(aliases).filter(([name]) => name !== alike[0]), [alias, alike[1]]]);
  }

  async #missing(name: string, version: string, signal: AbortSignal): Promise<VersionObservation> {
    const found = await this.#client.version(name, version, signal);
    return found === null
      ? { id: version, state: 'absent', detail: 'the alias dangles: MLflow has no such version (any more)' }
      : toObservation(found, version);
  }

  /** Read, check, write, read: MLflow has no compare-and-set. Who else moves it is told, not fought. */
  async #moveAlias({ model, alias, before, after }: AliasMutation, signal: AbortSignal): Promise<ApplyOutcome> {
    const present = lookUp(this.#withAlias(await this.#client.aliases(model, signal), alias), alias) ?? null;
    if (present === after) return { kind: 'already', detail: `alias ${alias} points to ${after ?? 'nothing'}` };
    if (present !== before)
      return foreign(
        `alias ${alias} of ${model} points to ${present ?? 'nothing'}, not to ${before ?? 'nothing'}: someone else moved it, and it is left alone`,
      );
    if (after === null) {
      await this.#client.deleteAlias(model, alias, signal);
    } else {
      const obstacle = await this.#obstacle(model, after, signal);
      if (obstacle !== null) return obstacle;
      await this.#client.setAlias(model, alias, after, signal);
    }
    const now = await this.#readBack(async () => lookUp(this.#withAlias(await this.#client.aliases(model, signal), alias), alias) ?? null);
    if (now === after) return { kind: 'applied', detail: `alias ${alias} points to ${after ?? 'nothing'}` };
    return foreign(
      `alias ${alias} of ${model} was set to ${after ?? 'nothing'} and points to ${now ?? 'nothing'} now: someone else moves it too, and it is left alone`,
    );
  }

  /** Why the alias may not be put on a version. */
  async #obstacle(model: string, version: string, signal: AbortSignal): Promise<ApplyOutcome | null> {
    const found = await this.#client.version(model, version, signal);
    if (found === null) return { kind: 'rejected', class: 'permanent', detail: `MLflow has no version ${version} of registered model ${model}` };
    if (found.status === 'READY') return null;
    const errorClass: ErrorClass = found.status === 'PENDING_REGISTRATION' ? 'staging_needed' : 'target_will_not_load';
    return {
      kind: 'rejected',
      class: errorClass,
      detail: `version ${version} of ${model} is ${found.status}${found.status_message === '' ? '' : `: ${found.status_message}`}`,
    };
  }

  async #writeTags({ model, version, tags }: TagsMutation, opId: string, signal: AbortSignal): Promise<ApplyOutcome> {
    const wanted = { ...tags, 'rollbackd.op_id': opId.split('/')[0] ?? opId };
    const missing = async (): Promise<readonly [string, string][] | null> => {
      const found = await this.#client.version(model, version, signal);
      if (found === null) return null;
      const present = new Map(found.tags.map(({ key, value }) => [key, value]));
      return Object.entries(wanted).filter(([key, value]) => present.get(key) !== value);
    };
    const before = await missing();
    if (before === null) return { kind: 'rejected', class: 'permanent', detail: `MLflow has no version ${version} of registered model ${model}` };
    if (before.length === 0) return { kind: 'already', detail: 'the tags are there' };
    const at: [string, string] = ['rollbackd.at', new Date(this.#deps.clock.nowMs()).toISOString()];
    for (const [key, value] of [...before, at]) await this.#client.setVersionTag(model, version, key, value, signal);
    const after = await this.#readBack(missing);
    if (after !== null && after.length === 0) return { kind: 'applied', detail: Object.keys(wanted).join(', ') };
    return foreign(`the tags of version ${version} of ${model} were written and are others now: someone else writes them too`);
  }

  /** What was written was answered with yes: a failure to look says nothing against it. */
  async #readBack<T>(read: () => Promise<T>): Promise<T> {
    try {
      return await read();
    } catch (cause) {
      if (cause instanceof PlaneError) throw new PlaneError('indeterminate', `written, but it cannot be read back: ${cause.message}`, { cause });
      throw cause;
    }
  }
}

function keyOf(model: string, version: string): string {
  return JSON.stringify([model, version]);
}

/** A conflict that trying again would only fight. */
function foreign(detail: string): ApplyOutcome {
  return { kind: 'conflict', class: 'permanent', detail };
}

/** What is registered is not loaded: only the version that the alias points to counts as held by somebody. */
function toObservation({ version, status, status_message: words }: MlflowVersion, aliased: string | null): VersionObservation {
  const detail = words === '' ? {} : { detail: words };
  if (status === 'READY') return { id: version, state: version === aliased ? 'available' : 'unloaded' };
  if (status === 'PENDING_REGISTRATION') return { id: version, state: 'pending', ...detail };
  return { id: version, state: 'failed', ...detail, ...(words === '' ? { detail: status } : {}) };
}
