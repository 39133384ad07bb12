import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { PostgresPool, PostgresPoolClient } from 'kysely';
import pg from 'pg';
import { JournalError } from '../../../domain/ports.ts';

/** Where the database is, without its secret. */
export type Address = { readonly url: URL; readonly name: string; readonly file: string };

/**
 * Reads the address from its file. The password stays there: it is read anew for every connection, so that one that was changed is taken up.
 * @throws {JournalError} that never shows what the file holds
 */
export async function readAddress(file: string): Promise<Address> {
  const url = await readUrl(file);
  const name = `postgres ${url.hostname || url.searchParams.get('host') || 'localhost'}${url.port === '' ? '' : `:${url.port}`}${url.pathname}`;
  url.password = '';
  return { url, name, file };
}

async function readUrl(file: string): Promise<URL> {
  let text: string;
  try {
    text = (await readFile(file, 'utf8')).trim();
  } catch (error) {
    const why = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
    throw new JournalError(
      `journal postgres: cannot read journal.postgres.url_file ${file} (${why}); it must hold postgres://user:password@host:port/database`,
    );
  }
  const url = URL.parse(text);
  if (url === null || !/^postgres(ql)?:$/.test(url.protocol) || url.pathname.length < 2) {
    throw new JournalError(`journal postgres: ${file} does not hold the address of a database; write postgres://user:password@host:port/database into it`);
  }
  if (![url.username, url.password, url.hostname, url.pathname].every(isPercentEncoded))
    throw new JournalError(`journal postgres: ${file} holds an address with a % that is followed by no code; write %25 for a percent sign`);
  return url;
}

function isPercentEncoded(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}

/** What the address says but the password. @throws {JournalError} for parameters that cannot be used, such as a certificate's file that is not there */
function settingsOf({ url, file }: Address) {
  try {
    const { host, port, user, database, ssl } = new pg.Client({ connectionString: url.href });
    return { host, port, ssl, ...(user === undefined ? {} : { user }), ...(database === undefined ? {} : { database }) };
  } catch (error) {
    // Not its words: they may quote the address.
    const why = error instanceof Error && 'code' in error ? String(error.code) : 'they cannot be read';
    throw new JournalError(`journal postgres: the parameters of the address in ${file} cannot be used (${why}); look at what stands behind its ?`);
  }
}

/** `queryTimeoutMs`: a statement, or a connection, that takes longer is given up and its connection closed. */
export type PoolOptions = { readonly address: Address; readonly max: number; readonly queryTimeoutMs: number; readonly applicationName: string };

/**
 * Connections for kysely. One that failed otherwise than by an answer of the server is never used again: after a time-out a late answer would be taken
 * for that of the next statement, and a network that swallows everything would be found out only statement by statement.
 */
export class JournalPool implements PostgresPool {
  readonly options = {};
  readonly #pool: pg.Pool;
  readonly #queryTimeoutMs: number;
  #ended: Promise<void> | null = null;

  constructor({ address, max, queryTimeoutMs, applicationName }: PoolOptions) {
    this.#queryTimeoutMs = queryTimeoutMs;
    // A password in the connection string would win over the function: only the rest is taken from it.
    this.#pool = new pg.Pool({
      ...settingsOf(address),
      password: async () => decodeURIComponent((await readUrl(address.file)).password),
      application_name: applicationName,
      max,
      connectionTimeoutMillis: queryTimeoutMs,
      idleTimeoutMillis: 30_000,
      keepAlive: true,
      keepAliveInitialDelayMillis: 5_000,
      allowExitOnIdle: false,
    });
    // An idle connection that the server closed: the pool has dropped it already, the next one tells.
    this.#pool.on('error', () => undefined);
  }

  async connect(): Promise<PostgresPoolClient> {
    const client = await this.#pool.connect();
    let broken: Error | null = null;
    const onError = (error: Error): void => void (broken ??= error);
    client.on('error', onError);
    const query = async (text: string, values: readonly unknown[]): Promise<pg.QueryResult> => {
      if (broken !== null) {
        // Gone with its transaction; an error here would hide the one that broke it.
        if (text === 'rollback') return nothing;
        throw broken;
      }
      try {
        return await within(this.#queryTimeoutMs, client.query(text, values.map(storable)));
      } catch (error) {
        if (!isAnswer(error)) broken = error instanceof Error ? error : new Error(String(error));
        throw error;
      }
    };
    return {
      query: query as unknown as PostgresPoolClient['query'],
      release: () => {
        client.off('error', onError);
        if (broken !== null) client.on('error', () => undefined);
        client.release(broken !== null);
      },
    };
  }

  async end(): Promise<void> {
    // A server that does not answer the farewell keeps nobody.
    this.#ended ??= Promise.race([this.#pool.end(), sleep(this.#queryTimeoutMs, undefined, { ref: false })]);
    await this.#ended;
  }
}

const nothing = { command: 'ROLLBACK', rowCount: 0, rows: [], oid: 0, fields: [] } satisfies pg.QueryResult;

/** An error that the server answered with, after which the connection can be used on. */
function isAnswer(error: unknown): boolean {
  return error instanceof pg.DatabaseError && error.severity !== 'FATAL' && error.severity !== 'PANIC';
}

/** Text of Postgres cannot hold U+0000. Only key columns can carry one (JSON escapes it), and they are asked for by the same text. */
function storable(value: unknown): unknown {
  return typeof value === 'string' ? value.replaceAll('\0', '\u{fffd}') : value;
}

async function within<T>(limitMs: number, promise: Promise<T>): Promise<T> {
  const timer = new AbortController();
  const late = sleep(limitMs, undefined, { signal: timer.signal }).then(() => {
    throw new Error(`no answer within ${limitMs} ms`);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    timer.abort();
    late.catch(() => undefined);
    promise.catch(() => undefined);
  }
}
