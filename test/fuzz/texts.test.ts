import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ModelServerConfigSchema } from '../../src/adapters/control-planes/tensorflow-serving/gen/tensorflow_serving/config/model_server_config_pb.ts';
import { fromText, TextFormatError } from '../../src/adapters/control-planes/tensorflow-serving/text-format.ts';
import { parseSignature } from '../../src/adapters/mlflow/signature.ts';
import { ExpositionError, parseExposition } from '../../src/adapters/sources/scrape/exposition.ts';
import { parseMatcher } from '../../src/config/matchers.ts';
import { formatDuration, parseDuration } from '../../src/domain/duration.ts';
import { parseJsonPath, readJsonPath } from '../../src/domain/json-path.ts';
import { quote, selectorText } from '../../src/domain/promql-text.ts';
import { annotationVariables, parseTemplate, renderTemplate, smokeVariables } from '../../src/domain/template.ts';
import { renderUrl, UrlTemplateError, urlTemplateFault } from '../../src/domain/url-template.ts';
import { parseRuleFile } from '../../src/rulefile/parse.ts';
import { checkPromql } from '../../src/rulefile/promql.ts';
import { anyJson, anyText, forAll, textOf } from '../support/fuzz.ts';

/** A place in a text lies in it, or right behind its end. */
function expectInside(text: string, { offset, length }: { readonly offset: number; readonly length: number }): void {
  const isInside = Number.isInteger(offset) && offset >= 0 && length >= 1 && offset <= text.length && offset + length <= Math.max(text.length, offset + 1) + 1;
  if (!isInside) throw new Error(`a fault at ${offset}, ${length} long, of a text of ${text.length}`);
}

describe('rule files', () => {
  const lines = [
    'groups:\n',
    '- name: a\n',
    '  rules:\n',
    '  - alert: A\n',
    '    condition:\n',
    '      error_ratio: {above: 5%}\n',
    '    for: 1m\n',
    '    expr: ',
    'up > 1\n',
  ];

  it('show every fault where it stands', async () => {
    await forAll(textOf(...lines, '    labels: {', '}', ': ', '\n', '    ', '"', "'", '&a ', '*a', '\t', '|\n', '{{ $labels.', '\r\n'), 300, (text) => {
      const rows = text.split('\n');
      for (const { line, column } of parseRuleFile(text, 'any.yaml').diagnostics) {
        const row = rows[line - 1];
        // A text that ends where something is missing is shown one behind its end.
        if (row === undefined || column > row.length + 1) throw new Error(`a fault at ${line}:${column} of ${JSON.stringify(text)}`);
      }
    });
  });
});

describe('PromQL', () => {
  const words = [
    'sum',
    ' by (',
    'rate(',
    'up',
    '{',
    'a="b"',
    '}',
    '[5m]',
    '[5m:1m]',
    ')',
    '(',
    ' > ',
    ' and ',
    '0.5',
    '"',
    "'",
    ' offset ',
    '-',
    '5m',
    '# x\n',
    'absent(',
    'constructor(',
    '__proto__',
    ' @ end()',
    'histogram_quantile(',
    ', ',
    ' on(',
    '=~',
  ];

  it('shows every fault in the expression, and knows how far back it looks', async () => {
    await forAll(textOf(...words), 1_000, (expr) => {
      const { faults, rangeMs, absent } = checkPromql(expr);
      for (const fault of faults) expectInside(expr, fault);
      if (absent !== null) expectInside(expr, absent);
      if (!Number.isFinite(rangeMs)) throw new Error(`a range of ${rangeMs} ms`);
    });
  });

  it('calls what objects inherit an unknown function', () => {
    expect(checkPromql('constructor(up) > 1').faults[0]?.message).toContain('unknown function "constructor"');
    expect(checkPromql('sum by (constructor) (rate(constructor{__proto__="a"}[5m])) > 1').faults).toEqual([]);
  });

  it('holds any name and value in a selector of ours, and nothing beside it', async () => {
    const matcher = fc.record({ label: anyText, op: fc.constantFrom('=' as const, '!=' as const, '=~' as const, '!~' as const), value: anyText });
    await forAll(fc.tuple(anyText, fc.array(matcher, { maxLength: 3 })), 1_000, ([metric, matchers]) => {
      const text = selectorText(
        metric.toWellFormed(),
        matchers.map(({ label, op, value }) => ({ label: label.toWellFormed(), op, value: value.toWellFormed() })),
      );
      const alone = checkPromql(`rate(${text}[5m]) > 0`).faults.filter(({ message }) => message.startsWith('unexpected'));
      if (alone.length > 0) throw new Error(`${text}: ${JSON.stringify(alone)}`);
      if (/[\n\r\0]/.test(text)) throw new Error(`${JSON.stringify(text)} has a line of its own`);
    });
  });
});

