import { inspect } from 'node:util';
import type { Log } from '../../src/domain/ports.ts';

/** Keeps what is logged, with everything in its fields, as text. */
export type RecordingLog = Log & { readonly text: () => string };

export function recordingLog(lines: string[] = []): RecordingLog {
  const keep = (fields: Readonly<Record<string, unknown>>, message: string): void =>
    void lines.push(`${message} ${inspect(fields, { depth: 10, showHidden: true })}`);
  return { debug: keep, info: keep, warn: keep, error: keep, child: () => recordingLog(lines), text: () => lines.join('\n') };
}
