import type { KubernetesObject } from '../kubernetes/kubernetes-object.ts';

const open = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } as const;

/** A custom kind with a status whose content is left open, as far as the tests' API servers need it. */
function crd(group: string, version: string, plural: string, kind: string): KubernetesObject {
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${group}` },
    spec: {
      group,
      scope: 'Namespaced',
      names: { plural, singular: kind.toLowerCase(), kind, listKind: `${kind}List` },
      versions: [
        {
          name: version,
          served: true,
          storage: true,
          subresources: { status: {} },
          schema: { openAPIV3Schema: { type: 'object', properties: { spec: open, status: open } } },
        },
      ],
    },
  };
}

export const seldonV1Crds: readonly KubernetesObject[] = [
  crd('machinelearning.seldon.io', 'v1', 'seldondeployments', 'SeldonDeployment'),
  crd('networking.istio.io', 'v1', 'virtualservices', 'VirtualService'),
  crd('getambassador.io', 'v3alpha1', 'mappings', 'Mapping'),
];
export const seldonV2Crds: readonly KubernetesObject[] = [
  crd('mlops.seldon.io', 'v1alpha1', 'models', 'Model'),
  crd('mlops.seldon.io', 'v1alpha1', 'experiments', 'Experiment'),
];
export const kserveCrds: readonly KubernetesObject[] = [
  crd('serving.kserve.io', 'v1beta1', 'inferenceservices', 'InferenceService'),
  crd('serving.knative.dev', 'v1', 'revisions', 'Revision'),
  crd('gateway.networking.k8s.io', 'v1', 'httproutes', 'HTTPRoute'),
];
