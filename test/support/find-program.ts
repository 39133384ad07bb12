import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** The first program of this name on the PATH, then in the further folders; `undefined`: there is none. @param given a path that is looked at instead, unless '' */
export function findProgram(name: string, given: string, furtherFolders: readonly string[] = []): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), ...furtherFolders].filter((folder) => folder !== '');
  const candidates = given === '' ? folders.map((folder) => join(folder, name)) : [given];
  return candidates.find(isExecutable);
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
