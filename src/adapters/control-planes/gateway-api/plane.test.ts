import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { all, describeControlPlane, reach } from '../../../../test/contract/control-plane.ts';
import { describePlaneFaults } from '../../../../test/contract/plane-faults.ts';
import { kubernetesAnswers } from '../../../../test/support/kubernetes/answers.ts';
import { httpRouteCrd } from '../../../../test/support/kubernetes/crds/gateway-api.ts';
import { GatewayController } from '../../../../test/support/kubernetes/gateway-controller.ts';
import { setKubernetesStage } from '../../../../test/support/kubernetes/plane-stage.ts';
import { anEndpointSlice, anHttpRoute } from '../../../../test/support/kubernetes/traffic-objects.ts';
import type { Observation } from '../../../domain/observation.ts';
import type { Step } from '../../../domain/step.ts';
import { gatewayApi } from './index.ts';

const path = '/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes/fraud';
const signal = new AbortController().signal;
let controller: GatewayController;

async function stage(backends: Readonly<Record<string, number | null>>, keys: Readonly<Record<string, unknown>> = { version_pattern: 'fraud-v(\\d+)' }) {
  return await setKubernetesStage({
    kind: gatewayApi,
    config: { propagation: '0s' },
    keys: { namespace: 'shop', ...keys },
    from: '7',
    to: '6',
    fill: async (kubernetes) => {
      await kubernetes.installCrd(httpRouteCrd);
      await kubernetes.client.create(anEndpointSlice('fraud-v6', { a: true, b: false }));
      await kubernetes.client.create(anEndpointSlice('fraud-v7', { c: true }));
      await kubernetes.client.create(anHttpRoute(backends));
      controller = new GatewayController(kubernetes.client, { delayMs: 15 });
      // Both Gateways have taken it before the test begins.
      for (;;) {
        const parents = (await kubernetes.client.get(path)).status?.['parents'];
        if (Array.isArray(parents) && parents.length === 2) return controller;
        await sleep(5);
      }
    },
  });
}

describeControlPlane('gateway_api', async () => await stage({ 'fraud-v6': 0, 'fraud-v7': 100 }), kubernetesAnswers);
describePlaneFaults('gateway_api', async () => await stage({ 'fraud-v6': 0, 'fraud-v7': 100 }), { to: 'API server', protocol: 'http', tls: true });

