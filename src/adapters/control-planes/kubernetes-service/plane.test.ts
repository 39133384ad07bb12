import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { FaultySetup } from '../../../../test/contract/answers.ts';
import { all, describeControlPlane, reach, takeStep } from '../../../../test/contract/control-plane.ts';
import { describePlaneFaults, timeout } from '../../../../test/contract/plane-faults.ts';
import { kubernetesAnswers, kubernetesFault } from '../../../../test/support/kubernetes/answers.ts';
import { startControllers } from '../../../../test/support/kubernetes/controllers.ts';
import { type FakeKubernetes, startFakeKubernetes } from '../../../../test/support/kubernetes/fake-kubernetes.ts';
import { kubeconfigs, plantedToken, startSilence } from '../../../../test/support/kubernetes/kubernetes-plane.ts';
import { aDeployment, aService } from '../../../../test/support/kubernetes/objects.ts';
import { aPlaneDeps } from '../../../../test/support/plane-deps.ts';
import { until } from '../../../../test/support/until.ts';
import type { Observation } from '../../../domain/observation.ts';
import type { ControlPlane, PlaneTarget } from '../../../domain/ports.ts';
import type { ApplyOutcome, PlanResult, Step } from '../../../domain/step.ts';
import { KubernetesServicePlane } from './plane.ts';
import { kubernetesServiceConfig, kubernetesServiceKeys } from './schema.ts';

const signal = new AbortController().signal;
const path = '/api/v1/namespaces/shop/services/fraud';
const blue = '/apis/apps/v1/namespaces/shop/deployments/fraud-blue';

type World = FaultySetup & { readonly kubernetes: FakeKubernetes };

async function untilTrue(look: () => Promise<boolean>): Promise<void> {
  await until('the cluster to look so', look, { withinMs: 15_000, everyMs: 10 });
}

/** Blue has version 6, green 7; the Service selects 7. */
async function start(options: { blueReplicas?: number; keys?: Record<string, unknown> } = {}): Promise<World> {
  const stack = new AsyncDisposableStack();
  const kubernetes = stack.use(
    await startFakeKubernetes({ namespaces: ['shop'], tokens: { [plantedToken]: { name: 'rollbackd', groups: ['system:masters'] } } }),
  );
  stack.use(startControllers(kubernetes.client, { namespace: 'shop', withPods: true }));
  const files = kubeconfigs();
  stack.defer(() => files[Symbol.dispose]());
  const deps = aPlaneDeps();
  const planes: ControlPlane[] = [];
  stack.defer(async () => void (await Promise.all(planes.map(async (plane) => await plane.close()))));
  const planeTo = (server: string, settings: Record<string, unknown> = {}): ControlPlane => {
    const config = kubernetesServiceConfig.parse({ kubeconfig: files.write(server, 'shop'), ...settings });
    const plane = new KubernetesServicePlane(config, deps);
    planes.push(plane);
    return plane;
  };
  const plane = planeTo(kubernetes.url);
  const target: PlaneTarget = { model: 'fraud', plane: kubernetesServiceKeys.parse(options.keys ?? {}) };
  for (const [colour, version, replicas] of [
    ['blue', '6', options.blueReplicas ?? 2],
    ['green', '7', 2],
  ] as const) {
    const template = {
      metadata: { labels: { app: 'fraud', version } },
      spec: { containers: [{ name: 'server', image: `registry.example.org/fraud:${version}` }] },
    };
    const spec = { selector: { matchLabels: { app: 'fraud', version } }, template };
    await kubernetes.client.create(aDeployment({ name: `fraud-${colour}`, namespace: 'shop', image: '-', replicas, spec }));
  }
  await kubernetes.client.create(aService({ name: 'fraud', namespace: 'shop', selector: { app: 'fraud', version: '7' } }));
  await untilTrue(async () => {
    const { serving, token } = await plane.observe(target, { thorough: false }, signal);
    const { ready } = JSON.parse(token ?? '{}') as { ready: Record<string, number> };
    return serving[0]?.version === '7' && ready['7'] === 2 && (ready['6'] ?? 0) === (options.blueReplicas ?? 2);
  });
  return {
    plane,
    target,
    from: '7',
    to: '6',
    kubernetes,
    remember: () => undefined,
    mutations: async () => kubernetes.mutations(),
    unreachable: async () => planeTo('http://127.0.0.1:1'),
    silent: async () => planeTo(stack.use(await startSilence()).url),
    secret: plantedToken,
    fault: kubernetesFault(kubernetes, deps.clock, plantedToken),
    wires: { 'API server': { upstream: new URL(kubernetes.url).host, connect: async ({ url }) => planeTo(url, { timeout }) } },
    said: deps.said,
    [Symbol.asyncDispose]: async () => await stack.disposeAsync(),
  };
}

