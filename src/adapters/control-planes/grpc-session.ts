import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type ClientSessionRequestOptions,
  connect,
  constants,
  type OutgoingHttpHeaders,
  type SecureClientSessionOptions,
} from 'node:http2';
import { Code, ConnectError } from '@connectrpc/connect';

/**
 * The connection behind a gRPC client: made when it is needed, and made anew once it is broken or stays mute. Connect's own manager takes its listener
 * for errors off a session that has just failed; the next error of that session (a server that speaks something else than HTTP/2) then ends the process.
 */
export class GrpcSession {
  readonly authority: string;
  readonly #options: SecureClientSessionOptions;
  readonly #connectTimeoutMs: number;
  #current: Promise<ClientHttp2Session> | null = null;
  #failure: ConnectError | null = null;
  /** With the calls under way. */
  readonly #sessions = new Map<ClientHttp2Session, Set<ClientHttp2Stream>>();

  /** @param baseUrl `http://host:port`, or `https://` for TLS */
  constructor(baseUrl: string, options: { readonly tls: SecureClientSessionOptions | null; readonly connectTimeoutMs: number }) {
    this.authority = new URL(baseUrl).origin;
    this.#options = options.tls ?? {};
    this.#connectTimeoutMs = options.connectTimeoutMs;
  }

  /** Connects unless it is connected. Never rejects: `error` says why. */
  async connect(): Promise<'open' | 'error'> {
    return await this.#ready().then(
      () => 'open' as const,
      () => 'error' as const,
    );
  }

  /** Why the last connection failed or broke; `null` while there is none to tell of. */
  error(): ConnectError | null {
    return this.#failure;
  }

  /** For Connect's transport. @throws {ConnectError} unavailable, when there is no connection: nothing was sent */
  async request(method: string, path: string, headers: OutgoingHttpHeaders, options: Omit<ClientSessionRequestOptions, 'signal'>): Promise<ClientHttp2Stream> {
    for (let tries = 2; ; tries -= 1) {
      const session = await this.#ready();
      try {
        return this.#watched(session, session.request({ ...headers, ':method': method, ':path': path }, options));
      } catch (error) {
        // It broke between being ready and being used.
        this.#drop(session);
        if (tries === 1) throw unavailable(error);
      }
    }
  }

  /** For Connect's transport, which tells of what it reads; nothing here goes by that. */
  notifyResponseByteRead(): void {}

  /** Ends all that is under way. */
  abort(): void {
    this.#current = null;
    for (const session of this.#sessions.keys()) session.destroy(undefined, constants.NGHTTP2_CANCEL);
  }

  async #ready(): Promise<ClientHttp2Session> {
    this.#current ??= this.#open();
    const mine = this.#current;
    try {
      return await mine;
    } catch (error) {
      if (this.#current === mine) this.#current = null;
      throw error;
    }
  }

  async #open(): Promise<ClientHttp2Session> {
    const session = connect(this.authority, this.#options);
    this.#sessions.set(session, new Set());
    // For as long as the session lives: it may fail more than once.
    session.on('error', (error) => {
      this.#failure = unavailable(error);
      this.#drop(session);
    });
    session.on('goaway', () => this.#drop(session));
    session.once('close', () => {
      this.#sessions.delete(session);
      this.#drop(session);
    });
    try {
      await this.#connected(session);
    } catch (error) {
      session.destroy();
      throw (this.#failure = unavailable(error));
    }
    // An idle connection keeps no process alive; a stream of it does.
    session.unref();
    return session;
  }

  async #connected(session: ClientHttp2Session): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const late = setTimeout(() => reject(new Error(`no connection within ${this.#connectTimeoutMs} ms`)), this.#connectTimeoutMs);
    session.once('connect', () => resolve());
    session.once('error', reject);
    session.once('close', () => reject(new Error('the connection was closed')));
    try {
      await promise;
    } finally {
      clearTimeout(late);
    }
  }

  /** A call that is given up without a sign of life may mean that nobody is at the other end any more: the next one goes over a new connection. */
  #watched(session: ClientHttp2Session, stream: ClientHttp2Stream): ClientHttp2Stream {
    const streams = this.#sessions.get(session) ?? new Set();
    let isAlive = false;
    streams.add(stream);
    session.ref();
    stream.once('response', () => (isAlive = true));
    stream.once('close', () => {
      streams.delete(stream);
      if (!isAlive) this.#drop(session);
      if (streams.size > 0 || session.destroyed) return;
      // A goodbye to nobody would wait for its answer.
      if (isAlive) session.unref();
      else session.destroy();
    });
    return stream;
  }

  /** Not used for further calls; those under way end as they do. */
  #drop(session: ClientHttp2Session): void {
    void this.#current?.then(
      (current) => {
        if (current === session) this.#current = null;
      },
      () => undefined,
    );
    if (!session.closed && !session.destroyed) session.close();
  }
}

function unavailable(error: unknown): ConnectError {
  if (error instanceof ConnectError) return error;
  const cause = error instanceof AggregateError && error.errors[0] instanceof Error ? error.errors[0] : error;
  const words = cause instanceof Error && cause.message !== '' ? cause.message : 'connection failed';
  return new ConnectError(words, Code.Unavailable, undefined, undefined, cause);
}
