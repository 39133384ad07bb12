import { z } from 'zod';
import { tlsConfigSchema } from '../../../config/http-config.ts';
import { always, exactlyOneOf } from '../../../config/key-rules.ts';
import { duration, filePath, flag, text, wholeNumber } from '../../../config/scalars.ts';

const int64Max = 2n ** 63n - 1n;

/** A version as TensorFlow Serving numbers them: decimal digits in its canonical form, 1 … 2^63-1. */
export function isVersionNumber(id: string): boolean {
  return /^[1-9]\d{0,18}$/.test(id) && BigInt(id) <= int64Max;
}

const versionNumber = text({ expected: 'a version number' }).refine(isVersionNumber, `expected a version number, 1 to ${int64Max}`);

const endpoint = z
  .string({ error: 'expected an address; write host:port or dns:///name:port' })
  .refine((value) => parseEndpoint(value) !== null, 'expected an address; write host:port or dns:///name:port')
  .meta({ description: 'gRPC address of a server: host:port, or dns:///name:port for every address of a name.' });

/** Parts of an `endpoints` entry; `null` when it is none. IPv6 literals stand in brackets. */
export function parseEndpoint(entry: string): { readonly host: string; readonly port: number; readonly resolve: boolean } | null {
  const match = /^(dns:\/\/\/)?(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]+):(\d{1,5})$/.exec(entry);
  if (match === null) return null;
  const port = Number(match[3]);
  if (port < 1 || port > 65_535) return null;
  return { host: (match[2] as string).replaceAll(/[[\]]/g, ''), port, resolve: match[1] !== undefined };
}

const policy = z
  .strictObject({
    latest: z
      .strictObject({
        num_versions: wholeNumber(1, 2 ** 32 - 1)
          .optional()
          .meta({ description: 'How many of the newest versions are served. Default: 1.' }),
      })
      .optional()
      .meta({ description: 'Serve the newest versions. Default: none.' }),
    all: z.strictObject({}).optional().meta({ description: 'Serve every version there is. Default: none.' }),
    specific: z
      .strictObject({
        versions: z
          .array(versionNumber, { error: 'expected a list of versions' })
          .min(1, 'expected at least one version')
          .meta({ description: 'The versions to serve.' }),
      })
      .optional()
      .meta({ description: 'Serve exactly these versions. Default: none.' }),
  })
  .check(exactlyOneOf(['latest', 'all', 'specific'], { none: 'expected one of latest, all, specific', both: 'expected only one of latest, all, specific' }));

const loggingConfig = z.strictObject({
  log_collector_config: z
    .strictObject({
      type: text().optional().meta({ description: 'Kind of the log collector. Default: empty.' }),
      filename_prefix: text().optional().meta({ description: 'Prefix of the files written. Default: empty.' }),
    })
    .optional()
    .meta({ description: 'Where requests are logged. Default: none.' }),
  sampling_config: z
    .strictObject({
      sampling_rate: z.number({ error: 'expected a number' }).optional().meta({ description: 'Share of requests logged, 0..1. Default: 0.' }),
      attributes: wholeNumber(0, 2 ** 31 - 1)
        .optional()
        .meta({ description: 'Bits of the attributes sampled by. Default: 0.' }),
      per_task_sampling_configs: z
        .array(
          z.strictObject({
            dc: text().optional().meta({ description: 'Data centre. Default: empty.' }),
            task_index: wholeNumber(0, 2 ** 31 - 1)
              .optional()
              .meta({ description: 'Index of the task. Default: none.' }),
            sampling_rate: z.number({ error: 'expected a number' }).optional().meta({ description: 'Share of requests logged, 0..1. Default: 0.' }),
          }),
        )
        .optional()
        .meta({ description: 'Sampling of single tasks. Default: none.' }),
    })
    .optional()
    .meta({ description: 'How many requests are logged. Default: none.' }),
  custom_logging_config: z
    .strictObject({
      type_url: z.string({ error: 'expected a type URL' }).meta({ description: 'Type of the message.' }),
      value: z.base64({ error: 'expected base64' }).meta({ description: 'The message, binary, in base64.' }),
    })
    .optional()
    .meta({ description: 'A google.protobuf.Any, sent as it is. Default: none.' }),
});

