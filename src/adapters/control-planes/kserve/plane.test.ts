import { describe, expect, it } from 'vitest';
import type { FaultySetup } from '../../../../test/contract/answers.ts';
import { all, describeControlPlane, reach, takeStep } from '../../../../test/contract/control-plane.ts';
import { describePlaneFaults } from '../../../../test/contract/plane-faults.ts';
import { kubernetesAnswers, kubernetesFault } from '../../../../test/support/kubernetes/answers.ts';
import { kserveCrds } from '../../../../test/support/kubernetes/crds/kserve.ts';
import { type FakeKubernetes, startFakeKubernetes } from '../../../../test/support/kubernetes/fake-kubernetes.ts';
import type { JsonMap, KubernetesObject } from '../../../../test/support/kubernetes/kubernetes-object.ts';
import { aPlaneDeps } from '../../../../test/support/plane-deps.ts';
import type { Controller, Fate } from '../../../../test/support/serving-platforms/controller.ts';
import { annotationOf, DeploymentController } from '../../../../test/support/serving-platforms/deployments.ts';
import { KserveKnativeController } from '../../../../test/support/serving-platforms/kserve-knative.ts';
import { KserveStandardController, sourceUri } from '../../../../test/support/serving-platforms/kserve-standard.ts';
import { addKserveWebhook } from '../../../../test/support/serving-platforms/kserve-webhook.ts';
import { contractSetupOf, kubeconfigFor, plantedToken } from '../../../../test/support/serving-platforms/plane-access.ts';
import { until } from '../../../../test/support/until.ts';
import type { Observation } from '../../../domain/observation.ts';
import type { Step } from '../../../domain/step.ts';
import { KservePlane } from './plane.ts';
import { kserveConfig } from './schema.ts';

const signal = new AbortController().signal;
const target = { model: 'fraud', plane: { name: 'fraud', namespace: 'shop', artifact: 's3://models/fraud/{{ $version }}' } };
const path = '/apis/serving.kserve.io/v1beta1/namespaces/shop/inferenceservices/fraud';
const uriOf = (version: string): string => `s3://models/fraud/${version}`;
const options = { inverse: false, opId: 'rb_1', epoch: 1 };

function anInferenceService(version: string, spec: { predictor?: JsonMap; canary?: readonly JsonMap[] } = {}): KubernetesObject {
  return {
    apiVersion: 'serving.kserve.io/v1beta1',
    kind: 'InferenceService',
    metadata: { name: 'fraud', namespace: 'shop' },
    spec: {
      predictor: { minReplicas: 2, model: { modelFormat: { name: 'sklearn' }, storageUri: uriOf(version) }, ...spec.predictor },
      ...(spec.canary === undefined ? {} : { canary: spec.canary }),
    },
  };
}

type Started = {
  readonly kubernetes: FakeKubernetes;
  readonly plane: KservePlane;
  readonly fates: Map<string, Fate>;
  readonly observe: (thorough?: boolean) => Promise<Observation>;
  readonly serving: () => Promise<readonly (readonly [string, number])[]>;
  readonly spec: () => Promise<{ predictor: { canaryTrafficPercent?: number; model: { storageUri: string } }; canary?: { trafficPercent: number }[] }>;
  readonly set: (patch: JsonMap) => Promise<void>;
  readonly target: typeof target;
  readonly remember: () => void;
} & Pick<FaultySetup, 'fault' | 'said'> &
  AsyncDisposable;

async function start(
  controllersFor: (kubernetes: FakeKubernetes, fateOf: (uri: string) => Fate) => readonly Controller[],
  isvc: KubernetesObject,
  settings: Record<string, unknown> = {},
): Promise<Started> {
  const fates = new Map<string, Fate>();
  const kubernetes = await startFakeKubernetes({ namespaces: ['shop'] });
  for (const crd of kserveCrds) await kubernetes.installCrd(crd);
  await kubernetes.client.create(isvc);
  const controllers = controllersFor(kubernetes, (uri) => fates.get(uri.split('/').at(-1) ?? '') ?? 'serves');
  for (const controller of controllers) controller.start();
  const kubeconfig = kubeconfigFor(kubernetes.url);
  const deps = aPlaneDeps();
  const plane = new KservePlane(kserveConfig.parse({ kubeconfig: kubeconfig.path, ...settings }), deps);
  const observe = async (thorough = false): Promise<Observation> => await plane.observe(target, { thorough }, signal);
  const serving = async () => (await observe()).serving.map(({ version, share }) => [version, share] as const);
  return {
    kubernetes,
    plane,
    fates,
    observe,
    serving,
    spec: async () => (await kubernetes.client.get(path)).spec as Awaited<ReturnType<Started['spec']>>,
    set: async (patch) => void (await kubernetes.client.merge(path, { spec: patch })),
    target,
    remember: () => undefined,
    fault: kubernetesFault(kubernetes, deps.clock, plantedToken),
    said: deps.said,
    [Symbol.asyncDispose]: async () => {
      await plane.close();
      for (const controller of controllers) await controller[Symbol.asyncDispose]();
      kubeconfig.remove();
      await kubernetes[Symbol.asyncDispose]();
    },
  };
}

