/**
 * A record's own value under a key that came from outside, `undefined` for none.
 * Plain indexing would also find what every object inherits: people may call a label `valueOf` or `constructor`.
 */
export function lookUp<Value>(record: Readonly<Record<string, Value>>, key: string): Value | undefined {
  return Object.hasOwn(record, key) ? record[key] : undefined;
}
