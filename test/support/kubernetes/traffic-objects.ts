import type { JsonMap, KubernetesObject } from './kubernetes-object.ts';

/** An HTTPRoute with one rule; backends name → weight (`null`: none written). */
export function anHttpRoute(backends: Readonly<Record<string, number | null>>, changes: JsonMap = {}): KubernetesObject {
  return {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'HTTPRoute',
    metadata: { name: 'fraud', namespace: 'shop' },
    spec: {
      parentRefs: [{ name: 'outer' }, { name: 'inner' }],
      rules: [
        { name: 'predict', backendRefs: Object.entries(backends).map(([name, weight]) => ({ name, port: 8501, ...(weight === null ? {} : { weight }) })) },
      ],
      ...changes,
    },
  };
}

/** A VirtualService with one http route; subsets name → weight (`null`: none written). */
export function aVirtualService(subsets: Readonly<Record<string, number | null>>): KubernetesObject {
  return {
    apiVersion: 'networking.istio.io/v1',
    kind: 'VirtualService',
    metadata: { name: 'fraud', namespace: 'shop' },
    spec: {
      hosts: ['fraud'],
      http: [
        {
          name: 'predict',
          route: Object.entries(subsets).map(([subset, weight]) => ({ destination: { host: 'fraud', subset }, ...(weight === null ? {} : { weight }) })),
        },
      ],
    },
  };
}

export function aDestinationRule(subsets: readonly string[]): KubernetesObject {
  return {
    apiVersion: 'networking.istio.io/v1',
    kind: 'DestinationRule',
    metadata: { name: 'fraud', namespace: 'shop' },
    spec: { host: 'fraud.shop.svc.cluster.local', subsets: subsets.map((name) => ({ name, labels: { version: name } })) },
  };
}

/** The endpoints of a Service; each pod ready or not. */
export function anEndpointSlice(service: string, pods: Readonly<Record<string, boolean>>): KubernetesObject {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: `${service}-1`, namespace: 'shop', labels: { 'kubernetes.io/service-name': service } },
    addressType: 'IPv4',
    endpoints: Object.entries(pods).map(([name, ready], index) => ({
      addresses: [`10.1.0.${index + 1}`],
      conditions: { ready },
      targetRef: { kind: 'Pod', name, namespace: 'shop' },
    })),
    ports: [{ name: 'http', port: 8501, protocol: 'TCP' }],
  };
}

export function aPod(name: string, labels: Readonly<Record<string, string>>): KubernetesObject {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'shop', labels: { ...labels } },
    spec: { containers: [{ name: 'server', image: 'registry.example.org/fraud:1' }] },
  };
}

/** An Ingress that leads one host and path to one Service; annotations of ingress-nginx without their prefix. */
export function anIngress(
  name: string,
  service: string,
  annotations: Readonly<Record<string, string>> = {},
  changes: { readonly host?: string; readonly path?: string; readonly namespace?: string } = {},
): KubernetesObject {
  const backend = { service: { name: service, port: { number: 8501 } } };
  const path = { path: changes.path ?? '/', pathType: 'Prefix', backend };
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'Ingress',
    metadata: {
      name,
      namespace: changes.namespace ?? 'shop',
      annotations: Object.fromEntries(Object.entries(annotations).map(([key, value]) => [`nginx.ingress.kubernetes.io/${key}`, value])),
    },
    spec: { ingressClassName: 'nginx', rules: [{ host: changes.host ?? 'fraud.example.org', http: { paths: [path] } }] },
  };
}
