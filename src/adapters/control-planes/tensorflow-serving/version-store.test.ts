import { mkdir, mkdtemp, readdir, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { EndpointObservation } from '../../../domain/observation.ts';
import type { PlaneTarget } from '../../../domain/ports.ts';
import { VersionFolderStore } from './version-store.ts';

const target: PlaneTarget = { model: 'fraud', plane: {} };
const ever = new AbortController().signal;

describe('the version folders of TensorFlow Serving', () => {
  let base = '';
  let named: readonly string[] = [];
  let endpoints: readonly EndpointObservation[] = [];
  const store = new VersionFolderStore({
    entryOf: async () => ({ entry: { name: 'fraud', basePath: base, state: { policy: null, labels: {} }, hash: '' }, named }),
    observe: async () => ({ atMs: 0, endpoints, versions: [], serving: [], token: null, pinned: false, refusals: [] }),
  });

  beforeEach(async () => {
    base = await mkdtemp(join(tmpdir(), 'rollbackd-versions-'));
    named = [];
    endpoints = [{ endpoint: 'tfs-0', versions: [{ id: '10', state: 'available' }], serving: [], routes: {}, config: null }];
    for (const name of ['9', '10', '00000007', '6']) {
      await mkdir(join(base, name, 'variables'), { recursive: true });
      await writeFile(join(base, name, 'saved_model.pb'), 'x');
    }
    await utimes(join(base, '9'), 1_000, 1_000);
  });
  afterEach(async () => await rm(base, { recursive: true, force: true }));

  it('lists folders that are versions, newest number first, with their age', async () => {
    await writeFile(join(base, '5'), 'a file');
    await mkdir(join(base, 'tmp'));
    await symlink(join(base, '6'), join(base, '4'));

    const found = await store.list(target);

    expect(found.map(({ id }) => id)).toEqual(['10', '9', '7', '6']);
    expect(found[1]).toEqual({ id: '9', createdMs: 1_000_000, keep: null });
  });

  it('keeps what the list of models names, and what holds a file .keep', async () => {
    named = ['6'];
    await writeFile(join(base, '00000007', '.keep'), '');

    expect((await store.list(target)).flatMap(({ id, keep }) => (keep === null ? [] : [`${id}: ${keep}`]))).toEqual([
      '7: it holds a file .keep',
      '6: the list of models names it',
    ]);
    expect(await store.delete(target, '7', ever)).toMatchObject({ kind: 'conflict', detail: 'it holds a file .keep' });
  });

  it('deletes one with all that is in it, and is content when it is gone', async () => {
    expect(await store.delete(target, '7', ever)).toEqual({ kind: 'applied', detail: `deleted ${join(base, '00000007')}` });
    expect(await store.delete(target, '7', ever)).toMatchObject({ kind: 'already' });

    expect((await readdir(base)).toSorted()).toEqual(['10', '6', '9']);
  });

  it.each([
    ['loaded', 'available'],
    ['on its way', 'loading'],
    ['on its way out', 'draining'],
  ] as const)('does not delete one that is %s', async (_name, state) => {
    endpoints = [{ endpoint: 'tfs-0', versions: [{ id: '9', state }], serving: [], routes: {}, config: null }];

    expect(await store.delete(target, '9', ever)).toMatchObject({ kind: 'conflict', detail: `it is ${state} on tfs-0` });
    expect(await readdir(base)).toContain('9');
  });

  it('deletes nothing while a server cannot be asked', async () => {
    endpoints = [{ endpoint: 'tfs-0', versions: [], serving: [], routes: {}, config: null, error: 'connection refused' }];

    expect(await store.delete(target, '9', ever)).toMatchObject({ kind: 'conflict', detail: 'tfs-0 cannot be read: connection refused' });
  });

  it.each([
    ['gs://models/fraud', 'gs://models/fraud is no folder of this machine'],
    ['/nowhere/at/all', '/nowhere/at/all cannot be read or changed (ENOENT)'],
  ])('says that it cannot reach %s', async (path, words) => {
    await rm(base, { recursive: true });
    base = path;

    await expect(store.list(target)).rejects.toMatchObject({ name: 'PlaneError', message: expect.stringContaining(words) as string });
    base = '/nowhere/rollbackd-versions';
  });
});
