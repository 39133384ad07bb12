import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { anEpisode, startMs } from '../../../test/contract/journal-builders.ts';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import type { Journal, Log, Sender, SendResult } from '../../domain/ports.ts';
import { JournalError } from '../../domain/ports.ts';
import type { OutboxMessage } from '../../domain/records.ts';
import { openMemoryJournal } from '../journal/index.ts';
import { createOutbox, type NewMessage, type Outbox, type OutboxOptions, type OutboxResult } from './outbox.ts';

const sent: SendResult = { kind: 'sent', detail: 'ok' };
const retry = (retryAfterMs: number | null = null): SendResult => ({
  kind: 'retry',
  retryAfterMs,
  reason: retryAfterMs === null ? 'serverError' : 'rateLimited',
  detail: 'not now',
});
const permanent: SendResult = { kind: 'permanent', reason: 'clientError', detail: 'no_service' };

let clock: FakeClock;
let journal: Journal;
let log: { level: string; message: string; fields: unknown }[];
let calls: string[];
let answers: SendResult[];
let results: OutboxResult[];
let running: { outbox: Outbox; stop: () => Promise<void> }[];

beforeEach(async () => {
  clock = new FakeClock(startMs);
  journal = await openMemoryJournal({ clock });
  log = [];
  calls = [];
  answers = [];
  results = [];
  running = [];
});
afterEach(async () => {
  for (const { stop } of running) await stop();
  await journal.close();
});

const logger: Log = {
  debug: (fields, message) => log.push({ level: 'debug', message, fields }),
  info: (fields, message) => log.push({ level: 'info', message, fields }),
  warn: (fields, message) => log.push({ level: 'warn', message, fields }),
  error: (fields, message) => log.push({ level: 'error', message, fields }),
  child: () => logger,
};

/** Notes what it is given, with the second since the start; answers from `answers`, then `ok`. */
function aSender(lane: string, send?: (message: OutboxMessage, signal: AbortSignal) => Promise<SendResult>): Sender {
  return {
    lane,
    send: async (message, signal) => {
      calls.push(`${(clock.nowMs() - startMs) / 1000} ${message.id}`);
      return send === undefined ? (answers.shift() ?? sent) : await send(message, signal);
    },
  };
}

function start(senders: Record<string, Sender[]> = { oncall: [aSender('slack/a')] }, more: Partial<OutboxOptions> = {}): Outbox {
  const outbox = createOutbox({
    journal,
    clock,
    log: logger,
    senders: new Map(Object.entries(senders)),
    random: () => 0.5,
    onResult: (result) => results.push(result),
    ...more,
  });
  const controller = new AbortController();
  const done = outbox.run(controller.signal);
  running.push({
    outbox,
    stop: async () => {
      controller.abort();
      await done;
    },
  });
  return outbox;
}

const aNews = (id: string, changes: Partial<NewMessage> = {}): NewMessage => ({ id, receiver: 'oncall', kind: 'notice', content: {}, ...changes });

