import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { kserve } from '../../src/adapters/control-planes/kserve/index.ts';
import { seldonV1 } from '../../src/adapters/control-planes/seldon-v1/index.ts';
import { seldonV2 } from '../../src/adapters/control-planes/seldon-v2/index.ts';
import { describeControlPlane } from '../contract/control-plane.ts';
import { kserveCrds } from '../support/kubernetes/crds/kserve.ts';
import { seldonV1Crds } from '../support/kubernetes/crds/seldon-v1.ts';
import { seldonV2Crds } from '../support/kubernetes/crds/seldon-v2.ts';
import type { KubernetesTestClient } from '../support/kubernetes/kubernetes-client.ts';
import type { JsonMap, KubernetesObject } from '../support/kubernetes/kubernetes-object.ts';
import { describeMissingRights } from '../support/kubernetes/missing-rights.ts';
import { type RealKubernetes, startRealKubernetes } from '../support/kubernetes/real-kubernetes.ts';
import { type RealScene, setRealPlaneStage } from '../support/kubernetes/real-plane-stage.ts';
import { SeldonV2Scheduler } from '../support/seldon-v2-scheduler/scheduler.ts';
import type { Fate } from '../support/serving-platforms/controller.ts';
import { KserveKnativeController } from '../support/serving-platforms/kserve-knative.ts';
import { KserveStandardController } from '../support/serving-platforms/kserve-standard.ts';
import { realCluster } from '../support/serving-platforms/platform-cluster.ts';
import { type Platform, type PlatformStage, setPlatformStage } from '../support/serving-platforms/platform-stage.ts';
import { modelUriAnnotation, SeldonV1Operator } from '../support/serving-platforms/seldon-v1-operator.ts';
import { describeDaemon, untilFinished } from '../support/stage-files.ts';
import { until } from '../support/until.ts';

/**
 * The planes of serving platforms on a real API server, as a service account that has the shipped role and nothing else. The platforms' own controllers are
 * doubles; the Deployments they make are rolled out by the real controllers.
 */

let kubernetes: RealKubernetes;
beforeAll(async () => {
  kubernetes = await startRealKubernetes();
  await kubernetes.installCrds([...seldonV1Crds, ...seldonV2Crds, ...kserveCrds]);
});
afterAll(async () => kubernetes[Symbol.asyncDispose]());

type Ground = { readonly client: KubernetesTestClient; readonly namespace: string; readonly fateOf: (artifact: string) => Fate };
const alwaysServes = (): Fate => 'serves';
const ground = (namespace: string): Ground => ({ client: kubernetes.client, namespace, fateOf: alwaysServes });
const tail = (uri: string): string => uri.split('/').at(-1) ?? '';

// ---- Seldon Core v1

/** v2 has the traffic, v1 stands beside it. */
async function seldonV1Operator({ client, namespace }: Ground, router: 'istio' | 'ambassador'): Promise<SeldonV1Operator> {
  await client.create({
    apiVersion: 'machinelearning.seldon.io/v1',
    kind: 'SeldonDeployment',
    metadata: { name: 'fraud', namespace },
    spec: {
      predictors: [
        { name: 'v1', traffic: 0, graph: { name: 'classifier', modelUri: 'gs://models/fraud/v1' } },
        { name: 'v2', traffic: 100, graph: { name: 'classifier', modelUri: 'gs://models/fraud/v2' } },
      ],
    },
  });
  return new SeldonV1Operator(client, namespace, router).follow();
}

const seldonV1Scene = (router: 'istio' | 'ambassador'): RealScene => ({
  kind: seldonV1,
  from: 'v2',
  to: 'v1',
  fill: async (namespace, defer) => {
    defer(await seldonV1Operator(ground(namespace), router));
    return { keys: { name: 'fraud', namespace }, config: { router } };
  },
});

type VirtualServiceRoute = { destination: { subset: string }; weight?: number };

