import { describe, expect, it } from 'vitest';
import { all, describeControlPlane, reach, takeStep } from '../../../../test/contract/control-plane.ts';
import { describePlaneFaults } from '../../../../test/contract/plane-faults.ts';
import { kubernetesAnswers, kubernetesFault } from '../../../../test/support/kubernetes/answers.ts';
import { seldonV1Crds } from '../../../../test/support/kubernetes/crds/seldon-v1.ts';
import { startFakeKubernetes } from '../../../../test/support/kubernetes/fake-kubernetes.ts';
import type { JsonMap, KubernetesObject } from '../../../../test/support/kubernetes/kubernetes-object.ts';
import { aPlaneDeps } from '../../../../test/support/plane-deps.ts';
import type { Fate } from '../../../../test/support/serving-platforms/controller.ts';
import { annotationOf, DeploymentController } from '../../../../test/support/serving-platforms/deployments.ts';
import { contractSetupOf, kubeconfigFor, plantedToken } from '../../../../test/support/serving-platforms/plane-access.ts';
import { modelUriAnnotation, SeldonV1Operator, seldonV1Objection } from '../../../../test/support/serving-platforms/seldon-v1-operator.ts';
import { until } from '../../../../test/support/until.ts';
import type { Observation } from '../../../domain/observation.ts';
import { SeldonV1Plane } from './plane.ts';
import { seldonV1Config } from './schema.ts';

const signal = new AbortController().signal;
const target = { model: 'fraud', plane: { name: 'fraud', namespace: 'shop' } };
const path = '/apis/machinelearning.seldon.io/v1/namespaces/shop/seldondeployments/fraud';

type PredictorFacts = { name: string; traffic?: number; shadow?: boolean; secret?: string };

function aSeldonDeployment(predictors: readonly PredictorFacts[]): KubernetesObject {
  return {
    apiVersion: 'machinelearning.seldon.io/v1',
    kind: 'SeldonDeployment',
    metadata: { name: 'fraud', namespace: 'shop' },
    spec: {
      predictors: predictors.map(({ name, traffic, shadow, secret }) => ({
        name,
        ...(traffic === undefined ? {} : { traffic }),
        ...(shadow === undefined ? {} : { shadow }),
        graph: { name: 'classifier', implementation: 'SKLEARN_SERVER', modelUri: `gs://models/fraud/${name}` },
        ...(secret === undefined ? {} : { componentSpecs: [{ spec: { containers: [{ name: 'classifier', env: [{ name: 'KEY', value: secret }] }] } }] }),
      })),
    },
  };
}

async function start(options: { router?: 'istio' | 'ambassador'; predictors?: readonly PredictorFacts[] } = {}) {
  const {
    router = 'istio',
    predictors = [
      { name: 'v1', traffic: 0 },
      { name: 'v2', traffic: 100 },
    ],
  } = options;
  const fates = new Map<string, Fate>();
  const kubernetes = await startFakeKubernetes({ namespaces: ['shop'] });
  for (const crd of seldonV1Crds) await kubernetes.installCrd(crd);
  kubernetes.addWebhook({
    name: 'v1.vseldondeployment.kb.io',
    review: ({ resource, subresource, object }) => {
      const objection = resource === 'seldondeployments' && subresource === null && object !== null ? seldonV1Objection(object) : null;
      return objection === null ? null : { deny: objection, code: 422 };
    },
  });
  await kubernetes.client.create(aSeldonDeployment(predictors));
  const fateOf = (uri: string): Fate => fates.get(uri.split('/').at(-1) ?? '') ?? 'serves';
  const rollouts = new DeploymentController(kubernetes.client, 'shop', (template) => fateOf(annotationOf(template, modelUriAnnotation))).start();
  const operator = new SeldonV1Operator(kubernetes.client, 'shop', router).start();
  const kubeconfig = kubeconfigFor(kubernetes.url);
  const deps = aPlaneDeps();
  const plane = new SeldonV1Plane(seldonV1Config.parse({ kubeconfig: kubeconfig.path }), deps);
  const observe = async (thorough = false): Promise<Observation> => await plane.observe(target, { thorough }, signal);
  const wanted = predictors.filter(({ traffic = 0, shadow }) => shadow !== true && traffic > 0).map(({ name }) => name);
  await until('the predictors to be routed', async () => (await observe()).serving.map(({ version }) => version).join() === wanted.join(), { everyMs: 10 });
  return {
    kubernetes,
    rollouts,
    operator,
    plane,
    observe,
    fates,
    target,
    remember: () => undefined,
    fault: kubernetesFault(kubernetes, deps.clock, plantedToken),
    said: deps.said,
    sdep: async () => await kubernetes.client.get(path),
    [Symbol.asyncDispose]: async () => {
      await plane.close();
      await operator[Symbol.asyncDispose]();
      await rollouts[Symbol.asyncDispose]();
      kubeconfig.remove();
      await kubernetes[Symbol.asyncDispose]();
    },
  };
}

