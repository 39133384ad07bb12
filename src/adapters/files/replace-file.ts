import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { access, lstat, open, readFile, rename, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** A file that was not replaced. `changed`: somebody else wrote it meanwhile. The message begins with its path. */
export class FileReplaceError extends Error {
  override readonly name = 'FileReplaceError';
  readonly changed: boolean;
  constructor(message: string, options: { changed: boolean; cause?: unknown }) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.changed = options.changed;
  }
}

/** Why a file could not be replaced, `null` when it could: a symbolic link (a mounted ConfigMap), no right to write. */
export async function writeObstacle(path: string): Promise<string | null> {
  try {
    if ((await lstat(path)).isSymbolicLink()) return `${path} is a symbolic link (a mounted ConfigMap?) and cannot be replaced`;
    await access(path, constants.R_OK);
    await access(dirname(path), constants.W_OK);
    return null;
  } catch (cause) {
    return `${path} cannot be written back (${codeOf(cause)})`;
  }
}

/**
 * Replaces a file so that a reader, or a machine that loses power, sees either all of the old or all of the new text.
 * Keeps mode and owner. A leftover of a crash (`.<name>.rollbackd-….tmp`) is never read.
 * @param expected text the file must still hold, else nothing is written
 * @throws {FileReplaceError}
 */
export async function replaceFile(path: string, expected: string, text: string): Promise<void> {
  const obstacle = await writeObstacle(path);
  if (obstacle !== null) throw new FileReplaceError(obstacle, { changed: false });
  await write(path, path, text, async () => {
    if ((await readFile(path, 'utf8')) !== expected) throw new FileReplaceError(`${path} changed while it was edited`, { changed: true });
  });
}

/**
 * Writes a file beside another one, with that one's mode and owner, as durably as `replaceFile`; whatever stood there is replaced.
 * @throws {FileReplaceError}
 */
export async function writeBeside(model: string, path: string, text: string): Promise<void> {
  await write(model, path, text, async () => undefined);
}

async function write(model: string, path: string, text: string, check: () => Promise<void>): Promise<void> {
  const folder = dirname(path);
  const temporary = join(folder, `.${basename(path)}.rollbackd-${process.pid}-${randomBytes(6).toString('hex')}.tmp`);
  try {
    const { mode, uid, gid } = await lstat(model);
    const handle = await open(temporary, 'wx', mode & 0o7777);
    try {
      await handle.writeFile(text, 'utf8');
      const written = await handle.stat();
      if (written.uid !== uid || written.gid !== gid) await handle.chown(uid, gid).catch(() => undefined);
      await handle.chmod(mode & 0o7777);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await check();
    await rename(temporary, path);
  } catch (cause) {
    await unlink(temporary).catch(() => undefined);
    if (cause instanceof FileReplaceError) throw cause;
    throw new FileReplaceError(`${path} cannot be written back (${codeOf(cause)})${hintFor(cause)}`, { changed: false, cause });
  }
  await syncFolder(folder);
}

function hintFor(cause: unknown): string {
  return codeOf(cause) === 'EBUSY' ? ': a single mounted file cannot be replaced; mount its folder' : '';
}

/** Makes the rename itself durable; some file systems cannot, and then it is as durable as they make it. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r').catch(() => null);
  await handle?.sync().catch(() => undefined);
  await handle?.close();
}

function codeOf(cause: unknown): string {
  return cause instanceof Error ? ((cause as NodeJS.ErrnoException).code ?? cause.message) : String(cause);
}
