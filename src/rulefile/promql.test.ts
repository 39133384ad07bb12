import { describe, expect, it } from 'vitest';
import { checkPromql } from './promql.ts';

describe('checkPromql', () => {
  it.each([
    'up == 0',
    'sum by (version) (rate(x{a="b", c=~"d|e"}[5m])) / ignoring (code) group_left sum(rate(y[5m])) > bool 0.1',
    'histogram_quantile(0.99, sum by (le, version) (rate(d_bucket[5m]))) > 0.25',
    'label_replace(x, "a", "$1", "b", "(.*)") > 1',
    'topk(3, x) unless on (version) y',
    '-x + 5 > 1',
    'x @ end() offset 5m > 1',
    'quantile_over_time(0.9, x[1h]) > 1 and hour() > 8',
    '{"quoted.name"} > 1',
    'vector(time()) - timestamp(x) > 60 # a comment',
    'clamp_max(x, scalar(y)) > 0',
    'round(x) > 1 or round(x, 5) > 1',
    'sort_by_label(x, "a", "b") > 1',
  ])('takes %s', (expr) => {
    expect(checkPromql(expr).faults).toEqual([]);
  });

  it.each([
    ['x > 1', 0],
    ['rate(x[5m]) > 1', 300_000],
    ['rate(x[5m] offset 10m) > 1', 900_000],
    ['x offset 10m > 1', 600_000],
    ['x offset -10m > 1', 0],
    ['max_over_time(rate(x[5m])[1h:1m]) > 1', 3_900_000],
    ['max_over_time(rate(x[5m])[1h:] offset 1d) > 1', 90_300_000],
    ['rate(x[1h30m]) > rate(x[5m])', 5_400_000],
    ['rate(x[300]) > 1', 300_000],
  ])('%s looks back %d ms', (expr, rangeMs) => {
    expect(checkPromql(expr).rangeMs).toBe(rangeMs);
  });

  it.each([
    ['x', false],
    ['x > bool 1', false],
    ['x > 1', true],
    ['sum(x > 1)', true],
  ])('sees whether %s compares', (expr, compares) => {
    expect(checkPromql(expr).compares).toBe(compares);
  });

  it.each([
    ['1 > 2', 'comparisons between scalars must use bool'],
    ['x and 1', 'and stands between two instant vectors, found a scalar'],
    ['x > "a"', 'a string cannot stand beside ">"'],
    ['topk(x)', 'topk takes two arguments, found 1'],
    ['rate(sum(x)[5m])', 'a range in [ ] needs a plain selector; write a subquery, [5m:], for anything else'],
    ['{a=~".*"} > 1', 'a selector needs a metric name or at least one matcher that does not match the empty string'],
    ['rate(x[2 * 5m]) > 1', 'expected a plain duration, such as 5m (rollbackd must know how far back the expression looks)'],
    ['pi(1) > x', 'pi takes no argument; found 1 argument'],
  ])('refuses %s', (expr, message) => {
    expect(checkPromql(expr).faults.map((fault) => fault.message)).toContain(message);
  });
});
