import { createHash } from 'node:crypto';
import { glob, readFile } from 'node:fs/promises';
import { dirname, isAbsolute, relative, resolve } from 'node:path';
import { z } from 'zod';
import type { Diagnostic } from '../rulefile/diagnostic.ts';
import { YamlFile } from '../rulefile/yaml-document.ts';

/** A file's content, or why it cannot be read. */
export type ReadFile =
  | { readonly path: string; readonly bytes: Uint8Array; readonly failure?: never }
  | { readonly path: string; readonly failure: string; readonly bytes?: never };

export async function readBytes(path: string): Promise<ReadFile> {
  try {
    return { path, bytes: await readFile(path) };
  } catch (error) {
    return { path, failure: reasonOf(error) };
  }
}

function reasonOf(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  if (code === 'ENOENT') return 'no such file';
  if (code === 'EACCES') return 'permission denied';
  if (code === 'EISDIR') return 'it is a folder';
  return typeof code === 'string' ? code : 'it cannot be read';
}

/** A path as people like to see it: relative to the working directory where it lies below it. */
export function displayPath(path: string): string {
  const short = relative(process.cwd(), path);
  return short === '' || short.startsWith('..') || isAbsolute(short) ? path : short;
}

/** A fault of a file as a whole. */
export function fileDiagnostic(path: string, message: string): Diagnostic {
  return {
    file: displayPath(path),
    line: 1,
    column: 1,
    endColumn: 2,
    path: '',
    message,
    code: 'unreadable',
    severity: 'error',
    sourceLine: '',
    caret: { start: 0, length: 1 },
  };
}

/** Files a pattern of `rule_files` names, absolute and sorted; unit tests beside them (`*.test.yaml`) are no rule files. */
export async function expandPattern(pattern: string, folder: string): Promise<string[]> {
  const found: string[] = [];
  for await (const path of glob(pattern, { cwd: folder })) found.push(resolve(folder, path));
  return found.filter((path) => !isRuleTest(path)).sort();
}

/** Unit tests stand beside the rules they test: `fraud.yaml`, `fraud.test.yaml`. */
export function isRuleTest(path: string): boolean {
  return /\.test\.ya?ml$/.test(path);
}

/** SHA-256 over paths and contents, in the order given. */
export function hashFiles(files: readonly ReadFile[]): string {
  const hash = createHash('sha256');
  for (const file of files) {
    hash.update(`${file.path}\0${file.failure ?? file.bytes.byteLength}\0`);
    if (file.bytes !== undefined) hash.update(file.bytes);
  }
  return hash.digest('hex');
}

/**
 * Hashes the daemon's file and all rule files it names now, for reloads by polling (file watchers are blind to the second
 * swap of a ConfigMap). Equal to `Config.hash` as long as nothing changed; never throws, faulty files hash too.
 * @param path of the daemon's file; it is parsed again only when it changed, since that of a large fleet takes long
 */
export function fingerprinter(path: string): () => Promise<string> {
  const file = resolve(path);
  let known: { readonly bytes: Uint8Array; readonly patterns: readonly string[] } | null = null;
  return async () => {
    const read = await readBytes(file);
    if (read.bytes === undefined) return hashFiles([read]);
    if (known === null || Buffer.compare(known.bytes, read.bytes) !== 0) known = { bytes: read.bytes, patterns: patternsIn(read.bytes) };
    return hashFiles([read, ...(await Promise.all((await rulePaths(known.patterns, dirname(file))).map(readBytes)))]);
  };
}

/** Rule files of all patterns, each once, sorted. */
export async function rulePaths(patterns: readonly string[], folder: string): Promise<string[]> {
  const found = await Promise.all(patterns.map(async (pattern) => expandPattern(pattern, folder)));
  return [...new Set(found.flat())].sort();
}

function patternsIn(bytes: Uint8Array): string[] {
  const yaml = new YamlFile('', bytes);
  const list = yaml.isReadable ? yaml.plain(z.unknown(), null, ['rule_files']) : null;
  return Array.isArray(list) ? list.filter((pattern) => typeof pattern === 'string' && pattern !== '') : [];
}
