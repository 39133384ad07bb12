import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { gatewayApi } from '../../src/adapters/control-planes/gateway-api/index.ts';
import { istio } from '../../src/adapters/control-planes/istio/index.ts';
import { describeControlPlane } from '../contract/control-plane.ts';
import { httpRouteCrd } from '../support/kubernetes/crds/gateway-api.ts';
import { destinationRuleCrd, virtualServiceCrd } from '../support/kubernetes/crds/istio.ts';
import { GatewayController } from '../support/kubernetes/gateway-controller.ts';
import { IstioController } from '../support/kubernetes/istio-controller.ts';
import type { PodFate } from '../support/kubernetes/kubelet.ts';
import type { KubernetesObject } from '../support/kubernetes/kubernetes-object.ts';
import { describeMissingRights } from '../support/kubernetes/missing-rights.ts';
import { aDeployment, aService } from '../support/kubernetes/objects.ts';
import { type RealKubernetes, startRealKubernetes } from '../support/kubernetes/real-kubernetes.ts';
import { type RealScene, setRealPlaneStage } from '../support/kubernetes/real-plane-stage.ts';
import type { Weights } from '../support/kubernetes/route-controller.ts';
import { aDestinationRule, anHttpRoute, aVirtualService } from '../support/kubernetes/traffic-objects.ts';
import { realCluster } from '../support/serving-platforms/platform-cluster.ts';
import { type Platform, setPlatformStage } from '../support/serving-platforms/platform-stage.ts';
import type { Routed } from '../support/serving-platforms/traffic.ts';
import { describeDaemon, untilFinished } from '../support/stage-files.ts';
import { until } from '../support/until.ts';

/** The planes of weighted routes on a real API server, as a service account that has the shipped role and nothing else; endpoints are the real controllers'. */

let kubernetes: RealKubernetes;
beforeAll(async () => {
  kubernetes = await startRealKubernetes();
  await kubernetes.installCrds([httpRouteCrd, virtualServiceCrd, destinationRuleCrd]);
});
afterAll(async () => kubernetes[Symbol.asyncDispose]());

const within = (namespace: string, object: KubernetesObject): KubernetesObject => ({ ...object, metadata: { ...object.metadata, namespace } });

/** Pods of both versions, behind one Service each and one for both. */
async function servers(namespace: string): Promise<void> {
  const { client } = kubernetes;
  await client.create(aService({ name: 'fraud', namespace, selector: { app: 'fraud' } }));
  for (const version of ['v6', 'v7']) {
    const labels = { app: 'fraud', version };
    const template = { metadata: { labels }, spec: { containers: [{ name: 'server', image: `registry.example.org/fraud:${version}` }] } };
    await client.create(aService({ name: `fraud-${version}`, namespace, selector: labels }));
    const spec = { replicas: 1, selector: { matchLabels: labels }, template };
    await client.create(aDeployment({ name: `fraud-${version}`, namespace, image: '-', spec }));
  }
}

async function gateway(namespace: string, weights: Weights): Promise<GatewayController> {
  await servers(namespace);
  await kubernetes.client.create(within(namespace, anHttpRoute({ 'fraud-v6': weights['v6'] ?? 0, 'fraud-v7': weights['v7'] ?? 0 })));
  return new GatewayController(kubernetes.client, { namespace, delayMs: 50, proxyDelayMs: 100 });
}

async function mesh(namespace: string, weights: Weights, tells: boolean): Promise<IstioController> {
  await servers(namespace);
  const rule = within(namespace, aDestinationRule(['v6', 'v7']));
  await kubernetes.client.create({ ...rule, spec: { ...rule.spec, host: `fraud.${namespace}.svc.cluster.local` } });
  await kubernetes.client.create(within(namespace, aVirtualService(weights)));
  return new IstioController(kubernetes.client, { namespace, tells, delayMs: 50, proxyDelayMs: 100 });
}

const gatewayScene: RealScene = {
  kind: gatewayApi,
  from: '7',
  to: '6',
  fill: async (namespace, defer) => {
    defer(await gateway(namespace, { v6: 0, v7: 100 }));
    return { keys: { namespace, version_pattern: 'fraud-v(\\d+)' }, config: { propagation: '0s' } };
  },
};
const istioScene = (tells: boolean): RealScene => ({
  kind: istio,
  from: '7',
  to: '6',
  fill: async (namespace, defer) => {
    defer(await mesh(namespace, { v6: 0, v7: 100 }, tells));
    return { keys: { namespace, version_pattern: 'v(\\d+)' }, config: { propagation: '0s' } };
  },
});

describeControlPlane('gateway_api, on a real API server with its shipped role,', async () => await setRealPlaneStage(kubernetes, gatewayScene), null);
describeControlPlane('istio, on a real API server with its shipped role,', async () => await setRealPlaneStage(kubernetes, istioScene(false)), null);

