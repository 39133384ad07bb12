import { episodeEnds } from '../../domain/episode.ts';
import type { JournalEvent } from '../../domain/event.ts';
import type { Clock, Journal, Log, NotifyFailure, Sender, SendResult } from '../../domain/ports.ts';
import type { OutboxMessage } from '../../domain/records.ts';

/** What is to be told; the outbox adds the rest. `notBeforeMs`: hold it back until then (a `started` that a quick end overtakes). */
export type NewMessage = Pick<OutboxMessage, 'id' | 'receiver' | 'kind' | 'content'> & { readonly notBeforeMs?: number };

/** What became of one attempt, or of a message that was given up without one. */
export type OutboxResult = {
  readonly receiver: string;
  /** Kind of the sender: what stands before the `/` of its lane (`slack`). */
  readonly integration: string;
  readonly kind: OutboxMessage['kind'];
  readonly outcome: 'sent' | 'retry' | 'dropped' | 'superseded';
  /** `null` when nothing failed. */
  readonly reason: NotifyFailure | null;
  /** What was answered, for people. */
  readonly detail: string;
  /** Place of the sender in its receiver, from 0. */
  readonly index: number;
  /** Duration of the attempt; `null` when there was none. */
  readonly durationMs: number | null;
};

export type OutboxOptions = {
  readonly journal: Journal;
  readonly clock: Clock;
  readonly log: Log;
  /** Receiver → its senders; each gets the message. */
  readonly senders: ReadonlyMap<string, readonly Sender[]>;
  /** 0..1, for jitter. */
  readonly random: () => number;
  readonly onResult?: (result: OutboxResult) => void;
  /** Told of the number of messages that wait, whenever it changes. */
  readonly onWaiting?: (count: number) => void;
  /** A message that could not be delivered for this long is given up. Default 24 h. */
  readonly maxAgeMs?: number;
};

export interface Outbox {
  /**
   * Writes the message down and wakes its lane; the same id and receiver again is a no-op. Never rejects, and needs not be awaited: when the
   * journal cannot be written the message is still sent, but would not survive a restart (`false`).
   */
  enqueue(message: NewMessage): Promise<boolean>;
  /** The events that enqueue these messages, for an append of the caller's own (episode and message in one transaction); call `wake` after it. */
  events(messages: readonly NewMessage[]): readonly JournalEvent[];
  /** Looks into the journal for messages that were appended by `events`. */
  wake(): Promise<void>;
  /** Sends until aborted; a message in hand is given up and stays for the next start. Not twice at once. */
  run(signal: AbortSignal): Promise<void>;
  /** Waits until everything that is due has been tried, at most `withinMs`. */
  flush(withinMs: number): Promise<void>;
  /** After a reload; messages of receivers that are gone are dropped. */
  replaceSenders(senders: ReadonlyMap<string, readonly Sender[]>): void;
  /** Messages that wait. */
  readonly waiting: number;
}

/** One message a second a lane: Slack's limit. */
const paceMs = 1_000;
const firstBackoffMs = 1_000;
const maxBackoffMs = 15 * 60_000;
const retryJitterMs = 1_000;
/** Settled ids kept in memory; older ones only the journal knows. */
const knownIds = 10_000;
/** A `Retry-After` from before a restart holds for the lane at most this long. */
const maxOldBlockMs = 60_000;
const defaultMaxAgeMs = 24 * 60 * 60_000;

/** Lower goes first. */
const priorities: Readonly<Record<OutboxMessage['kind'], number>> = {
  episode_finished: 0,
  approval_needed: 0,
  episode_started: 1,
  alert: 2,
  digest: 3,
  notice: 3,
};

type Entry = {
  message: OutboxMessage;
  /** Arrival, for order. */
  readonly order: number;
  /** Not in the journal: sent from memory only. */
  readonly isVolatile: boolean;
};

type Lane = {
  readonly name: string;
  readonly entries: Entry[];
  /** No message at all before: pacing, and `Retry-After` of a rate limit. */
  blockedUntilMs: number;
  /** Ends the lane's present sleep. */
  nap: AbortController;
  isSending: boolean;
};

/** The paced, persisted queue in front of all senders: one lane per sender, order kept inside a lane, priorities first. */
export function createOutbox(options: OutboxOptions): Outbox {
  return new PacedOutbox(options);
}

