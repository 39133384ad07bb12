import { until } from '../../until.ts';
import type { KubernetesTestClient } from '../kubernetes-client.ts';
import type { JsonMap, KubernetesObject } from '../kubernetes-object.ts';
import { aService } from '../objects.ts';
import { labelHash } from './template.ts';

/** What a test does to a Rollout `fraud`, as the people who own it, and how it waits for what the controller makes of it. */
export class RolloutOwner {
  readonly path: string;
  readonly #client: KubernetesTestClient;
  readonly #namespace: string;

  constructor(client: KubernetesTestClient, namespace: string) {
    this.#client = client;
    this.#namespace = namespace;
    this.path = `/apis/argoproj.io/v1alpha1/namespaces/${namespace}/rollouts/fraud`;
  }

  async create(rollout: KubernetesObject): Promise<void> {
    for (const name of ['fraud-active', 'fraud-preview', 'fraud-stable', 'fraud-canary'])
      await this.#client.create(aService({ name, namespace: this.#namespace, selector: { app: 'fraud' } }));
    await this.#client.create({ ...rollout, metadata: { ...rollout.metadata, namespace: this.#namespace } });
    await this.promoted('6');
  }

  async get(): Promise<KubernetesObject> {
    return await this.#client.get(this.path);
  }

  async status(): Promise<JsonMap> {
    return (await this.get()).status ?? {};
  }

  /** `{version: hash}` of the ReplicaSets there are. */
  async hashes(): Promise<Record<string, string>> {
    const sets = await this.#client.list(`/apis/apps/v1/namespaces/${this.#namespace}/replicasets`, { labelSelector: 'app=fraud' });
    return Object.fromEntries(sets.map((set) => [set.metadata.labels?.['app.kubernetes.io/version'] ?? '', labelHash(set)]));
  }

  /** Waits until the controller works on a version: the status is of the newest template. */
  async seen(version: string): Promise<void> {
    await this.#until(`the controller to work on ${version}`, async (status, rollout) => {
      return status['currentPodHash'] === (await this.hashes())[version] && status['observedGeneration'] === String(rollout.metadata.generation);
    });
  }

  /** Waits until a version is promoted, all its pods are up, and those of others are gone. */
  async promoted(version: string): Promise<void> {
    await this.seen(version);
    await this.#until(`${version} to be promoted`, async (status) => {
      const isAlone = status['replicas'] === status['updatedReplicas'];
      return status['stableRS'] === (await this.hashes())[version] && status['phase'] === 'Healthy' && isAlone;
    });
  }

  /** Waits until a canary or a preview waits for a person. */
  async waiting(version: string): Promise<void> {
    await this.seen(version);
    await this.#until(`${version} to wait at a step`, async (status) => ((status['pauseConditions'] ?? []) as JsonMap[]).length > 0);
  }

  /** As `kubectl argo rollouts promote --full`. */
  async promoteFull(): Promise<void> {
    await this.#client.merge(`${this.path}/status`, { status: { promoteFull: true } });
  }

  /** As `kubectl argo rollouts promote`: on from the step it waits at. */
  async goOn(): Promise<void> {
    await this.#client.merge(`${this.path}/status`, { status: { pauseConditions: null } });
  }

  /** A change of the spec, as somebody applies it. */
  async change(spec: JsonMap): Promise<void> {
    await this.#client.jsonPatch(
      this.path,
      Object.entries(spec).map(([key, value]) => ({ op: 'add', path: `/spec/${key}`, value })),
    );
  }

  async #until(what: string, look: (status: JsonMap, rollout: KubernetesObject) => Promise<boolean>): Promise<void> {
    await until(
      what,
      async () => {
        const rollout = await this.get();
        return await look(rollout.status ?? {}, rollout);
      },
      { withinMs: 15_000, everyMs: 10, seen: async () => JSON.stringify(await this.status()) },
    );
  }
}
