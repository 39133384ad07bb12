import { dirname, resolve } from 'node:path';
import { createSecureContext } from 'node:tls';
import { z } from 'zod';
import { type WebRole, webRoles } from '../domain/web-role.ts';
import { type Diagnostic, hasErrors, sortDiagnostics } from '../rulefile/diagnostic.ts';
import { nearest } from '../rulefile/nearest.ts';
import { validate, valueAt } from '../rulefile/validate.ts';
import { YamlFile } from '../rulefile/yaml-document.ts';
import { displayPath, fileDiagnostic, hashFiles, type ReadFile, readBytes } from './files.ts';
import { always } from './key-rules.ts';
import { filePath } from './scalars.ts';

/** The file of `--web.config.file`, its TLS files read. */
export type WebConfig = {
  readonly tls: {
    /** PEM. */
    readonly cert: string;
    readonly key: string;
    /** Authorities of client certificates; `null`: none is asked for. */
    readonly clientCa: string | null;
    readonly minVersion: 'TLSv1.2' | 'TLSv1.3';
  } | null;
  /** By name; empty: nobody signs in. */
  readonly users: ReadonlyMap<string, { readonly hash: string; readonly role: WebRole }>;
  /** Over the file and its TLS files. */
  readonly hash: string;
};

/** Verifying is done on the daemon's own thread, and doubles with each step of the cost. */
const maxCost = 14;

const tlsServerConfig = z
  .strictObject({
    cert_file: filePath().meta({ description: 'PEM file of the certificate and its chain, read again when it changes.' }),
    key_file: filePath().meta({ description: 'PEM file of its key, read again when it changes.' }),
    client_ca_file: filePath().optional().meta({ description: 'PEM file of the authorities of client certificates. Default: none.' }),
    client_auth_type: z
      .enum(['NoClientCert', 'RequireAndVerifyClientCert'])
      .default('NoClientCert')
      .meta({ description: 'Whether clients must show a certificate of client_ca_file. Default: NoClientCert.' }),
    min_version: z.enum(['TLS12', 'TLS13']).default('TLS12').meta({ description: 'Lowest TLS version accepted. Default: TLS12.' }),
  })
  .check(
    always(({ client_auth_type, client_ca_file }, refuse) => {
      const isRequired = client_auth_type === 'RequireAndVerifyClientCert';
      if (isRequired && client_ca_file === undefined) refuse('client_auth_type', 'client_ca_file is missing; whose certificates are taken must be said');
      if (!isRequired && client_ca_file !== undefined)
        refuse('client_ca_file', 'no client certificate is asked for; add client_auth_type: RequireAndVerifyClientCert');
    }),
  );

const userName = z.string().regex(/^[^\s:][^:\p{Cc}]{0,99}$/u, 'expected a user name: at most 100 characters, no colon, no blank first');

/** Verified in time that a daemon can spare. */
const bcryptHash = z
  .string({ error: 'expected a bcrypt hash; write the one that "htpasswd -nBC 10 NAME" prints' })
  .regex(/^\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}$/, {
    error: 'expected a bcrypt hash; write the one that "htpasswd -nBC 10 NAME" prints',
    abort: true,
  })
  .refine((hash) => Number(hash.slice(4, 6)) >= 4 && Number(hash.slice(4, 6)) <= maxCost, `expected a bcrypt hash of cost 4 to ${maxCost}`);

/** Keys in the words of Prometheus's exporter-toolkit (docs/web-configuration.md), and `roles`. */
const webConfigSchema = z.strictObject({
  tls_server_config: tlsServerConfig.optional().meta({ description: 'Serve https. Default: http.' }),
  basic_auth_users: z.record(userName, bcryptHash).optional().meta({ description: 'Who may sign in: name and bcrypt hash. Default: nobody has to.' }),
  roles: z.record(z.string(), z.enum(webRoles)).optional().meta({ description: 'What each of them may do. Default: viewer.' }),
});

