import { divergence } from '../detect/divergence.ts';
import { formatDuration } from '../duration.ts';
import { type Condition, longestWindowMs, partsOf, type Rule, type SequentialCondition } from '../rule.ts';
import { allowedShare } from '../sequential/version-watch.ts';
import { count, percent, spell, trimNumber } from '../words.ts';
import { binomialTail } from './binomial-tail.ts';

const yearMs = 365 * 86_400_000;

/** What is known of a model's present traffic. */
export type Traffic = {
  /** Requests a second of the version in service; `null`: not known. */
  readonly requestsPerSecond: number | null;
  /** Share of them that is bad in the rule's sense, 0..1; `null`: not known, taken as 0. */
  readonly badShare: number | null;
};

/** How often the rule is looked at, and how old its numbers are then. */
export type Pace = { readonly intervalMs: number; readonly scrapeMs: number };

/** When a degradation is seen: of this size, so long after it began; `null`: never, or not known. */
export type Delay = { readonly of: string; readonly afterMs: number | null };

export type Explanation = {
  /** What it needs to say anything, and whether the present traffic gives that. */
  readonly needs: string;
  /** Enough for a verdict at the present traffic; `null`: traffic not known. */
  readonly isFed: boolean | null;
  /** From a large degradation to one that only just breaches. */
  readonly delays: readonly Delay[];
  /** Of a version that stays as it is now; `null`: cannot be said. */
  readonly falseAlarmsPerYear: number | null;
  /** What these numbers rest on. */
  readonly because: string;
};

/**
 * What a rule can see, how soon, and how often it errs, at a given traffic. Delays are from the first bad request to the breach; the switch itself
 * comes on top.
 * @param sharers acting sequential rules of the model: they share the false alarms that each may make
 */
export function explainRule(rule: Rule, pace: Pace, traffic: Traffic, sharers = 1): Explanation {
  return explain(rule.condition, { ...pace, forMs: rule.forMs, sharers }, traffic);
}

type RulePace = Pace & { readonly forMs: number; readonly sharers: number };

function explain(condition: Condition, pace: RulePace, traffic: Traffic): Explanation {
  switch (condition.kind) {
    case 'error_ratio':
      return condition.limit.op === 'above_baseline'
        ? windowed({ ...condition, limit: null }, pace, traffic)
        : windowed({ ...condition, limit: condition.limit.value }, pace, traffic);
    case 'latency':
      // «The quantile is above the limit» says that more than 1 - quantile of the requests are slower than it.
      return windowed({ ...condition, limit: condition.limit.op === 'above_baseline' ? null : 1 - condition.quantile }, pace, traffic);
    case 'sequential':
      return sequential(condition, pace, traffic);
    case 'all':
    case 'any':
    case 'burn_rate':
      return composed(condition, pace, traffic);
    case 'request_rate':
    case 'expr':
    case 'quality':
      return unknowable(condition, pace);
  }
}

type Windowed = { readonly windowMs: number; readonly limit: number | null; readonly minRequests: number };

/** A share over a window grows as bad requests fill it. */
function windowed({ windowMs, limit, minRequests }: Windowed, pace: RulePace, traffic: Traffic): Explanation {
  const { requestsPerSecond: rps } = traffic;
  const needed = minRequests / (windowMs / 1000);
  const isFed = rps === null ? null : rps >= needed;
  const now = rps === null ? '' : `; now ${trimNumber(rps)} a second${isFed === false ? ': too few, the verdict stays no_data' : ''}`;
  const needs = `${count(minRequests)} requests in ${formatDuration(windowMs)} (${trimNumber(needed)} a second)${now}`;
  const healthy = limit === null ? 0 : Math.min(traffic.badShare ?? 0, limit);
  const filled = (share: number): number => (limit === null ? windowMs : (windowMs * (limit - healthy)) / (share - healthy));
  const after = (windowPartMs: number): number | null => (isFed === false ? null : windowPartMs + roundUp(pace.forMs, pace.intervalMs) + lag(pace));
  const delays: Delay[] = [
    ...(limit === null
      ? []
      : [
          { of: 'every request bad', afterMs: after(filled(1)) },
          ...(2 * limit < 1 ? [{ of: `twice the limit (${percent(2 * limit)})`, afterMs: after(filled(2 * limit)) }] : []),
        ]),
    { of: 'just above the limit', afterMs: after(windowMs) },
  ];
  const falseAlarmsPerYear =
    limit === null || rps === null || traffic.badShare === null || isFed === false ? null : windowAlarms(limit, windowMs, pace, rps, traffic.badShare);
  return {
    needs,
    isFed,
    delays,
    falseAlarmsPerYear,
    because:
      limit === null
        ? 'the limit moves with the baseline, so only the latest time can be said'
        : 'a share over a window grows as bad requests fill it; false alarms: independent requests at the present rate, windows that do not overlap',
  };
}

/** Windows of a year, each of which may be over the limit by chance; with `for`, so many more must be over it one after another. */
function windowAlarms(limit: number, windowMs: number, pace: RulePace, rps: number, badShare: number): number {
  const n = rps * (windowMs / 1000);
  const chance = binomialTail(n, limit * n, badShare);
  return (yearMs / windowMs) * chance ** (1 + pace.forMs / windowMs);
}

