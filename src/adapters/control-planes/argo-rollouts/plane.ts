import type { Observation } from '../../../domain/observation.ts';
import { type ControlPlane, type PlaneCapabilities, type PlaneDeps, PlaneError, type PlaneTarget } from '../../../domain/ports.ts';
import type { ApplyOutcome, Desired, PlanResult, Step, StepCheck } from '../../../domain/step.ts';
import { createKubernetesClient, type JsonPatchOperation, type KubernetesClient } from '../../kubernetes/client.ts';
import { isStatus, KubernetesError, outcomeOf } from '../../kubernetes/errors.ts';
import { guardedPatch } from '../../kubernetes/guarded-patch.ts';
import { type KubernetesObject, type Resource, resourcePath } from '../../kubernetes/object.ts';
import { judgeOwners, lastWriterOf, writtenBy } from '../../kubernetes/owners.ts';
import { parseObject } from '../../kubernetes/parse-object.ts';
import { lackingRights, rightsOf } from '../../kubernetes/rights.ts';
import { conflict, rejected } from '../answers.ts';
import { selectorText } from '../pod-template.ts';
import { controlledBy, replicaSetSchema } from '../replica-sets.ts';
import { missingRight } from '../resource-patch.ts';
import { changeFor, type Present } from './change.ts';
import { checkStep } from './check.ts';
import { mutationOf } from './mutation.ts';
import { hashLabel, rolloutSchema, type Workload, workloadSchema } from './objects.ts';
import { observationOf, type Progress, progressOf, type RolloutTruth, truthOf } from './observed.ts';
import { invalidWords, isAbortable, pausedWords, planSteps } from './plan.ts';
import { type ArgoRolloutsConfig, argoRolloutsKeys } from './schema.ts';

const rollouts: Resource = { group: 'argoproj.io', version: 'v1alpha1', resource: 'rollouts' };
const deployments: Resource = { group: 'apps', version: 'v1', resource: 'deployments' };
const replicaSets: Resource = { group: 'apps', version: 'v1', resource: 'replicasets' };

const template = ['spec', 'template'];

/** Argo Rollouts, by its custom resource: README.md says what it calls and what it cannot do. */
export class ArgoRolloutsPlane implements ControlPlane {
  readonly #config: ArgoRolloutsConfig;
  readonly #deps: PlaneDeps;
  readonly #client: KubernetesClient;

  constructor(config: ArgoRolloutsConfig, deps: PlaneDeps) {
    this.#config = config;
    this.#deps = deps;
    this.#client = createKubernetesClient(config, deps);
  }

  capabilities(): PlaneCapabilities {
    return { actuates: true, trafficSplit: false, compareAndSet: true, preSwitchSmoke: false, perVersionMetrics: true };
  }

