import { create } from '@bufbuild/protobuf';
import { PlaneError } from '../../../domain/ports.ts';
import { type ConfigFile, parseConfigFile, readConfigText } from './config-file.ts';
import {
  type ModelConfig,
  ModelConfigListSchema,
  ModelConfigSchema,
  type ModelServerConfig,
  ModelServerConfigSchema,
  ModelType,
} from './gen/tensorflow_serving/config/model_server_config_pb.ts';
import { hashOf, type ModelState, policyMessage, stateOf } from './model-state.ts';
import type { ModelConfigEntry, TensorFlowServingConfig } from './schema.ts';
import { TextFormatError } from './text-format.ts';

/** One model of the list as its owner wrote it. */
export type BaseEntry = { readonly name: string; readonly basePath: string; readonly state: ModelState; readonly hash: string };

/** The list as its owner wrote it: the truth but for our own journalled changes. */
export type BaseList = {
  /** `file /models/models.config` or `model_config_list`. */
  readonly source: string;
  readonly config: ModelServerConfig;
  readonly entries: ReadonlyMap<string, BaseEntry>;
  /** Set when it came from a file. */
  readonly file: ConfigFile | null;
};

/**
 * Reads the list anew at each call; what was built from the same text, or the same settings, is handed out again: a server with hundreds of
 * models is looked at many times a second. Base lists are never changed (`clone` before a change).
 */
export class BaseListReader {
  readonly #config: Pick<TensorFlowServingConfig, 'model_config_file' | 'model_config_list'>;
  #known: BaseList | null = null;

  constructor(config: Pick<TensorFlowServingConfig, 'model_config_file' | 'model_config_list'>) {
    this.#config = config;
  }

  /** @throws {PlaneError} permanent, naming file:line:column where it has one */
  async read(): Promise<BaseList> {
    this.#known = await readBaseList(this.#config, this.#known);
    return this.#known;
  }
}

async function readBaseList(config: Pick<TensorFlowServingConfig, 'model_config_file' | 'model_config_list'>, known: BaseList | null): Promise<BaseList> {
  if (config.model_config_file === undefined) {
    if (known !== null) return known;
    const list = create(ModelConfigListSchema, { config: (config.model_config_list ?? []).map(toMessage) });
    return baseList('model_config_list', create(ModelServerConfigSchema, { config: { case: 'modelConfigList', value: list } }), null);
  }
  try {
    const text = await readConfigText(config.model_config_file);
    if (known?.file?.text === text) return known;
    const file = parseConfigFile(text, config.model_config_file);
    return baseList(`file ${file.path}`, file.config, file);
  } catch (cause) {
    if (cause instanceof TextFormatError) throw new PlaneError('permanent', cause.message, { cause });
    throw cause;
  }
}

function baseList(source: string, config: ModelServerConfig, file: ConfigFile | null): BaseList {
  const models = config.config.case === 'modelConfigList' ? config.config.value.config : [];
  const entries = models.map((entry) => [entry.name, { name: entry.name, basePath: entry.basePath, state: stateOf(entry), hash: hashOf(entry) }] as const);
  return { source, config, entries: new Map(entries), file };
}

function toMessage(entry: ModelConfigEntry): ModelConfig {
  const logging = entry.logging_config;
  const sampling = logging?.sampling_config;
  const policy = entry.model_version_policy;
  return create(ModelConfigSchema, {
    name: entry.name,
    basePath: entry.base_path,
    modelType: ModelType[entry.model_type ?? 'MODEL_TYPE_UNSPECIFIED'],
    modelPlatform: entry.model_platform,
    ...(policy === undefined ? {} : { modelVersionPolicy: policyMessage(policyOf(policy)) }),
    versionLabels: Object.fromEntries(Object.entries(entry.version_labels ?? {}).map(([label, version]) => [label, BigInt(version)])),
    ...(logging === undefined
      ? {}
      : {
          loggingConfig: {
            ...(logging.log_collector_config === undefined
              ? {}
              : { logCollectorConfig: { type: logging.log_collector_config.type ?? '', filenamePrefix: logging.log_collector_config.filename_prefix ?? '' } }),
            ...(sampling === undefined
              ? {}
              : {
                  samplingConfig: {
                    samplingRate: sampling.sampling_rate ?? 0,
                    attributes: sampling.attributes ?? 0,
                    perTaskSamplingConfigs: (sampling.per_task_sampling_configs ?? []).map((task) => ({
                      dc: task.dc ?? '',
                      samplingRate: task.sampling_rate ?? 0,
                      ...(task.task_index === undefined ? {} : { taskIndex: task.task_index }),
                    })),
                  },
                }),
            ...(logging.custom_logging_config === undefined
              ? {}
              : {
                  customLoggingConfig: { typeUrl: logging.custom_logging_config.type_url, value: Buffer.from(logging.custom_logging_config.value, 'base64') },
                }),
          },
        }),
  });
}

function policyOf(policy: NonNullable<ModelConfigEntry['model_version_policy']>): Parameters<typeof policyMessage>[0] {
  if (policy.specific !== undefined) return { specific: policy.specific };
  if (policy.all !== undefined) return { all: {} };
  const count = policy.latest?.num_versions;
  return { latest: count === undefined ? {} : { num_versions: count } };
}
