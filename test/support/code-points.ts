import fc from 'fast-check';

/**
 * Texts of any code points, halves of pairs too. fast-check's own unit `binary` makes a table of all of them first, which takes a second of each file.
 */
export function codePoints(size: { readonly minLength?: number; readonly maxLength?: number } = {}): fc.Arbitrary<string> {
  return fc.array(fc.oneof(fc.nat({ max: 0xff }), fc.nat({ max: 0xffff }), fc.nat({ max: 0x10ffff })), size).map((codes) => String.fromCodePoint(...codes));
}
