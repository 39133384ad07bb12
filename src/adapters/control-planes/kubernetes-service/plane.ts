import type { z } from 'zod';
import { lookUp } from '../../../domain/lookup.ts';
import type { Observation } from '../../../domain/observation.ts';
import { type ControlPlane, type PlaneCapabilities, type PlaneDeps, PlaneError, type PlaneTarget } from '../../../domain/ports.ts';
import type { ApplyOutcome, Desired, PlanResult, Step, StepCheck } from '../../../domain/step.ts';
import { createKubernetesClient, type KubernetesClient } from '../../kubernetes/client.ts';
import { outcomeOf } from '../../kubernetes/errors.ts';
import { readGitOps } from '../../kubernetes/gitops-state.ts';
import { applyPause, checkPause, gitOpsMutationOf, withPauses } from '../../kubernetes/gitops-steps.ts';
import { annotate, guardedPatch, marks, pointer } from '../../kubernetes/guarded-patch.ts';
import { labelKey, labelTerms, selectorOf } from '../../kubernetes/label-selector.ts';
import { resourcePath } from '../../kubernetes/object.ts';
import { originOf } from '../../kubernetes/origin.ts';
import { lastWriterOf, writtenBy } from '../../kubernetes/owners.ts';
import { parseObject } from '../../kubernetes/parse-object.ts';
import { lackingRights, pauseRights, rightsOf } from '../../kubernetes/rights.ts';
import { conflict, rejected } from '../answers.ts';
import { checkStep } from './check.ts';
import { type Mutation, mutationOf } from './mutation.ts';
import { colourSchema, endpointSliceSchema, podSchema, serviceSchema } from './objects.ts';
import { type Colour, observationOf, type ServiceTruth, truthOf } from './observed.ts';
import { planSteps } from './plan.ts';
import { type KubernetesServiceConfig, kubernetesServiceKeys } from './schema.ts';

const services = { group: '', version: 'v1', resource: 'services' };
const pods = { group: '', version: 'v1', resource: 'pods' };
const deployments = { group: 'apps', version: 'v1', resource: 'deployments' };
const endpointSlices = { group: 'discovery.k8s.io', version: 'v1', resource: 'endpointslices' };

type Options = { readonly inverse: boolean; readonly opId: string };
type Pod = z.output<typeof podSchema>;

/** Services: README.md says what it calls and what it cannot do. */
export class KubernetesServicePlane implements ControlPlane {
  readonly #config: KubernetesServiceConfig;
  readonly #deps: PlaneDeps;
  readonly #client: KubernetesClient;
  /** By model: pages about its versions, as last observed. */
  readonly #origins = new Map<string, ReadonlyMap<string, Readonly<Record<string, string>>>>();

  constructor(config: KubernetesServiceConfig, deps: PlaneDeps) {
    this.#config = config;
    this.#deps = deps;
    this.#client = createKubernetesClient(config, deps);
  }

  capabilities(): PlaneCapabilities {
    return { actuates: true, trafficSplit: false, compareAndSet: true, preSwitchSmoke: false, perVersionMetrics: true };
  }

