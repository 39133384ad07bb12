import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { afterEach, describe, expect, it } from 'vitest';
import { aModel, aPolicy } from '../../test/support/builders.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { FakeSource } from '../../test/support/fake-source.ts';
import { ArgoRolloutsController } from '../../test/support/kubernetes/argo-rollouts/controller.ts';
import { aRollout, rolloutCrd, podsOf as rolloutPods, routedCanary } from '../../test/support/kubernetes/argo-rollouts/objects.ts';
import { ReplicaSetDouble } from '../../test/support/kubernetes/argo-rollouts/replica-sets.ts';
import { RolloutOwner } from '../../test/support/kubernetes/argo-rollouts/stage.ts';
import { startControllers } from '../../test/support/kubernetes/controllers.ts';
import { httpRouteCrd } from '../../test/support/kubernetes/crds/gateway-api.ts';
import { destinationRuleCrd, virtualServiceCrd } from '../../test/support/kubernetes/crds/istio.ts';
import type { FakeKubernetes } from '../../test/support/kubernetes/fake-kubernetes.ts';
import { GatewayController } from '../../test/support/kubernetes/gateway-controller.ts';
import { IngressNginx } from '../../test/support/kubernetes/ingress-nginx.ts';
import type { KubernetesObject } from '../../test/support/kubernetes/kubernetes-object.ts';
import { aDeployment, aService } from '../../test/support/kubernetes/objects.ts';
import { setKubernetesStage } from '../../test/support/kubernetes/plane-stage.ts';
import { aDestinationRule, anEndpointSlice, anHttpRoute, anIngress, aPod, aVirtualService } from '../../test/support/kubernetes/traffic-objects.ts';
import { passingSmoke, setStage } from '../../test/support/stage.ts';
import { until } from '../../test/support/until.ts';
import { argoRollouts } from '../adapters/control-planes/argo-rollouts/index.ts';
import type { AnyControlPlaneKind } from '../adapters/control-planes/control-plane.ts';
import { gatewayApi } from '../adapters/control-planes/gateway-api/index.ts';
import { ingressNginx } from '../adapters/control-planes/ingress-nginx/index.ts';
import { istio } from '../adapters/control-planes/istio/index.ts';
import { kubernetesDeployment } from '../adapters/control-planes/kubernetes-deployment/index.ts';
import { kubernetesService } from '../adapters/control-planes/kubernetes-service/index.ts';
import { openMemoryJournal } from '../adapters/journal/memory/open.ts';
import type { Episode } from '../domain/episode.ts';
import type { Journal } from '../domain/ports.ts';

const minuteMs = 60_000;
const policy = aPolicy({ knownGood: { minAgeMs: 1, minRequests: 1, backfillMs: 0, versions: ['6'] }, convergeTimeoutMs: 2 * minuteMs, stickMs: 15_000 });
const gone: AsyncDisposable = { [Symbol.asyncDispose]: async () => undefined };

type Objects = (path: string) => Promise<KubernetesObject>;
type Scene = {
  readonly kind: AnyControlPlaneKind;
  readonly keys: Readonly<Record<string, unknown>>;
  /** Requests per second of both versions, of which a fifth fails on 7. */
  readonly traffic: Readonly<Record<'6' | '7', number>>;
  /** Puts up what serves 7; `isUp`: whether 6 has, or can get, ready pods. */
  readonly fill: (kubernetes: FakeKubernetes, isUp: boolean) => Promise<AsyncDisposable>;
  /** What the plane changes, before and after. */
  readonly look: (get: Objects) => Promise<unknown>;
  readonly before: unknown;
  readonly after: unknown;
  /** Words of the end when 6 is not up, and the writes until then. */
  readonly refusal: string;
  readonly futile: number;
  /** When, of several scenes of one kind. */
  readonly how?: string;
  /** Default: one. */
  readonly writes?: number;
  /** More words of the end when 6 is not up. Default: nothing moved. */
  readonly end?: string;
};

const version = 'app.kubernetes.io/version';
const podsOf = (id: string) => ({
  metadata: { labels: { app: 'fraud', [version]: id, version: id } },
  spec: { containers: [{ name: 'server', image: `registry.example.org/fraud:${id}` }] },
});
const deployment = '/apis/apps/v1/namespaces/shop/deployments/fraud';
async function rolledOut(kubernetes: FakeKubernetes, path: string, replicas = 2): Promise<void> {
  await until(`${path} to be rolled out`, async () => {
    const { metadata, status } = await kubernetes.client.get(path);
    return status?.['observedGeneration'] === metadata.generation && status?.['availableReplicas'] === replicas && status['replicas'] === replicas;
  });
}

