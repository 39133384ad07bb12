import { create } from '@bufbuild/protobuf';
import {
  type FieldDescriptorProto,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
} from '@bufbuild/protobuf/wkt';
import { describe, expect, it } from 'vitest';
import { file_tensorflow_serving_apis_model_management } from '../gen/tensorflow_serving/apis/model_management_pb.ts';
import { file_tensorflow_serving_config_file_system_storage_path_source } from '../gen/tensorflow_serving/config/file_system_storage_path_source_pb.ts';
import { file_tensorflow_serving_config_log_collector_config } from '../gen/tensorflow_serving/config/log_collector_config_pb.ts';
import { file_tensorflow_serving_config_logging_config } from '../gen/tensorflow_serving/config/logging_config_pb.ts';
import { file_tensorflow_serving_config_model_server_config } from '../gen/tensorflow_serving/config/model_server_config_pb.ts';
import { compareDescriptors } from './descriptor-comparison.ts';
import { serializedFileIn } from './official-descriptors.ts';

const WHOLE = [
  file_tensorflow_serving_apis_model_management,
  file_tensorflow_serving_config_file_system_storage_path_source,
  file_tensorflow_serving_config_log_collector_config,
  file_tensorflow_serving_config_logging_config,
  file_tensorflow_serving_config_model_server_config,
].map(({ proto }) => proto);

function fileWith(message: string, ...fields: Partial<FieldDescriptorProto>[]): FileDescriptorProto {
  const messageType = [{ name: message, field: fields as [] }];
  return create(FileDescriptorProtoSchema, { package: 'tensorflow.serving', syntax: 'proto3', messageType });
}

const field = { label: Label.OPTIONAL, type: Type.STRING };

describe('serializedFileIn', () => {
  it('decodes the bytes literal of a generated Python module', () => {
    const python = String.raw`DESCRIPTOR = pool.Default().AddSerializedFile(b'\n#a/b.proto\x12\"\'\\\101\x00z')` + '\nmore()';

    expect(serializedFileIn(python)?.toString()).toBe(Buffer.from('\n#a/b.proto\x12"\'\\A\0z').toString());
    expect(serializedFileIn('nothing here')).toBeUndefined();
  });
});

describe('compareDescriptors', () => {
  it('finds nothing between a set and itself', () => {
    expect(compareDescriptors(WHOLE, WHOLE)).toMatchObject({ faults: [] });
  });

  it.each([
    ['another number', { ...field, name: 'name', number: 2 }, 'found «STRING = 2», the original has «STRING = 1»'],
    ['another type', { ...field, name: 'name', number: 1, type: Type.INT64 }, 'found «INT64 = 1»'],
    ['another label', { ...field, name: 'name', number: 1, label: Label.REPEATED }, 'found «repeated STRING = 1»'],
    ['a name of its own', { ...field, name: 'nom', number: 1 }, 'the original has «no such field»'],
  ])('finds %s', (_, mine, fault) => {
    const official = fileWith('Extra', { ...field, name: 'name', number: 1 });

    const { faults } = compareDescriptors([...WHOLE, fileWith('Extra', mine)], [...WHOLE, official]);

    expect(faults).toEqual([expect.stringContaining(fault)]);
  });

  it('lets a message be smaller than the original, unless a configuration would lose by it', () => {
    const [management, ...others] = WHOLE as [FileDescriptorProto, ...FileDescriptorProto[]];
    const request = management.messageType.find(({ name }) => name === 'ReloadConfigRequest');
    const reload = fileWith('ReloadConfigRequest', ...(request?.field ?? []).slice(0, 1));
    const rest = fileWith('Extra', { ...field, name: 'name', number: 1 });
    const larger = fileWith('Extra', { ...field, name: 'name', number: 1 }, { ...field, name: 'more', number: 2 });

    expect(compareDescriptors([...WHOLE, rest], [...WHOLE, larger]).faults).toEqual([]);
    expect(compareDescriptors([reload, ...others], WHOLE).faults).toEqual([expect.stringContaining('ReloadConfigRequest.metric_names: missing')]);
    expect(compareDescriptors(WHOLE.slice(0, 1), WHOLE).faults).toContainEqual(expect.stringContaining('tensorflow.serving.ModelConfig: missing'));
  });
});