/** In Standard mode also rolled out, and seen so by KServe. */
async function serves(setup: Started, version: string): Promise<void> {
  const isThere = async (): Promise<boolean> => {
    const { serving, endpoints } = await setup.observe();
    const { rollout = 'complete', predictor_ready: isReady = true } = (endpoints[0]?.config ?? {}) as { rollout?: string; predictor_ready?: boolean };
    return serving.length === 1 && serving[0]?.version === version && rollout === 'complete' && isReady;
  };
  await until(`${version} to serve alone`, isThere, { everyMs: 10, withinMs: 5_000 });
}

/** v1 was rolled out, then v2 as well. */
async function startKnative(): Promise<Started & { readonly kserve: KserveKnativeController }> {
  let kserve: KserveKnativeController | null = null;
  const setup = await start((kubernetes, fateOf) => [(kserve = new KserveKnativeController(kubernetes.client, 'shop', fateOf))], anInferenceService('v1'));
  if (kserve === null) throw new Error('no controller');
  await serves(setup, 'v1');
  await setup.set({ predictor: { model: { storageUri: uriOf('v2') } } });
  await serves(setup, 'v2');
  return { ...setup, kserve };
}

async function startStandard(
  version: 'before v0.20' | 'v0.20',
  isvc = anInferenceService('v2'),
  settings: Record<string, unknown> = {},
): Promise<Started & { readonly rollouts: DeploymentController; readonly kserve: KserveStandardController }> {
  let rollouts: DeploymentController | null = null;
  let kserve: KserveStandardController | null = null;
  const setup = await start(
    (kubernetes, fateOf) => {
      rollouts = new DeploymentController(kubernetes.client, 'shop', (template) => fateOf(annotationOf(template, sourceUri)));
      kserve = new KserveStandardController(kubernetes.client, 'shop', { canaries: version === 'v0.20' });
      if (version === 'v0.20') addKserveWebhook(kubernetes);
      return [rollouts, kserve];
    },
    isvc,
    settings,
  );
  if (rollouts === null || kserve === null) throw new Error('no controller');
  return { ...setup, rollouts, kserve };
}

function contractSetup(startIt: () => Promise<Started>): () => Promise<FaultySetup> {
  return async () => await contractSetupOf(startIt, (kubeconfig, more) => new KservePlane(kserveConfig.parse({ kubeconfig, ...more }), aPlaneDeps()));
}

describeControlPlane('kserve in Knative mode', contractSetup(startKnative), kubernetesAnswers);
describePlaneFaults('kserve', contractSetup(startKnative), { to: 'API server', protocol: 'http', isShared: true });
describeControlPlane(
  'kserve in Standard mode before v0.20',
  contractSetup(async () => {
    const setup = await startStandard('before v0.20');
    await serves(setup, 'v2');
    return setup;
  }),
  kubernetesAnswers,
);
describeControlPlane(
  'kserve in Standard mode with standard_canaries',
  contractSetup(async () => {
    const setup = await startStandard('v0.20', anInferenceService('v2'), { standard_canaries: true });
    await serves(setup, 'v2');
    return setup;
  }),
  kubernetesAnswers,
);

/** What the plane says of the only endpoint. */
function configOf<Config>(observation: Observation): Config | undefined {
  return observation.endpoints[0]?.config as Config | undefined;
}

function stepsOf(setup: Started, observation: Observation, version: string): readonly Step[] {
  const plan = setup.plane.plan(target, observation, all(version));
  if (plan.kind !== 'steps') throw new Error(JSON.stringify(plan));
  return plan.steps;
}

