import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { fromBinary } from '@bufbuild/protobuf';
import { type FileDescriptorProto, FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';

const run = promisify(execFile);

/** The Python package that carries TensorFlow Serving's own serialized descriptors, and the release they are taken from. */
export const OFFICIAL_PACKAGE = { name: 'tensorflow-serving-api', version: '2.21.0' } as const;

/** Thrown when the official descriptors cannot be had; the message says how to mend that. */
export class OfficialDescriptorsError extends Error {
  override readonly name = 'OfficialDescriptorsError';
}

/**
 * The descriptors of TensorFlow Serving's API as its makers ship them. Installs the package once, by pip and without its
 * dependencies (TensorFlow itself is not needed), into `${XDG_CACHE_HOME:-~/.cache}/rollbackd`.
 * @throws {OfficialDescriptorsError} when pip is missing or finds no package, or the package looks otherwise than expected
 */
export async function loadOfficialDescriptors(): Promise<FileDescriptorProto[]> {
  const folder = await install();
  const files: FileDescriptorProto[] = [];
  for (const entry of await readdir(folder, { recursive: true })) {
    if (!entry.endsWith('_pb2.py')) continue;
    const bytes = serializedFileIn(await readFile(join(folder, entry), 'utf8'));
    if (bytes !== undefined) files.push(fromBinary(FileDescriptorProtoSchema, bytes));
  }
  if (files.length === 0) {
    throw new OfficialDescriptorsError(
      `${folder}: no serialized descriptor found; remove the folder and try again, or teach serializedFileIn() the new form of *_pb2.py`,
    );
  }
  return files;
}

async function install(): Promise<string> {
  const cache = join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'rollbackd');
  const folder = join(cache, `${OFFICIAL_PACKAGE.name}-${OFFICIAL_PACKAGE.version}`);
  if (await stat(folder).catch(() => undefined)) return folder;

  const requirement = `${OFFICIAL_PACKAGE.name}==${OFFICIAL_PACKAGE.version}`;
  process.stderr.write(`installing ${requirement} (30 kB, no dependencies) with pip into ${folder}\n`);
  await mkdir(cache, { recursive: true });
  const staging = await mkdtemp(join(cache, 'staging-'));
  try {
    await run('python3', ['-m', 'pip', 'install', '--quiet', '--no-deps', '--target', staging, requirement]);
    await rename(staging, folder);
  } catch (cause) {
    await rm(staging, { recursive: true, force: true });
    throw new OfficialDescriptorsError(
      `pip could not install ${requirement}; needed are python3 with pip and a package index, or put the unpacked wheel into ${folder} by hand`,
      { cause },
    );
  }
  return folder;
}

/** The bytes literal that protoc's Python output hands to `AddSerializedFile`, decoded; `undefined` when there is none. */
export function serializedFileIn(python: string): Uint8Array | undefined {
  const literal = /AddSerializedFile\(b(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")\)/s.exec(python);
  const text = literal?.[1] ?? literal?.[2];
  return text === undefined ? undefined : Buffer.from(unescapeBytes(text), 'latin1');
}

const ESCAPES: Record<string, string> = { n: '\n', r: '\r', t: '\t', a: '\x07', b: '\b', f: '\f', v: '\v' };

function unescapeBytes(text: string): string {
  return text.replace(/\\(?:x([0-9a-fA-F]{2})|([0-7]{1,3})|(.))/gs, (_, hex, octal, other) => {
    if (hex !== undefined) return String.fromCharCode(Number.parseInt(hex, 16));
    if (octal !== undefined) return String.fromCharCode(Number.parseInt(octal, 8));
    return ESCAPES[other] ?? other;
  });
}
