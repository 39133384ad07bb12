import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { codePoints } from '../../../../test/support/code-points.ts';
import { fuzzRuns } from '../../../../test/support/fuzz-runs.ts';
import { ExpositionError, type ExpositionFormat, formatOf, parseExposition } from './exposition.ts';

function parse(page: string, format: ExpositionFormat = 'text'): [string, Record<string, string>, number, number | null][] {
  return parseExposition(page, { format }).map(({ name, labels, value, timestampMs }) => [name, { ...labels }, value, timestampMs]);
}

describe('parseExposition, text format', () => {
  it("reads the documentation's example", () => {
    const page = [
      '# HELP http_requests_total The total number of HTTP requests.',
      '# TYPE http_requests_total counter',
      'http_requests_total{method="post",code="200"} 1027 1395066363000',
      'http_requests_total{method="post",code="400"}    3 1395066363000',
      '',
      '# Escaping in label values:',
      String.raw`msdos_file_access_time_seconds{path="C:\\DIR\\FILE.TXT",error="Cannot find file:\n\"FILE.TXT\""} 1.458255915e9`,
      '',
      '# Minimalistic line:',
      'metric_without_timestamp_and_labels 12.47',
      '',
      '# A weird metric from before the epoch:',
      'something_weird{problem="division by zero"} +Inf -3982045',
      '',
      '# A histogram, which has a pretty complex representation in the text format:',
      '# TYPE http_request_duration_seconds histogram',
      'http_request_duration_seconds_bucket{le="0.05"} 24054',
      'http_request_duration_seconds_bucket{le="+Inf"} 144320',
      'http_request_duration_seconds_sum 53423',
      '',
    ].join('\n');

    expect(parse(page)).toEqual([
      ['http_requests_total', { method: 'post', code: '200' }, 1027, 1_395_066_363_000],
      ['http_requests_total', { method: 'post', code: '400' }, 3, 1_395_066_363_000],
      ['msdos_file_access_time_seconds', { path: String.raw`C:\DIR\FILE.TXT`, error: 'Cannot find file:\n"FILE.TXT"' }, 1_458_255_915, null],
      ['metric_without_timestamp_and_labels', {}, 12.47, null],
      ['something_weird', { problem: 'division by zero' }, Infinity, -3_982_045],
      ['http_request_duration_seconds_bucket', { le: '0.05' }, 24_054, null],
      ['http_request_duration_seconds_bucket', { le: '+Inf' }, 144_320, null],
      ['http_request_duration_seconds_sum', {}, 53_423, null],
    ]);
  });

  it("reads TensorFlow Serving's names", () => {
    expect(parse('# TYPE :tensorflow:serving:request_count counter\n:tensorflow:serving:request_count{model_name="fraud",status="OK"} 12\n')).toEqual([
      [':tensorflow:serving:request_count', { model_name: 'fraud', status: 'OK' }, 12, null],
    ]);
  });

  it.each<[string, ExpositionFormat, number, string, number]>([
    ['tensorflow-serving.prom', 'text', 12, ':tensorflow:serving:request_count', 3],
    ['prom-client.om', 'openmetrics', 6, 'http_requests_total', 1],
  ])('reads the page fixtures/%s', (file, format, total, name, count) => {
    const samples = parse(readFileSync(join(import.meta.dirname, 'fixtures', file), 'utf8'), format);

    expect(samples).toHaveLength(total);
    expect(samples.filter(([given]) => given === name)).toHaveLength(count);
  });

  it.each<[string, string, [string, Record<string, string>, number, number | null][]]>([
    ['nothing', '', []],
    ['blanks and tabs', ' \t a \t 1 \t 2 \n', [['a', {}, 1, 2]]],
    ['blanks inside the braces', 'a { b = "c" , d = "e" , } 1\n', [['a', { b: 'c', d: 'e' }, 1, null]]],
    ['empty braces', 'a{} 1\n', [['a', {}, 1, null]]],
    ['braces and commas in values', 'a{b="},{=",c="#"} 1\n', [['a', { b: '},{=', c: '#' }, 1, null]]],
    ['an empty label value as no label', 'a{b="",c="d"} 1\n', [['a', { c: 'd' }, 1, null]]],
    ['an unknown escape as it is', String.raw`a{b="\d\\n"} 1` + '\n', [['a', { b: String.raw`\d\n` }, 1, null]]],
    ['NaN', 'a NaN\n', [['a', {}, Number.NaN, null]]],
    ['-Inf', 'a -Inf\n', [['a', {}, -Infinity, null]]],
    [
      'exponents',
      'a 1e-3\nb 2E+3\nc .5\nd 5.\n',
      [
        ['a', {}, 0.001, null],
        ['b', {}, 2000, null],
        ['c', {}, 0.5, null],
        ['d', {}, 5, null],
      ],
    ],
    [
      'names in quotes (1.0.0)',
      '# TYPE "my.metric" gauge\n{"my.metric","k8s.pod"="x",b="c"} 1\n{"only"} 2\n',
      [
        ['my.metric', { 'k8s.pod': 'x', b: 'c' }, 1, null],
        ['only', {}, 2, null],
      ],
    ],
    ['a name in quotes behind labels', '{b="c","my.metric"} 1\n', [['my.metric', { b: 'c' }, 1, null]]],
    ['letters of any script in values', 'a{b="日本 🎉"} 1\n', [['a', { b: '日本 🎉' }, 1, null]]],
    ['line ends of Windows', '# TYPE a counter\r\na 1\r\n', [['a', {}, 1, null]]],
    ['a label named __proto__', 'a{__proto__="x"} 1\n', [['a', { ['__proto__']: 'x' }, 1, null]]],
  ])('reads %s', (_name, page, expected) => {
    expect(parse(page)).toEqual(expected);
  });

  it.each<[string, string, string]>([
    ['a cut page', 'a 1\nb 12', 'line 2: the page does not end with a line end (cut short?)'],
    ['no value', 'a\n', 'line 1: no blank before the value'],
    ['an empty value', 'a \n', 'line 1: the value is missing'],
    ['a value that is no number', 'a one\n', 'line 1: the value is no number: "one"'],
    ['a hexadecimal value', 'a 0x10\n', 'line 1: the value is no number: "0x10"'],
    ['an underscore in a value', 'a 1_000\n', 'line 1: the value is no number: "1_000"'],
    ['a broken name', '5a 1\n', 'line 1: expected a metric name, found "5a 1"'],
    ['no name at all', '{a="b"} 1\n', 'line 1: no metric name'],
    ['two names', 'a{"b"} 1\n', 'line 1: the metric has two names'],
    ['a label without value', 'a{b} 1\n', "line 1: expected = after the label's name"],
    ['a label value without quotes', 'a{b=c} 1\n', 'line 1: the value of label b is not in quotes'],
    ['quotes that do not end', 'a{b="c} 1\n', 'line 1: quotes that do not end'],
    ['a backslash before the end', 'a{b="c\\\n', 'line 1: quotes that do not end'],
    ['braces that do not end', 'a{b="c" 1\n', 'line 1: expected , or } after a label'],
    ['a label twice', 'a{b="c",b="d"} 1\n', 'line 1: label b stands twice'],
    ['a colon in a label name', 'a{b:c="d"} 1\n', "line 1: expected = after the label's name"],
    ['no blank before the value', 'a{b="c"}1\n', 'line 1: no blank before the value'],
    ['a timestamp that is no whole number', 'a 1 1.5\n', 'line 1: the timestamp is no whole number of milliseconds: "1.5"'],
    ['a third number', 'a 1 2 3\n', 'line 1: something stands behind the value'],
    ['an exemplar', 'a 1 # {b="c"} 1\n', 'line 1: something stands behind the value'],
    ['an unknown type', '# TYPE a thing\n', 'line 1: "thing" is no type of a metric'],
  ])('refuses %s', (_name, page, message) => {
    expect(() => parse(page)).toThrow(ExpositionError);
    expect(() => parse(page)).toThrow(message);
  });

  it('keeps limits on samples, labels and line length', () => {
    const limits = { maxSamples: 2, maxLabels: 2, maxLineLength: 40 };
    const parseLimited = (page: string) => () => parseExposition(page, { format: 'text', limits });

    expect(parseLimited('a 1\nb 1\n')).not.toThrow();
    expect(parseLimited('a 1\nb 1\nc 1\n')).toThrow('line 3: more than 2 samples');
    expect(parseLimited('a{b="1",c="2",d="3"} 1\n')).toThrow('line 1: more than 2 labels');
    expect(parseLimited(`# ${'x'.repeat(50)}\n`)).toThrow('line 1: longer than 40 characters');
  });

  it('keeps only the names wanted, and checks the others', () => {
    expect(parseExposition('a 1\nb 2\n', { format: 'text', wanted: (name) => name === 'b' }).map(({ name }) => name)).toEqual(['b']);
    expect(() => parseExposition('a x\nb 2\n', { format: 'text', wanted: (name) => name === 'b' })).toThrow('line 1');
  });

  it('reads back whatever is written by the rules', () => {
    const label = fc.stringMatching(/^[a-zA-Z_][a-zA-Z0-9_]{0,8}$/);
    const series = fc.record({
      name: fc.stringMatching(/^[a-zA-Z_:][a-zA-Z0-9_:]{0,8}$/),
      labels: fc.dictionary(label, codePoints({ minLength: 1 }), { noNullPrototype: true }),
      value: fc.double().map((value) => (value === 0 ? 0 : value)),
    });
    fc.assert(
      fc.property(fc.array(series), (lines) => {
        const page = lines
          .map(
            ({ name, labels, value }) =>
              `${name}{${Object.entries(labels)
                .map(([key, text]) => `${key}="${text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('"', '\\"')}"`)
                .join(',')}} ${String(value).replace('Infinity', 'Inf')}\n`,
          )
          .join('');

        expect(parse(page)).toEqual(lines.map(({ name, labels, value }) => [name, labels, value, null]));
      }),
      { numRuns: 300 * fuzzRuns },
    );
  });

  it('never does worse than refuse', () => {
    const piece = fc.oneof(
      fc.constantFrom('a', '{', '}', '"', '\\', '=', ',', ' ', '\n', '1', '# TYPE ', '# EOF', '# ', 'NaN', '+Inf', '#'),
      fc.string({ maxLength: 3 }),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 30 }), fc.constantFrom<ExpositionFormat>('text', 'openmetrics'), (pieces, format) => {
        try {
          parse(pieces.join(''), format);
        } catch (error) {
          expect(error).toBeInstanceOf(ExpositionError);
        }
      }),
      { numRuns: 2000 * fuzzRuns },
    );
  });
});