/** Shares of a Rollout's proxy, by version, and the version its template asks for. */
const lookAtRollout = async (get: Objects): Promise<unknown> => {
  const { spec, status } = await get('/apis/argoproj.io/v1alpha1/namespaces/shop/rollouts/fraud');
  const sets = (await get('/apis/apps/v1/namespaces/shop/replicasets'))['items'] as KubernetesObject[];
  const versionOf = (hash: string): string => sets.find(({ metadata }) => metadata.name === `fraud-${hash}`)?.metadata.labels?.[version] ?? hash;
  const { canary, stable } = (status as { canary: { weights: Record<'canary' | 'stable', { podTemplateHash: string; weight: number }> } }).canary.weights;
  const shares = [canary, stable].filter(({ weight }) => weight > 0).map(({ podTemplateHash, weight }) => [versionOf(podTemplateHash), weight]);
  return {
    shares: Object.fromEntries(shares),
    asked: (spec as { template: { metadata: { labels: Record<string, string> } } }).template.metadata.labels[version],
  };
};
/** Puts up a Rollout of 6, and changes it to 7. */
async function rollOut(kubernetes: FakeKubernetes): Promise<{ owner: RolloutOwner; pods: ReplicaSetDouble; all: AsyncDisposableStack }> {
  const all = new AsyncDisposableStack();
  await kubernetes.installCrd(rolloutCrd);
  const pods = all.use(new ReplicaSetDouble(kubernetes.client, 'shop'));
  all.use(new ArgoRolloutsController(kubernetes.client, { namespace: 'shop', deadlineMs: 150 }));
  const owner = new RolloutOwner(kubernetes.client, 'shop');
  await owner.create(aRollout(rolloutPods('6'), routedCanary));
  await owner.change({ template: rolloutPods('7') });
  await owner.waiting('7');
  return { owner, pods, all };
}

