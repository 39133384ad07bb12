import { describe, expect, it } from 'vitest';
import { type Answer, type FaultySetup, grpcAnswers, withAnswers } from '../../../../test/contract/answers.ts';
import { all, describeControlPlane, reach, takeStep } from '../../../../test/contract/control-plane.ts';
import { limitMs } from '../../../../test/contract/faults.ts';
import { describePlaneFaults, timeout } from '../../../../test/contract/plane-faults.ts';
import { refuseWith } from '../../../../test/support/grpc-answers.ts';
import { startGrpcGate } from '../../../../test/support/grpc-gate.ts';
import { kubernetesAnswers, kubernetesFault } from '../../../../test/support/kubernetes/answers.ts';
import { seldonV2Crds } from '../../../../test/support/kubernetes/crds/seldon-v2.ts';
import { startFakeKubernetes } from '../../../../test/support/kubernetes/fake-kubernetes.ts';
import type { JsonMap, KubernetesObject } from '../../../../test/support/kubernetes/kubernetes-object.ts';
import { aPlaneDeps } from '../../../../test/support/plane-deps.ts';
import { SeldonV2Scheduler } from '../../../../test/support/seldon-v2-scheduler/scheduler.ts';
import type { Fate } from '../../../../test/support/serving-platforms/controller.ts';
import { freeAddress, kubeconfigFor, plantedToken, startSilence } from '../../../../test/support/serving-platforms/plane-access.ts';
import { until } from '../../../../test/support/until.ts';
import type { Observation } from '../../../domain/observation.ts';
import type { PlaneTarget } from '../../../domain/ports.ts';
import type { Step } from '../../../domain/step.ts';
import { SeldonV2Plane } from './plane.ts';
import { seldonV2Config } from './schema.ts';

const signal = new AbortController().signal;
const base = '/apis/mlops.seldon.io/v1alpha1/namespaces/shop';
const uriOf = (version: string): string => `gs://models/fraud/${version}`;
const options = { inverse: false, opId: 'rb_1', epoch: 1 };
const byArtifact: PlaneTarget = { model: 'fraud', plane: { model: 'fraud', namespace: 'shop', artifact: 'gs://models/fraud/{{ $version }}' } };
const byExperiment: PlaneTarget = { model: 'fraud', plane: { experiment: 'fraud-test', namespace: 'shop' } };

function aModel(name: string, spec: JsonMap): KubernetesObject {
  return {
    apiVersion: 'mlops.seldon.io/v1alpha1',
    kind: 'Model',
    metadata: { name, namespace: 'shop' },
    spec: { requirements: ['sklearn'], memory: '100Mi', ...spec },
  };
}

function anExperiment(candidates: readonly (readonly [string, number])[], preset: string): KubernetesObject {
  return {
    apiVersion: 'mlops.seldon.io/v1alpha1',
    kind: 'Experiment',
    metadata: { name: 'fraud-test', namespace: 'shop' },
    spec: { default: preset, candidates: candidates.map(([name, weight]) => ({ name, weight })) },
  };
}

async function start(objects: readonly KubernetesObject[], target: PlaneTarget) {
  const fates = new Map<string, Fate>();
  const kubernetes = await startFakeKubernetes({ namespaces: ['shop'] });
  for (const crd of seldonV2Crds) await kubernetes.installCrd(crd);
  for (const object of objects) await kubernetes.client.create(object);
  const scheduler = (await SeldonV2Scheduler.listen(kubernetes.client, 'shop', (artifact) => fates.get(artifact.split('/').at(-1) ?? '') ?? 'serves')).start();
  const kubeconfig = kubeconfigFor(kubernetes.url);
  const settings = (scheduler: { endpoint: string; timeout?: string }, path = kubeconfig.path) => seldonV2Config.parse({ kubeconfig: path, scheduler });
  const plane = new SeldonV2Plane(settings({ endpoint: scheduler.address }), aPlaneDeps());
  const observe = async (thorough = false): Promise<Observation> => await plane.observe(target, { thorough }, signal);
  const serving = async () => (await observe()).serving.map(({ version, share }) => [version, share] as const);
  const stepsTo = async (version: string): Promise<readonly Step[]> => {
    const plan = plane.plan(target, await observe(), all(version));
    if (plan.kind !== 'steps') throw new Error(JSON.stringify(plan));
    return plan.steps;
  };
  return {
    kubernetes,
    scheduler,
    plane,
    observe,
    serving,
    stepsTo,
    settings,
    fates,
    target,
    remember: () => undefined,
    [Symbol.asyncDispose]: async () => {
      await plane.close();
      await scheduler[Symbol.asyncDispose]();
      kubeconfig.remove();
      await kubernetes[Symbol.asyncDispose]();
    },
  };
}

