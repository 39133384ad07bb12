import type { z } from 'zod';
import type { Observation } from '../../../domain/observation.ts';
import { type ControlPlane, type PlaneCapabilities, type PlaneDeps, PlaneError, type PlaneTarget } from '../../../domain/ports.ts';
import type { ApplyOutcome, Desired, PlanResult, Step, StepCheck } from '../../../domain/step.ts';
import { createKubernetesClient, type KubernetesClient } from '../../kubernetes/client.ts';
import { type KubernetesObject, type Resource, resourcePath } from '../../kubernetes/object.ts';
import { writtenBy } from '../../kubernetes/owners.ts';
import { lackingRights, rightsOf } from '../../kubernetes/rights.ts';
import { artifactNames } from '../artifact-names.ts';
import { readGrpcTls } from '../grpc-tls.ts';
import { judgeResourceOwners, missingRight, type PatchDecision, patchResource, readObject, signed } from '../resource-patch.ts';
import { checkStep } from './check.ts';
import { isSame, type Mutation, mutationOf } from './mutation.ts';
import { bytesOf, experiment, type Model, model } from './objects.ts';
import { type Seen, seeExperiment, seeModel, type Versioning } from './observed.ts';
import { artifactOf, artifactPatch, beforeAnnotation, candidatesPatch, keepBefore, keptBefore } from './patch.ts';
import { planSteps } from './plan.ts';
import { type ScheduledVersion, SchedulerClient } from './scheduler-client.ts';
import type { SeldonV2Config, seldonV2Keys } from './schema.ts';

const models: Resource = { group: 'mlops.seldon.io', version: 'v1alpha1', resource: 'models' };
const experiments: Resource = { group: 'mlops.seldon.io', version: 'v1alpha1', resource: 'experiments' };

/** Which resource a target is. */
type Subject = {
  readonly kind: 'model' | 'experiment';
  readonly resource: Resource;
  readonly name: string;
  readonly namespace: string;
  readonly endpoint: string;
};

/** Seldon Core 2: README.md says what it calls and what it cannot do. */
export class SeldonV2Plane implements ControlPlane {
  readonly #config: SeldonV2Config;
  readonly #deps: PlaneDeps;
  readonly #client: KubernetesClient;
  #scheduler: { readonly client: SchedulerClient; readonly credentials: string } | null = null;
  #isClosed = false;

  constructor(config: SeldonV2Config, deps: PlaneDeps) {
    this.#config = config;
    this.#deps = deps;
    this.#client = createKubernetesClient(config, deps);
  }

  capabilities(): PlaneCapabilities {
    return { actuates: true, trafficSplit: true, compareAndSet: true, preSwitchSmoke: false, perVersionMetrics: true, translatesNames: true };
  }

