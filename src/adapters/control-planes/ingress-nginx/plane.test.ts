import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { all, describeControlPlane, reach, takeStep } from '../../../../test/contract/control-plane.ts';
import { describePlaneFaults } from '../../../../test/contract/plane-faults.ts';
import { kubernetesAnswers } from '../../../../test/support/kubernetes/answers.ts';
import { anApplication, applicationCrd } from '../../../../test/support/kubernetes/argo-cd.ts';
import { IngressNginx } from '../../../../test/support/kubernetes/ingress-nginx.ts';
import { type KubernetesStage, setKubernetesStage } from '../../../../test/support/kubernetes/plane-stage.ts';
import { anEndpointSlice, anIngress } from '../../../../test/support/kubernetes/traffic-objects.ts';
import { until } from '../../../../test/support/until.ts';
import type { Observation } from '../../../domain/observation.ts';
import type { PlanResult, Step, StepCheck } from '../../../domain/step.ts';
import { ingressNginx } from './index.ts';

const collection = '/apis/networking.k8s.io/v1/namespaces/shop/ingresses';
const canaryPath = `${collection}/fraud-canary`;
const prefix = 'nginx.ingress.kubernetes.io/';
const signal = new AbortController().signal;
const options = { inverse: false, opId: 'rb_1', epoch: 1 };
let controller: IngressNginx;

type Wishes = {
  /** Of the canary; `null`: there is none. */
  readonly canary?: Readonly<Record<string, string>> | null;
  readonly primary?: Readonly<Record<string, string>>;
  readonly keys?: Readonly<Record<string, unknown>>;
  readonly config?: Readonly<Record<string, unknown>>;
  /** `from` and `to` of the contract. */
  readonly way?: readonly [string, string];
};

/** Version 6 behind the primary, 7 behind the canary with all of the weight. */
async function stage({
  canary = { canary: 'true', 'canary-weight': '100' },
  primary = {},
  keys = {},
  config = {},
  way = ['7', '6'],
}: Wishes = {}): Promise<KubernetesStage> {
  return await setKubernetesStage({
    kind: ingressNginx,
    config: { propagation: '0s', ...config },
    keys: { namespace: 'shop', version_pattern: 'fraud-v(\\d+)', ...keys },
    from: way[0],
    to: way[1],
    fill: async (kubernetes) => {
      await kubernetes.client.create(anEndpointSlice('fraud-v6', { a: true, b: false }));
      await kubernetes.client.create(anEndpointSlice('fraud-v7', { c: true }));
      // Of the same second as the primary or older, as one kubectl apply makes them.
      if (canary !== null) await kubernetes.client.create(anIngress('fraud-canary', 'fraud-v7', canary));
      await kubernetes.client.create(anIngress('fraud', 'fraud-v6', primary));
      controller = await IngressNginx.start(kubernetes, { delayMs: 10 });
      return controller;
    },
  });
}

describeControlPlane('ingress_nginx', async () => await stage(), kubernetesAnswers);
describePlaneFaults('ingress_nginx', async () => await stage(), { to: 'API server', protocol: 'http', isShared: true });
describeControlPlane('ingress_nginx, to the canary,', async () => await stage({ canary: { canary: 'true' }, way: ['6', '7'] }), kubernetesAnswers);

