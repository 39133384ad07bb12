import { type Command, Option } from 'commander';
import { type ApiClient, ApiClientError, createApiClient, defaultUrl } from './api-client.ts';

/** How a daemon is reached; keys as commander names the flags. */
export type DaemonFlags = {
  readonly url: string;
  readonly 'web.user'?: string;
  readonly 'web.passwordFile'?: string;
  readonly 'web.caFile'?: string;
  readonly 'web.certFile'?: string;
  readonly 'web.keyFile'?: string;
};

/** Adds the flags that every command takes that asks a daemon. */
export function asksDaemon(command: Command): Command {
  const options = [
    new Option('--url <url>', 'where the daemon listens').default(defaultUrl).env('ROLLBACKD_URL'),
    new Option('--web.user <name>', 'who signs in').env('ROLLBACKD_USER'),
    new Option('--web.password-file <file>', 'file that holds the password').env('ROLLBACKD_PASSWORD_FILE'),
    new Option('--web.ca-file <file>', "authority of the daemon's certificate, PEM").env('ROLLBACKD_CA_FILE'),
    new Option('--web.cert-file <file>', 'client certificate, PEM').env('ROLLBACKD_CERT_FILE'),
    new Option('--web.key-file <file>', 'its key, PEM').env('ROLLBACKD_KEY_FILE'),
  ];
  return options.reduce((extended, option) => extended.addOption(option), command);
}

/** @throws {ApiClientError} when the flags do not fit together */
export function clientFor(flags: DaemonFlags, timeoutMs?: number): ApiClient {
  const { url, 'web.user': user, 'web.passwordFile': passwordFile, 'web.caFile': caFile, 'web.certFile': certFile, 'web.keyFile': keyFile } = flags;
  if ((user === undefined) !== (passwordFile === undefined))
    throw new ApiClientError('--web.user (ROLLBACKD_USER) and --web.password-file (ROLLBACKD_PASSWORD_FILE) go together; give both');
  if ((certFile === undefined) !== (keyFile === undefined)) throw new ApiClientError('--web.cert-file and --web.key-file go together; give both');
  return createApiClient({
    url,
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    ...(user === undefined || passwordFile === undefined ? {} : { login: { user, passwordFile } }),
    tls: { caFile, certFile, keyFile },
  });
}
