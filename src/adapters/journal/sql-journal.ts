import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Kysely, Transaction } from 'kysely';
import { canonicalJson } from '../../domain/canonical-json.ts';
import type { Decision } from '../../domain/decision.ts';
import type { Episode } from '../../domain/episode.ts';
import type { JournalEvent, StoredEvent } from '../../domain/event.ts';
import { type Clock, type Journal, JournalError } from '../../domain/ports.ts';
import { IllegalEventError } from '../../domain/projection.ts';
import type { LedgerEntry, OutboxMessage, Pause, QuarantineEntry } from '../../domain/records.ts';
import type { RuleState } from '../../domain/verdict.ts';
import { genesisHash, hashOf } from './chain.ts';
import { project, pruneProjections } from './project.ts';
import { projectionTables, type Tables } from './tables.ts';

const defaultLimit = 100;
/** Rows read at once by `verify` and `rebuild`; between pages other work gets its turn. */
const pageSize = 1000;
/** Events removed in one transaction. */
const removedAtOnce = 5_000;

/** What differs between databases. */
export type SqlBackend = {
  readonly db: Kysely<Tables>;
  /** For messages: the file or database, without secrets. */
  readonly name: string;
  /** 0: reads only until it takes one. */
  readonly epoch: number;
  readonly readOnly: boolean;
  /** Several processes write this database: whoever writes locks the head row first, and may not sit on it. */
  readonly shared: { readonly beginWrite: (db: Transaction<Tables>) => Promise<void>; readonly locksRows: boolean } | null;
  /** The database's error in words, with how to mend it; `null` when there is no advice. */
  readonly advise: (error: unknown) => string | null;
  readonly sizeBytes: () => Promise<number>;
  readonly close: () => Promise<void>;
};

/** A row of `events` with plain numbers. */
type StoredRow = {
  readonly seq: number;
  readonly at_ms: number;
  readonly epoch: number;
  readonly type: string;
  readonly payload: string;
  readonly prev_hash: string;
  readonly hash: string;
};
type Head = { readonly seq: number; readonly hash: string };
/** The last event that was removed; `seq` 0: none was. */
type Anchor = Head;

/** The journal over any database kysely speaks to; `sqlite/`, `postgres/` and `memory/` open it. Appends and closing stand in one queue. */
export class SqlJournal implements Journal {
  #epoch: number;
  readonly #backend: SqlBackend;
  readonly #clock: Clock;
  #queue: Promise<unknown> = Promise.resolve();
  #closing: Promise<void> | null = null;

  constructor(backend: SqlBackend, clock: Clock) {
    this.#backend = backend;
    this.#clock = clock;
    this.#epoch = backend.epoch;
  }

  get epoch(): number {
    return this.#epoch;
  }

  /** The file or database, without secrets. */
  get name(): string {
    return this.#backend.name;
  }

