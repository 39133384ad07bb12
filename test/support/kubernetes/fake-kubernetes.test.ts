import { request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { startFakeKubernetes } from './fake-kubernetes.ts';
import { KubernetesTestClient } from './kubernetes-client.ts';
import type { KubernetesObject } from './kubernetes-object.ts';
import { aDeployment, aService } from './objects.ts';
import { describeKubernetesWire } from './wire-rules.ts';

describeKubernetesWire('the fake', async () => {
  const fake = await startFakeKubernetes({ namespaces: ['wire'] });
  return { client: fake.client, namespace: 'wire', settleMs: 0, [Symbol.asyncDispose]: async () => fake[Symbol.asyncDispose]() };
});

const deployments = '/apis/apps/v1/namespaces/default/deployments';

/** Somebody else than the test's own client. */
function somebody(url: string, token: string | null = null): KubernetesTestClient {
  return new KubernetesTestClient({ url, token, ca: null, userAgent: 'somebody/1' });
}

describe('the fake API server', () => {
  it('counts what others send, and logs it', async () => {
    await using fake = await startFakeKubernetes();
    const other = somebody(fake.url);
    await fake.client.create(aDeployment({ name: 'd', image: 'a:1' }));

    await other.get(`${deployments}/d`);
    await other.merge(`${deployments}/d`, { spec: { replicas: 3 } });
    await other.request('PATCH', `${deployments}/d`, { body: {}, contentType: 'application/merge-patch+json', query: { dryRun: 'All' } });

    expect(fake.mutations()).toBe(1);
    expect(fake.requests.map(({ method, path, status }) => `${method} ${path} ${status}`)).toEqual([
      `GET ${deployments}/d 200`,
      `PATCH ${deployments}/d 200`,
      `PATCH ${deployments}/d 200`,
    ]);
    other.close();
  });

  it.each([401, 403, 404, 409, 422, 429, 500, 503] as const)('answers %i when told to, as often as told', async (status) => {
    await using fake = await startFakeKubernetes();
    await fake.client.create(aDeployment({ name: 'd', image: 'a:1' }));
    const other = somebody(fake.url);
    fake.fail({ method: 'PATCH', path: '/deployments/d' }, status, { times: 1 });
    const patch = async () => other.request('PATCH', `${deployments}/d`, { body: { spec: { replicas: 3 } }, contentType: 'application/merge-patch+json' });

    const first = await patch();
    const replicas = (await fake.client.get(`${deployments}/d`)).spec?.['replicas'];

    expect([first.status, replicas, (await patch()).status]).toEqual([status, 2, 200]);
    expect(first.headers['retry-after']).toBe(status === 429 ? '1' : undefined);
    other.close();
  });

  it.each([
    ['timeout after send', 3, 'aborted'],
    ['hang', 2, 'aborted'],
    ['reset after send', 3, 'socket hang up'],
    ['reset', 2, 'socket hang up'],
  ] as const)('can make a request end with %s', async (fault, replicas, ending) => {
    await using fake = await startFakeKubernetes();
    await fake.client.create(aDeployment({ name: 'd', image: 'a:1' }));
    fake.fail({ method: 'PATCH' }, fault);

    const outcome = await new Promise<string>((resolve) => {
      const patch = request(
        `${fake.url}${deployments}/d`,
        { method: 'PATCH', signal: AbortSignal.timeout(200), headers: { 'content-type': 'application/merge-patch+json' } },
        () => resolve('answered'),
      );
      patch.on('error', (error) => resolve(error.name === 'AbortError' ? 'aborted' : error.message));
      patch.end(JSON.stringify({ spec: { replicas: 3 } }));
    });

    expect(outcome).toBe(ending);
    expect((await fake.client.get(`${deployments}/d`)).spec?.['replicas']).toBe(replicas);
  });

  it('lets in who has a token, and a token goes out of date', async () => {
    await using fake = await startFakeKubernetes({ tokens: { first: { name: 'worker', groups: ['system:masters'] } } });
    const other = somebody(fake.url, 'first');

    expect((await other.request('GET', deployments)).status).toBe(200);
    fake.tokens.delete('first');
    expect(await other.request('GET', deployments)).toMatchObject({ status: 401, body: { reason: 'Unauthorized', message: 'Unauthorized' } });
    other.close();
  });

  it('holds a service account to its Role, by names', async () => {
    await using fake = await startFakeKubernetes({ rbac: true, tokens: { t: { name: 'system:serviceaccount:default:rollbackd', groups: [] } } });
    await fake.client.create(aDeployment({ name: 'd', image: 'a:1' }));
    await fake.client.create({
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'Role',
      metadata: { name: 'r', namespace: 'default' },
      rules: [{ apiGroups: ['apps'], resources: ['deployments'], verbs: ['get', 'list', 'watch'], resourceNames: ['d'] }],
    });
    await fake.client.create({
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'RoleBinding',
      metadata: { name: 'r', namespace: 'default' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'r' },
      subjects: [{ kind: 'ServiceAccount', name: 'rollbackd', namespace: 'default' }],
    });
    const other = somebody(fake.url, 't');
    const review = async (verb: string): Promise<unknown> => {
      const body = { spec: { resourceAttributes: { namespace: 'default', verb, group: 'apps', resource: 'deployments', name: 'd' } } };
      return (await other.request('POST', '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews', { body })).body['status'];
    };

    expect((await other.request('GET', `${deployments}/d`)).status).toBe(200);
    expect((await other.request('GET', deployments, { query: { fieldSelector: 'metadata.name=d' } })).status).toBe(200);
    expect((await other.request('GET', deployments)).status).toBe(403);
    const refused = await other.request('PATCH', `${deployments}/d`, { body: {}, contentType: 'application/merge-patch+json' });
    expect(refused).toMatchObject({
      status: 403,
      body: {
        reason: 'Forbidden',
        message:
          'deployments.apps "d" is forbidden: User "system:serviceaccount:default:rollbackd" cannot patch resource "deployments" in API group "apps" in the namespace "default"',
      },
    });
    expect([await review('get'), await review('patch')]).toMatchObject([{ allowed: true }, { allowed: false }]);
    other.close();
  });

  it('asks webhooks, and passes on what they say', async () => {
    await using fake = await startFakeKubernetes();
    await fake.client.create(aDeployment({ name: 'd', image: 'a:1' }));
    const patch = async () =>
      fake.client.request('PATCH', `${deployments}/d`, { body: { spec: { replicas: 9 } }, contentType: 'application/merge-patch+json' });

    const takeAway = fake.addWebhook({ name: 'quota.example.org', review: ({ object }) => (object?.spec?.['replicas'] === 9 ? { deny: 'too many' } : null) });
    expect(await patch()).toMatchObject({ status: 403, body: { message: 'admission webhook "quota.example.org" denied the request: too many' } });
    takeAway();
    fake.addWebhook({ name: 'dead.example.org', review: () => ({ fail: 'connection refused' }) });
    expect(await patch()).toMatchObject({
      status: 500,
      body: {
        reason: 'InternalError',
        message: 'Internal error occurred: failed calling webhook "dead.example.org": failed to call webhook: connection refused',
      },
    });
  });

  it('tells a watch from a forgotten version that it is expired, with 200', async () => {
    await using fake = await startFakeKubernetes();
    const { metadata } = await fake.client.create(aService({ name: 's', selector: { app: 'a' } }));
    fake.compact();

    const answer = await fake.client.request('GET', '/api/v1/namespaces/default/services', {
      query: { watch: '1', resourceVersion: metadata.resourceVersion ?? '' },
    });

    expect(answer.status).toBe(200);
    expect(answer.body).toMatchObject({
      type: 'ERROR',
      object: { kind: 'Status', code: 410, reason: 'Expired', message: expect.stringMatching(/^too old resource version: /) },
    });
  });

  it('streams to a watch that goes on, through a restart', async () => {
    await using fake = await startFakeKubernetes();
    const seen: string[] = [];
    const stop = new AbortController();
    const following = fake.client.watch('/api/v1/namespaces/default/services', {}, (type, { metadata }) => seen.push(`${type} ${metadata.name}`), stop.signal);
    const until = async (condition: () => boolean): Promise<void> => {
      while (!condition()) await sleep(5);
    };

    await until(() => fake.watches === 1);
    await fake.client.create(aService({ name: 'a', selector: { app: 'a' } }));
    await until(() => seen.includes('ADDED a'));
    fake.endWatches();
    await fake.client.create(aService({ name: 'b', selector: { app: 'a' } }));
    await until(() => seen.includes('ADDED b'));
    stop.abort();
    await following;

    expect(fake.watches).toBeLessThanOrEqual(1);
  });

  it('removes what a removed object owned', async () => {
    await using fake = await startFakeKubernetes();
    const owner = await fake.client.create(aDeployment({ name: 'd', image: 'a:1' }));
    const owned: KubernetesObject = {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'c', ownerReferences: [{ apiVersion: 'apps/v1', kind: 'Deployment', name: 'd', uid: owner.metadata.uid ?? '', controller: true }] },
    };
    await fake.client.create(owned);

    await fake.client.remove(`${deployments}/d`);

    expect(await fake.client.find('/api/v1/namespaces/default/configmaps/c')).toBeNull();
  });
});
