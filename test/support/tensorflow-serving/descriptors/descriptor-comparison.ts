import { isFieldSet } from '@bufbuild/protobuf';
import {
  type DescriptorProto,
  type EnumDescriptorProto,
  type FieldDescriptorProto,
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FieldDescriptorProtoSchema,
  type FileDescriptorProto,
} from '@bufbuild/protobuf/wkt';

/** What a comparison found: `faults` break the wire, `unchecked` could not be compared. One line each. */
export interface Comparison {
  compared: number;
  faults: string[];
  unchecked: string[];
}

/** Messages that must be whole: a field missing here is a field lost when a configuration is sent back to the server. */
export const MUST_BE_COMPLETE: readonly string[] = [
  'ModelServerConfig',
  'ModelConfigList',
  'ModelConfig',
  'ModelConfig.VersionLabelsEntry',
  'ReloadConfigRequest',
  'FileSystemStoragePathSourceConfig',
  'FileSystemStoragePathSourceConfig.ServableToMonitor',
  'FileSystemStoragePathSourceConfig.ServableVersionPolicy',
  'FileSystemStoragePathSourceConfig.ServableVersionPolicy.All',
  'FileSystemStoragePathSourceConfig.ServableVersionPolicy.Latest',
  'FileSystemStoragePathSourceConfig.ServableVersionPolicy.Specific',
  'LoggingConfig',
  'SamplingConfig',
  'PerTaskSamplingConfig',
  'LogCollectorConfig',
].map((name) => `tensorflow.serving.${name}`);

/** In the server's source (tensorflow_serving/config/*.proto) but not in the API package: files of flags, never on the wire. */
const NOT_IN_THE_PACKAGE = new Set(['SSLConfig', 'MonitoringConfig', 'PrometheusConfig'].map((name) => `tensorflow.serving.${name}`));

interface Catalogue {
  messages: Map<string, DescriptorProto>;
  enums: Map<string, EnumDescriptorProto>;
  /** «package.Service.Method» → «Request → Response» */
  methods: Map<string, string>;
}

/**
 * Holds every message, field, enum value and method of package `tensorflow.serving` in `ours` against `official`, and wants
 * {@link MUST_BE_COMPLETE} whole. Names, numbers, types, labels and oneofs must be the same; JSON names and options may differ.
 */
export function compareDescriptors(ours: FileDescriptorProto[], official: FileDescriptorProto[]): Comparison {
  const mine = catalogue(ours);
  const theirs = catalogue(official);
  const result: Comparison = { compared: 0, faults: [], unchecked: [] };

  for (const [name, message] of mine.messages) compareMessage(name, message, theirs.messages.get(name), result);
  for (const [name, one] of mine.enums) compareEnum(name, one, theirs.enums.get(name), result);
  for (const [name, signature] of mine.methods) compareMethod(name, signature, theirs.methods.get(name), result);
  for (const name of MUST_BE_COMPLETE) findMissing(name, mine.messages.get(name), theirs.messages.get(name), result);
  return result;
}

function compareMessage(name: string, mine: DescriptorProto, theirs: DescriptorProto | undefined, result: Comparison): void {
  if (theirs === undefined) {
    if (!name.startsWith('tensorflow.serving.') || NOT_IN_THE_PACKAGE.has(name)) result.unchecked.push(`${name}: not in the package`);
    else result.faults.push(`${name}: unknown message; the original has none of this name`);
    return;
  }
  const byName = new Map(theirs.field.map((field) => [field.name, field]));
  for (const field of mine.field) {
    const original = byName.get(field.name);
    const here = describeField(field, mine);
    const there = original === undefined ? 'no such field' : describeField(original, theirs);
    result.compared += 1;
    if (here !== there) result.faults.push(`${name}.${field.name}: found «${here}», the original has «${there}»`);
  }
}

function compareEnum(name: string, mine: EnumDescriptorProto, theirs: EnumDescriptorProto | undefined, result: Comparison): void {
  if (theirs === undefined) {
    if (name.startsWith('tensorflow.serving.')) result.faults.push(`${name}: unknown enum; the original has none of this name`);
    else result.unchecked.push(`${name}: not in the package`);
    return;
  }
  const numbers = new Map(theirs.value.map((value) => [value.name, value.number]));
  for (const value of mine.value) {
    result.compared += 1;
    const number = numbers.get(value.name);
    if (number !== value.number) result.faults.push(`${name}.${value.name}: found ${value.number}, the original has ${number ?? 'no such value'}`);
  }
}

function compareMethod(name: string, mine: string, theirs: string | undefined, result: Comparison): void {
  result.compared += 1;
  if (mine !== theirs) result.faults.push(`${name}: found «${mine}», the original has «${theirs ?? 'no such method'}»`);
}

function findMissing(name: string, mine: DescriptorProto | undefined, theirs: DescriptorProto | undefined, result: Comparison): void {
  if (theirs === undefined) return void result.faults.push(`${name}: gone from the original; mend MUST_BE_COMPLETE`);
  if (mine === undefined) return void result.faults.push(`${name}: missing; a configuration that holds one would lose it when sent back`);
  const names = new Set(mine.field.map((field) => field.name));
  for (const field of theirs.field) {
    if (!names.has(field.name)) result.faults.push(`${name}.${field.name}: missing (original: «${describeField(field, theirs)}»)`);
  }
}

function describeField(field: FieldDescriptorProto, message: DescriptorProto): string {
  const repeated = field.label === FieldDescriptorProto_Label.REPEATED ? 'repeated ' : '';
  const type = field.typeName || FieldDescriptorProto_Type[field.type];
  // Not `field.oneofIndex === undefined`: an unset index reads as 0, the first oneof.
  const inOneof = isFieldSet(field, FieldDescriptorProtoSchema.field.oneofIndex);
  const oneof = inOneof ? message.oneofDecl[field.oneofIndex]?.name : undefined;
  // The oneof of a proto3 `optional` is made up by the compiler; the word itself does matter, it says that 0 is sent.
  const group = field.proto3Optional ? ' (optional)' : oneof ? ` (oneof ${oneof})` : '';
  return `${repeated}${type} = ${field.number}${group}`;
}

function catalogue(files: FileDescriptorProto[]): Catalogue {
  const found: Catalogue = { messages: new Map(), enums: new Map(), methods: new Map() };
  for (const file of files) {
    if (!file.package.startsWith('tensorflow')) continue;
    for (const message of file.messageType) collect(`${file.package}.${message.name}`, message, found);
    for (const one of file.enumType) found.enums.set(`${file.package}.${one.name}`, one);
    for (const service of file.service) {
      for (const method of service.method) {
        const streams = `${method.clientStreaming ? 'stream ' : ''}→${method.serverStreaming ? ' stream' : ''}`;
        found.methods.set(`${file.package}.${service.name}.${method.name}`, `${method.inputType} ${streams} ${method.outputType}`);
      }
    }
  }
  return found;
}

function collect(name: string, message: DescriptorProto, found: Catalogue): void {
  found.messages.set(name, message);
  for (const one of message.enumType) found.enums.set(`${name}.${one.name}`, one);
  for (const nested of message.nestedType) collect(`${name}.${nested.name}`, nested, found);
}
