import { create, type DescField, type DescMessage, type MessageShape, ScalarType } from '@bufbuild/protobuf';
import { type ReflectMessage, reflect } from '@bufbuild/protobuf/reflect';
import type { Place } from '../../../domain/rule.ts';

/**
 * Protocol Buffers' text format: a reader that knows every place, and a writer.
 * Stricter than the server in one thing: what we would lose on the way back (an unknown field, an extension, an expanded
 * Any of a type we do not have) is refused with its place.
 * @see https://protobuf.dev/reference/protobuf/textformat-spec/
 */

/** A fault in a text-format file. The message begins with `file:line:column`. */
export class TextFormatError extends Error {
  override readonly name = 'TextFormatError';
  readonly place: Place;
  constructor(place: Place, what: string) {
    super(`${place.file}:${place.line}:${place.column}: ${what}`);
    this.place = place;
  }
}

/** A value with its span: UTF-16 offsets, `end` exclusive. */
export type TextValue = { readonly start: number; readonly end: number } & (
  | { readonly kind: 'string'; readonly bytes: Uint8Array }
  | { readonly kind: 'number' | 'word'; readonly text: string; readonly negative: boolean }
  | TextMessageValue
);
/** `bodyEnd` is the offset of the closing bracket. */
export type TextMessageValue = {
  readonly kind: 'message';
  readonly start: number;
  readonly end: number;
  readonly bodyStart: number;
  readonly bodyEnd: number;
  readonly fields: readonly TextField[];
};

/** One field as written; `values` holds several only in list syntax. `end` is after the last value, `endWithSeparator` after a `,` or `;`. */
export type TextField = {
  readonly name: string;
  readonly start: number;
  readonly end: number;
  readonly endWithSeparator: number;
  readonly isList: boolean;
  readonly values: readonly TextValue[];
};

type Token = { readonly kind: 'word' | 'number' | 'string' | 'symbol' | 'end'; readonly text: string; readonly start: number; readonly end: number };