/** The evidence grows by the information in each request. */
function sequential(condition: SequentialCondition, pace: RulePace, traffic: Traffic): Explanation {
  const { requestsPerSecond: rps } = traffic;
  const limit = condition.limit.op === 'above_baseline' ? null : allowedShare(condition);
  const needs = 'no least number of requests: fewer only take longer';
  const isFed = rps === null ? null : rps > 0;
  const periods = yearMs / condition.perMs;
  // The first period of a version may spend all of its budget, each later one half of it.
  const falseAlarmsPerYear = (condition.alpha / pace.sharers) * (0.5 + 0.5 * periods);
  const stated = `at the most, with the true rate at ${condition.healthy === null ? 'the limit' : percent(condition.healthy)} all year`;
  if (limit === null) {
    return {
      needs,
      isFed,
      delays: [{ of: 'just above the limit', afterMs: null }],
      falseAlarmsPerYear,
      because: `the limit moves with the baseline; false alarms ${stated}`,
    };
  }
  const shares = [1, Math.min(0.99, 4 * limit), 2 * limit, 1.2 * limit].filter(
    (share, index, all) => share > limit && share <= 1 && all.indexOf(share) === index,
  );
  const delays = shares.map((share) => ({
    of: share === 1 ? 'every request bad' : `${trimNumber(share / limit)} × the limit (${percent(share)})`,
    afterMs:
      rps === null || rps === 0
        ? null
        : Math.max(pace.forMs, (evidenceNeeded(condition, limit, rps, pace) / divergence(share, condition.healthy ?? limit) / rps) * 1000) + lag(pace),
  }));
  return {
    needs,
    isFed,
    delays,
    falseAlarmsPerYear,
    because: `mean times of the best possible test, times 1.5 for not knowing the size of the change; false alarms ${stated}`,
  };
}

/** Nats until the breach of a version that had been healthy, with what is lost by not knowing how large the change is (`bench/detection`). */
function evidenceNeeded(condition: SequentialCondition, limit: number, rps: number, pace: RulePace): number {
  const perSeconds = condition.perMs / 1000;
  const chances = Math.min(condition.perMs / pace.intervalMs, rps * perSeconds * divergence(limit, Math.min(0.999, 2 * limit)));
  return 1.5 * Math.log((Math.max(1, chances) * pace.sharers) / condition.alpha);
}

const decides = {
  all: 'the slowest of its conditions decides',
  any: 'the quickest of its conditions decides',
  burn_rate: 'the longer window of a pair decides, and the quickest pair',
} as const;

function composed(condition: Extract<Condition, { readonly kind: 'all' | 'any' | 'burn_rate' }>, pace: RulePace, traffic: Traffic): Explanation {
  const parts = partsOf(condition).map((part) => explain(part, pace, traffic));
  // Both windows of a pair must be over: the longer one decides; of several pairs the quickest.
  const groups = condition.kind === 'burn_rate' ? chunk(parts, 2) : condition.kind === 'all' ? [parts] : parts.map((part) => [part]);
  const latest = groups.map((group) => latestOf(group.map((part) => part.delays.at(-1)?.afterMs ?? null))).filter((afterMs) => afterMs !== null);
  const first = latest.length === 0 ? null : Math.min(...latest);
  const alarms = groups.map((group) => least(group.map((part) => part.falseAlarmsPerYear)));
  return {
    needs: parts.map(({ needs }) => needs).join('; '),
    isFed: parts.some(({ isFed }) => isFed === null) ? null : groups.some((group) => group.every(({ isFed }) => isFed === true)),
    delays: [{ of: 'just above its limits', afterMs: first }],
    falseAlarmsPerYear: alarms.some((value) => value === null) ? null : alarms.reduce<number>((sum, value) => sum + (value ?? 0), 0),
    because: decides[condition.kind],
  };
}

function unknowable(condition: Condition, pace: RulePace): Explanation {
  const windowMs = longestWindowMs(condition) ?? (condition.kind === 'expr' ? condition.rangeMs : 0);
  const wait = windowMs + roundUp(pace.forMs, pace.intervalMs) + lag(pace);
  const minRequests = condition.kind === 'expr' ? condition.minRequests : null;
  return {
    needs: minRequests === null ? 'samples that are not stale' : `${count(minRequests)} requests`,
    isFed: null,
    delays: [{ of: 'at the latest', afterMs: condition.kind === 'quality' && condition.of.kind === 'metric' ? null : wait }],
    falseAlarmsPerYear: null,
    because:
      condition.kind === 'quality' && condition.of.kind === 'metric'
        ? 'as soon as the registry has the number: a turn after that'
        : 'how its value moves is not known, so only the window is reckoned with',
  };
}

/** A scrape, and a turn, that have just been missed. */
function lag({ intervalMs, scrapeMs }: Pace): number {
  return intervalMs + scrapeMs;
}

function roundUp(ms: number, stepMs: number): number {
  return Math.ceil(ms / stepMs) * stepMs;
}

function chunk<T>(values: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(values.length / size) }, (_, index) => values.slice(index * size, (index + 1) * size));
}

function latestOf(values: readonly (number | null)[]): number | null {
  return values.reduce((most, value) => (most === null || value === null ? null : Math.max(most, value)), 0 as number | null);
}

function least(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : Math.min(...known);
}

/** `1m12s`, or why there is none. */
export function spellDelay({ afterMs }: Delay): string {
  return afterMs === null ? 'never or unknown' : spell(Math.round(afterMs / 1000) * 1000);
}
