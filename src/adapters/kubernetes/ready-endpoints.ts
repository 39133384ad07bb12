import { z } from 'zod';
import type { KubernetesClient } from './client.ts';
import { selectorOf } from './label-selector.ts';
import { resourcePath } from './object.ts';

const endpointSlice = z.object({
  endpoints: z
    .array(
      z.object({
        addresses: z.array(z.string()).nullish(),
        conditions: z.object({ ready: z.boolean().nullish() }).nullish(),
        targetRef: z.object({ kind: z.string().optional(), name: z.string().optional() }).nullish(),
      }),
    )
    .nullish(),
});

/** Who answers behind a Service. */
export type ReadyEndpoints = {
  /** `false`: the Service has no EndpointSlice, so there is no such Service, or nothing selects its pods. */
  readonly found: boolean;
  /** Ready ones, each address once; `pod` where the endpoint is one. */
  readonly ready: readonly { readonly address: string; readonly pod: string | null }[];
};

export const endpointSlices = { group: 'discovery.k8s.io', version: 'v1', resource: 'endpointslices' };

/**
 * The ready endpoints of a Service, over all its EndpointSlices (a dual-stack Service has two, a big one many).
 * A condition that is not given counts as ready, as the API says.
 * @see https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#conditions
 */
export async function readyEndpoints(client: KubernetesClient, namespace: string, service: string, signal: AbortSignal): Promise<ReadyEndpoints> {
  const { items } = await client.list(
    resourcePath(endpointSlices, namespace),
    { labelSelector: selectorOf({ 'kubernetes.io/service-name': service }) },
    signal,
  );
  const ready = new Map<string, string | null>();
  for (const item of items) {
    for (const { addresses, conditions, targetRef } of endpointSlice.safeParse(item).data?.endpoints ?? []) {
      if (conditions?.ready === false) continue;
      const pod = targetRef?.kind === 'Pod' ? (targetRef.name ?? null) : null;
      for (const address of addresses ?? []) ready.set(address, pod);
    }
  }
  return { found: items.length > 0, ready: [...ready].map(([address, pod]) => ({ address, pod })) };
}
