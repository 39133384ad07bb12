import { isAbsolute, resolve } from 'node:path';
import { type Alias, type Document, isAlias, isMap, isPair, isScalar, isSeq, LineCounter, type Node, type Pair, parseDocument, visit } from 'yaml';
import type { z } from 'zod';
import { type Diagnostic, formatPath, type Severity } from './diagnostic.ts';
import { type Place, placeOf } from './schema-walk.ts';
import { isSecretKey, mask, maskLine, type Span, secretSpans, secretSpansOfRawLine } from './secrets.ts';

const maxBytes = 4 * 1024 * 1024;
const maxDepth = 64;
const maxAliasedNodes = 10_000;
/** More faults than that help nobody. */
const maxFaults = 200;

type Range = { readonly from: number; readonly to: number };
type Report = {
  readonly code: string;
  readonly severity?: Severity;
  readonly at?: 'key' | 'value';
  readonly within?: { readonly offset: number; readonly length: number };
};

/**
 * One YAML file: its text, its nodes and every fault found in it so far. Faults are added by `report`, which knows how to
 * find the place of a path and how to keep secrets out of what is shown.
 */
export class YamlFile {
  /** As shown in diagnostics. */
  readonly file: string;
  readonly text: string;
  readonly diagnostics: Diagnostic[] = [];
  private readonly lines = new LineCounter();
  private readonly document: Document.Parsed | null;
  private readonly broken: boolean;
  private readonly structureKnown: boolean;
  private secrets: readonly Span[] | null = null;
  private targets: ReadonlyMap<Alias, Node> | null = null;
  private aliasedNodes = 0;

  /** @param source text, or the file's bytes (then they must be UTF-8) */
  constructor(file: string, source: string | Uint8Array) {
    this.file = file;
    const bytes = typeof source === 'string' ? source.length : source.byteLength;
    if (bytes > maxBytes) {
      this.text = '';
      this.document = null;
      this.broken = true;
      this.structureKnown = false;
      this.lines.addNewLine(0);
      this.add({ from: 0, to: 1 }, [], `file has ${bytes} bytes, expected at most ${maxBytes}; split it`, { code: 'too_big' });
      return;
    }
    const decoded = decode(source);
    this.text = decoded.text;
    for (let at = -1; ; ) {
      this.lines.addNewLine(at + 1);
      at = this.text.indexOf('\n', at + 1);
      if (at === -1) break;
    }
    const refusal =
      decoded.badAt === null
        ? unreadable(this.text)
        : { at: decoded.badAt, message: 'found bytes that are no UTF-8, expected UTF-8 text; save the file as UTF-8' };
    if (refusal !== null) {
      this.document = null;
      this.broken = true;
      this.structureKnown = false;
      this.add({ from: refusal.at, to: refusal.at + 1 }, [], refusal.message, { code: 'unreadable' });
      return;
    }
    this.document = this.parse();
    const problems = [...(this.document?.errors ?? []), ...(this.document?.warnings ?? [])];
    this.broken = this.document === null || problems.length > 0;
    this.structureKnown = this.document !== null && problems.every((problem) => problem.code === 'DUPLICATE_KEY' || problem.code === 'TAG_RESOLVE_FAILED');
    let lastLine = -2;
    for (const problem of problems) {
      const [from, to] = problem.pos;
      // One slip often makes the parser stumble again in the next line; that would only hide the place that counts.
      const { line } = this.position(from);
      if (problem.code !== 'DUPLICATE_KEY' && line <= lastLine + 1) continue;
      if (problem.code !== 'DUPLICATE_KEY') lastLine = line;
      const word = problem.code === 'DUPLICATE_KEY' ? (/^[\w-]+/.exec(this.text.slice(from, from + 100))?.[0].length ?? 1) : 1;
      this.add({ from, to: Math.max(to, from + word) }, [], yamlMessage(problem.code, problem.message), { code: 'yaml' });
    }
    if (this.document !== null && this.document.contents === null && !this.broken)
      this.add({ from: 0, to: 1 }, [], 'file is empty, expected a map of keys', { code: 'empty' });
    if (this.text.startsWith('\uFEFF'))
      this.add({ from: 0, to: 1 }, [], 'file starts with a byte order mark; save it as UTF-8 without BOM', { code: 'byte_order_mark', severity: 'warning' });
  }

