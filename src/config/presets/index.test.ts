import { readdir } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { presets } from './index.ts';

const notPresets = new Set(['index.ts', 'preset.ts']);

describe('the registry of presets', () => {
  it('has one preset per file, named after it', async () => {
    const files = (await readdir(import.meta.dirname)).filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts') && !notPresets.has(file));

    expect(Object.keys(presets).toSorted()).toEqual(files.map((file) => file.replace(/\.ts$/, '')).toSorted());
  });

  it.each(Object.values(presets))('$name selects one model, and no less for its keys on the plane', (preset) => {
    const bare = preset.signals({ name: 'fraud', plane: {} });
    const other = preset.signals({ name: 'shop', plane: {} });

    expect(bare.requests.metric).not.toBe('');
    expect(JSON.stringify(bare.requests.matchers)).toContain('fraud');
    expect(bare.requests).not.toEqual(other.requests);
  });
});