  async takeEpoch(): Promise<number> {
    this.#refuseClosed('take the epoch');
    if (this.#backend.readOnly) throw new JournalError(`journal ${this.#backend.name}: opened for reading only, cannot take its epoch`);
    return await this.#inTurn(async () => {
      const epoch = await this.#transaction(async (db) => {
        await this.#backend.shared?.beginWrite(db);
        const found = await this.#lockedHead(db);
        await db
          .updateTable('head')
          .set({ epoch: found.epoch + 1 })
          .where('id', '=', 1)
          .execute();
        return found.epoch + 1;
      });
      this.#epoch = epoch;
      return epoch;
    });
  }

  async confirmEpoch(): Promise<void> {
    await this.#read(async (db) => {
      const { epoch } = await db.selectFrom('head').select('epoch').where('id', '=', 1).executeTakeFirstOrThrow();
      this.#refuseFenced(Number(epoch));
    });
  }

  async append(events: readonly JournalEvent[]): Promise<readonly StoredEvent[]> {
    this.#refuseClosed('append');
    if (this.#backend.readOnly) throw new JournalError(`journal ${this.#backend.name}: opened for reading only, cannot append`);
    if (events.length === 0) return [];
    return await this.#inTurn(async () => await this.#write(events));
  }

  async episodes(filter: { model?: string; open?: boolean; limit?: number; sinceMs?: number }): Promise<readonly Episode[]> {
    return await this.#read(async (db) => {
      let query = db
        .selectFrom('episodes')
        .select('json')
        .orderBy('detected_at_ms', 'desc')
        .orderBy('opened_seq', 'desc')
        .limit(filter.limit ?? defaultLimit);
      if (filter.model !== undefined) query = query.where('model', '=', filter.model);
      if (filter.open !== undefined) query = query.where('is_open', '=', filter.open ? 1 : 0);
      if (filter.sinceMs !== undefined) query = query.where('detected_at_ms', '>=', filter.sinceMs);
      return parseAll<Episode>(await query.execute());
    });
  }

  async episode(id: string): Promise<Episode | null> {
    return await this.#read(async (db) => parseAll<Episode>(await db.selectFrom('episodes').select('json').where('id', '=', id).execute())[0] ?? null);
  }

  async decisions(filter: { model?: string; limit?: number; sinceMs?: number; untilMs?: number }): Promise<readonly Decision[]> {
    return await this.#read(async (db) => {
      let query = db
        .selectFrom('decisions')
        .select('json')
        .orderBy('at_ms', 'desc')
        .orderBy('seq', 'desc')
        .limit(filter.limit ?? defaultLimit);
      if (filter.model !== undefined) query = query.where('model', '=', filter.model);
      if (filter.sinceMs !== undefined) query = query.where('at_ms', '>=', filter.sinceMs);
      if (filter.untilMs !== undefined) query = query.where('at_ms', '<=', filter.untilMs);
      return parseAll<Decision>(await query.execute());
    });
  }

  async ledger(): Promise<readonly LedgerEntry[]> {
    return await this.#read(async (db) => parseAll<LedgerEntry>(await db.selectFrom('ledger').select('json').orderBy('model').orderBy('version').execute()));
  }

  async quarantine(): Promise<readonly QuarantineEntry[]> {
    return await this.#read(async (db) =>
      parseAll<QuarantineEntry>(await db.selectFrom('quarantine').select('json').orderBy('model').orderBy('version').execute()),
    );
  }

  async pauses(): Promise<readonly Pause[]> {
    return await this.#read(async (db) => parseAll<Pause>(await db.selectFrom('pauses').select('json').orderBy('model').execute()));
  }

  async ruleStates(): Promise<ReadonlyMap<string, RuleState>> {
    return await this.#read(
      async (db) => new Map((await db.selectFrom('rule_states').selectAll().execute()).map(({ key, json }) => [key, JSON.parse(json) as RuleState])),
    );
  }

  async planeMemory(): Promise<ReadonlyMap<string, Readonly<Record<string, unknown>>>> {
    return await this.#read(
      async (db) =>
        new Map((await db.selectFrom('plane_memory').selectAll().execute()).map(({ plane, json }) => [plane, JSON.parse(json) as Record<string, unknown>])),
    );
  }

  async outbox(): Promise<readonly OutboxMessage[]> {
    return await this.#read(async (db) =>
      parseAll<OutboxMessage>(await db.selectFrom('outbox').select('json').where('state', '=', 'waiting').orderBy('seq').execute()),
    );
  }

  async events(afterSeq: number, limit: number): Promise<readonly StoredEvent[]> {
    return await this.#read(async (db) => (await page(db, afterSeq, limit)).map(storedEvent));
  }

  async newestSeq(): Promise<number> {
    return await this.#read(async (db) => (await readHead(db)).seq);
  }

  async verify(): Promise<{ ok: true; events: number } | { ok: false; seq: number; reason: string }> {
    return await this.#read(async (db) => {
      for (;;) {
        const anchor = await readAnchor(db);
        const verdict = await verifyFrom(db, anchor);
        // Old events may be removed while it reads: then it begins anew where the chain begins now.
        if (verdict.ok || (await readAnchor(db)).seq === anchor.seq) return verdict;
      }
    });
  }

  /** Every event as a line of JSON with both its hashes, oldest first: enough to recompute the chain without us. Up to the newest event of now. */
  async *exportLines(): AsyncGenerator<string> {
    const { head, anchor } = await this.#read(async (db) => ({ head: await readHead(db), anchor: await readAnchor(db) }));
    for (let seq = anchor.seq; seq < head.seq; ) {
      const after = seq;
      const rows = await this.#read(async (db) => await page(db, after, pageSize));
      for (const row of rows) {
        if (row.seq > head.seq) return;
        yield `{"at":${row.at_ms},"epoch":${row.epoch},"event":${row.payload},"hash":${JSON.stringify(row.hash)},"prev_hash":${JSON.stringify(row.prev_hash)},"seq":${row.seq}}`;
      }
      seq = rows.at(-1)?.seq ?? head.seq;
    }
  }

  async prune(beforeMs: number): Promise<{ readonly removed: number }> {
    this.#refuseClosed('prune');
    return await this.#inTurn(
      async () =>
        await this.#transaction(async (db) => {
          await this.#openWrite(db);
          const removed = await pruneProjections(db, beforeMs);
          // Kept, so that `rebuild` arrives at the same tables.
          await db.updateTable('head').set({ pruned_before_ms: beforeMs }).where('id', '=', 1).where('pruned_before_ms', '<', beforeMs).execute();
          return { removed };
        }),
    );
  }

  async removeEvents(beforeMs: number): Promise<{ readonly removed: number }> {
    this.#refuseClosed('remove events');
    return await this.#inTurn(
      async () =>
        await this.#transaction(async (db) => {
          const head = await this.#openWrite(db);
          const anchor = await readAnchor(db);
          const last = await lastRemovable(db, beforeMs, { anchor, head });
          if (last === null) return { removed: 0 };
          await this.#insert(db, head, [{ type: 'events_removed', upToSeq: last.seq, hash: last.hash, beforeMs }]);
          await db.deleteFrom('events').where('seq', '<=', last.seq).execute();
          await db.updateTable('head').set({ removed_seq: last.seq, removed_hash: last.hash }).where('id', '=', 1).execute();
          return { removed: last.seq - anchor.seq };
        }),
    );
  }

  async sizeBytes(): Promise<number> {
    this.#refuseClosed('size');
    return await this.#backend.sizeBytes();
  }

  /** Empties all projections and folds every event into them again, in one transaction. @returns how many events were folded */
  async rebuild(): Promise<number> {
    this.#refuseClosed('rebuild');
    return await this.#inTurn(
      async () =>
        await this.#transaction(async (db) => {
          await this.#openWrite(db);
          const anchor = await readAnchor(db);
          if (anchor.seq > 0)
            throw new JournalError(`journal ${this.#backend.name}: events up to ${anchor.seq} were removed, so nothing can be rebuilt from what is left`);
          for (const table of projectionTables) await db.deleteFrom(table).execute();
          let seq = 0;
          for (;;) {
            const rows = await page(db, seq, pageSize);
            for (const row of rows) await project(db, storedEvent(row));
            seq = rows.at(-1)?.seq ?? seq;
            if (rows.length < pageSize) break;
          }
          const { pruned_before_ms } = await db.selectFrom('head').select('pruned_before_ms').executeTakeFirstOrThrow();
          await pruneProjections(db, Number(pruned_before_ms));
          return seq;
        }),
    );
  }

  /** Everything the projections hold, for comparing two journals in tests and tools. */
  async projections(): Promise<Readonly<Record<string, readonly unknown[]>>> {
    return await this.#read(async (db) => {
      const tables: Record<string, readonly unknown[]> = {};
      for (const table of projectionTables) {
        const rows = await db.selectFrom(table).selectAll().execute();
        tables[table] = rows.toSorted((a, b) => (canonicalJson(a) < canonicalJson(b) ? -1 : 1));
      }
      return tables;
    });
  }

  /** Waits for what is under way, then closes; a second call gets the same promise. */
  async close(): Promise<void> {
    this.#closing ??= this.#queue.then(async () => await this.#backend.close());
    await this.#closing;
  }

  async #write(events: readonly JournalEvent[]): Promise<readonly StoredEvent[]> {
    return await this.#transaction(async (db) => await this.#insert(db, await this.#openWrite(db), events));
  }

  /** First of all in a writing transaction: a process that lost the journal learns it by name, and nobody else writes until this one has ended. */
  async #openWrite(db: Transaction<Tables>): Promise<Head> {
    if (this.#epoch === 0) throw new JournalError(`journal ${this.#backend.name}: this replica does not lead, so it does not write`, { isFenced: true });
    await this.#backend.shared?.beginWrite(db);
    const head = await this.#lockedHead(db);
    this.#refuseFenced(head.epoch);
    return head;
  }

  async #insert(db: Transaction<Tables>, head: Head, events: readonly JournalEvent[]): Promise<readonly StoredEvent[]> {
    const atMs = this.#clock.nowMs();
    const rows: StoredRow[] = [];
    let last: Head = head;
    for (const event of events) {
      const row = this.#nextRow(last, atMs, event);
      rows.push(row);
      last = row;
    }
    const moved = await db
      .updateTable('head')
      .set({ seq: last.seq, hash: last.hash })
      .where('id', '=', 1)
      .where('seq', '=', head.seq)
      .where('epoch', '=', this.#epoch)
      .executeTakeFirst();
    if (Number(moved.numUpdatedRows) !== 1) throw new JournalError(`journal ${this.#backend.name}: its head moved under a transaction`);
    for (const row of rows) await db.insertInto('events').values(row).execute();
    // Folded from what was written, so that a rebuild sees the very same.
    const stored = rows.map(storedEvent);
    for (const placed of stored) await project(db, placed);
    return stored;
  }

  async #lockedHead(db: Transaction<Tables>): Promise<Head & { readonly epoch: number }> {
    const query = db.selectFrom('head').select(['seq', 'hash', 'epoch']).where('id', '=', 1);
    const { seq, hash, epoch } = await (this.#backend.shared?.locksRows === true ? query.forUpdate() : query).executeTakeFirstOrThrow();
    return { seq: Number(seq), hash, epoch: Number(epoch) };
  }

  #refuseFenced(found: number): void {
    if (found === this.#epoch) return;
    const { name, shared } = this.#backend;
    const words =
      shared === null
        ? `found that another process opened it since, expected to be alone (epoch ${this.#epoch}); stop one of the two`
        : `found epoch ${found}, expected ours, ${this.#epoch}: another replica leads since; nothing was written`;
    throw new JournalError(`journal ${name}: ${words}`, { isFenced: true });
  }

  #nextRow(last: Head, atMs: number, event: JournalEvent): StoredRow {
    const draft = { seq: last.seq + 1, at_ms: atMs, epoch: this.#epoch, type: event.type, payload: canonicalJson(event) };
    return { ...draft, prev_hash: last.hash, hash: hashOf(draft, last.hash) };
  }

  async #inTurn<T>(task: () => Promise<T>): Promise<T> {
    const mine = this.#queue.then(task);
    this.#queue = mine.catch(() => undefined);
    return await mine;
  }

  async #transaction<T>(task: (db: Transaction<Tables>) => Promise<T>): Promise<T> {
    try {
      return await this.#backend.db.transaction().execute(task);
    } catch (error) {
      throw this.#wrap(error);
    }
  }

  async #read<T>(task: (db: Kysely<Tables>) => Promise<T>): Promise<T> {
    this.#refuseClosed('read');
    try {
      return await task(this.#backend.db);
    } catch (error) {
      throw this.#wrap(error);
    }
  }

  #wrap(error: unknown): JournalError {
    if (error instanceof JournalError) return error;
    const text = error instanceof Error ? error.message : String(error);
    if (error instanceof IllegalEventError)
      return new JournalError(`journal ${this.#backend.name}: ${text}; nothing of this append was written`, { cause: error });
    const advice = this.#backend.advise(error);
    return new JournalError(`journal ${this.#backend.name}: ${text}${advice === null ? '' : `; ${advice}`}`, { cause: error });
  }

  #refuseClosed(what: string): void {
    if (this.#closing !== null) throw new JournalError(`journal ${this.#backend.name}: is closed, cannot ${what}`);
  }
}

