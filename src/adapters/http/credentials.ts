import { readFile } from 'node:fs/promises';
import type { HttpSettings } from './http-settings.ts';

/** Headers that only the configured host may see, and the secrets in them. */
export type Credentials = { readonly headers: Readonly<Record<string, string | string[]>>; readonly secrets: readonly string[] };

/** A credentials or TLS file that cannot be used; the message names the file, never its content. */
export class SecretFileError extends Error {
  override readonly name = 'SecretFileError';
}

/**
 * Authorization and `http_headers` of this moment, files read afresh and trimmed.
 * @param userinfo of the URL; used when nothing else is configured
 * @throws {SecretFileError}
 */
export async function readCredentials(settings: HttpSettings, userinfo: { username: string; password: string } | null): Promise<Credentials> {
  const headers: Record<string, string | string[]> = {};
  const secrets: string[] = [];
  const { basic_auth: basic, authorization } = settings;
  if (basic !== undefined) {
    const username = basic.username_file === undefined ? (basic.username ?? '') : await readSecret('username_file', basic.username_file);
    const password = basic.password_file === undefined ? (basic.password ?? '') : await readSecret('password_file', basic.password_file);
    setBasic(headers, secrets, username, password);
  } else if (authorization !== undefined) {
    const credentials =
      authorization.credentials_file === undefined ? (authorization.credentials ?? '') : await readSecret('credentials_file', authorization.credentials_file);
    headers['Authorization'] = `${authorization.type ?? 'Bearer'} ${credentials}`;
    secrets.push(credentials);
  } else if (userinfo !== null) {
    setBasic(headers, secrets, userinfo.username, userinfo.password);
  }
  for (const [name, { values = [], secrets: hidden = [], files = [] }] of Object.entries(settings.http_headers ?? {})) {
    const read = await Promise.all(files.map(async (file) => readSecret(`http_headers ${name}`, file)));
    headers[name] = [...values, ...hidden, ...read];
    secrets.push(...hidden, ...read);
  }
  return { headers, secrets };
}

/** Content of a secret's file, trimmed. @throws {SecretFileError} */
export async function readSecret(key: string, file: string): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).trim();
  } catch (error) {
    throw new SecretFileError(`${key}: cannot read ${file}${errnoOf(error)}`);
  }
}

/** ` (ENOENT)`, or nothing. */
export function errnoOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? ` (${String(error.code)})` : '';
}

function setBasic(headers: Record<string, string | string[]>, secrets: string[], username: string, password: string): void {
  const encoded = Buffer.from(`${username}:${password}`, 'utf8').toString('base64');
  headers['Authorization'] = `Basic ${encoded}`;
  secrets.push(password, encoded);
}
