import type { Clock, Log } from '../../domain/ports.ts';
import { openPostgresJournal, openPostgresJournalReadOnly } from './postgres/open.ts';
import type { SqlJournal } from './sql-journal.ts';
import { openEmptyJournal, openJournal, openJournalReadOnly } from './sqlite/open.ts';

export { openMemoryJournal } from './memory/open.ts';
export { openPostgresLease } from './postgres/lease.ts';
export { openPostgresJournal, openPostgresJournalReadOnly } from './postgres/open.ts';
export { SqlJournal } from './sql-journal.ts';
export { backUpJournal } from './sqlite/backup.ts';
export { backUpAndKeep } from './sqlite/kept-backups.ts';
export { openJournal, openJournalReadOnly } from './sqlite/open.ts';

/** Where a journal lies. */
export type JournalPlace =
  | { readonly kind: 'sqlite'; readonly path: string; readonly backup?: { readonly dir: string } | null }
  | { readonly kind: 'postgres'; readonly urlFile: string };

/**
 * Opens the journal that the settings name, for writing: an embedded one is this process's alone at once, a shared one only once it takes the epoch.
 * @throws {JournalError}
 */
export async function openConfiguredJournal(place: JournalPlace, deps: { clock: Clock; log?: Log }): Promise<SqlJournal> {
  if (place.kind === 'postgres') return await openPostgresJournal({ urlFile: place.urlFile, ...deps });
  const backupDir = place.backup?.dir;
  return await openJournal({ path: place.path, ...(backupDir === undefined ? {} : { backupDir }), ...deps });
}

/**
 * Reads the journal that the settings name, beside whoever writes it.
 * @param missing what it means when there is none yet: an error, or an empty one
 * @throws {JournalError}
 */
export async function openConfiguredJournalReadOnly(place: JournalPlace, missing: 'error' | 'empty' = 'error'): Promise<SqlJournal> {
  if (place.kind === 'sqlite') return await openJournalReadOnly({ path: place.path, missing });
  return (await openPostgresJournalReadOnly({ urlFile: place.urlFile, missing })) ?? (await openEmptyJournal(place.urlFile));
}