  async observe(target: PlaneTarget, options: { thorough: boolean }, signal: AbortSignal): Promise<Observation> {
    const keys = kubernetesServiceKeys.parse(target.plane);
    const namespace = keys.namespace ?? (await this.#client.defaultNamespace(signal));
    const name = keys.service ?? target.model;
    const label = keys.version_label;
    const atMs = this.#deps.clock.nowMs();
    const path = resourcePath(services, namespace, name);
    const object = await this.#client.get(path, signal);
    const what = `service ${namespace}/${name}`;
    const service = parseObject(serviceSchema, object, what);
    const base = Object.entries(service.spec.selector).filter(([key]) => key !== label);
    const [endpoints, found, colours, ownership] = await Promise.all([
      this.#list(endpointSlices, namespace, { labelSelector: selectorOf({ 'kubernetes.io/service-name': name }) }, endpointSliceSchema, signal),
      this.#list(pods, namespace, { labelSelector: [...labelTerms(Object.fromEntries(base)), labelKey(label)].join(',') }, podSchema, signal),
      this.#list(deployments, namespace, {}, colourSchema, signal),
      readGitOps(this.#client, { object, path, kind: 'Service', namespace, what }, this.#config, signal),
    ]);
    const versionOfPod = new Map(found.map((pod) => [pod.metadata.name, lookUp(pod.metadata.labels ?? {}, label) ?? '']));
    const present = found.filter((pod) => pod.metadata.deletionTimestamp === undefined);
    const addresses = new Map<string, string>();
    for (const endpoint of endpoints.flatMap((slice) => slice.endpoints ?? [])) {
      if (endpoint.conditions?.ready === false) continue;
      const version = versionOfPod.get(endpoint.targetRef?.name ?? '') ?? '';
      // A dual-stack Service has a slice per family, with the same pods.
      addresses.set(endpoint.targetRef?.name ?? endpoint.addresses.join(), version);
    }
    const mine = colours.filter(({ spec }) => base.every(([key, value]) => lookUp(spec.template.metadata.labels, key) === value));
    this.#origins.set(
      target.model,
      new Map(
        mine.map(({ metadata, spec: { template } }) => [
          lookUp(template.metadata.labels, label) ?? '',
          originOf(template.metadata.annotations, metadata.annotations),
        ]),
      ),
    );
    const selected = lookUp(service.spec.selector, label) ?? null;
    const truth: ServiceTruth = {
      namespace,
      service: name,
      uid: service.metadata.uid,
      label,
      min_ready: keys.min_ready,
      scale_up: keys.scale_up,
      selected,
      colours: coloursOf(mine, present, label),
      gitops: ownership.state,
    };
    const obstacles = [
      ...(selected === null
        ? [`the selector of ${what} has no "${label}" (version_label); it has: ${Object.keys(service.spec.selector).join(', ') || 'nothing'}`]
        : []),
      ...(base.length === 0
        ? [`the selector of ${what} has nothing beside "${label}": every pod of the namespace with that label would count; add app: …`]
        : []),
    ];
    const counts = {
      uid: service.metadata.uid,
      selected,
      ready: tally(present.filter(isReady).map((pod) => versionOfPod.get(pod.metadata.name) ?? '')),
      endpoints: tally([...addresses.values()]),
      writer: lastWriterOf(service.metadata, ['spec', 'selector']),
    };
    const podCounts = new Map(Object.entries(tally(present.map((pod) => versionOfPod.get(pod.metadata.name) ?? ''))));
    const observation = observationOf(atMs, truth, counts, podCounts, writtenBy(service.metadata, ['spec', 'selector']));
    return options.thorough ? { ...observation, refusals: [...ownership.refusals, ...obstacles], notes: ownership.notes } : observation;
  }

  plan(_target: PlaneTarget, observation: Observation, desired: Desired): PlanResult {
    const plan = planSteps(observation, desired);
    const [endpoint] = observation.endpoints;
    return endpoint?.error !== undefined || endpoint === undefined ? plan : withPauses(plan, desired, endpoint.endpoint, truthOf(endpoint).gitops);
  }

  async apply(target: PlaneTarget, step: Step, options: Options, signal: AbortSignal): Promise<ApplyOutcome> {
    const pause = gitOpsMutationOf(step, options.inverse);
    if (pause !== null) return await applyPause(this.#client, pause, options.opId, signal);
    const mutation = mutationOf(step, options.inverse);
    if (mutation === null) return { kind: 'already', detail: 'there is nothing to take back' };
    try {
      signal.throwIfAborted();
      return mutation.op === 'scale' ? await this.#scale(mutation, signal) : await this.#changeService(target, mutation, options, signal);
    } catch (error) {
      if (signal.aborted && !(error instanceof PlaneError)) return { kind: 'rejected', class: 'transient', detail: 'aborted before anything was sent' };
      return outcomeOf(error);
    }
  }

  check(step: Step, _before: Observation, now: Observation): StepCheck {
    const pause = gitOpsMutationOf(step);
    if (pause !== null) return checkPause(pause, now.endpoints[0] === undefined ? undefined : truthOf(now.endpoints[0]).gitops);
    return checkStep(step, now);
  }

  async missingRights(target: PlaneTarget, signal: AbortSignal): Promise<readonly string[]> {
    const keys = kubernetesServiceKeys.parse(target.plane);
    const namespace = keys.namespace ?? (await this.#client.defaultNamespace(signal));
    const own = [
      ...rightsOf(services, namespace, ['get', 'patch'], keys.service ?? target.model),
      ...[pods, endpointSlices, deployments].flatMap((resource) => rightsOf(resource, namespace, ['list'])),
    ];
    const missing = await lackingRights(this.#client, own, signal);
    if (missing.length > 0) return missing;
    const [endpoint] = (await this.observe(target, { thorough: false }, signal)).endpoints;
    if (endpoint === undefined) return [];
    const { gitops, colours } = truthOf(endpoint);
    const scaled = keys.scale_up ? colours.flatMap(({ deployment }) => deployment?.name ?? []) : [];
    const more = [...scaled.flatMap((name) => rightsOf(deployments, namespace, ['get', 'patch'], name)), ...pauseRights(gitops)];
    return await lackingRights(this.#client, more, signal);
  }

  origin({ model }: PlaneTarget, version: string): Readonly<Record<string, string>> {
    return this.#origins.get(model)?.get(version) ?? {};
  }

  async close(): Promise<void> {
    await this.#client.close();
  }

  async #changeService(target: PlaneTarget, mutation: Exclude<Mutation, { op: 'scale' }>, options: Options, signal: AbortSignal): Promise<ApplyOutcome> {
    const path = resourcePath(services, mutation.namespace, mutation.service);
    const read = await this.#client.find(path, signal);
    const what = `service ${mutation.namespace}/${mutation.service}`;
    if (read === null) return rejected('permanent', `${what} is not there`);
    if (read.metadata.uid !== mutation.uid) return conflict(`${what} was deleted and made anew`);
    const { label, from, to } = mutation;
    const selected = lookUp(parseObject(serviceSchema, read, 'service').spec.selector, label) ?? null;
    if (selected === to) return { kind: 'already', detail: `the Service already selects ${label}=${to}` };
    if (selected !== from) {
      const writer = lastWriterOf(read.metadata, ['spec', 'selector']);
      return conflict(`the Service selects ${label}=${selected ?? 'nothing'}, expected ${from}${writer === null ? '' : `: ${writer} wrote its selector last`}`);
    }
    // Right before traffic moves: a target that lost its pods since the plan would be a full outage, and the server would take it.
    const ready = await this.#readyPods(target, mutation, signal);
    if (ready < mutation.ready)
      return { kind: 'rejected', class: 'target_will_not_load', detail: `version ${to} has ${ready} ready pods now, expected ${mutation.ready} (min_ready)` };
    const values = options.inverse
      ? { [marks.opId]: null, [marks.from]: null, [marks.to]: null }
      : { [marks.opId]: options.opId, [marks.from]: from, [marks.to]: to };
    const operations = [
      { op: 'test', path: pointer('spec', 'selector', label), value: from } as const,
      { op: 'replace', path: pointer('spec', 'selector', label), value: to } as const,
      ...annotate(read.metadata.annotations, values),
    ];
    await guardedPatch(this.#client, path, { read, by: 'resourceVersion', operations }, signal);
    return { kind: 'applied' };
  }

  async #readyPods(target: PlaneTarget, { to }: Extract<Mutation, { op: 'select' }>, signal: AbortSignal): Promise<number> {
    const { token } = await this.observe(target, { thorough: false }, signal);
    const { ready } = JSON.parse(token ?? '{}') as { ready: Record<string, number> };
    return lookUp(ready, to) ?? 0;
  }

  async #scale(mutation: Extract<Mutation, { op: 'scale' }>, signal: AbortSignal): Promise<ApplyOutcome> {
    const path = resourcePath(deployments, mutation.namespace, mutation.deployment);
    const read = await this.#client.find(path, signal);
    const what = `deployment ${mutation.namespace}/${mutation.deployment}`;
    if (read === null) return rejected('permanent', `${what} is not there`);
    if (read.metadata.uid !== mutation.uid) return conflict(`${what} was deleted and made anew`);
    const { replicas } = parseObject(colourSchema, read, 'deployment').spec;
    if (replicas === mutation.to || (mutation.to > mutation.from && replicas > mutation.to)) return { kind: 'already', detail: `it has ${replicas} replicas` };
    if (replicas !== mutation.from)
      return conflict(`deployment ${mutation.deployment} has ${replicas} replicas, expected ${mutation.from}: somebody else scales it`);
    await guardedPatch(this.#client, path, { read, by: 'generation', operations: [{ op: 'replace', path: '/spec/replicas', value: mutation.to }] }, signal);
    return { kind: 'applied' };
  }

  async #list<Schema extends z.ZodType>(
    resource: typeof pods,
    namespace: string,
    query: Readonly<Record<string, string>>,
    schema: Schema,
    signal: AbortSignal,
  ): Promise<z.output<Schema>[]> {
    const { items } = await this.#client.list(resourcePath(resource, namespace), query, signal);
    return items.map((item) => parseObject(schema, item, `${resource.resource} ${namespace}/${item.metadata.name}`));
  }
}

function isReady(pod: Pod): boolean {
  return pod.status.conditions.some(({ type, status }) => type === 'Ready' && status === 'True');
}

/** Versions there are pods or Deployments of; a Deployment only where one alone has it. */
function coloursOf(found: readonly z.output<typeof colourSchema>[], present: readonly Pod[], label: string): Colour[] {
  const versionIn = ({ spec }: (typeof found)[number]): string | undefined => lookUp(spec.template.metadata.labels, label);
  const versions = new Set(
    [...found.map(versionIn), ...present.map((pod) => lookUp(pod.metadata.labels ?? {}, label))].filter(
      (version): version is string => version !== undefined && version !== '',
    ),
  );
  return [...versions].toSorted().map((version): Colour => {
    const [only, ...others] = found.filter((deployment) => versionIn(deployment) === version);
    if (only === undefined || others.length > 0) return { version, deployment: null };
    return { version, deployment: { name: only.metadata.name, uid: only.metadata.uid, replicas: only.spec.replicas } };
  });
}

function tally(values: readonly string[]): Record<string, number> {
  const counts = new Map<string, number>();
  for (const value of values.toSorted()) counts.set(value, (counts.get(value) ?? 0) + 1);
  return Object.fromEntries(counts);
}