type Started = Awaited<ReturnType<typeof start>>;

async function serves(setup: Started, version: string): Promise<void> {
  await until(`${version} to serve alone`, async () => JSON.stringify(await setup.serving()) === JSON.stringify([[version, 1]]), {
    everyMs: 10,
    withinMs: 5_000,
  });
}

async function startModel(): Promise<Started> {
  const setup = await start([aModel('fraud', { storageUri: uriOf('v1') })], byArtifact);
  await serves(setup, 'v1');
  await setup.kubernetes.client.merge(`${base}/models/fraud`, { spec: { storageUri: uriOf('v2') } });
  await serves(setup, 'v2');
  return setup;
}

async function startExperiment(candidates: readonly (readonly [string, number])[], preset: string): Promise<Started> {
  const models = candidates.map(([name]) => aModel(name, { storageUri: uriOf(name) }));
  const setup = await start([...models, anExperiment(candidates, preset)], byExperiment);
  await until(
    'the Experiment to run',
    async () => (await setup.observe()).endpoints.some((endpoint) => (endpoint.config as { applied: string }).applied === 'yes'),
    { everyMs: 10 },
  );
  return setup;
}

/** The scheduler is only asked to observe. A model it does not know is seen to have no version. */
const schedulerAnswers: readonly Answer[] = withAnswers(grpcAnswers, { NOT_FOUND: { read: null } }).map(
  ({ name, read }): Answer => ({ name: `scheduler: ${name}`, written: null, read, isObserved: true }),
);
const answers = [...kubernetesAnswers, ...schedulerAnswers];

function contractSetup(startIt: () => Promise<Started>, from: string, to: string): () => Promise<FaultySetup> {
  return async () => {
    const owned = new AsyncDisposableStack();
    const setup = owned.use(await startIt());
    const silence = owned.use(await startSilence());
    const gate = owned.use(await startGrpcGate(setup.scheduler.address));
    const deps = aPlaneDeps();
    const ofKubernetes = kubernetesFault(setup.kubernetes, deps.clock, plantedToken);
    const planeOn = (settings: ReturnType<Started['settings']>): SeldonV2Plane => {
      const plane = new SeldonV2Plane(settings, deps);
      owned.defer(async () => plane.close());
      return plane;
    };
    const towards = (server: string, scheduler: { readonly endpoint: string; readonly timeout?: string }, more: object = {}): SeldonV2Plane => {
      const kubeconfig = kubeconfigFor(server);
      owned.defer(kubeconfig.remove);
      return planeOn({ ...setup.settings(scheduler, kubeconfig.path), ...more });
    };
    return {
      ...setup,
      plane: planeOn(setup.settings({ endpoint: gate.address })),
      from,
      to,
      mutations: async () => setup.kubernetes.mutations(),
      unreachable: async () => towards(`http://${await freeAddress()}`, { endpoint: await freeAddress() }),
      silent: async () => towards(silence.url, { endpoint: silence.address }),
      secret: plantedToken,
      fault: async (on, answer) => {
        if (!answer.startsWith('scheduler: ')) return await ofKubernetes(on, answer);
        const name = answer.replace('scheduler: ', '');
        const fault = refuseWith(gate, name, () => true);
        return name === 'timeout after send' ? { ...fault, plane: planeOn(setup.settings({ endpoint: gate.address, timeout: '300ms' })) } : fault;
      },
      wires: {
        'API server': {
          upstream: new URL(setup.kubernetes.url).host,
          connect: async ({ url }) => towards(url, { endpoint: setup.scheduler.address }, { timeout: limitMs }),
        },
        scheduler: { upstream: setup.scheduler.address, connect: async ({ address }) => towards(setup.kubernetes.url, { endpoint: address, timeout }) },
      },
      said: deps.said,
      [Symbol.asyncDispose]: async () => owned.disposeAsync(),
    };
  };
}

describeControlPlane('seldon_v2 by artifact', contractSetup(startModel, 'v2', 'v1'), answers);
describePlaneFaults('seldon_v2', contractSetup(startModel, 'v2', 'v1'), { to: 'API server', protocol: 'http', isShared: true });
describePlaneFaults('seldon_v2', contractSetup(startModel, 'v2', 'v1'), { to: 'scheduler', protocol: 'grpc' });
describeControlPlane(
  'seldon_v2 by experiment',
  contractSetup(
    async () =>
      await startExperiment(
        [
          ['fraud-2', 100],
          ['fraud-1', 0],
        ],
        'fraud-1',
      ),
    'fraud-2',
    'fraud-1',
  ),
  answers,
);

