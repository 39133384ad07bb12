import { lookUp } from '../domain/lookup.ts';
import type { Model } from '../domain/model.ts';
import type { Observation } from '../domain/observation.ts';
import { type Clock, type Log, PlaneError, type VersionStore } from '../domain/ports.ts';
import { neededVersions, planRetention, type RetentionItem, type StoredVersion } from '../domain/retention.ts';
import { ApiError, type Request, type RetentionActions, type RetentionStoreView, type RetentionView } from '../web/api.ts';
import type { App } from './app.ts';
import { planeTarget } from './observer.ts';
import { describeFollower } from './stages/decide.ts';

/** How long one look or deletion may take. */
const timeoutMs = 60_000;

type StorePlan = { readonly store: VersionStore; readonly items: readonly RetentionItem[]; readonly error: string | null };

/** Deletes versions nobody can need any more, where a model's plane keeps them. What serves, is pointed to or may be gone back to stays. */
export class Retention implements RetentionActions {
  readonly #app: App;
  readonly #clock: Clock;
  readonly #log: Log;
  /** Models that are being looked after: two runs at once would each allow what the other takes. */
  readonly #busy = new Set<string>();

  constructor(app: App, deps: { clock: Clock; log: Log }) {
    this.#app = app;
    this.#clock = deps.clock;
    this.#log = deps.log;
  }

  /** What would be deleted now, and why the rest stays. @throws {ApiError} when that cannot be told */
  async plan(name: string): Promise<RetentionView> {
    const model = this.#model(name);
    const plans = await this.#plans(model, AbortSignal.timeout(timeoutMs));
    return view(
      model,
      plans.map((plan) => ({ plan, outcomes: new Map() })),
    );
  }

