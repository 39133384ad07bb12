import { describe, expect, it } from 'vitest';
import { BaseListReader } from './base-list.ts';
import { isVersionNumber, parseEndpoint, tensorflowServingConfig, tensorflowServingKeys } from './schema.ts';

const base = { endpoints: ['tfs-0:8500'], model_config_file: '/models/models.config' };
const faults = (value: unknown): string[] =>
  tensorflowServingConfig.safeParse(value).error?.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`) ?? [];

describe('the configuration', () => {
  it('has the defaults it says', () => {
    expect(tensorflowServingConfig.parse(base)).toEqual({ ...base, timeout: 3_000, apply_timeout: 15_000, file_system_poll_wait: 1_000 });
    expect(tensorflowServingKeys.parse({})).toEqual({});
  });

  it('names every fault', () => {
    expect([
      faults({ endpoints: [] }),
      faults({ ...base, endpoints: ['tfs-0'], model_config_list: [{ name: 'a', base_path: '/m' }] }),
      faults({
        endpoints: ['a:1'],
        model_config_list: [
          { name: 'a', base_path: 'm' },
          { name: 'a', base_path: '/m', model_version_policy: { all: {}, latest: {} } },
        ],
      }),
      faults({
        endpoints: ['a:1'],
        model_config_list: [{ name: 'a', base_path: '/m', model_version_policy: { specific: { versions: ['0', 'x'] } } }],
        write_back: true,
      }),
      faults({ ...base, tls: {} }),
    ]).toMatchInlineSnapshot(`
      [
        [
          "endpoints: expected at least one address",
          ": expected model_config_file or model_config_list: a reload replaces the whole list, and the server does not tell its own",
        ],
        [
          "endpoints.0: expected an address; write host:port or dns:///name:port",
          "model_config_list: expected only one of model_config_file and model_config_list",
        ],
        [
          "model_config_list.0.base_path: expected an absolute path or a URL; the server refuses relative ones",
          "model_config_list.1.model_version_policy.all: expected only one of latest, all, specific",
          "model_config_list.1.name: expected every name once; the server refuses a list with one twice",
        ],
        [
          "model_config_list.0.model_version_policy.specific.versions.0: expected a version number, 1 to 9223372036854775807",
          "model_config_list.0.model_version_policy.specific.versions.1: expected a version number, 1 to 9223372036854775807",
          "write_back: expected no write_back without model_config_file: there is no file to write",
        ],
        [
          ": Unrecognized key: "tls"",
        ],
      ]
    `);
  });

  it.each([
    ['tfs-0:8500', { host: 'tfs-0', port: 8500, resolve: false }],
    ['[::1]:8500', { host: '::1', port: 8500, resolve: false }],
    ['dns:///tfs.ml.svc:8500', { host: 'tfs.ml.svc', port: 8500, resolve: true }],
    ['http://tfs:8500', null],
    ['tfs:0', null],
    ['tfs:70000', null],
  ])('reads the address %s', (text, parsed) => {
    expect(parseEndpoint(text)).toEqual(parsed);
  });

  it.each([
    ['1', true],
    ['9223372036854775807', true],
    ['9223372036854775808', false],
    ['0', false],
    ['01', false],
    ['1.0', false],
    ['-1', false],
    ['', false],
  ])('takes %j as a version number: %s', (text, expected) => {
    expect(isVersionNumber(text)).toBe(expected);
  });

  it('carries every field of a model in model_config_list into the message', async () => {
    const config = tensorflowServingConfig.parse({
      endpoints: ['a:1'],
      model_config_list: [
        {
          name: 'fraud',
          base_path: 'gs://bucket/fraud',
          model_type: 'TENSORFLOW',
          logging_config: {
            log_collector_config: { type: 't', filename_prefix: 'p' },
            sampling_config: { sampling_rate: 0.5, attributes: 3, per_task_sampling_configs: [{ dc: 'x', task_index: 0, sampling_rate: 1 }] },
            custom_logging_config: { type_url: 'u', value: 'AQI=' },
          },
          model_version_policy: { specific: { versions: [6, '9223372036854775807'] } },
          version_labels: { stable: 6 },
        },
      ],
    });

    const { config: message } = (await new BaseListReader(config).read()).config;

    expect(message.case === 'modelConfigList' && message.value.config).toMatchObject([
      {
        name: 'fraud',
        basePath: 'gs://bucket/fraud',
        modelType: 1,
        modelPlatform: 'tensorflow',
        loggingConfig: {
          logCollectorConfig: { type: 't', filenamePrefix: 'p' },
          samplingConfig: { samplingRate: 0.5, attributes: 3, perTaskSamplingConfigs: [{ dc: 'x', taskIndex: 0, samplingRate: 1 }] },
          customLoggingConfig: { typeUrl: 'u', value: Buffer.from([1, 2]) },
        },
        modelVersionPolicy: { policyChoice: { case: 'specific', value: { versions: [6n, 9223372036854775807n] } } },
        versionLabels: { stable: 6n },
      },
    ]);
  });
});
