import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { FileSystemStoragePathSourceConfig_ServableVersionPolicy as VersionPolicy } from '../gen/tensorflow_serving/config/file_system_storage_path_source_pb.ts';
import { runPeriodically } from './periodic.ts';
import { StatusError } from './status.ts';

/** A model to look after on disk. */
export interface ServableToMonitor {
  name: string;
  basePath: string;
  policy: VersionPolicy | undefined;
}

/** A version that is wanted, and the file or folder it is to be loaded from. */
export interface AspiredVersion {
  version: bigint;
  path: string;
}

/** How the source is set up and whom it tells; the whole set of wanted versions of a model is told at every poll. */
export interface StoragePathSourceOptions {
  /** Time between polls, in seconds; 0 polls once and never again, a negative number never. */
  pollWaitSeconds: number;
  onAspired: (model: string, versions: AspiredVersion[]) => void;
  log: (line: string) => void;
}

/**
 * Finds versions on disk and says which are wanted (sources/storage_path/file_system_storage_path_source.cc). A new list of models
 * takes effect for the versions of known and new models at the next poll, for removed models at once.
 */
export class StoragePathSource {
  readonly #options: StoragePathSourceOptions;
  #servables: ServableToMonitor[] = [];
  #stopPolling: () => void = () => undefined;

  constructor(options: StoragePathSourceOptions) {
    this.#options = options;
  }

  start(): void {
    const { pollWaitSeconds } = this.#options;
    if (pollWaitSeconds === 0) this.#poll();
    if (pollWaitSeconds > 0) this.#stopPolling = runPeriodically(() => this.#poll(), pollWaitSeconds * 1000);
  }

  stop(): void {
    this.#stopPolling();
  }

  modelNames(): Set<string> {
    return new Set(this.#servables.map(({ name }) => name));
  }

  updateServables(servables: ServableToMonitor[]): void {
    const kept = new Set(servables.map(({ name }) => name));
    const removed = this.#servables.filter(({ name }) => !kept.has(name));
    this.#servables = servables;
    for (const { name } of removed) this.#options.onAspired(name, []);
  }

  /** One fault anywhere ends the whole poll before anything is told: no model on the server changes. */
  #poll(): void {
    try {
      const found = this.#servables.map((servable) => ({ name: servable.name, versions: aspiredVersions(servable, this.#options.log) }));
      for (const { name, versions } of found) this.#options.onAspired(name, versions);
    } catch (error) {
      this.#options.log(`FileSystemStoragePathSource encountered a filesystem access error: ${(error as Error).message}`);
    }
  }
}

/**
 * The wanted versions of one model as the disk is now. Empty, with no more than a warning, when none fits: what runs is then unloaded.
 * @throws {StatusError} when the base path is missing
 */
export function aspiredVersions(servable: ServableToMonitor, log: (line: string) => void): AspiredVersion[] {
  const { name, basePath, policy } = servable;
  if (!existsSync(basePath)) throw new StatusError('INVALID_ARGUMENT', `Could not find base path ${basePath} for servable ${name}`);

  const onDisk = versionsOnDisk(basePath);
  const choice = policy?.policyChoice;
  const wanted = choice?.case === 'specific' ? new Set(choice.value.versions) : undefined;
  for (const version of wanted ?? []) {
    if (!onDisk.some((one) => one.version === version)) {
      log(`Version ${version} of servable ${name}, which was requested to be served as a 'specific' version, was not found in the file system`);
    }
  }
  const numVersions = choice?.case === 'latest' ? Math.max(choice.value.numVersions, 1) : 1;
  const aspired = wanted ? onDisk.filter(({ version }) => wanted.has(version)) : choice?.case === 'all' ? onDisk : onDisk.slice(-numVersions);
  if (aspired.length === 0) log(`No versions of servable ${name} found under base path ${basePath}`);
  return aspired;
}

/** Every child whose name is a number, files too, lowest first; of «1» and «001» the one that sorts later counts. */
function versionsOnDisk(basePath: string): AspiredVersion[] {
  const found = new Map<bigint, AspiredVersion>();
  for (const child of readdirSync(basePath).sort()) {
    if (!/^[+-]?\d+$/.test(child)) continue;
    const version = BigInt(child.replace('+', ''));
    if (BigInt.asIntN(64, version) === version) found.set(version, { version, path: join(basePath, child) });
  }
  return [...found.values()].sort((a, b) => (a.version < b.version ? -1 : 1));
}
