/** Nats of information per request about that the rate is `p` and not `q` (Kullback-Leibler); 0..1 both, `q` strictly between. */
export function divergence(p: number, q: number): number {
  const term = (a: number, b: number): number => (a === 0 ? 0 : a * Math.log(a / b));
  return term(p, q) + term(1 - p, 1 - q);
}
