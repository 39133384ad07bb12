import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { JournalError } from '../../../domain/ports.ts';
import { type Backup, backUpJournal } from './backup.ts';

/** Names of our own making, and of no other file; they sort by time. */
const ownName = /^rollbackd-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ\.db$/;

/**
 * Makes a verified copy of the journal in `dir`, named after the instant, and removes the oldest of such copies beyond `keep`, never before the new one is
 * whole. Files of other names are left alone.
 * @throws {JournalError} when no copy could be made; then none is removed
 */
export async function backUpAndKeep(
  file: string,
  { dir, keep }: { readonly dir: string; readonly keep: number },
  atMs: number,
): Promise<Backup & { readonly file: string; readonly removed: readonly string[] }> {
  try {
    mkdirSync(dir, { recursive: true });
  } catch (error) {
    throw new JournalError(`journal backup: ${dir} cannot be made: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
  const target = path.join(dir, `rollbackd-${new Date(atMs).toISOString().slice(0, 19).replaceAll(':', '-')}Z.db`);
  const backup = await backUpJournal(file, target);
  const old = readdirSync(dir)
    .filter((name) => ownName.test(name))
    .toSorted()
    .slice(0, -keep);
  for (const name of old) rmSync(path.join(dir, name));
  return { ...backup, file: target, removed: old };
}
