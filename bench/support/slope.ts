export type Slope = {
  /** Growth of y per unit of x. */
  readonly perUnit: number;
  /** Standard error of it; it takes the residuals for independent. */
  readonly error: number;
};

/** The line of least squares through the points; NaN of fewer than three. */
export function slopeOf(points: readonly (readonly [x: number, y: number])[]): Slope {
  const n = points.length;
  if (n < 3) return { perUnit: Number.NaN, error: Number.NaN };
  const meanX = sum(points.map(([x]) => x)) / n;
  const meanY = sum(points.map(([, y]) => y)) / n;
  const spread = sum(points.map(([x]) => (x - meanX) ** 2));
  const perUnit = sum(points.map(([x, y]) => (x - meanX) * (y - meanY))) / spread;
  const residuals = sum(points.map(([x, y]) => (y - meanY - perUnit * (x - meanX)) ** 2));
  return { perUnit, error: Math.sqrt(residuals / (n - 2) / spread) };
}

/** Whether it grows by more than `bound` beyond doubt: also two standard errors below the slope. */
export function isClearlyAbove({ perUnit, error }: Slope, bound: number): boolean {
  return perUnit - 2 * error > bound;
}

export function slopeText({ perUnit, error }: Slope, digits = 2): string {
  return `${perUnit < 0 ? '' : '+'}${perUnit.toFixed(digits)} ± ${error.toFixed(digits)}`;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
