import { lgamma } from '../detect/lgamma.ts';

/**
 * Probability that more than `k` of `n` independent requests are bad.
 * @param n,k need not be whole
 * @param p 0..1
 */
export function binomialTail(n: number, k: number, p: number): number {
  const first = Math.floor(k + 1e-9) + 1;
  const all = Math.round(n);
  if (first > all || p <= 0) return 0;
  if (p >= 1 || first <= 0) return 1;
  const logChoose = lgamma(all + 1) - lgamma(first + 1) - lgamma(all - first + 1);
  let term = Math.exp(logChoose + first * Math.log(p) + (all - first) * Math.log1p(-p));
  let sum = 0;
  for (let i = first; i <= all; i += 1) {
    sum += term;
    const next = (term * (all - i) * p) / ((i + 1) * (1 - p));
    // Behind the mean the terms fall for good.
    if (i > n * p && next < sum * 1e-12) break;
    term = next;
  }
  return Math.min(1, sum);
}
