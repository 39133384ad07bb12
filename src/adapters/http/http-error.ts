/** Codes of our own; besides them `code` carries Node's (`ECONNREFUSED`, `ENOTFOUND`, `CERT_HAS_EXPIRED` …). */
export type OwnHttpErrorCode =
  /** No whole answer within the time limit. */
  | 'TIMEOUT'
  /** The caller gave up. */
  | 'ABORTED'
  /** The answer is over its size limit. */
  | 'TOO_LARGE'
  /** The connection ended before the answer did. */
  | 'CUT_SHORT'
  /** A redirect that must not be followed (loop, too many, a POST that would become a GET, another protocol). */
  | 'REDIRECT'
  /** `expectStatus` refused the status. */
  | 'STATUS'
  /** A credentials or TLS file cannot be read or used. */
  | 'FILE'
  /** The address is no http(s) URL. */
  | 'BAD_URL';

/**
 * A call that brought no usable answer. Neither message nor cause holds the URL's path, userinfo, credentials or headers;
 * axios's own error (which holds them all) is not kept.
 */
export class HttpError extends Error {
  override readonly name = 'HttpError';
  readonly method: string;
  /** `host:port` as asked; '' when the address was no URL. */
  readonly host: string;
  /** `null` when there was no answer. */
  readonly status: number | null;
  readonly code: OwnHttpErrorCode | (string & {});
  /** What `Retry-After` said, ms from now. */
  readonly retryAfterMs: number | null;

  constructor(facts: {
    method: string;
    host: string;
    status?: number | null;
    code: OwnHttpErrorCode | (string & {});
    retryAfterMs?: number | null;
    detail: string;
    cause?: Error;
  }) {
    super(`${facts.method} ${facts.host}: ${facts.detail}`, facts.cause === undefined ? undefined : { cause: facts.cause });
    this.method = facts.method;
    this.host = facts.host;
    this.status = facts.status ?? null;
    this.code = facts.code;
    this.retryAfterMs = facts.retryAfterMs ?? null;
  }
}

const unknownCa = "the server's certificate is signed by an unknown CA; give tls_config.ca_file";
const words: Readonly<Record<string, string>> = {
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: unknownCa,
  UNABLE_TO_GET_ISSUER_CERT: unknownCa,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: unknownCa,
  SELF_SIGNED_CERT_IN_CHAIN: unknownCa,
  DEPTH_ZERO_SELF_SIGNED_CERT: unknownCa,
  CERT_HAS_EXPIRED: "the server's certificate has expired",
  ERR_TLS_CERT_ALTNAME_INVALID: "the server's certificate is for another name; give tls_config.server_name",
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
  EPIPE: 'connection reset',
  ENOTFOUND: 'no such host',
  EAI_AGAIN: 'name lookup failed',
  ETIMEDOUT: 'connection timed out',
  EHOSTUNREACH: 'host unreachable',
  ENETUNREACH: 'network unreachable',
};

/** Turns whatever the transport threw into facts for an `HttpError`; texts pass through `redact`. */
export function describeFailure(thrown: unknown, redact: (text: string) => string): { code: string; detail: string; cause: Error } {
  const root = thrown instanceof AggregateError && thrown.errors.length > 0 ? (thrown.errors[0] as unknown) : thrown;
  const text = root instanceof Error ? root.message : String(root);
  const code = codeOf(root) ?? codeOf(thrown);
  const cause = new Error(
    redact(text === '' ? (code ?? 'unknown failure') : text)
      .replaceAll(/\s+/g, ' ')
      .trim(),
  );
  if (text.startsWith('maxContentLength')) return { code: 'TOO_LARGE', detail: 'answer over the size limit', cause };
  if (text === 'stream has been aborted' || text === 'aborted') return { code: 'CUT_SHORT', detail: 'answer cut short', cause };
  if (code === undefined) return { code: 'UNKNOWN', detail: cause.message, cause };
  // OpenSSL: `write EPROTO 40ED…:error:0A00042E:SSL routines:ssl3_read_bytes:tlsv1 alert protocol version:../deps/…`
  const alert = /:SSL routines:[^:]*:([^:]+):/.exec(cause.message)?.[1];
  if (alert !== undefined) return { code, detail: `TLS handshake failed: ${alert} (${code})`, cause };
  const known = words[code];
  return { code, detail: known === undefined ? `${cause.message} (${code})` : `${known} (${code})`, cause };
}

function codeOf(thrown: unknown): string | undefined {
  return typeof thrown === 'object' && thrown !== null && 'code' in thrown && typeof thrown.code === 'string' ? thrown.code : undefined;
}