/** On the weighted ones 7 is a canary with a tenth of the traffic, on the others it serves alone. */
const scenes: readonly Scene[] = [
  {
    kind: kubernetesDeployment,
    keys: { namespace: 'shop', deployment: 'fraud' },
    traffic: { 6: 0, 7: 100 },
    look: async (get) => ((await get(deployment)).spec as { template: { metadata: { labels: Record<string, string> } } }).template.metadata.labels[version],
    before: '7',
    after: '6',
    fill: async (kubernetes, isUp) => {
      let isBroken = false;
      const controllers = startControllers(kubernetes.client, { namespace: 'shop', isBroken: (image) => isBroken && image.endsWith(':6') });
      await kubernetes.client.create(aDeployment({ name: 'fraud', namespace: 'shop', image: '-', spec: { template: podsOf('6') } }));
      await rolledOut(kubernetes, deployment);
      await kubernetes.client.merge(deployment, { spec: { template: podsOf('7') } });
      await rolledOut(kubernetes, deployment);
      isBroken = !isUp;
      return controllers;
    },
    refusal: 'version 6 does not come up: ReplicaSet has timed out progressing',
    futile: 2,
  },
  {
    kind: kubernetesService,
    keys: { namespace: 'shop', service: 'fraud' },
    traffic: { 6: 0, 7: 100 },
    look: async (get) => (await get('/api/v1/namespaces/shop/services/fraud')).spec?.['selector'],
    before: { app: 'fraud', version: '7' },
    after: { app: 'fraud', version: '6' },
    fill: async (kubernetes, isUp) => {
      const controllers = startControllers(kubernetes.client, { namespace: 'shop', withPods: true, isBroken: (image) => !isUp && image.endsWith(':6') });
      for (const id of ['6', '7']) {
        const spec = { selector: { matchLabels: { app: 'fraud', version: id } }, template: podsOf(id) };
        await kubernetes.client.create(aDeployment({ name: `fraud-${id}`, namespace: 'shop', image: '-', spec }));
      }
      await kubernetes.client.create(aService({ name: 'fraud', namespace: 'shop', selector: { app: 'fraud', version: '7' } }));
      for (const id of isUp ? ['6', '7'] : ['7']) await rolledOut(kubernetes, `/apis/apps/v1/namespaces/shop/deployments/fraud-${id}`);
      return controllers;
    },
    refusal: 'version 6 has 0 ready pods, expected 1 (min_ready); scale it up first, or set scale_up: true',
    futile: 0,
  },
  {
    kind: argoRollouts,
    how: 'once it is promoted',
    keys: { namespace: 'shop', rollout: 'fraud' },
    traffic: { 6: 0, 7: 100 },
    look: lookAtRollout,
    before: { shares: { 7: 100 }, asked: '7' },
    after: { shares: { 6: 100 }, asked: '6' },
    writes: 2,
    fill: async (kubernetes, isUp) => {
      const { owner, pods, all } = await rollOut(kubernetes);
      await owner.promoteFull();
      await owner.promoted('7');
      pods.isBroken = (image) => !isUp && image.endsWith(':6');
      return all;
    },
    refusal: 'version 6 does not come up: ReplicaSet "fraud-',
    // Template, promotion, and the template of before.
    futile: 3,
  },
  {
    kind: argoRollouts,
    how: 'while it rolls out',
    keys: { namespace: 'shop', rollout: 'fraud' },
    traffic: { 6: 80, 7: 20 },
    look: lookAtRollout,
    before: { shares: { 6: 80, 7: 20 }, asked: '7' },
    after: { shares: { 6: 100 }, asked: '6' },
    writes: 2,
    fill: async (kubernetes, isUp) => {
      const { pods, all } = await rollOut(kubernetes);
      pods.isBroken = (image) => !isUp && image.endsWith(':6');
      return all;
    },
    refusal: '0 of 2 pods of 6 are available',
    end: 'Nothing was put back',
    futile: 1,
  },
  {
    kind: gatewayApi,
    keys: { namespace: 'shop', http_route: 'fraud', version_pattern: 'fraud-v(\\d+)' },
    traffic: { 6: 90, 7: 10 },
    look: async (get) => {
      const { spec } = await get('/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes/fraud');
      return (spec as { rules: { backendRefs: { weight: number }[] }[] }).rules[0]?.backendRefs.map(({ weight }) => weight);
    },
    before: [90, 10],
    after: [100, 0],
    futile: 0,
    fill: async (kubernetes: FakeKubernetes, isUp: boolean): Promise<AsyncDisposable> => {
      await kubernetes.installCrd(httpRouteCrd);
      await kubernetes.client.create(anEndpointSlice('fraud-v6', { a: isUp }));
      await kubernetes.client.create(anEndpointSlice('fraud-v7', { b: true }));
      await kubernetes.client.create(anHttpRoute({ 'fraud-v6': 90, 'fraud-v7': 10 }));
      return new GatewayController(kubernetes.client, { delayMs: 10 });
    },
    refusal: 'Service shop/fraud-v6 has 0 ready endpoints, expected at least 1 (min_ready); scale its Deployment up first',
  },
  {
    kind: istio,
    keys: { namespace: 'shop', virtual_service: 'fraud', versions: { '6': 'v6', '7': 'v7' } },
    traffic: { 6: 90, 7: 10 },
    look: async (get) => {
      const { spec } = await get('/apis/networking.istio.io/v1/namespaces/shop/virtualservices/fraud');
      return (spec as { http: { route: { weight: number }[] }[] }).http[0]?.route.map(({ weight }) => weight);
    },
    before: [90, 10],
    after: [100, 0],
    futile: 0,
    fill: async (kubernetes: FakeKubernetes, isUp: boolean): Promise<AsyncDisposable> => {
      await kubernetes.installCrd(virtualServiceCrd);
      await kubernetes.installCrd(destinationRuleCrd);
      await kubernetes.client.create(aDestinationRule(['v6', 'v7']));
      await kubernetes.client.create(aPod('a', { version: 'v6' }));
      await kubernetes.client.create(aPod('b', { version: 'v7' }));
      await kubernetes.client.create(anEndpointSlice('fraud', { a: isUp, b: true }));
      await kubernetes.client.create(aVirtualService({ v6: 90, v7: 10 }));
      return gone;
    },
    refusal: 'subset v6 of Service shop/fraud has 0 ready endpoints, expected at least 1 (min_ready); scale its Deployment up first',
  },
  {
    kind: ingressNginx,
    keys: { namespace: 'shop', ingress: 'fraud', version_pattern: 'fraud-v(\\d+)' },
    traffic: { 6: 90, 7: 10 },
    look: async (get) => {
      const { annotations = {} } = (await get('/apis/networking.k8s.io/v1/namespaces/shop/ingresses/fraud-canary')).metadata;
      return ['canary', 'canary-weight', 'affinity-canary-behavior'].map((key) => annotations[`nginx.ingress.kubernetes.io/${key}`]);
    },
    before: ['true', '10', undefined],
    after: ['true', '0', 'legacy'],
    futile: 0,
    fill: async (kubernetes: FakeKubernetes, isUp: boolean): Promise<AsyncDisposable> => {
      await kubernetes.client.create(anEndpointSlice('fraud-v6', { a: isUp }));
      await kubernetes.client.create(anEndpointSlice('fraud-v7', { b: true }));
      await kubernetes.client.create(anIngress('fraud', 'fraud-v6', { affinity: 'cookie' }));
      await kubernetes.client.create(anIngress('fraud-canary', 'fraud-v7', { canary: 'true', 'canary-weight': '10' }));
      return await IngressNginx.start(kubernetes, { delayMs: 10 });
    },
    refusal: 'Service shop/fraud-v6 has 0 ready endpoints, expected at least 1 (min_ready); scale its Deployment up first',
  },
];

