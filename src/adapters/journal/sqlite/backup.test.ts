import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { aDecision, startMs } from '../../../../test/contract/journal-builders.ts';
import { FakeClock } from '../../../../test/support/fake-clock.ts';
import { backUpJournal } from './backup.ts';
import { backUpAndKeep } from './kept-backups.ts';
import { openJournal, openJournalReadOnly } from './open.ts';

let folder: string;
let file: string;
let copy: string;

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'rollbackd-backup-'));
  file = path.join(folder, 'rollbackd.db');
  copy = path.join(folder, 'copy.db');
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

async function aJournal(count: number): Promise<void> {
  const journal = await openJournal({ path: file, clock: new FakeClock(startMs) });
  for (let index = 0; index < count; index += 1) await journal.append([{ type: 'decision', decision: aDecision({ id: `d${index}` }) }]);
  await journal.close();
}

describe('backup', () => {
  it('is a whole journal of one instant while another process goes on writing, and a daemon can go on from it', async () => {
    const child = spawn(process.execPath, [path.join(import.meta.dirname, 'fixtures', 'appender.ts'), file], { stdio: ['ignore', 'pipe', 'inherit'] });
    const gone = once(child, 'exit');
    try {
      const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
      for (let count = 0; count < 60; count += 1) await lines.next();

      const first = await backUpJournal(file, copy);
      const before = Number((await lines.next()).value);
      for (let count = 0; count < 20; count += 1) await lines.next();
      const second = await backUpJournal(file, path.join(folder, 'later.db'));

      expect(first.events).toBeGreaterThan(100);
      // Both events of an append, or none.
      expect([first.events % 2, second.events % 2]).toEqual([0, 0]);
      expect(second.events).toBeGreaterThan(before);
    } finally {
      child.kill('SIGKILL');
      await gone;
    }
    const journal = await openJournal({ path: copy, clock: new FakeClock(startMs) });
    await journal.append([{ type: 'decision', decision: aDecision() }]);
    expect(await journal.verify()).toMatchObject({ ok: true });
    await journal.close();
  });

  it('by a schedule: the newest few stay, files of other names are left alone, and a damaged journal offers the newest', async () => {
    await aJournal(3);
    const dir = path.join(folder, 'backups', 'of-rollbackd');
    const at = async (day: number) => await backUpAndKeep(file, { dir, keep: 2 }, Date.UTC(2026, 10, day, 2, 15));
    await at(1);
    writeFileSync(path.join(dir, 'rollbackd-by-hand.db'), 'mine');
    await at(2);

    const third = await at(3);

    expect(third).toMatchObject({ events: 3, file: path.join(dir, 'rollbackd-2026-11-03T02-15-00Z.db'), removed: ['rollbackd-2026-11-01T02-15-00Z.db'] });
    expect(readdirSync(dir).toSorted()).toEqual(['rollbackd-2026-11-02T02-15-00Z.db', 'rollbackd-2026-11-03T02-15-00Z.db', 'rollbackd-by-hand.db']);
    writeFileSync(file, 'no journal any more, but as long as one needs to be to be looked at. '.repeat(20));
    await expect(at(4)).rejects.toThrow('is not a database');
    expect(readdirSync(dir)).toHaveLength(3);
    await expect(openJournal({ path: file, backupDir: dir, clock: new FakeClock(startMs) })).rejects.toThrow(
      `found a backup, ${path.join(dir, 'rollbackd-2026-11-0')}`,
    );
  });

  it('overwrites nothing, and leaves nothing behind when it fails', async () => {
    await aJournal(3);
    writeFileSync(copy, 'precious');

    await expect(backUpJournal(file, copy)).rejects.toThrow('is there already, expected a new file; nothing was written');
    await expect(backUpJournal(path.join(folder, 'none.db'), path.join(folder, 'x.db'))).rejects.toThrow('found no such file');
    await expect(backUpJournal(file, path.join(folder, 'no', 'folder.db'))).rejects.toThrow('no copy was made');
    const database = new DatabaseSync(file);
    database.exec('delete from events where seq = 2');
    database.close();
    await expect(backUpJournal(file, path.join(folder, 'x.db'))).rejects.toThrow(
      'event 2 of the copy: found event 3 after 1: a row is missing; no copy was made',
    );

    expect(readFileSync(copy, 'utf8')).toBe('precious');
    expect(readdirSync(folder).filter((name) => !name.startsWith('rollbackd.db'))).toEqual(['copy.db']);
  });
});

it('an export can be recomputed by anybody who reads what the documents say', async () => {
  const clock = new FakeClock(startMs);
  const journal = await openJournal({ path: file, clock });
  for (let index = 0; index < 6; index += 1) {
    clock.jump(startMs + index);
    await journal.append([{ type: 'decision', decision: aDecision({ id: `d${index}`, detail: 'ü "\u2028' }) }]);
  }
  await journal.removeEvents(startMs + 2);
  await journal.close();
  const reader = await openJournalReadOnly({ path: file });
  const lines: string[] = [];
  for await (const line of reader.exportLines()) lines.push(line);
  await reader.close();

  const { createHash } = await import('node:crypto');
  let previous: string | null = null;
  for (const line of lines) {
    const { at, epoch, event, seq, prev_hash, hash } = JSON.parse(line) as Record<string, unknown>;
    if (previous !== null) expect(prev_hash).toBe(previous);
    expect(
      createHash('sha256')
        .update(`${JSON.stringify(sorted({ at, epoch, event, seq }))}${String(prev_hash)}`)
        .digest('hex'),
    ).toBe(hash);
    previous = String(hash);
  }
  expect(lines.map((line) => (JSON.parse(line) as { seq: number }).seq)).toEqual([3, 4, 5, 6, 7]);
});

/** Keys sorted, at every depth. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, inner]) => [key, sorted(inner)]),
  );
}
