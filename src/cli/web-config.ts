import { loadWebConfig, type WebConfig } from '../config/web-config.ts';
import type { Clock, Log } from '../domain/ports.ts';
import { formatDiagnostics } from '../rulefile/diagnostic.ts';
import { CommandFailed } from './exit.ts';

/** @throws {CommandFailed} with all faults */
export async function loadWebSettings(file: string): Promise<WebConfig> {
  const { config, diagnostics } = await loadWebConfig(file);
  if (config === null) throw new CommandFailed(`${formatDiagnostics(diagnostics)}\nrollbackd: ${file} is refused; nothing was started`);
  return config;
}

/**
 * Looks at the web configuration and its TLS files every `everyMs`, and hands over what changed; what is faulty is told once and leaves the old in force.
 * @param options.apply throws when the new one cannot be used
 */
export async function watchWebConfig(
  file: string,
  first: WebConfig,
  options: {
    readonly everyMs: number;
    readonly apply: (config: WebConfig) => void;
    readonly clock: Clock;
    readonly log: Log;
    readonly signal: AbortSignal;
  },
): Promise<void> {
  const { clock, log, signal } = options;
  let inForce = first;
  let told = '';
  while (!signal.aborted) {
    await clock.sleep(options.everyMs, signal).catch(() => undefined);
    if (signal.aborted) return;
    const { config, diagnostics } = await loadWebConfig(file);
    const fault = config === null ? formatDiagnostics(diagnostics) : needsRestart(inForce, config);
    if (fault !== null && fault !== told) log.error({ faults: [fault] }, 'web configuration refused; the old one stays in force');
    told = fault ?? '';
    if (fault !== null || config === null || config.hash === inForce.hash) continue;
    try {
      options.apply(config);
      inForce = config;
      log.info({ users: config.users.size, tls: config.tls !== null }, 'web configuration reloaded');
    } catch (err) {
      log.error({ err }, 'web configuration could not be taken; the old one stays in force');
    }
  }
}

/** What opens or shuts a door as a whole is not done by a file that changed: half-written, it could stand open. */
function needsRestart(inForce: WebConfig, next: WebConfig): string | null {
  if ((inForce.tls === null) !== (next.tls === null)) return 'tls_server_config cannot come or go while rollbackd runs; start it anew';
  if ((inForce.tls?.clientCa == null) !== (next.tls?.clientCa == null)) return 'client_auth_type cannot change while rollbackd runs; start it anew';
  if ((inForce.users.size === 0) !== (next.users.size === 0)) return 'basic_auth_users cannot come or go while rollbackd runs; start it anew';
  return null;
}
