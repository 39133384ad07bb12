import { type DescField, type DescMessage, type MessageShape, ScalarType } from '@bufbuild/protobuf';
import { type ReflectMessage, reflect } from '@bufbuild/protobuf/reflect';
import { type Position, TextProtoError, type Token, tokenize } from './tokens.ts';

/**
 * Reads a message from protobuf text format, as the server reads its files of flags: comments, `:` left out before a message, `;`
 * and `,` between fields, `[…]` lists, map entries, `<…>`, neighbouring strings joined. As strict as the original: an unknown
 * field, a field or oneof set twice, or a value of the wrong kind is refused. Not read: extensions and `[type.url]` in an `Any`.
 * @throws {TextProtoError} with line and column
 */
export function parseTextProto<Desc extends DescMessage>(schema: Desc, text: string): MessageShape<Desc> {
  const target = reflect(schema);
  new Reader(tokenize(text)).readFields(target, undefined);
  return target.message as MessageShape<Desc>;
}

type EntryField = Pick<DescField, 'name'> & { read: () => unknown };

class Reader {
  readonly #tokens: Token[];
  #at = 0;

  constructor(tokens: Token[]) {
    this.#tokens = tokens;
  }

  /** @param close the sign that ends the message; `undefined` at the top, which ends with the text */
  readFields(target: ReflectMessage, close: string | undefined): void {
    while (!this.#ends(close)) {
      const name = this.#next();
      const field = target.fields.find((one) => one.name === name.text);
      if (field === undefined || name.kind !== 'word') {
        throw new TextProtoError(name, `found ${name.text}, expected a field of ${target.desc.typeName}: ${target.fields.map((one) => one.name).join(', ')}`);
      }
      this.#readField(target, field, name);
      this.#skipSeparator();
    }
  }

  #readField(target: ReflectMessage, field: DescField, position: Position): void {
    const colon = this.#skip(':');
    if (field.fieldKind === 'list') {
      const list = target.get(field);
      return this.#readRepeated(field, colon, () => list.add(field.listKind === 'message' ? this.#message(field.message) : this.#single(field)));
    }
    if (field.fieldKind === 'map') return this.#readRepeated(field, colon, () => this.#readEntry(target, field));
    const twin = field.oneof && target.oneofCase(field.oneof);
    if (twin !== undefined || target.isSet(field)) {
      throw new TextProtoError(position, `found ${field.name}, but ${twin?.name ?? field.name} is set already; set it once`);
    }
    if (field.fieldKind !== 'message') this.#expectColon(colon, field);
    target.set(field, field.fieldKind === 'message' ? this.#message(field.message) : this.#single(field));
  }

  #readRepeated(field: DescField, colon: boolean, readOne: () => void): void {
    if (field.message === undefined && field.fieldKind !== 'map') this.#expectColon(colon, field);
    if (!this.#skip('[')) return readOne();
    if (this.#skip(']')) return;
    do readOne();
    while (this.#skip(','));
    this.#expect(']');
  }

  #message(desc: DescMessage): ReflectMessage {
    const message = reflect(desc);
    this.readFields(message, this.#open());
    return message;
  }

  #readEntry(target: ReflectMessage, field: DescField & { fieldKind: 'map' }): void {
    const close = this.#open();
    const fields: EntryField[] = [
      { name: 'key', read: () => this.#scalar(field.mapKey) },
      { name: 'value', read: () => (field.mapKind === 'message' ? this.#message(field.message) : this.#single(field)) },
    ];
    const entry: Record<string, unknown> = { key: zeroOf(field.mapKey), value: field.mapKind === 'scalar' ? zeroOf(field.scalar) : undefined };
    while (!this.#ends(close)) {
      const name = this.#next();
      const found = fields.find((one) => one.name === name.text);
      if (found === undefined) throw new TextProtoError(name, `found ${name.text}, expected key or value`);
      this.#skip(':');
      entry[found.name] = found.read();
      this.#skipSeparator();
    }
    target.get(field).set(entry['key'], entry['value']);
  }

  /** One value of a scalar or enum field. */
  #single(field: DescField): unknown {
    if (field.enum === undefined) return this.#scalar(field.scalar ?? ScalarType.STRING);
    const token = this.#next();
    const value = field.enum.values.find((one) => one.name === token.text || String(one.number) === token.text);
    if (value === undefined) throw new TextProtoError(token, `found ${token.text}, expected one of ${field.enum.values.map((one) => one.name).join(', ')}`);
    return value.number;
  }

  #scalar(type: ScalarType): unknown {
    if (type === ScalarType.STRING || type === ScalarType.BYTES) return this.#string(type);
    const negative = this.#skip('-');
    const token = this.#next();
    if (type === ScalarType.BOOL) {
      if (!negative && ['true', 'True', 't', '1'].includes(token.text)) return true;
      if (!negative && ['false', 'False', 'f', '0'].includes(token.text)) return false;
      throw new TextProtoError(token, `found ${token.text}, expected true or false`);
    }
    if (type === ScalarType.DOUBLE || type === ScalarType.FLOAT) return sign(negative, float(token));
    const integer = sign(negative, int(token));
    const [low, high] = RANGES[type] ?? INT64;
    if (integer < low || integer > high) throw new TextProtoError(token, `found ${integer}, expected ${low} to ${high}`);
    return BIG.has(type) ? integer : Number(integer);
  }

  #string(type: ScalarType): string | Uint8Array {
    const first = this.#next();
    if (first.kind !== 'string') throw new TextProtoError(first, `found ${first.text}, expected a string in quotes`);
    const parts = [first.bytes];
    while (this.#peek().kind === 'string') parts.push(this.#next().bytes);
    return type === ScalarType.STRING ? Buffer.concat(parts).toString('utf8') : new Uint8Array(Buffer.concat(parts));
  }

  #open(): string {
    const token = this.#next();
    if (token.text === '{' && token.kind === 'sign') return '}';
    if (token.text === '<' && token.kind === 'sign') return '>';
    throw new TextProtoError(token, `found ${token.text}, expected {`);
  }

  #ends(close: string | undefined): boolean {
    const token = this.#peek();
    if (close === undefined) return token.kind === 'end';
    if (token.kind === 'end') throw new TextProtoError(token, `found ${token.text}, expected ${close}`);
    return this.#skip(close);
  }

