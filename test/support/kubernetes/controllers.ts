import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { KubernetesTestClient } from './kubernetes-client.ts';
import type { JsonMap, KubernetesObject } from './kubernetes-object.ts';

const everyMs = 10;
const hashLabel = 'pod-template-hash';
const revision = 'deployment.kubernetes.io/revision';

export type ControllerOptions = {
  readonly namespace: string;
  /** Pods of such an image never become ready. */
  readonly isBroken?: (image: string) => boolean;
  /** Deployments of this shape get pods of their own, and Services EndpointSlices of the ready ones. */
  readonly withPods?: boolean;
};

/** The controllers of Deployments and of EndpointSlices, as far as a rollback meets them: hashes, revisions, renumbering, rollouts, deadlines. */
export function startControllers(client: KubernetesTestClient, options: ControllerOptions): AsyncDisposable & { pause(): void; resume(): void } {
  const stop = new AbortController();
  let isPaused = false;
  const turn = async (): Promise<void> => {
    for (const deployment of await client.list(`/apis/apps/v1/namespaces/${options.namespace}/deployments`)) {
      await rollOut(client, deployment, options);
      if (options.withPods === true) await makePods(client, deployment, options);
    }
    if (options.withPods === true)
      for (const service of await client.list(`/api/v1/namespaces/${options.namespace}/services`)) await publish(client, service, options.namespace);
  };
  const running = (async () => {
    while (!stop.signal.aborted) {
      // A conflict or an object that went away meanwhile: the next turn looks again.
      if (!isPaused) await turn().catch(() => undefined);
      await sleep(everyMs, undefined, { signal: stop.signal }).catch(() => undefined);
    }
  })();
  return {
    pause: () => void (isPaused = true),
    resume: () => void (isPaused = false),
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await running;
    },
  };
}

type Spec = { replicas: number; paused?: boolean; template: KubernetesObject & { spec: { containers: { image: string }[] } }; strategy?: { type?: string } };

async function rollOut(client: KubernetesTestClient, deployment: KubernetesObject, options: ControllerOptions): Promise<void> {
  const spec = deployment.spec as unknown as Spec;
  const path = `/apis/apps/v1/namespaces/${options.namespace}`;
  const owned = (await client.list(`${path}/replicasets`)).filter((set) => set.metadata.ownerReferences?.[0]?.uid === deployment.metadata.uid);
  const numberOf = (set: KubernetesObject): number => Number(set.metadata.annotations?.[revision] ?? 0);
  const newest = Math.max(0, ...owned.map(numberOf));
  let current = owned.find((set) => isDeepStrictEqual(bare((set.spec as unknown as Spec).template), bare(spec.template)));
  if (current === undefined && spec.paused !== true) current = await client.create(aReplicaSet(deployment, spec, newest + 1));
  else if (current !== undefined && numberOf(current) < newest && spec.paused !== true)
    current = await client.merge(`${path}/replicasets/${current.metadata.name}`, { metadata: { annotations: { [revision]: String(newest + 1) } } });
  if (current === undefined) return;
  const works = !(options.isBroken?.(spec.template.spec.containers[0]?.image ?? '') ?? false);
  const others = owned.filter((set) => set.metadata.uid !== current.metadata.uid);
  const available = works ? spec.replicas : 0;
  if (spec.paused !== true) {
    await scale(client, current, spec.replicas, available);
    // RollingUpdate with maxUnavailable 0: the old ones stay until the new ones are ready.
    for (const set of others) if (works || spec.strategy?.type === 'Recreate') await scale(client, set, 0, 0);
  }
  const old = works ? 0 : others.reduce((sum, set) => sum + Number((set.spec as JsonMap)['replicas'] ?? 0), 0);
  await setStatus(client, deployment, { spec, available, old, works });
}

async function setStatus(
  client: KubernetesTestClient,
  deployment: KubernetesObject,
  { spec, available, old, works }: { spec: Spec; available: number; old: number; works: boolean },
): Promise<void> {
  const conditions = ((deployment.status ?? {}) as { conditions?: { type: string; reason: string }[] }).conditions ?? [];
  const reason = works ? 'NewReplicaSetAvailable' : 'ProgressDeadlineExceeded';
  const isAsBefore = conditions[0]?.reason === reason;
  const progressing = isAsBefore
    ? conditions[0]
    : {
        type: 'Progressing',
        status: works ? 'True' : 'False',
        reason,
        message: works ? 'rolled out' : 'ReplicaSet has timed out progressing.',
        lastUpdateTime: new Date().toISOString(),
      };
  const status = {
    observedGeneration: deployment.metadata.generation,
    replicas: spec.replicas + old,
    updatedReplicas: spec.replicas,
    availableReplicas: available + old,
    conditions: [progressing],
  };
  if (isDeepStrictEqual({ ...deployment.status, ...status }, deployment.status ?? {})) return;
  await client.merge(`/apis/apps/v1/namespaces/${deployment.metadata.namespace}/deployments/${deployment.metadata.name}/status`, { status });
}