  /** @throws {PlaneError} when the API server or the scheduler does not answer, or the resource is not there */
  async observe(target: PlaneTarget, options: { thorough: boolean }, signal: AbortSignal): Promise<Observation> {
    signal.throwIfAborted();
    const subject = await this.#subject(target, signal);
    const object = await this.#client.get(resourcePath(subject.resource, subject.namespace, subject.name), signal);
    const scheduler = await this.#connect();
    const { versions, serving, config, names } =
      subject.kind === 'model' ? await this.#seeModel(object, target, scheduler, signal) : await this.#seeExperiment(object, scheduler, signal);
    const owners = judgeResourceOwners(object, this.#config.gitops, subject.endpoint);
    return {
      atMs: this.#deps.clock.nowMs(),
      endpoints: [{ endpoint: subject.endpoint, versions, serving, routes: {}, config, ...writtenBy(object.metadata, ['spec']) }],
      versions,
      serving,
      token: `${object.metadata.uid}/${object.metadata.generation}`,
      pinned: false,
      names,
      refusals: options.thorough ? [...owners.refusals, ...(await this.#refusals(subject, object, target, scheduler, signal))] : [],
      ...(options.thorough && { notes: owners.notes }),
    };
  }

  plan(target: PlaneTarget, observation: Observation, desired: Desired): PlanResult {
    return planSteps(observation, desired, versioningOf(target));
  }

  async apply(target: PlaneTarget, step: Step, options: { inverse: boolean; opId: string; epoch: number }, signal: AbortSignal): Promise<ApplyOutcome> {
    const mutation = mutationOf(step, options.inverse);
    if (mutation === null) return { kind: 'already', detail: 'there is nothing to take back' };
    const path = async (): Promise<string> => {
      const { resource, name, namespace } = await this.#subject(target, signal);
      return resourcePath(resource, namespace, name);
    };
    const writer = signed({ opId: options.opId, from: '', to: step.expect.serving ?? '' });
    return await patchResource(this.#client, path, signal, (object) => decide(object, mutation, writer));
  }

  check(step: Step, _before: Observation, now: Observation): StepCheck {
    return checkStep(step, now);
  }

  async missingRights(target: PlaneTarget, signal: AbortSignal): Promise<readonly string[]> {
    const { resource, name, namespace } = await this.#subject(target, signal);
    return await lackingRights(this.#client, rightsOf(resource, namespace, ['get', 'patch'], name), signal);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#scheduler?.client.close();
    this.#scheduler = null;
    await this.#client.close();
  }

  async #subject(target: PlaneTarget, signal: AbortSignal): Promise<Subject> {
    const { model: named, experiment: split, namespace: given } = keysOf(target);
    const namespace = given ?? (await this.#client.defaultNamespace(signal));
    if (split !== undefined) return { kind: 'experiment', resource: experiments, name: split, namespace, endpoint: `experiment ${namespace}/${split}` };
    const name = named ?? target.model;
    return { kind: 'model', resource: models, name, namespace, endpoint: `model ${namespace}/${name}` };
  }

  async #seeModel(object: KubernetesObject, target: PlaneTarget, scheduler: SchedulerClient, signal: AbortSignal): Promise<Seen> {
    const read = readObject(model, object, 'Model');
    return seeModel(read, (await scheduler.model(read.metadata.name, signal)) ?? [], versioningOf(target));
  }

  async #seeExperiment(object: KubernetesObject, scheduler: SchedulerClient, signal: AbortSignal): Promise<Seen> {
    const read = readObject(experiment, object, 'Experiment');
    if (read.spec.resourceType === 'pipeline')
      throw new PlaneError('permanent', `Experiment ${read.metadata.name} is over pipelines; expected one over models (resourceType: model)`);
    const [state, ...found] = await Promise.all([
      scheduler.experiment(read.metadata.name, signal),
      ...read.spec.candidates.map(async ({ name }): Promise<[string, readonly ScheduledVersion[] | null]> => [name, await scheduler.model(name, signal)]),
    ]);
    return seeExperiment(read, state, new Map(found), keptBefore(read));
  }

  /** The connection, made anew when the certificates changed. */
  async #connect(): Promise<SchedulerClient> {
    const { endpoint, tls_config: tls, timeout } = this.#config.scheduler;
    const options = tls === undefined ? null : await readGrpcTls(tls);
    if (this.#isClosed) throw new PlaneError('permanent', 'the control plane is closed');
    const credentials = JSON.stringify(options);
    if (this.#scheduler?.credentials !== credentials) {
      this.#scheduler?.client.close();
      this.#scheduler = { client: new SchedulerClient(endpoint, options, timeout, this.#deps.onRequest), credentials };
    }
    return this.#scheduler.client;
  }

  async #refusals(
    subject: Subject,
    object: KubernetesObject,
    target: PlaneTarget,
    scheduler: SchedulerClient,
    signal: AbortSignal,
  ): Promise<readonly string[]> {
    const refusals = [...(await missingRight(this.#client, subject.resource, subject.namespace, subject.name, signal))];
    if (subject.kind === 'model') refusals.push(...(await this.#preflight(readObject(model, object, 'Model'), target, scheduler, signal)));
    return refusals;
  }

  /**
   * Whether another version could be scheduled beside the present one. When it cannot, the scheduler takes the model's route away although the present
   * version is still loaded (reference control-planes-serving 4.2): so it is found out before.
   */
  async #preflight({ metadata, spec }: Model, target: PlaneTarget, scheduler: SchedulerClient, signal: AbortSignal): Promise<readonly string[]> {
    const refusals: string[] = [];
    const versioning = versioningOf(target);
    if (versioning.kind === 'artifact_version' && spec.artifactVersion === undefined)
      refusals.push(`Model ${metadata.name} has no artifactVersion; write plane.artifact with the pattern of its storageUri (${spec.storageUri})`);
    if (versioning.kind === 'uri' && versioning.names.versionOf(spec.storageUri) === null)
      refusals.push(`Model ${metadata.name}: storageUri ${spec.storageUri} does not follow the pattern of plane.artifact; correct the pattern`);
    const [servers, scheduled] = await Promise.all([scheduler.servers(signal), scheduler.model(metadata.name, signal)]);
    const name = spec.server ?? scheduled?.findLast((entry) => entry.server !== '')?.server;
    const fitting = name === undefined ? servers : servers.filter((server) => server.name === name);
    const up = fitting.filter((server) => server.availableReplicas > 0);
    if (up.length === 0) {
      refusals.push(
        `no replica of ${name === undefined ? 'any server' : `server ${name}`} is available: a new version could not be scheduled, and the model would lose its route`,
      );
      return refusals;
    }
    const needed = bytesOf(spec.memory);
    const free = Math.max(...up.map((server) => server.mostFreeBytes ?? Number.POSITIVE_INFINITY));
    if (needed !== null && free < needed)
      refusals.push(
        `no server has room for a second version of ${metadata.name} (memory ${spec.memory}, most free: ${Math.floor(free / 2 ** 20)} Mi): it could not be scheduled, and the model would lose its route`,
      );
    return refusals;
  }
}

function decide(object: KubernetesObject, mutation: Mutation, writer: Readonly<Record<string, string>>): PatchDecision {
  if (mutation.kind === 'artifact') {
    const present = artifactOf(readObject(model, object, 'Model'));
    return judge(present, mutation, () => ({ operations: artifactPatch(mutation), annotations: writer }));
  }
  const read = readObject(experiment, object, 'Experiment');
  return judge(read.spec.candidates, mutation, () => ({
    operations: candidatesPatch(mutation),
    annotations: { ...writer, [beforeAnnotation]: keepBefore(read, mutation.before) },
  }));
}

function judge(
  present: unknown,
  { before, after }: Mutation,
  patch: () => Pick<Extract<PatchDecision, { kind: 'patch' }>, 'operations' | 'annotations'>,
): PatchDecision {
  if (isSame(present, after)) return { kind: 'already', detail: `the spec says ${JSON.stringify(present)}` };
  if (!isSame(present, before))
    return { kind: 'conflict', detail: `the spec says ${JSON.stringify(present)}, expected ${JSON.stringify(before)}: somebody else changed it` };
  return { kind: 'patch', detail: `the spec set to ${JSON.stringify(after)}`, ...patch() };
}

function keysOf({ plane }: PlaneTarget): z.output<typeof seldonV2Keys> {
  return plane;
}

function versioningOf(target: PlaneTarget): Versioning {
  const { artifact } = keysOf(target);
  return artifact === undefined ? { kind: 'artifact_version' } : { kind: 'uri', names: artifactNames(artifact) };
}
