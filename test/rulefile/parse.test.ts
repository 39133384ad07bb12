import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { defaultPolicy } from '../../src/config/policy-schema.ts';
import type { Rule } from '../../src/domain/rule.ts';
import type { KnownModel } from '../../src/rulefile/context.ts';
import { formatDiagnostics } from '../../src/rulefile/diagnostic.ts';
import { parseRuleFile, withUniqueIds } from '../../src/rulefile/parse.ts';

function parseGood(name: string) {
  return parseRuleFile(readFileSync(join(import.meta.dirname, `${name}.good.yaml`)), name);
}

function rulesOf(name: string): readonly Rule[] {
  return parseGood(name).groups.flatMap(({ rules }) => rules);
}

/** One acting rule with the given lines; the lints' codes. */
function lintsOf(lines: string, model?: Partial<KnownModel>): string[] {
  const known = {
    promql: true,
    hasErrors: true,
    hasLatency: true,
    highestBucketSeconds: null,
    hasSmokeTest: true,
    policy: { ...defaultPolicy, mode: 'enforce' as const },
    ...model,
  };
  const text = `groups:\n- name: g\n  model: shop\n  interval: 5s\n  rules:\n  - alert: High\n${lines.replace(/^/gm, '    ')}\n`;
  const { diagnostics } = parseRuleFile(text, 'g.yaml', { models: new Map([['shop', known]]) });
  expect(diagnostics.filter(({ severity }) => severity === 'error')).toEqual([]);
  return diagnostics.map(({ code }) => code);
}

const ratio = 'condition:\n  error_ratio: {window: 1m, above: 5%}\n';

