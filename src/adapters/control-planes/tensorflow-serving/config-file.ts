import { readFile } from 'node:fs/promises';
import { clone, equals } from '@bufbuild/protobuf';
import { lookUp } from '../../../domain/lookup.ts';
import { PlaneError } from '../../../domain/ports.ts';
import * as files from '../../files/replace-file.ts';
import { FileSystemStoragePathSourceConfig_ServableVersionPolicySchema as PolicySchema } from './gen/tensorflow_serving/config/file_system_storage_path_source_pb.ts';
import { type ModelServerConfig, ModelServerConfigSchema } from './gen/tensorflow_serving/config/model_server_config_pb.ts';
import { isSamePolicy, type ModelState, policyMessage, setState, stateOf } from './model-state.ts';
import { bindText, parseText, placeAt, quote, type TextField, TextFormatError, type TextMessageValue, toText } from './text-format.ts';

/** A config file as read: its text, what it says, and where each model's entry stands. */
export type ConfigFile = {
  readonly path: string;
  readonly text: string;
  readonly config: ModelServerConfig;
  /** Model name → its block in the text. */
  readonly blocks: ReadonlyMap<string, TextMessageValue>;
};

/**
 * Reads a text-format ModelServerConfig that rollbackd can own: every field known, only `model_config_list`, names once.
 * @throws {TextFormatError} with the place
 */
export function parseConfigFile(text: string, path: string): ConfigFile {
  const tree = parseText(text, path);
  const config = bindText(ModelServerConfigSchema, tree, text, path);
  const fail = (offset: number, what: string): never => {
    throw new TextFormatError(placeAt(text, path, offset), what);
  };
  if (config.config.case !== 'modelConfigList') {
    fail(
      tree.fields[0]?.start ?? 0,
      config.config.case === 'customModelConfig' ? 'custom_model_config: rollbackd cannot edit it, expected model_config_list' : 'found no model_config_list',
    );
  }
  const blocks = new Map<string, TextMessageValue>();
  const lists = tree.fields.filter((field) => field.name === 'model_config_list').flatMap((field) => field.values);
  const entries = lists.flatMap((list) => (list.kind === 'message' ? list.fields : [])).flatMap((field) => field.values);
  const models = config.config.case === 'modelConfigList' ? config.config.value.config : [];
  for (const [index, entry] of entries.entries()) {
    const name = models[index]?.name ?? '';
    if (name === '') fail(entry.start, 'config: found a model without a name');
    if (blocks.has(name)) fail(entry.start, `config: found a second model named ${JSON.stringify(name)}; the server refuses that`);
    if (entry.kind === 'message') blocks.set(name, entry);
  }
  return { path, text, config, blocks };
}

/** The text of a config file. @throws {PlaneError} permanent, when it cannot be read */
export async function readConfigText(path: string): Promise<string> {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(await readFile(path));
  } catch (cause) {
    throw new PlaneError('permanent', `model_config_file ${path}: cannot be read (${codeOf(cause)})`, { cause });
  }
}

type Edit = { readonly start: number; readonly end: number; readonly text: string };

/**
 * The file's text with one model's policy and labels changed, and nothing else: comments and layout around them stay.
 * The result is read again and compared with what was wanted.
 * @throws {PlaneError} permanent, when the edit would not say what was wanted
 */
export function editConfigFile(file: ConfigFile, model: string, state: ModelState): string {
  const block = file.blocks.get(model);
  const wanted = clone(ModelServerConfigSchema, file.config);
  const entry = wanted.config.case === 'modelConfigList' ? wanted.config.value.config.find((candidate) => candidate.name === model) : undefined;
  if (block === undefined || entry === undefined) throw new PlaneError('permanent', `${file.path}: model ${model} is not in it`);
  const present = stateOf(entry);
  setState(entry, state);

  const edits = [...policyEdits(file.text, block, present, state), ...labelEdits(file.text, block, present, state)];
  const text = applyEdits(file.text, edits);

  if (!equals(ModelServerConfigSchema, parseConfigFile(text, file.path).config, wanted)) {
    throw new PlaneError('permanent', `${file.path}: the edit of model ${model} would not say what was wanted; edit it by hand and set write_back: false`);
  }
  return text;
}

function policyEdits(text: string, block: TextMessageValue, present: ModelState, wanted: ModelState): Edit[] {
  if (isSamePolicy(present.policy, wanted.policy)) return [];
  const fields = block.fields.filter((field) => field.name === 'model_version_policy');
  if (wanted.policy === null) return fields.map((field) => removal(text, field));
  const message = policyMessage(wanted.policy);
  const field = fields[0];
  if (field === undefined) return [insertion(text, block, [`model_version_policy { ${toText(PolicySchema, message, { kind: 'line' })} }`])];
  const indent = indentOf(text, field.start);
  if (!text.slice(field.start, field.end).includes('\n') || indent === null) {
    return [{ start: field.start, end: field.end, text: `model_version_policy { ${toText(PolicySchema, message, { kind: 'line' })} }` }];
  }
  const newline = newlineOf(text);
  const lines = toText(PolicySchema, message, { kind: 'lines', indent: `${indent}  `, newline });
  return [{ start: field.start, end: field.end, text: `model_version_policy {${newline}${lines}${indent}}` }];
}

