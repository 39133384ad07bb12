import { Budget, type BudgetState } from './budget.ts';
import { Burstiness, type BurstinessState } from './burstiness.ts';
import { CompareFactors } from './compare-factors.ts';
import { CountFactors, type Dispersion, gridAbove, gridAboveHealthy, gridBelow, shiftOdds } from './count-factors.ts';
import { Evidence, type EvidenceState } from './evidence.ts';

/** How bursty errors are: learned, a fixed correlation between the requests of a poll (0 = independent), or anything at all. */
export type Burst = 'auto' | 'any' | number;

type CommonOptions = {
  /** Probability of a false alarm in the first `horizonSeconds` of a version that is not bad; half of it in every later one. */
  readonly alpha: number;
  readonly horizonSeconds: number;
  /** Time between two updates, seconds. */
  readonly pollSeconds: number;
  /** The degradation must be at least this old. Default: 0. */
  readonly forSeconds?: number;
  /** A veto, not needed for the guarantee. Default: 0. */
  readonly minRequests?: number;
  /** Default: auto. */
  readonly burst?: Burst;
  /** What an earlier detector with the same options remembered. */
  readonly state?: DetectorState;
  /** What a detector of another version of the same service knows of its burstiness; `state` has its own. */
  readonly burstiness?: BurstinessState;
};

/** Bad when the rate is above `threshold`. */
export type ThresholdOptions = CommonOptions & {
  readonly kind: 'threshold';
  /** 0..1 */
  readonly threshold: number;
  /** Below `threshold`: the guarantee is then for versions at or below this rate, and what lies between upsets nobody. Faster near the threshold. */
  readonly healthy?: number;
  /** A fast way with half of the budget: above this rate, at least this old. */
  readonly severe?: { readonly above: number; readonly forSeconds: number };
};

/** Bad when the rate is above times × the baseline's + points, and above `andAbove`. */
export type CompareOptions = CommonOptions & {
  readonly kind: 'compare';
  /** Default: 1. */
  readonly times?: number;
  /** 0.02 = two points. Default: 0. */
  readonly points?: number;
  /** Default: 0. */
  readonly andAbove?: number;
};

export type DetectorOptions = ThresholdOptions | CompareOptions;

/** All that a detector remembers, as plain JSON. */
export type DetectorState = {
  readonly bad: EvidenceState;
  readonly budget: BudgetState;
  readonly severe: EvidenceState | null;
  readonly severeBudget: BudgetState | null;
  readonly ok: EvidenceState;
  readonly okBudget: BudgetState;
  readonly burstiness: BurstinessState;
  readonly baseline: { readonly burstiness: BurstinessState; readonly requests: number; readonly bad: number } | null;
  readonly seen: number;
};

export type Result = {
  readonly decision: 'ok' | 'rollback' | 'undecided';
  /** 1 and more: so much evidence that a version within the limit would show it no more often than stated. */
  readonly evidence: number;
  /** Whether the evidence is there, whatever `forSeconds` and `minRequests` say. */
  readonly isHot: boolean;
  /** The same for «it is within the limit». */
  readonly okEvidence: number;
  /** Estimated age of the degradation, seconds, and what was counted since. Means something where there is evidence. */
  readonly sinceSeconds: number;
  readonly bad: number;
  readonly requests: number;
  /** Correlation between requests of a poll that was reckoned with. */
  readonly rho: number;
  /** Whether the fast way for severe degradations decided. */
  readonly isSevere: boolean;
  /** Why evidence is no rollback: not old enough, too few requests, or (beside `healthy`) the measured rate is below the threshold. */
  readonly heldBy: 'for' | 'min_requests' | 'limit' | null;
};

export type Detector = {
  /** Tells it a poll of healthy history (of the version before, for example), so that it knows how bursty the service is. */
  calibrate(n: number, k: number, dt?: number): void;
  /**
   * One poll: increments of requests and bad ones since the last.
   * @param baseline the same of the baseline version, over the same seconds; needed by `compare`
   * @param dt seconds since the last poll; `pollSeconds` unless given
   * @param most bad ones at the most, where of some nobody knows: then `k` are the certain ones, and `ok` is only said when as many as these speak for it
   */
  update(n: number, k: number, baseline?: { readonly n: number; readonly k: number }, dt?: number, most?: number): Result;
  /** A change is likely now (a traffic step, a configuration): a part of the budget is spent at the next poll, and saved afterwards. */
  expectChange(share?: number): void;
  /** Forgets all evidence, after a rollback or with a new version; what is known of burstiness stays. */
  reset(): void;
  state(): DetectorState;
};

