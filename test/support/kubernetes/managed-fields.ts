import { isMap, type JsonMap, type KubernetesObject, type ManagedFieldsEntry } from './kubernetes-object.ts';

/** Lists whose elements are told apart by keys, in built-in kinds; all other lists are one field. */
const listKeys: Readonly<Record<string, readonly string[]>> = {
  containers: ['name'],
  initContainers: ['name'],
  env: ['name'],
  volumes: ['name'],
  volumeMounts: ['mountPath'],
  conditions: ['type'],
  ownerReferences: ['uid'],
  ports: ['containerPort', 'port', 'protocol'],
};
/** Maps that are one field, in built-in kinds: whoever changes a key owns them whole. */
const atomicMaps: ReadonlySet<string> = new Set(['selector', 'nodeSelector']);
/** Fields nobody owns. */
const unowned = new Set([
  'name',
  'generateName',
  'namespace',
  'uid',
  'resourceVersion',
  'generation',
  'creationTimestamp',
  'deletionTimestamp',
  'deletionGracePeriodSeconds',
  'managedFields',
]);

/** Path of a field, as JSON: `["f:spec","f:replicas"]` → its value. */
type Fields = Map<string, string>;

function collect(value: unknown, path: readonly string[], isBuiltIn: boolean, into: Fields): void {
  const name = path.at(-1)?.slice(2) ?? '';
  const keys = listKeys[name];
  const isAtomic = isBuiltIn && atomicMaps.has(name);
  if (isMap(value) && !isAtomic && (Object.keys(value).length > 0 || path.length === 0)) {
    for (const [key, inner] of Object.entries(value)) {
      if (path.length === 0 && (key === 'apiVersion' || key === 'kind')) continue;
      if (path.length === 1 && path[0] === 'f:metadata' && unowned.has(key)) continue;
      collect(inner, [...path, `f:${key}`], isBuiltIn, into);
    }
  } else if (Array.isArray(value) && isBuiltIn && keys !== undefined && value.every(isMap)) {
    for (const element of value) {
      const key = Object.fromEntries(keys.filter((field) => element[field] !== undefined).map((field) => [field, element[field]]));
      const inner = [...path, `k:${JSON.stringify(key)}`];
      into.set(JSON.stringify([...inner, '.']), '');
      for (const [field, part] of Object.entries(element)) collect(part, [...inner, `f:${field}`], isBuiltIn, into);
    }
  } else if (path.length > 0) into.set(JSON.stringify(path), JSON.stringify(value));
}

function fieldsOf(object: KubernetesObject | null, isBuiltIn: boolean): Fields {
  const fields: Fields = new Map();
  if (object !== null) collect(object, [], isBuiltIn, fields);
  return fields;
}

function encode(paths: Iterable<string>): JsonMap {
  const root: JsonMap = {};
  for (const path of paths) {
    let level = root;
    for (const part of JSON.parse(path) as string[]) {
      const next = (level[part] ?? {}) as JsonMap;
      level[part] = next;
      level = next;
    }
  }
  return root;
}

function decode(fields: JsonMap, path: readonly string[] = [], into: Set<string> = new Set()): Set<string> {
  for (const [part, inner] of Object.entries(fields)) {
    const here = [...path, part];
    if (Object.keys(inner as JsonMap).length === 0) into.add(JSON.stringify(here));
    else decode(inner as JsonMap, here, into);
  }
  return into;
}

/**
 * Who owns what after an update: what the manager changed is the manager's, and nobody else's any more.
 * @param writer `subresource` is named in entries of writes to it
 */
export function updateManagedFields(
  before: KubernetesObject | null,
  after: KubernetesObject,
  writer: { manager: string; subresource: string | null; isBuiltIn: boolean; nowMs: number },
): ManagedFieldsEntry[] {
  const old = fieldsOf(before, writer.isBuiltIn);
  const now = fieldsOf(after, writer.isBuiltIn);
  const changed = [...now].filter(([path, value]) => old.get(path) !== value).map(([path]) => path);
  const gone = [...old.keys()].filter((path) => !now.has(path));
  const entries = (before?.metadata.managedFields ?? []).map((entry) => ({ entry, owned: decode(entry.fieldsV1) }));
  const isWriters = ({ manager, operation, subresource }: ManagedFieldsEntry): boolean =>
    manager === writer.manager && operation === 'Update' && (subresource ?? null) === writer.subresource;
  for (const { entry, owned } of entries) {
    for (const path of gone) owned.delete(path);
    if (!isWriters(entry)) for (const path of changed) owned.delete(path);
  }
  const time = `${new Date(writer.nowMs).toISOString().slice(0, 19)}Z`;
  const kept = entries.filter(({ entry, owned }) => isWriters(entry) || owned.size > 0).map(({ entry, owned }) => ({ ...entry, fieldsV1: encode(owned) }));
  if (changed.length === 0) return kept.filter((entry) => Object.keys(entry.fieldsV1).length > 0);
  const own = entries.find(({ entry }) => isWriters(entry));
  const written: ManagedFieldsEntry = {
    manager: writer.manager,
    operation: 'Update',
    apiVersion: after.apiVersion ?? '',
    time,
    fieldsType: 'FieldsV1',
    fieldsV1: encode([...(own?.owned ?? []), ...changed]),
    ...(writer.subresource === null ? {} : { subresource: writer.subresource }),
  };
  return [...kept.filter((entry) => !isWriters(entry)), written];
}
