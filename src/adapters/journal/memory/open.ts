import type { Clock } from '../../../domain/ports.ts';
import type { SqlJournal } from '../sql-journal.ts';
import { openJournal } from '../sqlite/open.ts';

export { openMemoryReplicas } from '../sqlite/open.ts';

/** The same journal without a file: gone with the process. For tests, `plan` and demos that leave nothing behind. */
export async function openMemoryJournal(options: { clock: Clock }): Promise<SqlJournal> {
  return await openJournal({ path: ':memory:', clock: options.clock });
}
