import { randomBeta, randomBinomial, randomPoisson } from 'd3-random';
import { uniformFloat64 } from 'pure-rand/distribution/uniformFloat64';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';

/** One poll of one version: requests, and the bad ones of them. */
export type Counts = { readonly n: number; readonly k: number };
/** One poll of the candidate and of the version beside it. */
export type Poll = Counts & { readonly baseline: Counts };

/** Seconds between polls, everywhere. */
export const pollSeconds = 5;
/** The baseline's requests for one of the candidate. */
const baselineShare = 9;
const daySeconds = 86_400;

export type Traffic = {
  /** Requests a second to the candidate, on average over a day. */
  readonly rps: number;
  /** Correlation between the requests of a poll (beta-binomial); 0 is independent. */
  readonly rho: number;
  /** Load swings by 80 % around its mean over a day. */
  readonly isDiurnal?: boolean;
  /** Twelve minutes a day, spread by chance, in which a fifth of all requests to every version fail. */
  readonly hasOutages?: boolean;
};

/**
 * A stream of polls, given by its seed.
 * @param rateAt probability that a request of the candidate is bad, at a second since the beginning
 * @param baseRate the same of the baseline, for ever
 */
export function stream(seed: number, traffic: Traffic, rateAt: (second: number) => number, baseRate: number): () => Poll {
  const generator = xoroshiro128plus(seed);
  const random = (): number => uniformFloat64(generator);
  // Requests come by chance too, but for a large number that chance is nothing beside that of the errors.
  const poisson = randomPoisson.source(random);
  const binomial = randomBinomial.source(random);
  const beta = randomBeta.source(random);
  let second = 0;
  let outageUntil = -1;

  const counts = (mean: number, rate: number): Counts => {
    const n = mean < 200 ? poisson(mean)() : Math.round(mean);
    if (n === 0 || rate <= 0) return { n, k: 0 };
    const s = 1 / traffic.rho - 1;
    const p = traffic.rho > 0 && n > 1 ? beta(s * rate, s * (1 - rate))() : rate;
    return { n, k: p >= 1 ? n : binomial(n, p)() };
  };
  return () => {
    const swing = traffic.isDiurnal === true ? 1 + 0.8 * Math.sin((2 * Math.PI * second) / daySeconds) : 1;
    if (traffic.hasOutages === true && second > outageUntil && random() < (12 * pollSeconds) / daySeconds) outageUntil = second + 60;
    const added = second <= outageUntil ? 0.2 : 0;
    const mean = traffic.rps * pollSeconds * swing;
    const rate = rateAt(second);
    const poll = counts(mean, rate + added * (1 - rate));
    const baseline = counts(mean * baselineShare, baseRate + added * (1 - baseRate));
    second += pollSeconds;
    return { ...poll, baseline };
  };
}
