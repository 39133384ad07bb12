import { compileRegex, type LinearRegex } from './linear-regex.ts';
import { lookUp } from './lookup.ts';

/**
 * The part of Prometheus's templates (Go's text/template) that rollbackd knows: `{{ $labels.x }}`, `{{ $value | humanize }}`,
 * `{{ printf "%.2f" $value }}`, parentheses, trim marks and comments. No `if`, `range`, `query`: refused when parsed.
 * @see https://prometheus.io/docs/prometheus/latest/configuration/template_reference/
 */

/** What a template may name. `$labels` and `$externalLabels` take a field, the others stand alone. */
export type TemplateVariable = 'labels' | 'externalLabels' | 'value' | 'version' | 'model' | 'from' | 'to';

/** Known in a rule's annotations and label values. */
export const annotationVariables: readonly TemplateVariable[] = ['labels', 'externalLabels', 'value', 'version', 'model'];
/** Known in a smoke test. */
export const smokeVariables: readonly TemplateVariable[] = ['to', 'from', 'model', 'labels'];
/** Known in a model's links. */
export const linkVariables: readonly TemplateVariable[] = ['version', 'model'];

/** Values for rendering; what is absent renders as empty text (a label) or `<no value>`. */
export type TemplateValues = {
  readonly labels?: Readonly<Record<string, string>>;
  readonly externalLabels?: Readonly<Record<string, string>>;
  readonly value?: number | null;
  readonly version?: string;
  readonly model?: string;
  readonly from?: string;
  readonly to?: string;
};

type Operand =
  | { readonly kind: 'literal'; readonly value: string | number }
  | { readonly kind: 'variable'; readonly name: TemplateVariable; readonly field: string | null }
  | { readonly kind: 'pipeline'; readonly calls: readonly Call[] };
/** `name: null`: just the value. */
type Call = { readonly name: FunctionName | null; readonly operands: readonly Operand[] };
type Part = { readonly kind: 'text'; readonly text: string } | { readonly kind: 'action'; readonly calls: readonly Call[] };

/** A parsed template. */
export type Template = { readonly source: string; readonly parts: readonly Part[] };

/** Where and why a text is no template; offsets in UTF-16 units from the start of the text. */
export type TemplateFault = { readonly offset: number; readonly length: number; readonly message: string };

type Value = string | number;
const functionArity = {
  humanize: [1, 1],
  humanize1024: [1, 1],
  humanizeDuration: [1, 1],
  humanizePercentage: [1, 1],
  humanizeTimestamp: [1, 1],
  toUpper: [1, 1],
  toLower: [1, 1],
  title: [1, 1],
  reReplaceAll: [3, 3],
  urlQueryEscape: [1, 1],
  printf: [1, 32],
  print: [0, 32],
} as const satisfies Record<string, readonly [number, number]>;
type FunctionName = keyof typeof functionArity;
const functionNames = Object.keys(functionArity) as FunctionName[];
const controlWords = new Set([
  'if',
  'else',
  'end',
  'range',
  'with',
  'define',
  'template',
  'block',
  'break',
  'continue',
  'query',
  'first',
  'sortByLabel',
  'tmpl',
  'safeHtml',
  'args',
  'and',
  'or',
  'not',
  'eq',
  'ne',
  'lt',
  'le',
  'gt',
  'ge',
  'len',
  'index',
  'match',
  'label',
  'value',
  'strvalue',
]);
const fieldVariables: ReadonlySet<string> = new Set(['labels', 'externalLabels']);
/** Prometheus's other spelling. */
const dotVariables: Readonly<Record<string, TemplateVariable>> = { Labels: 'labels', ExternalLabels: 'externalLabels', Value: 'value' };

class Refusal extends Error {
  readonly fault: TemplateFault;
  constructor(offset: number, length: number, message: string) {
    super(message);
    this.fault = { offset, length: Math.max(1, length), message };
  }
}

/**
 * Parses a template; text without `{{` is a template too.
 * @param variables what may be named in this place
 */
