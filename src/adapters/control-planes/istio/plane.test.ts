import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { all, describeControlPlane, reach } from '../../../../test/contract/control-plane.ts';
import { describePlaneFaults } from '../../../../test/contract/plane-faults.ts';
import { kubernetesAnswers } from '../../../../test/support/kubernetes/answers.ts';
import { destinationRuleCrd, virtualServiceCrd } from '../../../../test/support/kubernetes/crds/istio.ts';
import { setKubernetesStage } from '../../../../test/support/kubernetes/plane-stage.ts';
import { aDestinationRule, anEndpointSlice, aPod, aVirtualService } from '../../../../test/support/kubernetes/traffic-objects.ts';
import type { Observation } from '../../../domain/observation.ts';
import type { Step } from '../../../domain/step.ts';
import { istio } from './index.ts';

const path = '/apis/networking.istio.io/v1/namespaces/shop/virtualservices/fraud';
const signal = new AbortController().signal;
const nothing: AsyncDisposable = { [Symbol.asyncDispose]: async () => undefined };

async function stage(subsets: Readonly<Record<string, number | null>>, options: { ruled?: readonly string[]; propagation?: string } = {}) {
  return await setKubernetesStage({
    kind: istio,
    config: { propagation: options.propagation ?? '0s' },
    keys: { namespace: 'shop', versions: { '6': 'v6', '7': 'v7' } },
    from: '7',
    to: '6',
    fill: async (kubernetes) => {
      await kubernetes.installCrd(virtualServiceCrd);
      await kubernetes.installCrd(destinationRuleCrd);
      await kubernetes.client.create(aDestinationRule(options.ruled ?? ['v6', 'v7']));
      await kubernetes.client.create(aPod('a', { version: 'v6' }));
      await kubernetes.client.create(aPod('b', { version: 'v7' }));
      await kubernetes.client.create(anEndpointSlice('fraud', { a: true, b: true }));
      await kubernetes.client.create(aVirtualService(subsets));
      return nothing;
    },
  });
}

describeControlPlane('istio', async () => await stage({ v6: 0, v7: 100 }), kubernetesAnswers);
describePlaneFaults('istio', async () => await stage({ v6: 0, v7: 100 }), { to: 'API server', protocol: 'http', isShared: true });

describe('istio', () => {
  let setup: Awaited<ReturnType<typeof stage>>;
  beforeEach(async () => {
    setup = await stage({ v6: 90, v7: 10 });
  });
  afterEach(async () => {
    await setup[Symbol.asyncDispose]();
  });

  const anew = async (...options: Parameters<typeof stage>): Promise<void> => {
    await setup[Symbol.asyncDispose]();
    setup = await stage(...options);
  };
  const observe = async (): Promise<Observation> => await setup.plane.observe(setup.target, { thorough: true }, signal);
  const status = async (content: unknown): Promise<void> => void (await setup.kubernetes.client.merge(`${path}/status`, { status: content }));
  const weights = async (): Promise<unknown> =>
    ((await setup.kubernetes.client.get(path)).spec as { http: { route: { destination: { subset: string }; weight?: number }[] }[] }).http[0]?.route.map(
      ({ destination, weight }) => [destination.subset, weight],
    );

  it('writes sums of 100, with host, subset and the name of the route tested', async () => {
    await reach(setup, all('6'));

    expect(await weights()).toEqual([
      ['v6', 100],
      ['v7', 0],
    ]);
    expect(setup.kubernetes.requests.find((request) => request.method === 'PATCH')?.body).toContain(
      '{"op":"test","path":"/spec/http/0/name","value":"predict"}',
    );
  });

  it('adds the subset of a version that is named but not listed, and restores a destination without a weight', async () => {
    await anew({ v7: null });

    const [step] = await reach(setup, all('6'));
    expect(await weights()).toEqual([
      ['v7', 0],
      ['v6', 100],
    ]);

    await setup.plane.apply(setup.target, step as Step, { inverse: true, opId: 'rb_1', epoch: 1 }, signal);
    expect(await weights()).toEqual([['v7', undefined]]);
  });

  it('refuses a subset that no DestinationRule has: the proxies would answer 503', async () => {
    await anew({ v6: 0, v7: 100 }, { ruled: ['v7'] });

    expect(setup.plane.plan(setup.target, await observe(), all('6'))).toMatchObject({
      kind: 'refused',
      reason: 'version 6 cannot take traffic: no DestinationRule in shop has subset v6 of host fraud; add the subset first, wait, then move traffic',
    });
  });

  it('refuses a subset whose labels no ready pod has', async () => {
    await setup.kubernetes.client.merge('/api/v1/namespaces/shop/pods/a', { metadata: { labels: { version: 'v5' } } });

    expect(setup.plane.plan(setup.target, await observe(), all('6'))).toMatchObject({
      kind: 'refused',
      reason: expect.stringContaining('subset v6 of Service shop/fraud has 0 ready endpoints') as string,
    });
  });

  it('waits where Istio tells nothing, and for Istio where it tells', async () => {
    await anew({ v6: 0, v7: 100 }, { propagation: '5s' });
    await status({ observedGeneration: 1, conditions: [{ type: 'Reconciled', status: 'True' }] });
    const before = await observe();
    const plan = setup.plane.plan(setup.target, before, all('6'));
    const step = (plan.kind === 'steps' ? plan.steps[0] : undefined) as Step;
    await setup.plane.apply(setup.target, step, { inverse: false, opId: 'rb_1', epoch: 1 }, signal);

    expect(setup.plane.check(step, before, await observe(), 9_000).kind).toBe('progressing');
    await status({ observedGeneration: 2, conditions: [{ type: 'Reconciled', status: 'False', reason: 'stillPropagating', message: '61/122 complete' }] });
    expect(setup.plane.check(step, before, await observe(), 9_000)).toMatchObject({
      kind: 'progressing',
      detail: expect.stringContaining('61/122 complete') as string,
    });
    await status({ observedGeneration: 2, conditions: [{ type: 'Reconciled', status: 'True' }] });
    expect(setup.plane.check(step, before, await observe(), 9_000).kind).toBe('converged');
    await status({ observedGeneration: null, conditions: null });
    expect(setup.plane.check(step, before, await observe(), 4_000).kind).toBe('progressing');
    expect(setup.plane.check(step, before, await observe(), 5_000).kind).toBe('converged');
  });

  it('sees a controller that rewrites the weights at once', async () => {
    const before = await observe();
    const [step] = await reach(setup, all('6'));
    await setup.kubernetes.client.jsonPatch(path, [
      { op: 'replace', path: '/spec/http/0/route/0/weight', value: 90 },
      { op: 'replace', path: '/spec/http/0/route/1/weight', value: 10 },
    ]);

    expect(setup.plane.check(step as Step, before, await observe(), 1_000).kind).toBe('reverted');
  });
});
