import type { EndpointObservation, Observation, VersionObservation } from '../../../domain/observation.ts';
import { type ControlPlane, type PlaneCapabilities, type PlaneDeps, PlaneError, type PlaneTarget } from '../../../domain/ports.ts';
import type { ApplyOutcome, Desired, PlanResult, Step, StepCheck } from '../../../domain/step.ts';
import { createKubernetesClient, type KubernetesClient } from '../../kubernetes/client.ts';
import { outcomeOf } from '../../kubernetes/errors.ts';
import { type GitOpsView, readGitOps } from '../../kubernetes/gitops-state.ts';
import { applyPause, gitOpsMutationOf, withPauses } from '../../kubernetes/gitops-steps.ts';
import { annotate, guardedPatch, marks } from '../../kubernetes/guarded-patch.ts';
import { type KubernetesObject, resourcePath } from '../../kubernetes/object.ts';
import { lastWriterOf, writerSince } from '../../kubernetes/owners.ts';
import { endpointSlices, readyEndpoints } from '../../kubernetes/ready-endpoints.ts';
import { lackingRights, rightsOf } from '../../kubernetes/rights.ts';
import { conflict, rejected } from '../answers.ts';
import { versionNames } from '../version-names.ts';
import { annotationChanges, canaryRules, canarySettings, hasCookieAffinity, isSameSettings, settingsText } from './canary-rules.ts';
import { checkStep } from './check.ts';
import { type Ingress, type Routing, readIngress, routingOf } from './ingress.ts';
import { type Mutation, mutationOf } from './mutation.ts';
import { neighbourFaults } from './neighbours.ts';
import { type IngressTruth, type Side, sharesOf, truthOf } from './observed.ts';
import { planSteps } from './plan.ts';
import { type IngressNginxConfig, type IngressNginxKeys, ingressNginxKeys } from './schema.ts';

const ingresses = { group: 'networking.k8s.io', version: 'v1', resource: 'ingresses' };

type Options = { readonly inverse: boolean; readonly opId: string };

/** Both Ingresses of a model, as they were read. */
type Pair = { readonly primary: Ingress; readonly canary: Ingress | null; readonly canaryObject: KubernetesObject | null; readonly routing: Routing };

/** Weights between a primary Ingress and its canary: README.md says what it calls and what it cannot do. */
export class IngressNginxPlane implements ControlPlane {
  readonly #config: IngressNginxConfig;
  readonly #deps: PlaneDeps;
  readonly #client: KubernetesClient;

  constructor(config: IngressNginxConfig, deps: PlaneDeps) {
    this.#config = config;
    this.#deps = deps;
    this.#client = createKubernetesClient(config, deps);
  }

