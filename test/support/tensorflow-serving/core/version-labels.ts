import type { ModelConfig } from '../gen/tensorflow_serving/config/model_server_config_pb.ts';
import type { ServableStateMonitor } from './servable-state.ts';
import { StatusError } from './status.ts';

/** Which version each label of each model stands for; swapped as a whole at every reload. */
export class VersionLabels {
  #versions = new Map<string, Map<string, bigint>>();

  /** @throws {StatusError} INVALID_ARGUMENT when there is no such label */
  versionOf(model: string, label: string): bigint {
    const version = this.#versions.get(model)?.get(label);
    if (version === undefined) throw new StatusError('INVALID_ARGUMENT', `Unrecognized servable version label: ${label}`);
    return version;
  }

  /**
   * Takes the labels of a new configuration, all or none (`UpdateModelVersionLabelMap` in model_servers/server_core.cc). Each has to point to a
   * version that is AVAILABLE now; with `allowUnavailable` a label that is new, or stays where it is, may point anywhere.
   * @throws {StatusError} FAILED_PRECONDITION
   */
  replace(models: ModelConfig[], monitor: ServableStateMonitor, allowUnavailable: boolean): void {
    const next = new Map<string, Map<string, bigint>>();
    for (const { name, versionLabels } of models) {
      for (const [label, version] of Object.entries(versionLabels)) {
        const current = this.#versions.get(name)?.get(label);
        const moves = current !== undefined && current !== version;
        const mustBeAvailable = !allowUnavailable || moves;
        if (mustBeAvailable && monitor.state(name, version)?.state !== 'AVAILABLE') {
          throw new StatusError(
            'FAILED_PRECONDITION',
            `Request to assign label to version ${version} of model ${name}, which is not currently available for inference`,
          );
        }
        next.set(name, (next.get(name) ?? new Map<string, bigint>()).set(label, version));
      }
    }
    this.#versions = next;
  }
}
