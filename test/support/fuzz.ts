import fc from 'fast-check';
import { fuzzRuns } from './fuzz-runs.ts';

/** Names and values that have broken programs: what objects inherit, what ends a text, what a terminal, a shell or Slack would act on. */
const hostileTexts: readonly string[] = [
  '__proto__',
  'constructor',
  'prototype',
  'valueOf',
  'toString',
  'hasOwnProperty',
  'toJSON',
  'then',
  '',
  ' ',
  '\0',
  '\n',
  '\r\nX: y',
  '\u2028',
  '\ud800',
  '\u001b[2J',
  '"',
  "'",
  '\\',
  '}',
  '..',
  '../..',
  '%2e%2e',
  '-1',
  '0x10',
  '1e999',
  'NaN',
  'Infinity',
  'null',
  'undefined',
  '[object Object]',
  '; id',
  '$(id)',
  '`id`',
  '<!channel>',
  '<script>',
  '{{ $value }}',
  'a'.repeat(3_000),
];

/** A text from outside. */
export const anyText: fc.Arbitrary<string> = fc.oneof(
  { weight: 2, arbitrary: fc.constantFrom(...hostileTexts) },
  { weight: 1, arbitrary: fc.string({ maxLength: 12 }) },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 12 }) },
);

const anyScalar: fc.Arbitrary<unknown> = fc.oneof(
  anyText,
  fc.constantFrom<unknown>(null, true, false, 0, -1, 1, 0.5, 101, 2 ** 31, 2 ** 53, -(2 ** 53), 1e308, 5e-324, -0, [], {}),
  fc.integer(),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
);

/** Any JSON document, with names that objects inherit among its keys. */
export const anyJson: fc.Arbitrary<unknown> = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    anyScalar,
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(anyText, tie('value'), { maxKeys: 3 }),
  ),
})).value;

/** A change to a document: at one of its places. */
export type Damage = { readonly at: number; readonly how: 'replace' | 'drop' | 'rename' | 'double' | 'retype'; readonly value: unknown; readonly name: string };

const anyDamage: fc.Arbitrary<Damage> = fc.record({
  at: fc.nat({ max: 1_000_000 }),
  how: fc.constantFrom('replace', 'replace', 'drop', 'rename', 'double', 'retype'),
  value: anyJson,
  name: anyText,
});

/** One to three changes. */
export const anyDamages: fc.Arbitrary<readonly Damage[]> = fc.array(anyDamage, { minLength: 1, maxLength: 3 });

type Place = { readonly parent: Record<string, unknown> | unknown[]; readonly key: string };

function placesIn(value: unknown, found: Place[]): Place[] {
  if (typeof value !== 'object' || value === null) return found;
  for (const key of Object.keys(value)) {
    found.push({ parent: value as Place['parent'], key });
    placesIn((value as Record<string, unknown>)[key], found);
  }
  return found;
}

/** A copy of a good document with some of its places changed. */
export function damaged<Document>(document: Document, damages: readonly Damage[]): Document {
  const root: { document: unknown } = { document: structuredClone(document) };
  for (const { at, how, value, name } of damages) {
    const places = placesIn(root, []);
    const place = places[at % places.length];
    if (place !== undefined) damage(place, how, value, name);
  }
  return root.document as Document;
}

function damage({ parent, key }: Place, how: Damage['how'], value: unknown, name: string): void {
  const before = (parent as Record<string, unknown>)[key];
  if (how === 'drop' || how === 'rename') {
    if (Array.isArray(parent)) parent.splice(Number(key), 1);
    else delete parent[key];
  }
  if (how === 'rename' && !Array.isArray(parent)) put(parent, name, before);
  if (how === 'double' && Array.isArray(parent)) parent.splice(Number(key), 0, structuredClone(before));
  if (how === 'replace') put(parent as Record<string, unknown>, key, value);
  if (how === 'retype') put(parent as Record<string, unknown>, key, retyped(before));
}

function retyped(value: unknown): unknown {
  if (typeof value === 'string') return [value];
  if (typeof value === 'number') return String(value);
  return Array.isArray(value) ? Object.fromEntries(value.entries()) : [value];
}

/** As JSON.parse does it: `__proto__` becomes a key like any other. */
function put(object: Record<string, unknown>, key: string, value: unknown): void {
  Object.defineProperty(object, key, { value, enumerable: true, writable: true, configurable: true });
}

/**
 * Plays a property `cases` times (times `ROLLBACKD_FUZZ_RUNS`); after each case nothing may have been put into what all objects inherit.
 * @param examples played first
 */
export async function forAll<Case>(
  arbitrary: fc.Arbitrary<Case>,
  cases: number,
  holds: (value: Case) => unknown,
  examples: readonly Case[] = [],
): Promise<void> {
  const before = inherited();
  await fc.assert(
    fc.asyncProperty(arbitrary, async (value) => {
      await holds(value);
      const after = inherited();
      if (after !== before) throw new Error(`what all objects inherit was changed: ${after}`);
    }),
    { numRuns: Math.ceil(cases * fuzzRuns), examples: examples.map((example): [Case] => [example]) },
  );
}

function inherited(): string {
  return [Object.prototype, Array.prototype, String.prototype, Function.prototype].map((prototype) => Reflect.ownKeys(prototype).map(String).join()).join('; ');
}
