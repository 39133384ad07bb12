import { z } from 'zod';
import type { VersionObservation } from '../../../domain/observation.ts';
import type { KubernetesClient } from '../../kubernetes/client.ts';
import { selectorOf } from '../../kubernetes/label-selector.ts';
import { type KubernetesObject, resourcePath } from '../../kubernetes/object.ts';
import { readyEndpoints } from '../../kubernetes/ready-endpoints.ts';
import type { Entry } from '../weighted-route.ts';
import type { IstioKeys } from './schema.ts';
import { destinationOf } from './virtual-service.ts';

const destinationRule = z.object({
  spec: z.object({
    host: z.string(),
    subsets: z.array(z.object({ name: z.string(), labels: z.record(z.string(), z.string()).optional() })).optional(),
  }),
});

export const destinationRules = { group: 'networking.istio.io', version: 'v1', resource: 'destinationrules' };
export const pods = { group: '', version: 'v1', resource: 'pods' };

type Subsets = ReadonlyMap<string, Readonly<Record<string, string>>>;

/**
 * Whether each destination can take traffic: its subset must exist in a DestinationRule (else the proxies answer 503), and
 * ready pods must carry the subset's labels.
 */
export async function lookAtDestinations(
  client: KubernetesClient,
  entries: readonly Entry[],
  keys: IstioKeys,
  signal: AbortSignal,
): Promise<readonly VersionObservation[]> {
  const needsSubsets = entries.some((entry) => destinationOf(entry).subset !== null);
  const rules = needsSubsets ? (await client.list(resourcePath(destinationRules, keys.namespace), {}, signal)).items : [];
  return await Promise.all(entries.map(async (entry) => await lookAt(client, entry, rules, keys, signal)));
}

async function lookAt(
  client: KubernetesClient,
  entry: Entry,
  rules: readonly KubernetesObject[],
  keys: IstioKeys,
  signal: AbortSignal,
): Promise<VersionObservation> {
  const id = entry.version;
  const { host, subset } = destinationOf(entry);
  const service = serviceOf(host, keys.namespace);
  if (service === null) return { id, state: 'unloaded', detail: `whether host ${host} can take traffic is not known: it is no Service of this cluster` };
  const labels = subset === null ? null : subsetsOf(rules, service, keys.namespace).get(subset);
  if (labels === undefined)
    return {
      id,
      state: 'absent',
      detail: `no DestinationRule in ${keys.namespace} has subset ${subset} of host ${host}; add the subset first, wait, then move traffic`,
    };
  const { found, ready } = await readyEndpoints(client, service.namespace, service.name, signal);
  const where = `Service ${service.namespace}/${service.name}`;
  if (!found) return { id, state: 'absent', detail: `${where} has no EndpointSlice; does it exist, and does its selector match pods?` };
  const count = labels === null ? ready.length : await countWithLabels(client, service.namespace, ready, labels, signal);
  if (count >= keys.min_ready) return { id, state: 'available' };
  return {
    id,
    state: 'unloaded',
    detail: `${subset === null ? where : `subset ${subset} of ${where}`} has ${count} ready endpoints, expected at least ${keys.min_ready} (min_ready); scale its Deployment up first`,
  };
}

async function countWithLabels(
  client: KubernetesClient,
  namespace: string,
  ready: Awaited<ReturnType<typeof readyEndpoints>>['ready'],
  labels: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<number> {
  if (Object.keys(labels).length === 0) return ready.length;
  const labelSelector = selectorOf(labels);
  const { items } = await client.list(resourcePath(pods, namespace), { labelSelector }, signal);
  const names = new Set(items.map((pod) => pod.metadata.name));
  return ready.filter(({ pod }) => pod !== null && names.has(pod)).length;
}

type Service = { readonly name: string; readonly namespace: string };

/** `fraud`, `fraud.shop`, `fraud.shop.svc`, `fraud.shop.svc.cluster.local`; `null` for a host outside. */
function serviceOf(host: string, namespace: string): Service | null {
  const match = /^([a-z0-9-]+)(?:\.([a-z0-9-]+)(?:\.svc(?:\.[a-z0-9.-]+)?)?)?$/.exec(host);
  return match === null ? null : { name: match[1] as string, namespace: match[2] ?? namespace };
}

function subsetsOf(rules: readonly KubernetesObject[], service: Service, namespace: string): Subsets {
  const subsets = new Map<string, Readonly<Record<string, string>>>();
  for (const object of rules) {
    const rule = destinationRule.safeParse(object).data?.spec;
    if (rule === undefined) continue;
    const host = serviceOf(rule.host, namespace);
    if (host?.name !== service.name || host.namespace !== service.namespace) continue;
    for (const { name, labels } of rule.subsets ?? []) subsets.set(name, labels ?? {});
  }
  return subsets;
}
