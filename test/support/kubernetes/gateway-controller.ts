import type { KubernetesTestClient } from './kubernetes-client.ts';
import { isMap, type JsonMap, type KubernetesObject } from './kubernetes-object.ts';
import { RouteController, type RouteControllerOptions, type Weights } from './route-controller.ts';

type BackendRef = { readonly name: string; readonly weight?: number };

/**
 * What a Gateway controller does to HTTPRoutes: writes `status.parents` some time after the spec, one Gateway after the other, each with the generation it
 * has looked at. Meanwhile the old words stand there, true of the old generation only.
 */
export class GatewayController extends RouteController {
  /** Gateways that do not answer. */
  readonly silent = new Set<string>();
  /** Condition type → reason it is False for. */
  refusal: { readonly type: 'Accepted' | 'ResolvedRefs'; readonly reason: string } | null = null;

  constructor(client: KubernetesTestClient, options: RouteControllerOptions) {
    super(client, `/apis/gateway.networking.k8s.io/v1/namespaces/${options.namespace ?? 'shop'}/httproutes`, options);
  }

  protected override async reconcile(route: KubernetesObject, isOutdated: () => boolean): Promise<void> {
    const generation = route.metadata.generation ?? 0;
    let parents = Array.isArray(route.status?.['parents']) ? (route.status['parents'] as readonly JsonMap[]) : [];
    for (const parentRef of (route.spec?.['parentRefs'] ?? []) as { name: string }[]) {
      if (this.silent.has(parentRef.name)) continue;
      await this.pause();
      if (isOutdated()) return;
      const others = parents.filter((parent) => !(isMap(parent['parentRef']) && parent['parentRef']['name'] === parentRef.name));
      parents = [...others, { parentRef, controllerName: 'example.org/gateway', conditions: this.#conditions(generation) }];
      await this.writeStatus(route.metadata.name, { parents });
    }
  }

  protected override async weightsOf(route: KubernetesObject): Promise<Weights> {
    const [rule] = (route.spec?.['rules'] ?? []) as { backendRefs?: readonly BackendRef[] }[];
    return Object.fromEntries((rule?.backendRefs ?? []).map(({ name, weight = 1 }) => [name, weight]));
  }

  #conditions(observedGeneration: number): readonly JsonMap[] {
    return (['Accepted', 'ResolvedRefs'] as const).map((type) => {
      const isRefused = this.refusal?.type === type;
      return {
        type,
        status: isRefused ? 'False' : 'True',
        reason: isRefused ? this.refusal?.reason : type,
        message: '',
        observedGeneration,
        lastTransitionTime: `${new Date().toISOString().slice(0, 19)}Z`,
      };
    });
  }
}