  private parse(): Document.Parsed | null {
    try {
      return parseDocument(this.text, { stringKeys: true, prettyErrors: false, uniqueKeys: true, logLevel: 'error' });
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      this.add({ from: 0, to: 1 }, [], `nested deeper than ${maxDepth} levels`, { code: 'too_deep' });
      return null;
    }
  }

  /** Whether the structure of the YAML is beyond doubt; only then paths mean anything. */
  get isReadable(): boolean {
    return this.structureKnown && this.document?.contents != null;
  }

  /**
   * The file (or what stands at `path`) as a plain value, ready for `schema`: paths made absolute below `folder`, texts as they stand in the file.
   * Gives `undefined` when nesting or aliases go too far (told as a fault).
   */
  plain(schema: z.ZodType, folder: string | null, path: readonly PropertyKey[] = []): unknown {
    const { node: contents, rest } = this.walk(path);
    if (contents === null || contents === undefined || rest > 0) return undefined;
    this.aliasedNodes = 0;
    try {
      return this.plainOf(contents, placeOf(schema), folder, 0, false);
    } catch (error) {
      if (error instanceof Unusable) {
        this.add(error.range, [], error.message, { code: 'yaml' });
        return undefined;
      }
      throw error;
    }
  }

  private plainOf(node: unknown, place: Place, folder: string | null, depth: number, aliased: boolean): unknown {
    const range = rangeOf(node) ?? { from: 0, to: 1 };
    if (depth > maxDepth) throw new Unusable(range, `nested deeper than ${maxDepth} levels`);
    if (aliased) {
      this.aliasedNodes += 1;
      if (this.aliasedNodes > maxAliasedNodes) throw new Unusable(range, 'aliases expand to more than 10,000 values');
    }
    if (isAlias(node)) {
      const target = this.follow(node);
      if (target === undefined) throw new Unusable(range, 'alias points to no anchor above it; quote the text if the * is part of it');
      return this.plainOf(target, place, folder, depth + 1, true);
    }
    if (isMap(node)) {
      const value: Record<string, unknown> = {};
      for (const pair of node.items) {
        const key = keyOf(pair);
        // Schemas would leave it out of a map without a word.
        if (key === '__proto__') throw new Unusable(rangeOf(pair.key) ?? range, 'found the key __proto__, expected another name; no key can be called so');
        value[key] = this.plainOf(pair.value, place.field(key), folder, depth + 1, aliased);
      }
      return value;
    }
    if (isSeq(node)) return node.items.map((item, i) => this.plainOf(item, place.element(i), folder, depth + 1, aliased));
    if (!isScalar(node)) return null;
    const { value } = node;
    if (place.isText && (typeof value === 'number' || typeof value === 'boolean') && node.source !== undefined) return node.source;
    if (place.isPath && typeof value === 'string' && value !== '' && folder !== null) return isAbsolute(value) ? value : resolve(folder, value);
    return typeof value === 'bigint' ? Number(value) : value;
  }

  private follow(alias: Alias): unknown {
    this.targets ??= this.document === null ? new Map() : aliasTargets(this.document);
    return this.targets.get(alias);
  }

  /** Tells a fault at a path; where the path leads nowhere, at its nearest existing parent. */
  report(path: readonly PropertyKey[], message: string, options: Report): void {
    this.add(this.rangeAt(path, options), path, message, options);
  }

  /** Place of the value (or key) at a path, 1-based. */
  placeAt(path: readonly PropertyKey[], at: 'key' | 'value' = 'value'): { line: number; column: number } {
    const { line, col } = this.position(this.rangeAt(path, { code: '', at }).from);
    return { line, column: col };
  }

  /** Whether something is written at this path, be it empty. */
  has(path: readonly PropertyKey[]): boolean {
    return this.walk(path).rest === 0;
  }

  /** What stands at a path, in words fit for a message. */
  found(path: readonly PropertyKey[]): string {
    const { node, rest, pair } = this.walk(path);
    if (rest > 0) return 'nothing';
    const range = rangeOf(node);
    if ((pair !== null && isSecretKey(keyOf(pair))) || (range !== null && this.secretsWithin(range).length > 0)) return mask;
    if (isMap(node)) return 'a map';
    if (isSeq(node)) return 'a list';
    if (!isScalar(node) || node.value === null) return 'nothing';
    if (typeof node.value === 'string') {
      const shown = maskLine(node.value, secretSpans(node.value), { start: 0, length: 1 }).line;
      return JSON.stringify(shown.length > 60 ? `${shown.slice(0, 57)}…` : shown);
    }
    return (node.source ?? 'a value').slice(0, 60);
  }

