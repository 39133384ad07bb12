/** Numbers between 0 and 1, the same for the same seed (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** How many of `n` happen, each with chance `p`. */
export function binomial(random: () => number, n: number, p: number): number {
  let happened = 0;
  for (let trial = 0; trial < n; trial += 1) if (random() < p) happened += 1;
  return happened;
}

/** A chance with mean `p` and correlation `rho` between what is drawn with it: a beta variate, as the share of two gamma ones. */
export function burstyChance(random: () => number, p: number, rho: number): number {
  const size = 1 / rho - 1;
  const [a, b] = [gamma(random, p * size), gamma(random, (1 - p) * size)];
  return a + b > 0 ? a / (a + b) : p;
}

/** Marsaglia and Tsang's method. */
function gamma(random: () => number, shape: number): number {
  if (shape < 1) return gamma(random, shape + 1) * Math.max(1e-300, random()) ** (1 / shape);
  const d = shape - 1 / 3;
  const c = 1 / Math.sqrt(9 * d);
  for (;;) {
    const normal = Math.sqrt(-2 * Math.log(Math.max(1e-300, random()))) * Math.cos(2 * Math.PI * random());
    const v = (1 + c * normal) ** 3;
    if (v > 0 && Math.log(Math.max(1e-300, random())) < 0.5 * normal * normal + d - d * v + d * Math.log(v)) return d * v;
  }
}
