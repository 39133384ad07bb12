import type { z } from 'zod';
import { lookUp } from '../../../domain/lookup.ts';
import type { Observation } from '../../../domain/observation.ts';
import { type ControlPlane, type PlaneCapabilities, type PlaneDeps, PlaneError, type PlaneTarget } from '../../../domain/ports.ts';
import type { ApplyOutcome, Desired, PlanResult, Step, StepCheck } from '../../../domain/step.ts';
import { createKubernetesClient, type KubernetesClient } from '../../kubernetes/client.ts';
import { isStatus } from '../../kubernetes/errors.ts';
import { selectorOf } from '../../kubernetes/label-selector.ts';
import { type Resource, resourcePath } from '../../kubernetes/object.ts';
import { writtenBy } from '../../kubernetes/owners.ts';
import { lackingRights, rightsOf } from '../../kubernetes/rights.ts';
import { type ArtifactNames, artifactNames } from '../artifact-names.ts';
import { judgeResourceOwners, missingRight, patchResource, readObject, signed } from '../resource-patch.ts';
import { checkStep, wishText } from './check.ts';
import { seeKnative } from './knative.ts';
import { mutationOf } from './mutation.ts';
import { type Deployment, deployment, httpRoute, type InferenceService, inferenceService, modeAnnotation, replicaSet, revision } from './objects.ts';
import { isSameWish, type Seen } from './observed.ts';
import { wishOf, wishPatch } from './patch.ts';
import { planSteps } from './plan.ts';
import type { KserveConfig, kserveKeys } from './schema.ts';
import { seeStandard, type Workload, workloadOf } from './standard.ts';

const inferenceServices: Resource = { group: 'serving.kserve.io', version: 'v1beta1', resource: 'inferenceservices' };
const revisions: Resource = { group: 'serving.knative.dev', version: 'v1', resource: 'revisions' };
const deployments: Resource = { group: 'apps', version: 'v1', resource: 'deployments' };
const replicaSets: Resource = { group: 'apps', version: 'v1', resource: 'replicasets' };
const httpRoutes: Resource = { group: 'gateway.networking.k8s.io', version: 'v1', resource: 'httproutes' };

/** Present and former names of the deployment modes. */
const modes: Readonly<Record<string, 'Knative' | 'Standard'>> = { Knative: 'Knative', Serverless: 'Knative', Standard: 'Standard', RawDeployment: 'Standard' };

type Named = { readonly name: string; readonly namespace: string; readonly names: ArtifactNames };

/** KServe: README.md says what it calls and what it cannot do. */
export class KservePlane implements ControlPlane {
  readonly #config: KserveConfig;
  readonly #deps: PlaneDeps;
  readonly #client: KubernetesClient;

  constructor(config: KserveConfig, deps: PlaneDeps) {
    this.#config = config;
    this.#deps = deps;
    this.#client = createKubernetesClient(config, deps);
  }

  capabilities(): PlaneCapabilities {
    return { actuates: true, trafficSplit: true, compareAndSet: true, preSwitchSmoke: false, perVersionMetrics: true, translatesNames: true };
  }