function parseAll<T>(rows: readonly { readonly json: string }[]): T[] {
  return rows.map(({ json }) => JSON.parse(json) as T);
}

async function page(db: Kysely<Tables>, afterSeq: number, limit: number): Promise<StoredRow[]> {
  const rows = await db.selectFrom('events').selectAll().where('seq', '>', afterSeq).orderBy('seq').limit(limit).execute();
  return rows.map((row) => ({ ...row, seq: Number(row.seq), at_ms: Number(row.at_ms), epoch: Number(row.epoch) }));
}

async function readHead(db: Kysely<Tables>): Promise<Head> {
  const { seq, hash } = await db.selectFrom('head').select(['seq', 'hash']).where('id', '=', 1).executeTakeFirstOrThrow();
  return { seq: Number(seq), hash };
}

async function readAnchor(db: Kysely<Tables>): Promise<Anchor> {
  const { removed_seq, removed_hash } = await db.selectFrom('head').select(['removed_seq', 'removed_hash']).where('id', '=', 1).executeTakeFirstOrThrow();
  return { seq: Number(removed_seq), hash: removed_hash };
}

type Verification = { readonly ok: true; readonly events: number } | { readonly ok: false; readonly seq: number; readonly reason: string };

/** Recomputes the chain after `anchor`, up to the head of now: what is appended meanwhile is the next verification's. */
async function verifyFrom(db: Kysely<Tables>, anchor: Anchor): Promise<Verification> {
  const head = await readHead(db);
  let last: Head = anchor;
  let epoch = 0;
  // That older events are gone must stand in the chain, with the very hash it goes on from.
  let isAnchored = anchor.seq === 0 && anchor.hash === genesisHash;
  for (;;) {
    const rows = (await page(db, last.seq, pageSize)).filter((row) => row.seq <= head.seq);
    for (const row of rows) {
      const fault = faultOf(row, last, epoch);
      if (fault !== null) return { ok: false, seq: last.seq + 1, reason: fault };
      isAnchored ||= namesAnchor(row, anchor);
      last = row;
      epoch = row.epoch;
    }
    if (rows.length < pageSize) break;
    await nextTurn();
  }
  const newest = await newestSeq(db);
  if (last.seq !== head.seq) return { ok: false, seq: last.seq + 1, reason: `found ${last.seq} events, expected ${head.seq}: the newest rows are missing` };
  if (last.hash !== head.hash) return { ok: false, seq: last.seq, reason: 'the newest row is not the one that was written last' };
  const headNow = await readHead(db);
  if (newest > headNow.seq) return { ok: false, seq: headNow.seq + 1, reason: 'a row stands behind the newest one that was written here' };
  if (!isAnchored)
    return { ok: false, seq: anchor.seq + 1, reason: `the rows up to ${anchor.seq} are gone, and no event says that they were removed by their age` };
  return { ok: true, events: last.seq - anchor.seq };
}

