import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { type Dialect, SqliteDialect } from 'kysely';

/** Statements kept prepared; the journal uses a few dozen. */
const cacheSize = 200;

type Bound = Parameters<StatementSync['all']>;

/**
 * Kysely's SQLite dialect on `node:sqlite`: kysely expects better-sqlite3's shape (`reader`, parameters as one list).
 * A `rollback` without a transaction is let pass: SQLite itself rolls back on some errors (disk full), and a second error would hide the first.
 */
export function nodeSqliteDialect(database: DatabaseSync): Dialect {
  const cache = new Map<string, Prepared>();
  return new SqliteDialect({
    database: {
      close: () => database.close(),
      prepare: (sql) => {
        if (sql === 'rollback' && !database.isTransaction) return nothing;
        const known = cache.get(sql);
        if (known !== undefined) return known;
        const statement = prepared(database.prepare(sql));
        if (cache.size < cacheSize) cache.set(sql, statement);
        return statement;
      },
    },
  });
}

type Prepared = ReturnType<Extract<ConstructorParameters<typeof SqliteDialect>[0]['database'], { prepare: unknown }>['prepare']>;

function prepared(statement: StatementSync): Prepared {
  return {
    reader: statement.columns().length > 0,
    all: (parameters) => statement.all(...(parameters as Bound)),
    run: (parameters) => statement.run(...(parameters as Bound)),
    iterate: (parameters) => statement.iterate(...(parameters as Bound)),
  };
}

const nothing: Prepared = { reader: false, all: () => [], run: () => ({ changes: 0, lastInsertRowid: 0 }), iterate: () => [][Symbol.iterator]() };
