import { DatabaseSync } from 'node:sqlite';
import { JournalError } from '../../../domain/ports.ts';

/** Held until `release`, or until the process is gone, however it went. */
export type FileLock = { release(): void };

/**
 * Takes `<path>.lock`: a tiny SQLite file with an exclusive transaction that stays open. The operating system drops such a lock with the
 * process, so that there is no stale one after `kill -9`. Nothing else may open that file in this process: closing any descriptor of it
 * would drop the lock (POSIX). It does not reach over machines: a journal on a shared file system is refused in the documents.
 * @throws {JournalError} when another process (or this one) holds it, or the file cannot be made
 */
export function lockFile(path: string): FileLock {
  const lockPath = `${path}.lock`;
  let database: DatabaseSync | null = null;
  try {
    database = new DatabaseSync(lockPath, { timeout: 0 });
    // Without a rollback journal on disk, so that nothing is left behind beside it.
    database.exec('pragma journal_mode = memory; begin exclusive');
  } catch (error) {
    database?.close();
    const busy = typeof error === 'object' && error !== null && 'errcode' in error && error.errcode === 5;
    if (busy) {
      throw new JournalError(
        `journal ${path}: found another process that uses it (${lockPath} is locked), expected to be alone; stop that process (fuser ${lockPath} names it) or give this one another journal.sqlite.path`,
        { cause: error },
      );
    }
    const text = error instanceof Error ? error.message : String(error);
    throw new JournalError(
      `journal ${path}: cannot lock ${lockPath}: ${text}; the folder must be writable, and the lock file may be deleted when no rollbackd runs`,
      { cause: error },
    );
  }
  const held = database;
  return { release: () => held.close() };
}
