import { lgamma } from './lgamma.ts';

/** Log odds ratios of the alternatives above a limit, and below it. */
export const gridAbove = [0.125, 0.25, 0.5, 1, 1.5, 2, 3, 4.5] as const;
export const gridAboveHealthy = [0, 0.5, 1, 2, 3, 4.5] as const;
export const gridBelow = [0.25, 0.5, 1, 2, 4] as const;

/** Part of the evidence that no single poll can destroy. */
export const memory = 0.1;
const most = 600;

/** The rate whose odds are `exp(g)` times those of `p`. */
export function shiftOdds(p: number, g: number): number {
  const odds = (p / (1 - p)) * Math.exp(g);
  return odds / (1 + odds);
}

/** How the e-value of a poll is made: `number` = correlation between requests of a poll (0: independent), `any` = any dependence inside a poll. */
export type Dispersion = number | 'any';

type Constants = {
  readonly rho: number;
  readonly alternatives: readonly { readonly a: number; readonly b: number; readonly lost: number; readonly scale: number }[];
};

/**
 * e-values of (n requests, k bad) against «the rate is at most p0», one for each alternative rate. With correlation they are ratios of beta-binomials,
 * changed where needed so that they stay e-values for every smaller correlation too (a ratio convex in k).
 */
export class CountFactors {
  readonly #p0: number;
  readonly #rates: readonly number[];
  readonly out: Float64Array;
  #constants: Constants | null = null;

  constructor(p0: number, rates: readonly number[]) {
    this.#p0 = p0;
    this.#rates = rates;
    this.out = new Float64Array(rates.length);
  }

  factorsOf(n: number, k: number, dispersion: Dispersion): Float64Array {
    if (!(n > 0)) return this.out.fill(1);
    if (dispersion === 'any') return this.#fillByFraction(k / n);
    return dispersion > 0 ? this.#fillBursty(n, k, dispersion) : this.#fillIndependent(n, k);
  }

  #fillIndependent(n: number, k: number): Float64Array {
    const p0 = this.#p0;
    for (let j = 0; j < this.out.length; j += 1) {
      const rate = this.#rates[j] ?? p0;
      const l = k * Math.log(rate / p0) + (n - k) * Math.log((1 - rate) / (1 - p0));
      this.out[j] = 1 + (1 - memory) * (Math.exp(Math.min(l, most)) - 1);
    }
    return this.out;
  }

  /** The share of bad requests as one bounded bet: exact whatever the dependence inside a poll, and slow at high traffic. */
  #fillByFraction(share: number): Float64Array {
    const p0 = this.#p0;
    for (let j = 0; j < this.out.length; j += 1) {
      const rate = this.#rates[j] ?? p0;
      this.out[j] = 1 + (1 - memory) * ((share * rate) / p0 + ((1 - share) * (1 - rate)) / (1 - p0) - 1);
    }
    return this.out;
  }

  #fillBursty(n: number, k: number, rho: number): Float64Array {
    if (this.#constants?.rho !== rho) this.#constants = this.#constantsFor(rho);
    const { alternatives } = this.#constants;
    const s = 1 / rho - 1;
    const p0 = this.#p0;
    const under = lgamma(k + s * p0) + lgamma(n - k + s * (1 - p0));
    for (let j = 0; j < alternatives.length; j += 1) {
      const { a, b, lost, scale } = alternatives[j] ?? { a: 1, b: 1, lost: 0, scale: 0 };
      const l = lgamma(k + a) + lgamma(n - k + b) - lost - under;
      this.out[j] = 1 + scale * (Math.exp(Math.min(l, most)) - 1);
    }
    return this.out;
  }

  #constantsFor(rho: number): Constants {
    const s = 1 / rho - 1;
    const p0 = this.#p0;
    const own = lgamma(s * p0) + lgamma(s * (1 - p0));
    const alternatives = this.#rates.map((wanted) => {
      const step = s * (wanted - p0);
      // Convex in k from a step of 1 up; below, a rate further away is taken with a smaller bet.
      const rate = step < 1 ? Math.min(p0 + 1 / s, (1 + p0) / 2) : wanted;
      const bet = step < 1 ? Math.max(0, step) : 1;
      const [a, b] = [s * rate, s * (1 - rate)];
      return { a, b, lost: lgamma(a) + lgamma(b) - own, scale: bet * (1 - memory) };
    });
    return { rho, alternatives };
  }
}