function labelEdits(text: string, block: TextMessageValue, present: ModelState, wanted: ModelState): Edit[] {
  const fields = block.fields.filter((field) => field.name === 'version_labels');
  const written = new Map(fields.map((field) => [field.isList ? null : labelOf(field), field]));
  const isPlain = fields.every((field) => !field.isList) && written.size === fields.length;
  const changed = Object.entries(wanted.labels).filter(([label, version]) => lookUp(present.labels, label) !== version);
  const removed = Object.keys(present.labels).filter((label) => lookUp(wanted.labels, label) === undefined);
  if (changed.length === 0 && removed.length === 0) return [];
  if (!isPlain)
    return [
      ...fields.map((field) => removal(text, field)),
      ...(Object.keys(wanted.labels).length > 0 ? [insertion(text, block, Object.entries(wanted.labels).map(labelText))] : []),
    ];

  const edits: Edit[] = removed.flatMap((label) => removal(text, written.get(label) as TextField));
  const added: string[] = [];
  for (const [label, version] of changed) {
    const field = written.get(label);
    const value = field === undefined ? undefined : labelValue(field);
    if (value !== undefined) edits.push({ ...value, text: version });
    else if (field !== undefined) edits.push({ start: field.start, end: field.end, text: labelText([label, version]) });
    else added.push(labelText([label, version]));
  }
  return added.length === 0 ? edits : [...edits, insertion(text, block, added)];
}

function labelText([label, version]: readonly [string, string]): string {
  return `version_labels { key: ${quote(Buffer.from(label, 'utf8'), true)} value: ${version} }`;
}

function labelOf(field: TextField): string {
  const [entry] = field.values;
  const key = entry?.kind === 'message' ? entry.fields.find((part) => part.name === 'key')?.values[0] : undefined;
  return key?.kind === 'string' ? Buffer.from(key.bytes).toString('utf8') : '';
}

function labelValue(field: TextField): { start: number; end: number } | undefined {
  const [entry] = field.values;
  const value = entry?.kind === 'message' ? entry.fields.find((part) => part.name === 'value')?.values[0] : undefined;
  return value === undefined ? undefined : { start: value.start, end: value.end };
}

/** Blanks before an offset when nothing else stands before it on its line, else `null`. */
function indentOf(text: string, offset: number): string | null {
  const before = text.slice(text.lastIndexOf('\n', offset - 1) + 1, offset);
  return /^[ \t]*$/.test(before) ? before : null;
}

function newlineOf(text: string): string {
  return text.includes('\r\n') ? '\r\n' : '\n';
}

/** Takes a field out, with its line when nothing else stands there. */
function removal(text: string, field: TextField): Edit {
  const indent = indentOf(text, field.start);
  const after = /^[ \t]*(\r?\n|$)/.exec(text.slice(field.endWithSeparator));
  if (indent !== null && after !== null) return { start: field.start - indent.length, end: field.endWithSeparator + after[0].length, text: '' };
  return { start: field.start, end: field.endWithSeparator, text: '' };
}

/** Puts fields at the end of a block: on lines of their own where the closing bracket has one. */
function insertion(text: string, block: TextMessageValue, fields: readonly string[]): Edit {
  const closing = indentOf(text, block.bodyEnd);
  if (closing === null || !text.slice(block.bodyStart, block.bodyEnd).includes('\n'))
    return { start: block.bodyEnd, end: block.bodyEnd, text: ` ${fields.join(' ')} ` };
  const first = block.fields[0];
  const indent = (first === undefined ? null : indentOf(text, first.start)) ?? `${closing}  `;
  const at = block.bodyEnd - closing.length;
  return { start: at, end: at, text: fields.map((field) => indent + field + newlineOf(text)).join('') };
}

function applyEdits(text: string, edits: readonly Edit[]): string {
  let result = text;
  // From the end, so that offsets stay true; among equal starts the insertion made last comes first again.
  for (const edit of edits.map((value, index) => ({ ...value, index })).toSorted((a, b) => b.start - a.start || b.index - a.index)) {
    result = result.slice(0, edit.start) + edit.text + result.slice(edit.end);
  }
  return result;
}

const writeHint = 'mount it writable, or set write_back: false and keep the rollback there by your own means';

/** Why the file could not be written back, `null` when it could: a symbolic link (a mounted ConfigMap), no right to write. */
export async function writeObstacle(path: string): Promise<string | null> {
  const obstacle = await files.writeObstacle(path);
  return obstacle === null ? null : `model_config_file ${obstacle}; ${writeHint}`;
}

/** @throws {PlaneError} conflict, when the file changed; permanent, when it cannot be written */
export async function replaceFile(path: string, expected: string, text: string): Promise<void> {
  try {
    await files.replaceFile(path, expected, text);
  } catch (cause) {
    if (!(cause instanceof files.FileReplaceError)) throw cause;
    throw new PlaneError(cause.changed ? 'conflict' : 'permanent', `model_config_file ${cause.message}${cause.changed ? '' : `; ${writeHint}`}`, { cause });
  }
}

function codeOf(cause: unknown): string {
  return cause instanceof Error ? ((cause as NodeJS.ErrnoException).code ?? cause.message) : String(cause);
}
