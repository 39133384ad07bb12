/** One scraped value. */
export type Sample = { readonly atMs: number; readonly value: number };

/**
 * Growth of a counter over `(rangeStartMs, rangeEndMs]`, as Prometheus 3 computes `increase`: resets are added up, and the growth
 * seen between the first and the last sample is stretched to the edges of the range, but by no more than half a sample distance
 * where the series seems to begin or end inside it, and never to before the counter was 0.
 *
 * Prometheus 2 differs in two places: its range holds its left edge too, and it compares the zero point before it shortens the
 * stretch to half a sample distance.
 * @param samples of one series in time order; those outside the range are not counted
 * @returns `null` with fewer than two samples in the range
 * @see https://prometheus.io/docs/prometheus/latest/querying/functions/#increase
 */
export function extrapolatedIncrease(samples: readonly Sample[], rangeStartMs: number, rangeEndMs: number): number | null {
  let first: Sample | null = null;
  let last: Sample | null = null;
  let count = 0;
  let resets = 0;
  for (const sample of samples) {
    if (sample.atMs <= rangeStartMs || sample.atMs > rangeEndMs) continue;
    if (last !== null && sample.value < last.value) resets += last.value;
    first ??= sample;
    last = sample;
    count += 1;
  }
  if (first === null || last === null || count < 2) return null;

  const growth = last.value - first.value + resets;
  const sampled = (last.atMs - first.atMs) / 1000;
  const distance = sampled / (count - 1);
  const closeEnough = distance * 1.1;
  let toStart = (first.atMs - rangeStartMs) / 1000;
  let toEnd = (rangeEndMs - last.atMs) / 1000;
  if (toStart >= closeEnough) toStart = distance / 2;
  if (toEnd >= closeEnough) toEnd = distance / 2;
  if (growth > 0 && first.value >= 0) toStart = Math.min(toStart, sampled * (first.value / growth));
  return growth * ((sampled + toStart + toEnd) / sampled);
}

/** Relative difference between neighbouring buckets that counts as rounding, as in Prometheus. */
const roundingTolerance = 1e-12;
const smallestNormal = 2 ** -1022;

/**
 * Quantile of a classic histogram, as Prometheus 3 computes `histogram_quantile`: linear inside the bucket; the lowest bucket
 * starts at 0 when its bound is positive; a quantile in the `+Inf` bucket is the highest finite bound; counts that fall from one
 * bucket to the next are levelled.
 * @param q 0..1; below −Infinity, above +Infinity, NaN stays NaN
 * @param buckets upper bound → cumulative count
 * @returns NaN without observations, without a `+Infinity` bucket, or with that bucket alone
 * @see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile
 */
export function histogramQuantile(q: number, buckets: ReadonlyMap<number, number>): number {
  if (Number.isNaN(q)) return Number.NaN;
  if (q < 0) return -Infinity;
  if (q > 1) return Infinity;
  const bounds = [...buckets.keys()].toSorted((a, b) => a - b);
  const lastIndex = bounds.length - 1;
  if (lastIndex < 1 || bounds[lastIndex] !== Infinity) return Number.NaN;
  const counts = levelled(bounds.map((bound) => buckets.get(bound) ?? Number.NaN));
  const observations = counts[lastIndex] ?? Number.NaN;
  if (observations === 0 || Number.isNaN(observations)) return Number.NaN;

  const rank = q * observations;
  const found = counts.findIndex((count) => count >= rank);
  const index = found === -1 ? lastIndex : found;
  if (index === lastIndex) return bounds[lastIndex - 1] ?? Number.NaN;
  const end = bounds[index] ?? Number.NaN;
  if (index === 0 && end <= 0) return end;
  const start = index === 0 ? 0 : (bounds[index - 1] ?? Number.NaN);
  const below = index === 0 ? 0 : (counts[index - 1] ?? Number.NaN);
  return start + (end - start) * ((rank - below) / ((counts[index] ?? Number.NaN) - below));
}

/** Buckets scraped or summed at different instants may fall where they must rise: then the last accepted count stands. */
function levelled(counts: readonly number[]): number[] {
  let accepted = counts[0] ?? Number.NaN;
  return counts.map((count) => {
    if (count > accepted && !nearlyEqual(accepted, count)) accepted = count;
    return accepted;
  });
}

function nearlyEqual(a: number, b: number): boolean {
  if (a === b) return true;
  const sum = Math.abs(a) + Math.abs(b);
  const difference = Math.abs(a - b);
  if (a === 0 || b === 0 || sum < smallestNormal) return difference < roundingTolerance * smallestNormal;
  return difference / Math.min(sum, Number.MAX_VALUE) < roundingTolerance;
}