function namesAnchor(row: StoredRow, anchor: Anchor): boolean {
  if (row.type !== 'events_removed') return false;
  const event = JSON.parse(row.payload) as Extract<JournalEvent, { type: 'events_removed' }>;
  return event.upToSeq === anchor.seq && event.hash === anchor.hash;
}

/** The newest of the oldest events that may go: all before it are as old, and no open episode began there. `null`: none. */
async function lastRemovable(db: Kysely<Tables>, beforeMs: number, { anchor, head }: { anchor: Anchor; head: Head }): Promise<Head | null> {
  const young = await db.selectFrom('events').select('seq').where('at_ms', '>=', beforeMs).orderBy('seq').limit(1).executeTakeFirst();
  const open = await db.selectFrom('episodes').select('opened_seq').where('is_open', '=', 1).orderBy('opened_seq').limit(1).executeTakeFirst();
  const limits = [Number(young?.seq ?? head.seq + 1), Number(open?.opened_seq ?? head.seq + 1), anchor.seq + removedAtOnce + 1];
  const seq = Math.min(...limits) - 1;
  if (seq <= anchor.seq) return null;
  const row = await db.selectFrom('events').select(['seq', 'hash']).where('seq', '=', seq).executeTakeFirst();
  return row === undefined ? null : { seq: Number(row.seq), hash: row.hash };
}

async function newestSeq(db: Kysely<Tables>): Promise<number> {
  const row = await db.selectFrom('events').select('seq').orderBy('seq', 'desc').limit(1).executeTakeFirst();
  return Number(row?.seq ?? 0);
}

function storedEvent(row: StoredRow): StoredEvent {
  return { seq: row.seq, atMs: row.at_ms, epoch: row.epoch, event: JSON.parse(row.payload) as JournalEvent, hash: row.hash };
}

/** What is wrong with a row after `last`, or `null`. */
function faultOf(row: StoredRow, last: Head, epoch: number): string | null {
  if (row.seq !== last.seq + 1) return `found event ${row.seq} after ${last.seq}: a row is missing`;
  if (row.prev_hash !== last.hash) return 'does not carry the hash of the row before it';
  if (row.hash !== hashOf(row, last.hash)) return 'its content does not fit its hash';
  if (row.epoch < epoch) return `its epoch ${row.epoch} is older than the one before, ${epoch}`;
  if (typeOf(row.payload) !== row.type) return 'its type is not the one of its content';
  return null;
}

function typeOf(payload: string): unknown {
  return (JSON.parse(payload) as { type?: unknown }).type;
}
