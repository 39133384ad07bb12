import type { BurstinessState } from '../detect/burstiness.ts';
import { createDetector, type Detector, type DetectorOptions, type DetectorState, type Result } from '../detect/detector.ts';
import type { SequentialCondition } from '../rule.ts';
import { type CountedPoll, type CountHistory, inSteps } from './count-history.ts';

/** What a watch must not forget over a restart; plain JSON. */
export type SequentialState = {
  /** The condition it was made for: a changed rule starts anew, and only keeps what it knows of burstiness. */
  readonly shape: string;
  readonly detector: DetectorState;
  readonly standing: Standing;
  readonly isReleased: boolean;
  readonly pollSeconds: number;
  /** Start of the evidence: ms since 1970. */
  readonly begunMs: number;
  /** Up to which sample it has counted, and the same of the baseline; ms since 1970. */
  readonly uptoMs: number;
  readonly baselineUptoMs: number;
  /** Where a latency is compared: seconds. */
  readonly boundSeconds: number | null;
};

/** `hot`: the evidence is there, but the degradation is not old enough or requests are too few. */
export type Standing = 'open' | 'ok' | 'hot' | 'breach';

export type WatchOptions = {
  readonly condition: SequentialCondition;
  readonly forMs: number;
  /** Probability of a false alarm in the first horizon: the rule's share of it. */
  readonly alpha: number;
  readonly pollSeconds: number;
  readonly boundSeconds: number | null;
};

/** A breach lasts until the evidence has fallen to this, so that it does not flutter at the edge. */
const coolEvidence = 0.1;
/** `ok` lasts while there is no more evidence against it than this, and its own has not fallen below `coolEvidence`. */
const okDoubt = 0.05;
const leastBeliefMs = 30_000;
const maxBeliefMs = 150_000;
const pollsMissed = 4;
/** Baseline and version are compared over the same seconds; one that was not read for so many polls is not waited for. */
const pollsWaited = 4;
/**
 * Evidence that is worth writing down whenever it has doubled, and often; all the rest in steps that grow with its age. A breach that goes on has no evidence to
 * lose any more.
 */
const writing = { warm: 1e-3, warmMs: 30_000, breachMs: 300_000, leastMs: 60_000, mostMs: 3_600_000 };

/** Follows one version for one rule: feeds its detector, and remembers how it stands. */
export class VersionWatch {
  readonly #options: WatchOptions;
  readonly #detector: Detector;
  #standing: Standing = 'open';
  #isReleased = false;
  #begunMs: number;
  #uptoMs: number;
  #baselineUptoMs: number;
  #result: Result | null = null;
  #written: { readonly atMs: number; readonly uptoMs: number; readonly standing: Standing; readonly evidence: number } | null = null;

