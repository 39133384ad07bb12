import { z } from 'zod';
import { filePaths, sourceTexts } from '../config/scalars.ts';

type AnySchema = z.core.$ZodType;
type Def = { readonly type: string } & Readonly<Record<string, unknown>>;

/** What the schemas of one place say, wrappers and alternatives taken off. */
export type Place = {
  readonly isPath: boolean;
  readonly isText: boolean;
  /** Keys of an object in their order, `null` where any key may stand (a record) or no map is expected. */
  readonly keys: readonly string[] | null;
  readonly description: string | null;
  field(key: string): Place;
  element(index: number): Place;
};

const cache = new WeakMap<AnySchema, Place>();

/** Looks at a schema from outside: which keys it knows, which values are paths or want their source text. */
export function placeOf(schema: AnySchema): Place {
  const known = cache.get(schema);
  if (known !== undefined) return known;
  const place = combine([schema]);
  cache.set(schema, place);
  return place;
}

const nowhere: Place = { isPath: false, isText: false, keys: null, description: null, field: () => nowhere, element: () => nowhere };

function combine(schemas: readonly AnySchema[]): Place {
  if (schemas.length === 0) return nowhere;
  const bare: AnySchema[] = [];
  const marks = { isPath: false, isText: false, description: null as string | null };
  for (const schema of schemas) unwrap(schema, bare, marks);
  const fields = new Map<string, Place>();
  const elements = new Map<number, Place>();
  const shapes = bare.filter((schema) => defOf(schema).type === 'object').map((schema) => defOf(schema)['shape'] as Readonly<Record<string, AnySchema>>);
  const records = bare.filter((schema) => defOf(schema).type === 'record').map((schema) => defOf(schema)['valueType'] as AnySchema);
  return {
    ...marks,
    keys: shapes.length === 0 || records.length > 0 ? null : [...new Set(shapes.flatMap((shape) => Object.keys(shape)))],
    field: (key) => {
      let place = fields.get(key);
      if (place === undefined) {
        place = combine([...shapes.flatMap((shape) => (Object.hasOwn(shape, key) ? [shape[key] as AnySchema] : [])), ...records]);
        if (shapes.some((shape) => Object.hasOwn(shape, key))) fields.set(key, place);
      }
      return place;
    },
    element: (index) => {
      const slot = bare.some((schema) => defOf(schema).type === 'tuple') ? index : 0;
      let place = elements.get(slot);
      if (place === undefined) {
        place = combine(
          bare.flatMap((schema) => {
            const def = defOf(schema);
            if (def.type === 'array') return [def['element'] as AnySchema];
            if (def.type !== 'tuple') return [];
            const item = (def['items'] as readonly AnySchema[])[index] ?? (def['rest'] as AnySchema | null);
            return item === null || item === undefined ? [] : [item];
          }),
        );
        elements.set(slot, place);
      }
      return place;
    },
  };
}

function defOf(schema: AnySchema): Def {
  return schema._zod.def as unknown as Def;
}

function unwrap(schema: AnySchema, bare: AnySchema[], marks: { isPath: boolean; isText: boolean; description: string | null }): void {
  // `.meta()` and `.describe()` clone: the registry finds the marked original through the clone's parent.
  if (filePaths.get(schema) !== undefined) marks.isPath = true;
  if (sourceTexts.get(schema) !== undefined) marks.isText = true;
  marks.description ??= z.globalRegistry.get(schema)?.description ?? null;
  const def = defOf(schema);
  switch (def.type) {
    case 'optional':
    case 'nullable':
    case 'default':
    case 'prefault':
    case 'nonoptional':
    case 'readonly':
    case 'catch':
      unwrap(def['innerType'] as AnySchema, bare, marks);
      break;
    case 'pipe':
      unwrap(def['in'] as AnySchema, bare, marks);
      break;
    case 'lazy':
      unwrap((def['getter'] as () => AnySchema)(), bare, marks);
      break;
    case 'union':
      for (const option of def['options'] as readonly AnySchema[]) unwrap(option, bare, marks);
      break;
    case 'intersection':
      unwrap(def['left'] as AnySchema, bare, marks);
      unwrap(def['right'] as AnySchema, bare, marks);
      break;
    default:
      bare.push(schema);
  }
}