describeMissingRights(
  () => kubernetes,
  [
    {
      scene: gatewayScene,
      reads: [
        ['httproutes', 'get'],
        ['endpointslices', 'list'],
      ],
      writes: 'httproutes',
    },
    {
      scene: istioScene(true),
      reads: [
        ['virtualservices', 'get'],
        ['destinationrules', 'list'],
        ['endpointslices', 'list'],
        ['pods', 'list'],
      ],
      writes: 'virtualservices',
    },
  ],
);

const versionOf = (destination: string): string => /\d+$/.exec(destination)?.[0] ?? '';
const routedBy = (shares: Weights): Routed => Object.entries(shares).map(([name, share]) => ({ name, version: versionOf(name), share }));
const crashLoop: PodFate = { waiting: 'CrashLoopBackOff' };
const labelOf = (pod: KubernetesObject): string => pod.metadata.labels?.['version'] ?? '';

/** Version 7 is a canary with three of ten requests. */
const gatewayPlatform: Platform = {
  kind: 'gateway_api',
  start: async ({ namespace, decidePods, fateOf, defer }) => {
    await decidePods((pod) => (fateOf(labelOf(pod)) === 'serves' ? 'ready' : crashLoop));
    const controller = await gateway(namespace, { v6: 70, v7: 30 });
    defer(controller);
    return { route: async () => routedBy(controller.routed('fraud')) };
  },
  model: (namespace) => ({
    plane: { namespace, http_route: 'fraud', version_pattern: 'fraud-v(\\d+)' },
    version_label: 'model_version',
    signals: { requests: { counter: 'model_requests_total' }, errors: { matchers: ['code=~"5.."'] } },
  }),
  line: (backend, ok) => `model_requests_total{model_version="${versionOf(backend)}",code="${ok ? 200 : 500}"}`,
};

/** Istio says how far it has got. */
const istioPlatform: Platform = {
  kind: 'istio',
  start: async ({ namespace, decidePods, fateOf, defer }) => {
    await decidePods((pod) => (fateOf(labelOf(pod)) === 'serves' ? 'ready' : crashLoop));
    const controller = await mesh(namespace, { v6: 70, v7: 30 }, true);
    defer(controller);
    return { route: async () => routedBy(controller.routed('fraud')) };
  },
  model: (namespace) => ({
    plane: { namespace, virtual_service: 'fraud', service: 'fraud', versions: { '6': 'v6', '7': 'v7' } },
    preset: 'istio',
    version_map: 'v(\\d+)',
  }),
  line: (subset, ok, namespace) =>
    `istio_requests_total{reporter="source",destination_service_name="fraud",destination_service_namespace="${namespace}",destination_version="${subset}",response_code="${ok ? 200 : 500}"}`,
};

const platforms = [
  { name: 'gateway_api', platform: gatewayPlatform, words: /Service world-\d+\/fraud-v6 has 0 ready endpoints, expected at least 1 \(min_ready\)/ },
  { name: 'istio', platform: istioPlatform, words: /subset v6 of Service world-\d+\/fraud has 0 ready endpoints, expected at least 1 \(min_ready\)/ },
];

// Both mostly wait.
describe.each(platforms)('a bad canary on $name, with a daemon that has the shipped role', { timeout: 120_000, concurrent: true }, ({ platform, words }) => {
  it('is taken back, confirmed by the controller, and stays so', async () => {
    const cluster = await realCluster(kubernetes, platform.kind);
    await using stage = await setPlatformStage(platform, '6', cluster);
    await until('both versions to be routed to', async () => (await stage.route()).length === 2);
    const daemon = await stage.startDaemon();
    await until('7 to be judged well', async () => (await daemon.model()).verdicts.some(({ version, verdict }) => version === '7' && verdict === 'ok'), {
      seen: async () => await describeDaemon(daemon),
    });
    stage.traffic.outages = 0;
    stage.failing.set('7', 0.3);

    const episode = await untilFinished(daemon);

    expect(episode, JSON.stringify(episode)).toMatchObject({ from: '7', to: '6', state: 'succeeded', outcome: 'success' });
    expect((await stage.route()).map(({ version, share }) => [version, share])).toEqual([['6', 1]]);
    expect(episode.smoke_tests.length).toBeGreaterThan(0);
    expect(stage.traffic.outages).toBe(0);
    expect(daemon.logLines().join('\n')).not.toContain(cluster.token);
  });

  it('keeps its share when the target has nobody to answer, and the episode says what to do', async () => {
    await using stage = await setPlatformStage(platform, '6', await realCluster(kubernetes, platform.kind));
    await until('both versions to be routed to', async () => (await stage.route()).length === 2);
    const before = await stage.route();
    await stage.decide('v6', 'crashes');
    stage.failing.set('7', 0.3);
    const daemon = await stage.startDaemon();

    const episode = await untilFinished(daemon);

    expect(episode).toMatchObject({ from: '7', to: '6', state: 'failed', outcome: 'failure' });
    expect(episode.detail).toMatch(words);
    expect(episode.detail).toContain('Nothing moved: 7 still serves');
    expect(await stage.route()).toEqual(before);
  });
});
