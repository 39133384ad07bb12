import { availableParallelism } from 'node:os';
import { clone, create, equals } from '@bufbuild/protobuf';
import { Manager, type ManagerOptions } from './core/manager.ts';
import { modelsOf, servablesToMonitor, validateModelConfigList, validateNoPlatformChange } from './core/model-config.ts';
import { Mutex } from './core/mutex.ts';
import type { Servable } from './core/servable.ts';
import { ServableEventBus, type ServableState, ServableStateMonitor } from './core/servable-state.ts';
import { StatusError } from './core/status.ts';
import { type ServableToMonitor, StoragePathSource } from './core/storage-path-source.ts';
import { VersionLabels } from './core/version-labels.ts';
import type { ModelSpec } from './gen/tensorflow_serving/apis/model_pb.ts';
import { type ModelServerConfig, ModelServerConfigSchema } from './gen/tensorflow_serving/config/model_server_config_pb.ts';

/** How the server is set up. */
export interface ModelServerOptions extends ManagerOptions {
  /** In seconds, fractions allowed (the original takes whole seconds only); 0 polls the disk once. */
  fileSystemPollWaitSeconds: number;
  allowVersionLabelsForUnavailableModels: boolean;
  /** Not of the stock server, which refuses `logging_config` (after it has applied the rest): stands for a build with a request logger. */
  acceptLoggingConfig: boolean;
}

/**
 * The model server without its network: configuration, labels, disk, loading, and who answers a request
 * (model_servers/server_core.cc). One object lives as long as the process would.
 */
export class ModelServer {
  readonly #options: ModelServerOptions;
  readonly #bus = new ServableEventBus();
  readonly #monitor = new ServableStateMonitor(this.#bus);
  readonly #labels = new VersionLabels();
  readonly #configMutex = new Mutex();
  readonly #manager: Manager;
  readonly #source: StoragePathSource;
  #config: ModelServerConfig = create(ModelServerConfigSchema);
  #started = false;

  constructor(options: ModelServerOptions) {
    this.#options = options;
    this.#manager = new Manager(this.#bus, options);
    this.#source = new StoragePathSource({
      pollWaitSeconds: options.fileSystemPollWaitSeconds,
      onAspired: (model, versions) => this.#manager.setAspiredVersions(model, versions),
      log: options.log,
    });
    this.#manager.start();
  }

  stop(): void {
    this.#source.stop();
    this.#manager.stop();
  }

  /** The configuration the server remembers; for the journal of reloads, since the original gives it to nobody. */
  get config(): ModelServerConfig {
    return this.#config;
  }

  /**
   * Applies a configuration, one caller at a time (`ServerCore::ReloadConfig`). Resolves at once for models that are known, after
   * their first version has settled for new ones: possibly never, and everybody else waits behind.
   * @throws {StatusError} when it is refused; it may be remembered, and even applied, all the same
   */
  reloadConfig(config: ModelServerConfig): Promise<void> {
    return this.#configMutex.run(() => this.#reload(clone(ModelServerConfigSchema, config)));
  }

  async #reload(config: ModelServerConfig): Promise<void> {
    const before = this.#config.config.case;
    const isSame = equals(ModelServerConfigSchema, this.#config, config);
    const bothLists = before === 'modelConfigList' && config.config.case === 'modelConfigList';
    if (before !== undefined && !isSame && !bothLists) {
      throw new StatusError(
        'FAILED_PRECONDITION',
        'Cannot transition to requested config. It is only legal to transition from one ModelConfigList to another.',
      );
    }
    if (config.config.case === undefined) return;
    if (config.config.case === 'customModelConfig') {
      throw new StatusError('INVALID_ARGUMENT', 'ModelServer does not yet support custom model config.');
    }
    validateModelConfigList(config.config.value);
    validateNoPlatformChange(modelsOf(this.#config), config.config.value.config);

    // From here on the new configuration is the old one of the next reload, whatever becomes of it.
    this.#config = config;
    const models = config.config.value.config;
    this.#labels.replace(models, this.#monitor, this.#options.allowVersionLabelsForUnavailableModels);
    const servables = servablesToMonitor(models);
    if (this.#started) await this.#updateModels(servables);
    else await this.#startModels(servables);

    if (!this.#options.acceptLoggingConfig && models.some((model) => model.loggingConfig !== undefined)) {
      throw new StatusError('INVALID_ARGUMENT', 'No request-logger-creator provided.');
    }
  }

  async #startModels(servables: ServableToMonitor[]): Promise<void> {
    this.#started = true;
    await this.#manager.setLoadThreads(4 * availableParallelism());
    this.#source.updateServables(servables);
    this.#source.start();
    const settled = await this.#monitor.whenSettled(servables.map(({ name }) => name));
    await this.#manager.setLoadThreads(this.#options.numLoadThreads);
    expectAvailable(settled, 'servable');
  }

  async #updateModels(servables: ServableToMonitor[]): Promise<void> {
    // A fresh one: the states of an earlier life of the model do not count.
    using monitor = new ServableStateMonitor(this.#bus);
    const known = this.#source.modelNames();
    const added = servables.map(({ name }) => name).filter((name) => !known.has(name));
    this.#source.updateServables(servables);
    expectAvailable(await monitor.whenSettled(added), 'model');
  }

  /**
   * State of one version, or of all versions ever seen, highest first. Does not wait for a reload. A label is ignored.
   * @throws {StatusError} NOT_FOUND
   */
  status(spec: ModelSpec): ServableState[] {
    const { name, versionChoice } = spec;
    if (versionChoice.case === 'version') {
      const { value: version } = versionChoice.value;
      const state = this.#monitor.state(name, version);
      if (state === undefined) throw new StatusError('NOT_FOUND', `Could not find version ${version} of model ${name}`);
      return [state];
    }
    const states = this.#monitor.versionStates(name);
    if (states.length === 0) throw new StatusError('NOT_FOUND', `Could not find any versions of model ${name}`);
    return states;
  }

  /**
   * The version that answers a request.
   * @throws {StatusError} NOT_FOUND when it is not loaded, INVALID_ARGUMENT for a label that does not exist
   */
  serving({ name, versionChoice }: ModelSpec): Servable {
    if (name === '') throw new StatusError('INVALID_ARGUMENT', 'ModelSpec has no name specified.');
    if (versionChoice.case === 'versionLabel') return this.#manager.serving(name, this.#labels.versionOf(name, versionChoice.value));
    return this.#manager.serving(name, versionChoice.value?.value);
  }
}

/** Highest version of each model that has settled; one END is enough to fail the reload, though not to undo it. */
function expectAvailable(settled: ServableState[], noun: string): void {
  const failed = settled.filter(({ state }) => state !== 'AVAILABLE');
  if (failed.length === 0) return;
  const list = failed.map(({ name, version, error }) => {
    const reason = error === undefined ? '' : ` due to error: ${error.code}: ${error.message}`;
    return `{{name: ${name} version: ${version}}${reason}}, `;
  });
  throw new StatusError('UNKNOWN', `${failed.length} ${noun}(s) did not become available: {${list.join('')}}`);
}
