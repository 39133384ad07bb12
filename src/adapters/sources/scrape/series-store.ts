import type { Sample } from '../../../domain/prometheus-functions.ts';
import type { Labels } from '../answer-builder.ts';

/** Samples of one series in time order, old ones overwritten; grows only as far as its retention needs. */
export class SeriesRing {
  readonly labels: Labels;
  #times = new Float64Array(8);
  #values = new Float64Array(8);
  /** 1 where the series was seen to be gone. */
  #stale = new Uint8Array(8);
  #first = 0;
  #length = 0;

  constructor(labels: Labels) {
    this.labels = labels;
  }

  /** Times must rise; a sample at or before the newest is dropped, as Prometheus does. */
  append(atMs: number, value: number, stale: boolean): void {
    if (this.#length > 0 && atMs <= this.newestMs) return;
    if (this.#length === this.#times.length) this.#grow();
    const index = (this.#first + this.#length) % this.#times.length;
    this.#times[index] = atMs;
    this.#values[index] = value;
    this.#stale[index] = stale ? 1 : 0;
    this.#length += 1;
  }

  /** Time of the newest entry, a staleness mark too; -Infinity when there is none. */
  get newestMs(): number {
    return this.#length === 0 ? -Infinity : this.#timeAt(this.#length - 1);
  }

  get length(): number {
    return this.#length;
  }

  dropBefore(atMs: number): void {
    while (this.#length > 0 && this.#timeAt(0) < atMs) {
      this.#first = (this.#first + 1) % this.#times.length;
      this.#length -= 1;
    }
  }

  /** Samples in `(fromMs, toMs]`, staleness marks left out. */
  samples(fromMs: number, toMs: number): Sample[] {
    const found: Sample[] = [];
    for (let position = 0; position < this.#length; position += 1) {
      const atMs = this.#timeAt(position);
      if (atMs <= fromMs) continue;
      if (atMs > toMs) break;
      const index = this.#index(position);
      if (this.#stale[index] === 0) found.push({ atMs, value: this.#values[index] ?? Number.NaN });
    }
    return found;
  }

  /** Time of the sample an instant selector sees at `atMs`, `null` when it is gone or older than `lookbackMs`. */
  instantMs(atMs: number, lookbackMs: number): number | null {
    for (let position = this.#length - 1; position >= 0; position -= 1) {
      const timeMs = this.#timeAt(position);
      if (timeMs > atMs) continue;
      return timeMs <= atMs - lookbackMs || this.#stale[this.#index(position)] === 1 ? null : timeMs;
    }
    return null;
  }

  #timeAt(position: number): number {
    return this.#times[this.#index(position)] ?? Number.NaN;
  }

  #index(position: number): number {
    return (this.#first + position) % this.#times.length;
  }

  #grow(): void {
    const times = new Float64Array(this.#times.length * 2);
    const values = new Float64Array(times.length);
    const stale = new Uint8Array(times.length);
    for (let position = 0; position < this.#length; position += 1) {
      const index = this.#index(position);
      times[position] = this.#times[index] ?? 0;
      values[position] = this.#values[index] ?? 0;
      stale[position] = this.#stale[index] ?? 0;
    }
    this.#times = times;
    this.#values = values;
    this.#stale = stale;
    this.#first = 0;
  }
}

/** Series by metric name and labels. */
export class SeriesStore {
  readonly #byMetric = new Map<string, Map<string, SeriesRing>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  find(metric: string, key: string): SeriesRing | undefined {
    return this.#byMetric.get(metric)?.get(key);
  }

  add(metric: string, key: string, labels: Labels): SeriesRing {
    let series = this.#byMetric.get(metric);
    if (series === undefined) this.#byMetric.set(metric, (series = new Map()));
    const ring = new SeriesRing(labels);
    series.set(key, ring);
    this.#size += 1;
    return ring;
  }

  clear(): void {
    this.#byMetric.clear();
    this.#size = 0;
  }

  of(metric: string): Iterable<SeriesRing> {
    return this.#byMetric.get(metric)?.values() ?? [];
  }

  /** Forgets samples older than `keepMs(metric)` before `nowMs`, and series without any. */
  expire(nowMs: number, keepMs: (metric: string) => number): void {
    for (const [metric, series] of this.#byMetric) {
      const beforeMs = nowMs - keepMs(metric);
      for (const [key, ring] of series) {
        ring.dropBefore(beforeMs);
        if (ring.length > 0) continue;
        series.delete(key);
        this.#size -= 1;
      }
    }
  }
}
