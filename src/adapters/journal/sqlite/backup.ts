import { closeSync, existsSync, fsyncSync, openSync, renameSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { JournalError } from '../../../domain/ports.ts';
import { openJournalReadOnly } from './open.ts';

export type Backup = { readonly events: number; readonly bytes: number };

/**
 * Copies the journal's file as it is at one instant, while a daemon may write it; the copy's chain is verified before it gets its name.
 * @throws {JournalError} also for a target that is there already, and for a copy that does not verify
 */
export async function backUpJournal(file: string, target: string): Promise<Backup> {
  const copy = path.resolve(target);
  if (existsSync(copy)) throw new JournalError(`journal backup: ${copy} is there already, expected a new file; nothing was written`);
  // Says what is wrong with the source (missing, foreign, of another version) before anything is written.
  await (await openJournalReadOnly({ path: file })).close();
  const partial = `${copy}.partial`;
  rmSync(partial, { force: true });
  try {
    vacuumInto(file, partial);
    const events = await verified(partial);
    sync(partial);
    renameSync(partial, copy);
    sync(path.dirname(copy));
    return { events, bytes: statSync(copy).size };
  } catch (error) {
    rmSync(partial, { force: true });
    if (error instanceof JournalError) throw error;
    throw new JournalError(`journal backup: ${error instanceof Error ? error.message : String(error)}; no copy was made`, { cause: error });
  }
}

/** One read transaction: what is appended meanwhile is not in the copy. */
function vacuumInto(file: string, target: string): void {
  const database = new DatabaseSync(path.resolve(file), { readOnly: true, timeout: 5_000, allowExtension: false });
  try {
    database.prepare('vacuum into ?').run(target);
  } finally {
    database.close();
  }
}

async function verified(file: string): Promise<number> {
  const journal = await openJournalReadOnly({ path: file });
  try {
    const verdict = await journal.verify();
    if (!verdict.ok) throw new JournalError(`journal backup: event ${verdict.seq} of the copy: ${verdict.reason}; no copy was made`);
    return verdict.events;
  } finally {
    await journal.close();
  }
}

function sync(place: string): void {
  const descriptor = openSync(place, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
