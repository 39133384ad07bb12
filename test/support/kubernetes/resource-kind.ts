import { isDeepStrictEqual } from 'node:util';
import type { Cause } from './api-error.ts';
import { isMap, type JsonMap, type KubernetesObject } from './kubernetes-object.ts';
import { matchesSelector } from './selectors.ts';
import { fillIn, prune, schemaCauses } from './structural-schema.ts';

/** What moves `metadata.generation`: nothing (the kind has none), the spec, also annotations, or all but metadata and status. */
export type GenerationRule = 'none' | 'spec' | 'spec and annotations' | 'content';

/** How the server treats one kind of object. */
export type ResourceKind = {
  readonly group: string;
  /** Served versions; objects are kept once for all of them. */
  readonly versions: readonly string[];
  readonly resource: string;
  readonly kind: string;
  readonly namespaced: boolean;
  readonly hasStatus: boolean;
  readonly hasScale?: boolean;
  readonly generation: GenerationRule;
  /** Whether a PUT without resourceVersion overwrites. */
  readonly allowsUnconditionalUpdate: boolean;
  readonly isBuiltIn: boolean;
  /** Fills in what the server fills in. */
  readonly setDefaults?: (object: KubernetesObject, context: DefaultsContext) => void;
  readonly validate?: (object: KubernetesObject, before: KubernetesObject | null) => readonly Cause[];
};
export type DefaultsContext = { readonly nextClusterIp: () => string; readonly before: KubernetesObject | null };

const builtIn = { namespaced: true, hasStatus: false, generation: 'none', allowsUnconditionalUpdate: true, isBuiltIn: true } as const;

function spec(object: KubernetesObject): JsonMap {
  object.spec ??= {};
  return object.spec;
}

/** Fills in `holder.template` what the server fills in of built-in kinds. */
export function podTemplateDefaults(holder: JsonMap): void {
  const template = holder['template'];
  if (!isMap(template)) return;
  template['metadata'] ??= {};
  const pod = (template['spec'] ??= {}) as JsonMap;
  podDefaults(pod);
}

function podDefaults(pod: JsonMap): void {
  pod['restartPolicy'] ??= 'Always';
  pod['terminationGracePeriodSeconds'] ??= 30;
  pod['dnsPolicy'] ??= 'ClusterFirst';
  pod['securityContext'] ??= {};
  pod['schedulerName'] ??= 'default-scheduler';
  for (const container of (pod['containers'] ?? []) as JsonMap[]) {
    container['resources'] ??= {};
    container['terminationMessagePath'] ??= '/dev/termination-log';
    container['terminationMessagePolicy'] ??= 'File';
    const image = String(container['image'] ?? '');
    container['imagePullPolicy'] ??= /:latest$|^[^:@]*$/.test(image) ? 'Always' : 'IfNotPresent';
    for (const port of (container['ports'] ?? []) as JsonMap[]) port['protocol'] ??= 'TCP';
  }
}

function deploymentDefaults(object: KubernetesObject): void {
  const own = spec(object);
  own['replicas'] ??= 1;
  own['revisionHistoryLimit'] ??= 10;
  own['progressDeadlineSeconds'] ??= 600;
  const strategy = (own['strategy'] ??= {}) as JsonMap;
  strategy['type'] ??= 'RollingUpdate';
  if (strategy['type'] === 'RollingUpdate') {
    const rolling = (strategy['rollingUpdate'] ??= {}) as JsonMap;
    rolling['maxUnavailable'] ??= '25%';
    rolling['maxSurge'] ??= '25%';
  }
  podTemplateDefaults(own);
}

function validateTemplateOwner(object: KubernetesObject, before: KubernetesObject | null): Cause[] {
  const causes: Cause[] = [];
  const own = spec(object);
  const template = isMap(own['template']) ? own['template'] : {};
  const labels = (isMap(template['metadata']) ? (template['metadata']['labels'] ?? {}) : {}) as Record<string, string>;
  if (!isMap(own['selector'])) causes.push({ field: 'spec.selector', message: 'Required value', reason: 'FieldValueRequired' });
  else if (!matchesSelector(own['selector'], labels))
    causes.push({
      field: 'spec.template.metadata.labels',
      message: `Invalid value: ${JSON.stringify(labels)}: \`selector\` does not match template \`labels\``,
    });
  const containers = isMap(template['spec']) ? template['spec']['containers'] : undefined;
  if (!Array.isArray(containers) || containers.length === 0)
    causes.push({ field: 'spec.template.spec.containers', message: 'Required value', reason: 'FieldValueRequired' });
  else
    for (const [at, container] of (containers as JsonMap[]).entries())
      if (typeof container['image'] !== 'string' || container['image'] === '')
        causes.push({ field: `spec.template.spec.containers[${at}].image`, message: 'Required value', reason: 'FieldValueRequired' });
  if (before !== null && !isDeepStrictEqual(before.spec?.['selector'], own['selector']))
    causes.push({ field: 'spec.selector', message: `Invalid value: ${JSON.stringify(own['selector'])}: field is immutable` });
  if (typeof own['replicas'] === 'number' && own['replicas'] < 0)
    causes.push({ field: 'spec.replicas', message: `Invalid value: ${own['replicas']}: must be greater than or equal to 0` });
  return causes;
}