  /** @throws {PlaneError} when the API server does not answer, or there is no such Rollout */
  async observe(target: PlaneTarget, options: { thorough: boolean }, signal: AbortSignal): Promise<Observation> {
    const keys = argoRolloutsKeys.parse(target.plane);
    const namespace = keys.namespace ?? (await this.#client.defaultNamespace(signal));
    const name = keys.rollout ?? target.model;
    const atMs = this.#deps.clock.nowMs();
    const object = await this.#client.get(resourcePath(rollouts, namespace, name), signal);
    const present = await this.#look(object, namespace, signal);
    const { rollout, workload, workloadObject, sets } = present;
    const holder = workloadObject ?? object;
    const what = `rollout ${namespace}/${name}`;
    const owners = judgeOwners(object.metadata, this.#config.gitops, what);
    // Whoever drives the Rollout itself stays a reason when GitOps is none.
    const drivers = judgeOwners(object.metadata, 'alert', what).refusals;
    const ofWorkload =
      workloadObject === null ? null : judgeOwners(workloadObject.metadata, this.#config.gitops, `deployment ${namespace}/${holder.metadata.name}`);
    const kept = [...owners.refusals.filter((reason) => !drivers.includes(reason)), ...(ofWorkload?.refusals ?? [])];
    const writer = lastWriterOf(holder.metadata, template);
    const read = { namespace, rollout, workload, sets, versionFrom: keys.version_from, kept, writer };
    const seen = observationOf(atMs, read, writtenBy(holder.metadata, template));
    const [endpoint] = seen.endpoints;
    if (!options.thorough || endpoint === undefined) return seen;
    const deletedAt = object.metadata.deletionTimestamp;
    return {
      ...seen,
      refusals: [
        ...drivers,
        ...obstaclesOf(truthOf(endpoint), progressOf(seen)),
        ...(deletedAt === undefined ? [] : [`the Rollout is being deleted since ${deletedAt}`]),
        ...(await this.#missingRights(present, namespace, signal)),
      ],
      notes: [...new Set([...owners.notes, ...(ofWorkload?.notes ?? [])])],
    };
  }

  plan(_target: PlaneTarget, observation: Observation, desired: Desired): PlanResult {
    return planSteps(observation, desired);
  }

  async apply(_target: PlaneTarget, step: Step, options: { inverse: boolean; opId: string }, signal: AbortSignal): Promise<ApplyOutcome> {
    const mutation = mutationOf(step, options.inverse);
    if (mutation === null) return { kind: 'already', detail: 'there is nothing to take back' };
    const { namespace } = mutation;
    try {
      signal.throwIfAborted();
      const path = resourcePath(rollouts, namespace, mutation.rollout);
      const read = await this.#client.find(path, signal);
      if (read === null) return rejected('permanent', `rollout ${step.endpoint} is not there`);
      if (read.metadata.uid !== mutation.uid || read.metadata.deletionTimestamp !== undefined)
        return conflict(`rollout ${step.endpoint} was deleted, or deleted and made anew`);
      const present = await this.#look(read, namespace, signal);
      const change = changeFor(mutation, present, options);
      if (change.on === 'nothing') return change.outcome;
      const { operations } = change;
      const { workloadObject } = present;
      if (change.on === 'status') await this.#patchStatus(read, namespace, operations, signal);
      else if (workloadObject === null) await guardedPatch(this.#client, path, { read, by: 'generation', operations }, signal);
      else await this.#patchWorkload(workloadObject, namespace, operations, signal);
      return { kind: 'applied' };
    } catch (error) {
      // Before the patch nothing was sent; the client itself answers for what was under way.
      if (signal.aborted && !(error instanceof PlaneError)) return rejected('transient', 'aborted before anything was sent');
      return outcomeOf(error);
    }
  }

  check(step: Step, before: Observation, now: Observation): StepCheck {
    return checkStep(step, before, now);
  }

  async missingRights(target: PlaneTarget, signal: AbortSignal): Promise<readonly string[]> {
    const keys = argoRolloutsKeys.parse(target.plane);
    const namespace = keys.namespace ?? (await this.#client.defaultNamespace(signal));
    const name = keys.rollout ?? target.model;
    const status = rightsOf(rollouts, namespace, ['patch'], name).map((right) => ({ ...right, subresource: 'status' }));
    const own = [...rightsOf(rollouts, namespace, ['get', 'patch'], name), ...status, ...rightsOf(replicaSets, namespace, ['list'])];
    const missing = await lackingRights(this.#client, own, signal);
    if (missing.length > 0) return missing;
    const { spec } = parseObject(rolloutSchema, await this.#client.get(resourcePath(rollouts, namespace, name), signal), `rollout ${namespace}/${name}`);
    const { workloadRef } = spec;
    if (workloadRef?.kind !== 'Deployment') return [];
    return await lackingRights(this.#client, rightsOf(deployments, namespace, ['get', 'patch'], workloadRef.name), signal);
  }

  async close(): Promise<void> {
    await this.#client.close();
  }

  /** What belongs to a Rollout: the Deployment that its workloadRef names, and the ReplicaSets it owns. */
  async #look(object: KubernetesObject, namespace: string, signal: AbortSignal): Promise<Present> {
    const { name } = object.metadata;
    const rollout = parseObject(rolloutSchema, object, `rollout ${namespace}/${name}`);
    const { workloadRef } = rollout.spec;
    const workloadObject = workloadRef?.kind === 'Deployment' ? await this.#client.find(resourcePath(deployments, namespace, workloadRef.name), signal) : null;
    const workload = workloadObject === null ? null : parseObject(workloadSchema, workloadObject, `deployment ${namespace}/${workloadObject.metadata.name}`);
    const selector = rollout.spec.selector ?? workload?.spec.selector ?? { matchLabels: {}, matchExpressions: [] };
    const { items } = await this.#client.list(resourcePath(replicaSets, namespace), { labelSelector: selectorText(selector) }, signal);
    const sets = controlledBy(items, object.metadata.uid)
      .filter(({ metadata }) => metadata.labels?.[hashLabel] !== undefined)
      .map((item) => parseObject(replicaSetSchema, item, `replicaset ${namespace}/${item.metadata.name}`));
    return { rollout, object, workload: workloadRef == null ? null : usable(workload, workloadRef), workloadObject, sets };
  }

  /**
   * Guarded by what is tested, not by resourceVersion: the controller writes the status all the time. Annotations cannot go with it.
   * @throws {KubernetesError} conflict, when a test did not hold
   */
  async #patchStatus(read: KubernetesObject, namespace: string, operations: readonly JsonPatchOperation[], signal: AbortSignal): Promise<void> {
    const { name, uid, generation } = read.metadata;
    const guards: JsonPatchOperation[] = [
      { op: 'test', path: '/metadata/uid', value: uid },
      { op: 'test', path: '/metadata/generation', value: generation ?? 0 },
    ];
    try {
      await this.#client.patch(resourcePath(rollouts, namespace, name, 'status'), { type: 'json', body: [...guards, ...operations] }, signal);
    } catch (error) {
      if (isStatus(error, 422)) {
        const words = `rollout ${namespace}/${name} was changed meanwhile, by its controller or by somebody else`;
        throw new KubernetesError('conflict', words, { status: 422, reason: error.reason, cause: error });
      }
      // The object itself was just read.
      if (isStatus(error, 404)) {
        const words = `rollout ${namespace}/${name} has no status to be written (no status subresource): install the CustomResourceDefinitions of Argo Rollouts 1.0 or later`;
        throw new KubernetesError('permanent', words, { status: 404, reason: error.reason, cause: error });
      }
      throw error;
    }
  }

  async #patchWorkload(read: KubernetesObject, namespace: string, operations: readonly JsonPatchOperation[], signal: AbortSignal): Promise<void> {
    await guardedPatch(this.#client, resourcePath(deployments, namespace, read.metadata.name), { read, by: 'generation', operations }, signal);
  }

  /** The spec is written with some rights, the status with another: with half of them a rollback would stop half way. */
  async #missingRights({ rollout, workloadObject }: Present, namespace: string, signal: AbortSignal): Promise<readonly string[]> {
    const { name } = rollout.metadata;
    const spec = workloadObject === null ? ([rollouts, name] as const) : ([deployments, workloadObject.metadata.name] as const);
    return [
      ...(await missingRight(this.#client, spec[0], namespace, spec[1], signal)),
      ...(await missingRight(this.#client, { ...rollouts, subresource: 'status' }, namespace, name, signal)),
    ];
  }
}

function usable(workload: Workload | null, { kind, name }: { kind: string; name: string }): Workload | string {
  if (workload !== null) return workload;
  return kind === 'Deployment'
    ? `deployment ${name}, which spec.workloadRef names, is not there`
    : `the template stands in a ${kind} (spec.workloadRef ${name}); rollbackd changes that of a Deployment only: roll back by hand, or move the template into the Rollout`;
}

/** What stands against any rollback. What only stands against some, the plan refuses. */
function obstaclesOf(truth: RolloutTruth, progress: Progress): string[] {
  const canAbort = isAbortable(truth, progress);
  return [
    ...(progress.invalid === '' ? [] : [invalidWords(progress)]),
    ...(progress.wanted === 0 ? ['the Rollout is scaled to 0: nothing serves, and nothing would'] : []),
    ...(truth.paused && !canAbort ? [pausedWords] : []),
    ...(canAbort ? [] : truth.kept),
    ...(typeof truth.holder === 'string' && !canAbort ? [truth.holder] : []),
  ];
}
