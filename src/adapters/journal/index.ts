export { openMemoryJournal } from './memory/open.ts';
export { SqlJournal } from './sql-journal.ts';
export { openJournal, openJournalReadOnly } from './sqlite/open.ts';
