import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { threadId } from 'node:worker_threads';

/** Variable that names the folder; set for a whole run by `output-search.ts`. */
export const outputFolder = 'ROLLBACKD_TEST_OUTPUT';

let place = (): string => '';

/** Says how to name what is running now, for who looks for the test that wrote something. */
export function nameOutputBy(current: () => string): void {
  place = current;
}

/** Whether what rollbackd writes is kept. */
export function keepsOutput(): boolean {
  return process.env[outputFolder] !== undefined;
}

/** Keeps what rollbackd itself wrote while a test ran: it is searched for secrets when all tests are over. */
export function keepOutput(what: string, text: string): void {
  const folder = process.env[outputFolder];
  if (folder === undefined || text.trim() === '') return;
  const from = `${place()} ${what}: `.replaceAll('\n', ' ');
  appendFileSync(join(folder, `${process.pid}-${threadId}.txt`), text.trimEnd().replaceAll(/^/gm, from).concat('\n'));
}
