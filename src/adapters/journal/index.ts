import type { JournalConfig } from '../../config/config.ts';
import type { Clock, Log } from '../../domain/ports.ts';
import { openPostgresJournal, openPostgresJournalReadOnly } from './postgres/open.ts';
import type { SqlJournal } from './sql-journal.ts';
import { openEmptyJournal, openJournal, openJournalReadOnly } from './sqlite/open.ts';

export { openMemoryJournal } from './memory/open.ts';
export { openPostgresJournal, openPostgresJournalReadOnly } from './postgres/open.ts';
export { SqlJournal } from './sql-journal.ts';
export { openJournal, openJournalReadOnly } from './sqlite/open.ts';

/**
 * Opens the journal that the settings name, for writing: an embedded one is this process's alone at once, a shared one only once it takes the epoch.
 * @throws {JournalError}
 */
export async function openConfiguredJournal(config: JournalConfig, deps: { clock: Clock; log?: Log }): Promise<SqlJournal> {
  return config.kind === 'sqlite' ? await openJournal({ path: config.path, ...deps }) : await openPostgresJournal({ urlFile: config.urlFile, ...deps });
}

/**
 * Reads the journal that the settings name, beside whoever writes it.
 * @param missing what it means when there is none yet: an error, or an empty one
 * @throws {JournalError}
 */
export async function openConfiguredJournalReadOnly(config: JournalConfig, missing: 'error' | 'empty' = 'error'): Promise<SqlJournal> {
  if (config.kind === 'sqlite') return await openJournalReadOnly({ path: config.path, missing });
  return (await openPostgresJournalReadOnly({ urlFile: config.urlFile, missing })) ?? (await openEmptyJournal(config.urlFile));
}
