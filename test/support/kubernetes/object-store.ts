import { randomUUID } from 'node:crypto';
import { expired } from './api-error.ts';
import type { KubernetesObject } from './kubernetes-object.ts';

export type StoredEvent = {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly resourceVersion: number;
  /** `group/resource`. */
  readonly store: string;
  readonly object: KubernetesObject;
  /** State before; a selector may have matched it. */
  readonly before: KubernetesObject | null;
};

/** Objects of all kinds, one counter of versions over all, and the history that watches read: etcd as the API server uses it. */
export class ObjectStore {
  readonly #objects = new Map<string, Map<string, KubernetesObject>>();
  readonly #listeners = new Set<(event: StoredEvent) => void>();
  #history: StoredEvent[] = [];
  #version = 100;
  #compactedBelow = 0;

  get version(): number {
    return this.#version;
  }

  get(store: string, namespace: string | null, name: string): KubernetesObject | null {
    return this.#objects.get(store)?.get(key(namespace, name)) ?? null;
  }

  /** In the order of namespace and name. `namespace: null`: of all. */
  list(store: string, namespace: string | null): readonly KubernetesObject[] {
    return [...(this.#objects.get(store) ?? [])]
      .filter(([path]) => namespace === null || path.startsWith(`${namespace}/`))
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([, object]) => object);
  }

  /** Keeps the object under a new resourceVersion, frozen. */
  put(store: string, object: KubernetesObject): KubernetesObject {
    const objects = this.#objects.get(store) ?? new Map<string, KubernetesObject>();
    this.#objects.set(store, objects);
    const path = key(object.metadata.namespace ?? null, object.metadata.name);
    const before = objects.get(path) ?? null;
    this.#version += 1;
    const kept = deepFreeze(structuredClone({ ...object, metadata: { ...object.metadata, resourceVersion: String(this.#version) } }));
    objects.set(path, kept);
    this.#tell({ type: before === null ? 'ADDED' : 'MODIFIED', resourceVersion: this.#version, store, object: kept, before });
    return kept;
  }

  remove(store: string, object: KubernetesObject): KubernetesObject {
    const path = key(object.metadata.namespace ?? null, object.metadata.name);
    const before = this.#objects.get(store)?.get(path) ?? object;
    this.#objects.get(store)?.delete(path);
    this.#version += 1;
    const last = deepFreeze(structuredClone({ ...before, metadata: { ...before.metadata, resourceVersion: String(this.#version) } }));
    this.#tell({ type: 'DELETED', resourceVersion: this.#version, store, object: last, before });
    return last;
  }

  /** What happened after a version. @throws {ApiError} 410 when that is no longer known */
  since(version: number): readonly StoredEvent[] {
    if (version < this.#compactedBelow) throw expired(`too old resource version: ${version} (${this.#compactedBelow})`);
    return this.#history.filter((event) => event.resourceVersion > version);
  }

  /** Forgets the history: older versions are Expired from now on. */
  compact(): void {
    this.#history = [];
    this.#version += 1;
    this.#compactedBelow = this.#version;
  }

  isCompacted(version: number): boolean {
    return version < this.#compactedBelow;
  }

  /** @returns to be called when nothing more is to be heard */
  listen(listener: (event: StoredEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  all(): readonly (readonly [store: string, object: KubernetesObject])[] {
    return [...this.#objects].flatMap(([store, objects]) => [...objects.values()].map((object) => [store, object] as const));
  }

  newUid(): string {
    return randomUUID();
  }

  #tell(event: StoredEvent): void {
    this.#history.push(event);
    for (const listener of this.#listeners) listener(event);
  }
}

function key(namespace: string | null, name: string): string {
  return `${namespace ?? ''}/${name}`;
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    for (const inner of Object.values(value)) deepFreeze(inner);
    Object.freeze(value);
  }
  return value;
}