describe('parseRuleFile', () => {
  it('takes for an alias the last anchor of its name above it', () => {
    const rule = (alert: string, above: string): string => `  - {alert: ${alert}, condition: {error_ratio: {window: 1m, above: ${above}}}}\n`;
    const text = `groups:\n- name: g\n  model: shop\n  rules:\n${rule('A', '&limit 5%')}${rule('B', '*limit')}${rule('C', '&limit 7%')}${rule('D', '*limit')}`;

    const { groups, diagnostics } = parseRuleFile(text, 'g.yaml');

    expect(diagnostics.filter(({ severity }) => severity === 'error')).toEqual([]);
    expect(groups[0]?.rules.map(({ condition }) => 'limit' in condition && condition.limit)).toMatchObject(
      [0.05, 0.05, 0.07, 0.07].map((value) => ({ value })),
    );
  });

  it('gives a rule with everything it says', () => {
    const [first] = rulesOf('every-key');

    expect(first).toEqual({
      id: 'shop/High',
      group: 'shop',
      alert: 'High',
      model: 'shop',
      condition: {
        kind: 'expr',
        expr: 'sum by (version) (rate(errors_total[5m]))\n  / sum by (version) (rate(requests_total[5m])) > 0.1',
        rangeMs: 300_000,
        minRequests: 50,
      },
      forMs: 60_000,
      keepFiringForMs: 300_000,
      labels: { team: 'shop', severity: 'page', tier: '1.10' },
      annotations: { summary: '{{ $labels.model }}: {{ printf "%.1f" $value }} {{ $externalLabels.cluster | toUpper }}' },
      onNoData: 'alert',
      onError: 'alert',
      rollback: {
        mode: 'enforce',
        to: { kind: 'version', version: '1.10' },
        knownGood: { minAgeMs: 7_200_000, minRequests: 5, backfillMs: 0, versions: ['1.10', '007'] },
        cooldownMs: 3_600_000,
        maxPer: { count: 1, windowMs: 86_400_000 },
        maxDepth: 1,
        quarantineMs: 604_800_000,
        convergeTimeoutMs: 60_000,
        recoveryWithinMs: 120_000,
        stickMs: 30_000,
        requireApproval: 'always',
        approvalTimeoutMs: 600_000,
        approvalAfterMs: 0,
        allowIncompatible: true,
      },
      place: { file: 'every-key', line: 7, column: 5 },
    });
  });

  it('fills in the defaults of conditions', () => {
    expect(
      rulesOf('every-key')
        .map(({ condition }) => condition)
        .slice(1),
    ).toEqual([
      { kind: 'request_rate', windowMs: 600_000, limit: { op: 'below', value: 0.1 }, minRequests: 0 },
      { kind: 'request_rate', windowMs: 600_000, limit: { op: 'above', value: 1000 }, minRequests: 10 },
    ]);
    expect(rulesOf('every-condition').map(({ condition }) => condition)).toMatchObject([
      { kind: 'error_ratio', windowMs: 60_000, limit: { op: 'above', value: 0.05 }, minRequests: 100 },
      { kind: 'latency', quantile: 0.99, windowMs: 300_000, limit: { op: 'above', value: 0.25 }, minRequests: 300 },
      { kind: 'expr', rangeMs: 60_000, minRequests: null },
    ]);
  });

  it('tells a rule that only tells from one that acts with the defaults', () => {
    const [first, , third] = rulesOf('every-condition');

    expect(first?.rollback).toEqual({});
    expect(third?.rollback).toEqual({ mode: 'dry_run' });
    expect(rulesOf('every-key')[1]?.rollback).toBeNull();
  });

  it('takes the interval of the daemon where a group has none', () => {
    const text = 'groups:\n- {name: a, model: m, rules: []}\n';

    expect(parseRuleFile(text, 'a').groups[0]?.intervalMs).toBe(15_000);
    expect(parseRuleFile(text, 'a', { evaluationIntervalMs: 5000 }).groups[0]?.intervalMs).toBe(5000);
  });

  it('joins the name of a PrometheusRule to its groups, and numbers rules of one name', () => {
    expect(rulesOf('prometheus-rule').map(({ id }) => id)).toEqual(['shop/errors/High', 'shop/errors/High#2']);
  });

  it('numbers rules over several files', () => {
    const groups = [...parseGood('prometheus-rule').groups, ...parseGood('prometheus-rule').groups];

    expect(withUniqueIds(groups).flatMap(({ rules }) => rules.map(({ id }) => id))).toEqual([
      'shop/errors/High',
      'shop/errors/High#2',
      'shop/errors/High#3',
      'shop/errors/High#4',
    ]);
  });

  it('overrides the model’s policy key by key, nested ones merged', () => {
    const text = `groups:\n- name: g\n  model: shop\n  rules:\n  - alert: High\n    condition:\n      error_ratio: {window: 1m, above: 5%}\n    rollback: {known_good: {min_requests: 7}, max_per: {count: 1}}\n`;
    const policy = { ...defaultPolicy, knownGood: { ...defaultPolicy.knownGood, minAgeMs: 5, versions: ['3'] }, maxPer: { count: 9, windowMs: 99 } };
    const models = new Map([['shop', { promql: true, hasErrors: true, hasLatency: true, highestBucketSeconds: null, hasSmokeTest: true, policy }]]);

    expect(parseRuleFile(text, 'g', { models }).groups[0]?.rules[0]?.rollback).toEqual({
      knownGood: { ...policy.knownGood, minRequests: 7 },
      maxPer: { count: 1, windowMs: 99 },
    });
  });

  it.each([
    ['plain', 'expr: sum(rate(x[5m])) > foo(1)', '8:30'],
    ['single quotes', "expr: 'x{a=''b''} > foo(1)'", '8:25'],
    ['double quotes', 'expr: "x{a=\\"b\\"} >\\tfoo(1)"', '8:26'],
    ['literal block', 'expr: |\n      x\n        > foo(1)', '10:11'],
    ['literal block with its own indentation', 'expr: |2-\n        x\n      > foo(1)', '10:9'],
    ['folded block', 'expr: >\n      x\n      > foo(1)', '10:9'],
    ['folded block with a comment', 'expr: > # why\n\n      x\n\n      > foo(1)', '12:9'],
    ['plain over two lines', 'expr: x\n      > foo(1)', '9:9'],
    ['end of a block', 'expr: |\n      x >', '9:10'],
  ])('points into an expression in %s', (_, expr, place) => {
    const text = `# 1\n# 2\ngroups:\n- name: g\n  model: m\n  rules:\n  - alert: A\n    ${expr}\n`;

    expect(parseRuleFile(text, 'g').diagnostics.map(({ line, column }) => `${line}:${column}`)).toEqual([place]);
  });

  it('counts columns as editors do behind a byte order mark and with Windows line ends', () => {
    const text = '\uFEFFgruops: []\r\nother: 1\r\n';

    const { diagnostics } = parseRuleFile(text, 'g');

    expect(diagnostics.filter(({ severity }) => severity === 'error').map(({ line, column, sourceLine }) => `${line}:${column} ${sourceLine}`)).toEqual([
      '1:1  gruops: []',
      '2:1 other: 1',
    ]);
  });

  it('refuses a file that is too big without reading it', () => {
    const { groups, diagnostics } = parseRuleFile(new Uint8Array(5 * 1024 * 1024).fill(0x20), 'big.yaml');

    expect(groups).toEqual([]);
    expect(formatDiagnostics(diagnostics)).toBe('big.yaml:1:1: file has 5242880 bytes, expected at most 4194304; split it');
  });

  it.each(['"', '{', '[', '- ', '? ', 'a: ', '&a ', '!t ', '{a: ', '*a '])('survives 100,000 times %s', (piece) => {
    const { groups, diagnostics } = parseRuleFile(piece.repeat(100_000), 'deep.yaml');

    expect(groups).toEqual([]);
    expect(diagnostics.length).toBeGreaterThan(0);
  });

  it.each([100, 1000, 5000, 20_000])('survives an expression nested %d deep', (depth) => {
    const text = `groups:\n- name: g\n  model: m\n  rules:\n  - alert: A\n    expr: ${'('.repeat(depth)}x${')'.repeat(depth)} > 1\n`;

    expect(parseRuleFile(text, 'g').diagnostics.every(({ code }) => code === 'promql')).toBe(true);
  });
});