const seldonV1Platform: Platform = {
  kind: 'seldon_v1',
  model: (namespace) => ({ plane: { name: 'fraud', namespace }, preset: 'seldon-v1' }),
  line: (name, ok) =>
    `seldon_api_executor_server_requests_seconds_count{deployment_name="fraud",predictor_name="${name}",predictor_version="",service="predictions",method="post",code="${ok ? 200 : 500}"}`,
  start: async ({ defer, decidePods, ...given }) => {
    // A predictor that is known to have failed would not even be a target: this one is still hoped for.
    await decidePods((pod) => (given.fateOf(pod.metadata.annotations?.[modelUriAnnotation] ?? '') === 'serves' ? 'ready' : { waiting: 'CrashLoopBackOff' }));
    defer(await seldonV1Operator(given, 'istio'));
    return {
      route: async () => {
        const found = await given.client.find(`/apis/networking.istio.io/v1/namespaces/${given.namespace}/virtualservices/fraud`);
        const [http] = (found?.spec as { http?: { route: VirtualServiceRoute[] }[] } | undefined)?.http ?? [];
        const routes = http?.route ?? [];
        return routes
          .map(({ destination, weight = 0 }) => ({ name: destination.subset, version: destination.subset, share: routes.length === 1 ? 1 : weight / 100 }))
          .filter(({ share }) => share > 0);
      },
    };
  },
};

// ---- Seldon Core 2

const seldonV2Object = (namespace: string, kind: 'Model' | 'Experiment', name: string, spec: JsonMap): KubernetesObject => ({
  apiVersion: 'mlops.seldon.io/v1alpha1',
  kind,
  metadata: { name, namespace },
  spec: kind === 'Model' ? { requirements: ['sklearn'], memory: '100Mi', ...spec } : spec,
});

async function seldonV2Scheduler({ client, namespace, fateOf }: Ground): Promise<SeldonV2Scheduler> {
  await client.create(seldonV2Object(namespace, 'Model', 'fraud', { storageUri: 'gs://models/fraud/v2' }));
  return (await SeldonV2Scheduler.listen(client, namespace, fateOf)).follow();
}

const artifactScene: RealScene = {
  kind: seldonV2,
  from: 'v2',
  to: 'v1',
  fill: async (namespace, defer) => {
    const scheduler = await seldonV2Scheduler(ground(namespace));
    defer(scheduler);
    return {
      keys: { model: 'fraud', namespace, artifact: 'gs://models/fraud/{{ $version }}' },
      config: { scheduler: { endpoint: scheduler.address } },
      configTowards: (endpoint) => ({ scheduler: { endpoint } }),
    };
  },
};

const experimentScene: RealScene = {
  kind: seldonV2,
  from: 'fraud-2',
  to: 'fraud-1',
  fill: async (namespace, defer) => {
    for (const name of ['fraud-1', 'fraud-2']) await kubernetes.client.create(seldonV2Object(namespace, 'Model', name, { storageUri: `gs://models/${name}` }));
    const candidates = [
      { name: 'fraud-2', weight: 100 },
      { name: 'fraud-1', weight: 0 },
    ];
    await kubernetes.client.create(seldonV2Object(namespace, 'Experiment', 'fraud-test', { default: 'fraud-1', candidates }));
    const scheduler = (await SeldonV2Scheduler.listen(kubernetes.client, namespace, alwaysServes)).follow();
    defer(scheduler);
    return {
      keys: { experiment: 'fraud-test', namespace },
      config: { scheduler: { endpoint: scheduler.address } },
      configTowards: (endpoint) => ({ scheduler: { endpoint } }),
    };
  },
};

