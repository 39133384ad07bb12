import { randomBytes } from 'node:crypto';

const alphabet = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';

/** A ULID (Crockford base 32: 48 bits of time, 80 of chance) behind a prefix: sorts by time, unique without a server. */
export function createId(prefix: string, nowMs: number): string {
  let time = '';
  for (let rest = nowMs, index = 0; index < 10; index += 1, rest = Math.floor(rest / 32)) time = (alphabet[rest % 32] ?? '0') + time;
  const chance = [...randomBytes(16)].map((byte) => alphabet[byte % 32] ?? '0').join('');
  return `${prefix}_${time}${chance}`;
}
