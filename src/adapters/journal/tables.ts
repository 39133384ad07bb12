import type { ColumnType } from 'kysely';

/** An 8-byte integer: SQLite answers a number, Postgres a text, so every one read goes through `Number()`. */
type Int8 = ColumnType<number | string, number, number>;

/**
 * The journal's tables, the same on SQLite and Postgres. Times are ms since 1970; `json` columns hold canonical JSON texts.
 */
export type Tables = {
  /** The journal itself: append-only. `hash` = SHA-256 over the row and `prev_hash` (chain.ts). */
  events: { seq: Int8; at_ms: Int8; epoch: Int8; type: string; payload: string; prev_hash: string; hash: string };
  /** One row, `id` 1: the newest event, the epoch in force, how far the projections were pruned, and the last event that was removed (0: none). */
  head: { id: number; seq: Int8; hash: string; epoch: Int8; pruned_before_ms: Int8; removed_seq: Int8; removed_hash: string };
  /** One row, `id` 1: which replica leads, and until when by the clock of the database. Postgres only. */
  lease: { id: number; holder: string; expires_at: ColumnType<Date, never, Date>; transitions: Int8 };
  episodes: { id: string; model: string; state: string; is_open: number; detected_at_ms: Int8; opened_seq: Int8; json: string };
  decisions: { id: string; model: string; at_ms: Int8; seq: Int8; json: string };
  ledger: { model: string; version: string; json: string };
  quarantine: { model: string; version: string; json: string };
  /** `model` is '' for a pause of all models. */
  pauses: { model: string; json: string };
  rule_states: { key: string; json: string };
  plane_memory: { plane: string; json: string };
  /** `json` is '' once pruned: the id stays, so that a message is never sent twice. */
  outbox: { id: string; state: string; seq: Int8; settled_at_ms: ColumnType<number | string | null, number | null, number | null>; json: string };
};

/** Tables that are a fold of `events`: emptied and filled again by `rebuild`. */
export const projectionTables = [
  'episodes',
  'decisions',
  'ledger',
  'quarantine',
  'pauses',
  'rule_states',
  'plane_memory',
  'outbox',
] as const satisfies readonly (keyof Tables)[];
