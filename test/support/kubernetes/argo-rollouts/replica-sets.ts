import { setTimeout as sleep } from 'node:timers/promises';
import type { KubernetesTestClient } from '../kubernetes-client.ts';

/** Pods of ReplicaSets, as numbers in their status: up after a while, or never. For servers without the controller of ReplicaSets. */
export class ReplicaSetDouble implements AsyncDisposable {
  readonly #client: KubernetesTestClient;
  readonly #namespace: string;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  /** Pods of such an image never come up, and those there are go down. */
  isBroken: (image: string) => boolean = () => false;

  constructor(client: KubernetesTestClient, namespace: string) {
    this.#client = client;
    this.#namespace = namespace;
    this.#running = this.#run();
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      await this.#pass().catch(() => undefined);
      await sleep(5, undefined, { signal: this.#stop.signal }).catch(() => undefined);
    }
  }

  async #pass(): Promise<void> {
    const path = `/apis/apps/v1/namespaces/${this.#namespace}/replicasets`;
    for (const set of await this.#client.list(path)) {
      const spec = set.spec as unknown as { replicas: number; template: { spec: { containers: { image: string }[] } } };
      const available = spec.template.spec.containers.some(({ image }) => this.isBroken(image)) ? 0 : spec.replicas;
      const status = set.status ?? {};
      if ((status['replicas'] ?? 0) === spec.replicas && (status['availableReplicas'] ?? 0) === available) continue;
      await this.#client.merge(`${path}/${set.metadata.name}/status`, {
        status: { replicas: spec.replicas, readyReplicas: available, availableReplicas: available },
      });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }
}
