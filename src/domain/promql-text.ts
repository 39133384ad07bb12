import type { Matcher } from './model.ts';

const metricGrammar = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const labelGrammar = /^[a-zA-Z_][a-zA-Z0-9_]*$/;
/** Names that a parser could take for a word of the language. */
const reserved =
  /^(?:and|or|unless|atan2|sum|avg|count|min|max|group|stddev|stdvar|topk|bottomk|count_values|quantile|limitk|limit_ratio|offset|by|without|on|ignoring|group_left|group_right|fill|fill_left|fill_right|bool|start|end|step|range|smoothed|anchored|inf|nan)$/i;

/** A string in double quotes; nothing in `value` can end it. */
export function quote(value: string): string {
  const escaped = value.replaceAll(/["\\\u0000-\u001f\u007f]/g, (char) => {
    if (char === '"' || char === '\\') return `\\${char}`;
    if (char === '\n') return '\\n';
    return `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
  return `"${escaped}"`;
}

/** A regular expression (RE2) that matches exactly `value`. */
export function escapeRegex(value: string): string {
  return value.replaceAll(/[\\.+*?()|[\]{}^$]/g, String.raw`\$&`);
}

/** A label's name, quoted where the old grammar has no word for it (Prometheus 3). */
export function labelText(name: string): string {
  return labelGrammar.test(name) ? name : quote(name);
}

/** `metric{a="b"}`; `{__name__="…", a="b"}` where the name is outside the grammar. */
export function selectorText(metric: string, matchers: readonly Matcher[]): string {
  const bare = metricGrammar.test(metric) && !reserved.test(metric) && matchers.every(({ label }) => label !== '__name__');
  const parts = matchers.map(({ label, op, value }) => `${labelText(label)}${op}${quote(value)}`);
  if (!bare) parts.unshift(`__name__=${quote(metric)}`);
  if (bare && parts.length === 0) return metric;
  return `${bare ? metric : ''}{${parts.join(',')}}`;
}

/** ` by (a, b) `, or nothing. */
export function byText(labels: readonly string[]): string {
  return labels.length === 0 ? '' : ` by (${labels.map(labelText).join(', ')}) `;
}
