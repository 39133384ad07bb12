import { toJson } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { ModelServerConfigSchema } from '../gen/tensorflow_serving/config/model_server_config_pb.ts';
import { SSLConfigSchema } from '../gen/tensorflow_serving/config/ssl_config_pb.ts';
import { parseTextProto } from './text-proto.ts';

function read(text: string): unknown {
  return toJson(ModelServerConfigSchema, parseTextProto(ModelServerConfigSchema, text));
}

describe('parseTextProto', () => {
  it('reads what the guide of TensorFlow Serving shows', () => {
    const config = read(`
      model_config_list {   # all models
        config {
          name: 'fraud'
          base_path: "/models/fraud"
          model_platform: 'tensorflow'
          model_version_policy { specific { versions: 42 versions: 43 } }
          version_labels { key: 'stable' value: 42 }
          version_labels { key: 'canary' value: 43 }
        }
      }`);

    expect(config).toEqual({
      modelConfigList: {
        config: [
          {
            name: 'fraud',
            basePath: '/models/fraud',
            modelPlatform: 'tensorflow',
            modelVersionPolicy: { specific: { versions: ['42', '43'] } },
            versionLabels: { stable: '42', canary: '43' },
          },
        ],
      },
    });
  });

  it.each([
    ['a list in brackets', 'versions: [42, 43]'],
    ['a list without separators', 'versions: 42 versions: 43'],
    ['commas and semicolons', 'versions: 42, versions: 43;'],
    ['hexadecimal and octal numbers', 'versions: 0x2A versions: 053'],
    ['both forms mixed', 'versions: [42] versions: 43'],
  ])('reads %s', (_, versions) => {
    const config = read(`model_config_list: < config: < model_version_policy: < specific: < ${versions} > > > >`);

    expect(config).toHaveProperty('modelConfigList.config[0].modelVersionPolicy.specific.versions', ['42', '43']);
  });

  it('reads a list of messages in brackets, and an empty one', () => {
    expect(read('model_config_list { config: [{ name: "a" }, { name: "b" }] config: [] }')).toEqual({
      modelConfigList: { config: [{ name: 'a' }, { name: 'b' }] },
    });
  });

  it('joins neighbouring strings and resolves escapes', () => {
    const { serverKey, clientVerify } = parseTextProto(
      SSLConfigSchema,
      'server_key: "--BEGIN--\\n" \'it\\\'s \\xc3\\xa9 \\u00e9 \\101\'\n"\\tend" client_verify: true',
    );

    expect(serverKey).toBe("--BEGIN--\nit's é é A\tend");
    expect(clientVerify).toBe(true);
  });

  it('keeps every field of a model, logging included', () => {
    const config = read(`model_config_list { config {
      name: "a" model_type: TENSORFLOW
      logging_config {
        log_collector_config { type: "file" filename_prefix: "/tmp/log" }
        sampling_config { sampling_rate: 1.5e-1 attributes: 3 per_task_sampling_configs { dc: "x" task_index: 0 sampling_rate: .5 } }
      } } }`);

    expect(config).toHaveProperty('modelConfigList.config[0]', {
      name: 'a',
      modelType: 'TENSORFLOW',
      loggingConfig: {
        logCollectorConfig: { type: 'file', filenamePrefix: '/tmp/log' },
        samplingConfig: { samplingRate: 0.15, attributes: 3, perTaskSamplingConfigs: [{ dc: 'x', taskIndex: 0, samplingRate: 0.5 }] },
      },
    });
  });

  it('reads an int64 to its ends', () => {
    const config = read(
      'model_config_list { config { version_labels { key: "a" value: 9223372036854775807 } version_labels { key: "b" value: -9223372036854775808 } } }',
    );

    expect(config).toHaveProperty('modelConfigList.config[0].versionLabels', { a: '9223372036854775807', b: '-9223372036854775808' });
  });

  it.each([
    ['an unknown field', 'model_config_list { config { nam: "a" } }', '1:30: found nam, expected a field of tensorflow.serving.ModelConfig'],
    ['a message that is not closed', 'model_config_list {\n  config {\n  }\n', '4:1: found the end of the file, expected }'],
    ['a field set twice', 'model_config_list { config { name: "a" name: "b" } }', 'name is set already'],
    ['a oneof set twice', 'model_config_list { config { model_version_policy { latest {} all {} } } }', 'latest is set already'],
    ['a missing colon', 'model_config_list { config { name "a" } }', 'expected : after name'],
    ['a string without quotes', 'model_config_list { config { name: a } }', 'expected a string in quotes'],
    ['a fraction for a whole number', 'model_config_list { config { version_labels { key: "a" value: 1.5 } } }', 'expected a whole number'],
    ['a number too big', 'model_config_list { config { model_version_policy { latest { num_versions: 4294967296 } } } }', 'expected 0 to 4294967295'],
    ['an open string', 'model_config_list { config { name: "a } }', 'found neither'],
    ['an unknown enum value', 'model_config_list { config { model_type: TENSORFLO } }', 'expected one of MODEL_TYPE_UNSPECIFIED'],
  ])('refuses %s', (_, text, message) => {
    expect(() => read(text)).toThrow(message);
  });
});