async function scale(client: KubernetesTestClient, set: KubernetesObject, replicas: number, available: number): Promise<void> {
  const path = `/apis/apps/v1/namespaces/${set.metadata.namespace}/replicasets/${set.metadata.name}`;
  if (set.spec?.['replicas'] !== replicas) await client.merge(path, { spec: { replicas } });
  if (set.status?.['availableReplicas'] !== available || set.status['replicas'] !== replicas)
    await client.merge(`${path}/status`, { status: { replicas, availableReplicas: available } });
}

function aReplicaSet(deployment: KubernetesObject, spec: Spec, number: number): KubernetesObject {
  const hash = `h${number}${deployment.metadata.uid?.slice(0, 4) ?? ''}`;
  const { name, namespace, uid } = deployment.metadata;
  const labels = { ...spec.template.metadata.labels, [hashLabel]: hash };
  return {
    apiVersion: 'apps/v1',
    kind: 'ReplicaSet',
    metadata: {
      name: `${name}-${hash}`,
      ...(namespace === undefined ? {} : { namespace }),
      labels,
      annotations: { [revision]: String(number) },
      ownerReferences: [{ apiVersion: 'apps/v1', kind: 'Deployment', name, uid: uid ?? '', controller: true }],
    },
    spec: { replicas: 0, selector: { matchLabels: labels }, template: { ...spec.template, metadata: { ...spec.template.metadata, labels } } },
  };
}

/** Without the hash, as both sides have it. */
function bare(template: Spec['template']): unknown {
  const { [hashLabel]: _hash, ...labels } = template.metadata.labels ?? {};
  return { ...template, metadata: { ...template.metadata, labels } };
}

async function makePods(client: KubernetesTestClient, deployment: KubernetesObject, options: ControllerOptions): Promise<void> {
  const spec = deployment.spec as unknown as Spec;
  const path = `/api/v1/namespaces/${options.namespace}/pods`;
  const owned = (await client.list(path)).filter((pod) => pod.metadata.ownerReferences?.[0]?.uid === deployment.metadata.uid);
  for (let index = owned.length; index < spec.replicas; index += 1) {
    const name = `${deployment.metadata.name}-${index}`;
    const owner = { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: deployment.metadata.name, uid: deployment.metadata.uid ?? '', controller: true };
    await client.create({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, namespace: options.namespace, labels: spec.template.metadata.labels ?? {}, ownerReferences: [owner] },
      spec: spec.template.spec,
    });
    const isReady = !(options.isBroken?.(spec.template.spec.containers[0]?.image ?? '') ?? false);
    await client.merge(`${path}/${name}/status`, { status: { phase: 'Running', conditions: [{ type: 'Ready', status: isReady ? 'True' : 'False' }] } });
  }
  for (const pod of owned.slice(spec.replicas)) await client.remove(`${path}/${pod.metadata.name}`, { gracePeriodSeconds: 0 });
}

async function publish(client: KubernetesTestClient, service: KubernetesObject, namespace: string): Promise<void> {
  const selector = Object.entries((service.spec?.['selector'] ?? {}) as Record<string, string>);
  const labelSelector = selector.map(([key, value]) => `${key}=${value}`).join(',');
  const pods = (await client.list(`/api/v1/namespaces/${namespace}/pods`, { labelSelector })).filter((pod) => isPodReady(pod));
  const endpoints = pods.map((pod, index) => ({
    addresses: [`10.0.0.${index + 1}`],
    conditions: { ready: true },
    targetRef: { kind: 'Pod', name: pod.metadata.name, namespace },
  }));
  const name = `${service.metadata.name}-slice`;
  const path = `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices`;
  const known = await client.find(`${path}/${name}`);
  if (known === null)
    await client.create({
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name, namespace, labels: { 'kubernetes.io/service-name': service.metadata.name } },
      addressType: 'IPv4',
      endpoints,
      ports: [],
    });
  else if (!isDeepStrictEqual(known['endpoints'], endpoints)) await client.merge(`${path}/${name}`, { endpoints });
}

function isPodReady(pod: KubernetesObject): boolean {
  const conditions = (pod.status?.['conditions'] ?? []) as { type: string; status: string }[];
  return conditions.some(({ type, status }) => type === 'Ready' && status === 'True');
}
