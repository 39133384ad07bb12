export type ExpositionFormat = 'text' | 'openmetrics';

/** One line with a value. */
export type ExpositionSample = {
  readonly name: string;
  /** Without empty values: an empty label is no label. */
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
  /** As written on the page, `null` mostly. */
  readonly timestampMs: number | null;
};

export type ExpositionLimits = { readonly maxSamples: number; readonly maxLabels: number; readonly maxLineLength: number };

const defaultLimits: ExpositionLimits = { maxSamples: 1_000_000, maxLabels: 64, maxLineLength: 65_536 };

/** A page that is not what its format says. Nothing of it is used. */
export class ExpositionError extends Error {
  override readonly name = 'ExpositionError';
  /** 1-based. */
  readonly line: number;
  constructor(line: number, detail: string) {
    super(`line ${line}: ${detail}`);
    this.line = line;
  }
}

/** What to ask for, best first. @see https://prometheus.io/docs/instrumenting/content_negotiation/ */
export const acceptHeader =
  'application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5,' +
  'text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.1';

/** Format by Content-Type; whatever is not OpenMetrics is read as text. `null`: a format that is no text. */
export function formatOf(contentType: string | undefined): ExpositionFormat | null {
  const type = (contentType ?? '').split(';', 1)[0]?.trim().toLowerCase();
  if (type === 'application/openmetrics-text') return 'openmetrics';
  return type === 'application/vnd.google.protobuf' || type === 'text/html' ? null : 'text';
}

/**
 * Reads a metrics page: text format 0.0.4 and 1.0.0 (names and labels in quotes), OpenMetrics 1.0 (units, exemplars, `# EOF`).
 * Metadata is checked and dropped, exemplars are checked and dropped.
 * @param wanted names to keep; lines of other names are checked all the same
 * @throws {ExpositionError} at the first fault
 * @see https://prometheus.io/docs/instrumenting/exposition_formats/
 */
export function parseExposition(
  page: string,
  options: { readonly format: ExpositionFormat; readonly limits?: Partial<ExpositionLimits>; readonly wanted?: (name: string) => boolean },
): ExpositionSample[] {
  return new PageParser(page, options.format, { ...defaultLimits, ...options.limits }, options.wanted ?? (() => true)).parse();
}

const types = new Set(['counter', 'gauge', 'histogram', 'summary', 'untyped', 'unknown', 'info', 'stateset', 'gaugehistogram']);
const numberGrammar = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/;
const infinityGrammar = /^([+-]?)inf(?:inity)?$/i;

class PageParser {
  readonly #page: string;
  readonly #openMetrics: boolean;
  readonly #limits: ExpositionLimits;
  readonly #wanted: (name: string) => boolean;
  /** Place in the page, end of the present line, its number. */
  #at = 0;
  #end = 0;
  #line = 0;

  constructor(page: string, format: ExpositionFormat, limits: ExpositionLimits, wanted: (name: string) => boolean) {
    this.#page = page;
    this.#openMetrics = format === 'openmetrics';
    this.#limits = limits;
    this.#wanted = wanted;
  }

