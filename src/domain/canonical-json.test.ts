import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalJson } from './canonical-json.ts';

describe('canonicalJson', () => {
  it('sorts keys at every depth and writes no white space', () => {
    expect(canonicalJson({ b: [{ z: 1, a: null }], a: 'x' })).toBe('{"a":"x","b":[{"a":null,"z":1}]}');
  });

  it('leaves out undefined members and writes what is not finite as null, as JSON does', () => {
    expect(canonicalJson({ a: undefined, b: Number.NaN, c: Number.POSITIVE_INFINITY, d: -0, e: [undefined] })).toBe('{"b":null,"c":null,"d":0,"e":[null]}');
  });

  it('reads back as the same value, whatever the order of the keys', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const text = canonicalJson(value);
        expect(canonicalJson(JSON.parse(text))).toBe(text);
        expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });

  it('refuses what is no JSON', () => {
    const cycle: Record<string, unknown> = {};
    cycle['self'] = cycle;

    expect(() => canonicalJson(cycle)).toThrow('cycle');
    expect(() => canonicalJson({ a: 1n })).toThrow('bigint');
    expect(() => canonicalJson(undefined)).toThrow('no JSON form');
  });
});