const modelConfig = z.strictObject({
  name: text({ min: 1, expected: 'the name of a model' }).meta({ description: 'Name of the model on the server.' }),
  base_path: text({ min: 1, expected: 'a folder' })
    .refine((value) => value.startsWith('/') || /^[a-z0-9]+:\/\//.test(value), 'expected an absolute path or a URL; the server refuses relative ones')
    .meta({ description: 'Folder of the model, as the server sees it.' }),
  model_type: z.enum(['MODEL_TYPE_UNSPECIFIED', 'TENSORFLOW', 'OTHER']).optional().meta({ description: 'Deprecated by TensorFlow Serving. Default: none.' }),
  model_platform: z
    .string({ error: 'expected the name of a platform' })
    .min(1, 'expected the name of a platform')
    .default('tensorflow')
    .meta({ description: 'Platform of the model. Default: tensorflow.' }),
  logging_config: loggingConfig.optional().meta({ description: 'Request logging. Default: none.' }),
  model_version_policy: policy.optional().meta({ description: 'Which versions are served. Default: the newest.' }),
  version_labels: z
    .record(z.string(), versionNumber, { error: 'expected a map of labels to versions' })
    .optional()
    .meta({ description: 'Label → version. Default: none.' }),
});
export type ModelConfigEntry = z.output<typeof modelConfig>;

/** What stands under `tensorflow_serving` of a control plane. */
export const tensorflowServingConfig = z
  .strictObject({
    endpoints: z
      .array(endpoint, { error: 'expected a list of addresses' })
      .min(1, 'expected at least one address')
      .meta({ description: 'gRPC addresses of all replicas; every one is told and confirmed.' }),
    model_config_file: filePath()
      .optional()
      .meta({ description: 'Text-format ModelServerConfig of all models of these servers; read before each act. Default: none, then model_config_list.' }),
    model_config_list: z
      .array(modelConfig, { error: 'expected a list of models' })
      .min(1, 'expected at least one model')
      .check(uniqueNames())
      .optional()
      .meta({ description: 'All models of these servers, with the field names of ModelConfig. Default: none, then model_config_file.' }),
    write_back: flag().optional().meta({
      description: 'Write a rollback into model_config_file, so that a restart of the server does not undo it. Default: true with model_config_file.',
    }),
    tls_config: tlsConfigSchema.optional().meta({ description: 'TLS (and with cert and key mutual TLS) of the gRPC connection. Default: plaintext.' }),
    timeout: duration({ minMs: 1, minText: '1ms' }).prefault('3s').meta({ description: 'Longest time one reading call may take. Default: 3s.' }),
    apply_timeout: duration({ minMs: 1, minText: '1ms' })
      .prefault('15s')
      .meta({ description: 'Longest time HandleReloadConfigRequest may take; then its outcome counts as unknown. Default: 15s.' }),
    file_system_poll_wait: duration({ minMs: 1, minText: '1ms' })
      .prefault('1s')
      .meta({ description: "The servers' own --file_system_poll_wait_seconds: how long they may take to notice a change. Default: 1s." }),
  })
  .check(
    exactlyOneOf(['model_config_file', 'model_config_list'], {
      none: 'expected model_config_file or model_config_list: a reload replaces the whole list, and the server does not tell its own',
      both: 'expected only one of model_config_file and model_config_list',
    }),
    always((value, refuse) => {
      if (value['write_back'] === true && value['model_config_file'] === undefined)
        refuse('write_back', 'expected no write_back without model_config_file: there is no file to write');
    }),
  );
export type TensorFlowServingConfig = z.output<typeof tensorflowServingConfig>;

/** What stands under `models[].plane`. */
export const tensorflowServingKeys = z.strictObject({
  model: text({ min: 1, expected: 'the name of a model' })
    .optional()
    .meta({ description: 'Name of the model on the server. Default: the name of the model here.' }),
});

function uniqueNames(): z.core.$ZodCheck<{ name: string }[]> {
  return z.superRefine<{ name: string }[]>((models, context) => {
    const seen = new Set<string>();
    for (const [index, model] of models.entries()) {
      if (seen.has(model.name))
        context.addIssue({ code: 'custom', path: [index, 'name'], message: 'expected every name once; the server refuses a list with one twice' });
      seen.add(model.name);
    }
  });
}
