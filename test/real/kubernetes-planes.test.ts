import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { realClock } from '../../src/adapters/clock/real-clock.ts';
import { ingressNginx } from '../../src/adapters/control-planes/ingress-nginx/index.ts';
import { kubernetesDeployment } from '../../src/adapters/control-planes/kubernetes-deployment/index.ts';
import { kubernetesService } from '../../src/adapters/control-planes/kubernetes-service/index.ts';
import type { ControlPlane, PlaneTarget } from '../../src/domain/ports.ts';
import { all, type ControlPlaneSetup, describeControlPlane, reach } from '../contract/control-plane.ts';
import type { KubernetesObject } from '../support/kubernetes/kubernetes-object.ts';
import { startSilence } from '../support/kubernetes/kubernetes-plane.ts';
import { aDeployment, aService } from '../support/kubernetes/objects.ts';
import { kubeconfigText, type RealKubernetes, startRealKubernetes } from '../support/kubernetes/real-kubernetes.ts';
import { anIngress } from '../support/kubernetes/traffic-objects.ts';
import { silentLog } from '../support/stage.ts';
import { until } from '../support/until.ts';

/** The planes on a real API server with its controllers, as a service account that has the shipped role and nothing else. */

const signal = new AbortController().signal;
const kinds = { ingress_nginx: ingressNginx, kubernetes_deployment: kubernetesDeployment, kubernetes_service: kubernetesService };
type Kind = keyof typeof kinds;
type Rule = { apiGroups: string[]; resources: string[]; verbs: string[] };

let kubernetes: RealKubernetes;
let worlds = 0;
beforeAll(async () => {
  kubernetes = await startRealKubernetes();
});
afterAll(async () => kubernetes[Symbol.asyncDispose]());

/** Gives the account of a namespace the shipped role, without what `isTaken` says. */
async function grant(kind: Kind, namespace: string, isTaken: (rule: Rule, verb: string) => boolean): Promise<string> {
  const token = await kubernetes.serviceAccountToken(namespace, 'rollbackd');
  const text = await readFile(new URL(`../../deploy/rbac/${kind.replace('_', '-')}.yaml`, import.meta.url), 'utf8');
  for (const document of parseAllDocuments(text)) {
    const object = document.toJS() as KubernetesObject & { rules?: Rule[]; subjects?: { namespace: string }[] };
    object.metadata.namespace = namespace;
    for (const subject of object.subjects ?? []) subject.namespace = namespace;
    for (const rule of object.rules ?? []) rule.verbs = rule.verbs.filter((verb) => !isTaken(rule, verb));
    if (object.rules !== undefined) object.rules = object.rules.filter((rule) => rule.verbs.length > 0);
    await kubernetes.client.create(object);
  }
  return token;
}

type World = ControlPlaneSetup & { readonly namespace: string };

/** Version 7 serves (as a canary with all of the weight behind an Ingress), version 6 is kept (a Deployment's) or stands beside it. */
async function start(kind: Kind, isTaken: (rule: Rule, verb: string) => boolean = () => false): Promise<World> {
  const stack = new AsyncDisposableStack();
  const namespace = await kubernetes.namespace(`world-${(worlds += 1)}`);
  const { client } = kubernetes;
  if (kind === 'kubernetes_deployment') {
    const template = (version: string) => ({
      metadata: { labels: { app: 'fraud', 'app.kubernetes.io/version': version } },
      spec: { containers: [{ name: 'server', image: `registry.example.org/fraud:${version}` }] },
    });
    await client.create(aDeployment({ name: 'fraud', namespace, image: '-', spec: { template: template('6') } }));
    await settled(namespace, 'fraud');
    await client.merge(`/apis/apps/v1/namespaces/${namespace}/deployments/fraud`, { spec: { template: template('7') } });
    await settled(namespace, 'fraud');
  } else {
    for (const [colour, version] of [
      ['blue', '6'],
      ['green', '7'],
    ] as const) {
      const labels = { app: 'fraud', version };
      const template = { metadata: { labels }, spec: { containers: [{ name: 'server', image: `registry.example.org/fraud:${version}` }] } };
      await client.create(aDeployment({ name: `fraud-${colour}`, namespace, image: '-', spec: { selector: { matchLabels: labels }, template } }));
      await settled(namespace, `fraud-${colour}`);
    }
    if (kind === 'kubernetes_service') await client.create(aService({ name: 'fraud', namespace, selector: { app: 'fraud', version: '7' } }));
    else {
      for (const version of ['6', '7']) await client.create(aService({ name: `fraud-v${version}`, namespace, selector: { app: 'fraud', version } }));
      await client.create(anIngress('fraud', 'fraud-v6', { affinity: 'cookie' }, { namespace }));
      await client.create(anIngress('fraud-canary', 'fraud-v7', { canary: 'true', 'canary-weight': '100' }, { namespace }));
    }
  }

  const token = await grant(kind, namespace, isTaken);
  const folder = await mkdtemp(join(tmpdir(), 'rollbackd-real-plane-'));
  stack.defer(async () => await rm(folder, { recursive: true }));
  let mutations = 0;
  let files = 0;
  const planeTo = async (server: string): Promise<ControlPlane> => {
    const kubeconfig = join(folder, `config-${(files += 1)}`);
    await writeFile(kubeconfig, kubeconfigText(server, kubernetes.ca, token, namespace));
    const plane = await kinds[kind].create(kinds[kind].config.parse(kind === 'ingress_nginx' ? { kubeconfig, propagation: '0s' } : { kubeconfig }), {
      clock: realClock,
      log: silentLog,
      memory: () => ({}),
      onRequest: (method) => {
        if (/^(patch|put|post|delete)/i.test(method)) mutations += 1;
      },
    });
    stack.defer(async () => await plane.close());
    return plane;
  };
  const plane = await planeTo(kubernetes.url);
  const keys = kind === 'ingress_nginx' ? { namespace, version_pattern: 'fraud-v(\\d+)' } : {};
  const target: PlaneTarget = { model: 'fraud', plane: kinds[kind].planeKeys.parse(keys) as PlaneTarget['plane'] };
  if (!isTakenAnything(isTaken)) {
    await until('version 7 to serve alone', async () => {
      const { serving, versions } = await plane.observe(target, { thorough: false }, signal);
      const other = versions.find(({ id }) => id === '6');
      return serving.length === 1 && serving[0]?.version === '7' && (kind === 'ingress_nginx' ? other?.state === 'available' : other !== undefined);
    });
    // A roll-out's last status writes come after the numbers are right.
    let token0: string | null = null;
    await until(
      'a quiet cluster',
      async () => {
        const before = token0;
        token0 = (await plane.observe(target, { thorough: false }, signal)).token;
        return before === token0;
      },
      { everyMs: 300 },
    );
  }
  mutations = 0;
  return {
    namespace,
    plane,
    target,
    from: '7',
    to: '6',
    remember: () => undefined,
    mutations: async () => mutations,
    unreachable: async () => await planeTo('https://127.0.0.1:1'),
    silent: async () => await planeTo(stack.use(await startSilence()).url),
    secret: token,
    [Symbol.asyncDispose]: async () => await stack.disposeAsync(),
  };
}

