import { readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { sourcePlugins } from './index.ts';

const folders = readdirSync(import.meta.dirname, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name);

describe('the registry of sources', () => {
  it('lists every folder, by its kind', () => {
    expect(Object.keys(sourcePlugins).toSorted()).toEqual(folders.toSorted());
    for (const [key, { kind }] of Object.entries(sourcePlugins)) expect(kind).toBe(key);
  });

  it.each(folders)('%s has what a plug-in holds', (folder) => {
    const files = readdirSync(`${import.meta.dirname}/${folder}`);

    expect(files).toEqual(expect.arrayContaining(['index.ts', 'schema.ts', `${folder}.test.ts`, 'README.md']));
  });
});
