import { readFile } from 'node:fs/promises';
import type { SecureClientSessionOptions } from 'node:http2';
import type { TlsConfig } from '../../config/http-config.ts';
import { PlaneError } from '../../domain/ports.ts';

/**
 * `tls_config` as the options of a gRPC connection, its files read now.
 * @throws {PlaneError} auth, naming the file and never its content
 */
export async function readGrpcTls(tls: TlsConfig): Promise<SecureClientSessionOptions> {
  const [ca, cert, key] = await Promise.all([pem(tls.ca, tls.ca_file), pem(tls.cert, tls.cert_file), pem(tls.key, tls.key_file)]);
  return {
    minVersion: tls.min_version === 'TLS13' ? 'TLSv1.3' : 'TLSv1.2',
    rejectUnauthorized: !tls.insecure_skip_verify,
    ...(ca === null ? {} : { ca }),
    ...(cert === null ? {} : { cert }),
    ...(key === null ? {} : { key }),
    ...(tls.server_name === undefined ? {} : { servername: tls.server_name }),
  };
}

async function pem(text: string | undefined, file: string | undefined): Promise<string | null> {
  if (file === undefined) return text ?? null;
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new PlaneError('auth', `tls_config: ${file} cannot be read (${(cause as NodeJS.ErrnoException).code ?? 'unknown'})`);
  }
}
