import { lstat, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { lookUp } from '../../../domain/lookup.ts';
import type { Observation } from '../../../domain/observation.ts';
import { PlaneError, type PlaneTarget, type VersionStore } from '../../../domain/ports.ts';
import type { StoredVersion } from '../../../domain/retention.ts';
import type { ApplyOutcome } from '../../../domain/step.ts';
import { compareVersions } from '../../../domain/target.ts';
import type { BaseEntry } from './base-list.ts';
import { namedVersions } from './model-state.ts';

/** A file of this name in a version's folder wants it kept. */
const keepFile = '.keep';

export type VersionFolders = {
  /** The model as the list has it, and as it is on the endpoints by our changes. @throws {PlaneError} */
  readonly entryOf: (target: PlaneTarget) => Promise<{ readonly entry: BaseEntry; readonly named: readonly string[] }>;
  readonly observe: (target: PlaneTarget, signal: AbortSignal) => Promise<Observation>;
};

type Folder = { readonly id: string; readonly path: string };

/** The version folders under a model's `base_path`, where they can be reached from here (not in a bucket, not on another machine). */
export class VersionFolderStore implements VersionStore {
  readonly name = 'tensorflow_serving folders';
  readonly isAuthority = false;
  readonly #folders: VersionFolders;

  constructor(folders: VersionFolders) {
    this.#folders = folders;
  }

  idOf(_target: PlaneTarget, serving: string): string {
    return serving;
  }

  async list(target: PlaneTarget): Promise<readonly StoredVersion[]> {
    const { entry, named } = await this.#folders.entryOf(target);
    const found = await this.#read(entry);
    return await Promise.all(
      found.map(async ({ id, path }) => {
        const { mtimeMs } = await lstat(path);
        return { id, createdMs: mtimeMs, keep: await reasonToKeep(id, path, named) };
      }),
    );
  }

  /** Renamed first, so that a server finds all of it or nothing; then deleted. */
  async delete(target: PlaneTarget, id: string, signal: AbortSignal): Promise<ApplyOutcome> {
    try {
      const { entry, named } = await this.#folders.entryOf(target);
      const folder = (await this.#read(entry)).find((candidate) => candidate.id === id);
      if (folder === undefined) return { kind: 'already', detail: 'there is no such folder (any more)' };
      const keep = (await reasonToKeep(id, folder.path, named)) ?? (await this.#heldBy(target, id, signal));
      if (keep !== null) return { kind: 'conflict', class: 'permanent', detail: keep };
      const doomed = join(entry.basePath, `.rollbackd-deleted-${id}`);
      await rm(doomed, { recursive: true, force: true });
      await rename(folder.path, doomed);
      await rm(doomed, { recursive: true, force: true });
      return { kind: 'applied', detail: `deleted ${folder.path}` };
    } catch (error) {
      if (error instanceof PlaneError) return { kind: 'rejected', class: error.class, detail: error.message };
      return { kind: 'rejected', class: 'permanent', detail: `${entryWords(error)}; rollbackd needs to write the folder of the model` };
    }
  }

  async #heldBy(target: PlaneTarget, id: string, signal: AbortSignal): Promise<string | null> {
    const { endpoints } = await this.#folders.observe(target, signal);
    for (const { endpoint, error, versions } of endpoints) {
      if (error !== undefined) return `${endpoint} cannot be read: ${error}`;
      const state = versions.find((version) => version.id === id)?.state ?? 'absent';
      if (state !== 'absent' && state !== 'unloaded' && state !== 'failed') return `it is ${state} on ${endpoint}`;
    }
    return null;
  }

  /** Newest first. TensorFlow Serving takes 00000007 for version 7. */
  async #read(entry: BaseEntry): Promise<readonly Folder[]> {
    if (!entry.basePath.startsWith('/')) throw new PlaneError('permanent', `${entry.basePath} is no folder of this machine`);
    try {
      const found = await readdir(entry.basePath, { withFileTypes: true });
      const folders = found.filter((each) => each.isDirectory() && /^\d{1,18}$/.test(each.name));
      return folders.map((each) => ({ id: String(BigInt(each.name)), path: join(entry.basePath, each.name) })).toSorted((a, b) => compareVersions(b.id, a.id));
    } catch (error) {
      throw new PlaneError('permanent', `${entryWords(error)}; mount the models' folder where the servers have it`);
    }
  }
}

async function reasonToKeep(id: string, path: string, named: readonly string[]): Promise<string | null> {
  if (named.includes(id)) return 'the list of models names it';
  const files = await readdir(path);
  return files.includes(keepFile) ? `it holds a file ${keepFile}` : null;
}

/** Versions that policy and labels name; `null` policy versions: none by name. */
export function versionsNamed(state: BaseEntry['state']): readonly string[] {
  return [...(namedVersions(state.policy) ?? []), ...Object.keys(state.labels).flatMap((label) => lookUp(state.labels, label) ?? [])];
}

function entryWords(error: unknown): string {
  const { code, path } = error as NodeJS.ErrnoException;
  return `${path ?? 'the folder'} cannot be read or changed (${code ?? 'unknown'})`;
}
