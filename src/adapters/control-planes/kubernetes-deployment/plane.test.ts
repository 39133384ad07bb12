import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { FaultySetup } from '../../../../test/contract/answers.ts';
import { all, describeControlPlane, reach, takeStep } from '../../../../test/contract/control-plane.ts';
import { describePlaneFaults, timeout } from '../../../../test/contract/plane-faults.ts';
import { kubernetesAnswers, kubernetesFault } from '../../../../test/support/kubernetes/answers.ts';
import { startControllers } from '../../../../test/support/kubernetes/controllers.ts';
import { type FakeKubernetes, startFakeKubernetes } from '../../../../test/support/kubernetes/fake-kubernetes.ts';
import type { KubernetesObject } from '../../../../test/support/kubernetes/kubernetes-object.ts';
import { kubeconfigs, plantedToken, startSilence } from '../../../../test/support/kubernetes/kubernetes-plane.ts';
import { aDeployment } from '../../../../test/support/kubernetes/objects.ts';
import { aPlaneDeps } from '../../../../test/support/plane-deps.ts';
import { until } from '../../../../test/support/until.ts';
import type { Observation } from '../../../domain/observation.ts';
import type { ControlPlane } from '../../../domain/ports.ts';
import type { ApplyOutcome, Step } from '../../../domain/step.ts';
import { KubernetesDeploymentPlane } from './plane.ts';
import { kubernetesDeploymentConfig, kubernetesDeploymentKeys } from './schema.ts';

const signal = new AbortController().signal;
const path = '/apis/apps/v1/namespaces/shop/deployments/fraud';
const label = 'app.kubernetes.io/version';

type World = FaultySetup & {
  readonly kubernetes: FakeKubernetes;
  readonly controllers: ReturnType<typeof startControllers>;
  readonly planeWith: (settings: Record<string, unknown>) => ControlPlane;
};

async function untilTrue(look: () => Promise<boolean>): Promise<void> {
  await until('the cluster to look so', look, { withinMs: 15_000, everyMs: 10 });
}

/** Version 6 was rolled out, then 7: both are kept, 7 serves. */
async function start(
  options: { broken?: string; deployment?: Record<string, unknown>; annotations?: Record<string, string>; imageOf?: (version: string) => string } = {},
): Promise<World> {
  const stack = new AsyncDisposableStack();
  const kubernetes = stack.use(
    await startFakeKubernetes({ namespaces: ['shop'], tokens: { [plantedToken]: { name: 'rollbackd', groups: ['system:masters'] } } }),
  );
  const imageOf = options.imageOf ?? ((version: string) => `registry.example.org/fraud:${version}`);
  const controllers = stack.use(startControllers(kubernetes.client, { namespace: 'shop', isBroken: (image) => image === options.broken }));
  const files = kubeconfigs();
  stack.defer(() => files[Symbol.dispose]());
  const deps = aPlaneDeps();
  const planes: ControlPlane[] = [];
  stack.defer(async () => void (await Promise.all(planes.map(async (plane) => await plane.close()))));
  const planeTo = (server: string, settings: Record<string, unknown> = {}): ControlPlane => {
    const config = kubernetesDeploymentConfig.parse({ kubeconfig: files.write(server, 'shop'), ...settings });
    const plane = new KubernetesDeploymentPlane(config, deps);
    planes.push(plane);
    return plane;
  };
  const plane = planeTo(kubernetes.url);
  const target = { model: 'fraud', plane: kubernetesDeploymentKeys.parse({}) };
  const serves = async (version: string): Promise<boolean> => {
    const { serving, endpoints } = await plane.observe(target, { thorough: false }, signal);
    const config = endpoints[0]?.config as { current: string | null };
    return serving.length === 1 && serving[0]?.version === version && config.current !== null;
  };
  const template = (version: string) => ({
    metadata: { labels: { app: 'fraud', [label]: version } },
    spec: { containers: [{ name: 'server', image: imageOf(version), env: [{ name: 'PASSWORD', value: 'planted-password' }] }] },
  });
  const annotations = options.annotations === undefined ? {} : { annotations: options.annotations };
  await kubernetes.client.create(
    aDeployment({ name: 'fraud', namespace: 'shop', image: '-', ...annotations, spec: { template: template('6'), ...options.deployment } }),
  );
  await untilTrue(async () => await serves('6'));
  await kubernetes.client.merge(path, { spec: { template: template('7') } });
  await untilTrue(async () => await serves('7'));
  const before = kubernetes.mutations();
  return {
    plane,
    target,
    from: '7',
    to: '6',
    kubernetes,
    controllers,
    planeWith: (settings) => planeTo(kubernetes.url, settings),
    remember: () => undefined,
    mutations: async () => kubernetes.mutations() - before,
    unreachable: async () => planeTo('http://127.0.0.1:1'),
    silent: async () => planeTo(stack.use(await startSilence()).url),
    secret: plantedToken,
    fault: kubernetesFault(kubernetes, deps.clock, plantedToken),
    wires: { 'API server': { upstream: new URL(kubernetes.url).host, connect: async ({ url }) => planeTo(url, { timeout }) } },
    said: deps.said,
    [Symbol.asyncDispose]: async () => await stack.disposeAsync(),
  };
}

