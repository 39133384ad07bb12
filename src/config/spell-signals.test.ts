import { describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { toModel } from './model.ts';
import { presets } from './presets/index.ts';
import { modelSchema } from './schema.ts';
import { spellSignals } from './spell-signals.ts';

const planes: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  nginx: { split_clients: { variable: '$to', versions: { '6': 'fraud.6', '7': 'fraud-7' } } },
  'pod-labels': { namespace: 'shop', deployment: 'fraud' },
};

describe('spellSignals', () => {
  it.each(Object.values(presets))('writes preset $name out so that pasting it changes nothing', ({ name }) => {
    const base = { name: 'fraud "x"', source: 'prom', control_plane: 'plane' };
    const plane = planes[name] ?? {};
    const filled = toModel(modelSchema.parse({ ...base, preset: name }), plane, '/');

    const pasted = parse(stringify(spellSignals(filled))) as Record<string, unknown>;
    const written = toModel(modelSchema.parse({ ...base, ...pasted }), plane, '/');

    expect(written.signals).toEqual(filled.signals);
    expect(written.attribution).toEqual(filled.attribution);
    expect([filled.preset, written.preset]).toEqual([name, undefined]);
  });

  it('names every upstream that the versions of split_clients lead to', () => {
    const { requests, errors } = presets['nginx']!.signals({ name: 'fraud', plane: planes['nginx']! });

    expect(requests.matchers).toEqual([
      { label: 'upstream', op: '=~', value: 'fraud\\.6|fraud-7' },
      { label: 'code', op: '=~', value: '[1-5]xx' },
    ]);
    expect(errors?.matchers[1]).toEqual({ label: 'code', op: '=', value: '5xx' });
  });
});
