import { setTimeout as sleep } from 'node:timers/promises';
import type { FakeKubernetes } from './fake-kubernetes.ts';
import { includes, isMap, type JsonMap, type KubernetesObject } from './kubernetes-object.ts';

const open = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };

/** The kind as Argo CD installs it: without a status subresource, so that whoever writes the status moves the generation, too. */
export const applicationCrd: KubernetesObject = {
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: 'applications.argoproj.io' },
  spec: {
    group: 'argoproj.io',
    scope: 'Namespaced',
    names: { plural: 'applications', singular: 'application', kind: 'Application', listKind: 'ApplicationList' },
    versions: [
      {
        name: 'v1alpha1',
        served: true,
        storage: true,
        schema: { openAPIV3Schema: { type: 'object', properties: { spec: open, status: open, operation: open } } },
      },
    ],
  },
};

export type ArgoCdOptions = {
  readonly application: { readonly namespace: string; readonly name: string };
  /** Path of the object that git describes, and what git says of it. */
  readonly object: string;
  readonly git: JsonMap;
  /** `--self-heal-timeout-seconds`, shortened. */
  readonly selfHealMs?: number;
};

/**
 * Argo CD's controller for one Application with one object. With `automated.selfHeal` it takes drift back by itself; with `automated` alone only a new commit
 * makes it write; without, or with `enabled: false`, nothing does. It writes as `argocd-controller`.
 * @see https://argo-cd.readthedocs.io/en/stable/user-guide/auto_sync/
 */
export class ArgoCd implements AsyncDisposable {
  readonly #kubernetes: FakeKubernetes;
  readonly #options: ArgoCdOptions;
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;
  /** What is wanted of the Application by whoever made it (an ApplicationSet, an app of apps); it is put back at once. */
  parent: JsonMap | null = null;
  #driftedMs: number | null = null;
  /** Times it wrote the object. */
  syncs = 0;

  constructor(kubernetes: FakeKubernetes, options: ArgoCdOptions) {
    this.#kubernetes = kubernetes;
    this.#options = options;
    this.#done = this.#run();
  }

  get applicationPath(): string {
    const { namespace, name } = this.#options.application;
    return `/apis/argoproj.io/v1alpha1/namespaces/${namespace}/applications/${name}`;
  }

  async application(): Promise<KubernetesObject> {
    return await this.#kubernetes.client.get(this.applicationPath);
  }

  /** A commit that leaves this object as it is: what is synced automatically is written as git has it. */
  async commit(): Promise<void> {
    if (isMap(automatedOf(await this.application()))) await this.#sync();
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      await this.#reconcile();
      await sleep(5, undefined, { signal: this.#stop.signal }).catch(() => undefined);
    }
  }

  async #reconcile(): Promise<void> {
    const application = await this.#kubernetes.client.find(this.applicationPath);
    if (application === null) return;
    if (this.parent !== null && !includes(application.spec ?? {}, this.parent))
      await this.#write(this.applicationPath, { spec: this.parent }, 'argocd-applicationset-controller');
    const automated = automatedOf(application);
    const isHealing = isMap(automated) && automated['selfHeal'] === true && automated['enabled'] !== false;
    const live = await this.#kubernetes.client.find(this.#options.object);
    if (!isHealing || live === null || includes(live, this.#options.git)) {
      this.#driftedMs = null;
      return;
    }
    this.#driftedMs ??= performance.now();
    if (performance.now() - this.#driftedMs >= (this.#options.selfHealMs ?? 10)) await this.#sync();
  }

  async #sync(): Promise<void> {
    this.syncs += 1;
    await this.#write(this.#options.object, this.#options.git, 'argocd-controller');
  }

  async #write(path: string, body: JsonMap, fieldManager: string): Promise<void> {
    await this.#kubernetes.client.request('PATCH', path, { body, contentType: 'application/merge-patch+json', query: { fieldManager } });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#done;
  }
}

function automatedOf(application: KubernetesObject): unknown {
  const policy = application.spec?.['syncPolicy'];
  return isMap(policy) ? policy['automated'] : undefined;
}

/** An Application with one Deployment `shop/fraud`. */
export function anApplication(facts: {
  readonly name?: string;
  readonly automated?: JsonMap | null;
  readonly metadata?: JsonMap;
  readonly resources?: readonly JsonMap[];
}): KubernetesObject {
  return {
    apiVersion: 'argoproj.io/v1alpha1',
    kind: 'Application',
    metadata: { name: facts.name ?? 'shop', namespace: 'argocd', ...facts.metadata },
    spec: {
      project: 'default',
      source: { repoURL: 'https://git.example.org/shop', path: 'fraud' },
      destination: { namespace: 'shop', server: 'https://kubernetes.default.svc' },
      syncPolicy: facts.automated === null ? {} : { automated: facts.automated ?? { prune: true, selfHeal: true } },
    },
    status: { resources: facts.resources ?? [{ group: 'apps', version: 'v1', kind: 'Deployment', namespace: 'shop', name: 'fraud', status: 'Synced' }] },
  };
}
