import { formatDuration } from '../duration.ts';
import type { Measurement, SequentialReading } from '../measurement.ts';
import type { BaselineLimit, Rule, SequentialCondition } from '../rule.ts';
import { allowedShare, beliefMs } from '../sequential/version-watch.ts';
import { count, percent, seconds, spell, trimNumber } from '../words.ts';
import { type FindContext, type Finding, noData, staleness } from './finding.ts';

type Shown = { readonly n: number; readonly k: number };

/** What the detector says of a version that it follows. Missing and old numbers are no data, whatever was said before. */
export function findSequential(condition: SequentialCondition, measurement: Measurement, context: FindContext & { readonly forMs: number }): Finding {
  const reading = measurement.sequential;
  const threshold = allowedShare(condition) || null;
  if (reading === undefined) return noData('no sample of this version in the window', null, threshold);
  const stale = staleness(reading.newestMs, beliefMs(reading.pollMs), context.nowMs);
  if (stale !== null) return noData(stale, reading.recent.n, threshold);
  if (condition.of.kind === 'latency' && (reading.boundSeconds === null || condition.of.quantile >= 1))
    return noData(whyNoBound(condition), reading.recent.n, threshold);
  if (condition.limit.op === 'above_baseline' && reading.baseline === null) {
    const why = context.isKnownGood === true ? 'it is the baseline itself' : 'no other version has traffic to compare it with';
    return { ...noData(`${share(condition, reading, reading.recent)}: ${why}`, reading.recent.n, null), isMoot: true };
  }
  const isBad = reading.standing === 'breach' || reading.standing === 'hot';
  const since = { n: reading.requests, k: reading.bad };
  return isBad ? findBad(condition, reading, since, context) : findCalm(condition, reading);
}

function findBad(condition: SequentialCondition, reading: SequentialReading, since: Shown, { forMs }: { readonly forMs: number }): Finding {
  const fields = fieldsOf(condition, reading, since, true);
  // A breach lasts until the evidence has fallen far enough: then it is said what it was.
  const needed = `${reading.evidence >= 1 ? '≥' : 'now, was ≥'} ${oneDigit(-Math.log(condition.alpha))}`;
  const evidence = `evidence ${nats(reading.evidence, condition.alpha)} ${needed} (${rarity(condition, reading.sharers)})`;
  const words = `${share(condition, reading, since)} since ${clock(reading.sinceMs)} > ${spellAllowed(condition, reading)}: ${evidence}`;
  if (reading.standing === 'hot' && reading.heldBy === 'min_requests') {
    const seen = `, but fewer requests than min_requests: ${condition.minRequests} were counted`;
    return { ...fields, kind: 'no_data', words: words + seen, value: null };
  }
  const isWaiting = reading.waitsFor !== null;
  const waits = isWaiting ? `; waits for the counts of version ${reading.waitsFor} of the same seconds` : '';
  const age = forMs > 0 ? `, for: ${formatDuration(forMs)}` : '';
  const others = reading.others.filter(({ n }) => n > 0);
  return {
    ...fields,
    kind: 'breaching',
    words: words + age + waits,
    isDue: reading.standing === 'breach' && !isWaiting,
    ...(reading.sinceMs === null ? {} : { countedSinceMs: reading.sinceMs }),
    ...(others.length === 0
      ? {}
      : { others: others.map((other) => ({ version: other.version, isAlike: other.isAlike, words: share(condition, reading, other) })) }),
  };
}

function findCalm(condition: SequentialCondition, reading: SequentialReading): Finding {
  const { recent } = reading;
  const over = ` over ${spell(recent.seconds * 1000)}`;
  const allowed = spellAllowed(condition, reading);
  const needed = oneDigit(-Math.log(okAlpha));
  const health = nats(reading.okEvidence, okAlpha);
  if (recent.n <= 0) return noData('no requests were counted', 0, allowedShare(condition) || null);
  const fields = fieldsOf(condition, reading, recent, false);
  const shown = `${share(condition, reading, recent)}${over}`;
  if (reading.standing === 'ok') return { ...fields, kind: 'ok', words: `${shown}, within ${allowed}: evidence for it ${health}, needed ${needed}` };
  if (reading.heldBy === 'limit' && condition.healthy !== null) {
    const between = `${shown}: above healthy: ${percent(condition.healthy)}, but since ${clock(reading.sinceMs)} not above ${allowed}`;
    return { ...fields, kind: 'no_data', words: between, isUndecided: true };
  }
  const bad = `${nats(reading.evidence, condition.alpha)} of ${oneDigit(-Math.log(condition.alpha))}`;
  const words = `${shown}: undecided against ${allowed}: evidence for a breach ${bad}, for health ${health} of ${needed}`;
  return { ...fields, kind: 'no_data', words, isUndecided: true };
}

