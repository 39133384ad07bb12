import type { KubernetesTestClient } from './kubernetes-client.ts';
import { isMap, type JsonMap, type KubernetesObject } from './kubernetes-object.ts';

/** What becomes of a Pod: it runs and is ready, or its container waits for that reason (`ImagePullBackOff`, `CrashLoopBackOff`) for good. */
export type PodFate = 'ready' | { readonly waiting: string; readonly message?: string };

/** A node, and scheduler and kubelet for it: Pods are bound, become what they are to become, and go when they are deleted. Nothing runs. */
export class FakeKubelet implements AsyncDisposable {
  readonly #client: KubernetesTestClient;
  readonly #node: string;
  readonly #stop = new AbortController();
  #fate: (pod: KubernetesObject) => PodFate;
  readonly #fates = new Map<string, (pod: KubernetesObject) => PodFate>();
  #watching: Promise<void> = Promise.resolve();
  #addresses = 10;
  readonly #busy = new Map<string, Promise<void>>();

  private constructor(client: KubernetesTestClient, fate: (pod: KubernetesObject) => PodFate, node: string) {
    this.#client = client;
    this.#fate = fate;
    this.#node = node;
  }

  /** @param fate of each Pod; asked when it is bound, and again by `decideAnew()` */
  static async start(client: KubernetesTestClient, fate: (pod: KubernetesObject) => PodFate = () => 'ready', node = 'node-1'): Promise<FakeKubelet> {
    const kubelet = new FakeKubelet(client, fate, node);
    if ((await client.find(`/api/v1/nodes/${node}`)) === null) await client.create({ apiVersion: 'v1', kind: 'Node', metadata: { name: node } });
    await client.merge(`/api/v1/nodes/${node}/status`, { status: { conditions: [{ type: 'Ready', status: 'True' }] } });
    kubelet.#watching = client.watch('/api/v1/pods', {}, (type, pod) => type !== 'DELETED' && kubelet.#take(pod), kubelet.#stop.signal);
    return kubelet;
  }

  /** From now on; Pods there are already are asked about, too. */
  async decideAnew(fate: (pod: KubernetesObject) => PodFate): Promise<void> {
    this.#fate = fate;
    for (const pod of await this.#client.list('/api/v1/pods')) this.#take(pod);
  }

  /** The same for one namespace, which then goes its own way. */
  async decideIn(namespace: string, fate: (pod: KubernetesObject) => PodFate): Promise<void> {
    this.#fates.set(namespace, fate);
    for (const pod of await this.#client.list(`/api/v1/namespaces/${namespace}/pods`)) this.#take(pod);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#watching;
    await Promise.allSettled(this.#busy.values());
  }

  /** One thing at a time per Pod. What fails is tried again at the Pod's next change. */
  #take(pod: KubernetesObject): void {
    const uid = pod.metadata.uid ?? '';
    const work = (this.#busy.get(uid) ?? Promise.resolve()).then(async () => this.#serve(pod)).catch(() => undefined);
    this.#busy.set(uid, work);
    void work.then(() => this.#busy.get(uid) === work && this.#busy.delete(uid));
  }

  async #serve(seen: KubernetesObject): Promise<void> {
    const path = `/api/v1/namespaces/${seen.metadata.namespace ?? ''}/pods/${seen.metadata.name}`;
    const pod = await this.#client.find(path);
    if (pod === null || pod.metadata.uid !== seen.metadata.uid) return;
    if (pod.metadata.deletionTimestamp !== undefined) return this.#client.remove(path, { gracePeriodSeconds: 0 });
    if (pod.spec?.['nodeName'] === undefined) {
      const target = { apiVersion: 'v1', kind: 'Node', name: this.#node };
      // The binding is seen by the watch: the rest follows then.
      await this.#client.request('POST', `${path}/binding`, { body: { apiVersion: 'v1', kind: 'Binding', metadata: { name: pod.metadata.name }, target } });
      return;
    }
    const status = this.#statusOf(pod, (this.#fates.get(pod.metadata.namespace ?? '') ?? this.#fate)(pod));
    if (status !== null) await this.#client.merge(`${path}/status`, { status });
  }

  /** `null` when the Pod has it already. */
  #statusOf(pod: KubernetesObject, fate: PodFate): JsonMap | null {
    const isReady = fate === 'ready';
    const conditions = (pod.status?.['conditions'] ?? []) as { type: string; status: string }[];
    if (conditions.find((condition) => condition.type === 'Ready')?.status === (isReady ? 'True' : 'False')) return null;
    const at = `${new Date().toISOString().slice(0, 19)}Z`;
    const condition = (type: string, value: boolean): JsonMap => ({
      type,
      status: value ? 'True' : 'False',
      lastTransitionTime: at,
      ...(value ? {} : { reason: 'ContainersNotReady', message: 'containers with unready status' }),
    });
    const known = pod.status?.['podIP'];
    const ip = typeof known === 'string' && known !== '' ? known : this.#nextAddress();
    return {
      phase: isReady ? 'Running' : 'Pending',
      startTime: at,
      hostIP: '127.0.0.1',
      podIP: ip,
      podIPs: [{ ip }],
      conditions: [condition('Initialized', true), condition('PodScheduled', true), condition('ContainersReady', isReady), condition('Ready', isReady)],
      containerStatuses: containersOf(pod).map((container) => ({
        name: container['name'],
        image: container['image'],
        imageID: '',
        ready: isReady,
        started: isReady,
        restartCount: 0,
        state: isReady
          ? { running: { startedAt: at } }
          : { waiting: { reason: (fate as { waiting: string }).waiting, message: (fate as { message?: string }).message ?? '' } },
      })),
    };
  }

  #nextAddress(): string {
    this.#addresses += 1;
    return `10.1.${Math.floor(this.#addresses / 250)}.${(this.#addresses % 250) + 1}`;
  }
}

export function containersOf(pod: KubernetesObject): readonly JsonMap[] {
  const containers = pod.spec?.['containers'];
  return Array.isArray(containers) ? containers.filter(isMap) : [];
}