describeControlPlane('kubernetes_deployment', start, kubernetesAnswers);
describePlaneFaults('kubernetes_deployment', start, { to: 'API server', protocol: 'http', isShared: true });

describe('kubernetes_deployment', () => {
  let world: World;
  beforeEach(async () => {
    world = await start();
  });
  afterEach(async () => {
    await world[Symbol.asyncDispose]();
  });

  const again = async (options: Parameters<typeof start>[0]): Promise<void> => {
    await world[Symbol.asyncDispose]();
    world = await start(options);
  };
  const observe = async (thorough = false): Promise<Observation> => await world.plane.observe(world.target, { thorough }, signal);
  const planned = async (plane = world.plane): Promise<Step> => {
    const plan = plane.plan(world.target, await plane.observe(world.target, { thorough: true }, signal), all('6'));
    if (plan.kind !== 'steps') throw new Error(JSON.stringify(plan));
    return plan.steps.at(-1) as Step;
  };
  const apply = async (step: Step, opId = 'rb_1', inverse = false): Promise<ApplyOutcome> =>
    await world.plane.apply(world.target, step, { inverse, opId, epoch: 1 }, signal);
  const stored = async (): Promise<KubernetesObject> => await world.kubernetes.client.get(path);
  const spec = async (): Promise<{ template: { metadata: { labels: Record<string, string> } } }> => (await stored()).spec as never;

  it('goes back to the named ReplicaSet, keeps every annotation, and leaves its own marks', async () => {
    await world.kubernetes.client.merge(path, { metadata: { annotations: { 'audit.example/run': '42' } } });

    await reach(world, all('6'));

    const { metadata, spec: now } = await stored();
    expect(metadata.annotations).toMatchObject({
      'audit.example/run': '42',
      'rollbackd.io/from': '7',
      'rollbackd.io/to': '6',
      'rollbackd.io/op-id': 'rb_contract',
    });
    expect(now).toMatchObject({ replicas: 2, template: { metadata: { labels: { app: 'fraud', [label]: '6' } } } });
    expect(JSON.stringify(now)).not.toContain('pod-template-hash');
    const [patch] = world.kubernetes.requests.filter(({ method, userAgent }) => method === 'PATCH' && userAgent === 'rollbackd');
    expect(patch?.query.get('fieldManager')).toBe('rollbackd');
  });

  it('tells where a version came from by its annotations, also of one that does not serve', async () => {
    const annotations = { 'rollbackd.io/change': 'https://git.example.org/fraud/pull/17' };
    await world.kubernetes.client.merge(path, { spec: { template: { metadata: { labels: { [label]: '8' }, annotations } } } });
    await untilTrue(async () => (await observe()).serving.some(({ version }) => version === '8'));
    await world.kubernetes.client.merge(path, { spec: { template: { metadata: { labels: { [label]: '9' }, annotations: { 'rollbackd.io/change': null } } } } });
    await untilTrue(async () => (await observe()).serving.every(({ version }) => version === '9'));

    expect(world.plane.origin?.(world.target, '8')).toEqual({ change: 'https://git.example.org/fraud/pull/17' });
    expect(world.plane.origin?.(world.target, '9')).toEqual({});
  });

  it('is never fooled into «previous»: the same wish twice stays where it is', async () => {
    await reach(world, all('6'));
    const { metadata } = await stored();

    expect(world.plane.plan(world.target, await observe(), all('6'))).toEqual({ kind: 'nothing' });
    expect((await stored()).metadata.resourceVersion).toBe(metadata.resourceVersion);
  });

  it('puts no template, and so no secret of one, into steps and observations', async () => {
    expect(JSON.stringify([await observe(true), await planned()])).not.toContain('planted');
  });

  it('does not touch what someone else has deployed meanwhile, and says who', async () => {
    const step = await planned();
    await world.kubernetes.client.merge(path, { spec: { template: { metadata: { labels: { [label]: '8' } } } } });

    const outcome = await apply(step);

    expect(outcome).toMatchObject({ kind: 'conflict', detail: expect.stringMatching(/no longer asks for 7: .+ wrote its template last/) });
    expect((await spec()).template.metadata.labels[label]).toBe('8');
  });

  it('loses a race without harm: only one of three equal patches changes something', async () => {
    const step = await planned();

    const outcomes = await Promise.all([apply(step, 'a'), apply(step, 'b'), apply(step, 'c')]);

    expect(outcomes.filter(({ kind }) => kind === 'applied')).toHaveLength(1);
    expect(outcomes.every(({ kind }) => kind === 'applied' || kind === 'already' || kind === 'conflict')).toBe(true);
  });

  it('is not fooled by an autoscaler that raises the generation', async () => {
    const step = await planned();
    await world.kubernetes.client.merge(path, { spec: { replicas: 5 } });

    expect(await takeStep(world, step)).toMatchObject({ kind: 'applied' });
    expect(await stored()).toMatchObject({ spec: { replicas: 5 } });
  });

  it('tells a rollout that was taken back, and names who did it', async () => {
    const step = await planned();
    const before = await observe();
    await apply(step);
    await world.kubernetes.client.merge(path, {
      spec: { template: { metadata: { labels: { [label]: '7' } }, spec: { containers: [{ name: 'server', image: 'registry.example.org/fraud:7' }] } } },
    });

    expect(world.plane.check(step, before, await observe(), 100)).toMatchObject({
      kind: 'reverted',
      detail: expect.stringMatching(/no longer asks for 6 .*wrote its template last/),
    });
  });

  it('sees the failed rollout of the target, and serves on with the old pods', async () => {
    await again({ broken: 'registry.example.org/fraud:5' });
    await world.kubernetes.client.merge(path, {
      spec: { template: { metadata: { labels: { [label]: '5' } }, spec: { containers: [{ name: 'server', image: 'registry.example.org/fraud:5' }] } } },
    });
    await untilTrue(async () => (await observe()).versions.some(({ id, state }) => id === '5' && state === 'failed'));

    const observation = await observe();
    expect(observation.serving).toEqual([{ version: '7', share: 1 }]);
    expect(observation.versions).toContainEqual({ id: '5', state: 'failed', detail: 'ReplicaSet has timed out progressing.' });
    // Back to 6: the timeout of 5 still stands there for a moment, and is not ours.
    const step = await planned();
    world.controllers.pause();
    const before = await observe();
    await apply(step);
    const { metadata } = await stored();
    await world.kubernetes.client.merge(`${path}/status`, { status: { observedGeneration: metadata.generation } });
    expect(world.plane.check(step, before, await observe(), 10).kind).not.toBe('failed');
    world.controllers.resume();
    await untilTrue(async () => world.plane.check(step, before, await observe(), 100).kind === 'converged');
  });

  it('fails when the target itself does not come up in time', async () => {
    await again({ broken: 'none' });
    const step = await planned();
    const before = await observe();
    world.controllers.pause();
    await apply(step);
    const { metadata } = await stored();
    const late = { type: 'Progressing', status: 'False', reason: 'ProgressDeadlineExceeded', message: 'timed out', lastUpdateTime: '2030-01-01T00:00:00Z' };
    await world.kubernetes.client.merge(`${path}/status`, { status: { observedGeneration: metadata.generation, conditions: [late] } });

    expect(world.plane.check(step, before, await observe(), 100)).toEqual({ kind: 'failed', detail: 'version 6 does not come up: timed out' });
  });

  it.each<[string, Parameters<typeof start>[0], string]>([
    ['mutable tags', { imageOf: () => 'registry.example.org:5000/fraud:latest' }, 'whose content may be another by now'],
    ['no tag at all', { imageOf: () => 'registry.example.org:5000/fraud' }, 'whose content may be another by now'],
    ['the same image with the same settings', { imageOf: () => 'registry.example.org/fraud:1' }, 'going back would change nothing'],
  ])('refuses %s', async (_name, options, words) => {
    await again(options);

    expect(world.plane.plan(world.target, await observe(true), all('6'))).toMatchObject({ kind: 'refused', reason: expect.stringContaining(words) });
  });

  it('refuses a paused Deployment, one without history, and a version it does not have', async () => {
    expect(world.plane.plan(world.target, await observe(), all('5'))).toMatchObject({
      kind: 'refused',
      reason: expect.stringContaining('no ReplicaSet of version 5 is left (found 6, 7'),
    });
    await world.kubernetes.client.merge(path, { spec: { paused: true, revisionHistoryLimit: 0 } });

    const observation = await observe(true);
    expect(observation.refusals).toEqual([expect.stringContaining('spec.paused')]);
    expect(world.plane.plan(world.target, observation, all('6'))).toMatchObject({ kind: 'refused', reason: expect.stringContaining('kubectl rollout resume') });
  });

  it('says that «Recreate» leaves a gap', async () => {
    await again({ deployment: { strategy: { type: 'Recreate' } } });

    const plan = world.plane.plan(world.target, await observe(true), all('6'));
    expect(plan).toMatchObject({ kind: 'steps', notes: [expect.stringContaining('nothing serves until it has loaded')] });
    await reach(world, all('6'));
  });

  describe('under GitOps', () => {
    const flux = { 'kustomize.toolkit.fluxcd.io/name': 'apps', 'kustomize.toolkit.fluxcd.io/namespace': 'flux-system' };

    it('refuses by default, acts and says so with «alert»', async () => {
      await world.kubernetes.client.merge(path, { metadata: { annotations: { 'argocd.argoproj.io/tracking-id': 'shop:apps/Deployment:shop/fraud' } } });
      const alerting = world.planeWith({ gitops: 'alert' });
      const seen = await alerting.observe(world.target, { thorough: true }, signal);

      expect((await observe(true)).refusals).toEqual([expect.stringContaining('Argo CD application shop')]);
      expect(seen.refusals).toEqual([]);
      expect(seen.notes).toEqual([expect.stringContaining('this will be reverted by')]);
      expect(alerting.plan(world.target, seen, all('6'))).toMatchObject({ kind: 'steps' });
    });

    it('pauses Flux first, is pinned then, and resumes on unpin', async () => {
      await world.kubernetes.client.merge(path, { metadata: { labels: flux } });
      const plane = world.planeWith({ gitops: 'pause' });
      const setup = { ...world, plane };

      const steps = await reach(setup, all('6'));
      expect(steps.map(({ name }) => name)).toEqual(['pause Flux on shop/fraud', expect.stringContaining('roll shop/fraud to 6')]);
      expect((await stored()).metadata.annotations).toMatchObject({ 'kustomize.toolkit.fluxcd.io/reconcile': 'disabled' });
      expect((await plane.observe(world.target, { thorough: false }, signal)).pinned).toBe(true);

      await reach(setup, { kind: 'unpin' });
      expect((await stored()).metadata.annotations).not.toHaveProperty(['kustomize.toolkit.fluxcd.io/reconcile']);
    });
  });

  it('refuses a StatefulSet with its reason', () => {
    expect(kubernetesDeploymentKeys.safeParse({ statefulset: 'fraud' }).error?.issues[0]?.message).toContain('kubernetes#67250');
  });
});
