import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import nock from 'nock';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { noNetwork } from '../../../test/support/no-network.ts';
import type { Log } from '../../domain/ports.ts';
import { kubernetesAccess } from './access.ts';
import { createKubernetesClient, type KubernetesClient } from './client.ts';
import { KubernetesError } from './errors.ts';
import { resourcePath } from './object.ts';

noNetwork();

const token = 'planted-t0ken';
const signal = new AbortController().signal;
const deployments = { group: 'apps', version: 'v1', resource: 'deployments' };
const path = resourcePath(deployments, 'shop', 'ranker');
const host = 'https://10.96.0.1:443';
const log: Log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined, child: () => log };

let folder = '';
let requests: string[] = [];
let clock = new FakeClock();

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'rollbackd-kubernetes-'));
  mkdirSync(join(folder, 'account'));
  writeFileSync(join(folder, 'account', 'token'), `${token}\n`);
  writeFileSync(join(folder, 'account', 'namespace'), 'shop\n');
  writeFileSync(join(folder, 'account', 'ca.crt'), '');
  requests = [];
  clock = new FakeClock();
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

function inCluster(): KubernetesClient {
  return createKubernetesClient(kubernetesAccess.parse({}), {
    clock,
    log,
    environment: { KUBERNETES_SERVICE_HOST: '10.96.0.1', KUBERNETES_SERVICE_PORT: '443' },
    serviceAccountFolder: join(folder, 'account'),
    onRequest: (method, code) => requests.push(`${method} ${code}`),
  });
}

function anObject(changes: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'ranker', namespace: 'shop', uid: 'u1', resourceVersion: '7', generation: 3 },
    ...changes,
  };
}

function aStatus(code: number, reason: string, message: string, details?: Record<string, unknown>): Record<string, unknown> {
  return { kind: 'Status', apiVersion: 'v1', status: 'Failure', code, reason, message, ...(details === undefined ? {} : { details }) };
}

async function failureOf(call: Promise<unknown>): Promise<KubernetesError> {
  const error: unknown = await call.then(
    () => new Error('did not fail'),
    (thrown: unknown) => thrown,
  );
  if (error instanceof KubernetesError) return error;
  throw new Error('not a KubernetesError', { cause: error });
}

/** Every declared exchange has begun. */
async function sent(): Promise<void> {
  while (nock.pendingMocks().length > 0) await new Promise((resolve) => setImmediate(resolve));
}