describe('matchers', () => {
  it('read back what is written', async () => {
    const name = fc.stringMatching(/^[a-zA-Z_][a-zA-Z0-9_]{0,8}$/).filter((label) => label !== '__name__');
    await forAll(
      fc.record({ label: fc.oneof(name, fc.constantFrom('constructor', '__proto__')), op: fc.constantFrom('=' as const, '!=' as const), value: anyText }),
      1_000,
      (matcher) => {
        expect(parseMatcher(`${matcher.label}${matcher.op}${quote(matcher.value)}`, 'required')).toEqual(matcher);
      },
    );
  });

  it('answer any text with a matcher or with what was expected', async () => {
    await forAll(textOf('a', '=', '=~', '!~', '"', "'", '`', '\\', '(', ')', '*', '[', ' ', '\\x4', '\\u00'), 1_000, (text) => {
      const parsed = parseMatcher(text, 'optional');
      expect('expected' in parsed ? typeof parsed.expected : typeof parsed.value).toBe('string');
    });
  });
});

describe('templates', () => {
  const words = [
    '{{',
    '}}',
    '{{-',
    '-}}',
    ' $labels.x ',
    '$value',
    ' | ',
    'humanize',
    'humanizeDuration',
    'humanizeTimestamp',
    'printf ',
    '"%.2f"',
    '"%s%d%v%x%q%"',
    '(',
    ')',
    '"',
    '`',
    '/* */',
    'reReplaceAll "a(" "$1" ',
    'title ',
    '$labels',
    '.Labels.x',
    '.constructor',
    '-',
    ' ',
  ];

  it('show every fault in the text, and render whatever the values are', async () => {
    const values = fc.record({ labels: fc.dictionary(anyText, anyText, { maxKeys: 2 }), value: fc.double(), version: anyText, model: anyText });
    await forAll(fc.tuple(textOf(...words), values), 2_000, ([text, given]) => {
      const { template, fault } = parseTemplate(text, annotationVariables);
      if (fault !== undefined) expectInside(text, fault);
      else expect(typeof renderTemplate(template, given)).toBe('string');
    });
  });

  it('give values as they are: nothing in them is a template', async () => {
    const { template } = parseTemplate('{{ $labels.constructor }}{{ $labels.__proto__ }}', annotationVariables);
    if (template === undefined) throw new Error('no template');
    await forAll(fc.tuple(anyText, anyText), 500, ([one, other]) => {
      const labels = Object.fromEntries([
        ['constructor', one],
        ['__proto__', other],
      ]);

      expect(renderTemplate(template, { labels })).toBe(one + other);
    });
    expect(renderTemplate(template, { labels: {} })).toBe('');
  });
});

describe('URL templates', () => {
  it('are asked where they say, whatever the values', async () => {
    const { template } = parseTemplate('http://tfs:8501/v1/{{ $to }}/x{{ $labels.a }}?v={{ $to }}&m={{ $model }}', smokeVariables);
    if (template === undefined) throw new Error('no template');
    await forAll(fc.tuple(anyText, anyText, anyText), 1_500, ([to, model, label]) => {
      let text: string;
      try {
        text = renderUrl(template, { to, model, labels: { a: label } });
      } catch (error) {
        if (error instanceof UrlTemplateError) return;
        throw error;
      }
      const url = new URL(text);
      expect([url.origin, url.username, url.hash, [...url.searchParams]]).toEqual([
        'http://tfs:8501',
        '',
        '',
        [
          ['v', to],
          ['m', model],
        ],
      ]);
      expect(url.pathname.split('/').map(decodeURIComponent)).toEqual(['', 'v1', to, `x${label}`]);
    });
  });

  it('cannot leave the host open', async () => {
    await forAll(textOf('http://', 'https://', 'tfs', ':80', '/', '?', '#', '{{ $to }}', '@', '\\', 'x'), 1_000, (text) => {
      const { template } = parseTemplate(text, smokeVariables);
      if (template === undefined || urlTemplateFault(template) !== null) return;
      const origins = ['6', 'x@evil.test', '.evil.test', ':99', '\\evil.test'].map((to) => URL.parse(renderUrl(template, { to }))?.origin ?? 'none');

      expect(new Set(origins).size, text).toBe(1);
    });
  });
});

describe('durations', () => {
  it('read back what is written', async () => {
    await forAll(fc.nat({ max: Number.MAX_SAFE_INTEGER }), 1_000, (ms) => {
      expect(parseDuration(formatDuration(ms))).toBe(ms);
    });
  });

  it('are whole numbers of milliseconds, or nothing', async () => {
    await forAll(textOf('1', '0', '90', 'y', 'w', 'd', 'h', 'm', 's', 'ms', '.', '-', ' ', '9'.repeat(30)), 1_000, (text) => {
      const ms = parseDuration(text);
      if (ms !== null && !(Number.isSafeInteger(ms) && ms >= 0)) throw new Error(`${text} is ${ms}`);
    });
  });
});

