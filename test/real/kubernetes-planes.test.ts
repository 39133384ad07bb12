import { afterAll, beforeAll, expect, it } from 'vitest';
import { ingressNginx } from '../../src/adapters/control-planes/ingress-nginx/index.ts';
import { kubernetesDeployment } from '../../src/adapters/control-planes/kubernetes-deployment/index.ts';
import { kubernetesService } from '../../src/adapters/control-planes/kubernetes-service/index.ts';
import { all, describeControlPlane } from '../contract/control-plane.ts';
import { describeMissingRights } from '../support/kubernetes/missing-rights.ts';
import { aDeployment, aService } from '../support/kubernetes/objects.ts';
import { type RealKubernetes, startRealKubernetes } from '../support/kubernetes/real-kubernetes.ts';
import { type RealScene, setRealPlaneStage } from '../support/kubernetes/real-plane-stage.ts';
import { anIngress } from '../support/kubernetes/traffic-objects.ts';
import { until } from '../support/until.ts';

/** The planes on a real API server with its controllers, as a service account that has the shipped role and nothing else. */

let kubernetes: RealKubernetes;
beforeAll(async () => {
  kubernetes = await startRealKubernetes();
});
afterAll(async () => kubernetes[Symbol.asyncDispose]());

const image = (version: string): string => `registry.example.org/fraud:${version}`;

/** Version 7 serves, version 6 is kept. */
const deployment: RealScene = {
  kind: kubernetesDeployment,
  from: '7',
  to: '6',
  fill: async (namespace) => {
    const template = (version: string) => ({
      metadata: { labels: { app: 'fraud', 'app.kubernetes.io/version': version } },
      spec: { containers: [{ name: 'server', image: image(version) }] },
    });
    await kubernetes.client.create(aDeployment({ name: 'fraud', namespace, image: '-', spec: { template: template('6') } }));
    await rolledOut(namespace, 'fraud');
    await kubernetes.client.merge(`/apis/apps/v1/namespaces/${namespace}/deployments/fraud`, { spec: { template: template('7') } });
    await rolledOut(namespace, 'fraud');
    return { keys: {} };
  },
};

/** Both versions, each with Pods of its own. */
async function colours(namespace: string): Promise<void> {
  for (const [colour, version] of [
    ['blue', '6'],
    ['green', '7'],
  ] as const) {
    const labels = { app: 'fraud', version };
    const template = { metadata: { labels }, spec: { containers: [{ name: 'server', image: image(version) }] } };
    await kubernetes.client.create(aDeployment({ name: `fraud-${colour}`, namespace, image: '-', spec: { selector: { matchLabels: labels }, template } }));
    await rolledOut(namespace, `fraud-${colour}`);
  }
}

/** Version 7 serves, version 6 stands beside it. */
const service: RealScene = {
  kind: kubernetesService,
  from: '7',
  to: '6',
  fill: async (namespace) => {
    await colours(namespace);
    await kubernetes.client.create(aService({ name: 'fraud', namespace, selector: { app: 'fraud', version: '7' } }));
    return { keys: {} };
  },
};

/** Version 7 serves as a canary with all of the weight. */
const ingress: RealScene = {
  kind: ingressNginx,
  from: '7',
  to: '6',
  fill: async (namespace) => {
    const { client } = kubernetes;
    await colours(namespace);
    for (const version of ['6', '7']) await client.create(aService({ name: `fraud-v${version}`, namespace, selector: { app: 'fraud', version } }));
    await client.create(anIngress('fraud', 'fraud-v6', { affinity: 'cookie' }, { namespace }));
    await client.create(anIngress('fraud-canary', 'fraud-v7', { canary: 'true', 'canary-weight': '100' }, { namespace }));
    return { keys: { namespace, version_pattern: 'fraud-v(\\d+)' }, config: { propagation: '0s' } };
  },
};

async function rolledOut(namespace: string, name: string): Promise<void> {
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

for (const scene of [deployment, service, ingress])
  describeControlPlane(`${scene.kind.kind}, on a real API server with its shipped role,`, async () => await setRealPlaneStage(kubernetes, scene), null);

describeMissingRights(
  () => kubernetes,
  [
    {
      scene: deployment,
      reads: [
        ['deployments', 'get'],
        ['replicasets', 'list'],
      ],
      writes: 'deployments',
    },
    {
      scene: service,
      reads: [
        ['services', 'get'],
        ['endpointslices', 'list'],
      ],
      writes: 'services',
    },
    {
      scene: ingress,
      reads: [
        ['ingresses', 'get'],
        ['ingresses', 'list'],
        ['endpointslices', 'list'],
      ],
      writes: 'ingresses',
    },
  ],
);

it('the generation of an Ingress does not move with its annotations, so resourceVersion guards them', async () => {
  await using stage = await setRealPlaneStage(kubernetes, ingress);
  const signal = new AbortController().signal;
  const path = `/apis/networking.k8s.io/v1/namespaces/${stage.namespace}/ingresses/fraud-canary`;
  const before = await kubernetes.client.get(path);
  const plan = stage.plane.plan(stage.target, await stage.plane.observe(stage.target, { thorough: true }, signal), all('6'));
  const [step] = plan.kind === 'steps' ? plan.steps : [];
  if (step === undefined) throw new Error(JSON.stringify(plan));

  const outcomes = await Promise.all(
    [1, 2, 3].map(async () => await stage.plane.apply(stage.target, step, { inverse: false, opId: 'rb_1', epoch: 1 }, signal)),
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
