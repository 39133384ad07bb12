import { setTimeout as sleep } from 'node:timers/promises';
import type { FakeKubernetes } from './fake-kubernetes.ts';
import { isMap } from './kubernetes-object.ts';

const path = '/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes/fraud';

/**
 * What a Gateway controller does to one HTTPRoute: writes `status.parents` some time after the spec, one Gateway after the other, each with the generation it
 * has looked at. Meanwhile the old words stand there, true of the old generation only.
 */
export class GatewayController implements AsyncDisposable {
  readonly #kubernetes: FakeKubernetes;
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;
  /** Gateways that do not answer. */
  readonly silent = new Set<string>();
  /** Condition type → reason it is False for. */
  refusal: { readonly type: 'Accepted' | 'ResolvedRefs'; readonly reason: string } | null = null;
  readonly #delayMs: number;

  constructor(kubernetes: FakeKubernetes, options: { delayMs: number }) {
    this.#kubernetes = kubernetes;
    this.#delayMs = options.delayMs;
    this.#done = this.#run();
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      await this.reconcile();
      await sleep(5, undefined, { signal: this.#stop.signal }).catch(() => undefined);
    }
  }

  /** One look at the route. */
  async reconcile(): Promise<void> {
    const route = await this.#kubernetes.client.find(path);
    if (route === null) return;
    const generation = route.metadata.generation ?? 0;
    const parents = Array.isArray(route.status?.['parents']) ? (route.status['parents'] as Record<string, unknown>[]) : [];
    for (const ref of (route.spec?.['parentRefs'] ?? []) as { name: string }[]) {
      if (this.silent.has(ref.name)) continue;
      const known = parents.find((parent) => isMap(parent['parentRef']) && parent['parentRef']['name'] === ref.name);
      const seen = (known?.['conditions'] as { observedGeneration: number }[] | undefined)?.[0]?.observedGeneration ?? 0;
      if (seen >= generation) continue;
      await sleep(this.#delayMs, undefined, { signal: this.#stop.signal }).catch(() => undefined);
      if (this.#stop.signal.aborted) return;
      const conditions = (['Accepted', 'ResolvedRefs'] as const).map((type) => {
        const isRefused = this.refusal?.type === type;
        return { type, status: isRefused ? 'False' : 'True', reason: isRefused ? this.refusal?.reason : type, observedGeneration: generation, message: '' };
      });
      const entry = { parentRef: { group: 'gateway.networking.k8s.io', kind: 'Gateway', name: ref.name }, controllerName: 'example.org/gateway', conditions };
      const others = parents.filter((parent) => parent !== known);
      await this.#kubernetes.client.merge(`${path}/status`, { status: { parents: [...others, entry] } });
      return;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#done;
  }
}
