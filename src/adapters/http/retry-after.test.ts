import { describe, expect, it } from 'vitest';
import { parseRetryAfter } from './retry-after.ts';

const nowMs = Date.parse('2026-11-22T12:00:00Z');

describe('parseRetryAfter', () => {
  it.each([
    ['seconds', '30', 30_000],
    ['zero', '0', 0],
    ['decimal seconds', '0.25', 250],
    ['seconds with space around', ' 7 ', 7_000],
    ['an HTTP date', 'Sun, 22 Nov 2026 12:01:30 GMT', 90_000],
    ['a date that has passed', 'Sun, 22 Nov 2026 11:00:00 GMT', 0],
    ['more than an hour as an hour', '86400', 3_600_000],
    ['more digits than a number has as an hour', '9'.repeat(400), 3_600_000],
    ['a date next year as in an hour', 'Sun, 21 Nov 2027 12:00:00 GMT', 3_600_000],
    ['nothing', undefined, null],
    ['an empty text', '', null],
    ['a negative number', '-5', null],
    ['words', 'soon, please', null],
    ['an ISO date', '2026-11-22T12:01:30Z', null],
  ])('reads %s', (_name, value, expected) => {
    expect(parseRetryAfter(value, nowMs)).toBe(expected);
  });
});