const planeOn = (kubeconfig: string, more = {}): SeldonV1Plane => new SeldonV1Plane(seldonV1Config.parse({ kubeconfig, ...more }), aPlaneDeps());

for (const router of ['istio', 'ambassador'] as const) {
  describeControlPlane(`seldon_v1 with ${router}`, async () => await contractSetupOf(() => start({ router }), planeOn), kubernetesAnswers);
}
describePlaneFaults('seldon_v1', async () => await contractSetupOf(start, planeOn), { to: 'API server', protocol: 'http', isShared: true });

const predictorsOf = (sdep: KubernetesObject) => (sdep.spec as { predictors: (JsonMap & { name: string; traffic?: number })[] }).predictors;

describe('seldon_v1', () => {
  it('believes the applied routing, not the wish', async () => {
    await using setup = await start();
    setup.operator.pause();
    await setup.kubernetes.client.jsonPatch(path, [
      { op: 'replace', path: '/spec/predictors/0/traffic', value: 100 },
      { op: 'replace', path: '/spec/predictors/1/traffic', value: 0 },
    ]);

    expect((await setup.observe()).serving).toEqual([{ version: 'v2', share: 1 }]);
  });

  it('takes a crashing predictor off the list in the same patch, since no routing is written while it crashes', async () => {
    await using setup = await start({
      predictors: [
        { name: 'v1', traffic: 0 },
        { name: 'v2', traffic: 100, secret: 'hunter2' },
      ],
    });
    setup.fates.set('v2', 'crashes');
    await until('v2 to crash', async () => (await setup.observe()).versions.some((version) => version.id === 'v2' && version.state !== 'available'));

    const steps = await reach(setup, all('v1'));

    expect(steps.map((step) => step.name)).toEqual(['give v1 all traffic and take v2 off the list on seldondeployment shop/fraud']);
    expect(setup.kubernetes.mutations()).toBe(1);
    expect((await setup.observe()).serving).toEqual([{ version: 'v1', share: 1 }]);
    expect(predictorsOf(await setup.sdep()).map(({ name, traffic }) => [name, traffic])).toEqual([['v1', 100]]);
    // What the pods are told may be secret: it stays in the cluster.
    expect(JSON.stringify(steps)).not.toContain('hunter2');
    expect((await setup.sdep()).metadata.annotations?.['rollbackd.io/removed-predictors']).toContain('hunter2');
  });

  it('puts a predictor back as it was by the inverse', async () => {
    await using setup = await start({
      predictors: [
        { name: 'v2', traffic: 100, secret: 'hunter2' },
        { name: 'v1', traffic: 0 },
      ],
    });
    const before = predictorsOf(await setup.sdep());
    setup.fates.set('v2', 'crashes');
    await until('v2 to crash', async () => (await setup.observe()).versions.some((version) => version.id === 'v2' && version.state !== 'available'));
    const [step] = await reach(setup, all('v1'));
    if (step === undefined) throw new Error('no step');

    expect(await takeStep(setup, step, { inverse: true })).toMatchObject({ kind: 'applied' });
    expect(predictorsOf(await setup.sdep())).toEqual(before);
    expect((await setup.sdep()).metadata.annotations?.['rollbackd.io/removed-predictors']).toBeUndefined();
  });

  it('says that the gate holds the routing back when a predictor crashes after the patch', async () => {
    await using setup = await start();
    setup.operator.pause();
    const before = await setup.observe(true);
    const plan = setup.plane.plan(target, before, all('v1'));
    const [step] = plan.kind === 'steps' ? plan.steps : [];
    if (step === undefined) throw new Error('no step');
    setup.fates.set('v2', 'crashes');
    await setup.plane.apply(target, step, { inverse: false, opId: 'rb_1', epoch: 1 }, signal);
    await until('v2 to crash', async () => (await setup.observe()).versions.some((version) => version.id === 'v2' && version.state !== 'available'));
    setup.operator.resume();
    await setup.operator.turns(5);

    const check = setup.plane.check(step, before, await setup.observe());

    expect(check).toMatchObject({
      kind: 'progressing',
      detail: expect.stringMatching(/no routing before every predictor is fully available \(v2: /) as string,
    });
    expect((await setup.observe()).serving).toEqual([{ version: 'v2', share: 1 }]);
  });

  it.each(['crashes', 'starts slowly'] as const)('refuses a target that %s: nothing would be applied', async (fate) => {
    await using setup = await start();
    setup.fates.set('v1', fate);
    setup.rollouts.slowTurns = 10_000;
    await until('v1 to be away', async () => (await setup.observe()).versions.some((version) => version.id === 'v1' && version.state !== 'available'));

    expect(setup.plane.plan(target, await setup.observe(), all('v1'))).toMatchObject({
      kind: 'refused',
      reason: expect.stringMatching(/v1 is not fully available .*bring it up first/) as string,
    });
  });

  it('refuses versions that are no predictors, and shadows', async () => {
    await using setup = await start({
      predictors: [
        { name: 'v2', traffic: 100 },
        { name: 'v1', traffic: 0 },
        { name: 'dark', traffic: 10, shadow: true },
      ],
    });
    const observation = await setup.observe();

    expect(observation.versions.map((version) => version.id)).toEqual(['v2', 'v1']);
    expect(setup.plane.plan(target, observation, all('v0'))).toMatchObject({
      reason: expect.stringContaining('no predictor is named v0 (found v2 100, v1 0, dark (shadow))') as string,
    });
    expect(setup.plane.plan(target, observation, all('dark'))).toMatchObject({ reason: expect.stringContaining('shadow: false') as string });
    expect((await reach(setup, all('v1'))).length).toBe(1);
    expect(predictorsOf(await setup.sdep()).at(-1)).toMatchObject({ name: 'dark', traffic: 10, shadow: true });
  });

  it('leaves alone what somebody else changed', async () => {
    await using setup = await start();
    const plan = setup.plane.plan(target, await setup.observe(), all('v1'));
    const [step] = plan.kind === 'steps' ? plan.steps : [];
    if (step === undefined) throw new Error('no step');
    const options = { inverse: false, opId: 'rb_1', epoch: 1 };
    const split = [
      { op: 'replace', path: '/spec/predictors/0/traffic', value: 40 },
      { op: 'replace', path: '/spec/predictors/1/traffic', value: 60 },
    ];
    await setup.kubernetes.client.jsonPatch(path, split);

    expect(await setup.plane.apply(target, step, options, signal)).toMatchObject({
      kind: 'conflict',
      detail: expect.stringContaining('v1 40, v2 60') as string,
    });
    expect(setup.kubernetes.mutations()).toBe(0);
  });

  it('tells two processes with one intent apart: one patch, and it is already there for the other', async () => {
    await using setup = await start();
    const plan = setup.plane.plan(target, await setup.observe(), all('v1'));
    const [step] = plan.kind === 'steps' ? plan.steps : [];
    if (step === undefined) throw new Error('no step');

    const outcomes = await Promise.all([1, 2, 3].map(async (epoch) => await setup.plane.apply(target, step, { inverse: false, opId: 'rb_1', epoch }, signal)));

    expect(outcomes.filter((outcome) => outcome.kind === 'applied')).toHaveLength(1);
    expect(outcomes.every((outcome) => ['applied', 'already', 'conflict'].includes(outcome.kind))).toBe(true);
  });

  it('says what the webhook said, for good', async () => {
    await using setup = await start();
    const plan = setup.plane.plan(target, await setup.observe(), all('v1'));
    const [step] = plan.kind === 'steps' ? plan.steps : [];
    if (step === undefined) throw new Error('no step');
    setup.kubernetes.addWebhook({
      name: 'v1.vseldondeployment.kb.io',
      review: ({ resource }) => (resource === 'seldondeployments' ? { deny: 'traffic is frozen', code: 422 } : null),
    });

    expect(await setup.plane.apply(target, step, { inverse: false, opId: 'rb_1', epoch: 1 }, signal)).toMatchObject({
      kind: 'rejected',
      class: 'permanent',
      detail: expect.stringContaining('traffic is frozen') as string,
    });
  });

  it.each([
    ['refuse', [expect.stringContaining('Argo CD application models keeps seldondeployment shop/fraud as git has it') as string]],
    ['alert', []],
  ] as const)('where Argo CD keeps it as git has it: %s', async (gitops, refusals) => {
    await using setup = await start();
    const tracking = { 'argocd.argoproj.io/tracking-id': 'models:machinelearning.seldon.io/SeldonDeployment:shop/fraud' };
    await setup.kubernetes.client.merge(path, { metadata: { annotations: tracking } });
    const kubeconfig = kubeconfigFor(setup.kubernetes.url);
    const plane = new SeldonV1Plane(seldonV1Config.parse({ kubeconfig: kubeconfig.path, gitops }), aPlaneDeps());

    expect((await plane.observe(target, { thorough: true }, signal)).refusals).toEqual(refusals);
    await plane.close();
    kubeconfig.remove();
  });

  it('refuses to act where the applied routing cannot be seen', async () => {
    await using setup = await start();
    setup.operator.pause();
    await setup.kubernetes.client.remove('/apis/networking.istio.io/v1/namespaces/shop/virtualservices/fraud');

    expect((await setup.observe(true)).refusals).toEqual([expect.stringContaining('neither a VirtualService nor Mappings') as string]);
  });
});
