import { isDeepStrictEqual } from 'node:util';
import type { Cause } from './api-error.ts';
import { isMap, type JsonMap } from './kubernetes-object.ts';

/** What the API server does with a custom kind's schema, as far as this repository's kinds lean on it. @see https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/ */

const ofEveryObject = new Set(['apiVersion', 'kind', 'metadata']);

function propertyOf(schema: JsonMap, key: string): JsonMap | null {
  const properties = (schema['properties'] ?? {}) as Record<string, JsonMap>;
  if (Object.hasOwn(properties, key)) return properties[key] as JsonMap;
  return isMap(schema['additionalProperties']) ? schema['additionalProperties'] : null;
}

/** Takes away what the schema does not name, in place. */
export function prune(value: unknown, schema: JsonMap, isRoot = true): void {
  if (Array.isArray(value) && isMap(schema['items'])) for (const inner of value) prune(inner, schema['items'], false);
  if (!isMap(value)) return;
  for (const key of Object.keys(value)) {
    if (isRoot && ofEveryObject.has(key)) continue;
    const inner = propertyOf(schema, key);
    if (inner !== null) prune(value[key], inner, false);
    else if (schema['x-kubernetes-preserve-unknown-fields'] !== true && schema['additionalProperties'] !== true) delete value[key];
  }
}

/** Fills in what is not said (or said to be null, where null is no value), in place. */
export function fillIn(value: unknown, schema: JsonMap): void {
  if (Array.isArray(value) && isMap(schema['items'])) for (const inner of value) fillIn(inner, schema['items']);
  if (!isMap(value)) return;
  for (const [key, inner] of Object.entries((schema['properties'] ?? {}) as Record<string, JsonMap>)) {
    const isMissing = value[key] === undefined || (value[key] === null && inner['nullable'] !== true);
    if (isMissing && inner['default'] !== undefined) value[key] = structuredClone(inner['default']);
  }
  for (const [key, inner] of Object.entries(value)) {
    const schemaOfIt = propertyOf(schema, key);
    if (schemaOfIt !== null) fillIn(inner, schemaOfIt);
  }
}

const typeOf = (value: unknown): string => (value === null ? 'null' : Array.isArray(value) ? 'array' : Number.isInteger(value) ? 'integer' : typeof value);

/** What the value breaks of the schema, in the API server's words. */
export function schemaCauses(value: unknown, schema: JsonMap, path = ''): Cause[] {
  const found = typeOf(value);
  const wanted = schema['type'] as string | undefined;
  const at = path === '' ? '<nil>' : path;
  const isType =
    wanted === undefined ||
    schema['x-kubernetes-int-or-string'] === true ||
    wanted === found ||
    (wanted === 'number' && found === 'integer') ||
    (found === 'null' && schema['nullable'] === true);
  if (!isType)
    return [{ field: at, message: `Invalid value: "${found}": ${path} in body must be of type ${wanted}: "${found}"`, reason: 'FieldValueTypeInvalid' }];
  const causes = valueCauses(value, schema, path, at);
  const join = (key: string): string => (path === '' ? key : `${path}.${key}`);
  if (isMap(value)) {
    for (const key of (schema['required'] ?? []) as string[])
      if (value[key] === undefined) causes.push({ field: join(key), message: 'Required value', reason: 'FieldValueRequired' });
    for (const [key, inner] of Object.entries(value)) {
      const sub = path === '' && ofEveryObject.has(key) ? null : propertyOf(schema, key);
      if (sub !== null) causes.push(...schemaCauses(inner, sub, join(key)));
    }
  }
  if (Array.isArray(value) && isMap(schema['items']))
    for (const [index, inner] of value.entries()) causes.push(...schemaCauses(inner, schema['items'], `${path}[${index}]`));
  return causes;
}

type Bounds = {
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  minItems?: number;
  maxItems?: number;
  pattern?: string;
  format?: string;
  enum?: unknown[];
};

function valueCauses(value: unknown, schema: JsonMap, path: string, at: string): Cause[] {
  const { minimum, maximum, minLength = 0, maxLength = Number.POSITIVE_INFINITY, minItems = 0, maxItems, pattern, format, enum: allowed } = schema as Bounds;
  const causes: Cause[] = [];
  const fails = (shown: unknown, sentence: string): number =>
    causes.push({ field: at, message: `Invalid value: ${String(shown)}: ${path} in body ${sentence}` });
  if (typeof value === 'number') {
    if (minimum !== undefined && value < minimum) fails(value, `should be greater than or equal to ${minimum}`);
    if (maximum !== undefined && value > maximum) fails(value, `should be less than or equal to ${maximum}`);
  }
  if (typeof value === 'string') {
    if (value.length < minLength) fails(JSON.stringify(value), `should be at least ${minLength} chars long`);
    if (value.length > maxLength) causes.push({ field: at, message: `Too long: may not be more than ${maxLength} bytes`, reason: 'FieldValueTooLong' });
    if (pattern !== undefined && !new RegExp(pattern, 'u').test(value)) fails(JSON.stringify(value), `should match '${pattern}'`);
    if (format === 'date-time' && Number.isNaN(Date.parse(value))) fails(JSON.stringify(value), `must be of type date-time: ${JSON.stringify(value)}`);
  }
  if (Array.isArray(value)) {
    if (value.length < minItems) fails(value.length, `should have at least ${minItems} items`);
    if (maxItems !== undefined && value.length > maxItems)
      causes.push({ field: at, message: `Too many: ${value.length}: must have at most ${maxItems} items`, reason: 'FieldValueTooMany' });
    causes.push(...duplicateCauses(value, schema, at));
  }
  if (allowed !== undefined && !allowed.includes(value))
    causes.push({
      field: at,
      message: `Unsupported value: ${JSON.stringify(value)}: supported values: ${allowed.map((one) => JSON.stringify(one)).join(', ')}`,
      reason: 'FieldValueNotSupported',
    });
  return causes;
}

/** In a list that is a map, no key may come twice. */
function duplicateCauses(value: readonly unknown[], schema: JsonMap, at: string): Cause[] {
  if (schema['x-kubernetes-list-type'] !== 'map') return [];
  const keys = schema['x-kubernetes-list-map-keys'] as string[];
  const keyOf = (entry: unknown): JsonMap => Object.fromEntries(keys.map((key) => [key, isMap(entry) ? entry[key] : undefined]));
  return value.flatMap((entry, index) =>
    value.slice(0, index).some((earlier) => isDeepStrictEqual(keyOf(earlier), keyOf(entry)))
      ? [{ field: `${at}[${index}]`, message: `Duplicate value: ${JSON.stringify(keyOf(entry))}`, reason: 'FieldValueDuplicate' }]
      : [],
  );
}
