/**
 * TensorFlow Serving's double as a process (see README.md): the flags of `flags.ts`. Prints one line of JSON on stdout when it is ready,
 * `{"grpc": PORT, "rest": PORT or null}`, and logs to stderr. Ends with 0 on SIGTERM or SIGINT, with 255 when it cannot
 * start, as the original does.
 */
import { toStatusError } from './core/status.ts';
import { FlagError, parseFlags } from './flags.ts';
import { serve } from './serve.ts';

function log(line: string): void {
  process.stderr.write(`${line}\n`);
}

async function main(): Promise<void> {
  const owned = new DisposableStack();
  // A signal may come in the middle of the start: what opens after it is closed at once.
  const own = (close: () => void): unknown => (owned.disposed ? close() : owned.defer(close));
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => owned.dispose());
  try {
    const ports = await serve(parseFlags(process.argv.slice(2)), own, log);
    if (!owned.disposed) process.stdout.write(`${JSON.stringify(ports)}\n`);
  } catch (error) {
    const { code, message } = toStatusError(error);
    log(error instanceof FlagError ? error.message : `Failed to start server. Error: ${code}: ${message}`);
    owned.dispose();
    process.exitCode = 255;
  }
}

void main();
