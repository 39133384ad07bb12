import type { JsonMap, KubernetesObject } from './kubernetes-object.ts';

const open = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };

/** The kind as Flux installs it. @see https://fluxcd.io/flux/components/helm/helmreleases/ */
export const helmReleaseCrd: KubernetesObject = {
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: 'helmreleases.helm.toolkit.fluxcd.io' },
  spec: {
    group: 'helm.toolkit.fluxcd.io',
    scope: 'Namespaced',
    names: { plural: 'helmreleases', singular: 'helmrelease', kind: 'HelmRelease', listKind: 'HelmReleaseList' },
    versions: [
      {
        name: 'v2',
        served: true,
        storage: true,
        subresources: { status: {} },
        schema: { openAPIV3Schema: { type: 'object', properties: { spec: open, status: open } } },
      },
    ],
  },
};

export function aHelmRelease(spec: JsonMap = {}): KubernetesObject {
  return {
    apiVersion: 'helm.toolkit.fluxcd.io/v2',
    kind: 'HelmRelease',
    metadata: { name: 'fraud', namespace: 'shop' },
    spec: { interval: '5m', chartRef: { kind: 'OCIRepository', name: 'fraud' }, driftDetection: { mode: 'enabled' }, ...spec },
  };
}