/** Probability per horizon of saying «ok» of a version at the limit. */
const okAlpha = 0.05;
/** Evidence for «bad» that takes «ok» back. */
const doubt = 0.01;
/** Half-life of the guess of the baseline's rate. */
const guessHalfLifeSeconds = 600;

/**
 * Decides from counts, as soon as the evidence allows, at a stated rate of false alarms however often one looks.
 * @throws {RangeError} when an option is out of its range
 */
export function createDetector(options: DetectorOptions): Detector {
  return new SequentialDetector(options);
}

type Poll = { readonly n: number; readonly k: number; readonly most: number; readonly dt: number };
type Factors = { readonly bad: CountFactors; readonly ok: CountFactors; readonly severe: CountFactors | null };

class SequentialDetector implements Detector {
  readonly #options: DetectorOptions;
  readonly #forSeconds: number;
  readonly #bad: Evidence;
  readonly #ok: Evidence;
  readonly #severe: Evidence | null;
  readonly #budget: Budget;
  readonly #okBudget: Budget;
  readonly #severeBudget: Budget | null;
  readonly #factors: Factors | null;
  readonly #comparing: { readonly bad: CompareFactors; readonly ok: CompareFactors } | null;
  readonly #burstiness: Burstiness;
  readonly #baselineBurstiness: Burstiness;
  #baseline = { requests: 0, bad: 0 };
  #guessDecay = { dt: 0, factor: 1 };
  #seen = 0;

