import { z } from 'zod';
import { atMostOneOf, together } from './key-rules.ts';
import { filePath, flag, text } from './scalars.ts';

const basicAuth = z
  .strictObject({
    username: text().optional().meta({ description: 'User name; or username_file. Default: empty.' }),
    username_file: filePath().optional().meta({ description: 'File that holds the user name, read at use. Default: none.' }),
    password: text().optional().meta({ description: 'Password; better: password_file. Default: empty.' }),
    password_file: filePath().optional().meta({ description: 'File that holds the password, read at use. Default: none.' }),
  })
  .check(
    atMostOneOf(['username', 'username_file'], 'at most one of basic_auth username & username_file must be configured'),
    atMostOneOf(['password', 'password_file'], 'at most one of basic_auth password & password_file must be configured'),
  );

const authorization = z
  .strictObject({
    type: z
      .string({ error: 'expected the name of an authorization scheme; write Bearer' })
      .refine((value) => value.trim().toLowerCase() !== 'basic', 'authorization type cannot be set to "basic", use "basic_auth" instead')
      .default('Bearer')
      .meta({ description: 'Scheme of the Authorization header. Default: Bearer.' }),
    credentials: text().optional().meta({ description: 'Credentials; better: credentials_file. Default: none.' }),
    credentials_file: filePath().optional().meta({ description: 'File that holds the credentials, read at use and trimmed. Default: none.' }),
  })
  .check(atMostOneOf(['credentials', 'credentials_file'], 'at most one of authorization credentials & credentials_file must be configured'));

/** TLS of a client, in Prometheus's words; paths are absolute after loading, PEM texts stand in `ca`, `cert`, `key`. */
export const tlsConfigSchema = z
  .strictObject({
    ca: z.string().optional().meta({ description: 'PEM text of the CA certificates the server is checked against. Default: the system’s.' }),
    ca_file: filePath().optional().meta({ description: 'PEM file of the CA certificates the server is checked against, read at use. Default: the system’s.' }),
    cert: z.string().optional().meta({ description: 'PEM text of the client certificate. Default: none.' }),
    cert_file: filePath().optional().meta({ description: 'PEM file of the client certificate, read at use. Default: none.' }),
    key: z.string().optional().meta({ description: 'PEM text of the client’s key; better: key_file. Default: none.' }),
    key_file: filePath().optional().meta({ description: 'PEM file of the client’s key, read at use. Default: none.' }),
    server_name: z
      .string({ error: 'expected a host name' })
      .min(1, 'expected a host name')
      .optional()
      .meta({ description: 'Name the server’s certificate must carry. Default: the host of the address.' }),
    insecure_skip_verify: flag().default(false).meta({ description: 'Do not check the server’s certificate. Default: false.' }),
    min_version: z.enum(['TLS12', 'TLS13']).default('TLS12').meta({ description: 'Lowest TLS version accepted: TLS12 or TLS13. Default: TLS12.' }),
  })
  .check(
    atMostOneOf(['ca', 'ca_file'], 'at most one of ca and ca_file must be configured'),
    atMostOneOf(['cert', 'cert_file'], 'at most one of cert and cert_file must be configured'),
    atMostOneOf(['key', 'key_file'], 'at most one of key and key_file must be configured'),
    together(['cert', 'cert_file'], ['key', 'key_file'], 'exactly one of key or key_file must be configured when a client certificate is configured'),
    together(['key', 'key_file'], ['cert', 'cert_file'], 'exactly one of cert or cert_file must be configured when a client key is configured'),
  );

/** @see TlsConfig is what `tlsConfigSchema` gives. */
export type TlsConfig = z.infer<typeof tlsConfigSchema>;

const reservedHeaders = new Set([
  'authorization',
  'host',
  'content-encoding',
  'content-length',
  'content-type',
  'user-agent',
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'www-authenticate',
  'accept-encoding',
  'x-prometheus-remote-write-version',
  'x-prometheus-remote-read-version',
  'x-prometheus-scrape-timeout-seconds',
  'x-amz-date',
  'x-amz-security-token',
  'x-amz-content-sha256',
]);

const headerName = z.string().superRefine((name, context) => {
  if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name)) context.addIssue({ code: 'custom', message: 'expected the name of an HTTP header' });
  else if (reservedHeaders.has(name.toLowerCase()))
    context.addIssue({ code: 'custom', message: `setting header "${name}" is not allowed; use basic_auth or authorization for credentials` });
});

const headerValues = z.strictObject({
  values: z.array(text()).default([]).meta({ description: 'Values sent as they are. Default: none.' }),
  secrets: z.array(text()).default([]).meta({ description: 'Values that are never shown. Default: none.' }),
  files: z.array(filePath()).default([]).meta({ description: 'Files whose content is sent, read at use and trimmed. Default: none.' }),
});

/**
 * Prometheus's `http_config`, limited to what rollbackd implements; everything else is unknown. Exclusions and their
 * messages are Prometheus's own (common/config/http_config.go). All paths are absolute after loading.
 */
export const httpConfigSchema = z
  .strictObject({
    basic_auth: basicAuth.optional().meta({ description: 'User and password of HTTP basic authentication. Default: none.' }),
    authorization: authorization.optional().meta({ description: 'The Authorization header. Default: none.' }),
    tls_config: tlsConfigSchema.optional().meta({ description: 'TLS of the connection. Default: the system’s CAs, TLS 1.2 or newer.' }),
    http_headers: z
      .record(headerName, headerValues.meta({ description: 'Values of this header.' }))
      .optional()
      .meta({ description: 'Headers added to each request, by name. Default: none.' }),
    follow_redirects: flag().default(true).meta({ description: 'Follow redirects. Default: true.' }),
  })
  .check(atMostOneOf(['basic_auth', 'authorization'], 'at most one of basic_auth & authorization must be configured'));