const wordPattern = /[A-Za-z_][A-Za-z0-9_]*/y;
const numberPattern = /0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?[fF]?/y;
const blankPattern = /(?:[\s\0]|#[^\n]*)*/y;
const maxDepth = 100;

/** Reads a whole file into its syntax tree. @throws {TextFormatError} */
export function parseText(text: string, file: string): TextMessageValue {
  return new Parser(text, file).parseFile();
}

class Parser {
  readonly #text: string;
  readonly #file: string;
  #token: Token;
  #depth = 0;

  constructor(text: string, file: string) {
    this.#text = text;
    this.#file = file;
    this.#token = this.#scan(0);
  }

  parseFile(): TextMessageValue {
    const fields = this.#fields(null);
    return { kind: 'message', start: 0, end: this.#text.length, bodyStart: 0, bodyEnd: this.#text.length, fields };
  }

  #fail(offset: number, what: string): never {
    throw new TextFormatError(placeAt(this.#text, this.#file, offset), what);
  }

  #shown(): string {
    if (this.#token.kind === 'end') return 'the end of the file';
    const text = this.#token.text;
    return `"${text.length > 30 ? `${text.slice(0, 30)}…` : text}"`;
  }

  #scan(from: number): Token {
    blankPattern.lastIndex = from;
    blankPattern.exec(this.#text);
    const start = blankPattern.lastIndex;
    const char = this.#text[start];
    if (char === undefined) return { kind: 'end', text: '', start, end: start };
    if (char === '"' || char === "'") {
      let end = start + 1;
      for (;;) {
        const next = this.#text[end];
        if (next === undefined || next === '\n') this.#fail(start, 'found a string without its end on this line, expected a closing quote');
        if (next === char) break;
        end += next === '\\' ? 2 : 1;
      }
      return { kind: 'string', text: this.#text.slice(start, end + 1), start, end: end + 1 };
    }
    for (const [kind, pattern] of [
      ['word', wordPattern],
      ['number', numberPattern],
    ] as const) {
      pattern.lastIndex = start;
      const match = pattern.exec(this.#text);
      if (match === null) continue;
      const end = start + match[0].length;
      if (kind === 'number' && /[A-Za-z0-9_]/.test(this.#text[end] ?? ''))
        this.#fail(end, `found "${this.#text[end]}" right behind the number ${match[0]}, expected a blank`);
      return { kind, text: match[0], start, end };
    }
    if ('{}<>[]:,;-./'.includes(char)) return { kind: 'symbol', text: char, start, end: start + 1 };
    this.#fail(start, `found ${JSON.stringify(char)}, expected a field name, a value or a bracket`);
  }

  #next(): Token {
    const token = this.#token;
    this.#token = this.#scan(token.end);
    return token;
  }

  #accept(symbol: string): Token | null {
    return this.#isSymbol(symbol) ? this.#next() : null;
  }

  #isSymbol(symbol: string): boolean {
    return this.#token.kind === 'symbol' && this.#token.text === symbol;
  }

  #fields(closing: '}' | '>' | null): TextField[] {
    const fields: TextField[] = [];
    for (;;) {
      if (this.#token.kind === 'end') {
        if (closing !== null) this.#fail(this.#token.start, `found the end of the file, expected "${closing}"`);
        return fields;
      }
      if (closing !== null && this.#isSymbol(closing)) return fields;
      fields.push(this.#field());
    }
  }

  #field(): TextField {
    const start = this.#token.start;
    if (this.#isSymbol('[')) {
      this.#fail(start, 'found an extension or an expanded Any in brackets, which rollbackd cannot keep; write type_url: "…" value: "…" instead');
    }
    if (this.#token.kind !== 'word') this.#fail(start, `found ${this.#shown()}, expected a field name`);
    const name = this.#next().text;
    const colon = this.#accept(':') !== null;
    const isList = this.#isSymbol('[');
    const values = isList ? this.#list(colon) : [this.#value(name, colon)];
    const end = isList ? this.#next().end : (values[0] as TextValue).end;
    const separator = this.#accept(',') ?? this.#accept(';');
    return { name, start, end, endWithSeparator: separator?.end ?? end, isList, values };
  }

  /** Leaves the closing bracket as the present token. */
  #list(colon: boolean): TextValue[] {
    this.#next();
    const values: TextValue[] = [];
    if (this.#isSymbol(']')) return values;
    for (;;) {
      values.push(this.#value('', colon));
      if (this.#isSymbol(']')) return values;
      if (this.#accept(',') === null) this.#fail(this.#token.start, `found ${this.#shown()}, expected "," or "]"`);
    }
  }

  #value(name: string, colon: boolean): TextValue {
    const open = this.#accept('{') ?? this.#accept('<');
    if (open !== null) return this.#message(open);
    if (!colon) this.#fail(this.#token.start, `found ${this.#shown()}${name === '' ? '' : ` behind ${name}`}, expected ":" or "{"`);
    if (this.#token.kind === 'string') return this.#string();
    const minus = this.#accept('-');
    if (this.#token.kind === 'number' || this.#token.kind === 'word') {
      const token = this.#next();
      return { kind: token.kind as 'number' | 'word', text: token.text, negative: minus !== null, start: minus?.start ?? token.start, end: token.end };
    }
    this.#fail(this.#token.start, `found ${this.#shown()}, expected a value`);
  }

  #message(open: Token): TextMessageValue {
    if ((this.#depth += 1) > maxDepth) this.#fail(open.start, `found more than ${maxDepth} messages in each other`);
    const closing = open.text === '{' ? '}' : '>';
    const fields = this.#fields(closing);
    this.#depth -= 1;
    const close = this.#next();
    return { kind: 'message', start: open.start, end: close.end, bodyStart: open.end, bodyEnd: close.start, fields };
  }

  #string(): TextValue {
    const start = this.#token.start;
    let end = start;
    const parts: Uint8Array[] = [];
    while (this.#token.kind === 'string') {
      const token = this.#next();
      parts.push(this.#unescape(token));
      end = token.end;
    }
    return { kind: 'string', bytes: Buffer.concat(parts), start, end };
  }

  #unescape(token: Token): Uint8Array {
    const body = token.text.slice(1, -1);
    if (!body.includes('\\')) return Buffer.from(body, 'utf8');
    const parts: Uint8Array[] = [];
    const escapes = /\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([abfnrtv\\'"?])|)/g;
    let from = 0;
    for (let match = escapes.exec(body); match !== null; match = escapes.exec(body)) {
      parts.push(Buffer.from(body.slice(from, match.index), 'utf8'));
      from = escapes.lastIndex;
      const [, octal, hex, short, long, simple] = match;
      const offset = token.start + 1 + match.index;
      if (octal !== undefined) parts.push(Uint8Array.of(Number.parseInt(octal, 8) & 0xff));
      else if (hex !== undefined) parts.push(Uint8Array.of(Number.parseInt(hex, 16)));
      else if (simple !== undefined) parts.push(Buffer.from(simpleEscapes[simple] ?? simple, 'utf8'));
      else {
        const point = Number.parseInt(short ?? long ?? '', 16);
        if (!(point <= 0x10_ff_ff) || (point >= 0xd8_00 && point <= 0xdf_ff))
          this.#fail(offset, `found the escape ${JSON.stringify(body.slice(match.index, match.index + 10))}, expected one of \\n \\t \\" \\x41 \\101 \\u00e9`);
        parts.push(Buffer.from(String.fromCodePoint(point), 'utf8'));
      }
    }
    parts.push(Buffer.from(body.slice(from), 'utf8'));
    return Buffer.concat(parts);
  }
}

const simpleEscapes: Readonly<Record<string, string>> = { a: '\x07', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t', v: '\v' };

/** 1-based line and column of an offset. */
export function placeAt(text: string, file: string, offset: number): Place {
  const before = text.slice(0, offset);
  const line = before.split('\n').length;
  return { file, line, column: offset - (before.lastIndexOf('\n') + 1) + 1 };
}

/**
 * Builds a message from a syntax tree.
 * @throws {TextFormatError} for an unknown field, a value of the wrong type or range, a field given twice
 */
export function bindText<Desc extends DescMessage>(schema: Desc, tree: TextMessageValue, text: string, file: string): MessageShape<Desc> {
  const message = create(schema);
  bindInto(reflect(schema, message), tree, (offset, what) => {
    throw new TextFormatError(placeAt(text, file, offset), what);
  });
  return message;
}

/** Reads text straight into a message. @throws {TextFormatError} */
export function fromText<Desc extends DescMessage>(schema: Desc, text: string, file: string): MessageShape<Desc> {
  return bindText(schema, parseText(text, file), text, file);
}

type Fail = (offset: number, what: string) => never;

function bindInto(target: ReflectMessage, tree: TextMessageValue, fail: Fail): void {
  const seen = new Set<string>();
  for (const written of tree.fields) {
    const field = target.desc.fields.find((candidate) => candidate.name === written.name);
    if (field === undefined) {
      const known = target.desc.fields.map((candidate) => candidate.name).join(', ');
      fail(
        written.start,
        `${written.name}: unknown field of ${target.desc.typeName}; rollbackd would lose it when it sends the list, so it does not own this file. Known fields: ${known}`,
      );
    }
    const isMany = field.fieldKind === 'list' || field.fieldKind === 'map';
    if (!isMany) {
      if (written.isList && written.values.length !== 1) fail(written.start, `${field.name}: found a list, expected one value`);
      const slot = field.oneof?.name ?? field.name;
      if (seen.has(slot))
        fail(
          written.start,
          `${field.name}: ${seen.has(field.name) || field.oneof === undefined ? 'given twice' : `a second choice of ${slot}`}, expected it once`,
        );
      seen.add(slot);
      seen.add(field.name);
    }
    for (const value of written.values) bindValue(target, field, value, fail);
  }
}

function bindValue(target: ReflectMessage, field: DescField, value: TextValue, fail: Fail): void {
  switch (field.fieldKind) {
    case 'scalar':
      target.set(field, scalarOf(field.scalar, field.name, value, fail));
      return;
    case 'enum':
      target.set(field, enumOf(field, value, fail));
      return;
    case 'message':
      target.set(field, messageOf(field.message, field.name, value, fail));
      return;
    case 'list': {
      const list = target.get(field);
      if (field.listKind === 'scalar') list.add(scalarOf(field.scalar, field.name, value, fail));
      else if (field.listKind === 'enum') list.add(enumOf(field, value, fail));
      else list.add(messageOf(field.message, field.name, value, fail));
      return;
    }
    case 'map':
      bindMapEntry(target, field, value, fail);
  }
}

function bindMapEntry(target: ReflectMessage, field: DescField & { fieldKind: 'map' }, value: TextValue, fail: Fail): void {
  if (value.kind !== 'message') fail(value.start, `${field.name}: expected an entry { key: … value: … }`);
  if (field.mapKind !== 'scalar') throw new Error(`map ${field.name} of ${field.mapKind}: not needed, not written`);
  let key: unknown = field.mapKey === ScalarType.STRING ? '' : 0;
  let entry: unknown = field.scalar === ScalarType.STRING ? '' : 0n;
  for (const part of value.fields) {
    const written = part.values[0];
    if ((part.name !== 'key' && part.name !== 'value') || written === undefined || part.values.length !== 1)
      fail(part.start, `${field.name}.${part.name}: expected key or value, once each`);
    if (part.name === 'key') key = scalarOf(field.mapKey, `${field.name}.key`, written, fail);
    else entry = scalarOf(field.scalar, `${field.name}.value`, written, fail);
  }
  target.get(field).set(key, entry);
}

function messageOf(schema: DescMessage, name: string, value: TextValue, fail: Fail): ReflectMessage {
  if (value.kind !== 'message') fail(value.start, `${name}: expected a message { … }`);
  const message = reflect(schema);
  bindInto(message, value, fail);
  return message;
}

function enumOf(field: DescField & { enum?: unknown }, value: TextValue, fail: Fail): number {
  const values = (field as { enum: { values: readonly { name: string; number: number }[] } }).enum.values;
  const found = value.kind === 'word' && !value.negative ? values.find((candidate) => candidate.name === value.text) : undefined;
  if (found !== undefined) return found.number;
  if (value.kind === 'number') return Number(integerOf(value, field.name, -(2n ** 31n), 2n ** 31n - 1n, fail));
  fail(value.start, `${field.name}: expected one of ${values.map((candidate) => candidate.name).join(', ')}`);
}

/** Bits and sign of each integer type. */
const integers: Partial<Record<ScalarType, readonly [bits: bigint, signed: boolean]>> = {
  [ScalarType.INT32]: [32n, true],
  [ScalarType.SINT32]: [32n, true],
  [ScalarType.SFIXED32]: [32n, true],
  [ScalarType.UINT32]: [32n, false],
  [ScalarType.FIXED32]: [32n, false],
  [ScalarType.INT64]: [64n, true],
  [ScalarType.SINT64]: [64n, true],
  [ScalarType.SFIXED64]: [64n, true],
  [ScalarType.UINT64]: [64n, false],
  [ScalarType.FIXED64]: [64n, false],
};

function scalarOf(type: ScalarType, name: string, value: TextValue, fail: Fail): string | bigint | number | boolean | Uint8Array {
  if (type === ScalarType.STRING || type === ScalarType.BYTES) {
    if (value.kind !== 'string') fail(value.start, `${name}: expected a string in quotes`);
    if (type === ScalarType.BYTES) return value.bytes;
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(value.bytes);
    } catch {
      fail(value.start, `${name}: expected a string of valid UTF-8`);
    }
  }
  if (value.kind === 'message' || value.kind === 'string') fail(value.start, `${name}: expected a plain value`);
  if (type === ScalarType.BOOL) {
    if (!value.negative && ['true', 'True', 't', '1'].includes(value.text)) return true;
    if (!value.negative && ['false', 'False', 'f', '0'].includes(value.text)) return false;
    fail(value.start, `${name}: expected true or false`);
  }
  if (type === ScalarType.DOUBLE || type === ScalarType.FLOAT) return floatOf(value, name, fail);
  const [bits, signed] = integers[type] ?? [64n, true];
  const integer = integerOf(value, name, signed ? -(2n ** (bits - 1n)) : 0n, 2n ** (signed ? bits - 1n : bits) - 1n, fail);
  return bits === 64n ? integer : Number(integer);
}

type PlainValue = Extract<TextValue, { kind: 'number' | 'word' }>;

function integerOf(value: PlainValue, name: string, least: bigint, most: bigint, fail: Fail): bigint {
  const text = value.text;
  const isInteger = value.kind === 'number' && (/^(0|[1-9]\d*)$/.test(text) || /^0[0-7]+$/.test(text) || /^0[xX]/.test(text));
  if (!isInteger) fail(value.start, `${name}: expected a whole number`);
  const size = BigInt(/^0[0-7]+$/.test(text) ? `0o${text.slice(1)}` : text);
  const integer = value.negative ? -size : size;
  if (integer < least || integer > most) fail(value.start, `${name}: expected a number from ${least} to ${most}`);
  return integer;
}

function floatOf(value: PlainValue, name: string, fail: Fail): number {
  const sign = value.negative ? -1 : 1;
  if (value.kind === 'number') return sign * Number(/^0[xX]/.test(value.text) ? value.text : value.text.replace(/[fF]$/, ''));
  const word = value.text.toLowerCase();
  if (word === 'inf' || word === 'infinity') return sign * Number.POSITIVE_INFINITY;
  if (word === 'nan') return Number.NaN;
  fail(value.start, `${name}: expected a number`);
}

/** How a message is laid out: `indent` a level on lines of their own, or all on one line. */
export type TextLayout = { readonly kind: 'lines'; readonly indent: string; readonly newline: string } | { readonly kind: 'line' };

/**
 * Writes a message as text format, fields in the order of their declaration, map entries sorted.
 * @throws {Error} when the message holds unknown fields: they have no text
 */
export function toText<Desc extends DescMessage>(
  schema: Desc,
  message: MessageShape<Desc>,
  layout: TextLayout = { kind: 'lines', indent: '', newline: '\n' },
): string {
  const parts = fieldTexts(reflect(schema, message), layout);
  return layout.kind === 'line' ? parts.join(' ') : parts.map((part) => layout.indent + part + layout.newline).join('');
}

function fieldTexts(message: ReflectMessage, layout: TextLayout): string[] {
  if ((message.message.$unknown ?? []).length > 0)
    throw new Error(`${message.desc.typeName} holds fields that rollbackd does not know; they have no text form`);
  const out: string[] = [];
  for (const field of message.desc.fields) {
    if (!message.isSet(field)) continue;
    if (field.fieldKind === 'scalar') out.push(`${field.name}: ${scalarText(message.get(field))}`);
    else if (field.fieldKind === 'enum') out.push(`${field.name}: ${enumText(field.enum.values, message.get(field))}`);
    else if (field.fieldKind === 'message') out.push(`${field.name} ${braces(fieldTexts(message.get(field), deeper(layout)), layout)}`);
    else if (field.fieldKind === 'list') {
      for (const item of message.get(field)) {
        if (field.listKind === 'message') out.push(`${field.name} ${braces(fieldTexts(item as ReflectMessage, deeper(layout)), layout)}`);
        else out.push(`${field.name}: ${field.listKind === 'enum' ? enumText(field.enum.values, item as number) : scalarText(item)}`);
      }
    } else {
      const entries = [...message.get(field).entries()].toSorted(([a], [b]) => (String(a) < String(b) ? -1 : 1));
      for (const [key, value] of entries) out.push(`${field.name} ${braces([`key: ${scalarText(key)}`, `value: ${scalarText(value)}`], { kind: 'line' })}`);
    }
  }
  return out;
}

function deeper(layout: TextLayout): TextLayout {
  return layout.kind === 'line' ? layout : { ...layout, indent: `${layout.indent}  ` };
}

function braces(parts: readonly string[], layout: TextLayout): string {
  if (parts.length === 0) return '{}';
  if (layout.kind === 'line') return `{ ${parts.join(' ')} }`;
  const inner = deeper(layout) as Extract<TextLayout, { kind: 'lines' }>;
  return `{${layout.newline}${parts.map((part) => inner.indent + part + layout.newline).join('')}${layout.indent}}`;
}

function enumText(values: readonly { name: string; number: number }[], value: number): string {
  return values.find((candidate) => candidate.number === value)?.name ?? String(value);
}

function scalarText(value: unknown): string {
  if (typeof value === 'string') return quote(Buffer.from(value, 'utf8'), true);
  if (value instanceof Uint8Array) return quote(value, false);
  if (typeof value === 'number' && !Number.isFinite(value)) return Number.isNaN(value) ? 'nan' : value > 0 ? 'inf' : '-inf';
  return Object.is(value, -0) ? '-0' : String(value);
}

/** A string in double quotes; anything that is not printable ASCII as octal, or (valid UTF-8) as it stands. */
export function quote(bytes: Uint8Array, isUtf8: boolean): string {
  const text = isUtf8 ? Buffer.from(bytes).toString('utf8') : Buffer.from(bytes).toString('latin1');
  const escaped = text.replaceAll(isUtf8 ? /[\\"\x00-\x1f\x7f]/g : /[\\"\x00-\x1f\x7f-\xff]/g, (char) => {
    if (char === '\n') return '\\n';
    if (char === '"' || char === '\\') return `\\${char}`;
    return `\\${char.charCodeAt(0).toString(8).padStart(3, '0')}`;
  });
  return `"${escaped}"`;
}