describe('kserve in Knative mode', () => {
  it('pins first, then sets the spec right beside the pin, and lets go last; the bad version never gets traffic back', async () => {
    await using setup = await startKnative();
    const from = setup.kserve.history.length;

    const steps = await reach(setup, all('v1'));

    expect(steps.map((step) => [step.phase, step.name])).toEqual([
      ['switch', 'pin v1 on inferenceservice shop/fraud'],
      ['persist', 'set the artifact of v1 on inferenceservice shop/fraud'],
      ['persist', 'let the newest revision have the traffic on inferenceservice shop/fraud'],
    ]);
    expect((await setup.spec()).predictor).toMatchObject({ model: { storageUri: uriOf('v1') } });
    expect((await setup.spec()).predictor.canaryTrafficPercent).toBeUndefined();
    // Once v1 had everything it kept everything, through the new revision.
    const seen = setup.kserve.history.slice(from).map((shares) => shares[uriOf('v1')] ?? 0);
    expect(seen.slice(seen.indexOf(100))).toEqual(seen.slice(seen.indexOf(100)).map(() => 100));
    const observation = await setup.observe();
    expect(observation.pinned).toBe(false);
    expect(observation.names).toEqual({ 'fraud-predictor-00001': 'v1', 'fraud-predictor-00002': 'v2', 'fraud-predictor-00003': 'v1' });
  });

  it('waits through the first of the two passes that a pin after a full rollout takes', async () => {
    await using setup = await startKnative();
    const before = await setup.observe();
    const [pin] = stepsOf(setup, before, 'v1');
    setup.kserve.pause();
    await setup.plane.apply(target, pin as Step, options, signal);
    const seen: string[] = [];
    for (let turn = 0; turn < 5; turn += 1) {
      await setup.kserve.turn();
      const now = await setup.observe();
      seen.push(`${setup.plane.check(pin as Step, before, now).kind} ${now.serving.map(({ version }) => version).join()}`);
    }

    expect(seen).toContain('progressing v2');
    expect(seen.at(-1)).toBe('converged v1');
    expect((await setup.observe()).pinned).toBe(true);
  });

  it('would leak: without the pin the newest ready revision has everything until the new one is up', async () => {
    await using setup = await startKnative();
    await takeStep(setup, stepsOf(setup, await setup.observe(), 'v1')[0] as Step);
    setup.fates.set('v1', 'starts slowly');

    await setup.kubernetes.client.merge(path, { spec: { predictor: { canaryTrafficPercent: null, model: { storageUri: uriOf('v1') } } } });

    await serves(setup, 'v2');
  });

  it('takes the canary’s traffic away by the pin, in one pass', async () => {
    await using setup = await startKnative();
    await setup.set({ predictor: { canaryTrafficPercent: 20, model: { storageUri: uriOf('v3') } } });
    await until('the canary to serve', async () => (await setup.serving()).some(([version]) => version === 'v3'), { everyMs: 10 });
    expect(await setup.serving()).toEqual([
      ['v3', 0.2],
      ['v2', 0.8],
    ]);

    await reach(setup, all('v2'));

    expect(await setup.serving()).toEqual([['v2', 1]]);
    expect((await setup.spec()).predictor.model.storageUri).toBe(uriOf('v2'));
  });

  it('reaches farther back than the pin can, by the spec', async () => {
    await using setup = await startKnative();
    await setup.set({ predictor: { model: { storageUri: uriOf('v3') } } });
    await serves(setup, 'v3');

    const steps = await reach(setup, all('v1'));

    expect(steps.map((step) => step.name)).toEqual(['set the artifact of v1 on inferenceservice shop/fraud']);
    expect(await setup.serving()).toEqual([['v1', 1]]);
  });

  it('goes by the spec where the status forgot what was rolled out before, and where its revision was deleted', async () => {
    await using setup = await startKnative();
    await setup.kserve.collect('fraud-predictor-00001');
    const observation = await setup.observe();
    expect(observation.endpoints[0]?.config).toMatchObject({ pin: { version: null, detail: expect.stringContaining('was deleted') as string } });
    await setup.kubernetes.client.merge(`${path}/status`, { status: { components: { predictor: { previousRolledoutRevision: null } } } });

    expect(stepsOf(setup, observation, 'v1').map((step) => step.phase)).toEqual(['switch']);
    await reach(setup, all('v1'));
    expect(await setup.serving()).toEqual([['v1', 1]]);
  });

  it('fails, and what served still serves, when the target’s revision does not come up', async () => {
    await using setup = await startKnative();
    setup.fates.set('v0', 'crashes');
    const before = await setup.observe();
    const [step] = stepsOf(setup, before, 'v0');

    await expect(takeStep(setup, step as Step)).rejects.toThrow(
      /failed: the revision of v0 does not come up: ExitCode1: Container failed with: no such object/,
    );
    expect(await setup.serving()).toEqual([['v2', 1]]);
    await takeStep(setup, step as Step, { inverse: true });
    expect((await setup.spec()).predictor.model.storageUri).toBe(uriOf('v2'));
  });

  it('does not take an old failure for the new one', async () => {
    await using setup = await startKnative();
    setup.fates.set('v3', 'crashes');
    await setup.set({ predictor: { model: { storageUri: uriOf('v3') } } });
    await until('v3 to fail', async () => (await setup.observe()).versions.some((version) => version.id === 'v3' && version.state === 'failed'), {
      everyMs: 10,
    });
    expect(await setup.serving()).toEqual([['v2', 1]]);

    await reach(setup, all('v1'));

    expect(await setup.serving()).toEqual([['v1', 1]]);
  });

  it('tells a webhook’s refusal from a missing right', async () => {
    await using setup = await startKnative();
    const [step] = stepsOf(setup, await setup.observe(), 'v1');
    const unhook = setup.kubernetes.addWebhook({
      name: 'inferenceservice.kserve-webhook-server.validator',
      review: ({ resource }) => (resource === 'inferenceservices' ? { deny: 'storageUri is locked' } : null),
    });
    const denied = await setup.plane.apply(target, step as Step, options, signal);
    unhook();
    setup.kubernetes.fail({ method: 'PATCH' }, 403, {
      message: 'inferenceservices.serving.kserve.io "fraud" is forbidden: User "x" cannot patch resource "inferenceservices"',
    });
    const forbidden = await setup.plane.apply(target, step as Step, options, signal);

    expect(denied).toMatchObject({ kind: 'rejected', class: 'permanent', detail: expect.stringContaining('storageUri is locked') as string });
    expect(forbidden).toMatchObject({ kind: 'rejected', class: 'auth', detail: expect.stringContaining('cannot patch') as string });
  });

  it('refuses to act on an artifact that does not follow the pattern', async () => {
    await using setup = await startKnative();
    await setup.set({ predictor: { model: { storageUri: 'pvc://elsewhere/model' } } });

    expect((await setup.observe(true)).refusals).toEqual([expect.stringContaining('does not follow the pattern of plane.artifact') as string]);
  });
});

