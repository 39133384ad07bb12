import { captureOf } from '../../../domain/linear-regex.ts';
import { lookUp } from '../../../domain/lookup.ts';
import type { PlaneTarget } from '../../../domain/ports.ts';
import { mlflowKeys } from './schema.ts';

export type Names = { readonly registeredModel: string; readonly alias: string; readonly repository: string | null };

/** What MLflow calls a model of ours; its keys were checked at load, a target made by hand may leave them out. */
export function namesOf(target: PlaneTarget): Names {
  const { registered_model: name, alias, repository } = target.plane;
  return {
    registeredModel: typeof name === 'string' ? name : target.model,
    alias: typeof alias === 'string' ? alias : mlflowKeys.shape.alias.parse(undefined),
    repository: typeof repository === 'string' ? repository : null,
  };
}

/** MLflow's name of a version that the actuator serves, by `plane.registry_version`; `null` when that does not fit. */
export function registryVersion(target: PlaneTarget, serving: string): string | null {
  const pattern = lookUp(target.plane, 'registry_version');
  if (typeof pattern !== 'string') return serving;
  return captureOf(pattern, serving);
}