  /**
   * Deletes what `plan` shows. Each deletion is journalled before it is sent and after; before each, what serves is looked at again.
   * @throws {ApiError} when it may not run now
   */
  async run(name: string, request: Request): Promise<RetentionView> {
    const model = this.#model(name);
    if (this.#app.runtime.forceDryRun) throw new ApiError('conflict', 'not run: rollbackd was started with --dry-run');
    this.#refuseFollower();
    if (this.#busy.has(name)) throw new ApiError('conflict', `retention of ${name} is running already`);
    this.#busy.add(name);
    try {
      const done: { plan: StorePlan; outcomes: Map<string, string> }[] = [];
      for (const plan of await this.#plans(model, AbortSignal.timeout(timeoutMs))) {
        const outcomes = new Map<string, string>();
        done.push({ plan, outcomes });
        for (const item of plan.items.filter(({ keep }) => keep === null)) outcomes.set(item.version, await this.#delete(model, plan.store, item, request));
      }
      return view(model, done);
    } finally {
      this.#busy.delete(name);
    }
  }

  /** The scheduled run: deletes in `enforce`, else only says what it would do. Never throws. */
  async scheduled(name: string): Promise<void> {
    const model = this.#app.runtime.models.get(name);
    const mode = model?.retention?.mode ?? 'off';
    if (model === undefined || mode === 'off' || !this.#app.leadership.leads()) return;
    try {
      const isReal = mode === 'enforce' && !this.#app.runtime.forceDryRun;
      const { stores } = isReal ? await this.run(name, { by: 'rollbackd', reason: `schedule ${model.retention?.schedule ?? ''}` }) : await this.plan(name);
      for (const { store, versions, error } of stores) {
        const doomed = versions.filter(({ keep }) => keep === null).map(({ version }) => version);
        if (error === null) this.#log.info({ model: name, store, versions: doomed }, isReal ? 'versions deleted' : 'versions that would be deleted');
        else this.#log.warn({ model: name, store, detail: error }, 'versions could not be looked at; none was deleted there');
      }
    } catch (error) {
      this.#log.warn({ model: name, err: error }, 'retention did not run');
    }
  }

  /** The plan for every store; nothing of a model may be judged while a rollback is open or its plane cannot be seen. */
  async #plans(model: Model, signal: AbortSignal): Promise<readonly StorePlan[]> {
    const { retention } = model;
    if (retention === null) throw new ApiError('conflict', `model ${model.name} has no retention; add retention: {keep: 5} to it`);
    const { observation, stores } = await this.#look(model, signal);
    const listed = await Promise.all(stores.map(async (store) => ({ store, versions: await this.#list(store, model, signal) })));
    const needed = this.#needed(model, observation);
    return listed.map(({ store, versions }) => {
      if (typeof versions === 'string') return { store, items: [], error: versions };
      // What one store wants kept (an alias, a tag), the other keeps too.
      const others = listed.flatMap((other) =>
        other.store === store || typeof other.versions === 'string' ? [] : [{ store: other.store, versions: other.versions }],
      );
      // A store that cannot be asked might want anything kept.
      const blind = listed.find((other) => other.store !== store && other.store.isAuthority && typeof other.versions === 'string');
      if (blind !== undefined) {
        const why = typeof blind.versions === 'string' ? blind.versions : '';
        return { store, items: [], error: `${blind.store.name} cannot be asked what it wants kept: ${why}` };
      }
      const reasons = needed(store);
      const ofOthers = (id: string): string | null => {
        for (const other of others) {
          const named = other.store.idOf(planeTarget(model), id);
          const found = named === null ? undefined : other.versions.find((version) => version.id === named);
          if (found?.keep != null) return `${other.store.name}: ${found.keep}`;
        }
        return null;
      };
      return { store, items: planRetention(versions, (id) => reasons.get(id) ?? ofOthers(id), retention, this.#clock.nowMs()), error: null };
    });
  }

  async #look(model: Model, signal: AbortSignal): Promise<{ observation: Observation; stores: readonly VersionStore[] }> {
    const { runtime, memory } = this.#app;
    const open = memory.openEpisodes().find((episode) => episode.model === model.name);
    if (open !== undefined) throw new ApiError('conflict', `rollback ${open.id} of ${model.name} is under way; nothing is deleted meanwhile`);
    const stores = runtime.planes.get(model.controlPlane)?.stores?.() ?? [];
    if (stores.length === 0) throw new ApiError('conflict', `control plane ${model.controlPlane} keeps no versions that rollbackd could delete`);
    const observation = await runtime.observer.observe(model, { thorough: false }, signal);
    const blind = observation?.endpoints.find((endpoint) => endpoint.error !== undefined);
    if (observation === null || blind !== undefined)
      throw new ApiError(
        'unavailable',
        `what serves ${model.name} could not be confirmed: ${blind?.error ?? runtime.observer.failure(model.name) ?? 'no answer'}`,
      );
    return { observation, stores };
  }

  /** Per store: version as the store names it → why it must stay. */
  #needed(model: Model, observation: Observation): (store: VersionStore) => ReadonlyMap<string, string> {
    const { memory } = this.#app;
    const needed = neededVersions({ observation, policy: model.rollback, ledger: memory.ledger(model.name) });
    const { to } = model.rollback;
    const labelled = to.kind === 'label' ? observation.endpoints.flatMap(({ routes }) => lookUp(routes, to.label) ?? []) : [];
    const all = new Map([...needed, ...labelled.map((version): [string, string] => [version, 'it is the target of rollbacks (rollback.to)'])]);
    return (store) => {
      const named = [...all].flatMap(([version, reason]): [string, string][] => {
        const id = store.idOf(planeTarget(model), version);
        return id === null ? [] : [[id, reason]];
      });
      return new Map(named);
    };
  }

  async #list(store: VersionStore, model: Model, signal: AbortSignal): Promise<readonly StoredVersion[] | string> {
    try {
      return await store.list(planeTarget(model), signal);
    } catch (error) {
      if (error instanceof PlaneError) return error.message;
      throw error;
    }
  }

  /** @returns what became of it, in words */
  async #delete(model: Model, store: VersionStore, { version }: RetentionItem, { by, reason: why }: Request): Promise<string> {
    const { memory } = this.#app;
    const signal = AbortSignal.timeout(timeoutMs);
    const event = { type: 'version_retention' as const, model: model.name, store: store.name, version, by };
    this.#refuseFollower();
    // The world may have moved since the plan: a rollback begun, a version loaded.
    const { observation } = await this.#look(model, signal);
    const reason = this.#needed(model, observation)(store).get(version);
    if (reason !== undefined) return `kept: ${reason}`;
    await memory.append([{ ...event, atMs: this.#clock.nowMs(), state: 'begun', detail: why }]);
    const outcome = await store.delete(planeTarget(model), version, signal);
    const detail = outcome.detail ?? outcome.kind;
    const state = outcome.kind === 'applied' || outcome.kind === 'already' ? 'deleted' : outcome.kind === 'indeterminate' ? 'unknown' : 'kept';
    await memory.append([{ ...event, atMs: this.#clock.nowMs(), state, detail }]);
    if (state !== 'deleted') this.#log.warn({ model: model.name, store: store.name, version, detail }, 'version was not deleted');
    return state === 'deleted' ? detail : `${state}: ${detail}`;
  }

  /** Of several replicas the leader alone deletes. */
  #refuseFollower(): void {
    const words = describeFollower(this.#app.leadership);
    if (words !== null) throw new ApiError('unavailable', `${words}: ask the leader`);
  }

  #model(name: string): Model {
    const { models } = this.#app.runtime;
    const model = models.get(name);
    if (model === undefined) throw new ApiError('not_found', `no model "${name}"; there are: ${[...models.keys()].join(', ') || 'none'}`);
    return model;
  }
}

function view(model: Model, plans: readonly { readonly plan: StorePlan; readonly outcomes: ReadonlyMap<string, string> }[]): RetentionView {
  const stores = plans.map(({ plan: { store, items, error }, outcomes }): RetentionStoreView => {
    const versions = items.map(({ version, createdMs, keep }) => ({
      version,
      created: createdMs === null ? null : new Date(createdMs).toISOString(),
      keep,
      outcome: outcomes.get(version) ?? null,
    }));
    return { store: store.name, error, versions };
  });
  return { model: model.name, mode: model.retention?.mode ?? 'off', stores };
}