describe('JSON paths', () => {
  const steps = fc.array(
    fc.oneof(
      anyText.map((key) => ({ text: `['${key.replaceAll(/['\\]/g, '\\$&')}']`, key })),
      fc.nat({ max: 3 }).map((index) => ({ text: `[${index}]`, key: index })),
    ),
    { maxLength: 4 },
  );

  it('read back what is written, and find only what a document has itself', async () => {
    await forAll(fc.tuple(steps, anyJson), 1_500, ([written, document]) => {
      const { path, fault } = parseJsonPath(`$${written.map(({ text }) => text).join('')}`);
      if (fault !== undefined) {
        // `.` in the quoted step takes no line break.
        expect(written.some(({ key }) => /[\n\r\u2028\u2029]/.test(String(key)))).toBe(true);
        return;
      }
      expect(path.steps.map((step) => (step.kind === 'key' ? step.key : step.kind === 'index' ? step.index : 'length'))).toEqual(written.map(({ key }) => key));
      let expected: unknown = document;
      let isThere = true;
      for (const { key } of written) {
        isThere &&= typeof expected === 'object' && expected !== null && Array.isArray(expected) === (typeof key === 'number') && Object.hasOwn(expected, key);
        expected = isThere ? (expected as Record<string | number, unknown>)[key] : undefined;
      }
      const read = readJsonPath(path, document);
      expect(read.found).toBe(isThere);
      if (read.found) expect(read.value).toBe(expected);
    });
  });

  it('show every fault in the text', async () => {
    await forAll(textOf('$', '.a', '[0]', "['a']", '.length()', '[', ']', '.', '..', '*'), 500, (text) => {
      const { fault } = parseJsonPath(text);
      if (fault !== undefined) expectInside(text, { offset: fault.offset, length: 1 });
    });
  });
});

describe('metrics pages', () => {
  it('are read, or refused with the line', async () => {
    const words = [
      'up',
      '{',
      '}',
      'a="b"',
      ',',
      '__proto__="x"',
      'constructor="y"',
      ' 1',
      ' NaN',
      '\n',
      '# TYPE up counter\n',
      '# EOF\n',
      '"',
      '\\',
      ' # {} 1',
      '\r\n',
    ];
    await forAll(fc.tuple(textOf(...words), fc.constantFrom('text' as const, 'openmetrics' as const)), 2_000, ([page, format]) => {
      try {
        for (const { labels, name } of parseExposition(page, { format })) {
          if (name === '' && !page.includes('""')) throw new Error('a sample without a name');
          for (const key in labels) if (!Object.hasOwn(labels, key)) throw new Error(`${key} is no label of its own`);
        }
      } catch (error) {
        if (!(error instanceof ExpositionError)) throw error;
        // A missing end is shown one behind the last line.
        if (!(error.line >= 1 && error.line <= page.split('\n').length + 1)) throw new Error(`line ${error.line} of ${JSON.stringify(page)}`, { cause: error });
      }
    });
  });
});

describe('model lists of TensorFlow Serving', () => {
  it('are read, or refused with the place', async () => {
    const words = [
      'model_config_list',
      ' config ',
      'name: ',
      'base_path: ',
      '{',
      '}',
      '[',
      ']',
      '"a"',
      "'b'",
      ':',
      ',',
      '-1',
      '0x',
      '1e',
      '# x\n',
      '\n',
      'model_version_policy ',
      'specific ',
      'versions: ',
      'version_labels ',
    ];
    await forAll(textOf(...words), 1_600, (text) => {
      try {
        fromText(ModelServerConfigSchema, text, 'models.config');
      } catch (error) {
        if (!(error instanceof TextFormatError)) throw error;
        const [, line, column] = /^models\.config:(\d+):(\d+): /.exec(error.message) ?? [];
        const row = text.split('\n')[Number(line) - 1];
        if (row === undefined || Number(column) < 1 || Number(column) > row.length + 1)
          throw new Error(`${error.message} of ${JSON.stringify(text)}`, { cause: error });
      }
    });
  });
});

describe('signatures of MLflow', () => {
  it('keep inputs whose names objects inherit', () => {
    const inputs = ['__proto__', 'constructor', 'amount'].map((name) => ({ name, type: 'double', required: true }));
    const signature = parseSignature(JSON.stringify({ signature: { inputs: JSON.stringify(inputs) } }));

    expect(Object.keys(signature?.signatures['']?.inputs ?? {})).toEqual(['__proto__', 'constructor', 'amount']);
  });
});
