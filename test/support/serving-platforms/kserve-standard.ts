import type { KubernetesTestClient } from '../kubernetes/kubernetes-client.ts';
import { includes, type KubernetesObject } from '../kubernetes/kubernetes-object.ts';
import { Controller } from './controller.ts';

type Predictor = { name?: string; minReplicas?: number; canaryTrafficPercent?: number; model: { storageUri: string } };
type Canary = { predictor: Partial<Predictor> & { name: string }; trafficPercent: number };
type Isvc = { predictor: Predictor; canary?: Canary[] };
type Condition = { type: string; status: string; reason?: string; message?: string };

export const sourceUri = 'internal.serving.kserve.io/storage-initializer-sourceuri';

/**
 * KServe in Standard mode. `canaries: false` is a KServe before v0.20, which reads neither `spec.canary` nor `canaryTrafficPercent`. With canaries their
 * weights go to an HTTPRoute, ready or not, but only while PredictorReady is True, which is what the Deployment's conditions make of it; the status says the
 * percentages of the spec. `observedGeneration` is the Deployment's.
 */
export class KserveStandardController extends Controller {
  readonly #namespace: string;
  readonly #knowsCanaries: boolean;

  constructor(client: KubernetesTestClient, namespace: string, options: { canaries: boolean }) {
    super(client, [`/apis/serving.kserve.io/v1beta1/namespaces/${namespace}/inferenceservices`, `/apis/apps/v1/namespaces/${namespace}/deployments`]);
    this.#namespace = namespace;
    this.#knowsCanaries = options.canaries;
  }

  protected override async reconcile(): Promise<void> {
    const path = `/apis/serving.kserve.io/v1beta1/namespaces/${this.#namespace}/inferenceservices`;
    for (const isvc of await this.client.list(path)) await this.#reconcileOne(isvc, `${path}/${isvc.metadata.name}/status`);
  }

  async #reconcileOne(isvc: KubernetesObject, statusPath: string): Promise<void> {
    const spec = isvc.spec as unknown as Isvc;
    const canaries = this.#knowsCanaries ? (spec.canary ?? []) : [];
    const replicas = spec.predictor.minReplicas ?? 1;
    const canaryStatuses: { name: string; ready: boolean; trafficPercent: number }[] = [];
    for (const canary of canaries) {
      const wanted = canary.predictor.minReplicas ?? Math.ceil((replicas * canary.trafficPercent) / 100);
      const deployed = await this.#deploy(isvc, canary.predictor.name, canary.predictor.model?.storageUri ?? spec.predictor.model.storageUri, wanted);
      canaryStatuses.push({ name: canary.predictor.name, ready: readyOf(deployed) === 'True' && wanted > 0, trafficPercent: canary.trafficPercent });
    }
    const taken = canaries.reduce(
      (sum, canary, index) => sum + (canaryStatuses[index]?.ready === true ? Math.ceil((replicas * canary.trafficPercent) / 100) : 0),
      0,
    );
    const stable = await this.#deploy(isvc, spec.predictor.name, spec.predictor.model.storageUri, Math.max(1, replicas - taken));
    const predictorReady = readyOf(stable);
    await this.#removeOrphans(isvc, spec, canaries);
    if (this.#knowsCanaries && predictorReady === 'True') await this.#route(isvc, spec, canaries);
    const failed = conditionOf(stable, 'Progressing')?.status === 'False';
    await this.client.merge(statusPath, {
      status: {
        observedGeneration: (stable.status as { observedGeneration?: number } | undefined)?.observedGeneration ?? 0,
        deploymentMode: this.#knowsCanaries ? 'Standard' : 'RawDeployment',
        conditions: [
          { type: 'PredictorReady', status: predictorReady },
          { type: 'Ready', status: predictorReady },
        ],
        ...(this.#knowsCanaries ? { canaryStatuses } : {}),
        modelStatus: {
          transitionStatus: failed ? 'BlockedByFailedLoad' : predictorReady === 'True' ? 'UpToDate' : 'InProgress',
          lastFailureInfo: failed ? { reason: 'ModelLoadFailed', exitCode: 1 } : null,
        },
      },
    });
  }

  async #deploy(isvc: KubernetesObject, predictor: string | undefined, uri: string, replicas: number): Promise<KubernetesObject> {
    const name = workload(isvc.metadata.name, predictor);
    const path = `/apis/apps/v1/namespaces/${this.#namespace}/deployments/${name}`;
    const found = await this.client.find(path);
    const labels = { app: `isvc.${name}`, 'serving.kserve.io/inferenceservice': isvc.metadata.name, component: 'predictor' };
    if (found === null) {
      return await this.client.create({
        apiVersion: 'apps/v1',
        kind: 'Deployment',
        metadata: { name, namespace: this.#namespace, labels },
        spec: {
          replicas,
          selector: { matchLabels: { app: labels.app } },
          template: {
            metadata: { labels, annotations: { [sourceUri]: uri } },
            spec: { containers: [{ name: 'kserve-container', image: 'registry.example.org/sklearn:1' }] },
          },
        },
      });
    }
    const present = found.spec as unknown as { replicas?: number; template: { metadata: { annotations?: Record<string, string> } } };
    if (present.replicas === replicas && present.template.metadata.annotations?.[sourceUri] === uri) return found;
    return await this.client.merge(path, { spec: { replicas, template: { metadata: { annotations: { [sourceUri]: uri } } } } });
  }

  async #removeOrphans(isvc: KubernetesObject, spec: Isvc, canaries: readonly Canary[]): Promise<void> {
    const wanted = new Set([
      workload(isvc.metadata.name, spec.predictor.name),
      ...canaries.map((canary) => workload(isvc.metadata.name, canary.predictor.name)),
    ]);
    const path = `/apis/apps/v1/namespaces/${this.#namespace}/deployments`;
    const own = await this.client.list(path, { labelSelector: `serving.kserve.io/inferenceservice=${isvc.metadata.name}` });
    for (const deployment of own) if (!wanted.has(deployment.metadata.name)) await this.client.remove(`${path}/${deployment.metadata.name}`);
  }

