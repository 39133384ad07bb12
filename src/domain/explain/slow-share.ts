/**
 * Share of requests slower than a limit, as a histogram shows it: those above the smallest bound at or above the limit are certain.
 * @param buckets upper bound in seconds → cumulative count, ends in +Infinity
 * @returns 0..1; `null` without requests
 */
export function shareSlowerThan(buckets: ReadonlyMap<number, number>, limitSeconds: number): number | null {
  const bounds = [...buckets.keys()].toSorted((a, b) => a - b);
  const total = buckets.get(Number.POSITIVE_INFINITY) ?? 0;
  if (!(total > 0)) return null;
  const bound = bounds.find((candidate) => candidate >= limitSeconds) ?? Number.POSITIVE_INFINITY;
  return Math.max(0, 1 - (buckets.get(bound) ?? total) / total);
}
