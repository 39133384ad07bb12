import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { backUpJournal, openConfiguredJournalReadOnly, openJournalReadOnly, type SqlJournal } from '../adapters/journal/index.ts';
import { CommandFailed, exitCodes } from './exit.ts';
import { loadSettings } from './settings.ts';

/** Which journal: an SQLite file (a backup, say), or the one that the daemon's file names. */
export type JournalChoice = { readonly file: string | null; readonly configFile: string };

/** `journal verify`. @returns 1 when a row was changed, removed or put in; where is told on stderr */
export async function verifyJournal(choice: JournalChoice, output: 'text' | 'json'): Promise<number> {
  return await readingJournal(choice, async (journal) => {
    const verdict = await journal.verify();
    if (output === 'json') process.stdout.write(`${JSON.stringify({ journal: journal.name, ...verdict })}\n`);
    else if (verdict.ok) process.stdout.write(`journal ${journal.name}: ${verdict.events} events, the chain is whole\n`);
    if (verdict.ok) return exitCodes.ok;
    process.stderr.write(
      `rollbackd: journal ${journal.name}: event ${verdict.seq}: ${verdict.reason}; what follows it cannot be trusted: compare with a backup\n`,
    );
    return exitCodes.error;
  });
}

/** `journal export`: every event as a line of JSON, oldest first. */
export async function exportJournal(choice: JournalChoice): Promise<number> {
  return await readingJournal(choice, async (journal) => {
    const lines = async function* (): AsyncGenerator<string> {
      for await (const line of journal.exportLines()) yield `${line}\n`;
    };
    try {
      await pipeline(Readable.from(lines()), process.stdout, { end: false });
    } catch (error) {
      // The reader has seen enough (head).
      if (!(error instanceof Error && 'code' in error && error.code === 'EPIPE')) throw error;
    }
    return exitCodes.ok;
  });
}

/** `journal backup`: an SQLite journal only; a database server has tools of its own. */
export async function backUp(target: string, choice: JournalChoice): Promise<number> {
  const file = choice.file ?? (await sqliteFileOf(choice.configFile));
  const { events, bytes } = await backUpJournal(file, target);
  process.stdout.write(`${target}: ${events} events, verified, ${bytes} bytes\n`);
  return exitCodes.ok;
}

async function sqliteFileOf(configFile: string): Promise<string> {
  const { journal } = await loadSettings(configFile);
  if (journal.kind === 'sqlite') return journal.path;
  throw new CommandFailed(
    `rollbackd: ${configFile} names a journal on PostgreSQL, expected SQLite; back that one up by: pg_dump --schema=rollbackd --format=custom --file=FILE DATABASE`,
  );
}

/** Opens it to read only, beside whoever writes it. @throws {JournalError} */
export async function readingJournal(choice: JournalChoice, read: (journal: SqlJournal) => Promise<number>): Promise<number> {
  const journal =
    choice.file === null
      ? await openConfiguredJournalReadOnly((await loadSettings(choice.configFile)).journal)
      : await openJournalReadOnly({ path: choice.file });
  try {
    return await read(journal);
  } finally {
    await journal.close();
  }
}
