import type { JsonMap, KubernetesObject } from './kubernetes-object.ts';

/**
 * A Deployment of a model server.
 * @param facts.labels of its Pods, beside `app: NAME`; `facts.spec` is laid over `spec`, `facts.pod` over the Pods' `spec`
 */
export function aDeployment(facts: {
  name: string;
  namespace?: string;
  image: string;
  replicas?: number;
  labels?: Readonly<Record<string, string>>;
  annotations?: Readonly<Record<string, string>>;
  spec?: JsonMap;
  pod?: JsonMap;
}): KubernetesObject {
  const labels = { app: facts.name, ...facts.labels };
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: {
      name: facts.name,
      namespace: facts.namespace ?? 'default',
      ...(facts.annotations === undefined ? {} : { annotations: { ...facts.annotations } }),
    },
    spec: {
      replicas: facts.replicas ?? 2,
      selector: { matchLabels: { app: facts.name } },
      template: { metadata: { labels }, spec: { containers: [{ name: 'server', image: facts.image }], ...facts.pod } },
      ...facts.spec,
    },
  };
}

export function aService(facts: { name: string; namespace?: string; selector: Readonly<Record<string, string>>; port?: number }): KubernetesObject {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: facts.name, namespace: facts.namespace ?? 'default' },
    spec: { selector: { ...facts.selector }, ports: [{ name: 'http', port: facts.port ?? 80, protocol: 'TCP', targetPort: 8501 }] },
  };
}
