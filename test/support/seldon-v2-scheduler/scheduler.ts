import { createServer, type Http2Server, type ServerHttp2Session } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { create } from '@bufbuild/protobuf';
import { Code, ConnectError, type ConnectRouter } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import type { KubernetesTestClient } from '../kubernetes/kubernetes-client.ts';
import type { KubernetesObject } from '../kubernetes/kubernetes-object.ts';
import { Controller, type Fate } from '../serving-platforms/controller.ts';
import { ModelVersionStatusSchema, Scheduler, ModelStatus_ModelState as State } from './gen/mlops/scheduler/scheduler_pb.ts';

type ModelSpec = { storageUri: string; artifactVersion?: number; memory?: string; replicas?: number };
type ExperimentSpec = { default?: string; candidates: { name: string; weight: number }[] };
type Version = { number: number; spec: ModelSpec; generation: number; state: State; reason: string; server: string; available: number; turns: number };
type Experiment = { spec: ExperimentSpec; generation: number; active: boolean; candidatesReady: boolean };

const mebibyte = 2 ** 20;

/**
 * The scheduler of Seldon Core 2 with its operator: it reads Models and Experiments, counts its own versions (from the generation up, one more with each
 * change of what is loaded, none for replicas), and answers its status streams over gRPC. A version that cannot be scheduled takes the model's route away,
 * although the one before is still loaded. The conditions it writes to the resources lag behind and carry no observedGeneration.
 */
export class SeldonV2Scheduler extends Controller {
  readonly #namespace: string;
  readonly #fateOf: (artifact: string) => Fate;
  readonly #models = new Map<string, Version[]>();
  readonly #experiments = new Map<string, Experiment>();
  readonly #server: Http2Server;
  readonly #sessions = new Set<ServerHttp2Session>();
  /** Free memory of the one inference server, for what is loaded beside what already is. */
  freeBytes = 1024 * mebibyte;
  serverReplicas = 1;
  slowTurns = 30;

