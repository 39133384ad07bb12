import { z } from 'zod';
import { lookUp } from '../../domain/lookup.ts';
import type { EndpointObservation, Observation, VersionObservation } from '../../domain/observation.ts';
import { type ControlPlane, type PlaneCapabilities, type PlaneDeps, PlaneError, type PlaneTarget } from '../../domain/ports.ts';
import type { ApplyOutcome, Desired, PlanResult, Step, StepCheck } from '../../domain/step.ts';
import type { KubernetesAccess } from '../kubernetes/access.ts';
import { type AccessQuestion, createKubernetesClient, type KubernetesClient } from '../kubernetes/client.ts';
import { outcomeOf } from '../kubernetes/errors.ts';
import { type GitOpsSettings, type GitOpsView, readGitOps } from '../kubernetes/gitops-state.ts';
import { applyPause, checkPause, gitOpsMutationOf, withPauses } from '../kubernetes/gitops-steps.ts';
import { guardedPatch } from '../kubernetes/guarded-patch.ts';
import type { KubernetesObject } from '../kubernetes/object.ts';
import { lastWriterOf, writtenBy } from '../kubernetes/owners.ts';
import { lackingRights, pauseRights } from '../kubernetes/rights.ts';
import {
  type Applied,
  checkWeights,
  configOf,
  type Entry,
  isSameList,
  listText,
  type Mutation,
  mutationOf,
  type Patience,
  planWeights,
  type RouteConfig,
  sharesOf,
  type WeightRules,
  weightOperations,
} from './weighted-route.ts';

/** The list of one model inside one object, as it stands there. */
export type Route = {
  readonly list: string;
  readonly guards: Readonly<Record<string, string | number>>;
  readonly entries: readonly Entry[];
  readonly addable: RouteConfig['addable'];
  readonly applied: Applied;
  /** Why these weights must not be moved; empty = nothing. */
  readonly refusals: readonly string[];
};

/** What one kind of object brings: how it is read, and how its destinations are looked at. */
export type RouteKind<Keys> = {
  /** Its kind: `HTTPRoute`. */
  readonly kind: string;
  readonly rules: WeightRules;
  readonly statusIsOptional: boolean;
  /** What people call it: `httproute shop/fraud`. */
  readonly nameOf: (keys: Keys, model: string) => string;
  readonly pathOf: (keys: Keys, model: string) => string;
  /** What observing and patching it takes. */
  readonly rights: (keys: Keys, model: string) => readonly AccessQuestion[];
  /** @returns the route, or why there is none for this model */
  readonly read: (object: KubernetesObject, keys: Keys) => Route | string;
  /** Whether each destination (of the list, and those that could be added) can take traffic. */
  readonly look: (client: KubernetesClient, route: Route, keys: Keys, signal: AbortSignal) => Promise<readonly VersionObservation[]>;
};

export type RouteSettings = KubernetesAccess &
  GitOpsSettings & {
    /** How long the proxies may take after the controller said yes, ms. */
    readonly propagation: number;
    readonly smoke_before_switch: boolean;
  };

/** What the journal keeps of a write: the generation it made, and the shares from before it. */
const ownWrite = z.object({ uid: z.string(), generation: z.number(), before: z.array(z.object({ version: z.string(), share: z.number() })) });
type OwnWrite = z.output<typeof ownWrite>;

/** Moves weights inside one Kubernetes object per model: HTTPRoute and VirtualService differ only in their `RouteKind`. */
export class WeightedRoutePlane<Keys> implements ControlPlane {
  readonly #kind: RouteKind<Keys>;
  readonly #settings: RouteSettings;
  readonly #deps: PlaneDeps;
  readonly #client: KubernetesClient;

  constructor(kind: RouteKind<Keys>, settings: RouteSettings, deps: PlaneDeps) {
    this.#kind = kind;
    this.#settings = settings;
    this.#deps = deps;
    this.#client = createKubernetesClient(settings, deps);
  }