describe('seldon_v2 by artifact', () => {
  it('confirms by the generation that the scheduler names, not by the conditions on the resource', async () => {
    await using setup = await startModel();
    const before = await setup.observe();
    const [step] = await setup.stepsTo('v1');
    setup.scheduler.pause();
    await setup.plane.apply(byArtifact, step as Step, options, signal);
    const model = await setup.kubernetes.client.get(`${base}/models/fraud`);

    expect((model.status as { conditions: unknown[] }).conditions).toContainEqual(expect.objectContaining({ type: 'ModelReady', status: 'True' }));
    expect(setup.plane.check(step as Step, before, await setup.observe())).toMatchObject({ kind: 'stale' });
    setup.scheduler.resume();
    await serves(setup, 'v1');
    expect(setup.plane.check(step as Step, before, await setup.observe())).toMatchObject({ kind: 'converged' });
    // The counter never goes back.
    expect((await setup.observe()).names).toEqual({ fraud_1: 'v1', fraud_2: 'v2', fraud_3: 'v1' });
  });

  it('fails when the target does not load, and what served still serves', async () => {
    await using setup = await startModel();
    setup.fates.set('v0', 'crashes');
    const [step] = await setup.stepsTo('v0');

    await expect(takeStep(setup, step as Step)).rejects.toThrow(/failed: the version does not load \(ModelFailed: rpc error: no such object\)/);
    expect(await setup.serving()).toEqual([['v2', 1]]);
    expect(setup.scheduler.route('fraud')).toEqual({ [uriOf('v2')]: 1 });
  });

  it('finds out before that a second version has no room, since the model would lose its route', async () => {
    await using setup = await startModel();
    setup.scheduler.freeBytes = 50 * 2 ** 20;

    expect((await setup.observe(true)).refusals).toEqual([
      'no server has room for a second version of fraud (memory 100Mi, most free: 50 Mi): it could not be scheduled, and the model would lose its route',
    ]);
    setup.scheduler.serverReplicas = 0;
    expect((await setup.observe(true)).refusals).toEqual([expect.stringContaining('no replica of server mlserver is available') as string]);
  });

  it('says that nothing serves when the version could not be scheduled after all, and the inverse mends it', async () => {
    await using setup = await startModel();
    const [step] = await setup.stepsTo('v1');
    setup.scheduler.freeBytes = 50 * 2 ** 20;

    await expect(takeStep(setup, step as Step)).rejects.toThrow(/failed: no server can take the version \(ScheduleFailed: .*removes the model's route/);
    expect(setup.scheduler.route('fraud')).toEqual({});
    expect(await setup.serving()).toEqual([]);
    setup.scheduler.freeBytes = 1024 * 2 ** 20;
    await takeStep(setup, step as Step, { inverse: true });
    await serves(setup, 'v2');
    expect(setup.scheduler.route('fraud')).toEqual({ [uriOf('v2')]: 1 });
  });

  it('goes by artifactVersion where there is no pattern', async () => {
    const target = { model: 'fraud', plane: { model: 'fraud', namespace: 'shop' } };
    await using setup = await start([aModel('fraud', { storageUri: 'gs://models/fraud', artifactVersion: 2 })], target);
    await serves(setup, '2');

    await reach(setup, all('1'));

    expect(await setup.serving()).toEqual([['1', 1]]);
    expect((await setup.kubernetes.client.get(`${base}/models/fraud`)).spec).toMatchObject({ storageUri: 'gs://models/fraud', artifactVersion: 1 });
    expect(setup.plane.plan(target, await setup.observe(), all('latest'))).toMatchObject({ kind: 'refused' });
  });

  it('is not led astray by a change of replicas, which makes no version', async () => {
    await using setup = await startModel();
    await setup.kubernetes.client.merge(`${base}/models/fraud`, { spec: { replicas: 2 } });

    await until(
      'the generation to be seen',
      async () => (await setup.observe()).endpoints.some((endpoint) => (endpoint.config as { generation_state: string }).generation_state === 'ModelAvailable'),
      { everyMs: 10 },
    );
    expect(await setup.serving()).toEqual([['v2', 1]]);
  });

  it('shows nothing of what the scheduler knows of storage secrets', async () => {
    await using setup = await startModel();

    expect(JSON.stringify(await setup.observe(true))).not.toContain('hunter2');
  });

  it('says that the scheduler does not answer', async () => {
    await using setup = await startModel();
    const plane = new SeldonV2Plane(setup.settings({ endpoint: await freeAddress() }), aPlaneDeps());

    await expect(plane.observe(byArtifact, { thorough: false }, signal)).rejects.toMatchObject({
      class: 'transient',
      message: expect.stringMatching(/scheduler 127\.0\.0\.1:\d+: ModelStatus answered UNAVAILABLE/) as string,
    });
    await plane.close();
  });
});

describe('seldon_v2 by experiment', () => {
  const split = [
    ['fraud-1', 80],
    ['fraud-2', 20],
  ] as const;

  it('weighs the candidates, and keeps the default that clients ask for', async () => {
    await using setup = await startExperiment(split, 'fraud-2');
    expect(await setup.serving()).toEqual([
      ['fraud-1', 0.8],
      ['fraud-2', 0.2],
    ]);

    await reach(setup, all('fraud-1'));

    const { spec } = await setup.kubernetes.client.get(`${base}/experiments/fraud-test`);
    expect(spec).toMatchObject({
      default: 'fraud-2',
      candidates: [
        { name: 'fraud-1', weight: 100 },
        { name: 'fraud-2', weight: 0 },
      ],
    });
    expect(await setup.serving()).toEqual([['fraud-1', 1]]);
  });

  it('goes on showing the old weights until the scheduler has seen the new ones', async () => {
    await using setup = await startExperiment(split, 'fraud-1');
    const before = await setup.observe();
    const [step] = await setup.stepsTo('fraud-1');
    setup.scheduler.pause();
    await setup.plane.apply(byExperiment, step as Step, options, signal);

    expect((await setup.observe()).serving).toEqual(before.serving);
    expect(setup.plane.check(step as Step, before, await setup.observe()).kind).toBe('stale');
  });

  it('takes a candidate that cannot take traffic off the list in the same patch', async () => {
    const models = split.map(([name]) => aModel(name, { storageUri: uriOf(name) }));
    await using setup = await start([...models, anExperiment(split, 'fraud-1'), aModel('fraud-3', { storageUri: uriOf('fraud-3') })], byExperiment);
    await until('the Experiment to run', async () => (await setup.serving()).length === 2, { everyMs: 10 });
    setup.fates.set('broken', 'crashes');
    await setup.kubernetes.client.remove(`${base}/models/fraud-3`);
    await setup.kubernetes.client.jsonPatch(`${base}/experiments/fraud-test`, [
      { op: 'add', path: '/spec/candidates/2', value: { name: 'fraud-4', weight: 10 } },
    ]);
    await until('the default alone to serve', async () => JSON.stringify(await setup.serving()) === '[["fraud-1",1]]', { everyMs: 10 });

    await reach(setup, all('fraud-2'));

    expect((await setup.kubernetes.client.get(`${base}/experiments/fraud-test`)).spec).toMatchObject({
      candidates: [
        { name: 'fraud-1', weight: 0 },
        { name: 'fraud-2', weight: 100 },
      ],
    });
    expect(await setup.serving()).toEqual([['fraud-2', 1]]);
  });

  it('refuses what is no candidate, and a target that cannot take traffic', async () => {
    await using setup = await startExperiment(split, 'fraud-1');
    await setup.kubernetes.client.jsonPatch(`${base}/experiments/fraud-test`, [
      { op: 'add', path: '/spec/candidates/2', value: { name: 'fraud-4', weight: 0 } },
    ]);
    const observation = await setup.observe();

    expect(setup.plane.plan(byExperiment, observation, all('fraud-9'))).toMatchObject({ reason: expect.stringContaining('fraud-9 is no candidate') as string });
    expect(setup.plane.plan(byExperiment, observation, all('fraud-4'))).toMatchObject({
      reason: expect.stringContaining('the scheduler does not know this model') as string,
    });
  });

  it('refuses while the default itself cannot take traffic: it must stay a candidate', async () => {
    await using setup = await startExperiment(split, 'fraud-1');
    await setup.kubernetes.client.jsonPatch(`${base}/experiments/fraud-test`, [
      { op: 'add', path: '/spec/candidates/2', value: { name: 'fraud-4', weight: 0 } },
      { op: 'replace', path: '/spec/default', value: 'fraud-4' },
    ]);

    expect(setup.plane.plan(byExperiment, await setup.observe(), all('fraud-1'))).toMatchObject({
      kind: 'refused',
      reason: expect.stringContaining('make fraud-1 the default') as string,
    });
  });
});
