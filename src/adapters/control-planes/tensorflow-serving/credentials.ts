import { readFile } from 'node:fs/promises';
import type { SecureClientSessionOptions } from 'node:http2';
import type { TlsConfig } from '../../../config/http-config.ts';
import { PlaneError } from '../../../domain/ports.ts';
import { hashJson } from './model-state.ts';

/** TLS options as they are now, with a fingerprint that changes when a file did. */
export type Credentials = { readonly options: SecureClientSessionOptions; readonly fingerprint: string };

/**
 * Reads certificates and key; called again for each turn, so that a renewed certificate is taken up.
 * @throws {PlaneError} auth, naming the file and never its content
 */
export async function readCredentials(tls: TlsConfig): Promise<Credentials> {
  const [ca, cert, key] = await Promise.all([pem(tls.ca, tls.ca_file), pem(tls.cert, tls.cert_file), pem(tls.key, tls.key_file)]);
  const options: SecureClientSessionOptions = {
    minVersion: tls.min_version === 'TLS13' ? 'TLSv1.3' : 'TLSv1.2',
    rejectUnauthorized: !tls.insecure_skip_verify,
    ...(ca === null ? {} : { ca }),
    ...(cert === null ? {} : { cert }),
    ...(key === null ? {} : { key }),
    ...(tls.server_name === undefined ? {} : { servername: tls.server_name }),
  };
  return { options, fingerprint: hashJson({ ...options }) };
}

async function pem(text: string | undefined, file: string | undefined): Promise<string | null> {
  if (file === undefined) return text ?? null;
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new PlaneError('auth', `tls_config: ${file} cannot be read (${(cause as NodeJS.ErrnoException).code ?? 'unknown'})`);
  }
}
