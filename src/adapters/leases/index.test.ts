import { readdirSync } from 'node:fs';
import { expect, it } from 'vitest';
import { leaseKinds } from './index.ts';

it('every folder is a kind of lease, and every kind has its folder', () => {
  const folders = readdirSync(import.meta.dirname, { withFileTypes: true }).filter((entry) => entry.isDirectory());

  expect(folders.map((entry) => entry.name.replaceAll('-', '_'))).toEqual(Object.keys(leaseKinds));
});
