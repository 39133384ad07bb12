import { lookUp } from '../../../domain/lookup.ts';
import type { Question } from '../../../domain/measurement.ts';
import { extrapolatedIncrease, type Sample } from '../../../domain/prometheus-functions.ts';
import { type Labels, labelsKey } from '../answer-builder.ts';
import { fitsAll, type LabelTest, withoutEmpty } from './matching.ts';
import type { SeriesRing, SeriesStore } from './series-store.ts';

/** How far back an instant selector looks, as Prometheus does unless told otherwise. */
export const lookbackMs = 300_000;

/**
 * What PromQL gives for the question over the stored series: `sum by (version, le) (increase(…[window]))`,
 * `max by (version) (timestamp(…))` in seconds, or `avg by (version) (…)`.
 * @param tests the question's matchers, compiled
 */
export function evaluate(
  store: SeriesStore,
  question: Question,
  tests: readonly LabelTest[],
  atMs: number,
): Iterable<{ readonly labels: Labels; readonly value: number }> {
  const groups = new Map<string, { labels: Labels; value: number; series: number }>();
  const by = [...(question.versionLabel === null ? [] : [question.versionLabel]), ...(question.kind === 'buckets' ? ['le'] : [])];
  for (const ring of store.of(question.metric)) {
    if (!fitsAll(tests, ring.labels)) continue;
    const value = valueOf(question, ring, atMs);
    if (value === null) continue;
    const labels = withoutEmpty(Object.fromEntries(by.map((label) => [label, lookUp(ring.labels, label) ?? ''])));
    const key = labelsKey(labels);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { labels, value, series: 1 });
    else {
      group.value = question.kind === 'newest' ? Math.max(group.value, value) : group.value + value;
      group.series += 1;
    }
  }
  if (question.kind === 'gauge') for (const group of groups.values()) group.value /= group.series;
  return groups.values();
}

/** The samples of every selected series in the question's window, series without any left out. */
export function* rawSamples(
  store: SeriesStore,
  { metric, windowMs }: Question,
  tests: readonly LabelTest[],
  atMs: number,
): Generator<{ readonly labels: Labels; readonly points: readonly Sample[] }> {
  for (const ring of store.of(metric)) {
    if (!fitsAll(tests, ring.labels)) continue;
    const points = ring.samples(atMs - windowMs, atMs);
    if (points.length > 0) yield { labels: { __name__: metric, ...ring.labels }, points };
  }
}

function valueOf({ kind, windowMs }: Question, ring: SeriesRing, atMs: number): number | null {
  if (kind !== 'newest' && kind !== 'gauge') return extrapolatedIncrease(ring.samples(atMs - windowMs, atMs), atMs - windowMs, atMs);
  const timeMs = ring.instantMs(atMs, lookbackMs);
  if (timeMs === null) return null;
  return kind === 'newest' ? timeMs / 1000 : (ring.samples(timeMs - 1, timeMs).at(-1)?.value ?? null);
}
