import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { aModel, aPolicy } from '../../test/support/builders.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { FakeSource } from '../../test/support/fake-source.ts';
import type { FakeKubernetes } from '../../test/support/kubernetes/fake-kubernetes.ts';
import { GatewayController } from '../../test/support/kubernetes/gateway-controller.ts';
import { setKubernetesStage } from '../../test/support/kubernetes/plane-stage.ts';
import {
  aDestinationRule,
  anEndpointSlice,
  anHttpRoute,
  aPod,
  aVirtualService,
  destinationRuleCrd,
  httpRouteCrd,
  virtualServiceCrd,
} from '../../test/support/kubernetes/traffic-objects.ts';
import { passingSmoke, setStage } from '../../test/support/stage.ts';
import { gatewayApi } from '../adapters/control-planes/gateway-api/index.ts';
import { istio } from '../adapters/control-planes/istio/index.ts';
import { openMemoryJournal } from '../adapters/journal/memory/open.ts';
import type { Episode } from '../domain/episode.ts';
import type { Journal } from '../domain/ports.ts';

const minuteMs = 60_000;
const policy = aPolicy({ knownGood: { minAgeMs: 1, minRequests: 1, backfillMs: 0, versions: ['6'] }, convergeTimeoutMs: 2 * minuteMs, stickMs: 15_000 });
const gone: AsyncDisposable = { [Symbol.asyncDispose]: async () => undefined };

/** A canary 7 with a tenth of the traffic beside 6; `isUp`: whether 6 has ready pods. */
const planes = [
  {
    kind: gatewayApi,
    keys: { namespace: 'shop', http_route: 'fraud', version_pattern: 'fraud-v(\\d+)' },
    path: '/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes/fraud',
    weightsOf: (spec: Record<string, unknown>): unknown[] =>
      (spec['rules'] as { backendRefs: { weight: number }[] }[])[0]?.backendRefs.map(({ weight }) => weight) ?? [],
    fill: async (kubernetes: FakeKubernetes, isUp: boolean): Promise<AsyncDisposable> => {
      await kubernetes.installCrd(httpRouteCrd);
      await kubernetes.client.create(anEndpointSlice('fraud-v6', { a: isUp }));
      await kubernetes.client.create(anEndpointSlice('fraud-v7', { b: true }));
      await kubernetes.client.create(anHttpRoute({ 'fraud-v6': 90, 'fraud-v7': 10 }));
      return new GatewayController(kubernetes, { delayMs: 10 });
    },
    refusal: 'Service shop/fraud-v6 has 0 ready endpoints, expected at least 1 (min_ready); scale its Deployment up first',
  },
  {
    kind: istio,
    keys: { namespace: 'shop', virtual_service: 'fraud', versions: { '6': 'v6', '7': 'v7' } },
    path: '/apis/networking.istio.io/v1/namespaces/shop/virtualservices/fraud',
    weightsOf: (spec: Record<string, unknown>): unknown[] => (spec['http'] as { route: { weight: number }[] }[])[0]?.route.map(({ weight }) => weight) ?? [],
    fill: async (kubernetes: FakeKubernetes, isUp: boolean): Promise<AsyncDisposable> => {
      await kubernetes.installCrd(virtualServiceCrd);
      await kubernetes.installCrd(destinationRuleCrd);
      await kubernetes.client.create(aDestinationRule(['v6', 'v7']));
      await kubernetes.client.create(aPod('a', { version: 'v6' }));
      await kubernetes.client.create(aPod('b', { version: 'v7' }));
      await kubernetes.client.create(anEndpointSlice('fraud', { a: isUp, b: true }));
      await kubernetes.client.create(aVirtualService({ v6: 90, v7: 10 }));
      return gone;
    },
    refusal: 'subset v6 of Service shop/fraud has 0 ready endpoints, expected at least 1 (min_ready); scale its Deployment up first',
  },
];

describe.each(planes)('a canary on $kind.kind', ({ kind, keys, path, weightsOf, fill, refusal }) => {
  const clock = new FakeClock();
  let journal: Journal;
  let stop: () => Promise<void> = async () => undefined;
  afterEach(async () => await stop());

  /** Starts everything, lets virtual time pass until an episode ended. @returns it, and the weights that are left */
  async function play(isUp: boolean): Promise<{ episode: Episode; weights: unknown[]; mutations: number }> {
    journal = await openMemoryJournal({ clock });
    const setup = await setKubernetesStage({ kind, keys, from: '7', to: '6', clock, fill: async (kubernetes) => await fill(kubernetes, isUp) });
    const source = new FakeSource();
    const smokeTest = { timeoutMs: 1, retries: 0, onFailure: 'stop', requests: [] } as const;
    const { app, runtime } = await setStage({
      clock,
      journal,
      source,
      plane: setup.plane,
      smoke: passingSmoke,
      model: { ...aModel(), plane: setup.target.plane, rollback: policy, smokeTest },
    });
    stop = async () => {
      await app.stop(0);
      await setup[Symbol.asyncDispose]();
      await journal.close();
    };
    setup.follow(() => app.memory.planeMemory('tfs'));
    const weights = async (): Promise<unknown[]> => weightsOf((await setup.kubernetes.client.get(path)).spec ?? {});
    source.traffic.set('6', { requests: 90, errorRatio: 0 });
    source.traffic.set('7', { requests: 10, errorRatio: 0.2 });
    app.start();
    for (let turn = 0; turn < 4_000; turn += 1) {
      await clock.advance(250);
      // The API server answers in real time.
      await sleep(1);
      if (turn % 20 === 0 && (await weights())[1] === 0) source.traffic.set('7', { requests: 0, errorRatio: 0 });
      const [episode] = await journal.episodes({});
      if (episode?.finishedAtMs != null) return { episode, weights: await weights(), mutations: setup.kubernetes.mutations() };
    }
    throw new Error(`no episode ended: ${JSON.stringify(await journal.decisions({}))} ${runtime.observer.failure('fraud') ?? ''}`);
  }

  it('is rolled back: rule, one write, confirmation, smoke test, recovery, success', async () => {
    const { episode, weights, mutations } = await play(true);

    expect(episode).toMatchObject({ state: 'succeeded', outcome: 'success', from: '7', to: '6', rule: 'ErrorsHigh' });
    expect(episode.smokeTests.map((result) => [result.when, result.outcome])).toEqual([['serving', 'passed']]);
    expect(weights).toEqual([100, 0]);
    expect(mutations).toBe(1);
  });

  it('stays as it is when the target has nobody to answer, and says what to do', async () => {
    const { episode, weights, mutations } = await play(false);

    expect(episode).toMatchObject({ state: 'failed', outcome: 'failure' });
    expect(episode.detail).toContain(refusal);
    expect(episode.detail).toContain('Nothing moved: 7 still serves');
    expect(weights).toEqual([90, 10]);
    expect(mutations).toBe(0);
  });
});