  private walk(path: readonly PropertyKey[]): { node: unknown; pair: Pair | null; rest: number } {
    let node: unknown = this.document?.contents ?? null;
    let pair: Pair | null = null;
    for (const [i, step] of path.entries()) {
      for (let hops = 0; isAlias(node) && hops < maxDepth; hops += 1) node = this.follow(node);
      const next = isMap(node) ? node.items.find((item) => keyOf(item) === String(step)) : isSeq(node) ? node.items[Number(step)] : undefined;
      if (next === undefined) return { node, pair, rest: path.length - i };
      if (isPair(next)) {
        pair = next;
        node = next.value;
      } else {
        pair = null;
        node = next;
      }
    }
    return { node, pair, rest: 0 };
  }

  private rangeAt(path: readonly PropertyKey[], options: Report): Range {
    const { node, pair, rest } = this.walk(path);
    const key = rangeOf(pair?.key);
    if (rest === 0 && options.at === 'key' && key !== null) return key;
    if (rest === 0 && options.within !== undefined && isScalar(node)) {
      const inside = this.rangeWithin(node, options.within);
      if (inside !== null) return inside;
    }
    // An empty value has no width, and a block below a key is best shown by the first key in it.
    if (isMap(node) && !node.flow && node.items[0] !== undefined) return rangeOf(node.items[0].key) ?? { from: 0, to: 1 };
    const range = rangeOf(node);
    if (range === null || range.to === range.from || (isScalar(node) && (node.source ?? '') === '' && node.value === null))
      return key ?? range ?? { from: 0, to: 1 };
    return range;
  }

  /** Maps an offset in a scalar's value to the file. Folding, indentation and escapes change blanks only (and quotes), so the other characters are counted. */
  private rangeWithin(node: Node, within: { readonly offset: number; readonly length: number }): Range | null {
    const range = rangeOf(node);
    if (range === null || !isScalar(node) || typeof node.value !== 'string') return null;
    const written = solidCharacters(this.text, range, node.type ?? 'PLAIN');
    const value = node.value;
    const before = value.slice(0, within.offset).replace(/\s/g, '').length;
    const count = value.slice(within.offset, within.offset + within.length).replace(/\s/g, '').length;
    const first = written[before];
    if (first === undefined) {
      const last = written.at(-1);
      return last === undefined ? null : { from: last[1], to: last[1] + 1 };
    }
    return { from: first[0], to: written[before + Math.max(1, count) - 1]?.[1] ?? first[1] };
  }

  private position(offset: number): { line: number; col: number } {
    const { line, col } = this.lines.linePos(Math.min(offset, this.text.length));
    // A byte order mark is no column of its own.
    return line === 1 && this.text.startsWith('\uFEFF') ? { line, col: Math.max(1, col - 1) } : { line: Math.max(1, line), col: Math.max(1, col) };
  }

  private add(range: Range, path: readonly PropertyKey[], message: string, options: Report): void {
    if (this.diagnostics.length >= maxFaults) return;
    // What lies behind the last line break is shown at the end of the text.
    let from = Math.min(range.from, this.text.length);
    if (from === this.text.length && from > 0) from = Math.max(0, this.text.trimEnd().length);
    const lineStart = this.text.lastIndexOf('\n', from - 1) + 1;
    const nextBreak = this.text.indexOf('\n', from);
    const lineEnd = nextBreak === -1 ? this.text.length : nextBreak;
    const to = Math.max(from + 1, Math.min(range.to, Math.max(lineStart, this.text.slice(lineStart, lineEnd).trimEnd().length + lineStart)));
    const { line, col } = this.position(from);
    const shown = this.show(lineStart, lineEnd, { start: from - lineStart, length: to - from });
    this.diagnostics.push({
      file: this.file,
      line,
      column: col,
      endColumn: col + (to - from),
      path: formatPath(path),
      message,
      code: options.code,
      severity: options.severity ?? 'error',
      sourceLine: shown.line,
      caret: shown.caret,
    });
  }

