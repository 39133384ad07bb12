import type { Kysely } from 'kysely';
import type { Migration, MigrationProvider } from 'kysely/migration';
import { genesisHash } from './chain.ts';
import type { Tables } from './tables.ts';

/** Schema changes in the order of their names. Never edit one that was released; add the next. */
const migrations: Readonly<Record<string, Migration>> = {
  '0001_events_and_projections': { up: createTables },
  '0002_removed_events_and_lease': { up: addRemovedEventsAndLease },
};

export const migrationNames: readonly string[] = Object.keys(migrations).toSorted();

export const migrationProvider: MigrationProvider = { getMigrations: async () => ({ ...migrations }) };

async function createTables(db: Kysely<unknown>): Promise<void> {
  const { schema } = db;
  await schema
    .createTable('events')
    .addColumn('seq', 'bigint', (column) => column.primaryKey().notNull())
    .addColumn('at_ms', 'bigint', (column) => column.notNull())
    .addColumn('epoch', 'bigint', (column) => column.notNull())
    .addColumn('type', 'text', (column) => column.notNull())
    .addColumn('payload', 'text', (column) => column.notNull())
    .addColumn('prev_hash', 'text', (column) => column.notNull())
    .addColumn('hash', 'text', (column) => column.notNull())
    .execute();
  await schema
    .createTable('head')
    .addColumn('id', 'integer', (column) => column.primaryKey().notNull())
    .addColumn('seq', 'bigint', (column) => column.notNull())
    .addColumn('hash', 'text', (column) => column.notNull())
    .addColumn('epoch', 'bigint', (column) => column.notNull())
    .addColumn('pruned_before_ms', 'bigint', (column) => column.notNull())
    .execute();
  await schema
    .createTable('episodes')
    .addColumn('id', 'text', (column) => column.primaryKey().notNull())
    .addColumn('model', 'text', (column) => column.notNull())
    .addColumn('state', 'text', (column) => column.notNull())
    .addColumn('is_open', 'integer', (column) => column.notNull())
    .addColumn('detected_at_ms', 'bigint', (column) => column.notNull())
    .addColumn('opened_seq', 'bigint', (column) => column.notNull())
    .addColumn('json', 'text', (column) => column.notNull())
    .execute();
  await schema.createIndex('episodes_by_time').on('episodes').columns(['detected_at_ms', 'opened_seq']).execute();
  await schema.createIndex('episodes_by_model').on('episodes').columns(['model', 'detected_at_ms', 'opened_seq']).execute();
  await schema.createIndex('episodes_by_open').on('episodes').columns(['is_open', 'model']).execute();
  await schema
    .createTable('decisions')
    .addColumn('id', 'text', (column) => column.primaryKey().notNull())
    .addColumn('model', 'text', (column) => column.notNull())
    .addColumn('at_ms', 'bigint', (column) => column.notNull())
    .addColumn('seq', 'bigint', (column) => column.notNull())
    .addColumn('json', 'text', (column) => column.notNull())
    .execute();
  await schema.createIndex('decisions_by_time').on('decisions').columns(['at_ms', 'seq']).execute();
  await schema.createIndex('decisions_by_model').on('decisions').columns(['model', 'at_ms', 'seq']).execute();
  for (const table of ['ledger', 'quarantine'] as const) {
    await schema
      .createTable(table)
      .addColumn('model', 'text', (column) => column.notNull())
      .addColumn('version', 'text', (column) => column.notNull())
      .addColumn('json', 'text', (column) => column.notNull())
      .addPrimaryKeyConstraint(`${table}_key`, ['model', 'version'])
      .execute();
  }
  for (const [table, key] of [
    ['pauses', 'model'],
    ['rule_states', 'key'],
    ['plane_memory', 'plane'],
  ] as const) {
    await schema
      .createTable(table)
      .addColumn(key, 'text', (column) => column.primaryKey().notNull())
      .addColumn('json', 'text', (column) => column.notNull())
      .execute();
  }
  await schema
    .createTable('outbox')
    .addColumn('id', 'text', (column) => column.primaryKey().notNull())
    .addColumn('state', 'text', (column) => column.notNull())
    .addColumn('seq', 'bigint', (column) => column.notNull())
    .addColumn('settled_at_ms', 'bigint')
    .addColumn('json', 'text', (column) => column.notNull())
    .execute();
  await schema.createIndex('outbox_by_state').on('outbox').columns(['state', 'seq']).execute();
  await (db as Kysely<Tables>)
    .insertInto('head')
    .values({ id: 1, seq: 0, hash: genesisHash, epoch: 0, pruned_before_ms: 0 } as never)
    .execute();
}

async function addRemovedEventsAndLease(db: Kysely<unknown>): Promise<void> {
  const { schema } = db;
  await schema
    .alterTable('head')
    .addColumn('removed_seq', 'bigint', (column) => column.notNull().defaultTo(0))
    .execute();
  await schema
    .alterTable('head')
    .addColumn('removed_hash', 'text', (column) => column.notNull().defaultTo(genesisHash))
    .execute();
  // On SQLite it stays empty: there the lock of the operating system is the lease.
  await schema
    .createTable('lease')
    .addColumn('id', 'integer', (column) => column.primaryKey().notNull())
    .addColumn('holder', 'text', (column) => column.notNull())
    .addColumn('expires_at', 'timestamptz', (column) => column.notNull())
    .addColumn('transitions', 'bigint', (column) => column.notNull())
    .execute();
}