describe('gateway_api', () => {
  let setup: Awaited<ReturnType<typeof stage>>;
  beforeEach(async () => {
    setup = await stage({ 'fraud-v6': 90, 'fraud-v7': 10 });
  });
  afterEach(async () => {
    await setup[Symbol.asyncDispose]();
  });

  const observe = async (): Promise<Observation> => await setup.plane.observe(setup.target, { thorough: true }, signal);
  const planned = async (): Promise<Step> => {
    const plan = setup.plane.plan(setup.target, await observe(), all('6'));
    if (plan.kind !== 'steps') throw new Error(JSON.stringify(plan));
    return plan.steps[0] as Step;
  };
  const apply = async (step: Step) => await setup.plane.apply(setup.target, step, { inverse: false, opId: 'rb_1', epoch: 1 }, signal);
  const refs = async (): Promise<unknown> => ((await setup.kubernetes.client.get(path)).spec as { rules: { backendRefs: unknown }[] }).rules[0]?.backendRefs;

  it('takes a canary back in one guarded patch that names what it changes', async () => {
    await reach(setup, all('6'));

    const patch = setup.kubernetes.requests.find((request) => request.method === 'PATCH');
    const operations = JSON.parse(patch?.body ?? '[]') as { op: string; path: string; value: unknown }[];
    expect(operations.map(({ op, path: at, value }) => [op, at, value])).toEqual([
      ['test', '/metadata/uid', expect.any(String)],
      ['test', '/metadata/generation', 1],
      ['test', '/spec/rules/0/name', 'predict'],
      ['test', '/spec/rules/0/backendRefs/0/group', ''],
      ['test', '/spec/rules/0/backendRefs/0/kind', 'Service'],
      ['test', '/spec/rules/0/backendRefs/0/name', 'fraud-v6'],
      ['test', '/spec/rules/0/backendRefs/0/port', 8501],
      ['test', '/spec/rules/0/backendRefs/1/group', ''],
      ['test', '/spec/rules/0/backendRefs/1/kind', 'Service'],
      ['test', '/spec/rules/0/backendRefs/1/name', 'fraud-v7'],
      ['test', '/spec/rules/0/backendRefs/1/port', 8501],
      ['replace', '/spec/rules/0/backendRefs/0/weight', 100],
      ['replace', '/spec/rules/0/backendRefs/1/weight', 0],
    ]);
  });

  it('believes no parent that speaks of an older generation, and waits for every one', async () => {
    controller.silent.add('inner');
    const step = await planned();
    const before = await observe();
    const outcome = await apply(step);
    if (outcome.kind === 'applied') setup.remember(outcome.remember ?? {});
    await sleep(60);

    const now = await observe();

    expect(setup.plane.check(step, before, now, 60_000)).toMatchObject({
      kind: 'progressing',
      detail: expect.stringContaining('gateway inner has not looked at the newest change') as string,
    });
    expect(now.serving).toEqual(before.serving);
    expect(now.refusals).toEqual([expect.stringContaining('what is applied is not known') as string]);
  });

  it('fails when a Gateway refuses the change', async () => {
    controller.refusal = { type: 'ResolvedRefs', reason: 'BackendNotFound' };
    const step = await planned();
    const before = await observe();
    await apply(step);
    await sleep(100);

    expect(setup.plane.check(step, before, await observe(), 1_000)).toMatchObject({
      kind: 'failed',
      detail: expect.stringContaining('ResolvedRefs is False (BackendNotFound)') as string,
    });
  });

  it('refuses a target without ready endpoints, in the plan and again right before the write', async () => {
    const step = await planned();
    await setup.kubernetes.client.merge('/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices/fraud-v6-1', { endpoints: [] });

    expect(setup.plane.plan(setup.target, await observe(), all('6'))).toMatchObject({
      kind: 'refused',
      reason: 'version 6 cannot take traffic: Service shop/fraud-v6 has 0 ready endpoints, expected at least 1 (min_ready); scale its Deployment up first',
    });
    expect(await apply(step)).toMatchObject({ kind: 'rejected', class: 'target_will_not_load' });
    expect(setup.kubernetes.mutations()).toBe(0);
  });

  it('says who changed the weights after the switch, and does not take it for its own', async () => {
    const before = await observe();
    const [step] = await reach(setup, all('6'));
    await setup.kubernetes.client.jsonPatch(path, [{ op: 'replace', path: '/spec/rules/0/backendRefs/1/weight', value: 50 }]);

    expect(setup.plane.check(step as Step, before, await observe(), 1_000)).toMatchObject({
      kind: 'reverted',
      detail: expect.stringContaining('was changed by') as string,
    });
  });

  it('writes nothing when the list was edited since the plan', async () => {
    const step = await planned();
    await setup.kubernetes.client.jsonPatch(path, [{ op: 'replace', path: '/spec/rules/0/backendRefs/1/weight', value: 50 }]);

    expect(await apply(step)).toMatchObject({ kind: 'conflict', detail: expect.stringContaining('expected fraud-v6: 90, fraud-v7: 10') as string });
    expect(setup.kubernetes.mutations()).toBe(0);
  });

  it('adds a destination that only plane.versions names, and takes it away again', async () => {
    await setup[Symbol.asyncDispose]();
    setup = await stage({ 'fraud-v7': null }, { versions: { '6': 'fraud-v6', '7': 'fraud-v7' } });

    const [step] = await reach(setup, all('6'));
    expect(await refs()).toEqual([
      { group: '', kind: 'Service', name: 'fraud-v7', port: 8501, weight: 0 },
      { group: '', kind: 'Service', name: 'fraud-v6', port: 8501, weight: 100 },
    ]);

    await setup.plane.apply(setup.target, step as Step, { inverse: true, opId: 'rb_1', epoch: 1 }, signal);
    // The API server fills in the weight that nobody wrote.
    expect(await refs()).toEqual([{ group: '', kind: 'Service', name: 'fraud-v7', port: 8501, weight: 1 }]);
  });

  it('refuses what GitOps or another controller owns', async () => {
    await setup.kubernetes.client.merge(path, { metadata: { annotations: { 'argocd.argoproj.io/tracking-id': 'shop:x' } } });

    expect((await observe()).refusals).toEqual([expect.stringContaining('Argo CD') as string]);
  });
});