  constructor(options: DetectorOptions) {
    check(options);
    this.#options = options;
    this.#forSeconds = options.forSeconds ?? 0;
    this.#burstiness = new Burstiness(options.pollSeconds);
    this.#baselineBurstiness = new Burstiness(options.pollSeconds);
    const severe = options.kind === 'threshold' ? (options.severe ?? null) : null;
    const alpha = severe === null ? options.alpha : options.alpha / 2;
    this.#budget = new Budget(alpha, options.horizonSeconds);
    this.#okBudget = new Budget(okAlpha, options.horizonSeconds);
    this.#severeBudget = severe === null ? null : new Budget(alpha, options.horizonSeconds);
    if (options.kind === 'threshold') {
      const { threshold, healthy } = options;
      const p0 = healthy ?? threshold;
      const rates = (healthy === undefined ? gridAbove : gridAboveHealthy).map((g) => shiftOdds(threshold, g));
      this.#factors = {
        bad: new CountFactors(p0, rates),
        // Seen from the other side: good requests are counted against «at most 1 - threshold of them are good».
        ok: new CountFactors(
          1 - threshold,
          gridBelow.map((g) => shiftOdds(1 - threshold, g)),
        ),
        severe:
          severe === null
            ? null
            : new CountFactors(
                severe.above,
                gridAbove.map((g) => shiftOdds(severe.above, g)),
              ),
      };
      this.#comparing = null;
      this.#bad = new Evidence(rates.length);
      this.#severe = severe === null ? null : new Evidence(gridAbove.length);
    } else {
      const limit = { times: options.times ?? 1, points: options.points ?? 0, andAbove: options.andAbove ?? 0 };
      this.#factors = null;
      this.#comparing = {
        bad: new CompareFactors(limit, gridAbove),
        ok: new CompareFactors(
          limit,
          gridBelow.map((g) => -g),
        ),
      };
      this.#bad = new Evidence(gridAbove.length);
      this.#severe = null;
    }
    this.#ok = new Evidence(this.#comparing?.ok.out.length ?? gridBelow.length);
    if (options.burstiness !== undefined) {
      this.#burstiness.restore(options.burstiness);
      this.#baselineBurstiness.restore(options.burstiness);
    }
    if (options.state !== undefined) this.#restore(options.state);
  }

  calibrate(n: number, k: number, dt: number = this.#options.pollSeconds): void {
    checkCounts(n, k, dt);
    this.#burstiness.add(n, clamp(k, n), dt);
    if (this.#options.kind === 'threshold') return;
    this.#baselineBurstiness.add(n, clamp(k, n), dt);
    this.#guess(n, clamp(k, n), dt);
  }

  update(n: number, k: number, baseline?: { readonly n: number; readonly k: number }, dt: number = this.#options.pollSeconds, most = k): Result {
    checkCounts(n, k, dt);
    checkCounts(n, most, dt);
    const bad = clamp(k, n);
    const rho = this.#rho(this.#burstiness);
    this.#seen += n;
    const poll = { n, k: bad, most: Math.max(bad, clamp(most, n)), dt };
    const { fast, worse, better } = this.#factors === null ? this.#compare(poll, baseline, rho) : this.#count(poll, this.#factors, rho);
    this.#burstiness.add(n, bad, dt);
    return this.#decide({ fast, worse, better, rho: rho === 'any' ? 1 : rho });
  }

  #count(poll: Poll, factors: Factors, rho: Dispersion) {
    const { n, k, most, dt } = poll;
    const worse = this.#bad.step(factors.bad.factorsOf(n, k, rho), this.#budget.spend(dt), poll);
    const better = this.#ok.step(factors.ok.factorsOf(n, n - most, rho), this.#okBudget.spend(dt), poll);
    const fast =
      factors.severe === null || this.#severe === null
        ? null
        : this.#severe.step(factors.severe.factorsOf(n, k, rho), this.#severeBudget?.spend(dt) ?? 0, poll);
    return { worse, better, fast };
  }

  #compare(poll: Poll, given: { readonly n: number; readonly k: number } | undefined, rho: Dispersion) {
    const { dt } = poll;
    const other = { n: given?.n ?? 0, k: clamp(given?.k ?? 0, given?.n ?? 0) };
    checkCounts(other.n, other.k, dt);
    const guess = (this.#baseline.bad + 0.5) / (this.#baseline.requests + 50);
    const otherRho = this.#rho(this.#baselineBurstiness);
    const candidate = thinned(poll, rho);
    const baseline = thinned(other, otherRho);
    const comparing = this.#comparing;
    if (comparing === null) throw new Error('unreachable');
    const worse = this.#bad.step(comparing.bad.factorsOf(candidate, baseline, guess), this.#budget.spend(dt), poll);
    const worst = poll.most === poll.k ? candidate : thinned({ n: poll.n, k: poll.most }, rho);
    const better = this.#ok.step(comparing.ok.factorsOf(worst, baseline, guess), this.#okBudget.spend(dt), poll);
    this.#baselineBurstiness.add(other.n, other.k, dt);
    this.#guess(other.n, other.k, dt);
    return { worse, better, fast: null };
  }

  #decide(seen: { worse: Evidence['totals']; better: Evidence['totals']; fast: Evidence['totals'] | null; rho: number }): Result {
    const { worse, better, fast } = seen;
    const options = this.#options;
    const isSevere = fast !== null && options.kind === 'threshold' && this.#isDue(fast, options.severe?.forSeconds ?? 0);
    const isAboveThreshold = options.kind !== 'threshold' || options.healthy === undefined || worse.bad >= options.threshold * worse.requests;
    const isBad = isAboveThreshold && this.#isDue(worse, this.#forSeconds);
    const isOk = better.total >= 1 && worse.total < doubt && (fast === null || fast.total < doubt);
    const shown = isSevere && !isBad ? fast : worse;
    const isHot = worse.total >= 1 || (fast !== null && fast.total >= 1);
    const isDecided = isBad || isSevere;
    const veto = !isAboveThreshold ? 'limit' : this.#seen < (options.minRequests ?? 0) ? 'min_requests' : 'for';
    return {
      decision: isDecided ? 'rollback' : isOk ? 'ok' : 'undecided',
      evidence: shown.total,
      isHot,
      heldBy: isHot && !isDecided ? veto : null,
      okEvidence: better.total,
      sinceSeconds: shown.sinceSeconds,
      bad: shown.bad,
      requests: shown.requests,
      rho: seen.rho,
      isSevere: isSevere && !isBad,
    };
  }

  #isDue(totals: Evidence['totals'], forSeconds: number): boolean {
    // Half a poll of room: the age is a mean over beginnings, and polls do not come by the clock.
    return totals.total >= 1 && totals.sinceSeconds >= forSeconds - this.#options.pollSeconds / 2 && this.#seen >= (this.#options.minRequests ?? 0);
  }

  #rho(burstiness: Burstiness): Dispersion {
    const { burst = 'auto' } = this.#options;
    return burst === 'auto' ? burstiness.rho() : burst;
  }

  #guess(n: number, k: number, dt: number): void {
    if (dt !== this.#guessDecay.dt) this.#guessDecay = { dt, factor: 0.5 ** (dt / guessHalfLifeSeconds) };
    const decay = this.#guessDecay.factor;
    this.#baseline = { requests: this.#baseline.requests * decay + n, bad: this.#baseline.bad * decay + k };
  }

  expectChange(share = 0.25): void {
    this.#budget.expectChange(share);
    this.#severeBudget?.expectChange(share);
  }

  reset(): void {
    for (const part of [this.#bad, this.#ok, this.#severe, this.#budget, this.#okBudget, this.#severeBudget]) part?.reset();
    this.#seen = 0;
  }

  state(): DetectorState {
    return {
      bad: this.#bad.state(),
      budget: this.#budget.state(),
      severe: this.#severe?.state() ?? null,
      severeBudget: this.#severeBudget?.state() ?? null,
      ok: this.#ok.state(),
      okBudget: this.#okBudget.state(),
      burstiness: this.#burstiness.state(),
      baseline: this.#comparing === null ? null : { burstiness: this.#baselineBurstiness.state(), ...this.#baseline },
      seen: this.#seen,
    };
  }

  #restore(state: DetectorState): void {
    this.#bad.restore(state.bad);
    this.#ok.restore(state.ok);
    this.#budget.restore(state.budget);
    this.#okBudget.restore(state.okBudget);
    if (state.severe !== null) this.#severe?.restore(state.severe);
    if (state.severeBudget !== null) this.#severeBudget?.restore(state.severeBudget);
    this.#burstiness.restore(state.burstiness);
    if (state.baseline !== null) {
      this.#baselineBurstiness.restore(state.baseline.burstiness);
      this.#baseline = { requests: state.baseline.requests, bad: state.baseline.bad };
    }
    this.#seen = state.seen;
  }
}

