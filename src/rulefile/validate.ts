import type { z } from 'zod';
import type { IssueParams } from '../config/key-rules.ts';
import { formatPath } from './diagnostic.ts';
import { nearest } from './nearest.ts';
import { type Place, placeOf } from './schema-walk.ts';
import type { YamlFile } from './yaml-document.ts';

type Issue = z.core.$ZodIssue;
type Path = readonly PropertyKey[];

/** Words for a key that people write although it is none of ours. */
export type KeyHints = Readonly<Record<string, string>>;

/**
 * Validates the whole file by a schema, and tells every fault at its place.
 * @returns the parsed value, or `null` when there was any fault; `plain` is what the schema was given (for checks that run all the same)
 */
export function validate<T extends z.ZodType>(
  yaml: YamlFile,
  schema: T,
  options: { folder: string | null; hints?: KeyHints },
): { readonly value: z.output<T> | null; readonly plain: unknown } {
  if (!yaml.isReadable) return { value: null, plain: undefined };
  const plain = yaml.plain(schema, options.folder);
  if (plain === undefined) return { value: null, plain };
  const value = validatePart(yaml, schema, plain, [], options.hints);
  return { value, plain };
}

/** Validates a part of a file that stands at `path`; as `validate`. `plain` must come from `YamlFile.plain`. */
export function validatePart<T extends z.ZodType>(yaml: YamlFile, schema: T, plain: unknown, path: Path, hints: KeyHints = {}): z.output<T> | null {
  const result = schema.safeParse(plain);
  if (result.success) return result.data;
  const { issues } = result.error;
  const meantKeys = issues.flatMap((issue) => slips(schema, issue));
  for (const issue of issues) if (!isConsequence(plain, issue, meantKeys)) tell(yaml, schema, issue, path, hints);
  return null;
}

/** Keys that were meant by unknown ones; `key: null` stands for the object that holds any. */
function slips(schema: z.ZodType, issue: Issue): { path: string; key: string | null }[] {
  if (issue.code !== 'unrecognized_keys') return [];
  const path = formatPath(issue.path);
  const keys = placeAt(schema, issue.path).keys ?? [];
  return [{ path, key: null }, ...issue.keys.map((key) => ({ path, key: nearest(key, keys) }))];
}

/** Whether a fault only says that something is missing which an unknown key beside it stands for. */
function isConsequence(plain: unknown, issue: Issue, meantKeys: readonly { path: string; key: string | null }[]): boolean {
  if (issue.code === 'custom' && (issue.params as IssueParams | undefined)?.code === 'missing_key')
    return meantKeys.some(({ path, key }) => key === null && path === formatPath(issue.path));
  if (issue.code === 'unrecognized_keys' || valueAt(plain, issue.path) !== undefined) return false;
  return meantKeys.some(({ path, key }) => key !== null && path === formatPath(issue.path.slice(0, -1)) && key === issue.path.at(-1));
}

/** Plain value at a path inside a plain value. */
export function valueAt(plain: unknown, path: Path): unknown {
  let value = plain;
  for (const step of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, step)) return undefined;
    value = (value as Record<PropertyKey, unknown>)[step];
  }
  return value;
}

function tell(yaml: YamlFile, schema: z.ZodType, issue: Issue, base: Path, hints: KeyHints): void {
  const path = [...base, ...issue.path];
  const place = placeAt(schema, issue.path);
  if (issue.code === 'unrecognized_keys') {
    for (const key of issue.keys) yaml.report([...path, key], unknownKey(key, place, hints), { code: 'unknown_key', at: 'key' });
    return;
  }
  if (issue.code === 'invalid_key') {
    const said = issue.issues[0]?.message ?? 'expected another key';
    yaml.report(path, said.startsWith('expected') ? `found ${JSON.stringify(String(path.at(-1)).slice(0, 60))}, ${said}` : said, {
      code: 'invalid_key',
      at: 'key',
    });
    return;
  }
  const params = issue.code === 'custom' ? (issue.params as IssueParams | undefined) : undefined;
  const expected = expectation(issue, place);
  if (!yaml.has(path)) {
    // A check of a whole object may blame a key that is not there; then its words stand alone.
    const said = issue.code === 'custom' ? issue.message : `missing, ${expected}${typeof path.at(-1) === 'number' ? '' : `; add "${String(path.at(-1))}: …"`}`;
    yaml.report(path, said, { code: 'missing_key' });
    return;
  }
  const message =
    issue.code === 'custom' && !issue.message.startsWith('expected') ? issue.message : `found ${yaml.found(path)}, ${expected}${meant(issue, yaml, path)}`;
  const at = issue.code === 'custom' && params?.within === undefined && !issue.message.startsWith('expected') ? 'key' : 'value';
  yaml.report(path, message, {
    code: params?.code ?? (issue.code === 'custom' ? 'invalid_value' : issue.code),
    at,
    ...(params?.within === undefined ? {} : { within: params.within }),
  });
}

function placeAt(schema: z.ZodType, path: Path): Place {
  let place = placeOf(schema);
  for (const step of path) place = typeof step === 'number' ? place.element(step) : place.field(String(step));
  return place;
}

function unknownKey(key: string, place: Place, hints: KeyHints): string {
  const keys = place.keys ?? [];
  if (keys.length === 0) return 'unknown key; none is expected here';
  const suggestion = nearest(key, keys);
  const hinted = suggestion === null ? nearest(key, Object.keys(hints)) : null;
  if (hinted !== null) return `unknown key; ${hints[hinted]}`;
  return `unknown key; ${suggestion === null ? '' : `did you mean "${suggestion}"? `}${suggestion === null ? 'k' : 'K'}nown keys: ${keys.join(', ')}`;
}

const kinds: Readonly<Record<string, string>> = {
  object: 'a map',
  record: 'a map',
  array: 'a list',
  tuple: 'a list',
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
};

function expectation(issue: Issue, place: Place): string {
  if (issue.message.startsWith('expected')) return issue.message;
  switch (issue.code) {
    case 'invalid_type':
      return `expected ${kinds[issue.expected] ?? issue.expected}${issue.expected === 'object' && place.keys !== null && place.keys.length > 0 ? ` of ${place.keys.slice(0, 6).join(', ')}${place.keys.length > 6 ? ' …' : ''}` : ''}`;
    case 'invalid_value':
      return issue.values.length === 1 ? `expected ${String(issue.values[0])}` : `expected one of ${issue.values.map(String).join(', ')}`;
    case 'too_small':
      return issue.origin === 'array'
        ? `expected at least ${issue.minimum} in this list`
        : issue.origin === 'string'
          ? 'expected text that is not empty'
          : `expected ${issue.minimum} or more`;
    case 'too_big':
      return `expected at most ${issue.maximum}${issue.origin === 'array' ? ' in this list' : ''}`;
    default: {
      const at = issue.message.indexOf('expected');
      return at === -1 ? `expected something else (${issue.message})` : issue.message.slice(at);
    }
  }
}

function meant(issue: Issue, yaml: YamlFile, path: Path): string {
  if (issue.code !== 'invalid_value' || issue.values.length < 2) return '';
  const given = yaml.found(path);
  const suggestion = given.startsWith('"') ? nearest(given.slice(1, -1), issue.values.map(String)) : null;
  return suggestion === null ? '' : `; did you mean "${suggestion}"?`;
}
