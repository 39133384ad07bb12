import { closeSync, openSync, readdirSync, readSync, statSync } from 'node:fs';
import path from 'node:path';

/** Marks our files ("rbkd"), so that another program's database is never taken for a journal. */
export const applicationId = 0x72_62_6b_64;

/** SQLite's file format: the magic, and where the application's mark stands. @see https://www.sqlite.org/fileformat2.html#the_database_header */
const magic = 'SQLite format 3\0';
const applicationIdAt = 68;
const headerBytes = 100;
const mostFiles = 1_000;

/** What to do about a file that cannot be used any more; nothing of it is done here. Names the newest backup that lies beside it or in `backupDir`. */
export function restoreAdvice(file: string, backupDir?: string): string {
  const { dir, base } = path.parse(file);
  const folders = backupDir === undefined || backupDir === dir ? [dir] : [dir, backupDir];
  const backup = folders.flatMap((folder) => backupsIn(folder, file)).toSorted((a, b) => b.atMs - a.atMs)[0] ?? null;
  const found =
    backup === null
      ? `found no backup in ${folders.join(' or ')}; where you have one`
      : `found a backup, ${backup.file} of ${new Date(backup.atMs).toISOString()}`;
  return [
    'nothing was changed',
    `move ${base}, ${base}-wal and ${base}-shm out of the way together (keep them)`,
    `${found}: \`rollbackd journal verify --file BACKUP\` checks it, and a copy of it as ${base} is the journal again`,
    'or start with none: known-good versions, cooldowns and episodes under way are then forgotten',
  ].join('; ');
}

/** Files of a folder that look like a journal of ours, but for `file` itself; their content is not read. Empty when the folder cannot be read. */
function backupsIn(folder: string, file: string): readonly { readonly file: string; readonly atMs: number }[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => path.join(folder, entry.name))
      .filter((name) => name !== file && !name.startsWith(`${file}-`))
      .slice(-mostFiles)
      .filter((name) => looksLikeJournal(name))
      .map((name) => ({ file: name, atMs: statSync(name).mtimeMs }));
  } catch {
    return [];
  }
}

function looksLikeJournal(file: string): boolean {
  const header = Buffer.alloc(headerBytes);
  const descriptor = openSync(file, 'r');
  try {
    readSync(descriptor, header, 0, headerBytes, 0);
  } finally {
    closeSync(descriptor);
  }
  return header.toString('latin1', 0, magic.length) === magic && header.readUInt32BE(applicationIdAt) === applicationId;
}
