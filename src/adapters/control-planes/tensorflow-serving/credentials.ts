import type { SecureClientSessionOptions } from 'node:http2';
import type { TlsConfig } from '../../../config/http-config.ts';
import { readGrpcTls } from '../grpc-tls.ts';
import { hashJson } from './model-state.ts';

/** TLS options as they are now, with a fingerprint that changes when a file did. */
export type Credentials = { readonly options: SecureClientSessionOptions; readonly fingerprint: string };

/**
 * Reads certificates and key; called again for each turn, so that a renewed certificate is taken up.
 * @throws {PlaneError} auth, naming the file and never its content
 */
export async function readCredentials(tls: TlsConfig): Promise<Credentials> {
  const options = await readGrpcTls(tls);
  return { options, fingerprint: hashJson({ ...options }) };
}
