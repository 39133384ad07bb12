import type { z } from 'zod';
import type { Observation } from '../../../domain/observation.ts';
import type { ControlPlane, PlaneCapabilities, PlaneDeps, PlaneTarget } from '../../../domain/ports.ts';
import type { ApplyOutcome, Desired, PlanResult, Step, StepCheck } from '../../../domain/step.ts';
import { createKubernetesClient, type KubernetesClient } from '../../kubernetes/client.ts';
import { isStatus } from '../../kubernetes/errors.ts';
import { selectorOf } from '../../kubernetes/label-selector.ts';
import { type Resource, resourcePath } from '../../kubernetes/object.ts';
import { writtenBy } from '../../kubernetes/owners.ts';
import { lackingRights, rightsOf } from '../../kubernetes/rights.ts';
import { judgeResourceOwners, missingRight, patchResource, readObject, signed } from '../resource-patch.ts';
import { checkStep } from './check.ts';
import { isSameList, listText, mutationOf } from './mutation.ts';
import { deployment, type Mapping, mapping, seldonDeployment, type VirtualService, virtualService } from './objects.ts';
import { endpointName, entriesOf, type Found, toObservation } from './observed.ts';
import { listPatch, removedAnnotation } from './patch.ts';
import { planSteps } from './plan.ts';
import type { SeldonV1Config, seldonV1Keys } from './schema.ts';

const seldonDeployments: Resource = { group: 'machinelearning.seldon.io', version: 'v1', resource: 'seldondeployments' };
const deployments: Resource = { group: 'apps', version: 'v1', resource: 'deployments' };
/** Newest first: a cluster may know older ones only. */
const virtualServices: readonly Resource[] = ['v1', 'v1beta1'].map((version) => ({ group: 'networking.istio.io', version, resource: 'virtualservices' }));
const mappings: readonly Resource[] = ['v3alpha1', 'v2'].map((version) => ({ group: 'getambassador.io', version, resource: 'mappings' }));

/** Label of everything the operator makes for a SeldonDeployment. */
const ownerLabel = 'seldon-deployment-id';

/** Seldon Core v1: README.md says what it calls and what it cannot do. */
export class SeldonV1Plane implements ControlPlane {
  readonly #config: SeldonV1Config;
  readonly #deps: PlaneDeps;
  readonly #client: KubernetesClient;

  constructor(config: SeldonV1Config, deps: PlaneDeps) {
    this.#config = config;
    this.#deps = deps;
    this.#client = createKubernetesClient(config, deps);
  }

  capabilities(): PlaneCapabilities {
    return { actuates: true, trafficSplit: true, compareAndSet: true, preSwitchSmoke: true, perVersionMetrics: true };
  }

