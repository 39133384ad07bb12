import type { Observation } from '../../../domain/observation.ts';
import { type ControlPlane, type PlaneCapabilities, type PlaneDeps, PlaneError, type PlaneTarget } from '../../../domain/ports.ts';
import type { ApplyOutcome, Desired, PlanResult, Step, StepCheck } from '../../../domain/step.ts';
import { createKubernetesClient, type JsonPatchOperation, type KubernetesClient } from '../../kubernetes/client.ts';
import { outcomeOf } from '../../kubernetes/errors.ts';
import { readGitOps } from '../../kubernetes/gitops-state.ts';
import { applyPause, checkPause, gitOpsMutationOf, withPauses } from '../../kubernetes/gitops-steps.ts';
import { annotate, guardedPatch, marks } from '../../kubernetes/guarded-patch.ts';
import { type KubernetesObject, resourcePath } from '../../kubernetes/object.ts';
import { lastWriterOf, writtenBy } from '../../kubernetes/owners.ts';
import { parseObject } from '../../kubernetes/parse-object.ts';
import { lackingRights, pauseRights, rightsOf } from '../../kubernetes/rights.ts';
import { conflict, rejected } from '../answers.ts';
import { selectorText } from '../pod-template.ts';
import { controlledBy, type ReplicaSet, replicaSetSchema } from '../replica-sets.ts';
import { checkStep } from './check.ts';
import { type Mutation, mutationOf } from './mutation.ts';
import { deploymentSchema, hashOf, isSameTemplate, withoutHash } from './objects.ts';
import { observationOf, originsOf, truthOf } from './observed.ts';
import { planSteps } from './plan.ts';
import { type KubernetesDeploymentConfig, kubernetesDeploymentKeys } from './schema.ts';

const deployments = { group: 'apps', version: 'v1', resource: 'deployments' };
const replicaSets = { group: 'apps', version: 'v1', resource: 'replicasets' };

type Options = { readonly inverse: boolean; readonly opId: string };

/** Deployments: README.md says what it calls and what it cannot do. */
export class KubernetesDeploymentPlane implements ControlPlane {
  readonly #config: KubernetesDeploymentConfig;
  readonly #deps: PlaneDeps;
  readonly #client: KubernetesClient;
  /** By model: pages about its versions, as last observed. */
  readonly #origins = new Map<string, ReadonlyMap<string, Readonly<Record<string, string>>>>();

  constructor(config: KubernetesDeploymentConfig, deps: PlaneDeps) {
    this.#config = config;
    this.#deps = deps;
    this.#client = createKubernetesClient(config, deps);
  }

  capabilities(): PlaneCapabilities {
    return { actuates: true, trafficSplit: false, compareAndSet: true, preSwitchSmoke: false, perVersionMetrics: true };
  }

