type Block = readonly [requests: number, bad: number];

type ScaleState = { readonly num: number; readonly den: number; readonly squares: number; readonly last: Block | null; readonly waiting: readonly Block[] };
export type BurstinessState = {
  readonly polls: ScaleState;
  readonly minutes: ScaleState;
  readonly minute: readonly [requests: number, bad: number, seconds: number];
};

/** Correlation assumed before anything is known: a very bursty service. */
const prior = 0.02;
const halfLifeSeconds = 6 * 3600;
const inflation = 1.25;
const floor = 2e-4;
const ceiling = 0.3;
const step = 2 ** 0.25;

/**
 * Correlation between the requests of a block, from differences of successive blocks (slow drift and one level change do not disturb them),
 * shrunk to a prior. The newest blocks are not used, so that a degradation does not hide itself.
 */
class Scale {
  readonly #prior: number;
  readonly #weight: number;
  /** The newest blocks, requests and bad ones by turns, in a ring: one is made in every poll of every rule. */
  readonly #waiting: Float64Array;
  #oldest = 0;
  #held = 0;
  #num = 0;
  #den = 0;
  #squares = 0;
  /** Of the last block that was learned from; no requests: there was none. */
  #lastN = 0;
  #lastK = 0;
  #decay = { seconds: 0, factor: 1 };

  constructor(options: { prior: number; weight: number; unused: number }) {
    this.#prior = options.prior;
    this.#weight = options.weight;
    this.#waiting = new Float64Array(2 * options.unused);
  }

  add(n: number, k: number, seconds: number): void {
    if (!(n > 0)) return;
    const waiting = this.#waiting;
    const at = this.#oldest;
    if (this.#held < waiting.length) this.#held += 2;
    else this.#learn(waiting[at] ?? 0, waiting[at + 1] ?? 0, seconds);
    waiting[at] = n;
    waiting[at + 1] = k;
    this.#oldest = at + 2 < waiting.length ? at + 2 : 0;
  }

  #learn(n: number, k: number, seconds: number): void {
    const [m, x] = [this.#lastN, this.#lastK];
    this.#lastN = n;
    this.#lastK = k;
    if (m === 0) return;
    const all = n + m;
    if (!(all > 1)) return;
    const p = (k + x) / all;
    const variance = p * (1 - p) * (all / (all - 1));
    const weight = (n * m) / all;
    const difference = k / n - x / m;
    const inverse = 1 / n + 1 / m;
    const den = weight * variance * (2 - inverse);
    if (seconds !== this.#decay.seconds) this.#decay = { seconds, factor: 0.5 ** (seconds / halfLifeSeconds) };
    const decay = this.#decay.factor;
    this.#num = this.#num * decay + weight * (difference * difference - variance * inverse);
    this.#den = this.#den * decay + Math.max(0, den);
    this.#squares = this.#squares * decay * decay + den * den;
  }

  estimate(): number {
    if (!(this.#den > 0)) return this.#prior;
    const pairs = (this.#den * this.#den) / this.#squares;
    return ((pairs * this.#num) / this.#den + this.#weight * this.#prior) / (pairs + this.#weight);
  }

  state(): ScaleState {
    const waiting = this.#waiting;
    const first = this.#held < waiting.length ? 0 : this.#oldest;
    return {
      num: this.#num,
      den: this.#den,
      squares: this.#squares,
      last: this.#lastN > 0 ? [this.#lastN, this.#lastK] : null,
      waiting: Array.from({ length: this.#held / 2 }, (_, index): Block => {
        const at = (first + 2 * index) % waiting.length;
        return [waiting[at] ?? 0, waiting[at + 1] ?? 0];
      }),
    };
  }

  restore(state: ScaleState): void {
    this.#num = state.num;
    this.#den = state.den;
    this.#squares = state.squares;
    [this.#lastN, this.#lastK] = state.last ?? [0, 0];
    const held = state.waiting.flat().slice(-this.#waiting.length);
    this.#waiting.set(held);
    this.#held = held.length;
    this.#oldest = held.length % this.#waiting.length;
  }
}

/** Learns how bursty a service is, from its polls and its minutes. */
export class Burstiness {
  readonly #pollsPerMinute: number;
  readonly #polls: Scale;
  readonly #minutes: Scale;
  #minute: [number, number, number] = [0, 0, 0];
  #known: number | null = null;
  /** The last step that was reckoned: it holds for all correlations above `above`, up to itself. */
  #step = { above: 1, rho: 0 };

  constructor(pollSeconds: number) {
    this.#pollsPerMinute = Math.max(1, 60 / pollSeconds);
    this.#polls = new Scale({ prior, weight: 20, unused: 12 });
    this.#minutes = new Scale({ prior: prior / this.#pollsPerMinute, weight: 10, unused: 10 });
  }

  add(n: number, k: number, dt: number): void {
    this.#polls.add(n, k, dt);
    const minute = this.#minute;
    minute[0] += n;
    minute[1] += k;
    minute[2] += dt;
    if (minute[2] >= 59.999) {
      this.#minutes.add(minute[0], minute[1], minute[2]);
      minute.fill(0);
    }
    this.#known = null;
  }

  /** Correlation between requests of one poll, 2e-4 to 0.3, with room, rounded up to steps of 2^(1/4) so that constants can be kept. */
  rho(): number {
    if (this.#known !== null) return this.#known;
    const minutes = this.#pollsPerMinute > 1 ? this.#pollsPerMinute * this.#minutes.estimate() : 0;
    const raw = inflation * Math.max(this.#polls.estimate(), minutes);
    const clipped = Math.min(ceiling, Math.max(floor, raw));
    if (!(clipped > this.#step.above && clipped <= this.#step.rho)) {
      const rho = floor * 2 ** (Math.ceil(4 * Math.log2(clipped / floor) - 1e-9) / 4);
      // A little above the step below, where rounding has its tolerance: what is kept never differs from what would be reckoned anew.
      this.#step = { above: (rho / step) * (1 + 1e-9), rho };
    }
    this.#known = Math.min(ceiling, this.#step.rho);
    return this.#known;
  }

  state(): BurstinessState {
    return { polls: this.#polls.state(), minutes: this.#minutes.state(), minute: [...this.#minute] };
  }

  restore(state: BurstinessState): void {
    this.#polls.restore(state.polls);
    this.#minutes.restore(state.minutes);
    this.#minute = [...state.minute];
    this.#known = null;
  }
}
