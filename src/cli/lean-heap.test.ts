import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { expect, it } from 'vitest';
import { leanFlags } from './lean-heap.ts';

const module = JSON.stringify(path.join(import.meta.dirname, 'lean-heap.ts'));

// What it saves is measured by bench/memory.ts.
it('gives V8 flags that it knows', () => {
  const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', `(await import(${module})).keepHeapLean()`], {
    encoding: 'utf8',
    env: {},
  });

  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  expect(leanFlags('--enable-source-maps')).toHaveLength(2);
});

it('leaves sizes alone that somebody chose', () => {
  expect(leanFlags('--max-old-space-size=4096')).toEqual([]);
});
