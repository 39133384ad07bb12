import { divergence } from '../../src/domain/detect/divergence.ts';
import { pollSeconds } from './streams.ts';

export type Bound = { readonly requests: number; readonly seconds: number };

/**
 * The mean number of requests below which no test with `alpha` false alarms a day can be: Wald's for a version that is bad from its first
 * request, Lorden's for a change at an unknown time, where a day has so many separate chances as it has polls, or nats at the limit.
 */
export function bound(limit: number, rate: number, rps: number, alpha: number, isFromStart: boolean): Bound {
  const information = divergence(rate, limit);
  const chances = Math.min(86_400 / pollSeconds, rps * 86_400 * divergence(limit, rate));
  const nats = isFromStart ? Math.log(1 / alpha) : Math.log(Math.max(1, chances) / alpha);
  const requests = nats / information;
  return { requests, seconds: requests / rps };
}