class PacedOutbox implements Outbox {
  readonly #options: OutboxOptions;
  #senders: ReadonlyMap<string, readonly Sender[]>;
  readonly #lanes = new Map<string, Lane>();
  /** Ids in a lane, and the last settled ones: a reading of the journal that began before a message was settled must not bring it back. */
  readonly #known = new Set<string>();
  readonly #active = new Set<Lane>();
  readonly #workers = new Set<Promise<void>>();
  #arrivals = 0;
  #running: AbortSignal | null = null;
  #hasRun = false;

  constructor(options: OutboxOptions) {
    this.#options = options;
    this.#senders = options.senders;
  }

  get waiting(): number {
    let count = 0;
    for (const lane of this.#lanes.values()) count += lane.entries.length;
    return count;
  }

  async enqueue(message: NewMessage): Promise<boolean> {
    const copies = this.#copiesOf(message).filter((copy) => !this.#known.has(copy.id));
    if (copies.length === 0) return true;
    try {
      await this.#options.journal.append(copies.map((copy) => ({ type: 'message_enqueued', message: copy })));
    } catch (error) {
      this.#options.log.warn({ err: error, receiver: message.receiver, message: message.id }, 'notification cannot be journalled; sent from memory');
      for (const copy of copies) if (!this.#known.has(copy.id)) this.#admit(copy, true);
      return false;
    }
    // What is waiting now is the journal's to say: it may know the message as sent already.
    await this.wake();
    return true;
  }

  events(messages: readonly NewMessage[]): readonly JournalEvent[] {
    return messages.flatMap((message) => this.#copiesOf(message)).map((message) => ({ type: 'message_enqueued', message }));
  }

  async wake(): Promise<void> {
    await this.#load().catch((error: unknown) => this.#options.log.warn({ err: error }, 'outbox cannot read the journal'));
  }

  async run(signal: AbortSignal): Promise<void> {
    if (this.#running !== null) throw new Error('outbox: run is called twice');
    this.#running = signal;
    if (this.#hasRun) this.#forgetJournalled();
    this.#hasRun = true;
    const stop = (): void => {
      for (const lane of this.#lanes.values()) lane.nap.abort();
    };
    signal.addEventListener('abort', stop, { once: true });
    await this.wake();
    for (const lane of this.#lanes.values()) this.#start(lane);
    if (!signal.aborted) await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
    await Promise.all(this.#workers);
    this.#running = null;
  }

  /** Another replica may have sent meanwhile what was read here before: only the journal knows. */
  #forgetJournalled(): void {
    this.#known.clear();
    for (const lane of this.#lanes.values()) {
      lane.entries.splice(0, lane.entries.length, ...lane.entries.filter((entry) => entry.isVolatile));
      for (const { message } of lane.entries) this.#known.add(message.id);
    }
  }

  async flush(withinMs: number): Promise<void> {
    const { clock } = this.#options;
    const deadlineMs = clock.nowMs() + withinMs;
    for (;;) {
      const nowMs = clock.nowMs();
      const isBusy = [...this.#lanes.values()].some(
        (lane) => lane.isSending || lane.entries.some(({ message }) => message.attempts === 0 && message.notBeforeMs <= nowMs),
      );
      if (!isBusy || nowMs >= deadlineMs) return;
      await clock.sleep(Math.min(50, deadlineMs - nowMs));
    }
  }

  replaceSenders(senders: ReadonlyMap<string, readonly Sender[]>): void {
    this.#senders = senders;
    for (const lane of this.#lanes.values()) lane.nap.abort();
  }

  /** One message per sender of the receiver: each is paced, retried and remembered by itself. */
  #copiesOf(message: NewMessage): OutboxMessage[] {
    const nowMs = this.#options.clock.nowMs();
    const senders = this.#senders.get(message.receiver) ?? [];
    return senders.map((_, index) => ({
      id: `${message.id}/${message.receiver}/${index}`,
      receiver: message.receiver,
      kind: message.kind,
      content: message.content,
      enqueuedMs: nowMs,
      notBeforeMs: message.notBeforeMs ?? nowMs,
      attempts: 0,
      state: 'waiting',
      detail: '',
    }));
  }

  #senderOf(message: OutboxMessage): Sender | undefined {
    return this.#senders.get(message.receiver)?.[placeOf(message)];
  }

  async #load(): Promise<void> {
    for (const message of await this.#options.journal.outbox()) {
      if (!this.#known.has(message.id)) this.#admit(message, false);
    }
  }

  #admit(message: OutboxMessage, isVolatile: boolean): void {
    this.#known.add(message.id);
    const sender = this.#senderOf(message);
    const lane = this.#lane(sender?.lane ?? 'none/gone');
    lane.entries.push({ message, order: (this.#arrivals += 1), isVolatile });
    // It waited for a retry when the process ended.
    if (message.attempts > 0) lane.blockedUntilMs = Math.max(lane.blockedUntilMs, Math.min(message.notBeforeMs, this.#options.clock.nowMs() + maxOldBlockMs));
    this.#options.onWaiting?.(this.waiting);
    lane.nap.abort();
    this.#start(lane);
  }

  #lane(name: string): Lane {
    let lane = this.#lanes.get(name);
    if (lane === undefined) {
      lane = { name, entries: [], blockedUntilMs: 0, nap: new AbortController(), isSending: false };
      this.#lanes.set(name, lane);
    }
    return lane;
  }

  /** A lane's worker lives while the lane has messages. */
  #start(lane: Lane): void {
    const signal = this.#running;
    if (signal === null || signal.aborted || this.#active.has(lane) || lane.entries.length === 0) return;
    this.#active.add(lane);
    const worker = this.#work(lane, signal)
      .catch((error: unknown) => this.#options.log.error({ err: error, lane: lane.name }, 'notification lane failed'))
      .finally(() => {
        this.#active.delete(lane);
        this.#workers.delete(worker);
      });
    this.#workers.add(worker);
  }

  async #work(lane: Lane, signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    while (!signal.aborted && lane.entries.length > 0) {
      const nowMs = clock.nowMs();
      const next = pick(lane.entries, nowMs);
      const dueMs =
        next === null ? Math.min(...lane.entries.map(({ message }) => message.notBeforeMs)) : Math.max(next.message.notBeforeMs, lane.blockedUntilMs);
      if (next !== null && dueMs <= nowMs) {
        lane.isSending = true;
        await this.#deliver(lane, next, signal).finally(() => {
          lane.isSending = false;
        });
        continue;
      }
      lane.nap = new AbortController();
      await clock.sleep(dueMs - nowMs, lane.nap.signal).catch(() => undefined);
    }
  }

  async #deliver(lane: Lane, entry: Entry, signal: AbortSignal): Promise<void> {
    const { message } = entry;
    const { clock, log } = this.#options;
    const sender = this.#senderOf(message);
    if (sender === undefined) {
      log.error({ receiver: message.receiver, message: message.id }, 'notification dropped: the receiver is no longer configured');
      return await this.#settle(lane, entry, 'dropped', 'receiver is no longer configured', { reason: 'other', durationMs: null });
    }
    if (await this.#isOvertaken(message))
      return await this.#settle(lane, entry, 'dropped', 'superseded: the episode went on before this was sent', { outcome: 'superseded', durationMs: null });
    const startedMs = clock.nowMs();
    const result = await sender
      .send(message, signal)
      .catch(
        (error: unknown): SendResult => ({ kind: 'permanent', reason: 'other', detail: `sender failed: ${error instanceof Error ? error.name : 'unknown'}` }),
      );
    // Given up on our account: not an attempt, it is sent after the next start.
    if (signal.aborted && result.kind !== 'sent') return;
    lane.blockedUntilMs = clock.nowMs() + paceMs;
    await this.#account(lane, entry, result, clock.nowMs() - startedMs);
  }

  async #account(lane: Lane, entry: Entry, result: SendResult, durationMs: number): Promise<void> {
    const { log, clock } = this.#options;
    const { message } = entry;
    const facts = { receiver: message.receiver, message: message.id, attempt: message.attempts + 1, detail: result.detail };
    switch (result.kind) {
      case 'sent':
        log.info(facts, 'notification sent');
        // The receiver answers again: what waited out a backoff need not wait longer.
        for (const other of lane.entries) if (other.message.attempts > 0) other.message = { ...other.message, notBeforeMs: 0 };
        return await this.#settle(lane, entry, 'sent', result.detail, { outcome: 'sent', durationMs });
      case 'permanent':
        log.error({ ...facts, reason: result.reason }, 'notification dropped: the receiver refuses it');
        return await this.#settle(lane, entry, 'dropped', result.detail, { reason: result.reason, durationMs });
      case 'retry': {
        const waitMs = this.#retryWait(message.attempts, result.retryAfterMs);
        const nowMs = clock.nowMs();
        if (nowMs + waitMs - message.enqueuedMs > (this.#options.maxAgeMs ?? defaultMaxAgeMs)) {
          log.error({ ...facts, reason: result.reason }, 'notification dropped: not delivered in time');
          return await this.#settle(lane, entry, 'dropped', `given up: ${result.detail}`, { reason: result.reason, durationMs });
        }
        // The first failure is worth a look, its repeats are not.
        log[message.attempts === 0 ? 'warn' : 'debug']({ ...facts, reason: result.reason, retryInMs: waitMs }, 'notification failed, will be tried again');
        if (result.retryAfterMs !== null) lane.blockedUntilMs = Math.max(lane.blockedUntilMs, nowMs + waitMs);
        entry.message = { ...message, attempts: message.attempts + 1, notBeforeMs: nowMs + waitMs, detail: result.detail };
        this.#report(entry.message, { outcome: 'retry', reason: result.reason, durationMs });
        return await this.#record(entry, nowMs);
      }
    }
  }

  /** Full jitter: anything up to the doubled wait, so that many lanes do not come back together. */
  #retryWait(attempts: number, retryAfterMs: number | null): number {
    const { random } = this.#options;
    if (retryAfterMs !== null) return retryAfterMs + Math.round(random() * retryJitterMs);
    return Math.max(paceMs, Math.round(random() * Math.min(maxBackoffMs, firstBackoffMs * 2 ** Math.min(attempts + 1, 30))));
  }

  async #settle(
    lane: Lane,
    entry: Entry,
    state: 'sent' | 'dropped',
    detail: string,
    how: { outcome?: OutboxResult['outcome']; reason?: NotifyFailure; durationMs: number | null },
  ): Promise<void> {
    lane.entries.splice(lane.entries.indexOf(entry), 1);
    this.#forgetOldest();
    entry.message = { ...entry.message, state, detail };
    this.#report(entry.message, { outcome: how.outcome ?? 'dropped', reason: how.reason ?? null, durationMs: how.durationMs });
    this.#options.onWaiting?.(this.waiting);
    await this.#record(entry, this.#options.clock.nowMs());
  }

  #forgetOldest(): void {
    if (this.#known.size <= knownIds) return;
    const inLanes = new Set([...this.#lanes.values()].flatMap(({ entries }) => entries.map(({ message }) => message.id)));
    for (const id of this.#known) {
      if (this.#known.size <= knownIds / 2) break;
      if (!inLanes.has(id)) this.#known.delete(id);
    }
  }

  #report(message: OutboxMessage, result: Pick<OutboxResult, 'outcome' | 'reason' | 'durationMs'>): void {
    const integration = this.#senderOf(message)?.lane.split('/')[0] ?? 'none';
    this.#options.onResult?.({ receiver: message.receiver, integration, index: placeOf(message), kind: message.kind, detail: message.detail, ...result });
  }

  /** A journal that cannot be written does not stop the telling; the message may then be repeated after a restart. */
  async #record(entry: Entry, nowMs: number): Promise<void> {
    if (entry.isVolatile) return;
    const { id, state, notBeforeMs, detail } = entry.message;
    try {
      await this.#options.journal.append([{ type: 'message_attempt', id, atMs: nowMs, state, notBeforeMs, detail }]);
    } catch (error) {
      this.#options.log.warn({ err: error, message: id }, 'outcome of a notification cannot be journalled');
    }
  }

  /** Old news: a start whose episode has ended, a question that has been answered. */
  async #isOvertaken(message: OutboxMessage): Promise<boolean> {
    if (message.kind !== 'episode_started' && message.kind !== 'approval_needed') return false;
    const id = message.content['id'];
    if (typeof id !== 'string') return false;
    const episode = await this.#options.journal.episode(id).catch(() => null);
    if (episode === null) return false;
    return message.kind === 'approval_needed' ? episode.state !== 'pending_approval' : episodeEnds.has(episode.state);
  }
}

/** Of the sender that a copy is for, in its receiver. */
function placeOf({ id, receiver }: OutboxMessage): number {
  const index = id.slice(id.lastIndexOf('/') + 1);
  const isCopy = id.endsWith(`/${receiver}/${index}`) && /^\d+$/.test(index);
  return isCopy ? Number(index) : 0;
}

/** First by priority, then by arrival. A message not yet due for its first attempt lets others pass; one that waits for a retry does not. */
function pick(entries: readonly Entry[], nowMs: number): Entry | null {
  let best: Entry | null = null;
  for (const entry of entries) {
    if (entry.message.attempts === 0 && entry.message.notBeforeMs > nowMs) continue;
    if (best === null || rank(entry) < rank(best) || (rank(entry) === rank(best) && entry.order < best.order)) best = entry;
  }
  return best;
}

function rank(entry: Entry): number {
  return priorities[entry.message.kind];
}
