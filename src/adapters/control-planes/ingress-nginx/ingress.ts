import { z } from 'zod';
import { lookUp } from '../../../domain/lookup.ts';
import { type KubernetesObject, objectMeta } from '../../kubernetes/object.ts';
import { parseObject } from '../../kubernetes/parse-object.ts';

const service = z.object({ name: z.string().min(1), port: z.object({ name: z.string().optional(), number: z.number().optional() }).optional() });

const ingressSchema = z.object({
  metadata: objectMeta,
  spec: z.object({
    ingressClassName: z.string().nullish(),
    defaultBackend: z.unknown().optional(),
    rules: z
      .array(
        z.object({
          host: z.string().optional(),
          http: z
            .object({
              paths: z.array(z.object({ path: z.string().optional(), pathType: z.string().nullish(), backend: z.object({ service: service.optional() }) })),
            })
            .nullish(),
        }),
      )
      .nullish(),
  }),
});

/** One path that leads to a Service. */
export type IngressPath = { readonly host: string; readonly path: string; readonly pathType: string; readonly service: string; readonly port: string };

/** An Ingress, as far as it is used. */
export type Ingress = {
  readonly name: string;
  readonly uid: string;
  readonly annotations: Readonly<Record<string, string>>;
  /** `null`: the controller's default. */
  readonly ingressClass: string | null;
  readonly hasDefaultBackend: boolean;
  readonly paths: readonly IngressPath[];
};

/** @throws {KubernetesError} permanent, when it is no Ingress */
export function readIngress(object: KubernetesObject, what: string): Ingress {
  const { metadata, spec } = parseObject(ingressSchema, object, what);
  const annotations = metadata.annotations ?? {};
  return {
    name: metadata.name,
    uid: metadata.uid,
    annotations,
    ingressClass: lookUp(annotations, 'kubernetes.io/ingress.class') ?? spec.ingressClassName ?? null,
    hasDefaultBackend: spec.defaultBackend !== undefined && spec.defaultBackend !== null,
    paths: (spec.rules ?? []).flatMap(({ host, http }) =>
      (http?.paths ?? []).flatMap(({ path, pathType, backend }): IngressPath[] =>
        backend.service === undefined
          ? []
          : [
              {
                host: host ?? '',
                path: path ?? '',
                // The controller takes one for the other.
                pathType: pathType === undefined || pathType === null || pathType === 'ImplementationSpecific' ? 'Prefix' : pathType,
                service: backend.service.name,
                port: backend.service.port?.name ?? String(backend.service.port?.number ?? ''),
              },
            ],
      ),
    ),
  };
}

/** Whether the controller takes both for one place. A canary without a path finds none, since the primary's is `/` by then. */
export function isSamePlace(primary: IngressPath, canary: IngressPath): boolean {
  return primary.host === canary.host && (primary.path || '/') === canary.path && primary.pathType === canary.pathType;
}

export function isSameClass(a: Ingress, b: Ingress): boolean {
  return a.ingressClass === null || b.ingressClass === null || a.ingressClass === b.ingressClass;
}

export function placeText({ host, path }: Pick<IngressPath, 'host' | 'path'>): string {
  return `${host || '*'}${path || '/'}`;
}

/** Which part of the Ingress serves the model. */
export type Place = { readonly host?: string | undefined; readonly path?: string | undefined };

/** Who leads where: what the primary Ingress and the canary beside it make of the model's requests. */
export type Routing = {
  readonly primaryService: string;
  /** `null`: no canary, or one that the controller makes nothing of. */
  readonly canaryService: string | null;
  /** The primary's paths of this model, and of these the ones the canary has, too. */
  readonly primaryPaths: readonly IngressPath[];
  readonly canaryPaths: readonly IngressPath[];
  /** Every path of the model is the canary's, too. */
  readonly coversAll: boolean;
  /** Why this canary is not what it seems; empty = it is. */
  readonly faults: readonly string[];
};

/**
 * @param canary one that is switched on
 * @returns why it is not known what serves the model when it is a text
 */
export function routingOf(primary: Ingress, canary: Ingress | null, place: Place): Routing | string {
  const isWanted = (path: IngressPath): boolean =>
    (place.host === undefined || place.host === path.host) && (place.path === undefined || place.path === path.path);
  const wanted = primary.paths.filter(isWanted);
  if (wanted.length === 0)
    return `it has no path that leads to a Service${place.host === undefined && place.path === undefined ? '' : ' at plane.host and plane.path'}; there are: ${primary.paths.map(placeText).join(', ') || 'none'}`;
  const others = canary?.paths.filter(isWanted) ?? [];
  const shared = wanted.filter((path) => others.some((other) => isSamePlace(path, other)));
  const primaryPaths = shared.length > 0 ? shared : wanted;
  const primaryServices = namesOf(primaryPaths);
  const [primaryService] = primaryServices;
  if (primaryService === undefined || primaryServices.length > 1)
    return `it leads to ${primaryServices.join(' and ')}, which of them is the model is not known; write plane.host and plane.path, as one of ${primaryPaths.map(placeText).join(', ')}`;
  const routing = { primaryService, canaryService: null, primaryPaths, canaryPaths: others, coversAll: false, faults: [] };
  if (canary === null) return routing;
  const faults: string[] = [];
  const canaryServices = namesOf(others);
  const [canaryService] = canaryServices;
  const strays = others.filter((other) => !wanted.some((path) => isSamePlace(path, other)));
  if (canary.hasDefaultBackend) faults.push(`${canary.name} has a default backend, which would be the canary of everything; only rules are understood`);
  if (strays.length > 0)
    faults.push(`${canary.name} leads ${strays.map(placeText).join(', ')}, which ${primary.name} does not: it is the canary of nothing there`);
  if (!isSameClass(primary, canary)) faults.push(`${canary.name} is of class ${canary.ingressClass}, and ${primary.name} of ${primary.ingressClass}`);
  if (canaryService === undefined) faults.push(`${canary.name} has no path that leads to a Service there`);
  else if (canaryServices.length > 1) faults.push(`${canary.name} leads to ${canaryServices.join(' and ')}, expected one Service`);
  else if (canaryService === primaryService)
    faults.push(`${canary.name} leads to Service ${primaryService}, as ${primary.name} does: ingress-nginx ignores such a canary`);
  const isTaken = canaryService !== undefined && canaryService !== primaryService && shared.length > 0 && isSameClass(primary, canary);
  return {
    ...routing,
    canaryService: isTaken ? canaryService : null,
    coversAll: shared.length === wanted.length,
    faults,
  };
}

function namesOf(paths: readonly IngressPath[]): string[] {
  return [...new Set(paths.map((path) => path.service))];
}
