import type { Config } from '../config/config.ts';
import { loadConfig } from '../config/load.ts';
import { formatDiagnostics } from '../rulefile/diagnostic.ts';
import { CommandFailed } from './exit.ts';
import { registries } from './registries.ts';

/** The checked settings; all faults in one message when there are any. Warnings go to stderr. @throws {CommandFailed} */
export async function loadSettings(file: string): Promise<Config> {
  const { config, diagnostics } = await loadConfig(file, registries);
  if (config === null) throw new CommandFailed(`${formatDiagnostics(diagnostics)}\nrollbackd: ${file} is refused; nothing was started`);
  if (diagnostics.length > 0) process.stderr.write(`${formatDiagnostics(diagnostics)}\n`);
  return config;
}