  async observe(target: PlaneTarget, options: { thorough: boolean }, signal: AbortSignal): Promise<Observation> {
    const keys = kubernetesDeploymentKeys.parse(target.plane);
    const namespace = keys.namespace ?? (await this.#client.defaultNamespace(signal));
    const name = keys.deployment ?? target.model;
    const atMs = this.#deps.clock.nowMs();
    const found = await this.#client.get(resourcePath(deployments, namespace, name), signal);
    const deployment = parseObject(deploymentSchema, found, `deployment ${namespace}/${name}`);
    const query = { labelSelector: selectorText(deployment.spec.selector) };
    const { items } = await this.#client.list(resourcePath(replicaSets, namespace), query, signal);
    const sets = controlledBy(items, deployment.metadata.uid).map((item) =>
      parseObject(replicaSetSchema, item, `replicaset ${namespace}/${item.metadata.name}`),
    );
    const kept = { object: found, path: resourcePath(deployments, namespace, name), kind: 'Deployment', namespace, what: `deployment ${namespace}/${name}` };
    const { state: gitops, notes, ...ownership } = await readGitOps(this.#client, kept, this.#config, signal);
    const refusals = [...ownership.refusals, ...obstaclesOf(deployment.spec, deployment.metadata.deletionTimestamp)];
    this.#origins.set(target.model, originsOf({ sets, versionFrom: keys.version_from }));
    const writer = lastWriterOf(deployment.metadata, ['spec', 'template']);
    const read = { namespace, deployment, sets, versionFrom: keys.version_from, gitops, writer };
    const observation = observationOf(atMs, read, writtenBy(deployment.metadata, ['spec', 'template']));
    return options.thorough ? { ...observation, refusals, notes } : observation;
  }

  plan(_target: PlaneTarget, observation: Observation, desired: Desired): PlanResult {
    const plan = planSteps(observation, desired);
    const [endpoint] = observation.endpoints;
    return endpoint?.error !== undefined || endpoint === undefined ? plan : withPauses(plan, desired, endpoint.endpoint, truthOf(endpoint).gitops);
  }

  async apply(_target: PlaneTarget, step: Step, options: Options, signal: AbortSignal): Promise<ApplyOutcome> {
    const pause = gitOpsMutationOf(step, options.inverse);
    if (pause !== null) return await applyPause(this.#client, pause, options.opId, signal);
    const mutation = mutationOf(step, options.inverse);
    if (mutation === null) return { kind: 'already', detail: 'there is nothing to take back' };
    try {
      signal.throwIfAborted();
      const path = resourcePath(deployments, mutation.namespace, mutation.deployment);
      const read = await this.#client.find(path, signal);
      if (read === null) return rejected('permanent', `deployment ${step.endpoint} is not there`);
      if (read.metadata.uid !== mutation.uid || read.metadata.deletionTimestamp !== undefined)
        return conflict(`deployment ${step.endpoint} was deleted, or deleted and made anew`);
      const change = await this.#templateChange(read, mutation, options, signal);
      if ('kind' in change) return change;
      await guardedPatch(this.#client, path, { read, by: 'generation', operations: change.operations }, signal);
      return { kind: 'applied' };
    } catch (error) {
      // Before the patch nothing was sent; the client itself answers for what was under way.
      if (signal.aborted && !(error instanceof PlaneError)) return { kind: 'rejected', class: 'transient', detail: 'aborted before anything was sent' };
      return outcomeOf(error);
    }
  }

  check(step: Step, before: Observation, now: Observation): StepCheck {
    const pause = gitOpsMutationOf(step);
    if (pause !== null) return checkPause(pause, now.endpoints[0] === undefined ? undefined : truthOf(now.endpoints[0]).gitops);
    return checkStep(step, before, now);
  }

  async missingRights(target: PlaneTarget, signal: AbortSignal): Promise<readonly string[]> {
    const keys = kubernetesDeploymentKeys.parse(target.plane);
    const namespace = keys.namespace ?? (await this.#client.defaultNamespace(signal));
    const own = [...rightsOf(deployments, namespace, ['get', 'patch'], keys.deployment ?? target.model), ...rightsOf(replicaSets, namespace, ['list'])];
    const missing = await lackingRights(this.#client, own, signal);
    if (missing.length > 0) return missing;
    const [endpoint] = (await this.observe(target, { thorough: false }, signal)).endpoints;
    return endpoint === undefined ? [] : await lackingRights(this.#client, pauseRights(truthOf(endpoint).gitops), signal);
  }

  origin({ model }: PlaneTarget, version: string): Readonly<Record<string, string>> {
    return this.#origins.get(model)?.get(version) ?? {};
  }

  async close(): Promise<void> {
    await this.#client.close();
  }

  /** The patch to the template of a ReplicaSet as it is kept now, or why there is none. */
  async #templateChange(read: KubernetesObject, mutation: Mutation, options: Options, signal: AbortSignal): Promise<Change> {
    const { spec } = parseObject(deploymentSchema, read, `deployment ${mutation.namespace}/${mutation.deployment}`);
    const to = await this.#keptSet(mutation, 'to', signal);
    if (to === null)
      return rejected(
        'permanent',
        `ReplicaSet ${mutation.to.name} of version ${mutation.to.version} is no longer kept; revisionHistoryLimit is ${spec.revisionHistoryLimit}`,
      );
    if (isSameTemplate(spec.template, to.spec.template)) return { kind: 'already', detail: `the Deployment already asks for ${mutation.to.version}` };
    const from = await this.#keptSet(mutation, 'from', signal);
    if (from === null || !isSameTemplate(spec.template, from.spec.template)) {
      const writer = lastWriterOf(read.metadata, ['spec', 'template']);
      return conflict(`the Deployment no longer asks for ${mutation.from.version}${writer === null ? '' : `: ${writer} wrote its template last`}`);
    }
    if (spec.paused) return rejected('permanent', 'the Deployment is paused (spec.paused): nothing would roll; resume it first (kubectl rollout resume)');
    const values = options.inverse
      ? { [marks.opId]: null, [marks.from]: null, [marks.to]: null }
      : { [marks.opId]: options.opId, [marks.from]: mutation.from.version, [marks.to]: mutation.to.version };
    return {
      operations: [{ op: 'replace', path: '/spec/template', value: withoutHash(to.spec.template) }, ...annotate(read.metadata.annotations, values)],
    };
  }

  /** A ReplicaSet of the plan, if it is still the one. */
  async #keptSet(mutation: Mutation, which: 'from' | 'to', signal: AbortSignal): Promise<ReplicaSet | null> {
    const { name, uid, hash } = mutation[which];
    // By list: reading a single ReplicaSet would need one more right.
    const { items } = await this.#client.list(resourcePath(replicaSets, mutation.namespace), { fieldSelector: `metadata.name=${name}` }, signal);
    const found = items.find((item) => item.metadata.uid === uid);
    if (found === undefined) return null;
    const set = parseObject(replicaSetSchema, found, `replicaset ${mutation.namespace}/${name}`);
    return hashOf(set) === hash ? set : null;
  }
}

type Change = { readonly operations: readonly JsonPatchOperation[] } | ApplyOutcome;

function obstaclesOf(spec: { readonly paused: boolean; readonly replicas: number }, deletedAt: string | undefined): string[] {
  return [
    ...(spec.paused ? ['the Deployment is paused (spec.paused): nothing would roll; resume it first (kubectl rollout resume)'] : []),
    ...(spec.replicas === 0 ? ['the Deployment is scaled to 0: nothing serves, and nothing would'] : []),
    ...(deletedAt === undefined ? [] : [`the Deployment is being deleted since ${deletedAt}`]),
  ];
}
