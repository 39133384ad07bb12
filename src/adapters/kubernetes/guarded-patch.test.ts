import nock from 'nock';
import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { noNetwork } from '../../../test/support/no-network.ts';
import { silentLog } from '../../../test/support/stage.ts';
import { kubernetesAccess } from './access.ts';
import { clientOn } from './client.ts';
import { type Connection } from './connection.ts';
import { annotate, guardedPatch, marks, pointer } from './guarded-patch.ts';
import type { KubernetesObject } from './object.ts';

noNetwork();

const path = '/apis/apps/v1/namespaces/shop/deployments/ranker';
const signal = new AbortController().signal;
const connection: Connection = { server: 'http://127.0.0.1:8001', namespace: 'shop', http: {} };
const client = clientOn({ connect: async () => connection }, kubernetesAccess.parse({}), { clock: new FakeClock(), log: silentLog });

function anObject(changes: Partial<KubernetesObject['metadata']> = {}): KubernetesObject {
  return { metadata: { name: 'ranker', uid: 'u1', resourceVersion: '7', generation: 3, ...changes } };
}
const invalid = { kind: 'Status', reason: 'Invalid', code: 422, message: 'the server rejected our request due to an error in our request' };
const operations = [{ op: 'replace', path: '/spec/template', value: {} }] as const;

describe('guardedPatch', () => {
  it('tests uid and generation', async () => {
    nock(connection.server)
      .patch(`${path}?fieldManager=rollbackd`, [
        { op: 'test', path: '/metadata/uid', value: 'u1' },
        { op: 'test', path: '/metadata/generation', value: 3 },
        ...operations,
      ])
      .reply(200, anObject({ generation: 4 }));

    expect(await guardedPatch(client, path, { read: anObject(), by: 'generation', operations }, signal)).toMatchObject({ metadata: { generation: 4 } });
  });

  it('carries the resourceVersion where there is no generation', async () => {
    nock(connection.server)
      .patch(`${path}?fieldManager=rollbackd`, [
        { op: 'test', path: '/metadata/uid', value: 'u1' },
        { op: 'replace', path: '/metadata/resourceVersion', value: '7' },
        ...operations,
      ])
      .reply(409, { kind: 'Status', reason: 'Conflict' });

    await expect(guardedPatch(client, path, { read: anObject(), by: 'resourceVersion', operations }, signal)).rejects.toMatchObject({ class: 'conflict' });
  });

  it.each([
    ['moved on', 200, anObject({ generation: 4 }), 'conflict', 'changed by someone else'],
    ['was made anew', 200, anObject({ uid: 'u2' }), 'conflict', 'changed by someone else'],
    ['is gone', 404, { kind: 'Status', reason: 'NotFound' }, 'conflict', 'is gone'],
    ['is as it was', 200, anObject({ resourceVersion: '9' }), 'permanent', 'answered 422'],
  ])('after a 422 an object that %s is told apart', async (_name, status, now, errorClass, words) => {
    nock(connection.server).patch(`${path}?fieldManager=rollbackd`).reply(422, invalid);
    nock(connection.server)
      .get(path)
      .reply(status, now as nock.Body);

    await expect(guardedPatch(client, path, { read: anObject(), by: 'generation', operations }, signal)).rejects.toMatchObject({
      class: errorClass,
      message: expect.stringContaining(words),
    });
  });
});

describe('annotate', () => {
  it('makes the map where there is none, and escapes keys', () => {
    expect(annotate(undefined, { [marks.to]: '6', gone: null })).toEqual([
      { op: 'add', path: '/metadata/annotations', value: {} },
      { op: 'add', path: '/metadata/annotations/rollbackd.io~1to', value: '6' },
    ]);
    expect(annotate({ a: '1', '~': '2' }, { a: null, '~': null, b: null })).toEqual([
      { op: 'remove', path: '/metadata/annotations/a' },
      { op: 'remove', path: '/metadata/annotations/~0' },
    ]);
    expect(pointer('spec', 'a/b~c', 0)).toBe('/spec/a~1b~0c/0');
  });
});