  parse(): ExpositionSample[] {
    const samples: ExpositionSample[] = [];
    let count = 0;
    let ended = false;
    for (let from = 0; from < this.#page.length; from = this.#end + 1) {
      this.#line += 1;
      this.#at = from;
      this.#end = this.#page.indexOf('\n', from);
      if (this.#end === -1) {
        this.#end = this.#page.length;
        // A number cut in two still looks like a number: a page without its last line end may be cut.
        if (!this.#openMetrics) this.#fail('the page does not end with a line end (cut short?)');
      }
      if (ended) this.#fail('content after # EOF');
      if (this.#end - from > this.#limits.maxLineLength) this.#fail(`longer than ${this.#limits.maxLineLength} characters`);
      const lineEnd = this.#end;
      if (!this.#openMetrics && this.#page[this.#end - 1] === '\r') this.#end -= 1;
      if (!this.#openMetrics) this.#skipBlanks();
      if (this.#at === this.#end) {
        if (this.#openMetrics) this.#fail('an empty line');
      } else if (this.#page[this.#at] === '#') ended = this.#comment();
      else {
        count += 1;
        if (count > this.#limits.maxSamples) this.#fail(`more than ${this.#limits.maxSamples} samples`);
        const sample = this.#sample();
        if (sample !== null) samples.push(sample);
      }
      this.#end = lineEnd;
    }
    if (this.#openMetrics && !ended) {
      this.#line += 1;
      this.#fail('the page does not end with # EOF (cut short?)');
    }
    return samples;
  }

  /** @returns whether it is OpenMetrics's end */
  #comment(): boolean {
    const line = this.#page.slice(this.#at, this.#end);
    if (this.#openMetrics) {
      if (line === '# EOF') return true;
      if (!/^# (?:TYPE|HELP|UNIT) /.test(line)) this.#fail('a comment that is none of TYPE, HELP, UNIT, EOF');
    }
    const keyword = /^#[ \t]+(TYPE)[ \t]+/.exec(line);
    if (keyword === null) return false;
    this.#at += keyword[0].length;
    if (this.#page[this.#at] === '"') this.#quoted();
    else this.#bareName('a metric name');
    const type = this.#page.slice(this.#at, this.#end).trim();
    if (!types.has(type)) this.#fail(`"${shorten(type)}" is no type of a metric`);
    return false;
  }

  #sample(): ExpositionSample | null {
    let name = this.#page[this.#at] === '{' ? null : this.#bareName('a metric name');
    const labels = Object.create(null) as Record<string, string>;
    const afterName = this.#at;
    if (!this.#openMetrics) this.#skipBlanks();
    if (this.#page[this.#at] === '{') name = this.#labels(labels, name);
    else this.#at = afterName;
    if (name === null) this.#fail('no metric name');
    if (this.#page[this.#at] !== ' ' && this.#page[this.#at] !== '\t') this.#fail('no blank before the value');
    this.#skipBlanks();
    const value = this.#value('the value');
    this.#skipBlanks();
    let timestampMs: number | null = null;
    if (this.#at < this.#end && this.#page[this.#at] !== '#') {
      timestampMs = this.#timestamp();
      this.#skipBlanks();
    }
    if (this.#at < this.#end) this.#exemplar();
    return this.#wanted(name) ? { name, labels, value, timestampMs } : null;
  }

  /** Reads `{…}` into `labels`. @returns the metric's name, which may stand in quotes among them */
  #labels(labels: Record<string, string>, outerName: string | null): string | null {
    let name = outerName;
    let count = 0;
    this.#at += 1;
    for (;;) {
      this.#skipBlanks();
      if (this.#page[this.#at] === '}') break;
      const quoted = this.#page[this.#at] === '"';
      const label = quoted ? this.#quoted() : this.#bareName('a label name');
      this.#skipBlanks();
      if (quoted && this.#page[this.#at] !== '=') {
        if (name !== null) this.#fail('the metric has two names');
        name = label;
      } else {
        this.#expect('=');
        this.#skipBlanks();
        if (this.#page[this.#at] !== '"') this.#fail(`the value of label ${shorten(label)} is not in quotes`);
        const value = this.#quoted();
        count += 1;
        if (count > this.#limits.maxLabels) this.#fail(`more than ${this.#limits.maxLabels} labels`);
        if (Object.hasOwn(labels, label)) this.#fail(`label ${shorten(label)} stands twice`);
        labels[label] = value;
      }
      this.#skipBlanks();
      if (this.#page[this.#at] === ',') this.#at += 1;
      else if (this.#page[this.#at] !== '}') this.#fail('expected , or } after a label');
    }
    this.#at += 1;
    for (const label in labels) if (labels[label] === '') delete labels[label];
    return name;
  }

  /** ` # {trace_id="…"} 0.67 1520879607.789`: checked, not kept. */
  #exemplar(): void {
    if (!this.#openMetrics || this.#page[this.#at] !== '#') this.#fail('something stands behind the value');
    this.#at += 1;
    this.#skipBlanks();
    if (this.#page[this.#at] !== '{') this.#fail('an exemplar without labels');
    this.#labels(Object.create(null) as Record<string, string>, '');
    this.#skipBlanks();
    this.#value("the exemplar's value");
    this.#skipBlanks();
    if (this.#at < this.#end) this.#timestamp();
    if (this.#at < this.#end) this.#fail('something stands behind the exemplar');
  }

  #bareName(what: string): string {
    const from = this.#at;
    const colons = what === 'a metric name';
    while (this.#at < this.#end && isNameChar(this.#page.charCodeAt(this.#at), this.#at > from, colons)) this.#at += 1;
    if (this.#at === from) this.#fail(`expected ${what}, found "${shorten(this.#page.slice(from, this.#end))}"`);
    return this.#page.slice(from, this.#at);
  }

  /** Text in double quotes, with `\\`, `\"` and `\n`; other backslashes stand for themselves, as in Prometheus. */
  #quoted(): string {
    const from = this.#at + 1;
    let escaped = false;
    for (this.#at = from; this.#at < this.#end; this.#at += 1) {
      const char = this.#page.charCodeAt(this.#at);
      if (char === 92) {
        escaped = true;
        this.#at += 1;
      } else if (char === 34) {
        const raw = this.#page.slice(from, this.#at);
        this.#at += 1;
        return escaped ? raw.replaceAll(/\\(.)/g, (whole, next: string) => (next === 'n' ? '\n' : next === '"' || next === '\\' ? next : whole)) : raw;
      }
    }
    return this.#fail('quotes that do not end');
  }

  #value(what: string): number {
    const word = this.#word();
    if (numberGrammar.test(word)) return Number(word);
    if (/^[+-]?nan$/i.test(word)) return Number.NaN;
    const infinity = infinityGrammar.exec(word);
    if (infinity !== null) return infinity[1] === '-' ? -Infinity : Infinity;
    return this.#fail(word === '' ? `${what} is missing` : `${what} is no number: "${shorten(word)}"`);
  }

  #timestamp(): number {
    const word = this.#word();
    if (this.#openMetrics ? !numberGrammar.test(word) : !/^[+-]?\d+$/.test(word))
      this.#fail(`the timestamp is no ${this.#openMetrics ? 'number of seconds' : 'whole number of milliseconds'}: "${shorten(word)}"`);
    return this.#openMetrics ? Number(word) * 1000 : Number(word);
  }

  #word(): string {
    const from = this.#at;
    while (this.#at < this.#end && this.#page[this.#at] !== ' ' && this.#page[this.#at] !== '\t') this.#at += 1;
    return this.#page.slice(from, this.#at);
  }

  #skipBlanks(): void {
    while (this.#at < this.#end && (this.#page[this.#at] === ' ' || this.#page[this.#at] === '\t')) this.#at += 1;
  }

  #expect(char: string): void {
    if (this.#page[this.#at] !== char) this.#fail(`expected ${char} after the label's name`);
    this.#at += 1;
  }

  #fail(detail: string): never {
    throw new ExpositionError(this.#line, detail);
  }
}

function isNameChar(code: number, notFirst: boolean, colons: boolean): boolean {
  if ((code >= 97 && code <= 122) || (code >= 65 && code <= 90) || code === 95) return true;
  if (code === 58) return colons;
  return notFirst && code >= 48 && code <= 57;
}

function shorten(text: string): string {
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
}
