import type { FakeKubernetes } from '../kubernetes/fake-kubernetes.ts';
import type { KubernetesObject } from '../kubernetes/kubernetes-object.ts';

type Predictor = Record<string, unknown> & { name?: string; minReplicas?: number; model?: { storageUri?: string } };
type Spec = { predictor: Predictor; canary?: { predictor: Predictor; trafficPercent?: number }[] };

const refusedInCanaries = ['maxReplicas', 'scaleTarget', 'scaleMetric', 'autoScaling', 'workerSpec'];

/** What KServe's validating webhook says of canaries since v0.20 (PR #5672); its refusals are plain errors, so 403. */
export function addKserveWebhook(kubernetes: FakeKubernetes): void {
  kubernetes.addWebhook({
    name: 'inferenceservice.kserve-webhook-server.validator',
    review: ({ resource, subresource, object, before }) => {
      const fault = resource === 'inferenceservices' && subresource === null && object !== null ? faultOf(object, before) : null;
      return fault === null ? null : { deny: fault };
    },
  });
}

function faultOf(object: KubernetesObject, old: KubernetesObject | null): string | null {
  const { predictor, canary = [] } = object.spec as unknown as Spec;
  const names = [predictor.name, ...canary.map((entry) => entry.predictor.name)];
  if (canary.some((entry) => entry.predictor.name === undefined || entry.predictor.name === '')) return 'canary predictor name is required';
  if (new Set(names).size !== names.length) return `canary predictor names must be unique: ${names.join(', ')}`;
  if (canary.reduce((sum, { trafficPercent = 0 }) => sum + trafficPercent, 0) > 100) return 'the sum of canary trafficPercent must not exceed 100';
  for (const { predictor: own } of canary) {
    const refused = refusedInCanaries.find((key) => own[key] !== undefined);
    if (refused !== undefined) return `${refused} is not supported in a canary predictor`;
    if ((own.minReplicas ?? 0) > (predictor.minReplicas ?? 1)) return 'canary minReplicas must not exceed that of the stable predictor';
  }
  const before = (old?.spec as unknown as Spec | undefined)?.predictor;
  if (before !== undefined && before.name !== predictor.name && before.model?.storageUri === predictor.model?.storageUri)
    return 'changing predictor.name requires another storageUri';
  return null;
}
