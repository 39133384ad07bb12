import { isDeepStrictEqual } from 'node:util';
import type { KubernetesTestClient } from '../kubernetes/kubernetes-client.ts';
import type { JsonMap, KubernetesObject } from '../kubernetes/kubernetes-object.ts';
import { Controller } from './controller.ts';

type Predictor = { name: string; traffic?: number; shadow?: boolean; replicas?: number; graph?: { modelUri?: string } };
type DeploymentStatus = { readyReplicas?: number; unavailableReplicas?: number };

const owner = 'seldon-deployment-id';
export const modelUriAnnotation = 'test.example.org/model-uri';

/**
 * The operator of Seldon Core v1, in what its Reconcile does to routing: nothing is written, and nothing left over is deleted, before every Deployment of
 * every predictor is ready. Its status lags a turn, and knows no observedGeneration.
 */
export class SeldonV1Operator extends Controller {
  readonly #namespace: string;
  readonly #router: 'istio' | 'ambassador';

  constructor(client: KubernetesTestClient, namespace: string, router: 'istio' | 'ambassador') {
    super(client, [`/apis/machinelearning.seldon.io/v1/namespaces/${namespace}/seldondeployments`, `/apis/apps/v1/namespaces/${namespace}/deployments`]);
    this.#namespace = namespace;
    this.#router = router;
  }

  protected override async reconcile(): Promise<void> {
    const path = `/apis/machinelearning.seldon.io/v1/namespaces/${this.#namespace}/seldondeployments`;
    for (const sdep of await this.client.list(path)) await this.#reconcileOne(sdep, `${path}/${sdep.metadata.name}/status`);
  }

