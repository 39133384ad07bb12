import type { Transaction } from 'kysely';
import { canonicalJson } from '../../domain/canonical-json.ts';
import { type Episode, episodeEnds } from '../../domain/episode.ts';
import type { JournalEvent } from '../../domain/event.ts';
import {
  applyToEpisode,
  applyToMemory,
  applyToMessage,
  type EpisodeEvent,
  type EpisodeOpened,
  IllegalEventError,
  openEpisode,
} from '../../domain/projection.ts';
import type { LedgerEntry, OutboxMessage } from '../../domain/records.ts';
import type { RuleState } from '../../domain/verdict.ts';
import type { Tables } from './tables.ts';

type Db = Transaction<Tables>;
/** An event with its place in the journal. */
export type Placed = { readonly seq: number; readonly event: JournalEvent };

/**
 * Folds one event into the projections, inside the transaction that writes the event.
 * @throws {IllegalEventError} when the event does not fit what is there
 */
export async function project(db: Db, { seq, event }: Placed): Promise<void> {
  switch (event.type) {
    case 'episode_opened':
      return await insertEpisode(db, seq, event);
    case 'episode_state':
    case 'steps_planned':
    case 'step_intent':
    case 'step_outcome':
    case 'smoke_test':
      await updateEpisode(db, event);
      if (event.type === 'step_outcome' && event.remember !== undefined) await remember(db, event.remember.plane, event.remember.values);
      return;
    case 'decision':
      return await insertDecision(db, seq, event);
    case 'ledger':
      return await upsertLedger(db, event.entries);
    case 'quarantined': {
      const row = { model: event.entry.model, version: event.entry.version, json: canonicalJson(event.entry) };
      await db
        .insertInto('quarantine')
        .values(row)
        .onConflict((conflict) => conflict.columns(['model', 'version']).doUpdateSet({ json: row.json }))
        .execute();
      return;
    }
    case 'quarantine_lifted':
      await db.deleteFrom('quarantine').where('model', '=', event.model).where('version', '=', event.version).execute();
      return;
    case 'paused': {
      const row = { model: event.pause.model ?? '', json: canonicalJson(event.pause) };
      await db
        .insertInto('pauses')
        .values(row)
        .onConflict((conflict) => conflict.column('model').doUpdateSet({ json: row.json }))
        .execute();
      return;
    }
    case 'resumed':
      await db
        .deleteFrom('pauses')
        .where('model', '=', event.model ?? '')
        .execute();
      return;
    case 'version_retention':
      return;
    case 'rule_states':
      return await upsertRuleStates(db, event.states);
    case 'plane_memory':
      return await remember(db, event.plane, event.values);
    case 'message_enqueued': {
      const { message } = event;
      const row = {
        id: message.id,
        state: message.state,
        seq,
        settled_at_ms: message.state === 'waiting' ? null : message.enqueuedMs,
        json: canonicalJson(message),
      };
      // The same id again is the same message: what became of the first stands.
      await db
        .insertInto('outbox')
        .values(row)
        .onConflict((conflict) => conflict.column('id').doNothing())
        .execute();
      return;
    }
    case 'message_attempt':
      return await updateMessage(db, event);
    case 'events_removed':
      return;
    default:
      throw new IllegalEventError(`unknown event type "${(event as { type: string }).type}"`);
  }
}

async function insertEpisode(db: Db, seq: number, event: EpisodeOpened): Promise<void> {
  const episode = openEpisode(event);
  const twin = await db.selectFrom('episodes').select('id').where('id', '=', episode.id).executeTakeFirst();
  if (twin !== undefined) throw new IllegalEventError(`episode ${episode.id} is there already`);
  const isOpen = !episodeEnds.has(episode.state);
  if (isOpen) {
    const other = await db.selectFrom('episodes').select('id').where('is_open', '=', 1).where('model', '=', episode.model).executeTakeFirst();
    if (other !== undefined) throw new IllegalEventError(`episode ${episode.id}: model ${episode.model} has the open episode ${other.id}; one at a time`);
  }
  await db
    .insertInto('episodes')
    .values({ id: episode.id, model: episode.model, ...episodeColumns(episode), detected_at_ms: episode.detectedAtMs, opened_seq: seq })
    .execute();
}

async function updateEpisode(db: Db, event: EpisodeEvent): Promise<void> {
  const row = await db.selectFrom('episodes').select('json').where('id', '=', event.episodeId).executeTakeFirst();
  if (row === undefined) throw new IllegalEventError(`${event.type}: there is no episode ${event.episodeId}`);
  const episode = applyToEpisode(JSON.parse(row.json) as Episode, event);
  await db.updateTable('episodes').set(episodeColumns(episode)).where('id', '=', episode.id).execute();
}