/** Reads the file and the TLS files it names; all faults at once, never with a hash, a password or a key in them. */
export async function loadWebConfig(path: string): Promise<{ readonly config: WebConfig | null; readonly diagnostics: readonly Diagnostic[] }> {
  const file = resolve(path);
  const read = await readBytes(file);
  if (read.failure !== undefined) return { config: null, diagnostics: [fileDiagnostic(file, `cannot be read: ${read.failure}`)] };
  const yaml = new YamlFile(displayPath(file), read.bytes);
  const { value, plain } = validate(yaml, webConfigSchema, { folder: dirname(file) });
  checkRoles(yaml, plain);
  const tls = value?.tls_server_config;
  const pem = tls === undefined ? null : await readPem(yaml, tls);
  // A file that is no YAML is not quoted: what is a password in it cannot be told.
  const diagnostics = sortDiagnostics(yaml.diagnostics).map((fault) => withoutHashes(yaml.isReadable ? fault : { ...fault, sourceLine: '' }));
  if (value === null || hasErrors(diagnostics)) return { config: null, diagnostics };
  const users = Object.entries(value.basic_auth_users ?? {}).map(([name, hash]) => [name, { hash, role: roleOf(value.roles, name) }] as const);
  return {
    config: {
      tls: pem === null || tls === undefined ? null : { ...pem.texts, minVersion: tls.min_version === 'TLS13' ? 'TLSv1.3' : 'TLSv1.2' },
      users: new Map(users),
      hash: hashFiles([read, ...(pem?.files ?? [])]),
    },
    diagnostics,
  };
}

/** A slip of the colon makes a hash part of a key, which a fault's place shows. */
function withoutHashes(fault: Diagnostic): Diagnostic {
  const blank = (text: string): string => text.replaceAll(/\$2[aby]\$\S+/g, '<secret>');
  return { ...fault, path: blank(fault.path), message: blank(fault.message) };
}

function roleOf(roles: Readonly<Record<string, WebRole>> | undefined, name: string): WebRole {
  return roles !== undefined && Object.hasOwn(roles, name) ? (roles[name] ?? 'viewer') : 'viewer';
}

function checkRoles(yaml: YamlFile, plain: unknown): void {
  const [roles, users] = [valueAt(plain, ['roles']), valueAt(plain, ['basic_auth_users'])];
  if (typeof roles !== 'object' || roles === null) return;
  const names = typeof users === 'object' && users !== null ? Object.keys(users) : [];
  for (const name of Object.keys(roles).filter((role) => !names.includes(role))) {
    const suggestion = nearest(name, names);
    yaml.report(['roles', name], `is no user of basic_auth_users${suggestion === null ? '' : `; did you mean "${suggestion}"?`}`, {
      code: 'unknown_name',
      at: 'key',
    });
  }
}

/** @returns `null` when a file is faulty, which is reported */
async function readPem(
  yaml: YamlFile,
  settings: z.output<typeof tlsServerConfig>,
): Promise<{ readonly texts: { cert: string; key: string; clientCa: string | null }; readonly files: readonly ReadFile[] } | null> {
  const files: ReadFile[] = [];
  const read = async (key: 'cert_file' | 'key_file' | 'client_ca_file', path: string, looks: RegExp): Promise<string> => {
    const file = await readBytes(path);
    files.push(file);
    const text = file.bytes === undefined ? '' : Buffer.from(file.bytes).toString('latin1');
    const fault = file.failure ?? (looks.test(text) ? null : 'it holds no such PEM block');
    if (fault !== null) yaml.report(['tls_server_config', key], `${displayPath(path)} cannot be used: ${fault}`, { code: 'unreadable' });
    return text;
  };
  const cert = await read('cert_file', settings.cert_file, /-----BEGIN CERTIFICATE-----/);
  const key = await read('key_file', settings.key_file, /-----BEGIN [A-Z ]*PRIVATE KEY-----/);
  const clientCa = settings.client_ca_file === undefined ? null : await read('client_ca_file', settings.client_ca_file, /-----BEGIN CERTIFICATE-----/);
  if (yaml.diagnostics.length > 0) return null;
  try {
    createSecureContext({ cert, key, ...(clientCa === null ? {} : { ca: clientCa }) });
    return { texts: { cert, key, clientCa }, files };
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'no PEM';
    yaml.report(['tls_server_config'], `certificate and key cannot be used together (${code}); expected a PEM pair, the key without a passphrase`, {
      code: 'invalid_value',
      at: 'key',
    });
    return null;
  }
}