const noRule: Rule = { apiGroups: [], resources: [], verbs: [] };
function isTakenAnything(isTaken: (rule: Rule, verb: string) => boolean): boolean {
  return ['get', 'list', 'patch'].some((verb) =>
    ['deployments', 'replicasets', 'services', 'pods', 'endpointslices', 'ingresses'].some((resource) => isTaken({ ...noRule, resources: [resource] }, verb)),
  );
}

async function settled(namespace: string, name: string): Promise<void> {
  await until(`${name} to be rolled out`, async () => {
    const { metadata, status } = await kubernetes.client.get(`/apis/apps/v1/namespaces/${namespace}/deployments/${name}`);
    return (
      status?.['observedGeneration'] === metadata.generation &&
      status?.['updatedReplicas'] === 2 &&
      status['availableReplicas'] === 2 &&
      status['replicas'] === 2
    );
  });
}

for (const kind of Object.keys(kinds) as Kind[])
  describeControlPlane(`${kind}, on a real API server with its shipped role,`, async () => await start(kind), null);

describe('without a right of the shipped role, the error names it', () => {
  it.each<[Kind, string, string]>([
    ['kubernetes_deployment', 'deployments', 'get'],
    ['kubernetes_deployment', 'replicasets', 'list'],
    ['kubernetes_service', 'services', 'get'],
    ['kubernetes_service', 'endpointslices', 'list'],
    ['ingress_nginx', 'ingresses', 'get'],
    ['ingress_nginx', 'ingresses', 'list'],
    ['ingress_nginx', 'endpointslices', 'list'],
  ])('%s: %s %s', async (kind, resource, verb) => {
    await using world = await start(kind, (rule, each) => rule.resources.includes(resource) && each === verb);

    const error: unknown = await world.plane.observe(world.target, { thorough: true }, signal).catch((cause: unknown) => cause);

    expect(error).toMatchObject({ class: 'auth', message: expect.stringMatching(new RegExp(`cannot ${verb} resource "${resource}"`)) });
  });

  it.each<[Kind, string]>([
    ['kubernetes_deployment', 'deployments'],
    ['kubernetes_service', 'services'],
    ['ingress_nginx', 'ingresses'],
  ])('%s: %s patch, and nothing moves', async (kind, resource) => {
    await using world = await start(kind, (rule, verb) => rule.resources.includes(resource) && verb === 'patch');

    await expect(reach(world, all('6'))).rejects.toThrow(new RegExp(`cannot patch resource "${resource}"`));

    expect((await world.plane.observe(world.target, { thorough: false }, signal)).serving).toEqual([{ version: '7', share: 1 }]);
  });
});

it('the generation of an Ingress does not move with its annotations, so resourceVersion guards them', async () => {
  await using world = await start('ingress_nginx');
  const path = `/apis/networking.k8s.io/v1/namespaces/${world.namespace}/ingresses/fraud-canary`;
  const before = await kubernetes.client.get(path);
  const plan = world.plane.plan(world.target, await world.plane.observe(world.target, { thorough: true }, signal), all('6'));
  const [step] = plan.kind === 'steps' ? plan.steps : [];
  if (step === undefined) throw new Error(JSON.stringify(plan));

  const outcomes = await Promise.all(
    [1, 2, 3].map(async () => await world.plane.apply(world.target, step, { inverse: false, opId: 'rb_1', epoch: 1 }, signal)),
  );

  expect(outcomes.filter(({ kind }) => kind === 'applied')).toHaveLength(1);
  const after = await kubernetes.client.get(path);
  expect(after.metadata.generation).toBe(before.metadata.generation);
  expect(after.metadata.annotations).toMatchObject({
    'nginx.ingress.kubernetes.io/canary': 'true',
    'nginx.ingress.kubernetes.io/canary-weight': '0',
    'nginx.ingress.kubernetes.io/affinity-canary-behavior': 'legacy',
  });
});
