import { memory } from './count-factors.ts';

/** One arm's counts: requests, bad ones. */
export type Counts = { readonly n: number; readonly k: number };

const most = 600;
const edge = 1e-12;

/**
 * e-values against «the candidate's rate is at most times × the baseline's + points», at every poll, whatever both do together
 * (Turner, Ly and Grünwald's construction): the alternative is projected on the line in the sense of Kullback and Leibler. A bad guess of
 * the baseline's rate costs speed only.
 */
export class CompareFactors {
  readonly #times: number;
  readonly #points: number;
  readonly #andAbove: number;
  readonly #odds: readonly number[];
  /** A version is not worse too when it keeps below the floor, whatever the baseline does: further alternatives, against the floor alone. */
  readonly #speaksForFloor: boolean;
  readonly out: Float64Array;

  /** @param grid log odds ratios to the allowed rate; negative ones speak for «not worse» */
  constructor(limit: { times: number; points: number; andAbove: number }, grid: readonly number[]) {
    this.#times = limit.times;
    this.#points = limit.points;
    this.#andAbove = limit.andAbove;
    this.#odds = grid.map((g) => Math.exp(g));
    this.#speaksForFloor = limit.andAbove > 0 && grid.every((g) => g < 0);
    this.out = new Float64Array(this.#speaksForFloor ? 2 * grid.length : grid.length);
  }

  /** @param guess the baseline's rate, known before this poll */
  factorsOf(candidate: Counts, baseline: Counts, guess: number): Float64Array {
    const allowed = this.#times * guess + this.#points;
    if (!(candidate.n > 0) || !(baseline.n > 0) || !(allowed > 0) || allowed >= 1) return this.out.fill(1);
    for (let j = 0; j < this.#odds.length; j += 1) {
      const ratio = this.#odds[j] ?? 1;
      const isWorse = ratio > 1;
      const from = isWorse ? Math.max(allowed, this.#andAbove) : allowed;
      const odds = (from / (1 - from)) * ratio;
      const rate = odds / (1 + odds);
      let e = this.#against(candidate, baseline, rate, guess);
      // Worse than the floor too: the smaller of two e-values holds for both nulls.
      if (isWorse && this.#andAbove > 0) e = Math.min(e, likelihood(candidate, rate, this.#andAbove));
      this.out[j] = 1 + (1 - memory) * (e - 1);
    }
    if (this.#speaksForFloor) this.#fillFloor(candidate);
    return this.out;
  }

  #fillFloor(candidate: Counts): void {
    for (let j = 0; j < this.#odds.length; j += 1) {
      const odds = (this.#andAbove / (1 - this.#andAbove)) * (this.#odds[j] ?? 1);
      this.out[this.#odds.length + j] = 1 + (1 - memory) * (likelihood(candidate, odds / (1 + odds), this.#andAbove) - 1);
    }
  }

  #against(candidate: Counts, baseline: Counts, rate: number, guess: number): number {
    const q0 = this.#project(candidate.n, baseline.n, rate, guess);
    const q1 = this.#times * q0 + this.#points;
    if (!(q0 > 0 && q0 < 1 && q1 > 0 && q1 < 1)) return 1;
    const { n, k } = candidate;
    const { n: m, k: x } = baseline;
    const l = k * Math.log(rate / q1) + (n - k) * Math.log((1 - rate) / (1 - q1)) + x * Math.log(guess / q0) + (m - x) * Math.log((1 - guess) / (1 - q0));
    return Math.exp(Math.min(l, most));
  }

  /** The baseline's rate at the point of the line nearest to (rate, guess): Newton's steps, halved where they leave the bracket. */
  #project(n: number, m: number, rate: number, guess: number): number {
    const [r, d] = [this.#times, this.#points];
    const meeting = (rate - d) / r;
    let low = Math.max(edge, Math.min(guess, meeting));
    let high = Math.min(1 - edge, (1 - edge - d) / r, Math.max(guess, meeting));
    if (!(low < high)) return guess;
    // The answer for two normal arms: near enough for two or three steps.
    const [own, other] = [(n * r) / (rate * (1 - rate)), m / (guess * (1 - guess))];
    const start = (own * (rate - d) + other * guess) / (own * r + other);
    let q = start > low && start < high ? start : low + (high - low) * 0.5;
    // The slope times both variances is a cubic in q, with the slope's sign where both rates are rates.
    const nr = n * r;
    for (let round = 0; round < 60; round += 1) {
      const w = r * q + d;
      const vw = w * (1 - w);
      const vq = q * (1 - q);
      const [off, away] = [w - rate, q - guess];
      const cubic = nr * off * vq + m * away * vw;
      if (cubic > 0) high = q;
      else low = q;
      const next = q - cubic / (nr * (r * vq + off * (1 - 2 * q)) + m * (vw + away * r * (1 - 2 * w)));
      const isInside = next > low && next < high;
      // Each step of Newton's squares the relative error: after one of 1e-5 there is nothing left to gain.
      if (isInside && Math.abs(next - q) <= 1e-5 * q) return next;
      q = isInside ? next : low + (high - low) * 0.5;
    }
    return q;
  }
}

function likelihood({ n, k }: Counts, rate: number, limit: number): number {
  return Math.exp(Math.min(k * Math.log(rate / limit) + (n - k) * Math.log((1 - rate) / (1 - limit)), most));
}