describe('the client in a pod', () => {
  it('asks with the service account, and reads its token afresh', async () => {
    nock(host, { reqheaders: { authorization: `Bearer ${token}`, accept: 'application/json' } })
      .get(path)
      .reply(200, anObject());
    nock(host, { reqheaders: { authorization: 'Bearer rotated' } })
      .get(path)
      .reply(200, anObject());
    const client = inCluster();

    const first = await client.get(path, signal);
    writeFileSync(join(folder, 'account', 'token'), 'rotated');
    await client.get(path, signal);

    expect(first.metadata).toMatchObject({ name: 'ranker', uid: 'u1', resourceVersion: '7', generation: 3 });
    expect(await client.defaultNamespace(signal)).toBe('shop');
    expect(requests).toEqual(['GET deployments 200', 'GET deployments 200']);
  });

  it('says what is missing where there is no cluster', async () => {
    const client = createKubernetesClient(kubernetesAccess.parse({}), { clock, log });

    expect(await failureOf(client.get(path, signal))).toMatchObject({ class: 'permanent', message: expect.stringContaining('give kubeconfig') });
  });

  it('says what is missing where the pod mounts no service account', async () => {
    rmSync(join(folder, 'account', 'namespace'));

    expect(await failureOf(inCluster().get(path, signal))).toMatchObject({ class: 'auth', message: expect.stringContaining('automountServiceAccountToken') });
  });

  it('follows every page of a list', async () => {
    const pods = resourcePath({ group: '', version: 'v1', resource: 'pods' }, 'shop');
    nock(host)
      .get(pods)
      .query({ labelSelector: 'app=ranker', limit: '500' })
      .reply(200, { metadata: { resourceVersion: '9', continue: 'n+1' }, items: [anObject()] });
    nock(host)
      .get(pods)
      .query({ labelSelector: 'app=ranker', limit: '500', continue: 'n+1' })
      .reply(200, { metadata: { resourceVersion: '9' }, items: [anObject()] });

    expect(await inCluster().list(pods, { labelSelector: 'app=ranker' }, signal)).toMatchObject({ resourceVersion: '9', items: [{}, {}] });
  });

  it('starts a list anew when its pages have expired', async () => {
    const pods = resourcePath({ group: '', version: 'v1', resource: 'pods' }, 'shop');
    nock(host)
      .get(pods)
      .query({ limit: '500' })
      .reply(200, { metadata: { continue: 'old' }, items: [anObject()] });
    nock(host)
      .get(pods)
      .query({ limit: '500', continue: 'old' })
      .reply(410, aStatus(410, 'Expired', 'The provided continue parameter is too old'));
    nock(host)
      .get(pods)
      .query({})
      .reply(200, { metadata: { resourceVersion: '12' }, items: [anObject(), anObject(), anObject()] });

    expect((await inCluster().list(pods, {}, signal)).items).toHaveLength(3);
  });

  it('takes an empty list that says null', async () => {
    nock(host)
      .get(/pods/)
      .reply(200, { metadata: { resourceVersion: '1' }, items: null });

    expect((await inCluster().list('/api/v1/namespaces/shop/pods', {}, signal)).items).toEqual([]);
  });

  it.each([
    ['json', 'application/json-patch+json', [{ op: 'test', path: '/metadata/uid', value: 'u1' }]],
    ['merge', 'application/merge-patch+json', { spec: { paused: true } }],
  ] as const)('sends a %s patch under its own name', async (type, contentType, body) => {
    nock(host, { reqheaders: { 'content-type': contentType } })
      .patch(path, body as nock.RequestBodyMatcher)
      .query({ fieldManager: 'rollbackd', dryRun: 'All' })
      .reply(200, anObject());

    const patch = { type, body, query: { dryRun: 'All' } } as Parameters<KubernetesClient['patch']>[1];
    expect(await inCluster().patch(path, patch, signal)).toMatchObject({ metadata: { uid: 'u1' } });
  });

  it('creates and replaces objects', async () => {
    const leases = resourcePath({ group: 'coordination.k8s.io', version: 'v1', resource: 'leases' }, 'shop');
    nock(host, { reqheaders: { 'content-type': 'application/json' } })
      .post(leases, { spec: {} })
      .query({ fieldManager: 'rollbackd' })
      .reply(201, anObject());
    nock(host, { reqheaders: { 'content-type': 'application/json' } })
      .put(`${leases}/a`, { spec: {} })
      .query({ fieldManager: 'rollbackd' })
      .reply(200, anObject());
    const client = inCluster();

    await client.post(leases, { spec: {} }, signal);
    await client.put(`${leases}/a`, { spec: {} }, signal);

    expect(requests).toEqual(['POST leases 201', 'PUT leases 200']);
  });

  it('asks for its own rights', async () => {
    nock(host)
      .post('/apis/authorization.k8s.io/v1/selfsubjectaccessreviews', (body: { spec: unknown }) => {
        expect(body.spec).toEqual({ resourceAttributes: { verb: 'patch', group: 'apps', resource: 'deployments', namespace: 'shop', name: 'ranker' } });
        return true;
      })
      .reply(201, { status: { allowed: false, reason: 'no RBAC policy matched' } });

    const question = { verb: 'patch', group: 'apps', resource: 'deployments', namespace: 'shop', name: 'ranker' };
    expect(await inCluster().selfSubjectAccessReview(question, signal)).toEqual({ allowed: false, reason: 'no RBAC policy matched' });
  });

  it.each([
    [500, 'oops'],
    [201, '{"status": 1}'],
    [201, 'no JSON'],
  ])('never leaves open whether it may: %i %s to a question about rights is a reading that failed', async (status, body) => {
    nock(host).post('/apis/authorization.k8s.io/v1/selfsubjectaccessreviews').reply(status, body);

    const error = await failureOf(inCluster().selfSubjectAccessReview({ verb: 'get', group: '', resource: 'pods', namespace: 'shop' }, signal));
    expect(error.class).toBe('transient');
  });

  it('tells an object that is not there from a kind that is not there', async () => {
    nock(host)
      .get(path)
      .reply(404, aStatus(404, 'NotFound', 'deployments.apps "ranker" not found'));
    nock(host).get('/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes/a').reply(404, '404 page not found\n');
    const client = inCluster();

    expect(await client.find(path, signal)).toBeNull();
    const error = await failureOf(client.find('/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes/a', signal));
    expect(error).toMatchObject({ class: 'permanent', status: 404, message: expect.stringContaining('CustomResourceDefinition') });
  });

  it('tries once more with fresh credentials after a 401, then says so', async () => {
    nock(host)
      .patch(path)
      .query(true)
      .reply(401, aStatus(401, 'Unauthorized', 'Unauthorized'));
    nock(host).patch(path).query(true).reply(200, anObject());
    nock(host)
      .get(path)
      .times(2)
      .reply(401, aStatus(401, 'Unauthorized', 'Unauthorized'));
    const client = inCluster();

    expect(await client.patch(path, { type: 'merge', body: {} }, signal)).toMatchObject({ metadata: { uid: 'u1' } });
    expect(await failureOf(client.get(path, signal))).toMatchObject({
      class: 'auth',
      status: 401,
      message: expect.stringContaining('credentials are refused'),
    });
  });

  const forbidden =
    'deployments.apps "ranker" is forbidden: User "system:serviceaccount:shop:rollbackd" cannot patch resource "deployments" in API group "apps" in the namespace "shop"';
  it.each([
    ['400', 400, aStatus(400, 'BadRequest', 'bad'), 'permanent'],
    ['403 without the right', 403, aStatus(403, 'Forbidden', forbidden), 'auth'],
    ['403 of a webhook', 403, aStatus(403, 'Forbidden', 'admission webhook "a.b.c" denied the request: no'), 'permanent'],
    ['403 of a policy', 403, aStatus(403, 'Forbidden', "ValidatingAdmissionPolicy 'a' with binding 'b' denied request: no"), 'permanent'],
    ['403 of a quota', 403, aStatus(403, 'Forbidden', 'pods "a" is forbidden: exceeded quota: compute'), 'permanent'],
    ['404', 404, aStatus(404, 'NotFound', 'not found'), 'permanent'],
    ['408', 408, {}, 'transient'],
    ['409', 409, aStatus(409, 'Conflict', 'the object has been modified'), 'conflict'],
    ['415', 415, aStatus(415, 'UnsupportedMediaType', 'no'), 'permanent'],
    ['422', 422, aStatus(422, 'Invalid', 'the server rejected our request due to an error in our request'), 'permanent'],
    ['429', 429, aStatus(429, 'TooManyRequests', 'slow down'), 'transient'],
    ['500', 500, aStatus(500, 'InternalError', 'boom'), 'indeterminate'],
    ['500 of a webhook that is away', 500, aStatus(500, 'InternalError', 'Internal error occurred: failed calling webhook "a": timeout'), 'transient'],
    ['500 ServerTimeout', 500, aStatus(500, 'ServerTimeout', 'try again later'), 'transient'],
    ['502', 502, '<html>', 'transient'],
    ['503', 503, 'no endpoints', 'transient'],
    ['504', 504, aStatus(504, 'Timeout', 'request did not complete within the allotted timeout'), 'indeterminate'],
  ] as const)('classes a %s', async (_name, status, body, expected) => {
    nock(host).patch(path).query(true).reply(status, body);

    expect(await failureOf(inCluster().patch(path, { type: 'merge', body: {} }, signal))).toMatchObject({ class: expected, status });
  });

  it('names the missing right in its own words', async () => {
    nock(host)
      .patch(path)
      .query(true)
      .reply(403, aStatus(403, 'Forbidden', forbidden));

    const { message } = await failureOf(inCluster().patch(path, { type: 'merge', body: {} }, signal));
    expect(message).toBe(
      `kubernetes: PATCH ${path}: answered 403 (Forbidden): ${forbidden}; grant this right (the README of the control plane has the role it needs)`,
    );
  });

  it('hands on how long to wait', async () => {
    nock(host)
      .get(path)
      .reply(429, aStatus(429, 'TooManyRequests', ''), { 'Retry-After': '2' });
    nock(host)
      .get(path)
      .reply(429, aStatus(429, 'TooManyRequests', '', { retryAfterSeconds: 5 }));
    const client = inCluster();

    expect((await failureOf(client.get(path, signal))).retryAfterMs).toBe(2_000);
    expect((await failureOf(client.get(path, signal))).retryAfterMs).toBe(5_000);
  });

  it.each([
    ['ECONNREFUSED', 'transient'],
    ['ENOTFOUND', 'transient'],
    ['ECONNRESET', 'indeterminate'],
    ['EPIPE', 'indeterminate'],
    ['CERT_HAS_EXPIRED', 'auth'],
  ])('classes %s', async (code, expected) => {
    nock(host)
      .patch(path)
      .query(true)
      .replyWithError(Object.assign(new Error('failed'), { code }));

    expect(await failureOf(inCluster().patch(path, { type: 'merge', body: {} }, signal))).toMatchObject({ class: expected, status: null });
    expect(requests).toEqual([`PATCH deployments ${code}`]);
  });

  it('does not know what became of a write that got no answer in time', async () => {
    nock(host).patch(path).query(true).delay(60_000).reply(200, anObject());
    const failure = failureOf(inCluster().patch(path, { type: 'merge', body: {} }, signal));

    await sent();
    await clock.advance(10_000);

    expect(await failure).toMatchObject({ class: 'indeterminate', message: expect.stringContaining('no whole answer within 10000 ms') });
  });

  it('obeys an abort: a read rejects with its reason, a write that was under way is open', async () => {
    nock(host).get(path).delay(60_000).reply(200, anObject());
    nock(host).patch(path).query(true).delay(60_000).reply(200, anObject());
    const giveUp = new AbortController();
    const client = inCluster();
    const reading = client.get(path, giveUp.signal).catch((error: unknown) => error);
    const writing = failureOf(client.patch(path, { type: 'merge', body: {} }, giveUp.signal));

    await sent();
    giveUp.abort(new Error('stopped'));

    expect(await reading).toMatchObject({ message: 'stopped' });
    expect(await writing).toMatchObject({ class: 'indeterminate' });
    await expect(client.get(path, giveUp.signal)).rejects.toThrow('stopped');
  });

  it('shows no token, even when the server repeats it', async () => {
    nock(host)
      .get(path)
      .reply(500, aStatus(500, 'InternalError', `bad header Bearer ${token}`));

    const error = await failureOf(inCluster().get(path, signal));
    expect(inspect(error, { depth: 9, showHidden: true })).not.toContain(token);
    expect(error.message).toContain('bad header Bearer <secret>');
  });

  it('refuses answers that are no objects', async () => {
    nock(host).get(path).reply(200, '<html>login</html>').get(path).reply(200, { hello: 'world' });
    const client = inCluster();

    expect((await failureOf(client.get(path, signal))).message).toContain('not JSON; is this address an API server?');
    expect((await failureOf(client.get(path, signal))).message).toContain('not an object with metadata');
  });

  it('does nothing more once it is closed', async () => {
    const client = inCluster();
    await client.close();
    await client.close();

    await expect(client.get(path, signal)).rejects.toThrow('closed');
  });
});