  capabilities(): PlaneCapabilities {
    return { actuates: true, trafficSplit: true, compareAndSet: true, preSwitchSmoke: this.#config.smoke_before_switch, perVersionMetrics: false };
  }

  async observe(target: PlaneTarget, options: { thorough: boolean }, signal: AbortSignal): Promise<Observation> {
    signal.throwIfAborted();
    const keys = ingressNginxKeys.parse(target.plane);
    const names = namesOf(target, keys);
    const atMs = this.#deps.clock.nowMs();
    const pair = await this.#read(keys, names, signal);
    const owners = await this.#owners(keys, names, pair, signal);
    const truth: IngressTruth = { ...this.#truth(keys, names, pair), gitops: owners?.state ?? null };
    const sides = truth.canary === null ? [truth.primary] : [truth.primary, truth.canary];
    const versions = await Promise.all(sides.map(async (side) => await this.#lookAt(side, keys, signal)));
    const serving = sharesOf(truth);
    const endpoint: EndpointObservation = {
      endpoint: `ingress ${keys.namespace}/${names.primary}`,
      versions,
      serving,
      routes: {},
      config: truth,
      ...this.#writer(pair),
    };
    const token = JSON.stringify({ truth, versions });
    const observation = { atMs, endpoints: [endpoint], versions, serving, token, pinned: (owners?.state.paused.length ?? 0) > 0, refusals: [] };
    if (!options.thorough) return observation;
    const refusals = [...(owners?.refusals ?? []), ...(await this.#refusals(keys, pair, truth, signal))];
    return { ...observation, refusals, notes: owners?.notes ?? [] };
  }

  plan(_target: PlaneTarget, observation: Observation, desired: Desired): PlanResult {
    const plan = planSteps(observation, desired);
    const [endpoint] = observation.endpoints;
    const state = endpoint === undefined ? null : truthOf(endpoint).gitops;
    return endpoint === undefined || state === null ? plan : withPauses(plan, desired, endpoint.endpoint, state);
  }

  async apply(target: PlaneTarget, step: Step, options: Options, signal: AbortSignal): Promise<ApplyOutcome> {
    const pause = gitOpsMutationOf(step, options.inverse);
    if (pause !== null) return await applyPause(this.#client, pause, options.opId, signal);
    const mutation = mutationOf(step, options.inverse);
    if (mutation === null) return { kind: 'already', detail: 'there is nothing to take back' };
    try {
      signal.throwIfAborted();
      return await this.#apply(target, mutation, options, signal);
    } catch (error) {
      if (signal.aborted && !(error instanceof PlaneError)) return rejected('transient', 'aborted before anything was sent');
      return outcomeOf(error);
    }
  }

  check(step: Step, _before: Observation, now: Observation, sinceMs: number): StepCheck {
    return checkStep(step, now, sinceMs, this.#config.propagation);
  }

  async missingRights(target: PlaneTarget, signal: AbortSignal): Promise<readonly string[]> {
    const keys = ingressNginxKeys.parse(target.plane);
    const { primary, canary } = namesOf(target, keys);
    const rights = [
      ...rightsOf(ingresses, keys.namespace, ['get'], primary),
      ...rightsOf(ingresses, keys.namespace, ['get', 'patch'], canary),
      ...rightsOf(ingresses, keys.namespace, ['list']),
      ...rightsOf(endpointSlices, keys.namespace, ['list']),
    ];
    return await lackingRights(this.#client, rights, signal);
  }

  async close(): Promise<void> {
    await this.#client.close();
  }

  async #read(keys: IngressNginxKeys, names: ReturnType<typeof namesOf>, signal: AbortSignal): Promise<Pair> {
    const what = `ingress ${keys.namespace}/${names.primary}`;
    const [primaryObject, canaryObject] = await Promise.all([
      this.#client.get(resourcePath(ingresses, keys.namespace, names.primary), signal),
      this.#client.find(resourcePath(ingresses, keys.namespace, names.canary), signal),
    ]);
    const primary = readIngress(primaryObject, what);
    const canary = canaryObject === null ? null : readIngress(canaryObject, `ingress ${keys.namespace}/${names.canary}`);
    const isOn = canary !== null && canaryRules(this.#settings(canary)).isCanary;
    const routing = routingOf(primary, isOn ? canary : null, keys);
    if (typeof routing === 'string') throw new PlaneError('permanent', `${what}: ${routing}`);
    return { primary, canary, canaryObject, routing };
  }

  /** Who keeps the canary as git has it. */
  async #owners(keys: IngressNginxKeys, names: ReturnType<typeof namesOf>, { canaryObject: object }: Pair, signal: AbortSignal): Promise<GitOpsView | null> {
    if (object === null) return null;
    const path = resourcePath(ingresses, keys.namespace, names.canary);
    return await readGitOps(
      this.#client,
      { object, path, kind: 'Ingress', namespace: keys.namespace, what: `ingress ${keys.namespace}/${names.canary}` },
      this.#config,
      signal,
    );
  }

  /** Who wrote the weight since rollbackd did, or else any annotation. */
  #writer({ canaryObject }: Pair): Pick<EndpointObservation, 'writer'> {
    const meta = canaryObject?.metadata;
    if (meta === undefined) return {};
    const writer =
      writerSince(meta, ['metadata', 'annotations', `${this.#config.annotations_prefix}/canary-weight`]) ?? writerSince(meta, ['metadata', 'annotations']);
    return writer === null ? {} : { writer };
  }

  #settings({ annotations }: Pick<Ingress, 'annotations'>): ReturnType<typeof canarySettings> {
    return canarySettings(annotations, this.#config.annotations_prefix);
  }

  #truth(keys: IngressNginxKeys, names: ReturnType<typeof namesOf>, { primary, canary, canaryObject, routing }: Pair): IngressTruth {
    const { versionOf } = versionNames(keys);
    const sideOf = ({ name, uid }: Ingress, service: string): Side => ({ name, uid, service, version: versionOf(service) });
    const side = { ...sideOf(primary, routing.primaryService), is_sticky: hasCookieAffinity(primary.annotations, this.#config.annotations_prefix) };
    const base = { namespace: keys.namespace, primary: side, gitops: null };
    if (canary === null || canaryObject === null) return { ...base, canary: null, no_canary: null, notes: [] };
    const what = `ingress ${keys.namespace}/${names.canary}`;
    const settings = this.#settings(canary);
    const { isCanary, misreadings } = canaryRules(settings);
    if (!isCanary)
      return {
        ...base,
        canary: null,
        // What it makes of the same host and path then depends on which of the two is older.
        no_canary: `${what} is no canary (canary: ${JSON.stringify(settings.canary)}): it would stand beside the primary as a normal Ingress; write canary: "true" and canary-weight: "0", or delete it`,
        notes: [],
      };
    if (routing.canaryService === null) return { ...base, canary: null, no_canary: `${what}: ${routing.faults.join('; ')}`, notes: [] };
    const annotations = new Map(Object.entries(canary.annotations));
    return {
      ...base,
      canary: {
        ...sideOf(canary, routing.canaryService),
        settings,
        covers_all: routing.coversAll,
        marks: Object.fromEntries(Object.values(marks).map((mark) => [mark, annotations.get(mark) ?? null])),
      },
      no_canary: null,
      notes: misreadings.map((text) => `${what}: ${text}`),
    };
  }

  async #refusals(keys: IngressNginxKeys, { primary, canary, routing }: Pair, truth: IngressTruth, signal: AbortSignal): Promise<readonly string[]> {
    const what = `ingress ${keys.namespace}/${primary.name}`;
    const { items } = await this.#client.list(resourcePath(ingresses, keys.namespace), {}, signal);
    const others = items
      .filter(({ metadata }) => metadata.name !== primary.name && metadata.name !== canary?.name)
      .map((item) => readIngress(item, `ingress ${keys.namespace}/${item.metadata.name}`));
    const refusals = [...routing.faults, ...neighbourFaults(others, primary, routing, this.#config.annotations_prefix)].map((fault) => `${what}: ${fault}`);
    if (truth.no_canary !== null && routing.faults.length === 0) refusals.push(truth.no_canary);
    if (truth.canary !== null && truth.canary.version === truth.primary.version)
      refusals.push(
        `${what}: Services ${truth.primary.service} and ${truth.canary.service} are both version ${truth.primary.version}; name each under plane.versions`,
      );
    return refusals;
  }

  /** Accepted by everybody, a primary without endpoints is an outage. */
  async #lookAt({ service, version }: Side, { namespace, min_ready: wanted }: IngressNginxKeys, signal: AbortSignal): Promise<VersionObservation> {
    const { found, ready } = await readyEndpoints(this.#client, namespace, service, signal);
    if (ready.length >= wanted) return { id: version, state: 'available' };
    const where = `Service ${namespace}/${service}`;
    if (!found) return { id: version, state: 'absent', detail: `${where} has no EndpointSlice; does it exist, and does its selector match pods?` };
    const detail = `${where} has ${ready.length} ready endpoints, expected at least ${wanted} (min_ready); scale its Deployment up first`;
    return { id: version, state: 'unloaded', detail };
  }

  /** Looks, compares, and writes in one request that fails when the canary was written in between. */
  async #apply(target: PlaneTarget, mutation: Mutation, { inverse, opId }: Options, signal: AbortSignal): Promise<ApplyOutcome> {
    const what = `ingress ${mutation.namespace}/${mutation.canary}`;
    const path = resourcePath(ingresses, mutation.namespace, mutation.canary);
    const read = await this.#client.find(path, signal);
    if (read === null) return await this.#applyToNone(target, mutation, signal);
    if (read.metadata.uid !== mutation.canary_uid) return conflict(`${what} was deleted and created anew since the plan was made`);
    const annotations = read.metadata.annotations ?? {};
    const settings = this.#settings({ annotations });
    if (isSameSettings(settings, mutation.after)) return { kind: 'already', detail: `${what} has ${settingsText(settings)}` };
    if (!isSameSettings(settings, mutation.before)) {
      const writer = lastWriterOf(read.metadata, ['metadata', 'annotations']) ?? 'someone';
      return conflict(`${what} has ${settingsText(settings)}, expected ${settingsText(mutation.before)}: ${writer} changed it`);
    }
    const obstacle = inverse ? null : await this.#obstacle(target, mutation, signal);
    if (obstacle !== null) return obstacle;
    const values = {
      ...annotationChanges(settings, mutation.after, this.#config.annotations_prefix),
      ...(inverse ? mutation.marks : { [marks.opId]: opId, [marks.from]: mutation.from, [marks.to]: mutation.to }),
    };
    // Annotations do not move the generation of an Ingress.
    await guardedPatch(this.#client, path, { read, by: 'resourceVersion', operations: annotate(read.metadata.annotations, values) }, signal);
    return { kind: 'applied', detail: `${what} has ${settingsText(mutation.after)}` };
  }

  /** The canary is gone: all goes to the primary, if that is still the one. */
  async #applyToNone(target: PlaneTarget, mutation: Mutation, signal: AbortSignal): Promise<ApplyOutcome> {
    const { primary } = await this.#now(target, signal);
    const what = `ingress ${mutation.namespace}/${mutation.canary}`;
    if (mutation.is_emptied && isSamePrimary(primary, mutation)) return { kind: 'already', detail: `${what} is gone: all requests go to ${primary.service}` };
    return conflict(`${what} was deleted: there is nothing to change`);
  }

  async #now(target: PlaneTarget, signal: AbortSignal): Promise<IngressTruth> {
    const keys = ingressNginxKeys.parse(target.plane);
    const names = namesOf(target, keys);
    return this.#truth(keys, names, await this.#read(keys, names, signal));
  }

  /** Right before traffic moves: what must be there for it. */
  async #obstacle(target: PlaneTarget, mutation: Mutation, signal: AbortSignal): Promise<ApplyOutcome | null> {
    const keys = ingressNginxKeys.parse(target.plane);
    const { primary, canary } = await this.#now(target, signal);
    if (!isSamePrimary(primary, mutation) || canary === null)
      return conflict(
        `ingress ${keys.namespace}/${primary.name} leads to ${primary.service} now, or its canary is none any more: it was changed since the plan was made`,
      );
    // The primary's endpoints are needed for any canary weight.
    for (const side of mutation.is_emptied ? [primary] : [primary, canary]) {
      const { state, detail } = await this.#lookAt(side, keys, signal);
      if (state !== 'available')
        return rejected('target_will_not_load', `version ${side.version} cannot take traffic now: ${detail ?? state}; nothing was changed`);
    }
    return null;
  }
}

function isSamePrimary({ uid, service }: Side, mutation: Mutation): boolean {
  return uid === mutation.primary_uid && service === mutation.primary_service;
}

function namesOf(target: PlaneTarget, keys: IngressNginxKeys): { readonly primary: string; readonly canary: string } {
  const primary = keys.ingress ?? target.model;
  return { primary, canary: keys.canary ?? `${primary}-canary` };
}