  /** @throws {PlaneError} when the API server does not answer, or there is no such InferenceService */
  async observe(target: PlaneTarget, options: { thorough: boolean }, signal: AbortSignal): Promise<Observation> {
    signal.throwIfAborted();
    const named = await this.#named(target, signal);
    const { name, namespace } = named;
    const stored = await this.#client.get(resourcePath(inferenceServices, namespace, name), signal);
    const isvc = readObject(inferenceService, stored, 'InferenceService');
    const endpoint = `inferenceservice ${namespace}/${name}`;
    const seen = modeOf(isvc) === 'Knative' ? await this.#seeKnative(isvc, named, signal) : await this.#seeStandard(isvc, named, signal);
    const { versions, serving, config, names } = seen;
    const { uid, generation } = isvc.metadata;
    const owners = judgeResourceOwners(stored, this.#config.gitops, endpoint);
    return {
      atMs: this.#deps.clock.nowMs(),
      endpoints: [{ endpoint, versions, serving, routes: {}, config, ...writtenBy(stored.metadata, ['spec']) }],
      versions,
      serving,
      token: `${uid}/${generation}`,
      pinned: config.mode === 'Knative' && config.wish.percent === 0,
      names,
      refusals: options.thorough ? [...owners.refusals, ...(await this.#refusals(isvc, named, signal))] : [],
      ...(options.thorough && { notes: owners.notes }),
    };
  }

  plan(target: PlaneTarget, observation: Observation, desired: Desired): PlanResult {
    return planSteps(observation, desired, artifactNames(keysOf(target).artifact), { canaries: this.#config.standard_canaries });
  }

  async apply(target: PlaneTarget, step: Step, options: { inverse: boolean; opId: string; epoch: number }, signal: AbortSignal): Promise<ApplyOutcome> {
    const mutation = mutationOf(step, options.inverse);
    if (mutation === null) return { kind: 'already', detail: 'there is nothing to take back' };
    const path = async (): Promise<string> => {
      const { name, namespace } = await this.#named(target, signal);
      return resourcePath(inferenceServices, namespace, name);
    };
    return await patchResource(this.#client, path, signal, (object) => {
      const isvc = readObject(inferenceService, object, 'InferenceService');
      const present = wishOf(isvc);
      if (isSameWish(present, mutation.after)) return { kind: 'already', detail: `the spec says ${wishText(present)}` };
      if (!isSameWish(present, mutation.before))
        return { kind: 'conflict', detail: `the spec says ${wishText(present)}, expected ${wishText(mutation.before)}: somebody else changed it` };
      return {
        kind: 'patch',
        operations: wishPatch(isvc, mutation),
        annotations: signed({ opId: options.opId, from: mutation.before.uri, to: mutation.after.uri }),
        detail: `the spec set to ${wishText(mutation.after)}`,
      };
    });
  }

  check(step: Step, before: Observation, now: Observation): StepCheck {
    return checkStep(step, before, now);
  }

  async missingRights(target: PlaneTarget, signal: AbortSignal): Promise<readonly string[]> {
    const { name, namespace } = await this.#named(target, signal);
    const missing = await lackingRights(this.#client, rightsOf(inferenceServices, namespace, ['get', 'patch'], name), signal);
    if (missing.length > 0) return missing;
    const isvc = readObject(inferenceService, await this.#client.get(resourcePath(inferenceServices, namespace, name), signal), 'InferenceService');
    // Either mode reads its own kinds.
    const workloads =
      modeOf(isvc) === 'Knative'
        ? rightsOf(revisions, namespace, ['list'])
        : [
            ...rightsOf(deployments, namespace, ['get'], workloadOf(name, isvc.spec.predictor.name)),
            ...rightsOf(replicaSets, namespace, ['list']),
            ...rightsOf(httpRoutes, namespace, ['get'], workloadOf(name, undefined)),
          ];
    return await lackingRights(this.#client, workloads, signal);
  }

  async close(): Promise<void> {
    await this.#client.close();
  }

  async #named(target: PlaneTarget, signal: AbortSignal): Promise<Named> {
    const { name, namespace, artifact } = keysOf(target);
    return { name: name ?? target.model, namespace: namespace ?? (await this.#client.defaultNamespace(signal)), names: artifactNames(artifact) };
  }

  async #seeKnative(isvc: InferenceService, { name, namespace, names }: Named, signal: AbortSignal): Promise<Seen> {
    const selector = { labelSelector: selectorOf({ 'serving.kserve.io/inferenceservice': name, component: 'predictor' }) };
    const { items } = await this.#client.list(resourcePath(revisions, namespace), selector, signal);
    return seeKnative(
      isvc,
      items.map((item) => readObject(revision, item, 'Revision')),
      names,
    );
  }

  async #seeStandard(isvc: InferenceService, { name, namespace, names }: Named, signal: AbortSignal): Promise<Seen> {
    const predictors = [isvc.spec.predictor.name, ...(isvc.spec.canary ?? []).map((entry) => entry.predictor.name)];
    const workloads = await Promise.all(
      predictors.map(async (predictor): Promise<[string, Workload] | null> => {
        const workload = workloadOf(name, predictor);
        const found = await this.#client.find(resourcePath(deployments, namespace, workload), signal);
        if (found === null) return null;
        const own = readObject(deployment, found, 'Deployment');
        return [workload, { deployment: own, replicaSets: await this.#replicaSetsOf(own, namespace, signal) }];
      }),
    );
    const route = await this.#route(name, namespace, signal);
    return seeStandard(isvc, new Map(workloads.filter((entry) => entry !== null)), route === null ? null : readObject(httpRoute, route, 'HTTPRoute'), names);
  }

  async #replicaSetsOf({ metadata, spec }: Deployment, namespace: string, signal: AbortSignal): Promise<Workload['replicaSets']> {
    const { items } = await this.#client.list(resourcePath(replicaSets, namespace), { labelSelector: selectorOf(spec.selector.matchLabels ?? {}) }, signal);
    const own = items.filter((item) => item.metadata.ownerReferences?.some((owner) => owner.uid === metadata.uid));
    return own.map((item) => readObject(replicaSet, item, 'ReplicaSet'));
  }

  /** The predictor's HTTPRoute; `null` where there is none, or the cluster does not know the kind: then the Service alone routes. */
  async #route(name: string, namespace: string, signal: AbortSignal): ReturnType<KubernetesClient['find']> {
    try {
      return await this.#client.find(resourcePath(httpRoutes, namespace, workloadOf(name, undefined)), signal);
    } catch (error) {
      if (isStatus(error, 404)) return null;
      throw error;
    }
  }

  async #refusals(isvc: InferenceService, { name, namespace, names }: Named, signal: AbortSignal): Promise<readonly string[]> {
    const refusals: string[] = [];
    const { uri } = wishOf(isvc);
    if (uri === '') refusals.push(`InferenceService ${namespace}/${name}: the predictor names no storageUri, so there is no artifact to go back to`);
    else if (names.versionOf(uri) === null)
      refusals.push(`InferenceService ${namespace}/${name}: storageUri ${uri} does not follow the pattern of plane.artifact; correct the pattern`);
    refusals.push(...(await missingRight(this.#client, inferenceServices, namespace, name, signal)));
    return refusals;
  }
}

function keysOf({ plane }: PlaneTarget): z.output<typeof kserveKeys> {
  return plane;
}

/** @throws {PlaneError} permanent, for a mode that serves otherwise */
function modeOf(isvc: InferenceService): 'Knative' | 'Standard' {
  const named = isvc.status?.deploymentMode ?? isvc.metadata.annotations?.[modeAnnotation];
  const mode = named === undefined ? (isvc.status?.components?.predictor?.traffic === undefined ? 'Standard' : 'Knative') : lookUp(modes, named);
  if (mode !== undefined) return mode;
  throw new PlaneError(
    'permanent',
    `InferenceService ${isvc.metadata.name}: deployment mode ${named ?? ''} is not supported; expected Knative (Serverless) or Standard (RawDeployment)`,
  );
}
