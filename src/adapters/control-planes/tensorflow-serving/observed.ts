import type { EndpointObservation } from '../../../domain/observation.ts';
import type { ModelState } from './model-state.ts';

/** `EndpointObservation.config` of this plane: what plan() and people need to know of the truth there. Plain JSON. */
export type EndpointTruth = {
  /** Name on the server. */
  readonly model: string;
  /** Where the list comes from: `file /models/models.config` or `model_config_list`. */
  readonly source: string;
  /** Why the truth is not known; then the four below are `null`. */
  readonly problem: string | null;
  /** Policy and labels in force by our knowledge: the base, or our journalled change of it. */
  readonly truth: ModelState | null;
  /** As the list's owner wrote it. */
  readonly base: ModelState | null;
  /** From before our first pin, while the pin stands; what `unpin` gives back. */
  readonly original: ModelState | null;
  /** Versions in the model's folder; `null` when it was not looked at or cannot be read from here. */
  readonly on_disk: readonly string[] | null;
};

export function truthOf(endpoint: EndpointObservation): EndpointTruth {
  return endpoint.config as EndpointTruth;
}
