/** Where a process may die: every journal write, every call of the plane, and what else leaves the process. */
export const operations = ['append', 'observe', 'apply', 'smoke', 'send'] as const;
export type Operation = (typeof operations)[number];

/** Dies before or after its n-th operation of a kind, counted from 1 and from the start of the process. */
export type Crash = { readonly operation: Operation; readonly side: 'before' | 'after'; readonly nth: number };

/**
 * A process that can be killed: from then on nothing it waits for comes back and nothing it begins happens, as after `kill -9`. (An exception in its
 * place would let handlers run that no killed process has.)
 */
export class Mortal {
  readonly #crash: Crash | null;
  readonly #counts = new Map<Operation, number>();
  #isDead = false;

  constructor(crash: Crash | null) {
    this.#crash = crash;
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  /** Operations that were begun. */
  get counts(): ReadonlyMap<Operation, number> {
    return this.#counts;
  }

  kill(): void {
    this.#isDead = true;
  }

  /** An operation at which it may die. `lost` is called instead of `work` when it died right before. */
  async cross<Result>(operation: Operation, work: () => Promise<Result>, lost: () => void = () => undefined): Promise<Result> {
    if (this.#isDead) return await nevermore();
    const nth = (this.#counts.get(operation) ?? 0) + 1;
    this.#counts.set(operation, nth);
    const isDue = this.#crash?.operation === operation && this.#crash.nth === nth;
    if (isDue && this.#crash.side === 'before') {
      this.#isDead = true;
      lost();
    }
    return await this.wait(work, () => {
      if (isDue) this.#isDead = true;
    });
  }

  /** Anything else that it waits for. `onSettled` is called when it is over, before anybody hears of it. */
  async wait<Result>(work: () => Promise<Result>, onSettled: () => void = () => undefined): Promise<Result> {
    if (this.#isDead) return await nevermore();
    const [settled] = await Promise.allSettled([work()]);
    onSettled();
    if (this.#isDead) return await nevermore();
    if (settled.status === 'rejected') throw settled.reason;
    return settled.value;
  }
}

async function nevermore(): Promise<never> {
  return await new Promise<never>(() => undefined);
}