describe('lints', () => {
  it.each([
    ['nothing on a careful rule', `${ratio}for: 30s\nlabels: {severity: page}\nrollback: {}`, {}, []],
    ['an acting rule without severity', `${ratio}for: 30s\nrollback: {}`, {}, ['no_severity']],
    ['an acting rule without «for»', `${ratio}labels: {severity: page}\nrollback: {}`, {}, ['no_for']],
    ['a model without smoke test', `${ratio}for: 30s\nlabels: {severity: page}\nrollback: {}`, { hasSmokeTest: false }, ['no_smoke_test']],
    ['a «for» shorter than the interval', `${ratio}for: 2s`, {}, ['short_for']],
    ['a window shorter than four intervals', 'condition:\n  error_ratio: {window: 15s, above: 5%}', {}, ['short_window']],
    ['an expression that compares nothing', 'expr: x', {}, ['no_comparison']],
    [
      'an acting rule on any number of requests',
      'condition:\n  error_ratio: {window: 1m, above: 5%, min_requests: 0}\nfor: 30s\nlabels: {severity: page}\nrollback: {}',
      {},
      ['no_min_requests'],
    ],
    [
      'nothing where the evidence asks for enough requests and time',
      'condition:\n  error_ratio: {detect: sequential, above: 5%, min_requests: 0}\nlabels: {severity: page}\nrollback: {}',
      {},
      [],
    ],
    [
      'a latency limit inside a bucket',
      'condition:\n  latency: {detect: sequential, quantile: 0.99, above: 250ms}',
      { bucketBoundsSeconds: [0.21857, 0.39344] },
      ['between_buckets'],
    ],
    [
      'nothing on a limit that is a bound but for rounding',
      'condition:\n  latency: {detect: sequential, quantile: 0.99, above: 219ms}',
      { bucketBoundsSeconds: [0.21857, 0.39344] },
      [],
    ],
    [
      'an acting rule on low traffic',
      'condition:\n  request_rate: {window: 1m, below: 5}\nfor: 30s\nlabels: {severity: page}\nrollback: {}',
      {},
      ['acts_on_low_traffic'],
    ],
  ] as const)('warn of %s', (_, lines, model, codes) => {
    expect(lintsOf(lines, model)).toEqual(codes);
  });

  it('warn of the same rule twice', () => {
    const rule = '  - alert: High\n    condition:\n      error_ratio: {window: 1m, above: 5%}\n';

    expect(parseRuleFile(`groups:\n- name: g\n  model: m\n  rules:\n${rule}${rule}`, 'g').diagnostics.map(({ code, line }) => `${code} ${line}`)).toEqual([
      'duplicate_rule 8',
    ]);
  });
});
