import type { KubernetesTestClient } from './kubernetes-client.ts';
import type { KubernetesObject } from './kubernetes-object.ts';
import { nowhere, RouteController, type RouteControllerOptions, type Weights } from './route-controller.ts';

type Destination = { readonly destination: { readonly host: string; readonly subset?: string }; readonly weight?: number };

/**
 * What Istio does to VirtualServices: sends them to the proxies and says nothing, or, with `tells` (PILOT_ENABLE_STATUS and
 * PILOT_ENABLE_CONFIG_DISTRIBUTION_TRACKING, off by default), says first how far it has got. A subset that no DestinationRule has is answered with 503.
 */
export class IstioController extends RouteController {
  readonly #tells: boolean;
  readonly #destinationRules: string;

  constructor(client: KubernetesTestClient, options: RouteControllerOptions & { readonly tells: boolean }) {
    const base = `/apis/networking.istio.io/v1/namespaces/${options.namespace ?? 'shop'}`;
    super(client, `${base}/virtualservices`, options);
    this.#destinationRules = `${base}/destinationrules`;
    this.#tells = options.tells;
  }

  protected override async reconcile(service: KubernetesObject, isOutdated: () => boolean): Promise<void> {
    const { name, generation } = service.metadata;
    const say = async (isDone: boolean): Promise<void> => {
      await this.pause();
      if (isOutdated() || !this.#tells) return;
      const words = isDone
        ? { status: 'True', message: '122/122 proxies up to date.' }
        : { status: 'False', reason: 'stillPropagating', message: '61/122 proxies up to date.' };
      // Istio writes the number as a text.
      await this.writeStatus(name, { observedGeneration: String(generation), conditions: [{ type: 'Reconciled', ...words }] });
    };
    await say(false);
    await say(true);
  }

  protected override async weightsOf(service: KubernetesObject): Promise<Weights> {
    const rules = await this.client.list(this.#destinationRules);
    const known = new Set(rules.flatMap((rule) => ((rule.spec?.['subsets'] ?? []) as { name: string }[]).map((subset) => subset.name)));
    const [http] = (service.spec?.['http'] ?? []) as { route?: readonly Destination[] }[];
    const route = http?.route ?? [];
    return Object.fromEntries(
      route.map(({ destination: { host, subset }, weight = 0 }) => [
        subset !== undefined && !known.has(subset) ? nowhere : (subset ?? host),
        route.length === 1 ? 100 : weight,
      ]),
    );
  }
}