export function parseTemplate(
  source: string,
  variables: readonly TemplateVariable[],
): { readonly template: Template; readonly fault?: never } | { readonly fault: TemplateFault; readonly template?: never } {
  try {
    return { template: { source, parts: parseParts(source, new Set(variables)) } };
  } catch (error) {
    if (error instanceof Refusal) return { fault: error.fault };
    throw error;
  }
}

/** Renders; a function that cannot work on its value (`humanize` of text) leaves Prometheus's `<error expanding template: …>`. */
export function renderTemplate(template: Template, values: TemplateValues): string {
  try {
    return template.parts.map((part) => (part.kind === 'text' ? part.text : formatValue(runPipeline(part.calls, values)))).join('');
  } catch (error) {
    return `<error expanding template: ${error instanceof Error ? error.message : String(error)}>`;
  }
}

function parseParts(source: string, variables: ReadonlySet<TemplateVariable>): Part[] {
  const parts: Part[] = [];
  let at = 0;
  let trimNext = false;
  for (;;) {
    const open = source.indexOf('{{', at);
    let literal = source.slice(at, open === -1 ? undefined : open);
    if (trimNext) literal = literal.replace(/^\s+/, '');
    const trimBefore = open !== -1 && /^-\s/.test(source.slice(open + 2, open + 4));
    if (trimBefore) literal = literal.replace(/\s+$/, '');
    if (literal !== '') parts.push({ kind: 'text', text: literal });
    if (open === -1) return parts;

    const scanner = new Scanner(source, open + (trimBefore ? 3 : 2), variables);
    const comment = /^\s*\/\*/.exec(source.slice(scanner.at));
    if (comment !== null) {
      const end = /\*\/(\s-)?\}\}/.exec(source.slice(scanner.at));
      if (end === null) throw new Refusal(open, 2, 'comment is not closed; write {{/* … */}}');
      at = scanner.at + end.index + end[0].length;
      trimNext = end[1] !== undefined;
      continue;
    }
    const calls = scanner.pipeline(open, '}}');
    trimNext = scanner.trimmed;
    at = scanner.at;
    parts.push({ kind: 'action', calls });
  }
}

/** Reads one `{{ … }}`. */
class Scanner {
  readonly source: string;
  readonly variables: ReadonlySet<TemplateVariable>;
  at: number;
  trimmed = false;
  constructor(source: string, at: number, variables: ReadonlySet<TemplateVariable>) {
    this.source = source;
    this.at = at;
    this.variables = variables;
  }

  /** Calls up to `close`, which is consumed. `openAt` is blamed when it never comes. */
  pipeline(openAt: number, close: '}}' | ')', depth = 0): Call[] {
    if (depth > 20) throw new Refusal(openAt, 1, 'parentheses are nested too deep');
    const calls: Call[] = [];
    for (;;) {
      const start = this.skipBlanks();
      const call = this.call(depth);
      if (call === null)
        throw new Refusal(
          start,
          close.length,
          calls.length === 0 ? 'nothing between the braces; name a value, such as {{ $value }}' : 'a function is missing behind |',
        );
      if (calls.length > 0 && call.name === null) throw new Refusal(start, this.at - start, 'only a function may stand behind |');
      this.checkArity(call, calls.length > 0, start);
      calls.push(call);
      this.skipBlanks();
      if (this.take('|')) continue;
      if (close === '}}' && this.source.startsWith('-}}', this.at) && /\s/.test(this.source[this.at - 1] ?? '')) {
        this.trimmed = true;
        this.at += 3;
        return calls;
      }
      if (this.take(close)) return calls;
      if (this.at >= this.source.length) throw new Refusal(openAt, close === ')' ? 1 : 2, `${close === ')' ? '(' : '{{'} is not closed; add ${close}`);
      throw new Refusal(this.at, 1, `unexpected "${this.source[this.at] ?? ''}"`);
    }
  }

  private call(depth: number): Call | null {
    const start = this.at;
    const word = /^[a-zA-Z_]\w*/.exec(this.source.slice(this.at))?.[0];
    if (word !== undefined) {
      this.at += word.length;
      if (!isFunctionName(word)) throw new Refusal(start, word.length, unknownWord(word));
      return { name: word, operands: this.operands(depth) };
    }
    const operands = this.operands(depth);
    if (operands.length === 0) return null;
    if (operands.length > 1) throw new Refusal(start, this.at - start, 'several values without a function; join them with printf or take the braces apart');
    return { name: null, operands };
  }