describe('parseExposition, OpenMetrics', () => {
  it('reads counters, units, exemplars, _created and timestamps in seconds', () => {
    const page = [
      '# TYPE foo_seconds counter',
      '# UNIT foo_seconds seconds',
      String.raw`# HELP foo_seconds All about "foo".`,
      'foo_seconds_total{a="b"} 17.5 1520879607.789 # {trace_id="KOO5S4vxi0o"} 0.67',
      'foo_seconds_created{a="b"} 1520430000.123',
      '# TYPE bar histogram',
      'bar_bucket{le="1.0"} 11 # {} 0.1 1520879607.789',
      'bar_bucket{le="+Inf"} 17 # {trace_id="x",span="}\\"#"} 9.8',
      '# EOF',
    ].join('\n');

    const expected = [
      ['foo_seconds_total', { a: 'b' }, 17.5, 1_520_879_607_789],
      ['foo_seconds_created', { a: 'b' }, 1_520_430_000.123, null],
      ['bar_bucket', { le: '1.0' }, 11, null],
      ['bar_bucket', { le: '+Inf' }, 17, null],
    ];
    expect(parse(page, 'openmetrics')).toEqual(expected);
    expect(parse(`${page}\n`, 'openmetrics')).toEqual(expected);
  });

  it.each<[string, string, string]>([
    ['a page without # EOF', 'a 1\n', 'line 2: the page does not end with # EOF (cut short?)'],
    ['content after # EOF', '# EOF\na 1\n', 'line 2: content after # EOF'],
    ['an empty line', 'a 1\n\n# EOF', 'line 2: an empty line'],
    ['a free comment', '# hello\n# EOF', 'line 1: a comment that is none of TYPE, HELP, UNIT, EOF'],
    ['an exemplar without labels', 'a 1 # 2\n# EOF', 'line 1: an exemplar without labels'],
    ['an exemplar without value', 'a 1 # {b="c"}\n# EOF', "line 1: the exemplar's value is missing"],
    ['something behind an exemplar', 'a 1 # {b="c"} 1 2 3\n# EOF', 'line 1: something stands behind the exemplar'],
    ['a timestamp that is no number', 'a 1 x\n# EOF', 'line 1: the timestamp is no number of seconds: "x"'],
  ])('refuses %s', (_name, page, message) => {
    expect(() => parse(page, 'openmetrics')).toThrow(message);
  });
});

describe('formatOf', () => {
  it.each([
    ['application/openmetrics-text; version=1.0.0; charset=utf-8', 'openmetrics'],
    ['text/plain; version=0.0.4', 'text'],
    ['TEXT/PLAIN', 'text'],
    [undefined, 'text'],
    ['application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily', null],
    ['text/html; charset=utf-8', null],
  ])('takes %s for %s', (type, expected) => {
    expect(formatOf(type)).toBe(expected);
  });
});
