import { PlaneError, type PlaneTarget, type VersionStore } from '../../../domain/ports.ts';
import type { StoredVersion } from '../../../domain/retention.ts';
import type { ApplyOutcome } from '../../../domain/step.ts';
import type { MlflowVersion } from '../../mlflow/answers.ts';
import type { MlflowClient } from '../../mlflow/client.ts';
import { namesOf, registryVersion } from './names.ts';

/** Pages of 500 versions looked at; what lies behind is left for another night. */
const maxPages = 20;
/** Words in the value of a tag `keep` that mean no. */
const no: ReadonlySet<string> = new Set(['false', 'no', '0', 'off']);

/** Versions of a registered model. Deleting one is soft in MLflow: its artifacts stay where they are. */
export class MlflowVersionStore implements VersionStore {
  readonly isAuthority = true;
  readonly #client: MlflowClient;

  constructor(client: MlflowClient) {
    this.#client = client;
  }

  get name(): string {
    return `mlflow ${this.#client.name}`;
  }

  idOf(target: PlaneTarget, serving: string): string | null {
    return registryVersion(target, serving);
  }

  async list(target: PlaneTarget, signal: AbortSignal): Promise<readonly StoredVersion[]> {
    const { registeredModel } = namesOf(target);
    const [aliases, versions] = await Promise.all([this.#client.aliases(registeredModel, signal), this.#client.versions(registeredModel, maxPages, signal)]);
    return versions.map((version) => ({ id: version.version, createdMs: version.creation_timestamp ?? null, keep: reasonToKeep(version, aliases) }));
  }

  /** Looks again at once before it deletes: an alias may have come, and one that stayed would dangle. */
  async delete(target: PlaneTarget, id: string, signal: AbortSignal): Promise<ApplyOutcome> {
    const { registeredModel } = namesOf(target);
    try {
      const [aliases, version] = await Promise.all([this.#client.aliases(registeredModel, signal), this.#client.version(registeredModel, id, signal)]);
      if (version === null) return { kind: 'already', detail: 'MLflow has no such version (any more)' };
      const keep = reasonToKeep(version, aliases);
      if (keep !== null) return { kind: 'conflict', class: 'permanent', detail: keep };
      await this.#client.deleteVersion(registeredModel, id, signal);
      if ((await this.#client.version(registeredModel, id, signal)) !== null)
        return { kind: 'indeterminate', class: 'indeterminate', detail: 'MLflow said it is deleted, and still shows it' };
      const dangling = await this.#takeAliasesAway(registeredModel, id, signal);
      return { kind: 'applied', detail: `deleted from ${registeredModel}; its artifacts stay${dangling === '' ? '' : `; ${dangling}`}` };
    } catch (error) {
      if (!(error instanceof PlaneError)) throw error;
      return { kind: error.class === 'indeterminate' ? 'indeterminate' : 'rejected', class: error.class, detail: error.message };
    }
  }

  /** An alias that was set between the look and the deletion dangles (some servers leave it): it leads nowhere, and is taken away. */
  async #takeAliasesAway(model: string, id: string, signal: AbortSignal): Promise<string> {
    const dangling = Object.entries(await this.#client.aliases(model, signal)).filter(([, version]) => version === id);
    for (const [alias] of dangling) await this.#client.deleteAlias(model, alias, signal);
    return dangling.length === 0 ? '' : `took away what pointed to it: ${dangling.map(([alias]) => `alias ${alias}`).join(', ')}`;
  }
}

function reasonToKeep({ version, tags, current_stage: stage, status }: MlflowVersion, aliases: Readonly<Record<string, string>>): string | null {
  const pointing = Object.entries(aliases).filter(([, to]) => to === version);
  if (pointing.length > 0) return `alias ${pointing.map(([alias]) => alias).join(', ')} points to it`;
  const keep = tags.find(({ key }) => key === 'keep');
  if (keep !== undefined && !no.has(keep.value.trim().toLowerCase())) return 'it is tagged keep';
  if (stage === 'Production' || stage === 'Staging') return `it is in stage ${stage}`;
  return status === 'PENDING_REGISTRATION' ? 'it is being registered' : null;
}
