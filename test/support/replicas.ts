import { openMemoryReplicas } from '../../src/adapters/journal/memory/open.ts';
import type { App } from '../../src/app/app.ts';
import { Elector } from '../../src/app/elector.ts';
import type { Memory } from '../../src/app/memory.ts';
import type { Model } from '../../src/domain/model.ts';
import type { Clock, ControlPlane, Journal, LeaseLock } from '../../src/domain/ports.ts';
import { JournalError } from '../../src/domain/ports.ts';
import type { FakeClock } from './fake-clock.ts';
import type { FakePlane } from './fake-plane.ts';
import type { FakeSource } from './fake-source.ts';
import { setStage, silentLog } from './stage.ts';

export const leaseMs = { leaseDurationMs: 15_000, renewDeadlineMs: 10_000, retryPeriodMs: 2_000 } as const;

/** A process that can be stopped and continued: while it is stopped, nothing it waits for comes back. */
class Gate {
  #closed: PromiseWithResolvers<void> | null = null;

  close(): void {
    this.#closed ??= Promise.withResolvers<void>();
  }

  open(): void {
    this.#closed?.resolve();
    this.#closed = null;
  }

  get isOpen(): boolean {
    return this.#closed === null;
  }

  async pass<T>(work: Promise<T>): Promise<T> {
    const settled = await work.then(
      (value) => ({ value }),
      (error: unknown) => ({ error }),
    );
    while (this.#closed !== null) await this.#closed.promise;
    if ('error' in settled) throw settled.error;
    return settled.value;
  }
}

/** The lease of the database, by the time that really passes. */
class LeaseTable {
  #holder = '';
  #expiresMs = 0;
  readonly #clock: FakeClock;

  constructor(clock: FakeClock) {
    this.#clock = clock;
  }

  take(holder: string, durationMs: number): string {
    const nowMs = this.#clock.livedMs();
    if (this.#holder === holder || this.#holder === '' || this.#expiresMs < nowMs) {
      this.#holder = holder;
      this.#expiresMs = nowMs + durationMs;
    }
    return this.#holder;
  }