describeControlPlane('kubernetes_service', start, kubernetesAnswers);
describePlaneFaults('kubernetes_service', start, { to: 'API server', protocol: 'http', isShared: true });

describe('kubernetes_service', () => {
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
  const observe = async (): Promise<Observation> => await world.plane.observe(world.target, { thorough: true }, signal);
  const plan = async (version = '6'): Promise<PlanResult> => world.plane.plan(world.target, await observe(), all(version));
  const planned = async (): Promise<Step> => {
    const result = await plan();
    if (result.kind !== 'steps') throw new Error(JSON.stringify(result));
    return result.steps.at(-1) as Step;
  };
  const apply = async (step: Step): Promise<ApplyOutcome> => await world.plane.apply(world.target, step, { inverse: false, opId: 'rb_1', epoch: 1 }, signal);
  const selector = async (): Promise<unknown> => (await world.kubernetes.client.get(path)).spec?.['selector'];

  it('tells where a version came from by the annotations of its Deployment, also of one that gets no traffic', async () => {
    const cause = { 'kubernetes.io/change-cause': 'https://git.example.org/fraud/pull/6' };
    await world.kubernetes.client.merge('/apis/apps/v1/namespaces/shop/deployments/fraud-blue', { metadata: { annotations: cause } });
    await observe();

    expect([world.plane.origin?.(world.target, '6'), world.plane.origin?.(world.target, '7')]).toEqual([
      { change: 'https://git.example.org/fraud/pull/6' },
      {},
    ]);
  });

  it('turns one key of the selector, says whose doing it was, and tells of open connections', async () => {
    expect(await plan()).toMatchObject({ kind: 'steps', notes: ['connections that are open (keep-alive, gRPC) stay with 7 until they end'] });

    await reach(world, all('6'));

    expect(await selector()).toEqual({ app: 'fraud', version: '6' });
    expect((await world.kubernetes.client.get(path)).metadata.annotations).toMatchObject({ 'rollbackd.io/to': '6' });
    expect((await observe()).serving).toEqual([{ version: '6', share: 1 }]);
  });

  it('never turns to a version without ready pods: not in the plan, and not when they went since', async () => {
    const step = await planned();
    await world.kubernetes.client.merge(blue, { spec: { replicas: 0 } });
    await untilTrue(async () => (await observe()).versions.some(({ id, state }) => id === '6' && state === 'unloaded'));

    expect(await plan()).toMatchObject({ kind: 'refused', reason: expect.stringMatching(/version 6 has 0 ready pods, expected 1 .*scale it up first/) });
    expect(await apply(step)).toMatchObject({ kind: 'rejected', class: 'target_will_not_load' });
    expect(await plan('5')).toMatchObject({ kind: 'refused', reason: expect.stringContaining('neither a pod nor a Deployment with version=5') });
    expect(await selector()).toEqual({ app: 'fraud', version: '7' });
  });

  it('scales the target up first where that is wished, and back when it is undone', async () => {
    await again({ blueReplicas: 0, keys: { scale_up: true } });

    const steps = await reach(world, all('6'));

    expect(steps.map(({ name, phase }) => [name, phase])).toEqual([
      ['scale fraud-blue to 2', 'stage'],
      ['turn shop/fraud to version=6', 'switch'],
    ]);
    for (const step of steps.toReversed()) expect(await takeStep(world, step, { inverse: true })).toMatchObject({ kind: 'applied' });
    expect((await world.kubernetes.client.get(blue)).spec?.['replicas']).toBe(0);
  });

  it('does not touch what someone else has changed, and names them', async () => {
    const step = await planned();
    await world.kubernetes.client.merge(path, { spec: { selector: { version: '8' } } });

    expect(await apply(step)).toMatchObject({ kind: 'conflict', detail: expect.stringMatching(/selects version=8, expected 7: .+ wrote its selector last/) });
  });

  it('takes the endpoints for the truth, not the selector', async () => {
    const step = await planned();
    await world.kubernetes.client.merge(path, { spec: { selector: { version: 'nobody' } } });
    await untilTrue(async () => (await observe()).serving.length === 0);

    expect((await observe()).endpoints[0]?.serving).toEqual([]);
    expect(world.plane.check(step, await observe(), await observe(), 10)).toMatchObject({
      kind: 'reverted',
      detail: expect.stringContaining('version=nobody'),
    });
  });

  it.each<[string, Record<string, unknown>, string]>([
    ['without the label', { selector: { version: null } }, 'has no "version"'],
    ['of nothing but the label', { selector: { app: null } }, 'has nothing beside "version"'],
  ])('refuses a selector %s', async (_name, spec, words) => {
    await world.kubernetes.client.merge(path, { spec });

    expect((await observe()).refusals).toEqual([expect.stringContaining(words)]);
  });
});
