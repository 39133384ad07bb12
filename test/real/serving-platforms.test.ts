import { describe, expect, it } from 'vitest';
import type { KubernetesObject } from '../support/kubernetes/kubernetes-object.ts';
import { SeldonV2Scheduler } from '../support/seldon-v2-scheduler/scheduler.ts';
import type { Controller } from '../support/serving-platforms/controller.ts';
import { kserveCrds, seldonV1Crds, seldonV2Crds } from '../support/serving-platforms/crds.ts';
import { annotationOf, DeploymentController } from '../support/serving-platforms/deployments.ts';
import { KserveKnativeController } from '../support/serving-platforms/kserve-knative.ts';
import { type Platform, type PlatformStage, setPlatformStage } from '../support/serving-platforms/platform-stage.ts';
import { modelUriAnnotation, SeldonV1Operator } from '../support/serving-platforms/seldon-v1-operator.ts';
import { describeDaemon, untilFinished } from '../support/stage-files.ts';
import { until } from '../support/until.ts';

/** A daemon beside it needs the processor, too. */
function atLeisure<One extends Controller>(controller: One): One {
  controller.everyMs = 50;
  controller.start();
  return controller;
}

const tail = (uri: string): string => uri.split('/').at(-1) ?? '';

const seldonV1: Platform = {
  kind: 'seldon_v1',
  crds: seldonV1Crds,
  objects: [
    {
      apiVersion: 'machinelearning.seldon.io/v1',
      kind: 'SeldonDeployment',
      metadata: { name: 'fraud', namespace: 'shop' },
      spec: {
        predictors: [
          { name: 'v1', traffic: 0, graph: { name: 'classifier', modelUri: 'gs://models/fraud/v1' } },
          { name: 'v2', traffic: 100, graph: { name: 'classifier', modelUri: 'gs://models/fraud/v2' } },
        ],
      },
    },
  ],
  model: { plane: { name: 'fraud', namespace: 'shop' }, preset: 'seldon-v1' },
  line: (name, ok) =>
    `seldon_api_executor_server_requests_seconds_count{deployment_name="fraud",predictor_name="${name}",predictor_version="",service="predictions",method="post",code="${ok ? 200 : 500}"}`,
  start: async ({ kubernetes, fateOf, defer }) => {
    const rollouts = atLeisure(new DeploymentController(kubernetes.client, 'shop', (template) => fateOf(annotationOf(template, modelUriAnnotation))));
    // A predictor that is known to have failed would not even be a target: this one is still hoped for.
    rollouts.progressDeadlineTurns = Number.POSITIVE_INFINITY;
    defer(rollouts);
    defer(atLeisure(new SeldonV1Operator(kubernetes.client, 'shop', 'istio')));
    return {
      plane: {},
      route: async () => {
        const found = await kubernetes.client.find('/apis/networking.istio.io/v1/namespaces/shop/virtualservices/fraud');
        const [http] = ((found?.spec as { http?: { route: { destination: { subset: string }; weight?: number }[] }[] } | undefined)?.http ?? []).slice(0, 1);
        const routes = http?.route ?? [];
        return routes
          .map(({ destination, weight = 0 }) => ({ name: destination.subset, version: destination.subset, share: routes.length === 1 ? 1 : weight / 100 }))
          .filter(({ share }) => share > 0);
      },
    };
  },
};

const aModel = (uri: string): KubernetesObject => ({
  apiVersion: 'mlops.seldon.io/v1alpha1',
  kind: 'Model',
  metadata: { name: 'fraud', namespace: 'shop' },
  spec: { storageUri: uri, requirements: ['sklearn'], memory: '100Mi' },
});

const seldonV2: Platform = {
  kind: 'seldon_v2',
  crds: seldonV2Crds,
  objects: [aModel('gs://models/fraud/v2')],
  model: { plane: { model: 'fraud', namespace: 'shop', artifact: 'gs://models/fraud/{{ $version }}' }, preset: 'seldon-v2' },
  line: (name, ok) =>
    `seldon_model_infer_total{server="mlserver",server_replica="0",model="fraud",model_internal="${name}",method_type="rest",code="${ok ? 200 : 500}"}`,
  start: async ({ kubernetes, fateOf, defer }) => {
    const scheduler = atLeisure(await SeldonV2Scheduler.listen(kubernetes.client, 'shop', fateOf));
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

const kserve: Platform = {
  kind: 'kserve',
  crds: kserveCrds,
  objects: [
    {
      apiVersion: 'serving.kserve.io/v1beta1',
      kind: 'InferenceService',
      metadata: { name: 'fraud', namespace: 'shop' },
      spec: { predictor: { model: { modelFormat: { name: 'sklearn' }, storageUri: 's3://models/fraud/v1' } } },
    },
  ],
  model: { plane: { name: 'fraud', namespace: 'shop', artifact: 's3://models/fraud/{{ $version }}' }, preset: 'kserve-knative' },
  line: (name, ok) =>
    `revision_request_count{service_name="fraud-predictor",configuration_name="fraud-predictor",namespace_name="shop",revision_name="${name}",response_code="${ok ? 200 : 500}",response_code_class="${ok ? '2xx' : '5xx'}"}`,
  start: async ({ kubernetes, fateOf, defer }) => {
    const controller = atLeisure(new KserveKnativeController(kubernetes.client, 'shop', fateOf));
    defer(controller);
    await until('v1 to be rolled out', () => controller.history.at(-1)?.['s3://models/fraud/v1'] === 100, { everyMs: 20 });
    await kubernetes.client.merge('/apis/serving.kserve.io/v1beta1/namespaces/shop/inferenceservices/fraud', {
      spec: { predictor: { model: { storageUri: 's3://models/fraud/v2' } } },
    });
    await until('v2 to be rolled out', () => controller.history.at(-1)?.['s3://models/fraud/v2'] === 100, { everyMs: 20 });
    return {
      plane: {},
      route: async () => controller.routed('fraud').map(({ revision, uri, share }) => ({ name: revision, version: tail(uri), share })),
    };
  },
};

async function serving(stage: PlatformStage): Promise<readonly string[]> {
  return (await stage.route()).map(({ version }) => version);
}

const platforms = [
  { name: 'seldon_v1', platform: seldonV1, away: 'v1', words: /the control plane refused the plan: predictor v1 is not fully available .*bring it up first/ },
  { name: 'seldon_v2', platform: seldonV2, away: 'v0', words: /the version does not load \(ModelFailed: rpc error: no such object\)/ },
  { name: 'kserve', platform: kserve, away: 'v0', words: /the revision of v0 does not come up: ExitCode1/ },
];

describe('a bad model version on a serving platform', { timeout: 90_000 }, () => {
  it.each(platforms)('$name: is rolled back, confirmed on the applied traffic, and stays so', async ({ platform }) => {
    await using stage = await setPlatformStage(platform, 'v1');
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
    expect(daemon.logLines().join('\n')).not.toContain('planted-t0ken');
  });

  it.each(platforms)('$name: goes on serving when the target does not come up, and the episode says what to do', async ({ platform, away, words }) => {
    await using stage = await setPlatformStage(platform, away);
    await until('v2 to serve', async () => (await serving(stage)).join() === 'v2');
    stage.fates.set(away, 'crashes');
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