  async #route(isvc: KubernetesObject, spec: Isvc, canaries: readonly Canary[]): Promise<void> {
    const taken = canaries.reduce((sum, canary) => sum + canary.trafficPercent, 0);
    const backendRefs = [
      { name: workload(isvc.metadata.name, spec.predictor.name), port: 80, weight: 100 - taken },
      ...canaries.map((canary) => ({ name: workload(isvc.metadata.name, canary.predictor.name), port: 80, weight: canary.trafficPercent })),
    ];
    // The route keeps its name through promotions.
    const name = workload(isvc.metadata.name, undefined);
    const path = `/apis/gateway.networking.k8s.io/v1/namespaces/${this.#namespace}/httproutes/${name}`;
    const wished = { rules: [{ matches: [{ path: { type: 'RegularExpression', value: '^/.*$' } }], backendRefs }] };
    const found = await this.client.find(path);
    if (found === null)
      await this.client.create({
        apiVersion: 'gateway.networking.k8s.io/v1',
        kind: 'HTTPRoute',
        metadata: { name, namespace: this.#namespace },
        spec: wished,
      });
    else if (!includes(found.spec, wished)) await this.client.replace({ ...found, spec: wished });
  }
}

function workload(isvc: string, predictor: string | undefined): string {
  return predictor === undefined || predictor === '' ? `${isvc}-predictor` : `${isvc}-${predictor}-predictor`;
}

function conditionOf(deployment: KubernetesObject, type: string): Condition | undefined {
  return (deployment.status as { conditions?: Condition[] } | undefined)?.conditions?.find((condition) => condition.type === type);
}

/** KServe's `PropagateRawStatus`: True while old pods are available, also when new ones do not come up, until the deadline. */
function readyOf(deployment: KubernetesObject): 'True' | 'False' | 'Unknown' {
  const available = conditionOf(deployment, 'Available');
  const progressing = conditionOf(deployment, 'Progressing');
  if (available?.status === 'False') return 'False';
  if (progressing?.status === 'False' && progressing.message !== undefined) return 'False';
  if (progressing?.status === 'True' && progressing.reason === 'NewReplicaSetAvailable') return 'True';
  if (available?.status === 'True') return 'True';
  return progressing === undefined ? 'False' : 'Unknown';
}
