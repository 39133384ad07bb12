import { readdir, readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { controlPlaneKinds } from './index.ts';

describe('the registry of control planes', () => {
  it('has one kind per folder, named after it', async () => {
    const entries = await readdir(import.meta.dirname, { withFileTypes: true });
    const folders = entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name.replaceAll('-', '_'));

    expect([...controlPlaneKinds.keys()].toSorted()).toEqual(folders.toSorted());
  });

  it.each([...controlPlaneKinds.values()])('$kind has a README beside it and strict schemas', async (kind) => {
    const files = await readdir(`${import.meta.dirname}/${kind.kind.replaceAll('_', '-')}`);

    expect(files).toEqual(expect.arrayContaining(['README.md', 'index.ts', 'schema.ts']));
    expect(kind.config.safeParse({ 'no such key': 1 }).error?.issues.map((issue) => issue.code)).toContain('unrecognized_keys');
    expect(kind.planeKeys.safeParse({ 'no such key': 1 }).success).toBe(false);
  });

  // Commands are no conversation.
  it.each([...controlPlaneKinds.values()].filter(({ kind }) => kind !== 'exec'))('$kind meets the table of faults', async ({ kind }) => {
    const folder = `${import.meta.dirname}/${kind.replaceAll('_', '-')}`;
    const tests = (await readdir(folder)).filter((file) => file.endsWith('.test.ts'));
    const texts = await Promise.all(tests.map(async (file) => await readFile(`${folder}/${file}`, 'utf8')));

    expect(texts.join('\n')).toContain(`describePlaneFaults('${kind}'`);
  });
});
