import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startFakeKubernetes } from '../kubernetes/fake-kubernetes.ts';
import type { PodFate } from '../kubernetes/kubelet.ts';
import type { KubernetesTestClient } from '../kubernetes/kubernetes-client.ts';
import type { KubernetesObject } from '../kubernetes/kubernetes-object.ts';
import { kubeconfigText, type RealKubernetes } from '../kubernetes/real-kubernetes.ts';
import { grantShippedRole } from '../kubernetes/shipped-role.ts';
import { kubeconfigFor } from './plane-access.ts';

/** One namespace of an API server, with an administrator for the platform and a kubeconfig for the daemon. */
export type PlatformCluster = AsyncDisposable & {
  readonly client: KubernetesTestClient;
  readonly namespace: string;
  /** A file. */
  readonly kubeconfig: string;
  /** The token in it; no output may show it. */
  readonly token: string;
  /** What becomes of this namespace's Pods; there are none without a real server. */
  readonly decidePods: (fate: (pod: KubernetesObject) => PodFate) => Promise<void>;
  /** Asks for the fate of each Pod once more. */
  readonly lookAtPods: () => Promise<void>;
};

/** A fake API server with that namespace, where the daemon is an administrator. */
export async function fakeCluster(crds: readonly KubernetesObject[], namespace: string): Promise<PlatformCluster> {
  const kubernetes = await startFakeKubernetes({ namespaces: [namespace] });
  for (const crd of crds) await kubernetes.installCrd(crd);
  const kubeconfig = kubeconfigFor(kubernetes.url);
  return {
    client: kubernetes.client,
    namespace,
    kubeconfig: kubeconfig.path,
    token: kubeconfig.token,
    decidePods: async () => undefined,
    lookAtPods: async () => undefined,
    [Symbol.asyncDispose]: async () => {
      kubeconfig.remove();
      await kubernetes[Symbol.asyncDispose]();
    },
  };
}

/** A new namespace on the real API server, where the daemon has the role that this kind's README ships and nothing else. */
export async function realCluster(kubernetes: RealKubernetes, kind: string): Promise<PlatformCluster> {
  const namespace = await kubernetes.newNamespace();
  const token = await grantShippedRole(kubernetes, kind, namespace);
  const folder = await mkdtemp(join(tmpdir(), 'rollbackd-real-cluster-'));
  const kubeconfig = join(folder, 'config');
  await writeFile(kubeconfig, kubeconfigText(kubernetes.url, kubernetes.ca, token, namespace));
  let fate: (pod: KubernetesObject) => PodFate = () => 'ready';
  const lookAtPods = async (): Promise<void> => await kubernetes.kubelet.decideIn(namespace, fate);
  return {
    client: kubernetes.client,
    namespace,
    kubeconfig,
    token,
    decidePods: async (next) => {
      fate = next;
      await lookAtPods();
    },
    lookAtPods,
    [Symbol.asyncDispose]: async () => await rm(folder, { recursive: true }),
  };
}