function serviceDefaults(object: KubernetesObject, { nextClusterIp, before }: DefaultsContext): void {
  const own = spec(object);
  own['type'] ??= 'ClusterIP';
  own['sessionAffinity'] ??= 'None';
  own['internalTrafficPolicy'] ??= 'Cluster';
  own['ipFamilies'] ??= ['IPv4'];
  own['ipFamilyPolicy'] ??= 'SingleStack';
  own['clusterIP'] ??= before?.spec?.['clusterIP'] ?? nextClusterIp();
  own['clusterIPs'] ??= [own['clusterIP']];
  for (const port of (own['ports'] ?? []) as JsonMap[]) {
    port['protocol'] ??= 'TCP';
    port['targetPort'] ??= port['port'];
  }
}

const microTime = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(?:Z|[+-]\d\d:\d\d)$/;
/** Times of a Lease are MicroTime: exactly six digits. @returns the value that does not parse, `null` when all do */
export function badMicroTime(object: KubernetesObject): string | null {
  for (const field of ['acquireTime', 'renewTime']) {
    const value = object.spec?.[field];
    if (value !== undefined && value !== null && !(typeof value === 'string' && microTime.test(value))) return String(value);
  }
  return null;
}

function validateLease(object: KubernetesObject): Cause[] {
  const seconds = object.spec?.['leaseDurationSeconds'];
  const transitions = object.spec?.['leaseTransitions'];
  const causes: Cause[] = [];
  if (typeof seconds === 'number' && seconds <= 0)
    causes.push({ field: 'spec.leaseDurationSeconds', message: `Invalid value: ${seconds}: must be greater than 0` });
  if (typeof transitions === 'number' && transitions < 0)
    causes.push({ field: 'spec.leaseTransitions', message: `Invalid value: ${transitions}: must be greater than or equal to 0` });
  return causes;
}

/** Kinds of Kubernetes' own groups need somebody's word for it. */
function validateApproval(crd: KubernetesObject): Cause[] {
  const isProtected = /(?:^|\.)(?:k8s|kubernetes)\.io$/.test(String(crd.spec?.['group']));
  if (!isProtected || (crd.metadata.annotations?.['api-approved.kubernetes.io'] ?? '') !== '') return [];
  return [
    {
      field: 'metadata.annotations[api-approved.kubernetes.io]',
      message:
        'Required value: protected groups must have approval annotation "api-approved.kubernetes.io", see https://github.com/kubernetes/enhancements/pull/1111',
      reason: 'FieldValueRequired',
    },
  ];
}