  private show(lineStart: number, lineEnd: number, caret: { start: number; length: number }): { line: string; caret: { start: number; length: number } } {
    const raw = this.text
      .slice(lineStart, lineEnd)
      .replace(/\r$/, '')
      .replace(/[\uFEFF]/g, ' ');
    const spans = [
      ...this.secretsWithin({ from: lineStart, to: lineEnd }).map(
        ([start, end]): Span => [Math.max(0, start - lineStart), Math.min(raw.length, end - lineStart)],
      ),
      ...secretSpans(raw),
      ...(this.broken ? secretSpansOfRawLine(raw) : []),
    ];
    const masked = maskLine(raw, spans, caret);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they would garble a terminal
    const clean = masked.line.replace(/[\u0000-\u0008\u000B-\u001F\u007F-\u009F]/g, '\uFFFD');
    if (clean.length <= 160) return { line: clean, caret: masked.caret };
    const start = Math.max(0, masked.caret.start - 60);
    const cut = `${start > 0 ? '…' : ''}${clean.slice(start, start + 150)}…`;
    const shifted = masked.caret.start - start + (start > 0 ? 1 : 0);
    return { line: cut, caret: { start: shifted, length: Math.max(1, Math.min(masked.caret.length, cut.length - shifted)) } };
  }

  private secretsWithin(range: Range): readonly Span[] {
    this.secrets ??= this.findSecrets();
    return this.secrets.filter(([start, end]) => start < range.to && end > range.from);
  }

  private findSecrets(): readonly Span[] {
    const spans: Span[] = [];
    if (this.document === null) return spans;
    const hide = (node: unknown): void => {
      const range = rangeOf(node);
      if (range !== null) spans.push([range.from, range.to]);
    };
    try {
      visit(this.document, {
        Pair: (_, pair) => {
          // The names of users may be seen.
          if (keyOf(pair) === 'basic_auth_users') {
            if (isMap(pair.value)) for (const item of pair.value.items) hide(item.value);
            else hide(pair.value);
          }
          if (!isSecretKey(keyOf(pair)) || (isMap(pair.value) && /^authorization$/i.test(keyOf(pair)))) return;
          hide(pair.value);
          if (isAlias(pair.value)) hide(this.follow(pair.value));
        },
      });
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
    }
    return spans;
  }
}

/** What each alias stands for: the last node with its anchor above it. All in one walk, since `Alias.resolve` walks the whole document for each. */
function aliasTargets(document: Document.Parsed): ReadonlyMap<Alias, Node> {
  const anchors = new Map<string, Node>();
  const targets = new Map<Alias, Node>();
  visit(document, {
    Node: (_, node) => {
      if (isAlias(node)) {
        const target = anchors.get(node.source);
        if (target !== undefined) targets.set(node, target);
      } else if (node.anchor !== undefined) anchors.set(node.anchor, node);
    },
  });
  return targets;
}

class Unusable extends Error {
  readonly range: Range;
  constructor(range: Range, message: string) {
    super(message);
    this.range = range;
  }
}

function keyOf(pair: Pair): string {
  return isScalar(pair.key) ? String(pair.key.value) : '';
}

function rangeOf(node: unknown): Range | null {
  const range = (node as Node | null | undefined)?.range;
  return range === undefined || range === null ? null : { from: range[0], to: range[1] };
}

function decode(source: string | Uint8Array): { text: string; badAt: number | null } {
  if (typeof source === 'string') return { text: source, badAt: null };
  try {
    return { text: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(source), badAt: null };
  } catch {
    const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(source);
    return { text, badAt: Math.max(0, text.indexOf('\uFFFD')) };
  }
}

/** Why a text cannot be YAML that we read, before the parser sees it (which would recurse as deep as the file says). */
function unreadable(text: string): { at: number; message: string } | null {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what is looked for
  const control = /[\u0000-\u0008\u000B\u000C\u000E-\u001F\u007F]/.exec(text);
  if (control !== null)
    return {
      at: control.index,
      message: `found the control character U+${text.charCodeAt(control.index).toString(16).toUpperCase().padStart(4, '0')}, expected text; is this a binary file?`,
    };
  let depth = 0;
  for (let at = 0; at < text.length; at += 1) {
    const char = text.charCodeAt(at);
    if (char === 0x5b || char === 0x7b) depth += 1;
    else if (char === 0x5d || char === 0x7d) depth = Math.max(0, depth - 1);
    else if (char === 0x0a && depth < maxDepth) depth = Math.min(depth, maxDepth);
    if (depth > 1000) return { at, message: `nested deeper than ${maxDepth} levels` };
  }
  const dashes = /(?:[-?:][ \t]+){200}/.exec(text);
  return dashes === null ? null : { at: dashes.index, message: `nested deeper than ${maxDepth} levels` };
}