  private operands(depth: number): Operand[] {
    const found: Operand[] = [];
    for (;;) {
      this.skipBlanks();
      const operand = this.operand(depth);
      if (operand === null) return found;
      found.push(operand);
    }
  }

  private operand(depth: number): Operand | null {
    const start = this.at;
    const rest = this.source.slice(start);
    const char = rest[0];
    if (char === '"') return this.quoted(rest, start);
    if (char === '`') {
      const end = rest.indexOf('`', 1);
      if (end === -1) throw new Refusal(start, 1, 'text in `…` is not closed');
      this.at += end + 1;
      return { kind: 'literal', value: rest.slice(1, end) };
    }
    if (char === '$') {
      const name = /^\$[a-zA-Z_]?\w*/.exec(rest)?.[0] ?? '$';
      this.at += name.length;
      return this.variable(name.slice(1), start, name);
    }
    if (char === '.') {
      const name = /^\.\w*/.exec(rest)?.[0] ?? '.';
      this.at += name.length;
      const known = lookUp(dotVariables, name.slice(1));
      if (known === undefined) throw new Refusal(start, name.length, `unknown value "${name}"; ${this.knownVariables()}`);
      return this.variable(known, start, name);
    }
    if (char === '(') {
      this.at += 1;
      return { kind: 'pipeline', calls: this.pipeline(start, ')', depth + 1) };
    }
    const number = /^[-+]?\d+(\.\d+)?([eE][-+]?\d+)?/.exec(rest)?.[0];
    if (number !== undefined) {
      this.at += number.length;
      return { kind: 'literal', value: Number(number) };
    }
    const word = /^[a-zA-Z_]\w*/.exec(rest)?.[0];
    if (word !== undefined)
      throw new Refusal(start, word.length, isFunctionName(word) ? `function ${word} as a value; put it in parentheses` : unknownWord(word));
    return null;
  }

  private variable(name: string, start: number, written: string): Operand {
    if (!this.variables.has(name as TemplateVariable)) throw new Refusal(start, written.length, `unknown variable "${written}"; ${this.knownVariables()}`);
    if (!fieldVariables.has(name)) return { kind: 'variable', name: name as TemplateVariable, field: null };
    const field = /^\.[a-zA-Z_]\w*/.exec(this.source.slice(this.at))?.[0];
    if (field === undefined) throw new Refusal(start, written.length, `${written} needs the name of a label; write ${written}.severity`);
    this.at += field.length;
    return { kind: 'variable', name: name as TemplateVariable, field: field.slice(1) };
  }

  private quoted(rest: string, start: number): Operand {
    const literal = /^"(?:[^"\\\n]|\\.)*"/.exec(rest)?.[0];
    if (literal === undefined) throw new Refusal(start, 1, 'text in "…" is not closed');
    const value = unquote(literal);
    if (value === null) throw new Refusal(start, literal.length, 'unknown escape in "…"');
    this.at += literal.length;
    return { kind: 'literal', value };
  }

  private checkArity(call: Call, piped: boolean, start: number): void {
    if (call.name === null) return;
    const [min, max] = functionArity[call.name];
    const count = call.operands.length + (piped ? 1 : 0);
    if (count < min || count > max)
      throw new Refusal(start, call.name.length, `${call.name} takes ${min} value${min === 1 ? '' : 's'}${max > min ? ' or more' : ''}, found ${count}`);
    const pattern = call.operands[0];
    if (call.name === 'reReplaceAll' && pattern?.kind === 'literal' && compileRegex(String(pattern.value)).regex === undefined)
      throw new Refusal(start, this.at - start, `reReplaceAll: "${pattern.value}" is no regular expression`);
  }

  private knownVariables(): string {
    return `known here: ${[...this.variables].map((name) => (fieldVariables.has(name) ? `$${name}.<name>` : `$${name}`)).join(', ')}`;
  }

  private skipBlanks(): number {
    while (/\s/.test(this.source[this.at] ?? '')) this.at += 1;
    return this.at;
  }

  private take(expected: string): boolean {
    if (!this.source.startsWith(expected, this.at)) return false;
    this.at += expected.length;
    return true;
  }
}

