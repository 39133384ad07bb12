import { create, equals } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { codePoints } from '../../../../test/support/code-points.ts';
import { fuzzRuns } from '../../../../test/support/fuzz-runs.ts';
import { ModelServerConfigSchema } from './gen/tensorflow_serving/config/model_server_config_pb.ts';
import { fromText, TextFormatError, toText } from './text-format.ts';

const read = (text: string): ReturnType<typeof fromText<typeof ModelServerConfigSchema>> => fromText(ModelServerConfigSchema, text, 'models.config');
const one = (body: string): string => `model_config_list { config { ${body} } }`;
const first = (text: string) => {
  const { config } = read(text);
  if (config.case !== 'modelConfigList') throw new Error('no list');
  return config.value.config[0];
};
const faultOf = (text: string): string => {
  try {
    read(text);
  } catch (cause) {
    if (cause instanceof TextFormatError) return cause.message;
    throw cause;
  }
  return 'no fault';
};

describe('the text-format reader', () => {
  it.each([
    ['comments, colons and commas', '# list\nmodel_config_list: { # here\n config: { name: "a", base_path: "/m"; } }'],
    ['angle brackets', 'model_config_list < config < name: "a" base_path: "/m" > >'],
    ['list syntax', 'model_config_list { config: [ { name: "a" base_path: "/m" } ] }'],
    ['list syntax without a colon', 'model_config_list { config [ { name: "a" base_path: "/m" } ] }'],
    ['single quotes and strings put together', `model_config_list { config { name: 'a' base_path: "/" 'm' } }`],
    ['escapes', 'model_config_list { config { name: "\\x61" base_path: "\\057\\u006d" } }'],
  ])('reads %s', (_name, text) => {
    expect(first(text)).toMatchObject({ name: 'a', basePath: '/m' });
  });

  it('reads every field there is', () => {
    const text = one(`name: "fraud" base_path: "/m" model_type: TENSORFLOW model_platform: "tensorflow"
      logging_config { log_collector_config { type: "t" filename_prefix: "p" }
        sampling_config { sampling_rate: 0.5 attributes: 3 per_task_sampling_configs { dc: "x" task_index: 0 sampling_rate: 1e-3 } }
        custom_logging_config { type_url: "type.googleapis.com/x" value: "\\001\\377" } }
      model_version_policy { specific { versions: 6 versions: [9223372036854775807, 0x10, 010] } }
      version_labels { key: "stable" value: 6 } version_labels: [{ key: "canary", value: 7 }, { key: "none" }]`);

    expect(first(text)).toMatchObject({
      modelType: 1,
      loggingConfig: {
        samplingConfig: { samplingRate: 0.5, attributes: 3, perTaskSamplingConfigs: [{ taskIndex: 0, samplingRate: 0.001 }] },
        customLoggingConfig: { value: Buffer.from([1, 255]) },
      },
      modelVersionPolicy: { policyChoice: { case: 'specific', value: { versions: [6n, 9223372036854775807n, 16n, 8n] } } },
      versionLabels: { stable: 6n, canary: 7n, none: 0n },
    });
  });

  it('names file, line and column of a fault', () => {
    const faults = [
      'model_config_list {\n  config { naem: "a" }\n}',
      'model_config_list { config { name: "a" name: "b" } }',
      one('model_version_policy { latest {} all {} }'),
      one('model_version_policy { specific { versions: 9223372036854775808 } }'),
      one('name: a'),
      one('name: "a'),
      one('model_type: NEW'),
      one('version_labels { key: "a" valeu: 1 }'),
      'model_config_list {',
      'model_config_list { config { name: "\\q" } }',
      'custom_model_config { [type.googleapis.com/x] { a: 1 } }',
      'model_config_list { config { name "a" } }',
      'model_config_list } ',
    ].map(faultOf);

    expect(faults).toMatchInlineSnapshot(`
      [
        "models.config:2:12: naem: unknown field of tensorflow.serving.ModelConfig; rollbackd would lose it when it sends the list, so it does not own this file. Known fields: name, base_path, model_type, model_platform, logging_config, model_version_policy, version_labels",
        "models.config:1:40: name: given twice, expected it once",
        "models.config:1:63: all: a second choice of policy_choice, expected it once",
        "models.config:1:74: versions: expected a number from -9223372036854775808 to 9223372036854775807",
        "models.config:1:36: name: expected a string in quotes",
        "models.config:1:36: found a string without its end on this line, expected a closing quote",
        "models.config:1:42: model_type: expected one of MODEL_TYPE_UNSPECIFIED, TENSORFLOW, OTHER",
        "models.config:1:56: version_labels.valeu: expected key or value, once each",
        "models.config:1:20: found the end of the file, expected "}"",
        "models.config:1:37: found the escape "\\\\q", expected one of \\n \\t \\" \\x41 \\101 \\u00e9",
        "models.config:1:23: found an extension or an expanded Any in brackets, which rollbackd cannot keep; write type_url: "…" value: "…" instead",
        "models.config:1:35: found ""a"" behind name, expected ":" or "{"",
        "models.config:1:19: found "}" behind model_config_list, expected ":" or "{"",
      ]
    `);
  });

  it('refuses to go deeper than a hundred messages instead of running out of stack', () => {
    expect(faultOf('a {'.repeat(100_000))).toMatch(/found more than 100 messages in each other/);
  });

  it('answers any text with a message or a place, never with another error', () => {
    const pieces = fc.constantFrom(
      'model_config_list',
      'config',
      'name',
      '{',
      '}',
      '[',
      ']',
      '<',
      '>',
      ':',
      ',',
      '"a"',
      "'",
      '"',
      '\\',
      '#',
      '\n',
      '-',
      '1',
      '0x',
      'versions',
      'model_version_policy',
      'specific',
      '1.5f',
      'é',
    );
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 30 }), (parts) => {
        expect(() => faultOf(parts.join(' '))).not.toThrow();
      }),
      { numRuns: 500 * fuzzRuns },
    );
  });
});