const seldonV2Platform: Platform = {
  kind: 'seldon_v2',
  model: (namespace) => ({ plane: { model: 'fraud', namespace, artifact: 'gs://models/fraud/{{ $version }}' }, preset: 'seldon-v2' }),
  line: (name, ok) =>
    `seldon_model_infer_total{server="mlserver",server_replica="0",model="fraud",model_internal="${name}",method_type="rest",code="${ok ? 200 : 500}"}`,
  start: async ({ defer, ...given }) => {
    const scheduler = await seldonV2Scheduler(given);
    defer(scheduler);
    return {
      plane: { scheduler: { endpoint: scheduler.address } },
      route: async () => {
        const [routed] = Object.keys(scheduler.route('fraud'));
        return routed === undefined ? [] : [{ name: scheduler.internalName('fraud', routed), version: tail(routed), share: 1 }];
      },
    };
  },
};

// ---- KServe

const inferenceService = (namespace: string, version: string): KubernetesObject => ({
  apiVersion: 'serving.kserve.io/v1beta1',
  kind: 'InferenceService',
  metadata: { name: 'fraud', namespace },
  spec: { predictor: { model: { modelFormat: { name: 'sklearn' }, storageUri: `s3://models/fraud/${version}` } } },
});

/** v1 was rolled out, then v2 as well. */
async function knativeController({ client, namespace, fateOf }: Ground): Promise<KserveKnativeController> {
  await client.create(inferenceService(namespace, 'v1'));
  const controller = new KserveKnativeController(client, namespace, fateOf).follow();
  const rolledOut = async (version: string): Promise<unknown> =>
    await until(`${version} to be rolled out`, () => controller.history.at(-1)?.[`s3://models/fraud/${version}`] === 100, { everyMs: 20 });
  await rolledOut('v1');
  await client.merge(`/apis/serving.kserve.io/v1beta1/namespaces/${namespace}/inferenceservices/fraud`, {
    spec: { predictor: { model: { storageUri: 's3://models/fraud/v2' } } },
  });
  await rolledOut('v2');
  return controller;
}

const kserveKeys = (namespace: string) => ({ name: 'fraud', namespace, artifact: 's3://models/fraud/{{ $version }}' });
const kserveScene = (mode: 'Knative' | 'Standard'): RealScene => ({
  kind: kserve,
  from: 'v2',
  to: 'v1',
  fill: async (namespace, defer) => {
    if (mode === 'Knative') defer(await knativeController(ground(namespace)));
    else {
      await kubernetes.client.create(inferenceService(namespace, 'v2'));
      defer(new KserveStandardController(kubernetes.client, namespace, { canaries: true }).follow());
    }
    return { keys: kserveKeys(namespace) };
  },
});

const kservePlatform: Platform = {
  kind: 'kserve',
  model: (namespace) => ({ plane: kserveKeys(namespace), preset: 'kserve-knative' }),
  line: (name, ok, namespace) =>
    `revision_request_count{service_name="fraud-predictor",configuration_name="fraud-predictor",namespace_name="${namespace}",revision_name="${name}",response_code="${ok ? 200 : 500}",response_code_class="${ok ? '2xx' : '5xx'}"}`,
  start: async ({ defer, ...given }) => {
    const controller = await knativeController(given);
    defer(controller);
    return { route: async () => controller.routed('fraud').map(({ revision, uri, share }) => ({ name: revision, version: tail(uri), share })) };
  },
};

// ---- what holds for all of them

const scenes: readonly (readonly [string, RealScene])[] = [
  ['seldon_v1 with istio', seldonV1Scene('istio')],
  ['seldon_v1 with ambassador', seldonV1Scene('ambassador')],
  ['seldon_v2 by artifact', artifactScene],
  ['seldon_v2 by experiment', experimentScene],
  ['kserve in Knative mode', kserveScene('Knative')],
  ['kserve in Standard mode', kserveScene('Standard')],
];
for (const [name, scene] of scenes)
  describeControlPlane(`${name}, on a real API server with its shipped role,`, async () => await setRealPlaneStage(kubernetes, scene), null);