function isFunctionName(word: string): word is FunctionName {
  return Object.hasOwn(functionArity, word);
}

function unknownWord(word: string): string {
  return controlWords.has(word)
    ? `"${word}" is not supported; known functions: ${functionNames.join(', ')}`
    : `unknown function "${word}"; known: ${functionNames.join(', ')}`;
}

function unquote(literal: string): string | null {
  let ok = true;
  const text = literal
    .slice(1, -1)
    .replace(/\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(.))/gs, (_, unicode: string | undefined, hex: string | undefined, char: string | undefined) => {
      if (unicode !== undefined || hex !== undefined) return String.fromCharCode(Number.parseInt(unicode ?? hex ?? '0', 16));
      const escapes: Record<string, string> = { n: '\n', t: '\t', r: '\r', '"': '"', '\\': '\\', a: '\u0007', b: '\b', f: '\f', v: '\v' };
      const plain = escapes[char ?? ''];
      if (plain === undefined) ok = false;
      return plain ?? '';
    });
  return ok ? text : null;
}

function runPipeline(calls: readonly Call[], values: TemplateValues): Value {
  let result: Value | undefined;
  for (const call of calls) {
    const operands = call.operands.map((operand) => resolve(operand, values));
    if (result !== undefined) operands.push(result);
    result = call.name === null ? (operands[0] ?? '') : callFunction(call.name, operands);
  }
  return result ?? '';
}

function resolve(operand: Operand, values: TemplateValues): Value {
  if (operand.kind === 'literal') return operand.value;
  if (operand.kind === 'pipeline') return runPipeline(operand.calls, values);
  if (operand.name === 'labels' || operand.name === 'externalLabels') {
    const map = values[operand.name] ?? {};
    return Object.hasOwn(map, operand.field ?? '') ? (map[operand.field ?? ''] ?? '') : '';
  }
  if (operand.name === 'value') return values.value ?? Number.NaN;
  return values[operand.name] ?? '<no value>';
}