/** The built-in kinds that rollbackd's planes touch, as kube-apiserver treats them. */
export const builtInKinds: readonly ResourceKind[] = [
  { ...builtIn, group: '', versions: ['v1'], resource: 'namespaces', kind: 'Namespace', namespaced: false, hasStatus: true },
  { ...builtIn, group: '', versions: ['v1'], resource: 'nodes', kind: 'Node', namespaced: false, hasStatus: true },
  {
    ...builtIn,
    group: '',
    versions: ['v1'],
    resource: 'pods',
    kind: 'Pod',
    hasStatus: true,
    generation: 'spec',
    setDefaults: (object) => {
      podDefaults(spec(object));
      // A Pod that nobody took up yet is Pending.
      object.status ??= { phase: 'Pending' };
    },
  },
  { ...builtIn, group: '', versions: ['v1'], resource: 'services', kind: 'Service', hasStatus: true, setDefaults: serviceDefaults },
  { ...builtIn, group: '', versions: ['v1'], resource: 'endpoints', kind: 'Endpoints' },
  { ...builtIn, group: '', versions: ['v1'], resource: 'configmaps', kind: 'ConfigMap' },
  { ...builtIn, group: '', versions: ['v1'], resource: 'secrets', kind: 'Secret' },
  { ...builtIn, group: '', versions: ['v1'], resource: 'serviceaccounts', kind: 'ServiceAccount' },
  { ...builtIn, group: '', versions: ['v1'], resource: 'events', kind: 'Event' },
  { ...builtIn, group: 'events.k8s.io', versions: ['v1'], resource: 'events', kind: 'Event' },
  {
    ...builtIn,
    group: 'apps',
    versions: ['v1'],
    resource: 'deployments',
    kind: 'Deployment',
    hasStatus: true,
    hasScale: true,
    generation: 'spec and annotations',
    setDefaults: deploymentDefaults,
    validate: validateTemplateOwner,
  },
  {
    ...builtIn,
    group: 'apps',
    versions: ['v1'],
    resource: 'replicasets',
    kind: 'ReplicaSet',
    hasStatus: true,
    hasScale: true,
    generation: 'spec',
    setDefaults: (object) => {
      spec(object)['replicas'] ??= 1;
      podTemplateDefaults(spec(object));
    },
    validate: validateTemplateOwner,
  },
  {
    ...builtIn,
    group: 'apps',
    versions: ['v1'],
    resource: 'statefulsets',
    kind: 'StatefulSet',
    hasStatus: true,
    hasScale: true,
    generation: 'spec',
    setDefaults: (object) => {
      spec(object)['replicas'] ??= 1;
      podTemplateDefaults(spec(object));
    },
    validate: validateTemplateOwner,
  },
  { ...builtIn, group: 'apps', versions: ['v1'], resource: 'daemonsets', kind: 'DaemonSet', hasStatus: true, generation: 'spec' },
  { ...builtIn, group: 'apps', versions: ['v1'], resource: 'controllerrevisions', kind: 'ControllerRevision' },
  { ...builtIn, group: 'discovery.k8s.io', versions: ['v1'], resource: 'endpointslices', kind: 'EndpointSlice', generation: 'content' },
  {
    ...builtIn,
    group: 'coordination.k8s.io',
    versions: ['v1'],
    resource: 'leases',
    kind: 'Lease',
    allowsUnconditionalUpdate: false,
    validate: validateLease,
  },
  { ...builtIn, group: 'networking.k8s.io', versions: ['v1'], resource: 'ingresses', kind: 'Ingress', hasStatus: true, generation: 'spec' },
  { ...builtIn, group: 'autoscaling', versions: ['v2'], resource: 'horizontalpodautoscalers', kind: 'HorizontalPodAutoscaler', hasStatus: true },
  { ...builtIn, group: 'rbac.authorization.k8s.io', versions: ['v1'], resource: 'roles', kind: 'Role' },
  { ...builtIn, group: 'rbac.authorization.k8s.io', versions: ['v1'], resource: 'rolebindings', kind: 'RoleBinding' },
  { ...builtIn, group: 'rbac.authorization.k8s.io', versions: ['v1'], resource: 'clusterroles', kind: 'ClusterRole', namespaced: false },
  { ...builtIn, group: 'rbac.authorization.k8s.io', versions: ['v1'], resource: 'clusterrolebindings', kind: 'ClusterRoleBinding', namespaced: false },
  {
    ...builtIn,
    group: 'apiextensions.k8s.io',
    versions: ['v1'],
    resource: 'customresourcedefinitions',
    kind: 'CustomResourceDefinition',
    namespaced: false,
    hasStatus: true,
    generation: 'spec',
    validate: validateApproval,
  },
];

type CrdVersion = { name: string; served?: boolean; subresources?: { status?: unknown; scale?: unknown }; schema?: { openAPIV3Schema?: JsonMap } };

/** The kind that a CustomResourceDefinition brings: its schema fills in, prunes and refuses. */
export function customKind(crd: KubernetesObject): ResourceKind {
  const own = crd.spec as { group: string; scope: string; names: { plural: string; kind: string }; versions: CrdVersion[] };
  const served = own.versions.filter((version) => version.served !== false);
  const hasStatus = served.some((version) => version.subresources?.status !== undefined);
  const schema = served[0]?.schema?.openAPIV3Schema;
  return {
    group: own.group,
    versions: served.map((version) => version.name),
    resource: own.names.plural,
    kind: own.names.kind,
    namespaced: own.scope === 'Namespaced',
    hasStatus,
    generation: 'content',
    allowsUnconditionalUpdate: false,
    isBuiltIn: false,
    ...(schema === undefined
      ? {}
      : {
          setDefaults: (object: KubernetesObject) => {
            prune(object, schema);
            fillIn(object, schema);
          },
          validate: (object: KubernetesObject) => schemaCauses(object, schema),
        }),
  };
}
