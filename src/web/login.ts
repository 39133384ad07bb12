import { createHmac, randomBytes } from 'node:crypto';
import { isIPv6 } from 'node:net';
import bcrypt from 'bcryptjs';
import type { WebRole } from '../domain/web-role.ts';
import { FailureLimit } from './failure-limit.ts';

/** Name → bcrypt hash and role. */
export type WebUsers = ReadonlyMap<string, { readonly hash: string; readonly role: WebRole }>;
/** Who signed in. */
export type SignedIn = { readonly name: string; readonly role: WebRole };
/** `missing`: no name and password came along; `wrong`; `limited`: too many were wrong from there. */
export type LoginAnswer = SignedIn | { readonly refused: 'missing' | 'wrong' } | { readonly refused: 'limited'; readonly retryAfterMs: number };

const failuresPerMinute = 10;
const maxAddresses = 10_000;
const maxRemembered = 1_000;

/**
 * HTTP basic authentication against bcrypt hashes. One that was right is remembered by a digest under a key of this process, so a scrape every 15 s costs
 * no bcrypt; hashes are computed one at a time, since it is the daemon's own thread that does it.
 */
export class Login {
  #users: WebUsers;
  readonly #nowMs: () => number;
  readonly #compare: (password: string, hash: string) => Promise<boolean>;
  readonly #digestKey = randomBytes(32);
  readonly #failures = new FailureLimit({ limit: failuresPerMinute, windowMs: 60_000, maxKeys: maxAddresses });
  readonly #right = new Set<string>();
  readonly #underWay = new Map<string, Promise<boolean>>();
  #queue: Promise<unknown> = Promise.resolve();

  constructor(users: WebUsers, deps: { readonly nowMs: () => number; readonly compare?: (password: string, hash: string) => Promise<boolean> }) {
    this.#users = users;
    this.#nowMs = deps.nowMs;
    this.#compare = deps.compare ?? (async (password, hash) => await bcrypt.compare(password, hash));
  }

  /** Other users from now on; who was remembered is verified anew. */
  replace(users: WebUsers): void {
    this.#users = users;
    this.#right.clear();
  }

  /** @param authorization the header; @param address of the peer */
  async check(authorization: string | undefined, address: string): Promise<LoginAnswer> {
    const given = readBasic(authorization);
    if (given === null) return { refused: 'missing' };
    const known = this.#users.get(given.name);
    // For a name that is not known another's hash is computed, so that the time does not tell; its outcome is dropped.
    const hash = known?.hash ?? this.#users.values().next().value?.hash ?? '';
    const digest = this.#digest(given.name, given.password, hash);
    const shared = this.#underWay.get(digest);
    // Before anything is remembered: whoever guesses must not learn more behind the limit.
    const attempt = shared === undefined ? this.#failures.begin(networkOf(address), this.#nowMs()) : null;
    if (attempt !== null && 'retryAfterMs' in attempt) return { refused: 'limited', retryAfterMs: attempt.retryAfterMs };
    const isRight = (this.#right.has(digest) || (await (shared ?? this.#verify(digest, given.password, hash)))) && known !== undefined;
    if (!isRight) return { refused: 'wrong' };
    attempt?.succeeded();
    if (this.#users.get(given.name) === known) this.#remember(digest);
    return { name: given.name, role: known.role };
  }

  #verify(digest: string, password: string, hash: string): Promise<boolean> {
    const verified = this.#queue.then(async () => await this.#compare(password, hash)).finally(() => this.#underWay.delete(digest));
    this.#queue = verified.catch(() => undefined);
    this.#underWay.set(digest, verified);
    return verified;
  }

  #remember(digest: string): void {
    const [oldest] = this.#right;
    if (oldest !== undefined && this.#right.size >= maxRemembered && !this.#right.has(digest)) this.#right.delete(oldest);
    this.#right.add(digest);
  }

  #digest(name: string, password: string, hash: string): string {
    return createHmac('sha256', this.#digestKey)
      .update(JSON.stringify([name, password, hash]))
      .digest('base64');
  }
}

/** @see https://www.rfc-editor.org/rfc/rfc7617 */
function readBasic(authorization: string | undefined): { readonly name: string; readonly password: string } | null {
  const encoded = /^Basic +([A-Za-z0-9+/]+={0,2}) *$/i.exec(authorization ?? '')?.[1];
  if (encoded === undefined) return null;
  const text = Buffer.from(encoded, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  return colon === -1 ? null : { name: text.slice(0, colon), password: text.slice(colon + 1) };
}

/** One machine has a whole /64 of IPv6 to try from. */
function networkOf(address: string): string {
  const v4 = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (v4 !== undefined || !isIPv6(address)) return v4 ?? address;
  const [head = '', tail] = (address.split('%', 1)[0] ?? '').split('::');
  const front = head === '' ? [] : head.split(':');
  const back = tail === undefined || tail === '' ? [] : tail.split(':');
  const groups = tail === undefined ? front : [...front, ...Array.from({ length: Math.max(0, 8 - front.length - back.length) }, () => '0'), ...back];
  return groups.slice(0, 4).join(':');
}
