import type { VersionObservation } from '../../../domain/observation.ts';
import type { ControlPlane, PlaneDeps } from '../../../domain/ports.ts';
import type { KubernetesClient } from '../../kubernetes/client.ts';
import { endpointSlices, readyEndpoints } from '../../kubernetes/ready-endpoints.ts';
import { rightsOf } from '../../kubernetes/rights.ts';
import type { Entry } from '../weighted-route.ts';
import { type RouteKind, WeightedRoutePlane } from '../weighted-route-plane.ts';
import { backendOf, httpRoutes, readHttpRoute, routePath } from './http-route.ts';
import type { GatewayApiConfig, GatewayApiKeys } from './schema.ts';

/** Weights of HTTPRoutes, confirmed by every parent's word. */
export function createGatewayApiPlane(config: GatewayApiConfig, deps: PlaneDeps): ControlPlane {
  return new WeightedRoutePlane(httpRouteKind(config), config, deps);
}

function httpRouteKind(config: GatewayApiConfig): RouteKind<GatewayApiKeys> {
  return {
    // The API's default weight is 1; a sole backend at 0 gets nothing.
    kind: 'HTTPRoute',
    rules: { absent: 1, soleGetsAll: false },
    statusIsOptional: false,
    nameOf: (keys, model) => `httproute ${keys.namespace}/${keys.http_route ?? model}`,
    pathOf: routePath,
    rights: ({ namespace, http_route: name }, model) => [
      ...rightsOf(httpRoutes, namespace, ['get', 'patch'], name ?? model),
      ...rightsOf(endpointSlices, namespace, ['list']),
    ],
    read: (object, keys) => readHttpRoute(object, keys, config.controller_name ?? null),
    look: async (client, route, keys, signal) =>
      await Promise.all(
        [...route.entries, ...Object.values(route.addable).map(({ entry }) => entry)].map(async (entry) => await lookAt(client, entry, keys, signal)),
      ),
  };
}

/** Accepted by the API, a backend without endpoints is an outage all the same. */
async function lookAt(client: KubernetesClient, entry: Entry, keys: GatewayApiKeys, signal: AbortSignal): Promise<VersionObservation> {
  const { namespace, service } = backendOf(entry, keys.namespace);
  const { found, ready } = await readyEndpoints(client, namespace, service, signal);
  if (ready.length >= keys.min_ready) return { id: entry.version, state: 'available' };
  const where = `Service ${namespace}/${service}`;
  if (!found) return { id: entry.version, state: 'absent', detail: `${where} has no EndpointSlice; does it exist, and does its selector match pods?` };
  return {
    id: entry.version,
    state: 'unloaded',
    detail: `${where} has ${ready.length} ready endpoints, expected at least ${keys.min_ready} (min_ready); scale its Deployment up first`,
  };
}
