import { isAbsolute } from 'node:path';
import { type ModelConfig, type ModelConfigList, type ModelServerConfig, ModelType } from '../gen/tensorflow_serving/config/model_server_config_pb.ts';
import { StatusError } from './status.ts';
import type { ServableToMonitor } from './storage-path-source.ts';

/** The only platform the stock server knows. */
const PLATFORM = 'tensorflow';

/** The models of a configuration; empty when it is of another kind or unset. */
export function modelsOf(config: ModelServerConfig): ModelConfig[] {
  return config.config.case === 'modelConfigList' ? config.config.value.config : [];
}

/**
 * Refuses a list that names a model twice or a relative base path (`ValidateModelConfigList` in model_servers/server_core.cc).
 * @throws {StatusError} INVALID_ARGUMENT
 */
export function validateModelConfigList(list: ModelConfigList): void {
  const names = new Set<string>();
  for (const { name } of list.config) {
    if (names.has(name)) throw new StatusError('INVALID_ARGUMENT', `Illegal to list model ${name} multiple times in config list`);
    names.add(name);
  }
  for (const { name, basePath } of list.config) {
    if (isAbsolute(basePath) || /^[a-z][a-z0-9+.-]*:\/\//i.test(basePath)) continue;
    throw new StatusError('INVALID_ARGUMENT', `Expected model ${name} to have an absolute path or URI; got base_path()=${basePath}`);
  }
}

/**
 * Refuses to change the platform of a model (`ValidateNoModelsChangePlatforms`). Looks up the platform of every *old* model first, so
 * that a remembered configuration with an empty platform makes every later reload fail, until the process is started anew.
 * @throws {StatusError} INVALID_ARGUMENT
 */
export function validateNoPlatformChange(before: ModelConfig[], after: ModelConfig[]): void {
  const old = new Map(before.map((model) => [model.name, platformOf(model)]));
  for (const model of after) {
    const was = old.get(model.name);
    if (was === undefined) continue;
    const is = platformOf(model);
    if (is === was) continue;
    throw new StatusError(
      'INVALID_ARGUMENT',
      `Illegal to change a model's platform. For model ${model.name} platform was ${was} and new platform requested is ${is}`,
    );
  }
}

/**
 * What the disk source is to look after; only here is the platform of *new* models looked at (`CreateStoragePathRoutes`).
 * @throws {StatusError} INVALID_ARGUMENT for an empty or unknown platform
 */
export function servablesToMonitor(models: ModelConfig[]): ServableToMonitor[] {
  return models.map((model) => {
    const platform = platformOf(model);
    if (platform !== PLATFORM) throw new StatusError('INVALID_ARGUMENT', `Model ${model.name} requests unsupported platform ${platform}`);
    return { name: model.name, basePath: model.basePath, policy: model.modelVersionPolicy };
  });
}

/** `GetPlatform`: the deprecated `model_type: TENSORFLOW` stands for the platform, but not beside it. */
function platformOf({ name, modelType, modelPlatform }: ModelConfig): string {
  if (modelType !== ModelType.MODEL_TYPE_UNSPECIFIED) {
    if (modelPlatform !== '') {
      throw new StatusError(
        'INVALID_ARGUMENT',
        `Illegal setting both ModelServerConfig::model_type (deprecated) and ModelServerConfig::model_platform, model name is ${name}`,
      );
    }
    if (modelType !== ModelType.TENSORFLOW) throw new StatusError('INVALID_ARGUMENT', `ModelServerConfig::model_type choice ${modelType} not supported.`);
    return PLATFORM;
  }
  if (modelPlatform === '') {
    throw new StatusError(
      'INVALID_ARGUMENT',
      `Illegal setting neither ModelServerConfig::model_type (deprecated) nor ModelServerConfig::model_platform, model name is ${name}`,
    );
  }
  return modelPlatform;
}
