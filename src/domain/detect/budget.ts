export type BudgetState = { readonly pending: number; readonly debt: number };

/** Share of the horizon's budget that is spent at the first poll: a deployment is the likeliest change point. */
const headStart = 0.5;

/** The false-alarm budget: a lump at the start, the rest evenly over time. */
export class Budget {
  readonly #alpha: number;
  readonly #perSecond: number;
  #pending: number;
  #debt = 0;

  /** @param alpha probability of a false alarm in the first `horizonSeconds` */
  constructor(alpha: number, horizonSeconds: number) {
    this.#alpha = alpha;
    this.#perSecond = (alpha * (1 - headStart)) / horizonSeconds;
    this.#pending = alpha * headStart;
  }

  /** What may be spent on a poll that covers `dt` seconds. */
  spend(dt: number): number {
    const due = this.#perSecond * dt;
    const repaid = Math.min(this.#debt, due);
    const spent = due - repaid + this.#pending;
    this.#debt -= repaid;
    this.#pending = 0;
    return spent;
  }

  /** Spends a part of the budget at the next poll and saves it afterwards; never more than a horizon's even part is owed. */
  expectChange(share: number): void {
    const lump = Math.min(this.#alpha * share, this.#alpha * (1 - headStart) - this.#debt);
    if (!(lump > 0)) return;
    this.#pending += lump;
    this.#debt += lump;
  }

  reset(): void {
    this.#pending = this.#alpha * headStart;
    this.#debt = 0;
  }

  state(): BudgetState {
    return { pending: this.#pending, debt: this.#debt };
  }

  restore(state: BudgetState): void {
    this.#pending = state.pending;
    this.#debt = state.debt;
  }
}
