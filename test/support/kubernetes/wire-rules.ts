import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { KubernetesAnswer, KubernetesTestClient } from './kubernetes-client.ts';
import type { KubernetesObject } from './kubernetes-object.ts';
import { aDeployment, aService } from './objects.ts';
import { widgetCrd } from './widget-crd.ts';

/** A server to be held to the rules: a namespace of the test's own, and an administrator. */
export interface WireSetup extends AsyncDisposable {
  readonly client: KubernetesTestClient;
  readonly namespace: string;
  /** After this long without a change, controllers are done with an object; 0 where there are none. */
  readonly settleMs: number;
}

const jsonPatch = 'application/json-patch+json';
const mergePatch = 'application/merge-patch+json';

/** How the API of Kubernetes answers, as far as rollbackd's planes lean on it: held by the real server and by the fake one alike. */
export function describeKubernetesWire(name: string, start: () => Promise<WireSetup>): void {
  describe(`${name}: the API of Kubernetes`, () => {
    let setup: WireSetup;
    let client: KubernetesTestClient;
    let counter = 0;
    const path = (resource: string, object = ''): string => {
      const base = resource === 'services' || resource === 'configmaps' ? '/api/v1' : resource === 'leases' ? '/apis/coordination.k8s.io/v1' : '/apis/apps/v1';
      return `${base}/namespaces/${setup.namespace}/${resource}${object === '' ? '' : `/${object}`}`;
    };
    const widgets = (object = '', version = 'v1'): string =>
      `/apis/wire.example.org/${version}/namespaces/${setup.namespace}/widgets${object === '' ? '' : `/${object}`}`;
    const unique = (): string => `w${(counter += 1)}`;
    /** A Deployment without replicas: controllers have nothing to do with it. */
    const deploy = async (): Promise<KubernetesObject> => {
      const made = await client.create(aDeployment({ name: unique(), namespace: setup.namespace, image: 'registry.example.org/fraud:1', replicas: 0 }));
      return settled(made);
    };
    /** As it stands once the controllers are done with it. */
    const settled = async (object: KubernetesObject): Promise<KubernetesObject> => {
      for (;;) {
        const before = await client.get(path('deployments', object.metadata.name));
        await sleep(setup.settleMs);
        const now = await client.get(path('deployments', object.metadata.name));
        if (before.metadata.resourceVersion === now.metadata.resourceVersion) return now;
      }
    };
    const patch = async (at: string, body: unknown, contentType: string, query: Record<string, string> = {}): Promise<KubernetesAnswer> =>
      client.request('PATCH', at, { body, contentType, query });
    const reasonOf = ({ status, body }: KubernetesAnswer): string => `${status} ${String(body['reason'])}`;

    beforeAll(async () => {
      setup = await start();
      client = setup.client;
      await client.create(widgetCrd);
      // A real server takes a moment to serve what is new.
      for (;;) {
        if ((await client.request('GET', widgets())).status === 200) break;
        await sleep(100);
      }
    });
    afterAll(async () => {
      await client.remove(`/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${widgetCrd.metadata.name}`);
      await setup[Symbol.asyncDispose]();
    });

    it('refuses a stale resourceVersion with 409 Conflict, whichever way it is sent', async () => {
      const old = await deploy();
      const at = path('deployments', old.metadata.name);
      await client.merge(at, { metadata: { labels: { touched: 'yes' } } });

      const put = await client.request('PUT', at, { body: { ...old, metadata: { ...old.metadata, labels: { mine: 'yes' } } } });
      const merge = await patch(at, { metadata: { resourceVersion: old.metadata.resourceVersion, labels: { mine: 'yes' } } }, mergePatch);
      const json = await patch(
        at,
        [
          { op: 'replace', path: '/metadata/resourceVersion', value: old.metadata.resourceVersion },
          { op: 'add', path: '/metadata/labels/mine', value: 'yes' },
        ],
        jsonPatch,
      );

      for (const answer of [put, merge, json]) {
        expect(reasonOf(answer)).toBe('409 Conflict');
        expect(answer.body['message']).toBe(
          `Operation cannot be fulfilled on deployments.apps "${old.metadata.name}": the object has been modified; please apply your changes to the latest version and try again`,
        );
        expect(answer.body['details']).toEqual({ name: old.metadata.name, group: 'apps', kind: 'deployments' });
      }
    });

    it('takes a patch without a resourceVersion whatever happened before', async () => {
      const old = await deploy();
      await client.merge(path('deployments', old.metadata.name), { metadata: { labels: { touched: 'yes' } } });

      const answer = await patch(path('deployments', old.metadata.name), { metadata: { labels: { mine: 'yes' } } }, mergePatch);

      expect(answer.status).toBe(200);
      expect(answer.body).toMatchObject({ metadata: { labels: { touched: 'yes', mine: 'yes' } } });
    });

    it('answers a JSON patch whose test fails with 422 Invalid and nothing more', async () => {
      const { metadata } = await deploy();
      const at = path('deployments', metadata.name);

      const failed = await patch(at, [{ op: 'test', path: '/metadata/generation', value: 99 }], jsonPatch);
      const nowhere = await patch(at, [{ op: 'replace', path: '/spec/nothing/here', value: 1 }], jsonPatch);

      for (const answer of [failed, nowhere]) {
        expect(reasonOf(answer)).toBe('422 Invalid');
        expect(answer.body['message']).toBe('the server rejected our request due to an error in our request');
        expect(answer.body['details']).toEqual({});
      }
    });

    it('lets one of several guarded patches through', async () => {
      const { metadata } = await deploy();
      const guarded = (image: string) => [
        { op: 'test', path: '/metadata/uid', value: metadata.uid },
        { op: 'test', path: '/metadata/generation', value: metadata.generation },
        { op: 'replace', path: '/spec/template/spec/containers/0/image', value: image },
      ];

      const answers = await Promise.all(
        [2, 3, 4].map(async (tag) => patch(path('deployments', metadata.name), guarded(`registry.example.org/fraud:${tag}`), jsonPatch)),
      );
      const replay = await patch(path('deployments', metadata.name), guarded('registry.example.org/fraud:2'), jsonPatch);

      expect(answers.map((answer) => answer.status).toSorted()).toEqual([200, 422, 422]);
      expect(replay.status).toBe(422);
    });

    it('takes test operations and a resourceVersion in one patch', async () => {
      const { metadata } = await deploy();

      const answer = await patch(
        path('deployments', metadata.name),
        [
          { op: 'test', path: '/metadata/uid', value: metadata.uid },
          { op: 'replace', path: '/metadata/resourceVersion', value: metadata.resourceVersion },
          { op: 'add', path: '/spec/minReadySeconds', value: 3 },
        ],
        jsonPatch,
      );

      expect(answer).toMatchObject({ status: 200, body: { spec: { minReadySeconds: 3 } } });
    });

    it('takes no uid but its own', async () => {
      const { metadata } = await deploy();
      const other = '00000000-0000-4000-8000-000000000000';

      const merge = await patch(path('deployments', metadata.name), { metadata: { uid: other } }, mergePatch);
      const put = await client.request('PUT', path('deployments', metadata.name), {
        body: { ...aDeployment({ name: metadata.name, namespace: setup.namespace, image: 'a:1', replicas: 0 }), metadata: { name: metadata.name, uid: other } },
      });

      expect([reasonOf(merge), reasonOf(put)]).toEqual(['422 Invalid', '409 Conflict']);
      expect(String(put.body['message'])).toContain(`Precondition failed: UID in precondition: ${other}, UID in object meta: ${metadata.uid}`);
    });

    it('moves the generation of a Deployment with its spec, its scale and its annotations, not with labels', async () => {
      const { metadata } = await deploy();
      const at = path('deployments', metadata.name);
      const generation = async (change: () => Promise<unknown>): Promise<number> => {
        const before = await client.get(at);
        await change();
        return ((await client.get(at)).metadata.generation ?? 0) - (before.metadata.generation ?? 0);
      };

      expect(await generation(async () => client.merge(at, { spec: { minReadySeconds: 1 } }))).toBe(1);
      expect(await generation(async () => client.merge(`${at}/scale`, { spec: { replicas: 0 } }))).toBe(0);
      expect(await generation(async () => client.merge(at, { metadata: { annotations: { note: 'a' } } }))).toBe(1);
      expect(await generation(async () => client.merge(at, { metadata: { labels: { note: 'a' } } }))).toBe(0);
      expect(await generation(async () => client.merge(at, { metadata: { annotations: { note: 'a' } } }))).toBe(0);
    });

    it('gives Services no generation', async () => {
      const service = await client.create(aService({ name: unique(), namespace: setup.namespace, selector: { app: 'a' } }));

      expect(service.metadata.generation).toBeUndefined();
      expect((await client.merge(path('services', service.metadata.name), { spec: { selector: { app: 'b' } } })).metadata.generation).toBeUndefined();
    });

    it('stores nothing when nothing changes', async () => {
      const { metadata } = await client.create(aService({ name: unique(), namespace: setup.namespace, selector: { app: 'a' } }));

      const again = await client.merge(path('services', metadata.name), { spec: { selector: { app: 'a' } } });

      expect(again.metadata.resourceVersion).toBe(metadata.resourceVersion);
    });

    it('merges maps by key, deletes by null and replaces lists whole', async () => {
      const { metadata } = await client.create(aService({ name: unique(), namespace: setup.namespace, selector: { app: 'a', version: 'v2' } }));
      const custom = await client.create(aWidget(unique(), setup.namespace, { rules: [{ match: 'x', backends: [{ name: 'a', weight: 1 }] }] }));

      const merged = await client.merge(path('services', metadata.name), { spec: { selector: { version: 'v1', app: null } } });
      const replaced = await client.merge(widgets(custom.metadata.name), { spec: { rules: [{ backends: [{ name: 'b', weight: 1 }] }] } });

      expect(merged.spec?.['selector']).toEqual({ version: 'v1' });
      expect(replaced.spec?.['rules']).toEqual([{ backends: [{ name: 'b', weight: 1 }] }]);
    });

    it.each([
      ['application/json on a built-in kind', 'application/json', false],
      ['application/json on a custom kind', 'application/json', true],
      ['a strategic merge patch on a custom kind', 'application/strategic-merge-patch+json', true],
    ])('answers %s with 415', async (_what, contentType, isCustom) => {
      const { metadata } = isCustom ? await client.create(aWidget(unique(), setup.namespace, {})) : await deploy();

      const answer = await patch(isCustom ? widgets(metadata.name) : path('deployments', metadata.name), {}, contentType);

      expect(reasonOf(answer)).toBe('415 UnsupportedMediaType');
      const message = String(answer.body['message']);
      if (isCustom)
        expect(message).toMatch(
          /^the body of the request was in an unknown format - accepted media types include: application\/json-patch\+json, application\/merge-patch\+json/,
        );
      else expect(message).toBe('415: Unsupported Media Type');
    });

    it('keeps status and the rest apart where there is a status subresource', async () => {
      const custom = await client.create({ ...aWidget(unique(), setup.namespace, { size: 1 }), status: { phase: 'made up' } });
      const at = widgets(custom.metadata.name);
      expect(custom.status).toBeUndefined();
      expect(custom.metadata.generation).toBe(1);

      const ignored = await client.merge(at, { status: { abort: true } });
      const status = await client.merge(`${at}/status`, { status: { phase: 'Ready' }, spec: { size: 7 }, metadata: { labels: { a: 'b' } } });
      const spec = await client.merge(at, { spec: { size: 2 } });

      expect(ignored.metadata.resourceVersion).toBe(custom.metadata.resourceVersion);
      expect(status).toMatchObject({ spec: { size: 1 }, status: { phase: 'Ready' }, metadata: { generation: 1 } });
      expect(status.metadata.labels).toBeUndefined();
      expect(spec).toMatchObject({ spec: { size: 2 }, status: { phase: 'Ready' }, metadata: { generation: 2 } });
    });

    it('answers 404 for a subresource, an object and a kind that are not there', async () => {
      const { metadata } = await client.create({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: unique(), namespace: setup.namespace } });

      expect((await patch(`${path('configmaps', metadata.name)}/status`, {}, mergePatch)).status).toBe(404);
      const object = await client.request('GET', path('deployments', 'nobody'));
      expect(object.body).toMatchObject({
        status: 'Failure',
        reason: 'NotFound',
        code: 404,
        message: 'deployments.apps "nobody" not found',
        details: { name: 'nobody', group: 'apps', kind: 'deployments' },
      });
      expect((await client.request('GET', widgets('x', 'v9'))).status).toBe(404);
    });

    it('holds objects to their schema with 422 and its causes', async () => {
      const { metadata } = await client.create(aWidget(unique(), setup.namespace, { rules: [{ backends: [{ name: 'a', weight: 1 }] }] }));

      const answer = await patch(widgets(metadata.name), [{ op: 'replace', path: '/spec/rules/0/backends/0/weight', value: -1 }], jsonPatch);

      expect(reasonOf(answer)).toBe('422 Invalid');
      expect(answer.body['details']).toMatchObject({ causes: [{ field: 'spec.rules[0].backends[0].weight' }] });
      expect(String(answer.body['message'])).toContain('should be greater than or equal to 0');
    });

    it('prunes what the schema does not name, and fills in what it gives a default', async () => {
      const made = await client.create(aWidget(unique(), setup.namespace, { limits: { burst: 9, more: 'x' }, anything: { goes: 1 } }));
      const cleared = await client.jsonPatch(widgets(made.metadata.name), [
        { op: 'remove', path: '/spec/limits/burst' },
        { op: 'add', path: '/spec/limits/mode', value: null },
        { op: 'add', path: '/spec/limits/more', value: 'y' },
      ]);

      expect(made.spec).toEqual({ limits: { burst: 9, mode: 'soft' }, anything: { goes: 1 } });
      expect(cleared.spec?.['limits']).toEqual({ burst: 3, mode: 'soft' });
      // Nothing is filled into what is not there at all.
      expect((await client.create(aWidget(unique(), setup.namespace, { size: 1 }))).spec).toEqual({ size: 1 });
    });

    it('shows custom objects with sorted keys, in whatever order they were sent', async () => {
      const { metadata } = await client.create(aWidget(unique(), setup.namespace, { size: 1, rules: [{ match: 'x', backends: [{ weight: 1, name: 'a' }] }] }));

      const { text } = await client.request('GET', widgets(metadata.name));

      expect(text).toContain('"spec":{"rules":[{"backends":[{"name":"a","weight":1}],"match":"x"}],"size":1}');
    });

    it('takes no kind of a group of Kubernetes’ own without an approval', async () => {
      const group = 'wire.k8s.io';
      const crd = { ...widgetCrd, metadata: { name: `widgets.${group}` }, spec: { ...widgetCrd.spec, group } };

      const answer = await client.request('POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', { body: crd });

      expect(reasonOf(answer)).toBe('422 Invalid');
      expect(answer.body['message']).toContain(
        'metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups must have approval annotation "api-approved.kubernetes.io"',
      );
    });

    it('answers a name that is taken with 409 AlreadyExists, and a missing namespace with 404', async () => {
      const { metadata } = await deploy();
      const create = async (namespace: string): Promise<KubernetesAnswer> =>
        client.request('POST', `/apis/apps/v1/namespaces/${namespace}/deployments`, {
          body: aDeployment({ name: metadata.name, namespace, image: 'a:1', replicas: 0 }),
        });

      const taken = await create(setup.namespace);
      expect(reasonOf(taken)).toBe('409 AlreadyExists');
      expect(taken.body['message']).toBe(`deployments.apps "${metadata.name}" already exists`);
      expect(await create('no-such-namespace').then(reasonOf)).toBe('404 NotFound');
    });

    it('validates a dry run, answers with its result and stores nothing', async () => {
      const { metadata } = await deploy();
      const at = path('deployments', metadata.name);

      const dry = await patch(at, { spec: { minReadySeconds: 7 } }, mergePatch, { dryRun: 'All' });
      const wrong = await patch(at, { spec: { replicas: -1 } }, mergePatch, { dryRun: 'All' });

      expect(dry.body).toMatchObject({ spec: { minReadySeconds: 7 } });
      expect(reasonOf(wrong)).toBe('422 Invalid');
      expect((await client.get(at)).spec?.['minReadySeconds']).toBeUndefined();
    });

    it('writes down who changed what, and takes it from whom it was before', async () => {
      const { metadata } = await client.create(aService({ name: unique(), namespace: setup.namespace, selector: { app: 'a', version: 'v2' } }));
      const answer = await patch(path('services', metadata.name), { spec: { selector: { version: 'v1' } } }, mergePatch, { fieldManager: 'rollbackd' });

      const managed = (answer.body as KubernetesObject).metadata.managedFields ?? [];
      expect(managed.find((entry) => entry.manager === 'rollbackd')).toMatchObject({
        operation: 'Update',
        apiVersion: 'v1',
        fieldsType: 'FieldsV1',
        // A Service's selector is one field to the server (an atomic map): whoever changes a part of it owns all of it.
        fieldsV1: { 'f:spec': { 'f:selector': {} } },
      });
      const others = managed.filter((entry) => entry.manager !== 'rollbackd').map((entry) => JSON.stringify(entry.fieldsV1));
      expect(others.join()).not.toContain('f:selector');
    });

    it('lists by labels and by the name', async () => {
      const [a, b] = [await deploy(), await deploy()];
      await client.merge(path('deployments', a.metadata.name), { metadata: { labels: { tier: 'gold' } } });
      const names = async (query: Record<string, string>): Promise<string[]> =>
        (await client.list(path('deployments'), query)).map((object) => object.metadata.name);

      expect(await names({ labelSelector: 'tier=gold' })).toEqual([a.metadata.name]);
      expect(await names({ labelSelector: 'tier in (gold, silver)' })).toEqual([a.metadata.name]);
      expect(await names({ labelSelector: '!tier' })).toContain(b.metadata.name);
      expect(await names({ labelSelector: 'tier!=gold' })).not.toContain(a.metadata.name);
      expect(await names({ fieldSelector: `metadata.name=${b.metadata.name}` })).toEqual([b.metadata.name]);
      expect((await client.request('GET', path('deployments'), { query: { fieldSelector: 'spec.paused=true' } })).status).toBe(400);
    });

    it('lists in pages', async () => {
      await Promise.all([1, 2, 3].map(async (n) => client.create(aWidget(`page-${n}`, setup.namespace, {}))));

      const first = await client.request('GET', widgets(), { query: { limit: '2' } });
      const token = (first.body['metadata'] as { continue: string }).continue;
      const rest = await client.request('GET', widgets(), { query: { limit: '100', continue: token } });

      expect(first.body['items']).toHaveLength(2);
      expect((rest.body['items'] as KubernetesObject[]).map((object) => object.metadata.name)).toContain('page-3');
    });

    it('tells a watch what happens after a version, and of objects that begin or cease to match', async () => {
      const list = await client.get<{ metadata: { resourceVersion: string } }>(widgets());
      const name = unique();
      await client.create({ ...aWidget(name, setup.namespace, {}), metadata: { name, namespace: setup.namespace, labels: { on: 'yes' } } });
      await client.merge(widgets(name), { spec: { size: 2 } });
      await client.merge(widgets(name), { metadata: { labels: { on: 'no' } } });

      const { text } = await client.request('GET', widgets(), {
        query: { watch: '1', resourceVersion: list.metadata.resourceVersion, timeoutSeconds: '1', labelSelector: 'on=yes' },
      });

      const events = text
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as { type: string; object: KubernetesObject });
      expect(events.map(({ type, object }) => [type, object.metadata.name])).toEqual([
        ['ADDED', name],
        ['MODIFIED', name],
        ['DELETED', name],
      ]);
    });

    it('deletes under preconditions', async () => {
      const { metadata } = await client.create(aWidget(unique(), setup.namespace, {}));
      const remove = async (preconditions: unknown): Promise<KubernetesAnswer> => client.request('DELETE', widgets(metadata.name), { body: { preconditions } });

      expect(await remove({ resourceVersion: '1' }).then(reasonOf)).toBe('409 Conflict');
      expect(await remove({ uid: '00000000-0000-4000-8000-000000000000' }).then(reasonOf)).toBe('409 Conflict');
      expect(await remove({ uid: metadata.uid, resourceVersion: metadata.resourceVersion })).toMatchObject({ status: 200, body: { status: 'Success' } });
      expect((await client.request('DELETE', widgets(metadata.name))).status).toBe(404);
    });

    describe('a Lease', () => {
      const lease = (spec: Record<string, unknown> = {}): KubernetesObject => ({
        apiVersion: 'coordination.k8s.io/v1',
        kind: 'Lease',
        metadata: { name: unique(), namespace: setup.namespace },
        spec: { holderIdentity: 'a', leaseDurationSeconds: 15, renewTime: '2026-11-25T10:00:00.000000Z', ...spec },
      });
      const post = async (object: KubernetesObject): Promise<KubernetesAnswer> => client.request('POST', path('leases'), { body: object });

      it.each([
        ['three digits', '2026-11-25T10:00:00.000Z', 400],
        ['none', '2026-11-25T10:00:00Z', 400],
        ['six', '2026-11-25T10:00:00.000000Z', 201],
      ])('takes times with exactly six digits of a second (%s)', async (_name, renewTime, status) => {
        expect((await post(lease({ renewTime }))).status).toBe(status);
      });

      it('lasts at least a second', async () => {
        expect(await post(lease({ leaseDurationSeconds: 0 })).then(reasonOf)).toBe('422 Invalid');
      });

      it('is put with its resourceVersion or not at all, once; a merge patch asks for none', async () => {
        const made = await client.create(lease());
        const put = async (object: KubernetesObject): Promise<KubernetesAnswer> => client.request('PUT', path('leases', made.metadata.name), { body: object });
        const taken = (holder: string): KubernetesObject => ({ ...made, spec: { ...made.spec, holderIdentity: holder } });

        const blind = await put({ ...taken('b'), metadata: { name: made.metadata.name, namespace: setup.namespace } });
        const both = await Promise.all([put(taken('b')), put(taken('c'))]);

        expect(reasonOf(blind)).toBe('422 Invalid');
        expect(String(blind.body['message'])).toContain('metadata.resourceVersion');
        expect(String(blind.body['message'])).toContain('must be specified for an update');
        expect(both.map((answer) => answer.status).toSorted()).toEqual([200, 409]);
        expect((await patch(path('leases', made.metadata.name), { spec: { holderIdentity: 'd' } }, mergePatch)).status).toBe(200);
      });
    });
  });
}

function aWidget(name: string, namespace: string, spec: Record<string, unknown>): KubernetesObject {
  return { apiVersion: 'wire.example.org/v1', kind: 'Widget', metadata: { name, namespace }, spec };
}
