import { existsSync, mkdirSync, realpathSync, statSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Kysely } from 'kysely';
import { Migrator } from 'kysely/migration';
import { type Clock, JournalError, type Log } from '../../../domain/ports.ts';
import { migrationNames, migrationProvider } from '../migrations.ts';
import { type SqlBackend, SqlJournal } from '../sql-journal.ts';
import type { Tables } from '../tables.ts';
import { nodeSqliteDialect } from './dialect.ts';
import { type FileLock, lockFile } from './lock.ts';
import { applicationId, restoreAdvice } from './restore-advice.ts';

/** ms a writer waits for a reader's lock (a checkpoint beside `openJournalReadOnly`). */
const busyTimeoutMs = 5_000;

/**
 * Opens the journal's file for writing, alone: a second process is refused. Makes the file and its folder; migrates an older schema.
 * Nothing is ever deleted or repaired here: what cannot be used is named, and left as it is.
 * @param options.path of the file, or ':memory:'; `backupDir`: where backups are kept beside those in its own folder, for the advice
 * @throws {JournalError} locked, unwritable, corrupt, of another program, or of a newer rollbackd
 */
export async function openJournal(options: {
  path: string;
  backupDir?: string;
  clock: Clock;
  log?: Log;
  /** Sees the raw database before its first use: tests bring about faults with it. */
  onDatabase?: (database: DatabaseSync) => void;
}): Promise<SqlJournal> {
  const inMemory = options.path === ':memory:';
  const file = inMemory ? options.path : prepareFolder(options.path);
  const lock = inMemory ? null : lockFile(file);
  let database: DatabaseSync | null = null;
  try {
    database = new DatabaseSync(file, { timeout: busyTimeoutMs, enableForeignKeyConstraints: true, allowExtension: false, ...defensive });
    options.onDatabase?.(database);
    refuseForeign(database, file);
    refuseDamaged(database, file, options.backupDir);
    database.exec('pragma journal_mode = wal; pragma synchronous = full; pragma trusted_schema = off');
    const db = new Kysely<Tables>({ dialect: nodeSqliteDialect(database) });
    await migrate(db, database, file);
    const epoch = await nextEpoch(db);
    options.log?.info({ journal: file, epoch }, 'journal opened');
    return new SqlJournal(backendOf({ db, database, file, epoch, readOnly: false, lock }), options.clock);
  } catch (error) {
    closeQuietly(database);
    lock?.release();
    throw wrap(error, file, options.backupDir);
  }
}

/**
 * Reads a journal beside the daemon that writes it; takes no lock, changes nothing, and `append` is refused.
 * @param options.missing what a file that is not there means: an error (default), or an empty journal (`plan` before the first run)
 * @throws {JournalError}
 */
export async function openJournalReadOnly(options: { path: string; missing?: 'error' | 'empty' }): Promise<SqlJournal> {
  const file = path.resolve(options.path);
  if (!existsSync(file)) {
    if (options.missing === 'empty') return await openEmptyJournal(file);
    throw new JournalError(`journal ${file}: found no such file, expected the journal of a daemon; see journal.sqlite.path, or start the daemon once`);
  }
  let database: DatabaseSync | null = null;
  try {
    database = new DatabaseSync(file, { readOnly: true, timeout: busyTimeoutMs, allowExtension: false, ...defensive });
    refuseForeign(database, file);
    const known = appliedMigrations(database);
    refuseNewer(known, file);
    if (known.length < migrationNames.length)
      throw new JournalError(
        `journal ${file}: found the schema of an older rollbackd, expected "${migrationNames.at(-1)}"; start the daemon once, it migrates`,
      );
    const db = new Kysely<Tables>({ dialect: nodeSqliteDialect(database) });
    const { epoch } = await db.selectFrom('head').select('epoch').executeTakeFirstOrThrow();
    return new SqlJournal(backendOf({ db, database, file, epoch: Number(epoch), readOnly: true, lock: null }), stoppedClock);
  } catch (error) {
    closeQuietly(database);
    throw wrap(error, file);
  }
}