function callFunction(name: FunctionName, operands: readonly Value[]): Value {
  const last = operands.at(-1) ?? '';
  switch (name) {
    case 'humanize':
      return humanize(toNumber(last));
    case 'humanize1024':
      return humanize1024(toNumber(last));
    case 'humanizeDuration':
      return humanizeDuration(toNumber(last));
    case 'humanizePercentage':
      return `${significant4(toNumber(last) * 100)}%`;
    case 'humanizeTimestamp':
      return humanizeTimestamp(toNumber(last));
    case 'toUpper':
      return formatValue(last).toUpperCase();
    case 'toLower':
      return formatValue(last).toLowerCase();
    case 'title':
      return formatValue(last).replace(/(^|[^\p{L}\p{N}_'])(\p{L})/gu, (_, before: string, letter: string) => before + letter.toUpperCase());
    case 'reReplaceAll': {
      const [pattern, replacement] = operands.map(formatValue) as [string, string];
      const { regex } = compileRegex(pattern);
      if (regex === undefined) throw new Error(`"${pattern}" is no regular expression`);
      return replaceAll(regex, formatValue(last), replacement);
    }
    case 'urlQueryEscape':
      return encodeURIComponent(formatValue(last))
        .replace(/%20/g, '+')
        .replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
    case 'printf':
      return printf(formatValue(operands[0] ?? ''), operands.slice(1));
    case 'print':
      return operands.map(formatValue).join('');
  }
}

/** As Go's `ReplaceAllString`: `$1`, `${1}`, `$name` and `${name}` are what the group took, nothing for a group that there is not. */
function replaceAll(regex: LinearRegex, text: string, replacement: string): string {
  let result = '';
  let done = 0;
  for (let from = 0; from <= text.length; ) {
    const match = regex.find(text, from);
    const [start = -1, end = -1] = match ?? [];
    if (match === null) break;
    // A match of nothing right behind another is none.
    if (end > start || start === 0 || start > done) result += text.slice(done, start) + expand(regex, text, match, replacement);
    else result += text.slice(done, start);
    done = end;
    from = end > start ? end : end + 1;
  }
  return result + text.slice(done);
}

function expand(regex: LinearRegex, text: string, match: readonly number[], replacement: string): string {
  return replacement.replace(/\$(?:(\$)|\{(\w+)\}|(\w+))/g, (_, dollar: string | undefined, braced: string | undefined, bare: string | undefined) => {
    if (dollar !== undefined) return '$';
    const group = braced ?? bare ?? '';
    const index = /^\d+$/.test(group) ? Number(group) : regex.names.get(group);
    const [start = -1, end = -1] = index === undefined ? [] : match.slice(index * 2, index * 2 + 2);
    return start === -1 ? '' : text.slice(start, end);
  });
}

function toNumber(value: Value): number {
  if (typeof value === 'number') return value;
  const text = value.trim();
  if (/^[+-]?inf(inity)?$/i.test(text)) return text.startsWith('-') ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  if (/^nan$/i.test(text)) return Number.NaN;
  const number = text === '' ? Number.NaN : Number(text);
  if (Number.isNaN(number)) throw new Error(`"${value}" is no number`);
  return number;
}

function formatValue(value: Value): string {
  return typeof value === 'string' ? value : formatNumber(value);
}

/** As Go's `%v` prints a float64. */
function formatNumber(value: number): string {
  if (Number.isNaN(value)) return 'NaN';
  if (!Number.isFinite(value)) return value > 0 ? '+Inf' : '-Inf';
  if (value !== 0 && (Math.abs(value) < 1e-4 || Math.abs(value) >= 1e21)) return padExponent(value.toExponential());
  return String(value);
}

function padExponent(text: string): string {
  return text.replace(/e([+-])(\d)$/, 'e$10$2');
}

/** As Go's `%.4g`. */
function significant4(value: number): string {
  return general(value, 4);
}

function general(value: number, precision: number): string {
  if (!Number.isFinite(value)) return formatNumber(value);
  if (value === 0) return '0';
  const exponent = Number(value.toExponential(Math.max(0, precision - 1)).split('e')[1]);
  if (exponent < -4 || exponent >= precision) return padExponent(value.toExponential(Math.max(0, precision - 1)).replace(/\.?0+e/, 'e'));
  const fixed = value.toFixed(Math.max(0, precision - 1 - exponent));
  return fixed.includes('.') ? fixed.replace(/\.?0+$/, '') : fixed;
}

const bigPrefixes = ['k', 'M', 'G', 'T', 'P', 'E', 'Z', 'Y'];
const smallPrefixes = ['m', 'u', 'n', 'p', 'f', 'a', 'z', 'y'];

function scale(value: number, prefixes: readonly string[], step: number, done: (scaled: number) => boolean): { value: number; prefix: string } {
  let scaled = value;
  let prefix = '';
  for (const next of prefixes) {
    if (done(scaled)) break;
    prefix = next;
    scaled *= step;
  }
  return { value: scaled, prefix };
}

function humanize(value: number): string {
  if (value === 0 || !Number.isFinite(value)) return significant4(value);
  const scaled =
    Math.abs(value) >= 1 ? scale(value, bigPrefixes, 1 / 1000, (v) => Math.abs(v) < 1000) : scale(value, smallPrefixes, 1000, (v) => Math.abs(v) >= 1);
  return significant4(scaled.value) + scaled.prefix;
}

function humanize1024(value: number): string {
  if (Math.abs(value) <= 1 || !Number.isFinite(value)) return significant4(value);
  const scaled = scale(
    value,
    bigPrefixes.map((prefix) => `${prefix}i`),
    1 / 1024,
    (v) => Math.abs(v) < 1024,
  );
  return significant4(scaled.value) + scaled.prefix;
}

function humanizeDuration(value: number): string {
  if (!Number.isFinite(value)) return significant4(value);
  if (value === 0) return '0s';
  if (Math.abs(value) < 1) {
    const scaled = scale(value, smallPrefixes, 1000, (v) => Math.abs(v) >= 1);
    return `${significant4(scaled.value)}${scaled.prefix}s`;
  }
  const sign = value < 0 ? '-' : '';
  const absolute = Math.abs(value);
  const whole = Math.floor(absolute);
  const [seconds, minutes, hours, days] = [whole % 60, Math.floor(whole / 60) % 60, Math.floor(whole / 3600) % 24, Math.floor(whole / 86_400)];
  if (days > 0) return `${sign}${days}d ${hours}h ${minutes}m ${seconds}s`;
  if (hours > 0) return `${sign}${hours}h ${minutes}m ${seconds}s`;
  if (minutes > 0) return `${sign}${minutes}m ${seconds}s`;
  return `${sign}${significant4(absolute)}s`;
}

/** Seconds since 1970 → `2026-11-22 11:24:00 +0000 UTC`, as Go prints a time. Civil-from-days by hand: the domain has no clock. */
function humanizeTimestamp(value: number): string {
  if (!Number.isFinite(value) || Math.abs(value) > 8.64e12) return significant4(value);
  const ms = Math.round(value * 1000);
  const days = Math.floor(ms / 86_400_000);
  const rest = ms - days * 86_400_000;
  const shifted = days + 719_468;
  const era = Math.floor(shifted / 146_097);
  const dayOfEra = shifted - era * 146_097;
  const yearOfEra = Math.floor((dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365);
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const shiftedMonth = Math.floor((5 * dayOfYear + 2) / 153);
  const day = dayOfYear - Math.floor((153 * shiftedMonth + 2) / 5) + 1;
  const month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  const two = (n: number): string => String(n).padStart(2, '0');
  const fraction =
    rest % 1000 === 0
      ? ''
      : `.${String(rest % 1000)
          .padStart(3, '0')
          .replace(/0+$/, '')}`;
  return `${String(year).padStart(4, '0')}-${two(month)}-${two(day)} ${two(Math.floor(rest / 3_600_000))}:${two(Math.floor(rest / 60_000) % 60)}:${two(Math.floor(rest / 1000) % 60)}${fraction} +0000 UTC`;
}

/** Go's `printf` with the verbs people use in alerts: %s %d %v %f %g %e %q %x %%, with flags, width and precision. */
function printf(format: string, operands: readonly Value[]): string {
  let next = 0;
  const text = format.replace(/%([-+0 ]*)(\d*)(?:\.(\d*))?([a-zA-Z%])/g, (_, flags: string, width: string, precision: string | undefined, verb: string) => {
    if (verb === '%') return '%';
    if (next >= operands.length) return `%!${verb}(MISSING)`;
    const value = operands[next] as Value;
    next += 1;
    const digits = precision === undefined ? null : Number(precision || 0);
    let shown = formatVerb(verb, value, digits) ?? `%!${verb}(${typeof value === 'number' ? 'float64' : 'string'}=${formatValue(value)})`;
    if (flags.includes('+') && typeof value === 'number' && value >= 0) shown = `+${shown}`;
    const wide = Math.min(Number(width || 0), 1000);
    if (flags.includes('-')) return shown.padEnd(wide);
    return flags.includes('0') && typeof value === 'number' ? shown.padStart(wide, '0') : shown.padStart(wide);
  });
  return next < operands.length
    ? `${text}%!(EXTRA ${operands
        .slice(next)
        .map((value) => `${typeof value === 'number' ? 'float64' : 'string'}=${formatValue(value)}`)
        .join(', ')})`
    : text;
}

function formatVerb(verb: string, value: Value, digits: number | null): string | null {
  if (verb === 'v') return formatValue(value);
  if (verb === 's') return typeof value === 'string' ? value.slice(0, digits ?? undefined) : null;
  if (verb === 'q') return typeof value === 'string' ? JSON.stringify(value) : null;
  if (typeof value !== 'number') return null;
  if (verb === 'd') return Number.isInteger(value) ? String(value) : null;
  if (!Number.isFinite(value)) return formatNumber(value);
  if (verb === 'f') return value.toFixed(Math.min(digits ?? 6, 100));
  if (verb === 'e') return padExponent(value.toExponential(Math.min(digits ?? 6, 100)));
  if (verb === 'g') return digits === null ? formatNumber(value) : general(value, Math.max(1, Math.min(digits, 100)));
  return null;
}
