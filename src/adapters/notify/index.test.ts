import { readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { receiverKinds } from './index.ts';

describe('receiverKinds', () => {
  it('has a line for each folder, and nothing else', () => {
    const folders = readdirSync(import.meta.dirname, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name);

    expect([...receiverKinds.values()].map(({ kind }) => kind).toSorted()).toEqual(folders.toSorted());
    expect([...receiverKinds.keys()]).toEqual([...receiverKinds.values()].map(({ kind }) => `${kind}_configs`));
  });
});
