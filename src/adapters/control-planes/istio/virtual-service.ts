import { z } from 'zod';
import { type KubernetesObject, resourcePath } from '../../kubernetes/object.ts';
import { versionNames } from '../version-names.ts';
import type { Applied, Entry, RouteConfig } from '../weighted-route.ts';
import type { Route } from '../weighted-route-plane.ts';
import type { IstioKeys } from './schema.ts';

const routeDestination = z.looseObject({
  destination: z.looseObject({ host: z.string().min(1), subset: z.string().min(1).optional(), port: z.object({ number: z.number().optional() }).optional() }),
  weight: z.int().min(0).optional(),
});
type RouteDestination = z.output<typeof routeDestination>;

const virtualService = z.object({
  spec: z.object({ http: z.array(z.object({ name: z.string().optional(), route: z.array(routeDestination).optional() })).optional() }),
  status: z
    .object({
      observedGeneration: z.union([z.number(), z.string()]).optional(),
      conditions: z
        .array(z.object({ type: z.string().optional(), status: z.string().optional(), reason: z.string().optional(), message: z.string().optional() }))
        .optional(),
      validationMessages: z
        .array(z.object({ level: z.string().optional(), type: z.object({ code: z.string().optional(), name: z.string().optional() }).optional() }))
        .optional(),
    })
    .optional(),
});
type VirtualService = z.output<typeof virtualService>;

export const virtualServices = { group: 'networking.istio.io', version: 'v1', resource: 'virtualservices' };

export function virtualServicePath({ namespace, virtual_service }: IstioKeys, model: string): string {
  return resourcePath(virtualServices, namespace, virtual_service ?? model);
}

/** What a destination of the list is, for looking at it. */
export type Destination = { readonly host: string; readonly subset: string | null };
export function destinationOf(entry: Entry): Destination {
  const subset = entry.identity['/destination/subset'];
  return { host: String(entry.identity['/destination/host']), subset: subset === undefined ? null : String(subset) };
}

/** @returns why there is no route for this model when it is a text */
export function readVirtualService(object: KubernetesObject, keys: IstioKeys): Route | string {
  const parsed = virtualService.safeParse(object);
  if (!parsed.success) return `this is no VirtualService that rollbackd can read: ${z.prettifyError(parsed.error)}`;
  const http = parsed.data.spec.http ?? [];
  const index = routeIndex(http, keys.route);
  if (typeof index === 'string') return index;
  const route = http[index];
  const destinations = route?.route ?? [];
  return {
    list: `/spec/http/${index}/route`,
    guards: route?.name === undefined ? {} : { [`/spec/http/${index}/name`]: route.name },
    entries: destinations.map((destination) => toEntry(destination, keys)),
    addable: addable(destinations, keys),
    applied: appliedState(parsed.data, object.metadata.generation ?? 0),
    refusals: destinations.length === 0 ? [`http route ${index} has no destinations (a redirect, a delegate, or a direct response)`] : [],
  };
}

function toEntry({ destination, weight }: RouteDestination, keys: IstioKeys): Entry {
  const { host, subset, port } = destination;
  return {
    version: versionNames(keys).versionOf(subset ?? host),
    label: subset === undefined ? host : `${host} subset ${subset}`,
    identity: {
      '/destination/host': host,
      ...(subset === undefined ? {} : { '/destination/subset': subset }),
      ...(port?.number === undefined ? {} : { '/destination/port/number': port.number }),
    },
    weight: weight ?? null,
  };
}

function routeIndex(http: readonly { readonly name?: string | undefined }[], wanted: string | undefined): number | string {
  const known = http.map((route, index) => (route.name === undefined ? String(index) : `${index} (${route.name})`)).join(', ') || 'none';
  if (wanted === undefined)
    return http.length === 1 ? 0 : `it has ${http.length} http routes, which one serves the model is not known; write plane.route, one of ${known}`;
  const named = http.findIndex((route) => route.name === wanted);
  if (named >= 0) return named;
  const index = /^\d+$/.test(wanted) ? Number(wanted) : -1;
  return index >= 0 && index < http.length ? index : `it has no http route ${JSON.stringify(wanted)}; there are: ${known}`;
}

/** Versions named by hand that are not listed: added as a copy of the first, with another subset (or host). */
function addable(destinations: readonly RouteDestination[], keys: IstioKeys): RouteConfig['addable'] {
  const names = versionNames(keys);
  const [first] = destinations;
  if (first === undefined) return {};
  const { weight: _weight, headers: _headers, ...copied } = first;
  return Object.fromEntries(
    names.named
      .filter((version) => !destinations.some(({ destination }) => names.versionOf(destination.subset ?? destination.host) === version))
      .map((version) => {
        const name = names.nameOf(version) ?? version;
        const destination = first.destination.subset === undefined ? { ...first.destination, host: name } : { ...first.destination, subset: name };
        const value = { ...copied, destination };
        return [version, { entry: { ...toEntry(value, keys), weight: 0 }, value }];
      }),
  );
}

/**
 * Istio tells what it distributed only where `PILOT_ENABLE_STATUS` and `PILOT_ENABLE_CONFIG_DISTRIBUTION_TRACKING` are on; analysis messages stand in the same status.
 * @see https://istio.io/latest/docs/reference/config/config-status/
 */
function appliedState({ status }: VirtualService, generation: number): Applied {
  const reconciled = status?.conditions?.find(({ type }) => type === 'Reconciled');
  const observed = status?.observedGeneration === undefined ? null : Number(status.observedGeneration);
  const isCurrent = observed === null || observed >= generation;
  const fault = status?.validationMessages?.find(({ level }) => level === 'ERROR' || level === 'Error');
  if (fault !== undefined && isCurrent && observed !== null)
    return { kind: 'refused', detail: `Istio found an error in it: ${fault.type?.code ?? ''} ${fault.type?.name ?? ''}`.trim() };
  if (reconciled === undefined) return { kind: 'unknown', detail: 'written; Istio does not tell what it distributed' };
  if (!isCurrent) return { kind: 'pending', detail: 'istiod has not looked at the newest change yet (its status is of an older generation)' };
  if (reconciled.status === 'True') return { kind: 'confirmed', detail: `distributed to all proxies${withMessage(reconciled.message)}` };
  return { kind: 'pending', detail: `istiod: ${reconciled.reason ?? 'not reconciled'}${withMessage(reconciled.message)}` };
}

function withMessage(message: string | undefined): string {
  return message === undefined || message === '' ? '' : ` (${message})`;
}