/** Probability of saying `ok` of a version at the limit, as the detector has it. */
const okAlpha = 0.05;

function fieldsOf(condition: SequentialCondition, reading: SequentialReading, shown: Shown, withBaseline: boolean) {
  const { baseline } = reading;
  return {
    value: shown.n > 0 ? shown.k / shown.n : null,
    threshold: allowed(condition, reading),
    requests: shown.n,
    ...(withBaseline && baseline !== null && baseline.n > 0 ? { baseline: { version: baseline.version, value: baseline.k / baseline.n } } : {}),
  };
}

/** `error ratio 10.2% (61 of 598)`, `slower than 250ms: 4.1% (25 of 610)` */
function share({ of }: SequentialCondition, { boundSeconds }: SequentialReading, { n, k }: Shown): string {
  const what = of.kind === 'error_ratio' ? 'error ratio' : `slower than ${seconds(boundSeconds ?? 0)}:`;
  return n > 0 ? `${what} ${percent(Math.min(1, k / n))} (${count(k)} of ${count(n)})` : `${what} no requests`;
}

function allowed(condition: SequentialCondition, reading: SequentialReading): number {
  const { of, limit, severe } = condition;
  if (limit.op !== 'above_baseline') return reading.isSevere && severe !== null ? severe.above : allowedShare(condition);
  const other = rateOf(reading.baseline);
  return of.kind === 'latency' ? Math.max(other, 1 - of.quantile) : Math.max(limit.times * other + limit.byAtLeast, limit.andAbove);
}

function rateOf(shown: Shown | null): number {
  return shown === null || shown.n <= 0 ? 0 : shown.k / shown.n;
}

function spellAllowed(condition: SequentialCondition, reading: SequentialReading): string {
  const { of, limit } = condition;
  const least = percent(allowed(condition, reading));
  if (limit.op === 'above_baseline') return spellBaseline(condition, limit, reading);
  const quantile = of.kind === 'latency' ? ` (p${trimNumber(of.quantile * 100)})` : '';
  return `${least}${quantile}${reading.isSevere ? ' (severe)' : ''}`;
}

function spellBaseline({ of }: SequentialCondition, limit: BaselineLimit, { baseline }: SequentialReading): string {
  const other =
    baseline === null ? 'no baseline' : `${percent(rateOf(baseline))} (${count(baseline.k)} of ${count(baseline.n)}) of version ${baseline.version}`;
  if (of.kind === 'latency') return `${other}, at least ${percent(1 - of.quantile)} (p${trimNumber(of.quantile * 100)})`;
  const times = limit.times === 1 ? '' : `${trimNumber(limit.times)} × `;
  const more = limit.byAtLeast > 0 ? ` + ${percent(limit.byAtLeast)}` : '';
  const sum = limit.times * rateOf(baseline) + limit.byAtLeast;
  const total = times === '' && more === '' ? '' : ` = ${percent(sum)}`;
  return `${times}${other}${more}${total}${limit.andAbove > sum ? `, at least ${percent(limit.andAbove)}` : ''}`;
}

function whyNoBound({ of, limit }: SequentialCondition): string {
  if (of.kind === 'latency' && limit.op === 'above')
    return `${seconds(limit.value)} lies at or above the highest finite bucket of the histogram, so nothing can be counted as slower`;
  return 'at which bound to compare is not known yet: the baseline has too few requests, or no bucket at or above what the rule allows';
}

/** Evidence in nats: from the probability that was allowed up to certainty that it is spent. */
function nats(evidence: number, alpha: number): string {
  return oneDigit(Math.max(0, Math.log(evidence / alpha)));
}

function oneDigit(value: number): string {
  return String(Number(value.toFixed(1)));
}

function rarity({ alpha, perMs }: SequentialCondition, sharers: number): string {
  const days = perMs / alpha / 86_400_000;
  const often = days >= 1 ? `${trimNumber(days)} ${days === 1 ? 'day' : 'days'}` : spell(perMs / alpha);
  return `1 false alarm in ${often}${sharers > 1 ? `, shared by ${sharers} rules` : ''}`;
}

/** `10:02:11`, UTC. */
function clock(atMs: number | null): string {
  return atMs === null ? 'the beginning' : new Date(atMs).toISOString().slice(11, 19);
}

/** Whether the rule is judged by a detector. */
export function isSequential(rule: Rule): rule is Rule & { readonly condition: SequentialCondition } {
  return rule.condition.kind === 'sequential';
}
