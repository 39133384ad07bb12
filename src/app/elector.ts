import type { Clock, Leadership, LeaseAnswer, LeaseLock, Log } from '../domain/ports.ts';

export type ElectorOptions = {
  readonly lock: LeaseLock;
  /** What others wait for, what this process gives itself, and the time between two tries, ms: duration > deadline > 1.2 × retry. */
  readonly leaseDurationMs: number;
  readonly renewDeadlineMs: number;
  readonly retryPeriodMs: number;
  readonly clock: Clock;
  /** ms that only go forward, whatever the clock is set to. */
  readonly monotonicMs: () => number;
  /** 0..1, for jitter. */
  readonly random: () => number;
  readonly log: Log;
  /** Told after each try whether the lease could be asked; `null`: it could. */
  readonly onAsked?: (failure: string | null) => void;
};

/** What begins and ends with a term. */
export type Office = {
  /** Before the first act: takes the epoch and learns all that is true. Throws when it cannot. */
  readonly prepare: () => Promise<void>;
  /** Begins to act; `term` is aborted when it has to stop. */
  readonly begin: (term: AbortSignal) => void;
  /** Resolves when nothing acts any more. */
  readonly end: () => Promise<void>;
  /** While another leads: learns what it did. */
  readonly follow: () => Promise<void>;
};

/**
 * Holds a lease, or waits for it, as client-go does: renewed every retry period; not renewed within the deadline, this process stops leading on its
 * own account, before anybody else may begin. A lease alone fences nothing: the journal's epoch does.
 */
export class Elector implements Leadership {
  readonly #options: ElectorOptions;
  #term: AbortController | null = null;
  /** When the last successful renewal was asked for, by both clocks: not when its answer came. */
  #renewed = { monotonicMs: Number.NEGATIVE_INFINITY, wallMs: Number.NEGATIVE_INFINITY };
  #answeredMs: number;
  #holder: string | null = null;
  #isQuiet = false;

  constructor(options: ElectorOptions) {
    this.#options = options;
    this.#answeredMs = options.monotonicMs();
  }

  leads(): boolean {
    if (this.#term === null || this.#term.signal.aborted) return false;
    if (this.#leftMs() > 0) return true;
    this.lose('the lease was not renewed in time');
    return false;
  }

  leader(): string | null {
    return this.#holder;
  }

  /** Why this replica may not be relied on, even to follow; `null`: nothing. */
  trouble(): string | null {
    const silentMs = this.#options.monotonicMs() - this.#answeredMs;
    return silentMs <= this.#options.leaseDurationMs ? null : `${this.#options.lock.name} could not be asked for ${Math.round(silentMs / 1000)}s`;
  }

  /** Ends the term at once: the journal says that another leads, or time is over. */
  lose(reason: string): void {
    if (this.#term === null || this.#term.signal.aborted) return;
    this.#options.log.warn({ reason }, 'this replica leads no more');
    this.#term.abort(new DOMException(reason, 'AbortError'));
  }

  /** Until aborted; then the lease is given up, so call it only when nothing acts any more. */
  async run(office: Office, signal: AbortSignal): Promise<void> {
    const { clock, retryPeriodMs, random } = this.#options;
    while (!signal.aborted) {
      await this.#turn(office, signal);
      const waitMs = this.#term === null ? retryPeriodMs * (1 + 0.2 * random()) : retryPeriodMs;
      await clock.sleep(waitMs, signal).catch(() => undefined);
    }
    const held = this.#term !== null && !this.#term.signal.aborted;
    this.#term?.abort(new DOMException('stopping', 'AbortError'));
    await office.end();
    this.#term = null;
    if (held) await this.#options.lock.release().catch((error: unknown) => this.#options.log.warn({ err: error }, 'lease could not be given up; it runs out'));
  }

  /** Until when, by whichever clock went further: a machine that slept has a monotonic clock that did not. */
  #leftMs(): number {
    const { monotonicMs, clock, renewDeadlineMs } = this.#options;
    const goneMs = Math.max(monotonicMs() - this.#renewed.monotonicMs, clock.nowMs() - this.#renewed.wallMs);
    return renewDeadlineMs - goneMs;
  }

  async #turn(office: Office, signal: AbortSignal): Promise<void> {
    const asked = { monotonicMs: this.#options.monotonicMs(), wallMs: this.#options.clock.nowMs() };
    const answer = await this.#ask(signal);
    if (signal.aborted) return;
    if (answer !== null) {
      this.#answeredMs = this.#options.monotonicMs();
      this.#holder = answer.holder;
      if (answer.isHeld) this.#renewed = asked;
      else this.lose(`${answer.holder ?? 'another replica'} holds the lease`);
    }
    // A term that ended, for whatever reason, is over before the next begins.
    if (this.#term !== null && !this.leads()) {
      await office.end();
      this.#term = null;
    }
    if (this.#term === null && answer?.isHeld === true) await this.#take(office);
    else if (this.#term === null) await this.#follow(office);
  }

  async #take(office: Office): Promise<void> {
    const { log, lock } = this.#options;
    try {
      await office.prepare();
      if (this.#leftMs() <= 0) throw new Error('the lease ran out meanwhile');
    } catch (error) {
      log.warn({ err: error }, 'this replica holds the lease, but cannot lead; it gives it up');
      await lock.release().catch(() => undefined);
      return;
    }
    this.#term = new AbortController();
    log.info({ leader: this.#holder }, 'this replica leads');
    office.begin(this.#term.signal);
  }

  async #follow(office: Office): Promise<void> {
    try {
      await office.follow();
      this.#isQuiet = false;
    } catch (error) {
      this.#options.log[this.#isQuiet ? 'debug' : 'warn']({ err: error }, 'what the leader does cannot be read');
      this.#isQuiet = true;
    }
  }

  /** One try, given up when the term would end meanwhile. @returns `null` when there was no answer */
  async #ask(signal: AbortSignal): Promise<LeaseAnswer | null> {
    const { clock, lock, log, retryPeriodMs, renewDeadlineMs, onAsked } = this.#options;
    const limitMs = this.#term === null ? renewDeadlineMs : Math.max(1, Math.min(this.#leftMs(), renewDeadlineMs));
    const over = new AbortController();
    const limit = AbortSignal.any([over.signal, signal]);
    const late = clock.sleep(limitMs, limit).then(
      () => 'late' as const,
      () => 'stopped' as const,
    );
    try {
      const answer = await Promise.race([lock.acquire(limit), late]);
      if (typeof answer !== 'string') {
        onAsked?.(null);
        return answer;
      }
      if (answer === 'late') {
        onAsked?.(`${lock.name}: no answer within ${limitMs} ms`);
        log.warn({ lease: lock.name, waited_ms: limitMs, retry_ms: retryPeriodMs }, 'lease could not be asked: no answer');
      }
      return null;
    } catch (error) {
      if (signal.aborted) return null;
      onAsked?.(error instanceof Error ? error.message : String(error));
      log.warn({ err: error, lease: lock.name }, 'lease could not be asked');
      return null;
    } finally {
      over.abort();
    }
  }
}
