import { createDetector, type DetectorOptions } from '../../src/domain/detect/index.ts';
import { mannWhitneyShift } from './mann-whitney.ts';
import { type Poll, pollSeconds } from './streams.ts';

/** The rule of a run: bad is a share of bad requests above `limit`, or one that is `points` above the baseline's. */
export type Limit = { readonly limit: number };

/** Judges one stream, poll by poll; `true`: it rolls back at the end of this poll. */
export type Judge = (poll: Poll) => boolean;
export type Method = {
  readonly name: string;
  /** @param history polls of the version before, which was healthy; what is read of it is the method's own affair */
  readonly start: (rule: Limit, history: readonly Poll[]) => Judge;
  /** Seconds between the decision and the act: Alertmanager's group_wait, where it stands between. */
  readonly waitSeconds?: number;
};

export const alphaPerDay = 0.01;
const polls = (seconds: number): number => seconds / pollSeconds;

/** Sums over the newest polls, as `increase` over a window gives them. */
class Window {
  readonly #ring: Float64Array;
  readonly #size: number;
  #at = 0;
  n = 0;
  k = 0;

  constructor(seconds: number) {
    this.#size = polls(seconds);
    this.#ring = new Float64Array(2 * this.#size);
  }

  add({ n, k }: { readonly n: number; readonly k: number }): void {
    const at = 2 * this.#at;
    this.n += n - (this.#ring[at] ?? 0);
    this.k += k - (this.#ring[at + 1] ?? 0);
    this.#ring[at] = n;
    this.#ring[at + 1] = k;
    this.#at = (this.#at + 1) % this.#size;
  }

  /** NaN without requests, as 0 / 0 is in PromQL. */
  get ratio(): number {
    return this.k / this.n;
  }
}

/** Calls back every so many seconds of the stream. */
function every(seconds: number): (then: () => boolean) => boolean {
  let poll = 0;
  return (then) => {
    poll += 1;
    return poll % polls(seconds) === 0 && then();
  };
}

function detecting(options: (rule: Limit) => DetectorOptions, historySeconds: number): Method['start'] {
  return (rule, history) => {
    const detector = createDetector(options(rule));
    for (const { n, k } of history.slice(history.length - polls(historySeconds))) detector.calibrate(n, k);
    return ({ n, k, baseline }) => detector.update(n, k, baseline).decision === 'rollback';
  };
}

const common = { alpha: alphaPerDay, horizonSeconds: 86_400, pollSeconds };
const sixHours = 6 * 3600;

export const sequential: Method = { name: 'sequential', start: detecting(({ limit }) => ({ ...common, kind: 'threshold', threshold: limit }), sixHours) };

export const methods: readonly Method[] = [
  sequential,
  {
    name: 'sequential, for: 15s',
    start: detecting(({ limit }) => ({ ...common, kind: 'threshold', threshold: limit, forSeconds: 15 }), sixHours),
  },
  {
    name: 'sequential, no history',
    start: detecting(({ limit }) => ({ ...common, kind: 'threshold', threshold: limit }), 0),
  },
  {
    // Worse than the version beside it by as much as the limit is above a healthy 1 %, or by four fifths of a smaller limit.
    name: 'sequential, above_baseline',
    start: detecting(({ limit }) => ({ ...common, kind: 'compare', points: limit * 0.8 }), sixHours),
  },
  { name: 'Flagger, threshold 5', start: flagger },
  { name: 'Argo Rollouts, failureLimit 3', start: argo },
  { name: 'Prometheus `for: 5m`, Alertmanager', start: prometheus, waitSeconds: 30 },
  { name: 'naive, rate[1m]', start: naive },
  { name: 'burn rate 14.4 / 6', start: burnRate, waitSeconds: 30 },
  { name: 'Kayenta, Mann-Whitney', start: kayenta },
];

/** One check a minute over rate[1m]; failed checks are only ever added, no value is a failed check, and the rollback comes at the tick after. */
function flagger({ limit }: Limit): Judge {
  const window = new Window(60);
  const tick = every(60);
  let failed = 0;
  return (poll) => {
    window.add(poll);
    return tick(() => {
      if (failed >= 5) return true;
      if (!(window.ratio <= limit)) failed += 1;
      return false;
    });
  };
}

/** A measurement each 5 minutes over rate[5m]; fails when more than 3 failed, and no value is a failed one. */
function argo({ limit }: Limit): Judge {
  const window = new Window(300);
  const tick = every(300);
  let failed = 0;
  return (poll) => {
    window.add(poll);
    return tick(() => {
      if (!(window.ratio <= limit)) failed += 1;
      return failed > 3;
    });
  };
}

/** rate[5m] above the limit at each evaluation (one a minute) for 5 minutes; a false one starts anew. */
function prometheus({ limit }: Limit): Judge {
  const window = new Window(300);
  const tick = every(60);
  let evaluations = 0;
  return (poll) => {
    window.add(poll);
    return tick(() => {
      evaluations = window.ratio > limit ? evaluations + 1 : 0;
      return evaluations > 5;
    });
  };
}

/** rate[1m] above the limit, once. */
function naive({ limit }: Limit): Judge {
  const window = new Window(60);
  const tick = every(15);
  return (poll) => {
    window.add(poll);
    return tick(() => window.ratio > limit);
  };
}

/** The workbook's two pairs of windows, for an objective whose 14.4 × is the limit. */
function burnRate({ limit }: Limit): Judge {
  const [fiveMinutes, halfHour, hour, sixHoursLong] = [new Window(300), new Window(1800), new Window(3600), new Window(sixHours)];
  const budget = limit / 14.4;
  const tick = every(60);
  return (poll) => {
    for (const window of [fiveMinutes, halfHour, hour, sixHoursLong]) window.add(poll);
    return tick(() => (hour.ratio > 14.4 * budget && fiveMinutes.ratio > 14.4 * budget) || (sixHoursLong.ratio > 6 * budget && halfHour.ratio > 6 * budget));
  };
}

/** The newest 50 points of a minute each against the baseline's, every ten minutes: 98 % interval of the shift above a quarter of its estimate. */
function kayenta(): Judge {
  const minute = { candidate: new Window(60), baseline: new Window(60) };
  const tick = every(60);
  const points: [candidate: number, baseline: number][] = [];
  let minutes = 0;
  return (poll) => {
    minute.candidate.add(poll);
    minute.baseline.add(poll.baseline);
    return tick(() => {
      minutes += 1;
      // A minute without requests has no point.
      if (minute.candidate.n > 0 && minute.baseline.n > 0) points.push([minute.candidate.ratio, minute.baseline.ratio]);
      if (points.length > 50) points.shift();
      if (points.length < 50 || minutes % 10 !== 0) return false;
      const shift = mannWhitneyShift(
        points.map(([candidate]) => candidate),
        points.map(([, baseline]) => baseline),
      );
      return shift.low > 0.25 * Math.abs(shift.estimate);
    });
  };
}
