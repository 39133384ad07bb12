import type { SecureVersion, TlsOptions } from 'node:tls';

/** Certificate and key, PEM; `clientCa`: clients must show a certificate of these authorities, `null`: none is asked for. */
export type TlsMaterial = { readonly cert: string; readonly key: string; readonly clientCa: string | null; readonly minVersion: SecureVersion };

export function tlsServerOptions({ cert, key, clientCa, minVersion }: TlsMaterial): TlsOptions {
  return { cert, key, minVersion, ...(clientCa === null ? {} : { ca: clientCa, requestCert: true, rejectUnauthorized: true }) };
}