  capabilities(): PlaneCapabilities {
    return { actuates: true, trafficSplit: true, compareAndSet: true, preSwitchSmoke: this.#settings.smoke_before_switch, perVersionMetrics: false };
  }

  async observe(target: PlaneTarget, options: { thorough: boolean }, signal: AbortSignal): Promise<Observation> {
    signal.throwIfAborted();
    const keys = this.#keys(target);
    const name = this.#kind.nameOf(keys, target.model);
    const path = this.#kind.pathOf(keys, target.model);
    const object = await this.#client.get(path, signal);
    const route = this.#route(object, target);
    const kept = { object, path, kind: this.#kind.kind, namespace: object.metadata.namespace ?? '', what: name };
    const [versions, owners] = await Promise.all([this.#kind.look(this.#client, route, keys, signal), readGitOps(this.#client, kept, this.#settings, signal)]);
    const { uid, generation } = object.metadata;
    const own = this.#ownWrite(name, uid);
    const isOurs = own !== null && own.generation === (generation ?? 0);
    // Until the controller took our own change, what serves is what served before it.
    const serving = isOurs && route.applied.kind === 'pending' ? own.before : sharesOf(route.entries, this.#kind.rules);
    const config: RouteConfig = {
      uid,
      list: route.list,
      guards: route.guards,
      entries: route.entries,
      addable: route.addable,
      applied: route.applied,
      writer: own === null || isOurs ? null : lastWriterOf(object.metadata, ['spec']),
      gitops: owners.state,
    };
    return {
      atMs: this.#deps.clock.nowMs(),
      endpoints: [{ endpoint: name, versions, serving, routes: {}, config, ...writtenBy(object.metadata, ['spec']) }],
      versions,
      serving,
      token: `${uid} ${generation ?? 0} ${route.applied.kind}`,
      pinned: owners.state.paused.length > 0,
      refusals: options.thorough ? this.#refusals(name, route, owners) : [],
      ...(options.thorough && { notes: owners.notes }),
    };
  }

  plan(_target: PlaneTarget, observation: Observation, desired: Desired): PlanResult {
    const [endpoint] = observation.endpoints;
    if (endpoint === undefined) return { kind: 'refused', reason: 'nothing was observed' };
    const plan = planWeights(endpoint, observation.versions, desired, this.#kind.rules);
    return withPauses(plan, desired, endpoint.endpoint, configOf(endpoint).gitops);
  }

  async apply(target: PlaneTarget, step: Step, options: { inverse: boolean; opId: string; epoch: number }, signal: AbortSignal): Promise<ApplyOutcome> {
    if (signal.aborted) return notSent('transient', `${step.name}: given up before anything was sent`);
    const pause = gitOpsMutationOf(step, options.inverse);
    if (pause !== null) return await applyPause(this.#client, pause, options.opId, signal);
    try {
      const mutation = mutationOf(step, options.inverse);
      if (mutation === null) return { kind: 'already', detail: 'nothing to take back' };
      return await this.#apply(target, mutation, options.inverse, signal);
    } catch (error) {
      if (error instanceof PlaneError) return outcomeOf(error);
      if (signal.aborted) return notSent('transient', `${step.name}: given up before anything was sent`);
      throw error;
    }
  }

  check(step: Step, before: Observation, now: Observation, sinceMs: number): StepCheck {
    const find = (observation: Observation): EndpointObservation | undefined => observation.endpoints.find(({ endpoint }) => endpoint === step.endpoint);
    const pause = gitOpsMutationOf(step);
    const present = find(now);
    if (pause !== null) return checkPause(pause, present === undefined ? undefined : configOf(present).gitops);
    return checkWeights(step, find(before), present, sinceMs, this.#patience());
  }

  async missingRights(target: PlaneTarget, signal: AbortSignal): Promise<readonly string[]> {
    const missing = await lackingRights(this.#client, this.#kind.rights(this.#keys(target), target.model), signal);
    if (missing.length > 0) return missing;
    const [endpoint] = (await this.observe(target, { thorough: false }, signal)).endpoints;
    return endpoint === undefined ? [] : await lackingRights(this.#client, pauseRights(configOf(endpoint).gitops), signal);
  }

  async close(): Promise<void> {
    await this.#client.close();
  }

  #keys(target: PlaneTarget): Keys {
    // The loader hands over what the kind's own schema gave.
    return target.plane as Keys;
  }

  #patience(): Patience {
    return { settleMs: this.#settings.propagation, statusIsOptional: this.#kind.statusIsOptional };
  }

  #route(object: KubernetesObject, target: PlaneTarget): Route {
    const keys = this.#keys(target);
    const route = this.#kind.read(object, keys);
    if (typeof route === 'string') throw new PlaneError('permanent', `${this.#kind.nameOf(keys, target.model)}: ${route}`);
    return route;
  }

  /** Our last write to this object, as the journal has it. */
  #ownWrite(name: string, uid: string): OwnWrite | null {
    const known = ownWrite.safeParse(lookUp(this.#deps.memory(), name));
    return known.success && known.data.uid === uid ? known.data : null;
  }

  #refusals(name: string, route: Route, owners: GitOpsView): readonly string[] {
    const refusals = [...owners.refusals, ...route.refusals.map((reason) => `${name}: ${reason}`)];
    if (sharesOf(route.entries, this.#kind.rules).length === 0) refusals.push(`${name}: all weights are 0, so nothing serves; give one destination a weight`);
    if (route.applied.kind === 'refused' || (route.applied.kind === 'pending' && !this.#kind.statusIsOptional))
      refusals.push(`${name}: what is applied is not known: ${route.applied.detail}`);
    return refusals;
  }

  /** Looks, compares, and writes in one request that fails when anything moved in between. */
  async #apply(target: PlaneTarget, mutation: Mutation, inverse: boolean, signal: AbortSignal): Promise<ApplyOutcome> {
    const keys = this.#keys(target);
    const name = this.#kind.nameOf(keys, target.model);
    const path = this.#kind.pathOf(keys, target.model);
    const object = await this.#client.get(path, signal);
    if (object.metadata.uid !== mutation.uid) return notSent('permanent', `${name} was deleted and created anew since the plan was made; nothing was changed`);
    const route = this.#route(object, target);
    if (route.list === mutation.list && isSameList(route.entries, mutation.after))
      return { kind: 'already', detail: `${name} has ${listText(mutation.after)}` };
    if (route.list !== mutation.list || !isSameList(route.entries, mutation.before))
      return {
        kind: 'conflict',
        class: 'conflict',
        detail: `${name} has ${listText(route.entries)}, expected ${listText(mutation.before)}: ${lastWriterOf(object.metadata, ['spec']) ?? 'someone'} changed it`,
      };
    const unready = inverse ? null : await this.#unready(route, mutation, keys, signal);
    if (unready !== null) return notSent('target_will_not_load', `${name}: ${unready}; nothing was changed`);
    const written = await guardedPatch(this.#client, path, { read: object, by: 'generation', operations: weightOperations(mutation) }, signal);
    const own: OwnWrite = { uid: mutation.uid, generation: written.metadata.generation ?? 0, before: sharesOf(mutation.before, this.#kind.rules) };
    return { kind: 'applied', detail: `${name} has ${listText(mutation.after)}`, remember: { [name]: own } };
  }

  /** A target that lost its endpoints since the plan is an outage if it gets the traffic. */
  async #unready(route: Route, mutation: Mutation, keys: Keys, signal: AbortSignal): Promise<string | null> {
    const versions = await this.#kind.look(this.#client, route, keys, signal);
    for (const { version, weight } of mutation.after) {
      if ((weight ?? 0) === 0) continue;
      const state = versions.find((candidate) => candidate.id === version);
      if (state?.state !== 'available') return `version ${version} cannot take traffic now: ${state?.detail ?? 'it is gone'}`;
    }
    return null;
  }
}

function notSent(errorClass: 'transient' | 'permanent' | 'target_will_not_load', detail: string): ApplyOutcome {
  return { kind: 'rejected', class: errorClass, detail };
}
