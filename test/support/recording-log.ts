import { inspect } from 'node:util';
import type { Log } from '../../src/domain/ports.ts';
import { createLog } from '../../src/telemetry/log.ts';
import { keepOutput, keepsOutput } from './kept-output.ts';

/** What the daemon's own log would write of it. */
const written = createLog({ level: 'debug', format: 'ecs', destination: { write: (line) => keepOutput('log', line) } });

/** Keeps what is logged, with everything in its fields, as text. */
export type RecordingLog = Log & { readonly text: () => string };

export function recordingLog(lines: string[] = []): RecordingLog {
  const keep = (fields: Readonly<Record<string, unknown>>, message: string): void => {
    lines.push(`${message} ${inspect(fields, { depth: 10, showHidden: true })}`);
    if (keepsOutput()) written.info(fields, message);
  };
  return { debug: keep, info: keep, warn: keep, error: keep, child: () => recordingLog(lines), text: () => lines.join('\n') };
}