  /**
   * @param given what was remembered (of another shape: only its burstiness is taken), or what is known of the service's burstiness
   * @param fromMs counts begin here when nothing was remembered
   * @param newestMs newest sample there is: what was remembered of later times is from before a clock was set back
   */
  constructor(
    options: WatchOptions,
    given: { readonly state: SequentialState | null; readonly burstiness: BurstinessState | null; readonly fromMs: number; readonly newestMs: number },
  ) {
    this.#options = options;
    const { state } = given;
    const isSame = state !== null && state.shape === shapeOf(options);
    const burstiness = isSame ? null : (state?.detector.burstiness ?? given.burstiness);
    this.#detector = createDetector({
      ...detectorOptions(options),
      ...(isSame ? { state: state.detector } : {}),
      ...(burstiness === null ? {} : { burstiness }),
    });
    this.#begunMs = isSame ? Math.min(state.begunMs, given.newestMs) : given.fromMs;
    this.#uptoMs = isSame ? Math.min(state.uptoMs, given.newestMs) : given.fromMs;
    this.#baselineUptoMs = isSame ? Math.min(state.baselineUptoMs, given.newestMs) : given.fromMs;
    if (!isSame) return;
    this.#standing = state.standing;
    this.#isReleased = state.isReleased;
    // A poll of nothing changes no evidence, and says where it stands.
    this.#result = this.#detector.update(0, 0, { n: 0, k: 0 }, 0);
    this.#written = { atMs: state.uptoMs, uptoMs: state.uptoMs, standing: state.standing, evidence: this.#result.evidence };
  }

  get options(): WatchOptions {
    return this.#options;
  }

  get begunMs(): number {
    return this.#begunMs;
  }

  get uptoMs(): number {
    return this.#uptoMs;
  }

  /**
   * How it stands, at the newest sample there is: what was counted long before that says nothing of now, until new counts say the same.
   * @param newestMs ms since 1970
   */
  standingAt(newestMs: number): Standing {
    return this.#isOld(newestMs) ? 'open' : this.#standing;
  }

  #isOld(atMs: number): boolean {
    return atMs - this.#uptoMs > beliefMs(this.#options.pollSeconds * 1000);
  }

  /** What the detector said last; `null`: nothing was counted yet. */
  get result(): Result | null {
    return this.#result;
  }

  /** Whether the breach may be acted upon: once it may, it may until it ends. */
  get isReleased(): boolean {
    return this.#isReleased;
  }

  release(): void {
    this.#isReleased = true;
  }

  /** Tells it how bursty healthy traffic is. */
  calibrate(polls: readonly CountedPoll[]): void {
    for (const { n, k, beganMs, atMs } of inSteps(polls, this.#options.pollSeconds * 1000)) this.#detector.calibrate(n, k, (atMs - beganMs) / 1000);
  }

  /** Forgets the evidence: another version was switched to, or back. */
  reset(atMs: number): void {
    this.#detector.reset();
    this.#standing = 'open';
    this.#isReleased = false;
    this.#begunMs = atMs;
    this.#uptoMs = Math.max(this.#uptoMs, atMs);
    this.#baselineUptoMs = Math.max(this.#baselineUptoMs, atMs);
    this.#result = null;
  }

  /** Counts what is new. @param baseline for a comparison: `null`, there is none, and then there is nothing to count */
  feed(own: CountHistory, baseline: CountHistory | null): void {
    const stepMs = this.#options.pollSeconds * 1000;
    const compares = this.#options.condition.limit.op === 'above_baseline';
    const untilMs = compares ? alignedMs(own, baseline, stepMs) : Number.POSITIVE_INFINITY;
    for (const poll of inSteps(own.between(this.#uptoMs, untilMs), stepMs)) {
      const other = compares ? this.#countBaseline(baseline, poll.atMs + stepMs / 2) : undefined;
      const seconds = (poll.atMs - Math.max(this.#uptoMs, poll.beganMs)) / 1000;
      // After a time without sight the counts must be evidence anew: one good poll does not take all of the old evidence away.
      if (this.#result !== null && this.#isOld(poll.atMs)) this.#standing = 'open';
      this.#uptoMs = poll.atMs;
      this.#result = this.#detector.update(poll.n, poll.k, other, Math.max(0, seconds), poll.most);
      this.#standing = standingAfter(this.#standing, this.#result);
      if (this.#standing !== 'breach') this.#isReleased = false;
    }
  }

  #countBaseline(baseline: CountHistory | null, untilMs: number): { n: number; k: number } {
    const polls = baseline?.between(this.#baselineUptoMs, untilMs) ?? [];
    this.#baselineUptoMs = Math.max(this.#baselineUptoMs, untilMs);
    return { n: polls.reduce((sum, { n }) => sum + n, 0), k: polls.reduce((sum, { k }) => sum + k, 0) };
  }

  /** What is known of how bursty this service is. */
  burstiness(): BurstinessState {
    return this.#detector.state().burstiness;
  }

  /** Whether the journal should have it now: what would be missed after a restart. */
  isWorthWriting(nowMs: number): boolean {
    if (this.#result === null || this.#written?.uptoMs === this.#uptoMs) return false;
    const { evidence } = this.#result;
    if (this.#written?.standing !== this.#standing) return true;
    const sinceMs = nowMs - this.#written.atMs;
    if (this.#standing === 'breach') return sinceMs >= writing.breachMs;
    if (evidence >= writing.warm && (evidence >= 2 * this.#written.evidence || sinceMs >= writing.warmMs)) return true;
    return sinceMs >= Math.min(writing.mostMs, Math.max(writing.leastMs, (nowMs - this.#begunMs) / 10));
  }

  /** @param nowMs when it is written down */
  state(nowMs: number): SequentialState {
    this.#written = { atMs: nowMs, uptoMs: this.#uptoMs, standing: this.#standing, evidence: this.#result?.evidence ?? 0 };
    return {
      shape: shapeOf(this.#options),
      detector: rounded(this.#detector.state()),
      standing: this.#standing,
      isReleased: this.#isReleased,
      pollSeconds: this.#options.pollSeconds,
      begunMs: this.#begunMs,
      uptoMs: this.#uptoMs,
      baselineUptoMs: this.#baselineUptoMs,
      boundSeconds: this.#options.boundSeconds,
    };
  }
}

/** For how long counts are believed, ms: a version that is read every second not as long as one that is read every minute. */
export function beliefMs(pollMs: number): number {
  return Math.min(maxBeliefMs, Math.max(leastBeliefMs, pollsMissed * pollMs));
}

/** How it stands after a poll: what was said is taken back only when there is reason to. */
function standingAfter(before: Standing, result: Result): Standing {
  if (result.decision === 'rollback') return 'breach';
  if (before === 'breach' && result.evidence >= coolEvidence) return 'breach';
  if (result.heldBy === 'for' || result.heldBy === 'min_requests') return 'hot';
  if (result.decision === 'ok') return 'ok';
  return before === 'ok' && result.okEvidence >= coolEvidence && result.evidence < okDoubt ? 'ok' : 'open';
}

/** Up to where both were read; a baseline that is not read any more is not waited for. */
function alignedMs(own: CountHistory, baseline: CountHistory | null, stepMs: number): number {
  if (baseline === null || own.newestMs === null) return Number.NEGATIVE_INFINITY;
  const readMs = baseline.newestMs ?? Number.NEGATIVE_INFINITY;
  return own.newestMs - readMs > pollsWaited * stepMs ? Number.POSITIVE_INFINITY : readMs + stepMs / 2;
}

function detectorOptions({ condition, forMs, alpha, pollSeconds }: WatchOptions): DetectorOptions {
  const { limit, healthy, severe, burst, minRequests, perMs } = condition;
  const common = { alpha, horizonSeconds: perMs / 1000, pollSeconds, forSeconds: forMs / 1000, minRequests, burst };
  if (limit.op === 'above_baseline') {
    return condition.of.kind === 'latency'
      ? // At the bound the baseline's share is at most 1 - quantile by choice of the bound.
        { kind: 'compare', ...common, times: 1, points: 0, andAbove: 1 - condition.of.quantile }
      : { kind: 'compare', ...common, times: limit.times, points: limit.byAtLeast, andAbove: limit.andAbove };
  }
  const threshold = allowedShare(condition);
  const faster = severe === null ? {} : { severe: { above: severe.above, forSeconds: severe.forMs / 1000 } };
  return { kind: 'threshold', ...common, threshold, ...(healthy === null ? {} : { healthy }), ...faster };
}

/** Share of bad requests that a fixed limit allows, 0..1. */
export function allowedShare({ of, limit }: SequentialCondition): number {
  if (of.kind === 'latency') return 1 - of.quantile;
  return limit.op === 'above' ? limit.value : 0;
}

/** What the evidence is about; `for`, the budget and vetoes may change without starting anew. */
function shapeOf({ condition, boundSeconds }: WatchOptions): string {
  const { of, limit, healthy, severe, burst } = condition;
  return JSON.stringify([of, limit, healthy, severe?.above ?? null, burst, boundSeconds]);
}

/** Seven digits are plenty, and half as long. */
function rounded<T>(value: T): T {
  return JSON.parse(
    JSON.stringify(value, (_key, part: unknown) => (typeof part === 'number' && !Number.isInteger(part) ? Number(part.toPrecision(7)) : part)),
  ) as T;
}