  /** @throws {PlaneError} when the API server does not answer, or there is no such SeldonDeployment */
  async observe(target: PlaneTarget, options: { thorough: boolean }, signal: AbortSignal): Promise<Observation> {
    signal.throwIfAborted();
    const { name, namespace } = await this.#named(target, signal);
    const selector = { labelSelector: selectorOf({ [ownerLabel]: name }) };
    const [stored, owned, routing] = await Promise.all([
      this.#client.get(resourcePath(seldonDeployments, namespace, name), signal),
      this.#client.list(resourcePath(deployments, namespace), selector, signal),
      this.#routing(namespace, name, selector, signal),
    ]);
    const found: Found = {
      sdep: readObject(seldonDeployment, stored, 'SeldonDeployment'),
      deployments: owned.items.map((item) => readObject(deployment, item, 'Deployment')),
      ...routing,
    };
    const endpoint = endpointName(namespace, name);
    const observation = toObservation(this.#deps.clock.nowMs(), endpoint, found, writtenBy(stored.metadata, ['spec']));
    if (!options.thorough) return observation;
    const owners = judgeResourceOwners(stored, this.#config.gitops, endpoint);
    return { ...observation, refusals: [...owners.refusals, ...(await this.#refusals(found, namespace, name, signal))], notes: owners.notes };
  }

  plan(_target: PlaneTarget, observation: Observation, desired: Desired): PlanResult {
    return planSteps(observation, desired);
  }

  async apply(target: PlaneTarget, step: Step, options: { inverse: boolean; opId: string; epoch: number }, signal: AbortSignal): Promise<ApplyOutcome> {
    const mutation = mutationOf(step, options.inverse);
    if (mutation === null) return { kind: 'already', detail: 'there is nothing to take back' };
    const path = async (): Promise<string> => {
      const { name, namespace } = await this.#named(target, signal);
      return resourcePath(seldonDeployments, namespace, name);
    };
    return await patchResource(this.#client, path, signal, (object) => {
      const sdep = readObject(seldonDeployment, object, 'SeldonDeployment');
      const present = entriesOf(sdep);
      if (isSameList(present, mutation.after)) return { kind: 'already', detail: `spec.predictors is ${listText(present)}` };
      if (!isSameList(present, mutation.before))
        return { kind: 'conflict', detail: `spec.predictors is ${listText(present)}, expected ${listText(mutation.before)}: somebody else changed it` };
      const patch = listPatch(sdep, mutation);
      if ('missing' in patch)
        return { kind: 'impossible', detail: `predictor ${patch.missing} cannot be put back: annotation ${removedAnnotation} does not hold it any more` };
      const writer = signed({ opId: options.opId, from: mutation.before.map((entry) => entry.name).join(','), to: step.expect.serving ?? '' });
      return {
        kind: 'patch',
        operations: patch.operations,
        annotations: { ...writer, [removedAnnotation]: patch.removed === '' ? null : patch.removed },
        detail: `spec.predictors set to ${listText(mutation.after)}`,
      };
    });
  }

  check(step: Step, _before: Observation, now: Observation): StepCheck {
    return checkStep(step, now);
  }

  async missingRights(target: PlaneTarget, signal: AbortSignal): Promise<readonly string[]> {
    const { name, namespace } = await this.#named(target, signal);
    const routing = {
      istio: rightsOf(virtualServices[0] as Resource, namespace, ['get'], name),
      ambassador: rightsOf(mappings[0] as Resource, namespace, ['list']),
    };
    const own = [...rightsOf(seldonDeployments, namespace, ['get', 'patch'], name), ...rightsOf(deployments, namespace, ['list'])];
    const { router } = this.#config;
    const missing = await lackingRights(this.#client, router === 'auto' ? own : [...own, ...routing[router]], signal);
    if (router !== 'auto') return missing;
    // One of the two is enough.
    const [istio, ambassador] = await Promise.all([routing.istio, routing.ambassador].map(async (rights) => await lackingRights(this.#client, rights, signal)));
    return istio?.length === 0 || ambassador?.length === 0 ? missing : [...missing, [...(istio ?? []), ...(ambassador ?? [])].join(', or ')];
  }

  async close(): Promise<void> {
    await this.#client.close();
  }

  async #named({ model, plane }: PlaneTarget, signal: AbortSignal): Promise<{ name: string; namespace: string }> {
    const { name, namespace } = plane as z.output<typeof seldonV1Keys>;
    return { name: name ?? model, namespace: namespace ?? (await this.#client.defaultNamespace(signal)) };
  }

  async #routing(
    namespace: string,
    name: string,
    selector: { labelSelector: string },
    signal: AbortSignal,
  ): Promise<{ virtualServices: readonly VirtualService[]; mappings: readonly Mapping[] }> {
    const { router } = this.#config;
    if (router !== 'ambassador') {
      const found = await this.#firstKnown(virtualServices, async (resource) => await this.#client.find(resourcePath(resource, namespace, name), signal));
      if (found !== null) return { virtualServices: [readObject(virtualService, found, 'VirtualService')], mappings: [] };
    }
    if (router === 'istio') return { virtualServices: [], mappings: [] };
    const found = await this.#firstKnown(mappings, async (resource) => await this.#client.list(resourcePath(resource, namespace), selector, signal));
    return { virtualServices: [], mappings: (found?.items ?? []).map((item) => readObject(mapping, item, 'Mapping')) };
  }

  /** Asks by the newest API version that the server knows; `null` when it knows none (or, with `router: auto`, forbids to look). */
  async #firstKnown<T>(resources: readonly Resource[], ask: (resource: Resource) => Promise<T | null>): Promise<T | null> {
    for (const resource of resources) {
      try {
        return await ask(resource);
      } catch (error) {
        if (isStatus(error, 404)) continue;
        if (isStatus(error, 403) && this.#config.router === 'auto') return null;
        throw error;
      }
    }
    return null;
  }

  async #refusals({ virtualServices: services, mappings: routes }: Found, namespace: string, name: string, signal: AbortSignal): Promise<readonly string[]> {
    const refusals: string[] = [];
    if (services.length === 0 && routes.length === 0)
      refusals.push(
        `neither a VirtualService nor Mappings of SeldonDeployment ${namespace}/${name} can be read (router: ${this.#config.router}); what is applied could not be confirmed. Grant get on virtualservices or list on mappings, or set router`,
      );
    refusals.push(...(await missingRight(this.#client, seldonDeployments, namespace, name, signal)));
    return refusals;
  }
}