function episodeColumns(episode: Episode): Pick<Tables['episodes'], 'state' | 'is_open' | 'json'> {
  return { state: episode.state, is_open: episodeEnds.has(episode.state) ? 0 : 1, json: canonicalJson(episode) };
}

async function insertDecision(db: Db, seq: number, { decision }: Extract<JournalEvent, { type: 'decision' }>): Promise<void> {
  const row = { id: decision.id, model: decision.model, at_ms: decision.atMs, seq, json: canonicalJson(decision) };
  const { numInsertedOrUpdatedRows } = await db
    .insertInto('decisions')
    .values(row)
    .onConflict((conflict) => conflict.column('id').doNothing())
    .executeTakeFirst();
  if (Number(numInsertedOrUpdatedRows ?? 0) === 0) throw new IllegalEventError(`decision ${decision.id} is there already`);
}

/** A turn may touch thousands: rows a statement, well under SQLite's limit of bound values. */
const rowsPerStatement = 500;

async function upsertLedger(db: Db, entries: readonly LedgerEntry[]): Promise<void> {
  // The last of equals counts; Postgres would refuse to upsert one row twice in a statement.
  const rows = new Map(
    entries.map((entry) => [JSON.stringify([entry.model, entry.version]), { model: entry.model, version: entry.version, json: canonicalJson(entry) }]),
  );
  for (const part of chunks([...rows.values()])) {
    await db
      .insertInto('ledger')
      .values(part)
      .onConflict((conflict) => conflict.columns(['model', 'version']).doUpdateSet((eb) => ({ json: eb.ref('excluded.json') })))
      .execute();
  }
}

async function upsertRuleStates(db: Db, states: Readonly<Record<string, RuleState | null>>): Promise<void> {
  const entries = Object.entries(states);
  const gone = entries.filter(([, state]) => state === null).map(([key]) => key);
  const rows = entries.filter(([, state]) => state !== null).map(([key, state]) => ({ key, json: canonicalJson(state) }));
  for (const part of chunks(gone)) await db.deleteFrom('rule_states').where('key', 'in', part).execute();
  for (const part of chunks(rows)) {
    await db
      .insertInto('rule_states')
      .values(part)
      .onConflict((conflict) => conflict.column('key').doUpdateSet((eb) => ({ json: eb.ref('excluded.json') })))
      .execute();
  }
}

function* chunks<T>(items: readonly T[]): Generator<readonly T[]> {
  for (let start = 0; start < items.length; start += rowsPerStatement) yield items.slice(start, start + rowsPerStatement);
}

async function remember(db: Db, plane: string, values: Readonly<Record<string, unknown>>): Promise<void> {
  const known = await db.selectFrom('plane_memory').select('json').where('plane', '=', plane).executeTakeFirst();
  const memory = applyToMemory(known === undefined ? {} : (JSON.parse(known.json) as Record<string, unknown>), values);
  const row = { plane, json: canonicalJson(memory) };
  await db
    .insertInto('plane_memory')
    .values(row)
    .onConflict((conflict) => conflict.column('plane').doUpdateSet({ json: row.json }))
    .execute();
}

async function updateMessage(db: Db, event: Extract<JournalEvent, { type: 'message_attempt' }>): Promise<void> {
  const row = await db.selectFrom('outbox').select(['json', 'state']).where('id', '=', event.id).executeTakeFirst();
  if (row === undefined) throw new IllegalEventError(`message_attempt: there is no message ${event.id}`);
  if (row.json === '') throw new IllegalEventError(`message ${event.id} is ${row.state}; it cannot become ${event.state}`);
  const message = applyToMessage(JSON.parse(row.json) as OutboxMessage, event);
  const settled = message.state === 'waiting' ? null : event.atMs;
  await db
    .updateTable('outbox')
    .set({ state: message.state, settled_at_ms: settled, json: canonicalJson(message) })
    .where('id', '=', message.id)
    .execute();
}

/** Drops closed detail older than `beforeMs`; a message's id stays. */
export async function pruneProjections(db: Db, beforeMs: number): Promise<number> {
  const decisions = await db.deleteFrom('decisions').where('at_ms', '<', beforeMs).executeTakeFirst();
  const messages = await db
    .updateTable('outbox')
    .set({ json: '' })
    .where('state', '!=', 'waiting')
    .where('settled_at_ms', '<', beforeMs)
    .where('json', '!=', '')
    .executeTakeFirst();
  return Number(decisions.numDeletedRows) + Number(messages.numUpdatedRows);
}
