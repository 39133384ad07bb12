import { isDeepStrictEqual } from 'node:util';
import { badRequest, patchRejected } from './api-error.ts';
import { isMap } from './kubernetes-object.ts';

/** RFC 7386. Lists are replaced whole, `null` deletes a key. */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isMap(patch)) return structuredClone(patch);
  const merged: Record<string, unknown> = isMap(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete merged[key];
    else merged[key] = mergePatch(merged[key], value);
  }
  return merged;
}

type Operation = { op: string; path: string; from?: string; value?: unknown };
const operations = ['add', 'remove', 'replace', 'move', 'copy', 'test'];

/**
 * RFC 6902, on a copy.
 * @throws {ApiError} 400 for what is no patch, 422 without details for an operation that does not fit (a failed `test` too)
 */
export function jsonPatch(target: unknown, patch: unknown): unknown {
  if (!Array.isArray(patch)) throw badRequest('error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch');
  if (patch.length > 10_000) throw badRequest('The allowed maximum operations in a JSON patch is 10000');
  let document: unknown = structuredClone(target);
  for (const operation of patch as Operation[]) document = applyOperation(document, operation);
  return document;
}

function applyOperation(document: unknown, operation: Operation): unknown {
  if (!isMap(operation) || !operations.includes(operation.op)) throw patchRejected();
  const path = pointer(operation.path);
  switch (operation.op) {
    case 'test':
      // As the API server's library does it: a missing value equals null.
      if (!isDeepStrictEqual(read(document, path, true) ?? null, operation.value ?? null)) throw patchRejected();
      return document;
    case 'add':
      return write(document, path, structuredClone(operation.value), 'add');
    case 'replace':
      return write(document, path, structuredClone(operation.value), 'replace');
    case 'remove':
      return write(document, path, undefined, 'remove');
    case 'copy':
      return write(document, path, structuredClone(read(document, pointer(operation.from ?? ''), false)), 'add');
    default: {
      const from = pointer(operation.from ?? '');
      const value = read(document, from, false);
      return write(write(document, from, undefined, 'remove'), path, value, 'add');
    }
  }
}

function pointer(text: string): readonly string[] {
  if (text === '') return [];
  if (typeof text !== 'string' || !text.startsWith('/')) throw patchRejected();
  return text
    .slice(1)
    .split('/')
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
}

function index(list: readonly unknown[], key: string, isForAdd: boolean): number {
  if (key === '-' && isForAdd) return list.length;
  if (!/^(?:0|[1-9]\d*)$/.test(key) || Number(key) > list.length - (isForAdd ? 0 : 1)) throw patchRejected();
  return Number(key);
}

function read(document: unknown, path: readonly string[], isMissingAllowed: boolean): unknown {
  let value = document;
  for (const key of path) {
    if (Array.isArray(value)) value = value[index(value, key, false)];
    else if (isMap(value) && Object.hasOwn(value, key)) value = value[key];
    else if (isMissingAllowed && isMap(value)) return undefined;
    else throw patchRejected();
  }
  return value;
}

function write(document: unknown, path: readonly string[], value: unknown, how: 'add' | 'replace' | 'remove'): unknown {
  if (path.length === 0) return value;
  const parent = read(document, path.slice(0, -1), false);
  const key = path.at(-1) as string;
  if (Array.isArray(parent)) {
    const at = index(parent, key, how === 'add');
    if (how === 'add') parent.splice(at, 0, value);
    else if (how === 'replace') parent[at] = value;
    else parent.splice(at, 1);
  } else if (isMap(parent)) {
    if (how !== 'add' && !Object.hasOwn(parent, key)) throw patchRejected();
    if (how === 'remove') delete parent[key];
    else parent[key] = value;
  } else throw patchRejected();
  return document;
}
