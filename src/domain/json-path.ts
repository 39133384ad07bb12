/**
 * The few steps of JSONPath that a smoke test needs: `$`, `.name`, `['name']`, `[0]`, and `.length()` at the end.
 * No wildcards, filters or slices: an expectation names one value.
 */
export type JsonPath = { readonly source: string; readonly steps: readonly JsonStep[] };
type JsonStep =
  | { readonly kind: 'key'; readonly key: string; readonly source: string }
  | { readonly kind: 'index'; readonly index: number; readonly source: string }
  | { readonly kind: 'length'; readonly source: string };

const step = /\.length\(\)|\.([\p{L}_][\p{L}\p{N}_-]*)|\[(0|[1-9]\d*)\]|\[(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")\]/uy;

/** @returns the path, or where (offset in the text) and why it is none */
export function parseJsonPath(
  source: string,
): { readonly path: JsonPath; readonly fault?: never } | { readonly fault: { readonly offset: number; readonly message: string }; readonly path?: never } {
  if (!source.startsWith('$')) return { fault: { offset: 0, message: 'a JSON path starts with $; write $.predictions[0]' } };
  const steps: JsonStep[] = [];
  for (let at = 1; at < source.length; ) {
    step.lastIndex = at;
    const match = step.exec(source);
    if (match === null)
      return { fault: { offset: at, message: `"${source.slice(at)}" is no step; known are .name, ['name'], [0] and, at the end, .length()` } };
    if (steps.at(-1)?.kind === 'length') return { fault: { offset: at, message: '.length() must be the last step' } };
    steps.push(stepOf(match));
    at = step.lastIndex;
  }
  return { path: { source, steps } };
}

function stepOf(match: RegExpExecArray): JsonStep {
  const [text, name, index, single, double] = match;
  if (index !== undefined) return { kind: 'index', index: Number(index), source: text };
  const quoted = single ?? double;
  if (quoted !== undefined) return { kind: 'key', key: quoted.replaceAll(/\\(.)/gu, '$1'), source: text };
  return name === undefined ? { kind: 'length', source: text } : { kind: 'key', key: name, source: text };
}

/** Follows the path. @returns the value, or in words what was found where the path could go no further */
export function readJsonPath(
  path: JsonPath,
  document: unknown,
): { readonly found: true; readonly value: unknown } | { readonly found: false; readonly reason: string } {
  let value = document;
  let seen = '$';
  for (const each of path.steps) {
    const next = follow(each, value);
    if (next === null) return { found: false, reason: `${seen} is ${nameOf(value)}, ${wanted(each)}` };
    value = next.value;
    seen += each.source;
  }
  return { found: true, value };
}

function follow(each: JsonStep, value: unknown): { readonly value: unknown } | null {
  switch (each.kind) {
    case 'key':
      return isObject(value) && Object.hasOwn(value, each.key) ? { value: value[each.key] } : null;
    case 'index':
      return Array.isArray(value) && each.index < value.length ? { value: value[each.index] as unknown } : null;
    case 'length':
      if (Array.isArray(value) || typeof value === 'string') return { value: value.length };
      return isObject(value) ? { value: Object.keys(value).length } : null;
  }
}

function wanted(each: JsonStep): string {
  if (each.kind === 'length') return 'which has no length()';
  return each.kind === 'index' ? `so there is no ${each.source}` : `so there is no key "${each.key}"`;
}

function nameOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return `an array of ${value.length}`;
  if (!isObject(value)) return `the ${typeof value} ${shorten(JSON.stringify(value))}`;
  const keys = Object.keys(value);
  return keys.length === 0 ? 'an object without keys' : `an object with the keys ${shorten(keys.join(', '))}`;
}

function shorten(text: string): string {
  return text.length > 80 ? `${text.slice(0, 79)}…` : text;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Whether two plain JSON values are the same; keys in any order. */
export function equalJson(left: unknown, right: unknown): boolean {
  if (Array.isArray(left)) return Array.isArray(right) && left.length === right.length && left.every((item, index) => equalJson(item, right[index]));
  if (!isObject(left)) return left === right;
  if (!isObject(right)) return false;
  const keys = Object.keys(left);
  return keys.length === Object.keys(right).length && keys.every((key) => Object.hasOwn(right, key) && equalJson(left[key], right[key]));
}
