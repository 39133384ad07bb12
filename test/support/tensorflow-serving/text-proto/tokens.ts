/** A fault in a text-format file; the message begins with line and column. */
export class TextProtoError extends Error {
  override readonly name = 'TextProtoError';

  constructor(position: Position, message: string) {
    super(`${position.line}:${position.column}: ${message}`);
  }
}

/** Place in the text, both counted from 1. */
export interface Position {
  line: number;
  column: number;
}

/** A word, a number, a string (already unescaped, as bytes), a sign of punctuation, or the end. */
export interface Token extends Position {
  kind: 'word' | 'number' | 'string' | 'sign' | 'end';
  text: string;
  bytes: Buffer;
}

const EMPTY = Buffer.alloc(0);
const SKIP = /(?:\s|#[^\n]*)+/y;
const WORD = /[A-Za-z_][A-Za-z0-9_]*/y;
const NUMBER = /0[xX][0-9a-fA-F]+|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[fF]?/y;
const STRING = /"((?:[^"\\\n]|\\.)*)"|'((?:[^'\\\n]|\\.)*)'/sy;
const SIGN = /[{}<>[\]:;,./-]/y;

/** Cuts a text into tokens. @throws {TextProtoError} */
export function tokenize(text: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  const take = (pattern: RegExp): RegExpExecArray | undefined => {
    pattern.lastIndex = at;
    return pattern.exec(text) ?? undefined;
  };
  for (;;) {
    at += take(SKIP)?.[0].length ?? 0;
    const position = positionOf(text, at);
    if (at === text.length) return [...tokens, { kind: 'end', text: 'the end of the file', bytes: EMPTY, ...position }];
    const token = nextToken(take, position);
    tokens.push(token);
    at += token.text.length;
  }
}

function nextToken(take: (pattern: RegExp) => RegExpExecArray | undefined, position: Position): Token {
  for (const [kind, pattern] of [
    ['word', WORD],
    ['number', NUMBER],
    ['sign', SIGN],
  ] as const) {
    const match = take(pattern);
    if (match) return { kind, text: match[0], bytes: EMPTY, ...position };
  }
  const string = take(STRING);
  if (string) return { kind: 'string', text: string[0], bytes: unescape(string[1] ?? string[2] ?? '', position), ...position };
  throw new TextProtoError(position, 'found neither a word, a number, a closed string nor punctuation');
}

function positionOf(text: string, offset: number): Position {
  const before = text.slice(0, offset);
  return { line: before.split('\n').length, column: offset - before.lastIndexOf('\n') };
}

const ESCAPES: Record<string, string> = { n: '\n', r: '\r', t: '\t', a: '\x07', b: '\b', f: '\f', v: '\v', '\\': '\\', "'": "'", '"': '"', '?': '?' };
const ESCAPE = /\\(?:[xX]([0-9a-fA-F]{1,2})|([0-7]{1,3})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))/gs;

/** Bytes, not characters: `\xc3\xa9` and `é` are the same string. */
function unescape(text: string, position: Position): Buffer {
  const parts: Buffer[] = [];
  let end = 0;
  for (const match of text.matchAll(ESCAPE)) {
    parts.push(Buffer.from(text.slice(end, match.index)), unescapeOne(match, position));
    end = match.index + match[0].length;
  }
  return Buffer.concat([...parts, Buffer.from(text.slice(end))]);
}

function unescapeOne([all, hex, octal, short, long, other]: RegExpExecArray, position: Position): Buffer {
  if (hex !== undefined) return Buffer.from([Number.parseInt(hex, 16)]);
  if (octal !== undefined) return Buffer.from([Number.parseInt(octal, 8) & 0xff]);
  const point = short ?? long;
  if (point !== undefined) return Buffer.from(String.fromCodePoint(Number.parseInt(point, 16)));
  const character = ESCAPES[other ?? ''];
  if (character === undefined) throw new TextProtoError(position, `found the escape ${all}, which is none`);
  return Buffer.from(character);
}