describeMissingRights(
  () => kubernetes,
  [
    {
      scene: seldonV1Scene('istio'),
      reads: [
        ['seldondeployments', 'get'],
        ['deployments', 'list'],
        ['virtualservices', 'get'],
      ],
      writes: 'seldondeployments',
    },
    { title: 'by artifact', scene: artifactScene, reads: [['models', 'get']], writes: 'models' },
    { title: 'by experiment', scene: experimentScene, reads: [['experiments', 'get']], writes: 'experiments' },
    {
      title: 'in Knative mode',
      scene: kserveScene('Knative'),
      reads: [
        ['inferenceservices', 'get'],
        ['revisions', 'list'],
      ],
      writes: 'inferenceservices',
    },
    {
      title: 'in Standard mode',
      scene: kserveScene('Standard'),
      reads: [
        ['deployments', 'get'],
        ['replicasets', 'list'],
        ['httproutes', 'get'],
      ],
      writes: 'inferenceservices',
    },
  ],
);

async function serving(stage: PlatformStage): Promise<readonly string[]> {
  return (await stage.route()).map(({ version }) => version);
}

const platforms = [
  {
    name: 'seldon_v1',
    platform: seldonV1Platform,
    away: 'v1',
    words: /the control plane refused the plan: predictor v1 is not fully available .*bring it up first/,
  },
  { name: 'seldon_v2', platform: seldonV2Platform, away: 'v0', words: /the version does not load \(ModelFailed: rpc error: no such object\)/ },
  { name: 'kserve', platform: kservePlatform, away: 'v0', words: /the revision of v0 does not come up: ExitCode1/ },
];

// Both mostly wait.
describe.each(platforms)('a bad model version on $name, with a daemon that has the shipped role', { timeout: 120_000, concurrent: true }, (scenario) => {
  const { platform, away, words } = scenario;

  it('is rolled back, confirmed on the applied traffic, and stays so', async () => {
    const cluster = await realCluster(kubernetes, platform.kind);
    await using stage = await setPlatformStage(platform, 'v1', cluster);
    await until('v2 to serve', async () => (await serving(stage)).join() === 'v2');
    stage.traffic.outages = 0;
    const daemon = await stage.startDaemon();
    await until('v2 to be judged well', async () => (await daemon.model()).verdicts.some(({ version, verdict }) => version === 'v2' && verdict === 'ok'), {
      seen: async () => await describeDaemon(daemon),
    });
    stage.failing.set('v2', 0.3);

    const episode = await untilFinished(daemon);

    expect(episode, JSON.stringify(episode)).toMatchObject({ from: 'v2', to: 'v1', state: 'succeeded', outcome: 'success' });
    expect(await serving(stage)).toEqual(['v1']);
    expect(episode.smoke_tests.length).toBeGreaterThan(0);
    // Nobody was without an answer on the way.
    expect(stage.traffic.outages).toBe(0);
    expect(daemon.logLines().filter((line) => line.includes('"rollback success'))).toHaveLength(1);
    expect(daemon.logLines().join('\n')).not.toContain(cluster.token);
  });

  it('goes on serving when the target does not come up, and the episode says what to do', async () => {
    await using stage = await setPlatformStage(platform, away, await realCluster(kubernetes, platform.kind));
    await until('v2 to serve', async () => (await serving(stage)).join() === 'v2');
    await stage.decide(away, 'crashes');
    stage.traffic.outages = 0;
    stage.failing.set('v2', 0.3);
    const daemon = await stage.startDaemon();

    const episode = await untilFinished(daemon);

    expect(episode).toMatchObject({ from: 'v2', to: away, state: 'failed', outcome: 'failure' });
    expect(episode.detail).toMatch(words);
    expect(episode.detail).toMatch(/Nothing moved: v2 still serves\. Look why .* does not come up, or roll back to another version by hand/);
    expect(await serving(stage)).toEqual(['v2']);
    expect(stage.traffic.outages).toBe(0);
  });
});
