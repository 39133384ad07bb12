/** Quantile of the normal distribution at 99 %: both sides of an interval of 98 %. */
const z = 2.326_347_874;

/**
 * How much larger the first sample is (Hodges-Lehmann: the median of all differences), with the lower end of the interval of 98 % by the
 * normal approximation of the rank sum, as for Kayenta's classifier.
 * @param first,second at least one value each, in any order
 */
export function mannWhitneyShift(first: readonly number[], second: readonly number[]): { estimate: number; low: number } {
  const differences = new Float64Array(first.length * second.length);
  let at = 0;
  for (const x of first)
    for (const y of second) {
      differences[at] = x - y;
      at += 1;
    }
  differences.sort();
  const size = differences.length;
  const spread = Math.sqrt((size * (first.length + second.length + 1)) / 12);
  const low = Math.max(0, Math.round(size / 2 - z * spread));
  const middle = size / 2;
  const estimate = size % 2 === 0 ? ((differences[middle - 1] ?? 0) + (differences[middle] ?? 0)) / 2 : (differences[Math.floor(middle)] ?? 0);
  return { estimate, low: differences[low] ?? 0 };
}