/** Characters of a scalar as written that are no blanks, each with its place in the file. */
function solidCharacters(text: string, range: Range, type: string): Solid[] {
  const found: Solid[] = [];
  let at = range.from;
  let end = range.to;
  if (type === 'BLOCK_LITERAL' || type === 'BLOCK_FOLDED') {
    const header = text.indexOf('\n', at);
    at = header === -1 ? end : header + 1;
  } else if (type !== 'PLAIN') {
    at += 1;
    end -= 1;
  }
  while (at < end) {
    const start = at;
    const char = text[at] ?? '';
    at += 1;
    if (type === 'QUOTE_SINGLE' && char === "'") at += 1;
    if (type === 'QUOTE_DOUBLE' && char === '\\') {
      const escape = text[at] ?? '';
      at += 1 + ({ x: 2, u: 4, U: 8 }[escape] ?? 0);
      if (/[ntrNLP_fve \r\n]/.test(escape)) continue;
    } else if (/\s/.test(char)) continue;
    found.push([start, at]);
  }
  return found;
}
type Solid = readonly [from: number, to: number];

const missingCharacters: readonly (readonly [RegExp, string])[] = [
  [/closing .quote/, 'a quote is not closed'],
  [/Implicit map keys/, 'a key without its colon; write key: value'],
  [/space after :/, 'a blank is missing behind the colon'],
  [/Comments must/, 'a blank is missing before #'],
  [/Sequence item/, 'an item of a list without its dash'],
  [/^Missing ,/, 'a comma is missing'],
  [/end with a/, 'a bracket is not closed, or a comma is missing'],
];

/** The YAML library's faults in our words; never with text from the file, which may be a secret. */
function yamlMessage(code: string, original: string): string {
  switch (code) {
    case 'ALIAS_PROPS':
      return 'an alias takes no anchor or tag of its own';
    case 'BAD_ALIAS':
      return original.startsWith('Unresolved alias')
        ? 'alias points to no anchor above it; quote the text if the * is part of it'
        : 'an alias must have a name; quote the text if the * is part of it';
    case 'BAD_COLLECTION_TYPE':
    case 'TAG_RESOLVE_FAILED':
      return 'unknown tag; quote the text if the ! is part of it';
    case 'BAD_DIRECTIVE':
      return 'unknown directive; remove the line';
    case 'BAD_DQ_ESCAPE':
      return 'unknown escape in "…"; write \\\\ for a backslash, or use single quotes';
    case 'BAD_INDENT':
      return /end with a/.test(original)
        ? 'a bracket above is not closed, or its lines are indented too little'
        : 'bad indentation; keys of one map start in the same column';
    case 'BAD_PROP_ORDER':
      return 'anchors and tags stand before the value, behind - ? :';
    case 'BAD_SCALAR_START':
      return 'a plain text cannot start with this character; put it in quotes';
    case 'BLOCK_AS_IMPLICIT_KEY':
      return 'two keys on one line, or bad indentation below; keys of one map start in the same column, texts with a colon stand in quotes';
    case 'BLOCK_IN_FLOW':
      return 'a comma is missing, or a block stands inside { } or [ ]';
    case 'DUPLICATE_KEY':
      return 'key stands twice in this map; remove one';
    case 'IMPOSSIBLE':
    case 'UNEXPECTED_TOKEN':
      return 'unexpected text here; check quotes, colons and dashes above';
    case 'KEY_OVER_1024_CHARS':
      return 'a key is longer than 1024 characters';
    case 'MISSING_CHAR':
      return missingCharacters.find(([pattern]) => pattern.test(original))?.[1] ?? 'a character is missing; check quotes, colons, commas and blanks';
    case 'MULTILINE_IMPLICIT_KEY':
      return 'a key must stand on one line with its colon; is a colon missing, or the indentation off?';
    case 'MULTIPLE_ANCHORS':
      return 'a value takes one anchor only';
    case 'MULTIPLE_DOCS':
      return 'a second YAML document starts here, expected one; put it in a file of its own';
    case 'MULTIPLE_TAGS':
      return 'a value takes one tag only';
    case 'NON_STRING_KEY':
      return 'a key must be a text; put it in quotes';
    case 'TAB_AS_INDENT':
      return 'found a tab as indentation, expected blanks';
    case 'RESOURCE_EXHAUSTION':
      return `nested deeper than ${maxDepth} levels`;
    default:
      return 'is no valid YAML here';
  }
}