const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const policy = fc.oneof(
  fc.record({ policyChoice: fc.record({ case: fc.constant('latest' as const), value: fc.record({ numVersions: fc.nat() }) }) }),
  fc.record({ policyChoice: fc.record({ case: fc.constant('all' as const), value: fc.constant({}) }) }),
  fc.record({ policyChoice: fc.record({ case: fc.constant('specific' as const), value: fc.record({ versions: fc.array(int64, { maxLength: 4 }) }) }) }),
);
const any = fc.record({ typeUrl: fc.string({ unit: 'grapheme' }), value: fc.uint8Array({ maxLength: 20 }) });
const modelConfig = fc.record(
  {
    name: codePoints().map((text) => text.toWellFormed()),
    basePath: fc.string({ unit: 'grapheme' }),
    modelType: fc.constantFrom(0, 1, 2),
    modelPlatform: fc.string(),
    loggingConfig: fc.record(
      {
        logCollectorConfig: fc.record({ type: fc.string(), filenamePrefix: fc.string() }),
        samplingConfig: fc.record({
          samplingRate: fc.double({ noNaN: true }),
          attributes: fc.integer(),
          perTaskSamplingConfigs: fc.array(
            fc.record({ dc: fc.string(), taskIndex: fc.integer(), samplingRate: fc.double({ noNaN: true }) }, { requiredKeys: [] }),
            { maxLength: 2 },
          ),
        }),
        customLoggingConfig: any,
      },
      { requiredKeys: [] },
    ),
    modelVersionPolicy: policy,
    versionLabels: fc.dictionary(fc.string(), int64, { maxKeys: 4 }),
  },
  { requiredKeys: [] },
);

describe('the text-format writer', () => {
  it.each([
    ['lines', undefined],
    ['one line', { kind: 'line' } as const],
  ])('writes what the reader reads back the same (%s)', (_name, layout) => {
    fc.assert(
      fc.property(fc.array(modelConfig, { maxLength: 3 }), (models) => {
        const config = create(ModelServerConfigSchema, { config: { case: 'modelConfigList', value: { config: models } } });

        expect(equals(ModelServerConfigSchema, read(toText(ModelServerConfigSchema, config, layout)), config)).toBe(true);
      }),
      { numRuns: 200 * fuzzRuns },
    );
  });

  it('refuses a message with fields it does not know: they would be lost', () => {
    const config = create(ModelServerConfigSchema);
    config.$unknown = [{ no: 99, wireType: 0, data: Uint8Array.of(1) }];

    expect(() => toText(ModelServerConfigSchema, config)).toThrow(/fields that rollbackd does not know/);
  });
});