const told = scenes.map((scene) => ({ how: 'as it serves', writes: 1, end: 'Nothing moved: 7 still serves', ...scene }));

describe.each(told)('a bad version on $kind.kind, $how', ({ kind, keys, traffic, look, before, after, fill, refusal, futile, writes, end }) => {
  const clock = new FakeClock();
  let journal: Journal;
  let stop: () => Promise<void> = async () => undefined;
  afterEach(async () => await stop());

  /** Starts everything, lets virtual time pass until an episode ended. @returns it, and what is there then */
  async function play(isUp: boolean): Promise<{ episode: Episode; left: unknown; mutations: number }> {
    journal = await openMemoryJournal({ clock });
    const setup = await setKubernetesStage({ kind, keys, from: '7', to: '6', clock, fill: async (kubernetes) => await fill(kubernetes, isUp) });
    const source = new FakeSource();
    const smokeTest = { timeoutMs: 1, retries: 0, onFailure: 'stop', requests: [] } as const;
    const { app, runtime } = await setStage({
      clock,
      journal,
      source,
      plane: setup.plane,
      smoke: passingSmoke,
      model: { ...aModel(), plane: setup.target.plane, rollback: policy, smokeTest },
    });
    stop = async () => {
      await app.stop(0);
      await setup[Symbol.asyncDispose]();
      await journal.close();
    };
    setup.follow(() => app.memory.planeMemory('tfs'));
    const left = async (): Promise<unknown> => await look(async (path) => await setup.kubernetes.client.get(path));
    expect(await left()).toEqual(before);
    if (traffic['6'] > 0) source.traffic.set('6', { requests: traffic['6'], errorRatio: 0 });
    source.traffic.set('7', { requests: traffic['7'], errorRatio: 0.2 });
    app.start();
    for (let turn = 0; turn < 4_000; turn += 1) {
      await clock.advance(250);
      // The API server answers in real time.
      await sleep(1);
      if (turn % 20 === 0 && isDeepStrictEqual(await left(), after)) {
        // Requests follow what was switched.
        source.traffic.set('6', { requests: 100, errorRatio: 0 });
        source.traffic.set('7', { requests: 0, errorRatio: 0 });
      }
      const [episode] = await journal.episodes({});
      if (episode?.finishedAtMs != null) return { episode, left: await left(), mutations: setup.kubernetes.mutations() };
    }
    throw new Error(`no episode ended: ${JSON.stringify(await journal.decisions({}))} ${runtime.observer.failure('fraud') ?? ''}`);
  }

  it('is rolled back: rule, one write, confirmation, smoke test, recovery, success', async () => {
    const { episode, left, mutations } = await play(true);

    expect(episode).toMatchObject({ state: 'succeeded', outcome: 'success', from: '7', to: '6', rule: 'ErrorsHigh' });
    expect(episode.smokeTests.map((result) => [result.when, result.outcome])).toEqual([['serving', 'passed']]);
    expect(left).toEqual(after);
    expect(mutations).toBe(writes);
  });

  it('stays as it is when the target has nobody to answer, and says what to do', async () => {
    const { episode, left, mutations } = await play(false);

    expect(episode).toMatchObject({ state: 'failed', outcome: 'failure' });
    expect(episode.detail).toContain(refusal);
    expect(episode.detail).toContain(end);
    expect(left).toEqual(before);
    expect(mutations).toBe(futile);
  });
});