  private constructor(client: KubernetesTestClient, namespace: string, fateOf: (artifact: string) => Fate) {
    super(
      client,
      ['models', 'experiments'].map((resource) => `/apis/mlops.seldon.io/v1alpha1/namespaces/${namespace}/${resource}`),
    );
    this.#namespace = namespace;
    this.#fateOf = fateOf;
    this.#server = createServer(connectNodeAdapter({ routes: (router) => this.#routes(router), grpcWeb: false, connect: false }));
    this.#server.on('session', (session) => {
      this.#sessions.add(session);
      session.on('close', () => this.#sessions.delete(session));
      session.on('error', () => undefined);
    });
  }

  /** @param fateOf by storageUri, with `#artifactVersion` where there is one */
  static async listen(client: KubernetesTestClient, namespace: string, fateOf: (artifact: string) => Fate): Promise<SeldonV2Scheduler> {
    const scheduler = new SeldonV2Scheduler(client, namespace, fateOf);
    await new Promise<void>((resolve) => {
      scheduler.#server.listen(0, '127.0.0.1', resolve);
    });
    return scheduler;
  }

  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Where Envoy sends a model's requests: artifact → share. Empty: no route, 404 for clients. */
  route(model: string): Readonly<Record<string, number>> {
    const versions = this.#models.get(model) ?? [];
    const latest = versions.at(-1);
    // "failed to find server": the route is removed.
    if (latest === undefined || latest.state === State.ScheduleFailed) return {};
    if (latest.state === State.ModelAvailable) return { [artifactOf(latest.spec)]: 1 };
    const last = versions.findLast((version) => version.state === State.ModelAvailable);
    return last === undefined ? {} : { [artifactOf(last.spec)]: 1 };
  }

  /** Name of the newest version of a model with this artifact, as metrics have it: `fraud_4`. */
  internalName(model: string, artifact: string): string {
    return `${model}_${this.#models.get(model)?.findLast((version) => artifactOf(version.spec) === artifact)?.number ?? 0}`;
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    await super[Symbol.asyncDispose]();
    for (const session of this.#sessions) session.destroy();
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
    });
  }

  protected override async reconcile(): Promise<void> {
    const base = `/apis/mlops.seldon.io/v1alpha1/namespaces/${this.#namespace}`;
    for (const model of await this.client.list(`${base}/models`)) await this.#load(model, `${base}/models/${model.metadata.name}/status`);
    for (const experiment of await this.client.list(`${base}/experiments`)) this.#sync(experiment);
  }

  async #load(model: KubernetesObject, statusPath: string): Promise<void> {
    const spec = model.spec as unknown as ModelSpec;
    const generation = model.metadata.generation ?? 1;
    const versions = this.#models.get(model.metadata.name) ?? [];
    this.#models.set(model.metadata.name, versions);
    const latest = versions.at(-1);
    if (latest === undefined || artifactOf(latest.spec) !== artifactOf(spec)) {
      const number = latest === undefined ? Math.max(1, generation) : latest.number + 1;
      versions.push({ number, spec, generation, state: State.ModelCreate, reason: '', server: '', available: 0, turns: 0 });
      return;
    }
    latest.generation = generation;
    this.#advance(latest, versions);
    const isReady = latest.state === State.ModelAvailable;
    const condition = { type: 'ModelReady', status: isReady ? 'True' : 'False', reason: nameOf(latest.state), message: latest.reason };
    const present = (model.status as { conditions?: { reason?: string }[] } | undefined)?.conditions?.[0]?.reason;
    if (present !== condition.reason) await this.client.merge(statusPath, { status: { conditions: [condition, { ...condition, type: 'Ready' }] } });
  }

  #advance(latest: Version, versions: readonly Version[]): void {
    latest.turns += 1;
    const fate = this.#fateOf(artifactOf(latest.spec));
    if (latest.state === State.ModelCreate || latest.state === State.ScheduleFailed) {
      const needed = Number(/^(\d+)Mi$/.exec(latest.spec.memory ?? '')?.[1] ?? 0) * mebibyte;
      if (this.serverReplicas === 0 || needed > this.freeBytes) {
        Object.assign(latest, {
          state: State.ScheduleFailed,
          server: '',
          reason: 'failed to schedule model as no matching server had enough suitable replicas',
        });
        return;
      }
      Object.assign(latest, { state: State.ModelProgressing, server: 'mlserver', reason: '', turns: 0 });
      return;
    }
    if (latest.state !== State.ModelProgressing) return;
    if (fate === 'crashes' && latest.turns > 2) Object.assign(latest, { state: State.ModelFailed, reason: 'rpc error: no such object' });
    if (fate === 'crashes' || latest.turns <= (fate === 'serves' ? 2 : this.slowTurns)) return;
    Object.assign(latest, { state: State.ModelAvailable, available: latest.spec.replicas ?? 1 });
    // Older ones go once the latest is there.
    for (const version of versions)
      if (version !== latest && version.state !== State.ModelTerminated)
        Object.assign(version, { state: State.ModelTerminated, available: 0, server: 'mlserver' });
  }

  #sync(object: KubernetesObject): void {
    const spec = object.spec as unknown as ExperimentSpec;
    const candidatesReady = spec.candidates.every(({ name }) => this.#models.get(name)?.at(-1)?.state === State.ModelAvailable);
    const active = spec.candidates.every(({ name }) => Object.keys(this.route(name)).length > 0);
    this.#experiments.set(object.metadata.name, { spec, generation: object.metadata.generation ?? 1, active, candidatesReady });
  }

  #routes(router: ConnectRouter): void {
    router.service(Scheduler, {
      modelStatus: (request) => this.#modelStatus(request),
      serverStatus: () => this.#serverStatus(),
      experimentStatus: (request) => this.#experimentStatus(request),
    });
  }

  async *#modelStatus({ model, allVersions }: { model?: { name: string } | undefined; allVersions: boolean }) {
    const names = model === undefined ? [...this.#models.keys()] : [model.name];
    for (const name of names) {
      const versions = this.#models.get(name);
      if (versions === undefined || versions.length === 0) throw new ConnectError(`Failed to find model ${name}`, Code.FailedPrecondition);
      const told = allVersions ? versions : versions.slice(-1);
      yield { modelName: name, deleted: false, versions: told.map((version) => this.#told(name, version)) };
    }
  }

  #told(name: string, { number, spec, generation, state, reason, server, available }: Version) {
    return create(ModelVersionStatusSchema, {
      version: number,
      serverName: server,
      kubernetesMeta: { namespace: this.#namespace, generation: BigInt(generation) },
      state: { state, reason, availableReplicas: available },
      modelDefn: {
        meta: { name },
        modelSpec: {
          uri: spec.storageUri,
          ...(spec.artifactVersion === undefined ? {} : { artifactVersion: spec.artifactVersion }),
          storageConfig: { config: { case: 'storageRcloneConfig', value: '{"secret_access_key":"hunter2"}' } },
        },
      },
    });
  }

  async *#serverStatus() {
    yield {
      serverName: 'mlserver',
      expectedReplicas: this.serverReplicas,
      availableReplicas: this.serverReplicas,
      resources: Array.from({ length: this.serverReplicas }, (_, replicaIdx) => ({
        replicaIdx,
        totalMemoryBytes: BigInt(2048 * mebibyte),
        availableMemoryBytes: BigInt(this.freeBytes),
      })),
    };
  }

  async *#experimentStatus({ name }: { name?: string | undefined }) {
    const names = name === undefined ? [...this.#experiments.keys()] : [name];
    for (const each of names) {
      const found = this.#experiments.get(each);
      if (found === undefined) throw new ConnectError(`Experiment not found ${each}`, Code.FailedPrecondition);
      yield {
        experimentName: each,
        active: found.active,
        candidatesReady: found.candidatesReady,
        mirrorReady: true,
        statusDescription: found.active ? 'experiment active' : 'experiment not active',
        kubernetesMeta: { namespace: this.#namespace, generation: BigInt(found.generation) },
      };
    }
  }
}

function nameOf(state: State): string {
  return Object.entries(State).find(([, value]) => value === state)?.[0] ?? '';
}

function artifactOf(spec: ModelSpec): string {
  return spec.artifactVersion === undefined ? spec.storageUri : `${spec.storageUri}#${spec.artifactVersion}`;
}