describe('outbox', () => {
  it('sends at once on enqueue, without waiting for any beat', async () => {
    const outbox = start();
    await clock.advance(0);

    expect(await outbox.enqueue(aNews('a'))).toBe(true);
    await clock.advance(0);

    expect(calls).toEqual(['0 a/oncall/0']);
    expect(await journal.outbox()).toEqual([]);
    expect(results).toEqual([
      { receiver: 'oncall', integration: 'slack', index: 0, kind: 'notice', outcome: 'sent', reason: null, detail: 'ok', durationMs: 0 },
    ]);
  });

  it('paces one lane to a message a second, lanes beside each other', async () => {
    const outbox = start({ oncall: [aSender('slack/a')], other: [aSender('slack/b')] });
    for (const id of ['a', 'b', 'c']) await outbox.enqueue(aNews(id));
    await outbox.enqueue(aNews('d', { receiver: 'other' }));

    await clock.advance(5000);

    expect(calls.toSorted()).toEqual(['0 a/oncall/0', '0 d/other/0', '1 b/oncall/0', '2 c/oncall/0']);
  });

  it('keeps order inside a lane, but lets more important kinds pass', async () => {
    const outbox = createOutbox({ journal, clock, log: logger, senders: new Map([['oncall', [aSender('slack/a')]]]), random: () => 0 });
    const kinds: [string, OutboxMessage['kind']][] = [
      ['n1', 'notice'],
      ['a1', 'alert'],
      ['s1', 'episode_started'],
      ['d1', 'digest'],
      ['f1', 'episode_finished'],
      ['q1', 'approval_needed'],
      ['a2', 'alert'],
      ['f2', 'episode_finished'],
    ];
    for (const [id, kind] of kinds) await outbox.enqueue(aNews(id, { kind }));
    const controller = new AbortController();
    const done = outbox.run(controller.signal);

    await clock.advance(10_000);
    controller.abort();
    await done;

    expect(calls.map((call) => call.split(' ')[1]?.slice(0, 2))).toEqual(['f1', 'q1', 'f2', 's1', 'a1', 'a2', 'n1', 'd1']);
  });

  it('takes the same id once, also after it was sent and after a restart', async () => {
    const outbox = start();
    await Promise.all([outbox.enqueue(aNews('a')), outbox.enqueue(aNews('a'))]);
    await clock.advance(3000);
    await outbox.enqueue(aNews('a'));
    await running[0]?.stop();
    const again = start();
    await again.enqueue(aNews('a'));
    await clock.advance(3000);

    expect(calls).toEqual(['0 a/oncall/0']);
  });

  it('gives each sender of a receiver its copy', async () => {
    const outbox = start({ oncall: [aSender('slack/a'), aSender('slack/b')] });
    await outbox.enqueue(aNews('a'));
    await clock.advance(0);

    expect(calls.toSorted()).toEqual(['0 a/oncall/0', '0 a/oncall/1']);
  });

  it('waits as long as Retry-After says plus jitter, and keeps the order', async () => {
    answers = [retry(30_000)];
    const outbox = start();
    await outbox.enqueue(aNews('a'));
    await outbox.enqueue(aNews('b'));
    await clock.advance(5000);
    await outbox.enqueue(aNews('f', { kind: 'episode_finished' }));
    await clock.advance(60_000);

    expect(calls).toEqual(['0 a/oncall/0', '30.5 f/oncall/0', '31.5 a/oncall/0', '32.5 b/oncall/0']);
  });

  it('backs off exponentially with full jitter, at most 15 minutes, warning once', async () => {
    answers = Array.from({ length: 14 }, () => retry());
    const outbox = start(undefined, { random: () => 1 });
    await outbox.enqueue(aNews('a'));
    await clock.advance(3 * 60 * 60_000);

    const times = calls.map((call) => Number(call.split(' ')[0]));
    expect(times.slice(1).map((time, index) => time - (times[index] ?? 0))).toEqual([2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900, 900, 900]);
    expect(log.filter(({ level }) => level === 'warn')).toHaveLength(1);
    expect(await journal.outbox()).toEqual([]);
  });

  it('lets a new, more important message try at once during a backoff, and sends the waiting ones once it went through', async () => {
    answers = [retry(), retry(), retry(), retry()];
    const outbox = start(undefined, { random: () => 1 });
    await outbox.enqueue(aNews('a'));
    await clock.advance(15_000);
    await outbox.enqueue(aNews('f', { kind: 'episode_finished' }));
    await clock.advance(2000);

    expect(calls).toEqual(['0 a/oncall/0', '2 a/oncall/0', '6 a/oncall/0', '14 a/oncall/0', '15 f/oncall/0', '16 a/oncall/0']);
  });

  it('drops what the receiver refuses, says so once, and goes on', async () => {
    answers = [permanent];
    const outbox = start();
    await outbox.enqueue(aNews('a'));
    await outbox.enqueue(aNews('b'));
    await clock.advance(2000);

    expect(calls).toEqual(['0 a/oncall/0', '1 b/oncall/0']);
    expect(log.filter(({ level }) => level === 'error').map(({ message }) => message)).toEqual(['notification dropped: the receiver refuses it']);
    expect(results.map(({ outcome, reason }) => [outcome, reason])).toEqual([
      ['dropped', 'clientError'],
      ['sent', null],
    ]);
  });

  it('gives up after a day', async () => {
    answers = Array.from({ length: 1000 }, () => retry());
    const outbox = start(undefined, { random: () => 1 });
    await outbox.enqueue(aNews('a'));
    await clock.advance(25 * 60 * 60_000);

    expect(await journal.outbox()).toEqual([]);
    expect(results.at(-1)).toMatchObject({ outcome: 'dropped', reason: 'serverError' });
  });

  it('sends after a restart what waited, with its retry time', async () => {
    answers = [retry(30_000)];
    await start().enqueue(aNews('a'));
    await clock.advance(1000);
    await running[0]?.stop();
    start();
    await clock.advance(60_000);

    expect(calls).toEqual(['0 a/oncall/0', '30.5 a/oncall/0']);
  });

  it('keeps a message whose sending was aborted', async () => {
    const hanging = aSender(
      'slack/a',
      async (_, signal) =>
        await new Promise<SendResult>((resolve) =>
          signal.addEventListener('abort', () => resolve({ kind: 'retry', retryAfterMs: null, reason: 'contextCanceled', detail: '' })),
        ),
    );
    const outbox = start({ oncall: [hanging] });
    await outbox.enqueue(aNews('a'));
    await clock.advance(100);
    await running[0]?.stop();

    expect((await journal.outbox()).map(({ id, attempts }) => [id, attempts])).toEqual([['a/oncall/0', 0]]);
  });

  it('a slow lane holds up no other lane and no caller', async () => {
    const hanging = aSender(
      'slack/a',
      async (_, signal) => await new Promise<SendResult>((resolve) => signal.addEventListener('abort', () => resolve(retry()))),
    );
    const outbox = start({ slow: [hanging], oncall: [aSender('slack/b')] });
    await outbox.enqueue(aNews('a', { receiver: 'slow' }));
    await outbox.enqueue(aNews('b'));
    await clock.advance(0);

    expect(calls).toEqual(['0 a/slow/0', '0 b/oncall/0']);
  });

  describe('what is overtaken', () => {
    const started = aNews('rb_1/started', { kind: 'episode_started', content: { id: 'rb_1' }, notBeforeMs: startMs + 30_000 });

    it('a start is dropped when the episode ended before it was due; others are not held up by it', async () => {
      await journal.append([{ type: 'episode_opened', episode: anEpisode() }]);
      const outbox = start();
      await outbox.enqueue(started);
      await outbox.enqueue(aNews('n'));
      await clock.advance(10_000);
      await journal.append([{ type: 'episode_state', episodeId: 'rb_1', atMs: clock.nowMs(), state: 'succeeded', detail: '' }]);
      await clock.advance(60_000);

      expect(calls).toEqual(['0 n/oncall/0']);
      expect(results.map(({ kind, outcome }) => [kind, outcome])).toEqual([
        ['notice', 'sent'],
        ['episode_started', 'superseded'],
      ]);
      expect(await journal.outbox()).toEqual([]);
    });

    it('a start is sent when the episode lasts', async () => {
      await journal.append([{ type: 'episode_opened', episode: anEpisode() }]);
      await start().enqueue(started);
      await clock.advance(60_000);

      expect(calls).toEqual(['30 rb_1/started/oncall/0']);
    });

    it('a question is dropped once it was answered', async () => {
      await journal.append([{ type: 'episode_opened', episode: anEpisode({ state: 'planned' }) }]);
      await start().enqueue(aNews('q', { kind: 'approval_needed', content: { id: 'rb_1' } }));
      await clock.advance(1000);

      expect(calls).toEqual([]);
    });
  });

  it('sends messages appended together with other events', async () => {
    const outbox = start();
    await journal.append([{ type: 'episode_opened', episode: anEpisode() }, ...outbox.events([aNews('a')])]);
    await outbox.wake();
    await clock.advance(0);

    expect(calls).toEqual(['0 a/oncall/0']);
  });

  it('still tells when the journal cannot be written', async () => {
    const broken: Journal = new Proxy(journal, {
      get: (target, key) =>
        key === 'append'
          ? async () => {
              throw new JournalError('disk full');
            }
          : typeof Reflect.get(target, key) === 'function'
            ? Reflect.get(target, key).bind(target)
            : Reflect.get(target, key, target),
    });
    const outbox = start(undefined, { journal: broken });

    expect(await outbox.enqueue(aNews('a'))).toBe(false);
    await clock.advance(0);
    expect(calls).toEqual(['0 a/oncall/0']);
  });

  it('flush waits for what is due, and no longer than told', async () => {
    const outbox = start();
    for (const id of ['a', 'b', 'c']) await outbox.enqueue(aNews(id));
    let isDone = false;
    const flushed = outbox.flush(5000).then(() => (isDone = true));
    await clock.advance(1500);
    expect(isDone).toBe(false);
    await clock.advance(1000);
    await flushed;
    expect(calls).toHaveLength(3);

    answers = [retry(60_000)];
    await outbox.enqueue(aNews('d'));
    const second = outbox.flush(2000);
    await clock.advance(2100);
    await second;
    expect(outbox.waiting).toBe(1);
  });

  it('drops messages of a receiver that is gone after a reload', async () => {
    const outbox = start();
    answers = [retry(5000)];
    await outbox.enqueue(aNews('a'));
    await clock.advance(0);
    outbox.replaceSenders(new Map());
    await clock.advance(10_000);

    expect(calls).toHaveLength(1);
    expect(log.at(-1)).toMatchObject({ level: 'error', message: 'notification dropped: the receiver is no longer configured' });
  });
});
