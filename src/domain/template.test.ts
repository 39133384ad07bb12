import { describe, expect, it } from 'vitest';
import { annotationVariables, linkVariables, parseTemplate, renderTemplate, smokeVariables, type TemplateValues } from './template.ts';

const all = ['labels', 'externalLabels', 'value', 'version', 'model', 'from', 'to'] as const;

function render(source: string, values: TemplateValues = {}): string {
  const { template, fault } = parseTemplate(source, all);
  if (fault !== undefined) throw new Error(`${fault.offset}: ${fault.message}`);
  return renderTemplate(template, values);
}

function faultOf(source: string): string {
  const { fault } = parseTemplate(source, annotationVariables);
  return fault === undefined ? 'none' : `${fault.offset}+${fault.length}: ${fault.message}`;
}

describe('renderTemplate', () => {
  it.each([
    ['plain text', 'plain text'],
    ['{{ $labels.model }} v{{ $labels.version }}', 'fraud v7'],
    ['{{$labels.model}}', 'fraud'],
    ['{{ .Labels.model }} {{ .Value }}', 'fraud 0.102'],
    ['[{{ $labels.nothing }}]', '[]'],
    ['[{{ $labels.__proto__ }}]', '[]'],
    ['{{ $externalLabels.cluster | toUpper }}', 'PROD'],
    ['{{ $version }} {{ $model }} {{ $from }} → {{ $to }}', '7 fraud 7 → 6'],
    ['{{ $value }}', '0.102'],
    ['{{ $value | humanizePercentage }}', '10.2%'],
    ['{{ humanizePercentage $value }}', '10.2%'],
    ['{{ printf "%.2f" $value }}', '0.10'],
    ['{{ $value | printf "%.1f%%" }}', '0.1%'],
    ['{{ printf "%s/%d/%v/%5s|%-4s|%04d" $model 3 $value "a" "b" 7 }}', 'fraud/3/0.102/    a|b   |0007'],
    ['{{ printf "%d" $value }}', '%!d(float64=0.102)'],
    ['{{ printf "%s" }}', '%!s(MISSING)'],
    ['{{ ($value | humanize) | toUpper }}', '102M'],
    ['{{ reReplaceAll "f(.)aud" "${1}x$1" $model }}', 'rxr'],
    ['{{ "a b&c" | urlQueryEscape }}', 'a+b%26c'],
    ['{{ `raw "text"` | title }}', 'Raw "Text"'],
    ['{{ "tab\\tend" }}', 'tab\tend'],
    ['a {{- " b" -}} c', 'a bc'],
    ['a{{/* a comment */}}b', 'ab'],
    ['{{ $model | humanize }}', '<error expanding template: "fraud" is no number>'],
  ])('%s', (source, expected) => {
    const values = {
      labels: { model: 'fraud', version: '7' },
      externalLabels: { cluster: 'prod' },
      value: 0.102,
      version: '7',
      model: 'fraud',
      from: '7',
      to: '6',
    };

    expect(render(source, values)).toBe(expected);
  });

  // Values of Prometheus's own tests (template/template_test.go) and of its functions' definitions.
  it.each([
    ['humanize', 0, '0'],
    ['humanize', 1, '1'],
    ['humanize', 1_234_567, '1.235M'],
    ['humanize', 0.12, '120m'],
    ['humanize', Number.NaN, 'NaN'],
    ['humanize', Number.POSITIVE_INFINITY, '+Inf'],
    ['humanize1024', 1_048_576, '1Mi'],
    ['humanize1024', 0.5, '0.5'],
    ['humanizeDuration', 0, '0s'],
    ['humanizeDuration', 1, '1s'],
    ['humanizeDuration', 12.3456, '12.35s'],
    ['humanizeDuration', 60, '1m 0s'],
    ['humanizeDuration', 3600, '1h 0m 0s'],
    ['humanizeDuration', 86_400, '1d 0h 0m 0s'],
    ['humanizeDuration', 86_400 + 3600, '1d 1h 0m 0s'],
    ['humanizeDuration', -(86_400 * 2 + 3600 * 3 + 60 * 4 + 5), '-2d 3h 4m 5s'],
    ['humanizeDuration', 0.25, '250ms'],
    ['humanizeDuration', 0.0001, '100us'],
    ['humanizePercentage', 0.012_345_6, '1.235%'],
    ['humanizePercentage', 1, '100%'],
    ['humanizeTimestamp', 1_435_065_584.128, '2015-06-23 13:19:44.128 +0000 UTC'],
    ['humanizeTimestamp', 0, '1970-01-01 00:00:00 +0000 UTC'],
    ['humanizeTimestamp', 1_709_164_800, '2024-02-29 00:00:00 +0000 UTC'],
  ])('%s %s', (name, value, expected) => {
    expect(render(`{{ $value | ${name} }}`, { value })).toBe(expected);
  });

  it.each([
    [1e21, '1e+21'],
    [0.00001, '1e-05'],
    [1e20, '100000000000000000000'],
    [-0.5, '-0.5'],
    [3, '3'],
  ])('prints %s as Go does', (value, expected) => {
    expect(render('{{ $value }}', { value })).toBe(expected);
  });
});

describe('parseTemplate', () => {
  it.each([
    ['a {{ $valu }}', '5+5: unknown variable "$valu"; known here: $labels.<name>, $externalLabels.<name>, $value, $version, $model'],
    ['{{ $value', '0+2: {{ is not closed; add }}'],
    ['{{ }}', '3+2: nothing between the braces; name a value, such as {{ $value }}'],
    ['{{ $value | }}', '12+2: a function is missing behind |'],
    ['{{ $value | $value }}', '12+7: only a function may stand behind |'],
    ['{{ $value $value }}', '3+14: several values without a function; join them with printf or take the braces apart'],
    ['{{ (humanize $value }}', '20+1: unexpected "}"'],
    ['{{ "abc }}', '3+1: text in "…" is not closed'],
    ['{{ $labels }}', '3+7: $labels needs the name of a label; write $labels.severity'],
    ['{{ $value.x }}', '9+2: unknown value ".x"; known here: $labels.<name>, $externalLabels.<name>, $value, $version, $model'],
    ['{{ humanize }}', '3+8: humanize takes 1 value, found 0'],
    ['{{/* a }}', '0+2: comment is not closed; write {{/* … */}}'],
  ])('%s', (source, expected) => {
    expect(faultOf(source)).toBe(expected);
  });

  it('refuses what its place does not know', () => {
    expect(parseTemplate('{{ $to }}', annotationVariables).fault).toBeDefined();
    expect(parseTemplate('{{ $to }}', smokeVariables).fault).toBeUndefined();
    expect(parseTemplate('{{ $to }}', linkVariables).fault).toBeDefined();
  });
});