const canaryOf = (name: string, version: string, trafficPercent: number, minReplicas?: number): JsonMap => ({
  predictor: { name, model: { storageUri: uriOf(version) }, ...(minReplicas === undefined ? {} : { minReplicas }) },
  trafficPercent,
});

describe('kserve in Standard mode with standard_canaries', () => {
  const withCanaries = { standard_canaries: true };
  const bringBack = /^bring v1 back as canary rb-[0-9a-f]{8} on inferenceservice shop\/fraud$/;

  it('brings the target back as a canary, gives it all traffic, and makes it the stable predictor', async () => {
    const isvc = anInferenceService('v2', { predictor: { serviceAccountName: 'models', maxReplicas: 4 } });
    await using setup = await startStandard('v0.20', isvc, withCanaries);
    await serves(setup, 'v2');
    const served: string[] = [];
    const steps = stepsOf(setup, await setup.observe(), 'v1');

    for (const step of steps) {
      await takeStep(setup, step);
      served.push(JSON.stringify(await setup.serving()));
    }

    expect(steps.map(({ name, phase }) => [phase, name])).toEqual([
      ['stage', expect.stringMatching(bringBack) as string],
      ['switch', expect.stringMatching(/^give canary rb-\w+ \(v1\) all traffic/) as string],
      ['persist', expect.stringMatching(/^make canary rb-\w+ \(v1\) the stable predictor/) as string],
    ]);
    expect(served).toEqual(['[["v2",1]]', '[["v1",1]]', '[["v1",1]]']);
    const { predictor, canary } = (await setup.kubernetes.client.get(path)).spec as { predictor: Record<string, unknown>; canary: unknown };
    expect(predictor).toMatchObject({ name: expect.stringMatching(/^rb-/) as string, minReplicas: 2, maxReplicas: 4, model: { storageUri: uriOf('v1') } });
    expect(canary).toEqual([]);
    await serves(setup, 'v1');
    expect(setup.plane.plan(target, await setup.observe(), all('v1'))).toEqual({ kind: 'nothing' });
    // And from there to another.
    await reach(setup, all('v2'));
    expect(await setup.serving()).toEqual([['v2', 1]]);
  });

  it('keeps what serves while the canary does not come up, and takes it away again', async () => {
    await using setup = await startStandard('v0.20', anInferenceService('v2'), withCanaries);
    await serves(setup, 'v2');
    setup.fates.set('v1', 'crashes');
    const [step] = stepsOf(setup, await setup.observe(), 'v1') as [Step];

    await expect(takeStep(setup, step)).rejects.toThrow(/failed: the canary of v1 does not come up: ProgressDeadlineExceeded/);
    expect(await setup.serving()).toEqual([['v2', 1]]);
    await takeStep(setup, step, { inverse: true });
    expect((await setup.spec()).canary).toEqual([]);
    expect(await setup.serving()).toEqual([['v2', 1]]);
  });

  it('promotes a ready canary of the target, and leaves the others without traffic', async () => {
    const isvc = anInferenceService('v2', { canary: [canaryOf('worse', 'v3', 10, 1), canaryOf('good', 'v1', 10, 1)] });
    await using setup = await startStandard('v0.20', isvc, withCanaries);
    await until('the canaries to serve', async () => (await setup.serving()).length === 3, { everyMs: 10 });

    const steps = await reach(setup, all('v1'));

    expect(steps.map(({ name }) => name)).toEqual([
      'give canary good (v1) all traffic on inferenceservice shop/fraud',
      'make canary good (v1) the stable predictor on inferenceservice shop/fraud',
    ]);
    const spec = await setup.spec();
    expect(spec).toMatchObject({
      predictor: { name: 'good', model: { storageUri: uriOf('v1') } },
      canary: [{ predictor: { name: 'worse' }, trafficPercent: 0 }],
    });
    await until('v1 alone', async () => JSON.stringify(await setup.serving()) === '[["v1",1]]', { everyMs: 10 });
  });

  it('replaces what serves where the stable predictor is down: no weights would be written', async () => {
    await using setup = await startStandard('v0.20', anInferenceService('v2'), withCanaries);
    await serves(setup, 'v2');
    setup.fates.set('v2', 'crashes');
    await until('PredictorReady to fall', async () => configOf<{ predictor_ready: boolean }>(await setup.observe())?.predictor_ready === false, {
      everyMs: 10,
    });

    expect(stepsOf(setup, await setup.observe(), 'v1').map(({ name }) => name)).toEqual(['set the artifact of v1 on inferenceservice shop/fraud']);
  });
});

