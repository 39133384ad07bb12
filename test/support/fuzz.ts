import fc from 'fast-check';
import { codePoints } from './code-points.ts';
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
  { weight: 1, arbitrary: codePoints({ maxLength: 12 }) },
);

/** A text put together from words of a language and from anything else. */
export function textOf(...words: readonly string[]): fc.Arbitrary<string> {
  return fc
    .array(fc.oneof({ weight: 4, arbitrary: fc.constantFrom(...words) }, { weight: 1, arbitrary: anyText }), { maxLength: 14 })
    .map((parts) => parts.join(''));
}

const tooLarge = '\ue0001e999';

const anyScalar: fc.Arbitrary<unknown> = fc.oneof(
  anyText,
  fc.constantFrom<unknown>(null, true, tooLarge, false, 0, -1, 1, 0.5, 101, 2 ** 31, 2 ** 53, -(2 ** 53), 1e308, 5e-324, -0, [], {}),
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

/** The text of a document, in which a number too large for a double stands for each `tooLarge`: the one number of a JSON text that reads as none. */
export function jsonOf(document: unknown): string {
  return JSON.stringify(document).replaceAll(JSON.stringify(tooLarge), '1e999');
}

/** What a map of answers, damaged or no map at all, says to one call. */
export function answerIn(answers: unknown, call: string): unknown {
  return typeof answers === 'object' && answers !== null && Object.hasOwn(answers, call) ? (answers as Record<string, unknown>)[call] : undefined;
}

/** A change to a document: at one of its places. */
export type Damage = { readonly at: number } & (
  | { readonly how: 'drop' | 'double' | 'retype' }
  | { readonly how: 'rename'; readonly name: string }
  | { readonly how: 'replace'; readonly value: unknown }
);

const at = fc.nat({ max: 1_000_000 });
const anyDamage: fc.Arbitrary<Damage> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ at, how: fc.constantFrom('drop' as const, 'double' as const, 'retype' as const) }) },
  { weight: 1, arbitrary: fc.record({ at, how: fc.constant('rename' as const), name: anyText }) },
  { weight: 2, arbitrary: fc.record({ at, how: fc.constant('replace' as const), value: anyJson }) },
);

/** One to three changes. */
export const anyDamages: fc.Arbitrary<readonly Damage[]> = fc.array(anyDamage, { minLength: 1, maxLength: 3 });

/** How many places a document has; what is shared by many is counted once. */
const counted = new WeakMap<object, number>();

function placesIn(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  const known = counted.get(value);
  if (known !== undefined) return known;
  const items = Object.values(value);
  const places = items.reduce<number>((sum, item) => sum + placesIn(item), items.length);
  counted.set(value, places);
  return places;
}

/** A good document with some of its places changed. It stays as it is: what changed is copied, the rest is shared. */
export function damaged<Document>(document: Document, damages: readonly Damage[]): Document {
  let root: { readonly document: unknown } = { document };
  for (const damage of damages) {
    const places = placesIn(root);
    if (places > 0) root = withDamage(root, damage.at % places, damage);
  }
  return root.document as Document;
}

/** @param at counts the places of `parent`, each before those inside it */
function withDamage<Parent extends object>(parent: Parent, at: number, damage: Damage): Parent {
  const copy = (Array.isArray(parent) ? [...(parent as unknown[])] : copyOf(parent)) as Parent;
  let left = at;
  for (const [key, item] of Object.entries(parent) as [string, unknown][]) {
    if (left === 0) {
      change(copy, key, item, damage);
      return copy;
    }
    left -= 1;
    const inside = placesIn(item);
    if (left < inside) {
      put(copy, key, withDamage(item as object, left, damage));
      return copy;
    }
    left -= inside;
  }
  return copy;
}

function copyOf(object: object): object {
  const copy = {};
  for (const [key, value] of Object.entries(object)) put(copy, key, value);
  return copy;
}

function change(parent: object, key: string, before: unknown, damage: Damage): void {
  switch (damage.how) {
    case 'drop':
    case 'rename':
      if (Array.isArray(parent)) parent.splice(Number(key), 1);
      else Reflect.deleteProperty(parent, key);
      if (damage.how === 'rename' && !Array.isArray(parent)) put(parent, damage.name, before);
      break;
    case 'double':
      if (Array.isArray(parent)) parent.splice(Number(key), 0, before);
      break;
    case 'retype':
      put(parent, key, retyped(before));
      break;
    case 'replace':
      put(parent, key, damage.value);
  }
}

function retyped(value: unknown): unknown {
  if (typeof value === 'string') return [value];
  if (typeof value === 'number') return String(value);
  return Array.isArray(value) ? Object.fromEntries(value.entries()) : [value];
}

/** As JSON.parse does it: `__proto__` becomes a key like any other. */
function put(object: object, key: string, value: unknown): void {
  if (key === '__proto__') Object.defineProperty(object, key, { value, enumerable: true, writable: true, configurable: true });
  else (object as Record<string, unknown>)[key] = value;
}

/** Of one case, on a busy machine; most take less than one. */
const longestMs = 10_000;

/**
 * Plays a property `cases` times (times `ROLLBACKD_FUZZ_RUNS`); no case may take for ever, and after each nothing may have been put into what all
 * objects inherit.
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
      const startedMs = performance.now();
      await holds(value);
      if (performance.now() - startedMs > longestMs) throw new Error(`one case took longer than ${longestMs} ms`);
      if (inherited() !== before)
        throw new Error(`what all objects inherit was changed: ${prototypes.map((each) => Reflect.ownKeys(each).map(String).join()).join('; ')}`);
    }),
    { numRuns: Math.ceil(cases * fuzzRuns), examples: examples.map((example): [Case] => [example]) },
  );
}

const prototypes = [Object.prototype, Array.prototype, String.prototype, Function.prototype];

/** How many properties they have in all. */
function inherited(): number {
  return prototypes.reduce<number>((sum, prototype) => sum + Reflect.ownKeys(prototype).length, 0);
}
