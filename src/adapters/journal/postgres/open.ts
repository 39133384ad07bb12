import { Kysely, PostgresDialect, sql, type Transaction } from 'kysely';
import { Migrator } from 'kysely/migration';
import { type Clock, JournalError, type Log } from '../../../domain/ports.ts';
import { migrationNames, migrationProvider } from '../migrations.ts';
import { type SqlBackend, SqlJournal } from '../sql-journal.ts';
import type { Tables } from '../tables.ts';
import { JournalPool, readAddress } from './pool.ts';

/** All our tables stand in a schema of their own, so that a database may be shared with others. */
export const schemaName = 'rollbackd';
const queryTimeoutMs = 5_000;
/** At start nothing waits for us, and others may be migrating first. */
const openTimeoutMs = 60_000;
const connections = 4;
/** "rbkd": held in a transaction while the schema is migrated, so that replicas that start together do it one after another. */
const migrationLock = 0x72_62_6b_64;
/**
 * A writer that stops in the middle of a transaction (SIGSTOP, a cut network) holds the head row: the server ends its session after this time, so
 * that the next leader is not kept waiting. Shorter than any lease.
 */
export const idleInTransactionMs = 1_500;
const lockTimeoutMs = 4_000;

/**
 * Opens the journal in a database that several replicas share, makes or migrates its schema, and takes no epoch: it reads until `takeEpoch`.
 * @param options.urlFile file with postgres://user:password@host:port/database; never shown, and read again for each connection
 * @throws {JournalError} unreachable, refused, or of a newer rollbackd
 */
export async function openPostgresJournal(options: { urlFile: string; clock: Clock; log?: Log }): Promise<SqlJournal> {
  const first = await connect(options.urlFile, { applicationName: 'rollbackd', timeoutMs: openTimeoutMs });
  try {
    await migrate(first.db, first.name);
  } catch (error) {
    throw wrap(error, first.name);
  } finally {
    await first.db.destroy();
  }
  const { db, name } = await connect(options.urlFile, { applicationName: 'rollbackd', timeoutMs: queryTimeoutMs });
  options.log?.info({ journal: name }, 'journal opened');
  return new SqlJournal(backendOf(db, name, false), options.clock);
}

/**
 * Reads a journal beside the replicas that write it; changes nothing, and `append` is refused.
 * @param options.missing what a schema that is not there means: an error (default), or `null`
 * @throws {JournalError}
 */
export async function openPostgresJournalReadOnly(options: { urlFile: string; missing?: 'error' | 'empty' }): Promise<SqlJournal | null> {
  const { db, name } = await connect(options.urlFile, { applicationName: 'rollbackd reader', timeoutMs: openTimeoutMs });
  try {
    const applied = await appliedMigrations(db);
    refuseNewer(applied, name);
    if (applied.length < migrationNames.length) {
      if (options.missing === 'empty' && applied.length === 0) {
        await db.destroy();
        return null;
      }
      const found = applied.length === 0 ? 'no journal' : 'the schema of an older rollbackd';
      throw new JournalError(`journal ${name}: found ${found}, expected "${migrationNames.at(-1)}"; start the daemon once, it makes and migrates it`);
    }
    return new SqlJournal(backendOf(db, name, true), stoppedClock);
  } catch (error) {
    await db.destroy();
    throw wrap(error, name);
  }
}

/** A reader never asks for the time. */
const stoppedClock: Clock = { nowMs: () => 0, sleep: async () => undefined };

async function connect(
  urlFile: string,
  { applicationName, timeoutMs }: { applicationName: string; timeoutMs: number },
): Promise<{ db: Kysely<Tables>; name: string }> {
  const address = await readAddress(urlFile);
  const pool = new JournalPool({ address, max: connections, queryTimeoutMs: timeoutMs, applicationName });
  return { db: new Kysely<Tables>({ dialect: new PostgresDialect({ pool }) }).withSchema(schemaName), name: address.name };
}

