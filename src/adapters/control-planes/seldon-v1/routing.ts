import type { Share } from '../../../domain/observation.ts';
import type { Mapping, Predictor, SeldonDeployment, VirtualService } from './objects.ts';

/** What routes the traffic, and the shares it was really told. `none`: neither kind of object belongs to the SeldonDeployment. */
export type Routing = { readonly router: 'istio' | 'ambassador' | 'none'; readonly shares: readonly Share[] };

/** Name of a predictor's Service, which Mappings lead to and which its Deployment carries as label `seldon-app`. */
export function serviceOf(sdep: string, predictor: Predictor): string {
  return predictor.annotations?.['seldon.io/svc-name'] ?? `${sdep}-${predictor.name}`;
}

/**
 * The applied shares, read where the operator writes them last: `spec.predictors[].traffic` is only the wish
 * (reference control-planes-serving 3.2, 3.4).
 */
export function appliedRouting(sdep: SeldonDeployment, virtualServices: readonly VirtualService[], mappings: readonly Mapping[]): Routing {
  if (virtualServices.length > 0) return { router: 'istio', shares: meanShares(virtualServices.flatMap(istioTables)) };
  if (mappings.length > 0) return { router: 'ambassador', shares: meanShares(ambassadorTables(sdep, mappings)) };
  return { router: 'none', shares: [] };
}

type Table = readonly { readonly version: string; readonly weight: number }[];

/** One table per HTTP route (REST, gRPC). The name of the subset is the predictor's. A lone destination has all, whatever its weight. */
function istioTables(virtualService: VirtualService): Table[] {
  return (virtualService.spec.http ?? []).flatMap((route) => {
    const destinations = (route.route ?? []).flatMap(({ destination, weight }) =>
      destination.subset === undefined ? [] : [{ version: destination.subset, weight: weight ?? 0 }],
    );
    if (destinations.length === 0) return [];
    return [destinations.length === 1 ? destinations.map(({ version }) => ({ version, weight: 100 })) : destinations];
  });
}

/** One table per prefix and protocol. The first predictor's Mapping has no weight: it gets what the others leave. */
function ambassadorTables(sdep: SeldonDeployment, mappings: readonly Mapping[]): Table[] {
  const predictors = new Map(sdep.spec.predictors.map((predictor) => [serviceOf(sdep.metadata.name, predictor), predictor.name]));
  const tables = new Map<string, { version: string; weight: number | null }[]>();
  for (const { spec } of mappings) {
    if (spec.shadow === true) continue;
    const service = spec.service.replace(/^\w+:\/\//, '').split(/[.:]/)[0] ?? '';
    // A Mapping that leads to a predictor which is no longer on the list still routes: it is shown under its Service's name.
    const version = predictors.get(service) ?? (service.replace(`${sdep.metadata.name}-`, '') || spec.service);
    const key = `${spec.grpc === true ? 'grpc' : 'rest'} ${spec.prefix}`;
    tables.set(key, [...(tables.get(key) ?? []), { version, weight: spec.weight ?? null }]);
  }
  return [...tables.values()].map((table) => {
    const rest = Math.max(0, 100 - table.reduce((sum, entry) => sum + (entry.weight ?? 0), 0));
    const open = table.filter((entry) => entry.weight === null).length;
    return table.map(({ version, weight }) => ({ version, weight: weight ?? rest / open }));
  });
}

function meanShares(tables: readonly Table[]): Share[] {
  const sums = new Map<string, number>();
  for (const table of tables) {
    const total = table.reduce((sum, entry) => sum + entry.weight, 0);
    if (total === 0) continue;
    for (const { version, weight } of table) sums.set(version, (sums.get(version) ?? 0) + weight / total / tables.length);
  }
  return [...sums].filter(([, share]) => share > 0).map(([version, share]) => ({ version, share: Math.round(share * 1e6) / 1e6 }));
}
