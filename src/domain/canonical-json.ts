/**
 * JSON text that is the same for equal values: keys sorted by UTF-16 code unit, no white space, numbers as ECMAScript writes them (RFC 8785).
 * What JSON does not have follows `JSON.stringify`: `undefined` members are left out, numbers that are not finite become `null`;
 * so what is hashed is exactly what is read back.
 * @throws {TypeError} for a cycle, a bigint, or a value that is no JSON at all (a bare function or `undefined`)
 */
export function canonicalJson(value: unknown): string {
  const text = write(value, new Set());
  if (text === undefined) throw new TypeError(`${typeof value} has no JSON form`);
  return text;
}

function write(value: unknown, above: Set<object>): string | undefined {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return JSON.stringify(value);
  if (typeof value === 'number') return Number.isFinite(value) ? String(Object.is(value, -0) ? 0 : value) : 'null';
  if (typeof value === 'bigint') throw new TypeError('a bigint has no JSON form');
  if (typeof value !== 'object') return undefined;
  if (above.has(value)) throw new TypeError('a cycle has no JSON form');
  above.add(value);
  const text =
    'toJSON' in value && typeof value.toJSON === 'function'
      ? write(value.toJSON(), above)
      : Array.isArray(value)
        ? writeArray(value, above)
        : writeObject(value, above);
  above.delete(value);
  return text;
}

function writeArray(items: readonly unknown[], above: Set<object>): string {
  return `[${items.map((item) => write(item, above) ?? 'null').join(',')}]`;
}

function writeObject(object: object, above: Set<object>): string {
  const members: string[] = [];
  // Plain `sort` compares UTF-16 code units, as RFC 8785 wants.
  for (const key of Object.keys(object).sort()) {
    const text = write((object as Record<string, unknown>)[key], above);
    if (text !== undefined) members.push(`${JSON.stringify(key)}:${text}`);
  }
  return `{${members.join(',')}}`;
}
