/** What an `Evidence` remembers, as plain JSON. */
export type EvidenceState = {
  readonly value: readonly number[];
  readonly age: readonly number[];
  readonly requests: readonly number[];
  readonly bad: readonly number[];
};

/** Sums over all alternatives after a poll. */
export type EvidenceTotals = {
  /** Evidence before it was cut to 1; at 1 and more the alternatives are believed. */
  total: number;
  /** Estimated age of the degradation, seconds, and the requests since then. */
  sinceSeconds: number;
  requests: number;
  bad: number;
};

/**
 * Budgeted Shiryaev-Roberts evidence over a grid of alternatives: each poll multiplies what is there by an e-value, after adding the part of the false-alarm
 * budget that this poll may spend. If every e-value's mean is at most 1 while all is well, P(total ≥ 1 ever) is at most the budget spent (Ville).
 * Age and counts are carried with the evidence: they are those since the likeliest beginnings.
 */
export class Evidence {
  readonly size: number;
  readonly #value: Float64Array;
  readonly #age: Float64Array;
  readonly #requests: Float64Array;
  readonly #bad: Float64Array;
  readonly totals: EvidenceTotals = { total: 0, sinceSeconds: 0, requests: 0, bad: 0 };

  constructor(size: number) {
    this.size = size;
    this.#value = new Float64Array(size);
    this.#age = new Float64Array(size);
    this.#requests = new Float64Array(size);
    this.#bad = new Float64Array(size);
  }

  /** @param factors e-value of each alternative */
  step(factors: Float64Array, budget: number, poll: { readonly n: number; readonly k: number; readonly dt: number }): EvidenceTotals {
    const { totals, size } = this;
    const share = budget / size;
    let total = 0;
    let since = 0;
    let requests = 0;
    let bad = 0;
    for (let j = 0; j < size; j += 1) {
      const before = this.#value[j] ?? 0;
      const base = before + share;
      if (!(base > 0)) continue;
      const keep = before / base;
      const value = base * (factors[j] ?? 1);
      const n = keep * (this.#requests[j] ?? 0) + poll.n;
      const k = keep * (this.#bad[j] ?? 0) + poll.k;
      const age = n > 0 ? keep * (this.#age[j] ?? 0) + poll.dt : 0;
      this.#value[j] = value;
      this.#requests[j] = n;
      this.#bad[j] = k;
      this.#age[j] = age;
      total += value;
      since += value * age;
      requests += value * n;
      bad += value * k;
    }
    totals.total = total;
    totals.sinceSeconds = total > 0 ? since / total : 0;
    totals.requests = total > 0 ? requests / total : 0;
    totals.bad = total > 0 ? bad / total : 0;
    if (total > 1) for (let j = 0; j < size; j += 1) this.#value[j] = (this.#value[j] ?? 0) / total;
    return totals;
  }

  state(): EvidenceState {
    return { value: [...this.#value], age: [...this.#age], requests: [...this.#requests], bad: [...this.#bad] };
  }

  /** @throws {RangeError} when the state is of another grid */
  restore(state: EvidenceState): void {
    const parts = [state.value, state.age, state.requests, state.bad];
    if (parts.some((part) => part.length !== this.size)) throw new RangeError(`state of ${state.value.length} alternatives, expected ${this.size}`);
    this.#value.set(state.value);
    this.#age.set(state.age);
    this.#requests.set(state.requests);
    this.#bad.set(state.bad);
  }

  reset(): void {
    for (const part of [this.#value, this.#age, this.#requests, this.#bad]) part.fill(0);
  }
}
