/**
 * Compares .proto files with TensorFlow Serving's own descriptors (PyPI package tensorflow-serving-api, fetched by pip into the
 * user's cache on the first run): `node check-official-descriptors.ts [set.binpb …]`.
 *
 * A set is what `buf build -o set.binpb` writes; without one the double's own generated code is checked. Exits 1 when a number, type
 * or name is another than in the original or a configuration message is not whole, 2 when the check could not be made.
 */
import { readdir, readFile } from 'node:fs/promises';
import { fromBinary } from '@bufbuild/protobuf';
import type { GenFile } from '@bufbuild/protobuf/codegenv2';
import { type FileDescriptorProto, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { compareDescriptors } from './descriptors/descriptor-comparison.ts';
import { loadOfficialDescriptors, OFFICIAL_PACKAGE } from './descriptors/official-descriptors.ts';

async function descriptorsOfTheDouble(): Promise<FileDescriptorProto[]> {
  const folder = new URL('./gen/', import.meta.url);
  const files: FileDescriptorProto[] = [];
  for (const entry of await readdir(folder, { recursive: true })) {
    if (!/_pb\.(ts|js)$/.test(entry)) continue;
    const module: Record<string, unknown> = await import(new URL(entry, folder).href);
    for (const [name, value] of Object.entries(module)) if (name.startsWith('file_')) files.push((value as GenFile).proto);
  }
  return files;
}

async function check(title: string, ours: FileDescriptorProto[], official: FileDescriptorProto[]): Promise<boolean> {
  const { compared, faults, unchecked } = compareDescriptors(ours, official);
  for (const line of unchecked) process.stdout.write(`${title}: not compared: ${line}\n`);
  for (const line of faults) process.stdout.write(`${title}: ${line}\n`);
  const verdict = faults.length === 0 ? 'as in the original' : `${faults.length} faults; mend the .proto files, generate again and run this once more`;
  process.stdout.write(`${title}: ${compared} fields, values and methods compared with ${OFFICIAL_PACKAGE.name} ${OFFICIAL_PACKAGE.version}: ${verdict}\n`);
  return faults.length === 0;
}

try {
  const official = await loadOfficialDescriptors();
  const paths = process.argv.slice(2);
  const results: boolean[] = [];
  if (paths.length === 0) results.push(await check('double', await descriptorsOfTheDouble(), official));
  for (const path of paths) {
    results.push(await check(path, fromBinary(FileDescriptorSetSchema, await readFile(path)).file, official));
  }
  if (results.includes(false)) process.exitCode = 1;
} catch (error) {
  const { message, cause } = error as Error;
  process.stderr.write(`check-official-descriptors: ${message}\n${cause ? `${String(cause)}\n` : ''}`);
  process.exitCode = 2;
}
