import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { containersOf } from '../support/kubernetes/kubelet.ts';
import type { KubernetesObject } from '../support/kubernetes/kubernetes-object.ts';
import { aDeployment, aService } from '../support/kubernetes/objects.ts';
import { type RealKubernetes, startRealKubernetes } from '../support/kubernetes/real-kubernetes.ts';
import { describeKubernetesWire } from '../support/kubernetes/wire-rules.ts';
import { until } from '../support/until.ts';

let kubernetes: RealKubernetes;
beforeAll(async () => {
  kubernetes = await startRealKubernetes();
});
afterAll(async () => kubernetes[Symbol.asyncDispose]());

// The fake of the unit tests is held to the same.
describeKubernetesWire('the real server', async () => {
  const namespace = await kubernetes.namespace('wire');
  return { client: kubernetes.client, namespace, settleMs: 300, [Symbol.asyncDispose]: async () => undefined };
});

describe('the parts around the real server', () => {
  const deployments = '/apis/apps/v1/namespaces/parts/deployments';
  const condition = (object: KubernetesObject, type: string): Record<string, unknown> | undefined =>
    ((object.status?.['conditions'] ?? []) as Record<string, unknown>[]).find((one) => one['type'] === type);

  beforeAll(async () => {
    await kubernetes.namespace('parts');
  });

  it('roll a Deployment out, report one that is stuck, and let its Service follow', async () => {
    const { client, kubelet } = kubernetes;
    await kubelet.decideAnew((pod) => (String(containersOf(pod)[0]?.['image']).endsWith(':bad') ? { waiting: 'ImagePullBackOff' } : 'ready'));
    await client.create(
      aDeployment({ name: 'fraud', namespace: 'parts', image: 'registry.example.org/fraud:1', replicas: 2, spec: { progressDeadlineSeconds: 3 } }),
    );
    await client.create(aService({ name: 'fraud', namespace: 'parts', selector: { app: 'fraud' } }));
    await until('two ready endpoints', async () => {
      const slices = await client.list('/apis/discovery.k8s.io/v1/namespaces/parts/endpointslices', { labelSelector: 'kubernetes.io/service-name=fraud' });
      const endpoints = slices.flatMap((slice) => (slice['endpoints'] ?? []) as { conditions?: { ready?: boolean } }[]);
      return endpoints.filter((endpoint) => endpoint.conditions?.ready === true).length === 2;
    });

    await client.merge(`${deployments}/fraud`, {
      spec: { template: { spec: { containers: [{ name: 'server', image: 'registry.example.org/fraud:bad' }] } } },
    });
    const stuck = await until('the progress deadline', async () => {
      const found = await client.get(`${deployments}/fraud`);
      return condition(found, 'Progressing')?.['reason'] === 'ProgressDeadlineExceeded' && found;
    });

    expect(stuck.status).toMatchObject({ availableReplicas: 2 });
    const sets = await client.list('/apis/apps/v1/namespaces/parts/replicasets', { labelSelector: 'app=fraud' });
    expect(sets).toHaveLength(2);
  });

  it('hold a service account to its roles', async () => {
    const token = await kubernetes.serviceAccountToken('parts', 'rollbackd');
    const answer = await kubernetes.clientFor(token).request('GET', `${deployments}/fraud`);

    expect(answer).toMatchObject({
      status: 403,
      body: {
        message:
          'deployments.apps "fraud" is forbidden: User "system:serviceaccount:parts:rollbackd" cannot get resource "deployments" in API group "apps" in the namespace "parts"',
      },
    });
  });
});