/**
 * One journal in memory that several play replicas of: each has an epoch of its own, and none before it takes one. For tests of what happens between
 * replicas, without a database server.
 */
export async function openMemoryReplicas(clock: Clock): Promise<{ readonly join: () => SqlJournal } & AsyncDisposable> {
  const database = new DatabaseSync(':memory:');
  const db = new Kysely<Tables>({ dialect: nodeSqliteDialect(database) });
  await migrate(db, database, ':memory:');
  const backend = backendOf({ db, database, file: ':memory:', epoch: 0, readOnly: false, lock: null });
  const shared = { beginWrite: async () => undefined, locksRows: false };
  return {
    join: () => new SqlJournal({ ...backend, shared, close: async () => undefined }, clock),
    [Symbol.asyncDispose]: async () => await backend.close(),
  };
}

/** A journal of nothing, that cannot be written. */
export async function openEmptyJournal(file: string): Promise<SqlJournal> {
  const database = new DatabaseSync(':memory:');
  const db = new Kysely<Tables>({ dialect: nodeSqliteDialect(database) });
  await migrate(db, database, file);
  return new SqlJournal({ ...backendOf({ db, database, file, epoch: 0, readOnly: true, lock: null }), sizeBytes: async () => 0 }, stoppedClock);
}

/** `defensive` keeps SQL from corrupting the file (writes to shadow tables, `journal_mode=off`); @types/node 24.19 does not know it yet. */
const defensive: Record<string, boolean> = { defensive: true };
/** A reader never asks for the time. */
const stoppedClock: Clock = { nowMs: () => 0, sleep: async () => undefined };

/** Makes the folder; resolves links, so that two names of one file share one lock. */
function prepareFolder(given: string): string {
  const file = path.resolve(given);
  try {
    mkdirSync(path.dirname(file), { recursive: true });
    const real = existsSync(file) ? realpathSync(file) : path.join(realpathSync(path.dirname(file)), path.basename(file));
    if (existsSync(real) && !statSync(real).isFile())
      throw new JournalError(`journal ${real}: found a folder or device, expected a file; change journal.sqlite.path`);
    return real;
  } catch (error) {
    throw wrap(error, file);
  }
}

function refuseForeign(database: DatabaseSync, file: string): void {
  const id = Number(database.prepare('pragma application_id').get()?.['application_id'] ?? 0);
  if (id === applicationId) return;
  const tables = Number(database.prepare('select count(*) as count from sqlite_master').get()?.['count'] ?? 0);
  if (tables > 0 || id !== 0)
    throw new JournalError(
      `journal ${file}: found an SQLite database of another program, expected a journal of rollbackd or no file; change journal.sqlite.path`,
    );
}

/** Looks at every page once, so that damage shows now and not in the middle of a rollback. What fits its page and was changed all the same, `verify` finds. */
function refuseDamaged(database: DatabaseSync, file: string, backupDir?: string): void {
  const found = String(database.prepare('pragma quick_check(1)').get()?.['quick_check'] ?? 'no answer');
  if (found === 'ok') return;
  const fault = found.replaceAll(/\s+/g, ' ').replace(/^\*+ in database main \*+ /, '');
  throw new JournalError(`journal ${file}: found a damaged file (${fault}), expected a whole one; ${restoreAdvice(file, backupDir)}`);
}

async function migrate(db: Kysely<Tables>, database: DatabaseSync, file: string): Promise<void> {
  refuseNewer(appliedMigrations(database), file);
  const { error } = await new Migrator({ db, provider: migrationProvider }).migrateToLatest();
  if (error !== undefined) throw error instanceof Error ? error : new Error('migration failed', { cause: error });
  database.exec(`pragma application_id = ${applicationId}`);
}

function appliedMigrations(database: DatabaseSync): readonly string[] {
  const table = database.prepare(`select count(*) as count from sqlite_master where name = 'kysely_migration'`).get();
  if (Number(table?.['count'] ?? 0) === 0) return [];
  return database
    .prepare('select name from kysely_migration order by name')
    .all()
    .map((row) => String(row['name']));
}

