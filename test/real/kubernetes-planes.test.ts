import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { realClock } from '../../src/adapters/clock/real-clock.ts';
import { kubernetesDeployment } from '../../src/adapters/control-planes/kubernetes-deployment/index.ts';
import { kubernetesService } from '../../src/adapters/control-planes/kubernetes-service/index.ts';
import type { ControlPlane, PlaneTarget } from '../../src/domain/ports.ts';
import { all, type ControlPlaneSetup, describeControlPlane, reach } from '../contract/control-plane.ts';
import type { KubernetesObject } from '../support/kubernetes/kubernetes-object.ts';
import { startSilence } from '../support/kubernetes/kubernetes-plane.ts';
import { aDeployment, aService } from '../support/kubernetes/objects.ts';
import { kubeconfigText, type RealKubernetes, startRealKubernetes } from '../support/kubernetes/real-kubernetes.ts';
import { silentLog } from '../support/stage.ts';
import { until } from '../support/until.ts';

/** The planes on a real API server with its controllers, as a service account that has the shipped role and nothing else. */

const signal = new AbortController().signal;
const kinds = { kubernetes_deployment: kubernetesDeployment, kubernetes_service: kubernetesService };
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

/** Version 7 serves, version 6 is kept (a Deployment's) or stands beside it (a Service's). */
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
    await client.create(aService({ name: 'fraud', namespace, selector: { app: 'fraud', version: '7' } }));
  }

  const token = await grant(kind, namespace, isTaken);
  const folder = await mkdtemp(join(tmpdir(), 'rollbackd-real-plane-'));
  stack.defer(async () => await rm(folder, { recursive: true }));
  let mutations = 0;
  let files = 0;
  const planeTo = async (server: string): Promise<ControlPlane> => {
    const kubeconfig = join(folder, `config-${(files += 1)}`);
    await writeFile(kubeconfig, kubeconfigText(server, kubernetes.ca, token, namespace));
    const plane = await kinds[kind].create(kinds[kind].config.parse({ kubeconfig }), {
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
  const target: PlaneTarget = { model: 'fraud', plane: kinds[kind].planeKeys.parse({}) as PlaneTarget['plane'] };
  if (!isTakenAnything(isTaken)) {
    await until('version 7 to serve alone', async () => {
      const { serving, versions } = await plane.observe(target, { thorough: false }, signal);
      return serving.length === 1 && serving[0]?.version === '7' && versions.some(({ id }) => id === '6');
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
    ['deployments', 'replicasets', 'services', 'pods', 'endpointslices'].some((resource) => isTaken({ ...noRule, resources: [resource] }, verb)),
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

for (const kind of Object.keys(kinds) as Kind[]) describeControlPlane(`${kind}, on a real API server with its shipped role,`, async () => await start(kind));

describe('without a right of the shipped role, the error names it', () => {
  it.each<[Kind, string, string]>([
    ['kubernetes_deployment', 'deployments', 'get'],
    ['kubernetes_deployment', 'replicasets', 'list'],
    ['kubernetes_service', 'services', 'get'],
    ['kubernetes_service', 'endpointslices', 'list'],
  ])('%s: %s %s', async (kind, resource, verb) => {
    await using world = await start(kind, (rule, each) => rule.resources.includes(resource) && each === verb);

    const error: unknown = await world.plane.observe(world.target, { thorough: true }, signal).catch((cause: unknown) => cause);

    expect(error).toMatchObject({ class: 'auth', message: expect.stringMatching(new RegExp(`cannot ${verb} resource "${resource}"`)) });
  });

  it.each<[Kind, string]>([
    ['kubernetes_deployment', 'deployments'],
    ['kubernetes_service', 'services'],
  ])('%s: %s patch, and nothing moves', async (kind, resource) => {
    await using world = await start(kind, (rule, verb) => rule.resources.includes(resource) && verb === 'patch');

    await expect(reach(world, all('6'))).rejects.toThrow(new RegExp(`cannot patch resource "${resource}"`));

    expect((await world.plane.observe(world.target, { thorough: false }, signal)).serving).toEqual([{ version: '7', share: 1 }]);
  });
});