async function migrate(db: Kysely<Tables>, name: string): Promise<void> {
  await db.transaction().execute(async (transaction) => {
    await sql`select pg_advisory_xact_lock(${sql.lit(migrationLock)})`.execute(transaction);
    const applied = await appliedMigrations(transaction);
    refuseNewer(applied, name);
    if (applied.length === migrationNames.length) return;
    const migrator = new Migrator({ db: transaction, provider: migrationProvider, migrationTableSchema: schemaName });
    const { error } = await migrator.migrateToLatest();
    if (error !== undefined) throw error instanceof Error ? error : new Error('migration failed', { cause: error });
  });
}

async function appliedMigrations(db: Kysely<Tables>): Promise<readonly string[]> {
  const table = await sql<{ found: string | null }>`select to_regclass(${`${schemaName}.kysely_migration`})::text as found`.execute(db);
  if (table.rows[0]?.found == null) return [];
  const { rows } = await sql<{ name: string }>`select name from ${sql.table(`${schemaName}.kysely_migration`)} order by name`.execute(db);
  return rows.map((row) => row.name);
}

function refuseNewer(applied: readonly string[], name: string): void {
  const unknown = applied.find((migration) => !migrationNames.includes(migration));
  if (unknown !== undefined) {
    throw new JournalError(
      `journal ${name}: found the schema of a newer rollbackd ("${unknown}"), expected "${migrationNames.at(-1)}" or older; run that newer version, or give this one a database of its own`,
    );
  }
}

function backendOf(db: Kysely<Tables>, name: string, readOnly: boolean): SqlBackend {
  return {
    db,
    name,
    epoch: 0,
    readOnly,
    shared: { beginWrite, locksRows: true },
    advise,
    sizeBytes: async () => await sizeOfTables(db, name),
    close: async () => await db.destroy(),
  };
}

async function beginWrite(db: Transaction<Tables>): Promise<void> {
  await sql`select set_config('idle_in_transaction_session_timeout', ${`${idleInTransactionMs}ms`}, true), set_config('lock_timeout', ${`${lockTimeoutMs}ms`}, true)`.execute(
    db,
  );
}

async function sizeOfTables(db: Kysely<Tables>, name: string): Promise<number> {
  try {
    const { rows } = await sql<{ bytes: string }>`
      select coalesce(sum(pg_total_relation_size(c.oid)), 0)::text as bytes
      from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where n.nspname = ${schemaName} and c.relkind = 'r'`.execute(db);
    return Number(rows[0]?.bytes ?? 0);
  } catch (error) {
    throw wrap(error, name);
  }
}

function wrap(error: unknown, name: string): JournalError {
  if (error instanceof JournalError) return error;
  const text = error instanceof Error ? error.message : String(error);
  return new JournalError(`journal ${name}: ${text}; ${advise(error) ?? 'see the cause, mend the database or journal.postgres.url_file, and start again'}`, {
    cause: error,
  });
}

/** What a person can do about it. @see https://www.postgresql.org/docs/current/errcodes-appendix.html */
const advices: Readonly<Record<string, string>> = {
  '25006': 'expected the primary; this server is a standby, or reads only',
  '25P03': 'this process did not go on with its transaction in time; nothing was written',
  '28000': 'expected a user that may log in; check journal.postgres.url_file and pg_hba.conf',
  '28P01': 'expected the right password; check journal.postgres.url_file',
  '3D000': 'expected a database that is there; make it by createdb, or change journal.postgres.url_file',
  '42501': `expected a user that may use schema ${schemaName}; make it the owner of the database or of that schema`,
  '53100': 'the disk of the database is full; free space, nothing was written and nothing is lost',
  '53300': 'the database has no connection left; a replica needs up to six',
  '55P03': 'another replica held the journal for too long; it is tried again',
  '57P01': 'the database ended the connection; it is tried again',
  '57P03': 'the database is starting up; it is tried again',
  ECONNREFUSED: 'expected a database that listens there; check that it runs, and journal.postgres.url_file',
  ECONNRESET: 'the connection broke; it is tried again',
  ENOTFOUND: 'expected a host that DNS knows; check journal.postgres.url_file',
  EAI_AGAIN: 'DNS did not answer; it is tried again',
};

function advise(error: unknown): string | null {
  if (typeof error !== 'object' || error === null || !('code' in error) || typeof error.code !== 'string') return null;
  return Object.hasOwn(advices, error.code) ? (advices[error.code] ?? null) : null;
}
