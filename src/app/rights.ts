import type { Log } from '../domain/ports.ts';
import { planeTarget } from './observer.ts';
import type { Runtime } from './runtime.ts';

/** What one model's plane may not do. `error`: it could not be asked. */
export type ModelRights = { readonly model: string; readonly controlPlane: string; readonly missing: readonly string[]; readonly error: string | null };

/** Asks the planes that can tell which rights they lack; one answer per model of such a plane. Never throws for a plane that does not answer. */
export async function askRights({ models, planes }: Pick<Runtime, 'models' | 'planes'>, signal: AbortSignal): Promise<readonly ModelRights[]> {
  const asked = [...models.values()].map(async (model): Promise<ModelRights | null> => {
    const base = { model: model.name, controlPlane: model.controlPlane };
    const plane = planes.get(model.controlPlane);
    if (plane?.missingRights === undefined) return null;
    try {
      const missing = await plane.missingRights(planeTarget(model), signal);
      return missing === null ? null : { ...base, missing, error: null };
    } catch (error) {
      return { ...base, missing: [], error: error instanceof Error ? error.message : String(error) };
    }
  });
  return (await Promise.all(asked)).filter((answer) => answer !== null);
}

/** Says at start what would fail in the middle of a rollback otherwise. */
export async function logMissingRights(runtime: Pick<Runtime, 'models' | 'planes'>, log: Log, signal: AbortSignal): Promise<void> {
  for (const { model, controlPlane, missing, error } of await askRights(runtime, signal)) {
    if (signal.aborted) return;
    if (error !== null) log.warn({ model, control_plane: controlPlane, reason: error }, 'rights on the control plane could not be asked');
    else if (missing.length > 0)
      log.error({ model, control_plane: controlPlane, missing }, 'rights on the control plane are missing: grant the role in its README');
  }
}
