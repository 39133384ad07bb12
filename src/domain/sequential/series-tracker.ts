import type { CounterSeries } from '../measurement.ts';
import type { Sample } from '../prometheus-functions.ts';

/** What one series grew by between two of its samples. */
export type Growth = { readonly series: CounterSeries; readonly beganMs: number; readonly atMs: number; readonly by: number };

/** A sample that lies further ahead than this was read before a clock was set back: what comes now would be taken for old. */
export const longestLeadMs = 10_000;
/** A series that was not seen for this long is forgotten. */
const forgetMs = 3_600_000;

/**
 * Counts what counters grow by, each sample once, whenever it comes: it remembers up to where each series was counted. A counter that fell began anew from 0.
 * A series that appears counts from 0 when its process was read before without it (the first failure of a version); that of a process that is new here
 * counts from its first sample on, since nobody knows how old that process is.
 */
export class SeriesTracker {
  readonly #positions = new Map<string, Sample>();

  /** @param all samples of some past, also such as were counted before. @returns growth in no order */
  take(all: Iterable<CounterSeries>, nowMs: number): readonly Growth[] {
    for (const [key, { atMs }] of this.#positions) if (nowMs - atMs > forgetMs || atMs - nowMs > longestLeadMs) this.#positions.delete(key);
    const series = [...all].map((one) => upTo(one, nowMs + longestLeadMs));
    // Asked for new series only, and mostly there are none.
    const hasNew = series.some(({ key }) => !this.#positions.has(key));
    const continuing: ReadonlyMap<string, ReadonlyMap<number, number>> = hasNew ? this.#continuing(series) : new Map();
    const grown: Growth[] = [];
    for (const one of series) {
      let last = this.#positions.get(one.key) ?? null;
      for (const [index, point] of one.points.entries()) {
        if (last !== null && point.atMs <= last.atMs) continue;
        if (last !== null)
          grown.push({ series: one, beganMs: last.atMs, atMs: point.atMs, by: point.value >= last.value ? point.value - last.value : point.value });
        else if (index === 0) {
          const beganMs = one.target === null ? undefined : continuing.get(one.target)?.get(point.atMs);
          if (beganMs !== undefined) grown.push({ series: one, beganMs, atMs: point.atMs, by: point.value });
        }
        last = point;
      }
      if (last !== null) this.#positions.set(one.key, last);
    }
    return grown;
  }

  /**
   * Per target the instants at which a series of it went on, with the sample before: then the process had been read without the series that is new now.
   * When all its series are new at once, they may be old ones under new labels.
   */
  #continuing(series: readonly CounterSeries[]): ReadonlyMap<string, ReadonlyMap<number, number>> {
    const found = new Map<string, Map<number, number>>();
    for (const { key, target, points } of series) {
      if (target === null) continue;
      let before = this.#positions.get(key)?.atMs ?? null;
      let instants = found.get(target);
      if (instants === undefined) found.set(target, (instants = new Map()));
      for (const { atMs } of points) {
        if (before !== null && atMs > before) instants.set(atMs, Math.max(before, instants.get(atMs) ?? before));
        before = before === null ? atMs : Math.max(before, atMs);
      }
    }
    return found;
  }
}

function upTo(series: CounterSeries, latestMs: number): CounterSeries {
  const isWhole = (series.points.at(-1)?.atMs ?? latestMs) <= latestMs;
  return isWhole ? series : { ...series, points: series.points.filter(({ atMs }) => atMs <= latestMs) };
}