  giveUp(holder: string): void {
    if (this.#holder === holder) this.#holder = '';
  }
}

/** One of several processes on one journal. */
export type Replica = {
  readonly name: string;
  readonly app: App;
  readonly leads: () => boolean;
  readonly epoch: () => number;
  /** SIGSTOP and SIGCONT. */
  readonly freeze: () => void;
  readonly thaw: () => void;
  /** Nothing of it ever happens again. */
  readonly kill: () => void;
  readonly isDead: () => boolean;
  /** The database cannot be reached from here, or can again. */
  readonly cut: (isCut: boolean) => void;
  readonly stop: () => Promise<void>;
};

/** Several whole applications in virtual time: one shared journal, one lease, one plane. */
export type Fleet = {
  readonly replicas: readonly Replica[];
  /** A reader's view of the journal. */
  readonly journal: Journal;
  /** Terms that began, in order: replica and epoch. */
  readonly terms: readonly { readonly name: string; readonly epoch: number; readonly atMs: number }[];
  /** Mutations as they reached the plane: by whom, of which epoch, the journal's epoch at that instant, and whether the process was stopped when it sent them. */
  readonly writes: readonly { readonly name: string; readonly epoch: number; readonly inForce: number; readonly isLate: boolean; readonly step: string }[];
  readonly close: () => Promise<void>;
};

export async function startFleet(options: {
  clock: FakeClock;
  plane: FakePlane;
  source: FakeSource;
  model: Partial<Model>;
  size?: number;
  random: () => number;
}): Promise<Fleet> {
  const { clock, plane, source } = options;
  const store = await openMemoryReplicas(clock);
  const lease = new LeaseTable(clock);
  const terms: { name: string; epoch: number; atMs: number }[] = [];
  const writes: { name: string; epoch: number; inForce: number; isLate: boolean; step: string }[] = [];
  const reader = store.join();
  let inForce = 0;
  const replicas: Replica[] = [];
  for (let index = 0; index < (options.size ?? 3); index += 1) {
    const name = `r${index}`;
    const gate = new Gate();
    let isCut = false;
    let isDead = false;
    const own = store.join();
    const reach = async <T>(work: () => Promise<T>): Promise<T> => {
      await gate.pass(Promise.resolve());
      if (isCut) return await gate.pass(clock.sleep(1_000).then(() => Promise.reject(new JournalError('the database cannot be reached'))));
      return await gate.pass(work());
    };
    const gated: Clock = { nowMs: () => clock.nowMs(), sleep: async (durationMs, signal) => await gate.pass(clock.sleep(durationMs, signal)) };
    const journal = new Proxy<Journal>(own, {
      get: (target, key) => {
        const value: unknown = Reflect.get(target, key, target);
        if (typeof value !== 'function') return value;
        const call = value.bind(target) as (...all: unknown[]) => Promise<unknown>;
        return key === 'close' ? call : async (...all: unknown[]) => await reach(async () => await fencing(async () => await call(...all)));
      },
    });
    const fencing = async <T>(call: () => Promise<T>): Promise<T> => {
      try {
        return await call();
      } catch (error) {
        if (error instanceof JournalError && error.isFenced) elector.lose('fenced');
        throw error;
      }
    };
    const lock: LeaseLock = {
      name: 'lease of the fleet',
      acquire: async () =>
        await reach(async () => {
          const holder = lease.take(name, leaseMs.leaseDurationMs);
          return { isHeld: holder === name, holder };
        }),
      release: async () => await reach(async () => lease.giveUp(name)),
      close: async () => undefined,
    };
    const elector = new Elector({ lock, ...leaseMs, clock: gated, monotonicMs: () => clock.livedMs(), random: options.random, log: silentLog });
    const seen = new Proxy<ControlPlane>(plane, {
      get: (target, key) => {
        const value: unknown = Reflect.get(target, key, target);
        if (typeof value !== 'function') return value;
        const call = value.bind(target) as (...all: unknown[]) => unknown;
        if (key === 'observe') return async (...all: unknown[]) => await gate.pass(call(...all) as Promise<unknown>);
        if (key !== 'apply') return call;
        return async (target_: unknown, step: { name: string }, how: { epoch: number }, signal: AbortSignal) => {
          const isLate = !gate.isOpen;
          // The request may have left before the process was stopped, and arrive whenever it does.
          if (options.random() < 0.5) await gate.pass(Promise.resolve());
          writes.push({ name, epoch: how.epoch, inForce, isLate, step: step.name });
          return await gate.pass(call(target_, step, how, signal) as Promise<unknown>);
        };
      },
    });
    const stage = await setStage({ clock: gated as FakeClock, journal, plane: seen, source, model: options.model, leadership: elector });
    const { app } = stage;
    const electing = new AbortController();
    const memory: Memory = app.memory;
    app.start();
    const elected = elector.run(
      {
        prepare: async () => {
          inForce = await journal.takeEpoch();
          await memory.catchUp();
        },
        begin: (term) => {
          terms.push({ name, epoch: own.epoch, atMs: clock.livedMs() });
          app.lead(term);
        },
        end: async () => await app.standBy(),
        follow: async () => void (await memory.catchUp()),
      },
      electing.signal,
    );
    replicas.push({
      name,
      app,
      leads: () => elector.leads(),
      epoch: () => own.epoch,
      freeze: () => gate.close(),
      thaw: () => {
        if (!isDead) gate.open();
      },
      kill: () => {
        isDead = true;
        gate.close();
      },
      isDead: () => isDead,
      cut: (cut) => {
        isCut = cut;
      },
      stop: async () => {
        await app.stop(25_000);
        electing.abort();
        await elected;
        isDead = true;
      },
    });
  }
  return {
    replicas,
    journal: reader,
    terms,
    writes,
    close: async () => {
      for (const replica of replicas) {
        replica.kill();
        replica.app.hurry();
      }
      await store[Symbol.asyncDispose]();
    },
  };
}
