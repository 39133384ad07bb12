/**
 * What the client needs of an `http_config` (Prometheus's block, validated by `config/http-config.ts`).
 * File paths are absolute; files are read at each use, so that a rotated secret needs no reload.
 */
export type HttpSettings = {
  readonly basic_auth?:
    | {
        readonly username?: string | undefined;
        readonly username_file?: string | undefined;
        readonly password?: string | undefined;
        readonly password_file?: string | undefined;
      }
    | undefined;
  readonly authorization?:
    | {
        /** Default `Bearer`. */
        readonly type?: string | undefined;
        readonly credentials?: string | undefined;
        readonly credentials_file?: string | undefined;
      }
    | undefined;
  readonly tls_config?: TlsSettings | undefined;
  readonly http_headers?: Readonly<Record<string, HeaderSettings>> | undefined;
  /** Default true. */
  readonly follow_redirects?: boolean | undefined;
};

export type HeaderSettings = {
  readonly values?: readonly string[] | undefined;
  readonly secrets?: readonly string[] | undefined;
  readonly files?: readonly string[] | undefined;
};

/** PEM texts or files; `min_version` in Prometheus's spelling (`TLS12`). */
export type TlsSettings = {
  readonly ca?: string | undefined;
  readonly ca_file?: string | undefined;
  readonly cert?: string | undefined;
  readonly cert_file?: string | undefined;
  readonly key?: string | undefined;
  readonly key_file?: string | undefined;
  readonly server_name?: string | undefined;
  readonly insecure_skip_verify?: boolean | undefined;
  readonly min_version?: 'TLS10' | 'TLS11' | 'TLS12' | 'TLS13' | undefined;
};