function refuseNewer(applied: readonly string[], file: string): void {
  const unknown = applied.find((name) => !migrationNames.includes(name));
  if (unknown !== undefined) {
    throw new JournalError(
      `journal ${file}: found the schema of a newer rollbackd ("${unknown}"), expected "${migrationNames.at(-1)}" or older; run that newer version, or give this one another journal.sqlite.path`,
    );
  }
}

async function nextEpoch(db: Kysely<Tables>): Promise<number> {
  return await db.transaction().execute(async (transaction) => {
    const { epoch } = await transaction.selectFrom('head').select('epoch').where('id', '=', 1).executeTakeFirstOrThrow();
    await transaction
      .updateTable('head')
      .set({ epoch: Number(epoch) + 1 })
      .where('id', '=', 1)
      .execute();
    return Number(epoch) + 1;
  });
}

function backendOf(parts: { db: Kysely<Tables>; database: DatabaseSync; file: string; epoch: number; readOnly: boolean; lock: FileLock | null }): SqlBackend {
  const { db, database, file, epoch, readOnly, lock } = parts;
  return {
    db,
    name: file,
    epoch,
    readOnly,
    shared: null,
    advise: (error) => advise(error, file),
    sizeBytes: async () => (file === ':memory:' ? pagesOf(database) : await sizeOfFiles(file)),
    close: async () => {
      try {
        await db.destroy();
      } finally {
        closeQuietly(database);
        lock?.release();
      }
    },
  };
}

function pagesOf(database: DatabaseSync): number {
  return Number(database.prepare('pragma page_count').get()?.['page_count'] ?? 0) * Number(database.prepare('pragma page_size').get()?.['page_size'] ?? 0);
}

/** Only `stat`: opening and closing a file of the database in this process would drop SQLite's locks on it. */
async function sizeOfFiles(file: string): Promise<number> {
  const sizes = await Promise.all(
    [file, `${file}-wal`].map(
      async (name) =>
        await stat(name).then(
          ({ size }) => size,
          () => 0,
        ),
    ),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}

function closeQuietly(database: DatabaseSync | null): void {
  if (database?.isOpen === true) database.close();
}

function wrap(error: unknown, file: string, backupDir?: string): JournalError {
  if (error instanceof JournalError) return error;
  const text = error instanceof Error ? error.message : String(error);
  const advice = advise(error, file, backupDir) ?? 'see the cause, mend the file or its folder, and start again';
  return new JournalError(`journal ${file}: ${text}; ${advice}`, { cause: error });
}

/** SQLite's primary result codes that a person can do something about. @see https://www.sqlite.org/rescode.html */
const advices: Readonly<Record<number, string>> = {
  5: 'another process holds it; stop that process or give this one another journal.sqlite.path',
  8: 'expected a writable file and folder; check owner, rights and whether the file system is mounted read-only',
  10: 'the disk or file system failed; check it (dmesg), then start again',
  11: 'the file is damaged',
  13: 'the disk is full; free space, nothing was written and nothing is lost',
  14: 'expected a writable file and folder; check owner, rights and journal.sqlite.path',
  26: 'expected a journal of rollbackd or no file; change journal.sqlite.path, or, where it was one',
};

const systemAdvices: Readonly<Record<string, string>> = {
  EACCES: 'expected a writable folder; check its owner and rights',
  EROFS: 'expected a writable folder; the file system is mounted read-only',
  ENOTDIR: 'expected a folder on the way; change journal.sqlite.path',
  EEXIST: 'expected a folder on the way; change journal.sqlite.path',
  ENOSPC: 'the disk is full; free space',
};

/** Damage that a backup mends. */
const damaged: ReadonlySet<number> = new Set([11, 26]);

function advise(error: unknown, file: string, backupDir?: string): string | null {
  if (typeof error !== 'object' || error === null) return null;
  if ('errcode' in error && typeof error.errcode === 'number') {
    const code = error.errcode & 0xff;
    const advice = advices[code] ?? null;
    return advice !== null && damaged.has(code) ? `${advice}; ${restoreAdvice(file, backupDir)}` : advice;
  }
  return 'code' in error && typeof error.code === 'string' ? (systemAdvices[error.code] ?? null) : null;
}
