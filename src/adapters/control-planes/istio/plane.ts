import type { ControlPlane, PlaneDeps } from '../../../domain/ports.ts';
import { endpointSlices } from '../../kubernetes/ready-endpoints.ts';
import { rightsOf } from '../../kubernetes/rights.ts';
import { type RouteKind, WeightedRoutePlane } from '../weighted-route-plane.ts';
import type { IstioConfig, IstioKeys } from './schema.ts';
import { destinationRules, lookAtDestinations, pods } from './subsets.ts';
import { readVirtualService, virtualServicePath, virtualServices } from './virtual-service.ts';

/** Weights of VirtualServices; confirmed by istiod where its status is on, else by time and the smoke test. */
export function createIstioPlane(config: IstioConfig, deps: PlaneDeps): ControlPlane {
  return new WeightedRoutePlane(virtualServiceKind, config, deps);
}

const virtualServiceKind: RouteKind<IstioKeys> = {
  // A single destination gets all; among several no weight is none.
  kind: 'VirtualService',
  rules: { absent: 0, soleGetsAll: true },
  statusIsOptional: true,
  nameOf: (keys, model) => `virtualservice ${keys.namespace}/${keys.virtual_service ?? model}`,
  pathOf: virtualServicePath,
  rights: ({ namespace, virtual_service: name }, model) => [
    ...rightsOf(virtualServices, namespace, ['get', 'patch'], name ?? model),
    ...[destinationRules, endpointSlices, pods].flatMap((resource) => rightsOf(resource, namespace, ['list'])),
  ],
  read: readVirtualService,
  look: async (client, route, keys, signal) =>
    await lookAtDestinations(client, [...route.entries, ...Object.values(route.addable).map(({ entry }) => entry)], keys, signal),
};
