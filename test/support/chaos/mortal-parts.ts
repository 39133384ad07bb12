import { createOutbox, type Outbox } from '../../../src/adapters/notify/outbox.ts';
import { MessageTeller } from '../../../src/app/message-teller.ts';
import type { Clock, Journal, Sender } from '../../../src/domain/ports.ts';
import { type StageOptions, silentLog } from '../stage.ts';
import type { Mortal } from './mortal.ts';

/** Nobody wakes up in a dead process. */
export function mortalClock(mortal: Mortal, clock: Clock): Clock {
  return { nowMs: () => clock.nowMs(), sleep: async (ms, signal) => await mortal.wait(async () => await clock.sleep(ms, signal)) };
}

/** The journal as a process has it that may die at each append. @param append in the place of the journal's own */
export function mortalJournal(mortal: Mortal, inner: Journal, append: Journal['append'] = async (events) => await inner.append(events)): Journal {
  return new Proxy(inner, {
    get: (target, key) => {
      if (key === 'append') return async (events: Parameters<Journal['append']>[0]) => await mortal.cross('append', async () => await append(events));
      const value: unknown = Reflect.get(target, key, target);
      if (typeof value !== 'function') return value;
      const call = value.bind(target) as (...all: unknown[]) => Promise<unknown>;
      return async (...all: unknown[]) => await mortal.wait(async () => await call(...all));
    },
  });
}

/** The process's own outbox and teller, with one sender for `oncall`. */
export function tellingBy(sender: Sender, parts: { readonly journal: Journal; readonly clock: Clock }): Required<Pick<StageOptions, 'tell' | 'postman'>> {
  const outbox: Outbox = createOutbox({ ...parts, log: silentLog, senders: new Map([['oncall', [sender]]]), random: () => 0.5 });
  return {
    tell: ({ memory, board, fleet }) => {
      memory.onAppend((events) => {
        if (events.some((event) => event.type === 'message_enqueued')) void outbox.wake();
      });
      return new MessageTeller({ memory, board, fleet, sink: outbox, log: silentLog });
    },
    postman: outbox,
  };
}
