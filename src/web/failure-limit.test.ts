import { describe, expect, it } from 'vitest';
import { FailureLimit } from './failure-limit.ts';

const aLimit = () => new FailureLimit({ limit: 2, windowMs: 60_000, maxKeys: 3 });

describe('FailureLimit', () => {
  it('refuses from the limit on, until its window ends', () => {
    const limit = aLimit();
    limit.begin('a', 1_000);
    limit.begin('a', 2_000);

    expect(limit.begin('a', 31_000)).toEqual({ retryAfterMs: 30_000 });
    expect(limit.begin('b', 31_000)).toHaveProperty('succeeded');
    expect(limit.begin('a', 61_000)).toHaveProperty('succeeded');
  });

  it('takes off what succeeded, in the window it began in', () => {
    const limit = aLimit();
    const early = limit.begin('a', 0);
    limit.begin('a', 60_000);
    limit.begin('a', 60_001);
    if ('succeeded' in early) early.succeeded();

    expect(limit.begin('a', 60_002)).toHaveProperty('retryAfterMs');
  });

  it('keeps so many keys only, the oldest go', () => {
    const limit = aLimit();
    for (const key of ['a', 'a', 'b', 'b', 'c', 'c', 'd']) limit.begin(key, 0);

    expect(limit.begin('a', 1)).toHaveProperty('succeeded');
    expect(limit.begin('c', 1)).toHaveProperty('retryAfterMs');
  });
});