/** Counts by their design effect: so many independent requests tell as much. `any` leaves one. */
function thinned({ n, k }: { readonly n: number; readonly k: number }, rho: Dispersion): { n: number; k: number } {
  if (!(n > 0)) return { n: 0, k: 0 };
  const effect = 1 + (n - 1) * (rho === 'any' ? 1 : rho);
  return { n: n / Math.max(1, effect), k: k / Math.max(1, effect) };
}

function clamp(k: number, n: number): number {
  return k < 0 ? 0 : k > n ? n : k;
}

function checkCounts(n: number, k: number, dt: number): void {
  if (!(n >= 0 && Number.isFinite(n) && Number.isFinite(k) && dt >= 0 && Number.isFinite(dt)))
    throw new RangeError(`found n ${n}, k ${k}, dt ${dt}; expected finite numbers, n and dt 0 or more`);
}

function check(options: DetectorOptions): void {
  const refuse = (key: string, value: unknown, expected: string): never => {
    throw new RangeError(`${key}: found ${String(value)}, expected ${expected}`);
  };
  const { alpha, pollSeconds, horizonSeconds, burst } = options;
  if (!(alpha > 0 && alpha < 1)) refuse('alpha', alpha, 'a probability between 0 and 1');
  if (!(pollSeconds > 0)) refuse('pollSeconds', pollSeconds, 'seconds above 0');
  if (!(horizonSeconds > 0)) refuse('horizonSeconds', horizonSeconds, 'seconds above 0');
  if (typeof burst === 'number' && !(burst >= 0 && burst < 1)) refuse('burst', burst, 'auto, any, or a correlation from 0 to below 1');
  if (options.kind === 'threshold') {
    const { threshold, healthy, severe } = options;
    if (!(threshold > 0 && threshold < 1)) refuse('threshold', threshold, 'a ratio between 0 and 1');
    if (healthy !== undefined && !(healthy > 0 && healthy < threshold)) refuse('healthy', healthy, `a ratio between 0 and the threshold (${threshold})`);
    if (severe !== undefined && !(severe.above > threshold && severe.above < 1))
      refuse('severe.above', severe.above, `a ratio between the threshold (${threshold}) and 1`);
  } else {
    const { times = 1, points = 0, andAbove = 0 } = options;
    if (!(times > 0)) refuse('times', times, 'a factor above 0');
    if (!(points >= 0 && points < 1)) refuse('points', points, 'a ratio from 0 to below 1');
    if (!(andAbove >= 0 && andAbove < 1)) refuse('andAbove', andAbove, 'a ratio from 0 to below 1');
  }
}