describe('kserve in Standard mode', () => {
  it('counts the pods of both versions while a Deployment rolls', async () => {
    await using setup = await startStandard('before v0.20');
    await serves(setup, 'v2');
    setup.fates.set('v1', 'starts slowly');
    const before = await setup.observe();
    const [step] = stepsOf(setup, before, 'v1');
    await setup.plane.apply(target, step as Step, options, signal);
    await until('the Deployment to roll', async () => (await setup.observe()).versions.some((version) => version.id === 'v1'), { everyMs: 10 });
    const now = await setup.observe();

    // The InferenceService is Ready all the while.
    expect(((await setup.kubernetes.client.get(path)).status as { conditions: unknown[] }).conditions).toContainEqual({ type: 'Ready', status: 'True' });
    expect(now.serving).toEqual([{ version: 'v2', share: 1 }]);
    expect(setup.plane.check(step as Step, before, now).kind).toBe('progressing');
    await serves(setup, 'v1');
  });

  it('fails when the target does not come up, and what served still serves', async () => {
    await using setup = await startStandard('before v0.20');
    await serves(setup, 'v2');
    setup.fates.set('v1', 'crashes');
    const [step] = stepsOf(setup, await setup.observe(), 'v1');

    await expect(takeStep(setup, step as Step)).rejects.toThrow(/failed: the (Deployment does not come up: ProgressDeadlineExceeded|model does not load)/);
    expect(await setup.serving()).toEqual([['v2', 1]]);
  });

  it('goes back from a stable version that crashes: what is addressed counts as serving', async () => {
    await using setup = await startStandard('v0.20');
    await serves(setup, 'v2');
    setup.fates.set('v2', 'crashes');
    await until('v2 to crash', async () => (await setup.observe()).versions.some((version) => version.id === 'v2' && version.state !== 'available'), {
      everyMs: 10,
    });
    expect(await setup.serving()).toEqual([['v2', 1]]);

    await reach(setup, all('v1'));

    expect(await setup.serving()).toEqual([['v1', 1]]);
  });

  it('takes a bad canary’s traffic away, confirmed on the HTTPRoute', async () => {
    await using setup = await startStandard('v0.20', anInferenceService('v1', { canary: [canaryOf('next', 'v2', 20)] }));
    await until('the canary to serve', async () => (await setup.serving()).length === 2, { everyMs: 10 });
    const before = await setup.observe();
    const [step] = stepsOf(setup, before, 'v1');
    setup.kserve.pause();
    await setup.plane.apply(target, step as Step, options, signal);

    // The wish alone is no proof.
    expect(setup.plane.check(step as Step, before, await setup.observe()).kind).toBe('progressing');
    setup.kserve.resume();
    await serves(setup, 'v1');
    // The HTTPRoute comes after the traffic.
    await until('the switch to be confirmed', async () => setup.plane.check(step as Step, before, await setup.observe()).kind === 'converged', {
      everyMs: 10,
    });
    expect((await setup.spec()).canary?.[0]?.trafficPercent).toBe(0);
    expect((await setup.observe()).names).toEqual({ 'fraud-predictor': 'v1', 'fraud-next-predictor': 'v2' });
  });

  it('goes from a bad stable version to a ready canary', async () => {
    await using setup = await startStandard('v0.20', anInferenceService('v2', { canary: [canaryOf('good', 'v1', 10, 1)] }));
    await until('the canary to serve', async () => (await setup.serving()).length === 2, { everyMs: 10 });

    const steps = await reach(setup, all('v1'));

    expect(steps.map((step) => step.name)).toEqual(['give canary good (v1) all traffic on inferenceservice shop/fraud']);
    expect(await setup.serving()).toEqual([['v1', 1]]);
  });

  it('does not take the canary’s way while the stable predictor is down: no weights would be written', async () => {
    await using setup = await startStandard('v0.20', anInferenceService('v2', { canary: [canaryOf('good', 'v1', 10, 1)] }));
    await until('the canary to serve', async () => (await setup.serving()).length === 2, { everyMs: 10 });
    setup.fates.set('v2', 'crashes');
    await until('the stable predictor to be down', async () => (await setup.observe()).endpoints[0]?.config, { everyMs: 10 });
    await until('PredictorReady to fall', async () => configOf<{ predictor_ready: boolean }>(await setup.observe())?.predictor_ready === false, {
      everyMs: 10,
    });

    const steps = await reach(setup, all('v1'));

    expect(steps.map((step) => step.name)).toEqual(['set the artifact of v1 on inferenceservice shop/fraud']);
    expect(await setup.serving()).toEqual([['v1', 1]]);
  });

  it('refuses to take a canary’s traffic away to a stable version that is down', async () => {
    await using setup = await startStandard('v0.20', anInferenceService('v1', { canary: [canaryOf('next', 'v2', 60)] }));
    await until('the canary to serve', async () => (await setup.serving()).length === 2, { everyMs: 10 });
    setup.fates.set('v1', 'crashes');
    await until('PredictorReady to fall', async () => configOf<{ predictor_ready: boolean }>(await setup.observe())?.predictor_ready === false, {
      everyMs: 10,
    });

    expect(setup.plane.plan(target, await setup.observe(), all('v1'))).toMatchObject({
      kind: 'refused',
      reason: expect.stringContaining('KServe writes no weights') as string,
    });
  });

  it('does not support ModelMesh, and says so', async () => {
    await using setup = await startStandard('before v0.20');
    await serves(setup, 'v2');
    setup.kserve.pause();
    await setup.kserve.turn();
    await setup.kubernetes.client.merge(`${path}/status`, { status: { deploymentMode: 'ModelMesh' } });

    await expect(setup.observe()).rejects.toMatchObject({ class: 'permanent', message: expect.stringContaining('ModelMesh is not supported') as string });
  });
});