  #expectColon(colon: boolean, field: DescField): void {
    if (!colon) throw new TextProtoError(this.#peek(), `found ${this.#peek().text}, expected : after ${field.name}`);
  }

  #expect(sign: string): void {
    if (!this.#skip(sign)) throw new TextProtoError(this.#peek(), `found ${this.#peek().text}, expected ${sign}`);
  }

  #skipSeparator(): void {
    if (!this.#skip(';')) this.#skip(',');
  }

  #skip(sign: string): boolean {
    const token = this.#peek();
    const found = token.kind === 'sign' && token.text === sign;
    if (found) this.#at += 1;
    return found;
  }

  #peek(): Token {
    // The last token is the end, which is never passed.
    return this.#tokens[Math.min(this.#at, this.#tokens.length - 1)] as Token;
  }

  #next(): Token {
    const token = this.#peek();
    this.#at += 1;
    return token;
  }
}

const INT64 = [-(2n ** 63n), 2n ** 63n - 1n] as const;
const UINT64 = [0n, 2n ** 64n - 1n] as const;
const INT32 = [-(2n ** 31n), 2n ** 31n - 1n] as const;
const UINT32 = [0n, 2n ** 32n - 1n] as const;
const RANGES: Partial<Record<ScalarType, readonly [bigint, bigint]>> = {
  [ScalarType.INT32]: INT32,
  [ScalarType.SINT32]: INT32,
  [ScalarType.SFIXED32]: INT32,
  [ScalarType.UINT32]: UINT32,
  [ScalarType.FIXED32]: UINT32,
  [ScalarType.UINT64]: UINT64,
  [ScalarType.FIXED64]: UINT64,
};
const BIG = new Set([ScalarType.INT64, ScalarType.UINT64, ScalarType.SINT64, ScalarType.FIXED64, ScalarType.SFIXED64]);

function int(token: Token): bigint {
  if (token.kind === 'number' && /^0[0-7]+$/.test(token.text)) return BigInt(`0o${token.text.slice(1)}`);
  if (token.kind === 'number' && /^(0[xX][0-9a-fA-F]+|\d+)$/.test(token.text)) return BigInt(token.text);
  throw new TextProtoError(token, `found ${token.text}, expected a whole number`);
}

function float(token: Token): number {
  if (token.kind === 'number') return Number(token.text.replace(/[fF]$/, ''));
  if (/^inf(inity)?$/i.test(token.text)) return Number.POSITIVE_INFINITY;
  if (/^nan$/i.test(token.text)) return Number.NaN;
  throw new TextProtoError(token, `found ${token.text}, expected a number`);
}

function sign<T extends number | bigint>(negative: boolean, value: T): T {
  return (negative ? -value : value) as T;
}

function zeroOf(type: ScalarType): unknown {
  if (type === ScalarType.STRING) return '';
  if (type === ScalarType.BYTES) return new Uint8Array();
  if (type === ScalarType.BOOL) return false;
  return BIG.has(type) ? 0n : 0;
}