  async #reconcileOne(sdep: KubernetesObject, statusPath: string): Promise<void> {
    const predictors = (sdep.spec as { predictors: Predictor[] }).predictors;
    const readiness = await Promise.all(predictors.map(async (predictor) => await this.#deploy(sdep, predictor)));
    const isReady = readiness.every(({ readyReplicas = 0, unavailableReplicas = 0 }) => readyReplicas !== 0 && unavailableReplicas === 0);
    if (isReady) await this.#route(sdep, predictors);
    const state = isReady ? 'Available' : 'Creating';
    if ((sdep.status as { state?: string } | undefined)?.state !== state) await this.client.merge(statusPath, { status: { state } });
  }

  async #deploy(sdep: KubernetesObject, predictor: Predictor): Promise<DeploymentStatus> {
    const name = `${sdep.metadata.name}-${predictor.name}-0-classifier`;
    const labels = { [owner]: sdep.metadata.name, 'seldon-app': `${sdep.metadata.name}-${predictor.name}`, app: name };
    const path = `/apis/apps/v1/namespaces/${this.#namespace}/deployments/${name}`;
    const template = {
      metadata: { labels, annotations: { [modelUriAnnotation]: predictor.graph?.modelUri ?? '' } },
      spec: { containers: [{ name: 'classifier', image: 'registry.example.org/classifier:1' }] },
    };
    const replicas = predictor.replicas ?? 1;
    const found = await this.client.find(path);
    if (found === null) {
      await this.client.create({
        apiVersion: 'apps/v1',
        kind: 'Deployment',
        metadata: { name, namespace: this.#namespace, labels },
        spec: { replicas, selector: { matchLabels: { app: name } }, template },
      });
      return {};
    }
    const present = found.spec as { replicas?: number; template: { metadata: { annotations?: Record<string, string> } } };
    const isSame =
      present.replicas === replicas && present.template.metadata.annotations?.[modelUriAnnotation] === template.metadata.annotations[modelUriAnnotation];
    if (!isSame) await this.client.merge(path, { spec: { replicas, template: { metadata: { annotations: template.metadata.annotations } } } });
    return found.status ?? {};
  }

  /** `completeServiceCreation`: routing, then what is left over. */
  async #route(sdep: KubernetesObject, predictors: readonly Predictor[]): Promise<void> {
    if (this.#router === 'istio') await this.#writeVirtualService(sdep, predictors);
    else await this.#writeMappings(sdep, predictors);
    const wanted = new Set(predictors.map((predictor) => `${sdep.metadata.name}-${predictor.name}-0-classifier`));
    const path = `/apis/apps/v1/namespaces/${this.#namespace}/deployments`;
    for (const deployment of await this.client.list(path, { labelSelector: `${owner}=${sdep.metadata.name}` }))
      if (!wanted.has(deployment.metadata.name)) await this.client.remove(`${path}/${deployment.metadata.name}`);
  }

  async #writeVirtualService(sdep: KubernetesObject, predictors: readonly Predictor[]): Promise<void> {
    const served = predictors.filter((predictor) => predictor.shadow !== true);
    const route = served.map((predictor) => ({
      destination: { host: `${sdep.metadata.name}-${predictor.name}.${this.#namespace}.svc.cluster.local`, subset: predictor.name },
      // A weight of 0 is left out in JSON.
      ...(weightOf(predictor, served) === 0 ? {} : { weight: weightOf(predictor, served) }),
    }));
    const shadow = predictors.find((predictor) => predictor.shadow === true);
    const mirror = shadow === undefined ? {} : { mirror: { host: `${sdep.metadata.name}-${shadow.name}`, subset: shadow.name } };
    await this.#write({
      apiVersion: 'networking.istio.io/v1',
      kind: 'VirtualService',
      metadata: { name: sdep.metadata.name, namespace: this.#namespace },
      spec: {
        http: [
          { match: [{ uri: { prefix: `/seldon/${this.#namespace}/${sdep.metadata.name}/` } }], route, ...mirror },
          { route, ...mirror },
        ],
      },
    });
  }

  /** The first predictor's Mapping has no weight. */
  async #writeMappings(sdep: KubernetesObject, predictors: readonly Predictor[]): Promise<void> {
    const wanted = new Set<string>();
    for (const [index, predictor] of predictors.entries()) {
      for (const kind of ['rest', 'grpc']) {
        const name = `seldon-${this.#namespace}-${sdep.metadata.name}-${predictor.name}-${kind}`;
        wanted.add(name);
        await this.#write({
          apiVersion: 'getambassador.io/v3alpha1',
          kind: 'Mapping',
          metadata: { name, namespace: this.#namespace, labels: { [owner]: sdep.metadata.name } },
          spec: {
            prefix: kind === 'grpc' ? '/(seldon.protos.*|tensorflow.serving.*)/.*' : `/seldon/${this.#namespace}/${sdep.metadata.name}/`,
            service: `${sdep.metadata.name}-${predictor.name}.${this.#namespace}:8000`,
            ...(kind === 'grpc' ? { grpc: true } : {}),
            ...(index === 0 ? {} : { weight: predictor.traffic ?? 0 }),
            ...(predictor.shadow === true ? { shadow: true } : {}),
          },
        });
      }
    }
    const path = `/apis/getambassador.io/v3alpha1/namespaces/${this.#namespace}/mappings`;
    for (const mapping of await this.client.list(path)) if (!wanted.has(mapping.metadata.name)) await this.client.remove(`${path}/${mapping.metadata.name}`);
  }

  async #write(object: KubernetesObject): Promise<void> {
    const [group = '', version = ''] = (object.apiVersion ?? '').split('/');
    const path = `/apis/${group}/${version}/namespaces/${this.#namespace}/${(object.kind ?? '').toLowerCase()}s/${object.metadata.name}`;
    const found = await this.client.find(path);
    if (found === null) await this.client.create(object);
    else if (!isDeepStrictEqual(found.spec, object.spec)) await this.client.replace({ ...found, spec: object.spec as JsonMap });
  }
}

function weightOf(predictor: Predictor, served: readonly Predictor[]): number {
  return served.length === 1 ? 100 : (predictor.traffic ?? 0);
}

/** What Seldon's validating webhook says of a SeldonDeployment: a reason, or `null` when it may pass. */
export function seldonV1Objection(sdep: KubernetesObject): string | null {
  const { predictors } = sdep.spec as { predictors: Predictor[] };
  const served = predictors.filter((predictor) => predictor.shadow !== true);
  const sum = served.reduce((total, predictor) => total + (predictor.traffic ?? 0), 0);
  if (new Set(predictors.map((predictor) => predictor.name)).size !== predictors.length) return 'Duplicate predictor name';
  if (served.length > 1 && sum !== 100) return 'Traffic must sum to 100 for multiple predictors';
  if (served.length === 1 && ![0, 100].includes(sum)) return 'Traffic must be 100 for a single predictor when set';
  return null;
}