describe('ingress_nginx', () => {
  let setup: KubernetesStage;
  beforeEach(async () => {
    setup = await stage({ canary: { canary: 'true', 'canary-weight': '10' } });
  });
  afterEach(async () => {
    await setup[Symbol.asyncDispose]();
  });

  const anew = async (wishes: Wishes): Promise<void> => {
    await setup[Symbol.asyncDispose]();
    setup = await stage(wishes);
  };
  const observe = async (): Promise<Observation> => await setup.plane.observe(setup.target, { thorough: true }, signal);
  const plan = async (version = '6'): Promise<PlanResult> => setup.plane.plan(setup.target, await observe(), all(version));
  const planned = async (version = '6'): Promise<Step> => {
    const result = await plan(version);
    if (result.kind !== 'steps') throw new Error(JSON.stringify(result));
    return result.steps[0] as Step;
  };
  const apply = async (step: Step) => await setup.plane.apply(setup.target, step, options, signal);
  const checked = async (step: Step, sinceMs = 1_000): Promise<StepCheck> => {
    const now = await observe();
    return setup.plane.check(step, now, now, sinceMs);
  };
  const annotations = async (): Promise<Readonly<Record<string, string>>> => (await setup.kubernetes.client.get(canaryPath)).metadata.annotations ?? {};
  /** The canary rules by their short names, without rollbackd's marks. */
  const rules = async (): Promise<Record<string, string>> =>
    Object.fromEntries(Object.entries(await annotations()).flatMap(([key, value]) => (key.startsWith(prefix) ? [[key.slice(prefix.length), value]] : [])));
  const annotate = async (changes: Readonly<Record<string, string | null>>, path = canaryPath): Promise<void> => {
    const full = Object.fromEntries(Object.entries(changes).map(([key, value]) => [`${prefix}${key}`, value]));
    await setup.kubernetes.client.merge(path, { metadata: { annotations: full } });
  };
  const endpoints = async (service: string, changes: unknown): Promise<unknown> =>
    await setup.kubernetes.client.merge(`/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices/${service}-1`, changes);
  /** Waits until the workers follow. */
  const answers = async (expected: Record<string, number>, request: Parameters<IngressNginx['ten']>[0] = {}): Promise<void> => {
    let found: Record<string, number> = {};
    await until(
      `answers like ${JSON.stringify(expected)}`,
      async () => {
        found = await controller.ten(request);
        return JSON.stringify(found) === JSON.stringify(expected);
      },
      { withinMs: 3_000, everyMs: 10, seen: () => JSON.stringify(found) },
    );
  };

  it('takes a canary back with one guarded patch, and it stays a canary', async () => {
    await answers({ 'fraud-v6': 9, 'fraud-v7': 1 });
    expect((await observe()).serving).toEqual([
      { version: '6', share: 0.9 },
      { version: '7', share: 0.1 },
    ]);

    await reach(setup, all('6'));

    await answers({ 'fraud-v6': 10 });
    expect(await rules()).toEqual({ canary: 'true', 'canary-weight': '0' });
    const patch = setup.kubernetes.requests.find((request) => request.method === 'PATCH');
    const operations = JSON.parse(patch?.body ?? '[]') as { op: string; path: string; value: unknown }[];
    expect(operations.map(({ op, path, value }) => [op, path, value])).toEqual([
      ['test', '/metadata/uid', expect.any(String)],
      ['replace', '/metadata/resourceVersion', expect.any(String)],
      ['add', '/metadata/annotations/nginx.ingress.kubernetes.io~1canary-weight', '0'],
      ['add', '/metadata/annotations/rollbackd.io~1op-id', 'rb_contract'],
      ['add', '/metadata/annotations/rollbackd.io~1from', '7'],
      ['add', '/metadata/annotations/rollbackd.io~1to', '6'],
    ]);
  });

  it('takes header and cookie rules away with the weight, since they win over it, and puts them back as they were', async () => {
    const before = {
      canary: 'true',
      'canary-weight': '10',
      'canary-weight-total': '1000',
      'canary-by-header': 'X-Canary',
      'canary-by-header-value': 'please',
      'canary-by-cookie': 'tester',
    };
    await anew({ canary: before });
    const asker = { headers: { 'x-canary': 'please' } };
    await answers({ 'fraud-v7': 10 }, asker);
    // The weight alone would leave who sends the header, or the cookie, where they are.
    await annotate({ 'canary-weight': '0' });
    await answers({ 'fraud-v6': 10 });
    await answers({ 'fraud-v7': 10 }, asker);
    await answers({ 'fraud-v7': 10 }, { headers: { cookie: 'tester=always' } });
    await annotate({ 'canary-weight': '10' });
    expect(await plan()).toMatchObject({ notes: [expect.stringContaining('who sent header X-Canary or cookie tester gets version 6 as well')] });

    const [step] = await reach(setup, all('6'));

    await answers({ 'fraud-v6': 10 }, asker);
    await answers({ 'fraud-v6': 10 }, { headers: { cookie: 'tester=always' } });
    await takeStep(setup, step as Step, { inverse: true });
    expect(await annotations()).toEqual(Object.fromEntries(Object.entries(before).map(([key, value]) => [`${prefix}${key}`, value])));
  });

  it('shows a canary that only a header leads to as serving, and takes it back', async () => {
    await anew({ canary: { canary: 'true', 'canary-by-header': 'X-Canary' } });

    expect((await observe()).serving).toEqual([
      { version: '6', share: 0.99 },
      { version: '7', share: 0.01 },
    ]);
    await reach(setup, all('6'));

    expect((await observe()).serving).toEqual([{ version: '6', share: 1 }]);
    expect(await rules()).toEqual({ canary: 'true', 'canary-weight': '0' });
  });

  it('moves clients with a session, too, where the primary has cookie affinity', async () => {
    await anew({ primary: { affinity: 'cookie' } });
    const { service, cookie } = await controller.ask();
    expect(service).toBe('fraud-v7');
    const client = { headers: { cookie: cookie ?? '' } };
    // At weight 0 they would stay with the bad version.
    await annotate({ 'canary-weight': '0' });
    await answers({ 'fraud-v6': 10 });
    await answers({ 'fraud-v7': 10 }, client);
    expect(await plan()).toMatchObject({ kind: 'steps', notes: [expect.stringContaining('clients with a session cookie leave the canary, too')] });

    const [step] = await reach(setup, all('6'));

    await answers({ 'fraud-v6': 10 }, client);
    expect(await rules()).toEqual({ canary: 'true', 'canary-weight': '0', 'affinity-canary-behavior': 'legacy' });
    expect(await plan()).toEqual({ kind: 'nothing' });
    await takeStep(setup, step as Step, { inverse: true });
    expect(await rules()).toEqual({ canary: 'true', 'canary-weight': '0' });
  });

  it('does not move to the canary where sessions would stay with the primary', async () => {
    await anew({ primary: { affinity: 'cookie' }, canary: { canary: 'true', 'canary-weight': '0' } });
    const { cookie } = await controller.ask();
    await annotate({ 'canary-weight': '100', 'affinity-canary-behavior': 'legacy' });
    await answers({ 'fraud-v7': 10 });
    await answers({ 'fraud-v6': 10 }, { headers: { cookie: cookie ?? '' } });
    await annotate({ 'canary-weight': '0', 'affinity-canary-behavior': null });

    expect(await plan('7')).toMatchObject({ kind: 'refused', reason: expect.stringContaining('fraud has cookie affinity: clients with a session stay') });
  });

  it('moves everything to the canary with the whole total, and says that the primary must stay', async () => {
    await anew({ canary: { canary: 'true', 'canary-weight': '5', 'canary-weight-total': '200', 'canary-by-header': 'X-Canary' } });
    expect(await plan('7')).toMatchObject({ notes: [expect.stringContaining('keep the pods of fraud-v6')] });

    await reach(setup, all('7'));

    expect(await rules()).toEqual({ canary: 'true', 'canary-weight': '200', 'canary-weight-total': '200' });
    await answers({ 'fraud-v7': 10 }, { headers: { 'x-canary': 'never' } });
    // What the note says: the canary goes with the primary's endpoints.
    await endpoints('fraud-v6', { endpoints: [] });
    await answers({ '503': 10 });
  });

  it('refuses when the primary has no ready endpoint, in the plan and again right before the write', async () => {
    const step = await planned();
    const all7 = await planned('7');
    await endpoints('fraud-v6', { endpoints: [] });
    await answers({ '503': 10 });

    const reason = 'version 6 cannot take traffic: Service shop/fraud-v6 has 0 ready endpoints, expected at least 1 (min_ready); scale its Deployment up first';
    expect(await plan()).toEqual({ kind: 'refused', reason });
    expect(await plan('7')).toEqual({ kind: 'refused', reason });
    for (const each of [step, all7]) expect(await apply(each)).toMatchObject({ kind: 'rejected', class: 'target_will_not_load' });
    expect(setup.kubernetes.mutations()).toBe(0);
  });

  it('refuses a canary without ready endpoints', async () => {
    const step = await planned('7');
    await setup.kubernetes.client.remove('/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices/fraud-v7-1');

    expect(await plan('7')).toMatchObject({ kind: 'refused', reason: expect.stringContaining('Service shop/fraud-v7 has no EndpointSlice') });
    expect(await apply(step)).toMatchObject({ kind: 'rejected', class: 'target_will_not_load' });
  });

  it('reads weights as the controller does', async () => {
    await annotate({ 'canary-weight': '10%' });
    await answers({ 'fraud-v6': 10 });
    expect((await observe()).serving).toEqual([{ version: '6', share: 1 }]);

    await annotate({ 'canary-weight': '50', 'canary-weight-total': '50' });
    await answers({ 'fraud-v6': 5, 'fraud-v7': 5 });
    expect((await observe()).serving).toEqual([
      { version: '6', share: 0.5 },
      { version: '7', share: 0.5 },
    ]);
    expect(await plan()).toMatchObject({ notes: ['ingress shop/fraud-canary: canary-weight-total 50 counts as 100'] });

    await annotate({ 'canary-weight': '-3', 'canary-weight-total': null });
    expect((await observe()).serving).toEqual([{ version: '6', share: 1 }]);
  });

  it('never takes the canary mark for a rollback: a normal Ingress of the same age would get everything', async () => {
    await expect(annotate({ canary: null })).rejects.toThrow('host "fraud.example.org" and path "/" is already defined in ingress shop/fraud');
    await annotate({ canary: 'false', 'canary-weight': '0' });
    await answers({ 'fraud-v7': 10 });

    expect((await observe()).refusals).toEqual([
      expect.stringMatching(/fraud-canary is no canary \(canary: "false"\).*write canary: "true" and canary-weight: "0"/),
    ]);
    expect(await plan('7')).toMatchObject({ kind: 'refused', reason: expect.stringContaining('is no canary') });
  });

  it('observes a model without a canary, which is its life between two', async () => {
    await anew({ canary: null });

    const observation = await observe();

    expect(observation).toMatchObject({ serving: [{ version: '6', share: 1 }], refusals: [], versions: [{ id: '6', state: 'available' }] });
    expect(await plan()).toEqual({ kind: 'nothing' });
    expect(await plan('7')).toMatchObject({ kind: 'refused', reason: expect.stringContaining('there is no canary Ingress') });
  });

  it('does not mind a canary that is deleted after the rollback, but one that is made anew', async () => {
    const [step] = await reach(setup, all('6'));
    await setup.kubernetes.client.remove(canaryPath);

    expect(await checked(step as Step)).toMatchObject({ kind: 'converged' });
    expect(await apply(step as Step)).toMatchObject({ kind: 'already', detail: expect.stringContaining('is gone') });
    await setup.kubernetes.client.merge(`${collection}/fraud`, { spec: anIngress('fraud', 'fraud-v8').spec });
    expect(await apply(step as Step)).toMatchObject({ kind: 'conflict' });
    await setup.kubernetes.client.merge(`${collection}/fraud`, { spec: anIngress('fraud', 'fraud-v6').spec });
    expect(await setup.plane.apply(setup.target, step as Step, { ...options, inverse: true }, signal)).toMatchObject({ kind: 'conflict' });

    await setup.kubernetes.client.create(anIngress('fraud-canary', 'fraud-v7', { canary: 'true', 'canary-weight': '20' }));
    expect(await checked(step as Step)).toMatchObject({ kind: 'reverted', detail: expect.stringContaining('created anew') });
    expect(await apply(step as Step)).toMatchObject({ kind: 'conflict' });
  });

  it('says who changed it after the switch, and waits for the workers until then', async () => {
    await anew({ canary: { canary: 'true', 'canary-weight': '10' }, config: { propagation: '5s' } });
    const step = await planned();
    await apply(step);

    expect(await checked(step, 4_999)).toMatchObject({ kind: 'progressing' });
    expect(await checked(step, 5_000)).toMatchObject({ kind: 'converged', detail: expect.stringContaining('ingress-nginx says nothing of it') });
    await annotate({ 'canary-weight': '50' });
    expect(await checked(step)).toMatchObject({
      kind: 'reverted',
      detail: expect.stringMatching(/was changed by \S+ \(Update, \S+\): it has canary-weight "50", expected canary-weight "0"/),
    });
  });

  it('writes nothing when the canary, or where the primary leads, was changed since the plan', async () => {
    const step = await planned();
    await annotate({ 'canary-weight': '20' });
    expect(await apply(step)).toMatchObject({
      kind: 'conflict',
      detail: expect.stringMatching(/has canary-weight "20", expected canary-weight "10": \S+ changed it/),
    });

    await annotate({ 'canary-weight': '10' });
    const { spec } = anIngress('fraud', 'fraud-v8');
    await setup.kubernetes.client.merge(`${collection}/fraud`, { spec });
    expect(await apply(step)).toMatchObject({ kind: 'conflict', detail: expect.stringContaining('leads to fraud-v8 now') });
    expect(setup.kubernetes.mutations()).toBe(0);
  });

  it('is written once when two processes have the same intent', async () => {
    const step = await planned();

    const outcomes = await Promise.all([apply(step), apply(step)]);

    expect(outcomes.filter(({ kind }) => kind === 'applied')).toHaveLength(1);
    expect(outcomes.map(({ kind }) => kind)).toContainEqual(expect.stringMatching(/^(conflict|already)$/));
    expect(setup.kubernetes.requests.filter(({ method, status }) => method === 'PATCH' && status === 200)).toHaveLength(1);
  });

  it.each<[string, Readonly<Record<string, unknown>>, string]>([
    [
      'a host of its own',
      { rules: [{ host: 'other.example.org', http: { paths: [aPath('/', 'fraud-v7')] } }] },
      'leads other.example.org/, which fraud does not',
    ],
    ['another type of path', { rules: [{ host: 'fraud.example.org', http: { paths: [aPath('/', 'fraud-v7', 'Exact')] } }] }, 'which fraud does not'],
    ['the primary’s own Service', { rules: [{ host: 'fraud.example.org', http: { paths: [aPath('/', 'fraud-v6')] } }] }, 'ingress-nginx ignores such a canary'],
    [
      'two Services',
      { rules: [{ host: 'fraud.example.org', http: { paths: [aPath('/', 'fraud-v7'), aPath('/b', 'fraud-v8')] } }] },
      'leads to fraud-v7 and fraud-v8',
    ],
    ['a default backend', { defaultBackend: { service: { name: 'fraud-v7', port: { number: 8501 } } } }, 'has a default backend'],
    ['another class', { ingressClassName: 'other' }, 'is of class other, and fraud of nginx'],
  ])('refuses a canary with %s', async (_name, spec, words) => {
    await setup.kubernetes.client.merge(canaryPath, { spec });

    expect((await observe()).refusals).toContainEqual(expect.stringContaining(words));
  });

  it.each<[string, ReturnType<typeof anIngress>, string]>([
    [
      'a second canary',
      anIngress('fraud-next', 'fraud-v8', { canary: 'true', 'canary-weight': '5' }),
      'ingress fraud-next is a canary of fraud.example.org/, too',
    ],
    [
      'the canary’s Service elsewhere',
      anIngress('fraud-test', 'fraud-v7', {}, { host: 'test.example.org' }),
      'ingress fraud-test leads to Service fraud-v7, too, not as a canary',
    ],
    [
      'affinity from elsewhere',
      anIngress('fraud-old', 'fraud-v6', { affinity: 'cookie' }, { host: 'old.example.org' }),
      'ingress fraud-old gives Service fraud-v6 cookie affinity',
    ],
  ])('refuses beside %s', async (_name, other, words) => {
    await setup.kubernetes.client.create(other);

    expect((await observe()).refusals).toEqual([expect.stringContaining(words)]);
  });

  it('does not mind an Ingress of another controller on the same host and path', async () => {
    const other = anIngress('fraud-next', 'fraud-v6', { canary: 'true' });
    await setup.kubernetes.client.create({ ...other, spec: { ...other.spec, ingressClassName: 'traefik' } });

    expect((await observe()).refusals).toEqual([]);
  });

  it('tells apart the models of one Ingress by path, and does not guess', async () => {
    const paths = (fraud: string, churn: string) => ({
      spec: { rules: [{ host: 'fraud.example.org', http: { paths: [aPath('/fraud', fraud), aPath('/churn', churn)] } }] },
    });
    await setup.kubernetes.client.merge(`${collection}/fraud`, paths('fraud-v6', 'churn-v1'));
    await setup.kubernetes.client.merge(canaryPath, { spec: { rules: [{ host: 'fraud.example.org', http: { paths: [aPath('/fraud', 'fraud-v7')] } }] } });

    expect((await observe()).serving).toEqual([
      { version: '6', share: 0.9 },
      { version: '7', share: 0.1 },
    ]);
    expect(await plan('7')).toMatchObject({ kind: 'refused', reason: expect.stringContaining('fraud-canary has not every path of fraud') });
    const target = { ...setup.target, plane: { ...setup.target.plane, path: '/fraud' } };
    const observation = await setup.plane.observe(target, { thorough: true }, signal);
    expect(setup.plane.plan(target, observation, all('7')).kind).toBe('steps');

    await setup.kubernetes.client.remove(canaryPath);
    await expect(observe()).rejects.toMatchObject({
      class: 'permanent',
      message: expect.stringContaining('it leads to fraud-v6 and churn-v1, which of them is the model is not known; write plane.host and plane.path'),
    });
    expect((await setup.plane.observe(target, { thorough: true }, signal)).serving).toEqual([{ version: '6', share: 1 }]);
  });

  it.each<[string, Readonly<Record<string, unknown>>, string]>([
    ['Argo CD', { annotations: { 'argocd.argoproj.io/tracking-id': 'shop:x' } }, 'Argo CD'],
    ['Flagger', { ownerReferences: [{ apiVersion: 'flagger.app/v1beta1', kind: 'Canary', name: 'fraud', uid: 'u', controller: true }] }, 'belongs to Flagger'],
  ])('refuses what %s owns', async (_name, metadata, words) => {
    await setup.kubernetes.client.merge(canaryPath, { metadata });

    expect((await observe()).refusals).toEqual([expect.stringContaining(words)]);
  });

  it('pauses Flux on the canary first where that is wished, and resumes it when it is unpinned', async () => {
    await anew({ canary: { canary: 'true', 'canary-weight': '10' }, config: { gitops: 'pause' } });
    await setup.kubernetes.client.merge(canaryPath, {
      metadata: { labels: { 'kustomize.toolkit.fluxcd.io/name': 'shop', 'kustomize.toolkit.fluxcd.io/namespace': 'flux' } },
    });

    const steps = await reach(setup, all('6'));

    expect(steps.map(({ phase, name }) => [phase, name.split(' ')[0]])).toEqual([
      ['stage', 'pause'],
      ['switch', 'set'],
    ]);
    expect(await annotations()).toMatchObject({ 'kustomize.toolkit.fluxcd.io/reconcile': 'disabled', [`${prefix}canary-weight`]: '0' });
    expect((await observe()).pinned).toBe(true);
    await reach(setup, { kind: 'unpin' });
    expect(await observe()).toMatchObject({ pinned: false, serving: [{ version: '6', share: 1 }] });
    expect(await rules()).toMatchObject({ 'canary-weight': '0' });
  });

  it('pauses the Argo CD Application that has the canary', async () => {
    await anew({ canary: { canary: 'true', 'canary-weight': '10' }, config: { gitops: 'pause', argocd_namespace: 'shop' } });
    await setup.kubernetes.installCrd(applicationCrd);
    await setup.kubernetes.client.create(
      anApplication({ metadata: { namespace: 'shop' }, resources: [{ kind: 'Ingress', name: 'fraud-canary', namespace: 'shop' }] }),
    );
    await setup.kubernetes.client.merge(canaryPath, {
      metadata: { annotations: { 'argocd.argoproj.io/tracking-id': 'shop:networking.k8s.io/Ingress:shop/fraud-canary' } },
    });

    const [pause] = await reach(setup, all('6'));

    expect(pause?.name).toContain('pause Argo CD application shop/shop');
    const { spec } = await setup.kubernetes.client.get('/apis/argoproj.io/v1alpha1/namespaces/shop/applications/shop');
    expect((spec as { syncPolicy?: { automated?: unknown } }).syncPolicy?.automated ?? null).toBeNull();
    expect((await rules())['canary-weight']).toBe('0');
  });

  it('tells what the admission webhook says, and tries again only when it is away', async () => {
    const step = await planned();
    const broken = setup.kubernetes.addWebhook({
      name: 'nginx.example.org',
      review: () => ({ deny: 'nginx: [emerg] unknown directive in another Ingress', code: 400 }),
    });
    expect(await apply(step)).toMatchObject({ kind: 'rejected', class: 'permanent', detail: expect.stringContaining('unknown directive in another Ingress') });
    broken();

    setup.kubernetes.addWebhook({
      name: 'nginx.example.org',
      review: () => ({ fail: 'no endpoints available for service "ingress-nginx-controller-admission"' }),
    });
    expect(await apply(step)).toMatchObject({ kind: 'rejected', class: 'transient' });
  });

  it('reads the annotations of a controller with another prefix', async () => {
    await setup.kubernetes.client.merge(canaryPath, {
      metadata: { annotations: { 'ingress.example.org/canary': 'true', 'ingress.example.org/canary-weight': '30' } },
    });
    await setup[Symbol.asyncDispose]();
    setup = await stage({ canary: { canary: 'true', 'canary-weight': '10' }, config: { annotations_prefix: 'ingress.example.org' } });
    await setup.kubernetes.client.merge(canaryPath, {
      metadata: { annotations: { 'ingress.example.org/canary': 'true', 'ingress.example.org/canary-weight': '30' } },
    });

    await reach(setup, all('6'));

    expect(await annotations()).toMatchObject({ 'ingress.example.org/canary-weight': '0', [`${prefix}canary-weight`]: '10' });
  });
});

function aPath(path: string, service: string, pathType = 'Prefix') {
  return { path, pathType, backend: { service: { name: service, port: { number: 8501 } } } };
}
