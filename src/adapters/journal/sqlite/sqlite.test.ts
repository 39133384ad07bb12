import { type ChildProcess, spawn } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { journalContract } from '../../../../test/contract/journal.ts';
import { aDecision, anEpisode, startMs } from '../../../../test/contract/journal-builders.ts';
import { FakeClock } from '../../../../test/support/fake-clock.ts';
import { JournalError } from '../../../domain/ports.ts';
import { genesisHash, hashOf } from '../chain.ts';
import type { SqlJournal } from '../sql-journal.ts';
import { backUpJournal } from './backup.ts';
import { openJournal, openJournalReadOnly } from './open.ts';

let folder: string;
let file: string;
let opened: SqlJournal[];
let children: ChildProcess[];

beforeEach(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'rollbackd-journal-'));
  file = path.join(folder, 'data', 'rollbackd.db');
  opened = [];
  children = [];
});
afterEach(async () => {
  for (const child of children) child.kill('SIGKILL');
  for (const journal of opened) await journal.close();
  rmSync(folder, { recursive: true, force: true });
});

async function open(path = file): Promise<SqlJournal> {
  const journal = await openJournal({ path, clock: new FakeClock(startMs) });
  opened.push(journal);
  return journal;
}

async function failureOf(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(JournalError);
  return (error as JournalError).message.replaceAll(folder, '');
}

/** Root may write everything: until the end of the block this process is nobody in particular. */
function withoutRootRights(): Disposable {
  const isRoot = process.geteuid?.() === 0;
  if (isRoot) process.seteuid?.(65_534);
  return { [Symbol.dispose]: () => void (isRoot && process.seteuid?.(0)) };
}

/** Changes the file behind the journal's back, with the journal closed. */
function tamper(sql: string, name = file): void {
  const database = new DatabaseSync(name);
  database.exec(sql);
  database.close();
}

let contractFolder = 0;
journalContract('sqlite', async (clock) => {
  contractFolder += 1;
  return await openJournal({ path: path.join(folder, `contract-${contractFolder}.db`), clock });
});

const decisions = async (journal: SqlJournal, count: number): Promise<void> => {
  for (let index = 0; index < count; index += 1) await journal.append([{ type: 'decision', decision: aDecision({ id: `d${journal.epoch}-${index}` }) }]);
};

describe('opening', () => {
  it('makes the folder and keeps everything over a restart, with the next epoch', async () => {
    const first = await open();
    await first.append([{ type: 'episode_opened', episode: anEpisode() }]);
    await first.close();

    const second = await open();
    await decisions(second, 1);

    expect([first.epoch, second.epoch]).toEqual([1, 2]);
    expect((await second.events(0, 10)).map(({ seq, epoch }) => [seq, epoch])).toEqual([
      [1, 1],
      [2, 2],
    ]);
    expect((await second.episode('rb_1'))?.model).toBe('fraud');
    expect(await second.verify()).toEqual({ ok: true, events: 2 });
  });

  it('leaves no log or lock journal behind after close', async () => {
    await (await open()).close();

    expect(readdirSync(path.dirname(file))).toEqual(['rollbackd.db', 'rollbackd.db.lock']);
  });

  it('writes through to the disk: WAL, synchronous FULL', async () => {
    let database: DatabaseSync | null = null;
    opened.push(await openJournal({ path: file, clock: new FakeClock(startMs), onDatabase: (raw) => (database = raw) }));
    const pragma = (name: string): unknown => Object.values(database?.prepare(`pragma ${name}`).get() ?? {})[0];

    expect(['journal_mode', 'synchronous', 'foreign_keys', 'busy_timeout'].map(pragma)).toEqual(['wal', 2, 1, 5000]);
    expect(() => database?.exec('pragma journal_mode = off')).not.toThrow();
    expect(pragma('journal_mode')).toBe('wal');
  });

  it('is refused to a second opener in the same process, also by another name of the file', async () => {
    const journal = await open();
    symlinkSync(file, path.join(folder, 'link.db'));

    expect(await failureOf(open())).toMatchInlineSnapshot(
      `"journal /data/rollbackd.db: found another process that uses it (/data/rollbackd.db.lock is locked), expected to be alone; stop that process (fuser /data/rollbackd.db.lock names it) or give this one another journal.sqlite.path"`,
    );
    expect(await failureOf(open(path.join(folder, 'link.db')))).toContain('found another process');
    await decisions(journal, 1);
    await journal.close();
    await expect(open()).resolves.toBeDefined();
  });

  it('is refused to a second process, and given once the first is killed', async () => {
    const { child, lines } = start('hold');
    expect((await lines.next()).value).toBe('epoch 1');

    expect(await failureOf(open())).toContain('found another process that uses it');

    await kill(child);
    expect((await open()).epoch).toBe(2);
  });

  it('refuses what it cannot use, and deletes nothing', async () => {
    mkdirSync(path.dirname(file), { recursive: true });
    const text = path.join(folder, 'text.db');
    writeFileSync(text, 'this is a letter, not a database. '.repeat(200));
    const foreign = path.join(folder, 'foreign.db');
    tamper('create table songs (name text)', foreign);

    expect(await failureOf(open(text))).toMatch(
      /^journal \/text\.db: file is not a database; expected a journal of rollbackd or no file; change journal\.sqlite\.path, or, where it was one; nothing was changed; move text\.db, /,
    );
    expect(await failureOf(open(foreign))).toMatchInlineSnapshot(
      `"journal /foreign.db: found an SQLite database of another program, expected a journal of rollbackd or no file; change journal.sqlite.path"`,
    );
    expect(await failureOf(open(path.join(text, 'x', 'a.db')))).toMatchInlineSnapshot(
      `"journal /text.db/x/a.db: ENOTDIR: not a directory, mkdir '/text.db/x'; expected a folder on the way; change journal.sqlite.path"`,
    );
    expect(await failureOf(open(path.join(folder, 'data')))).toContain('found a folder or device, expected a file');
    expect(readdirSync(folder)).toEqual(expect.arrayContaining(['text.db', 'foreign.db']));
  });

  it('refuses the file of a newer rollbackd', async () => {
    await (await open()).close();
    tamper(`insert into kysely_migration values ('0999_later', '2030')`);

    expect(await failureOf(open())).toMatchInlineSnapshot(
      `"journal /data/rollbackd.db: found the schema of a newer rollbackd ("0999_later"), expected "0002_removed_events_and_lease" or older; run that newer version, or give this one another journal.sqlite.path"`,
    );
    expect(await failureOf(openJournalReadOnly({ path: file }))).toContain('newer rollbackd');
  });

  it('migrates an older file, which a reader only refuses', async () => {
    new DatabaseSync(path.join(folder, 'old.db')).close();
    tamper('pragma application_id = 1919052644; create table kysely_migration (name text primary key, timestamp text not null)', path.join(folder, 'old.db'));

    expect(await failureOf(openJournalReadOnly({ path: path.join(folder, 'old.db') }))).toContain(
      'found the schema of an older rollbackd, expected "0002_removed_events_and_lease"; start the daemon once, it migrates',
    );
    const journal = await open(path.join(folder, 'old.db'));
    await decisions(journal, 1);
    expect(await journal.verify()).toEqual({ ok: true, events: 1 });
  });

  /** Of a whole file's bytes. */
  const damages: readonly (readonly [name: string, damage: (bytes: Buffer) => Buffer, words: RegExp])[] = [
    ['whose first bytes are others', (bytes) => Buffer.concat([Buffer.from('SQLight'), bytes.subarray(7)]), /file is not a database/],
    ['whose page size is nonsense', (bytes) => patched(bytes, 16, [0xff, 0xff]), /file is not a database|damaged/],
    ['of which all but the first page was overwritten', (bytes) => bytes.fill(7, 4096), /damaged|malformed/],
    ['with a byte of a page turned', (bytes) => patched(bytes, 2 * 4096, [0xff]), /damaged|malformed/],
    ['whose last page is zeros, which nothing at start reads', (bytes) => bytes.fill(0, bytes.length - 4096), /damaged/],
    ['that was cut in the middle', (bytes) => bytes.subarray(0, bytes.length / 2), /damaged|malformed/],
    ['that was cut within a page', (bytes) => bytes.subarray(0, 4096 + 100), /damaged|malformed/],
    ['that is a letter now', () => Buffer.from('Dear Ann, the journal was here. '.repeat(300)), /file is not a database/],
  ];
  const patched = (bytes: Buffer, at: number, by: readonly number[]): Buffer => (bytes.set(by, at), bytes);

  it.each(damages)('refuses a file %s, changes nothing, offers the newest backup, and goes on from it', async (_name, damage, words) => {
    const journal = await open();
    await decisions(journal, 60);
    await backUpJournal(file, `${file}.old-backup`);
    const backup = path.join(path.dirname(file), 'nightly.db');
    await backUpJournal(file, backup);
    utimesSync(`${file}.old-backup`, startMs / 1000, startMs / 1000);
    await journal.close();
    writeFileSync(file, damage(readFileSync(file)));
    const found = readFileSync(file);

    const message = await failureOf(open());

    expect(message).toMatch(words);
    expect(message).toContain('nothing was changed; move rollbackd.db, rollbackd.db-wal and rollbackd.db-shm out of the way together (keep them)');
    expect(message).toMatch(/found a backup, \/data\/nightly\.db of 20\d\d-/);
    expect(readFileSync(file)).toEqual(found);
    // What the message says.
    for (const part of ['', '-wal', '-shm']) if (existsSync(`${file}${part}`)) renameSync(`${file}${part}`, `${file}.damaged${part}`);
    copyFileSync(backup, file);
    const restored = await open();
    expect(await restored.verify()).toEqual({ ok: true, events: 60 });
    await decisions(restored, 1);
  });

  it('says so when there is no backup beside a damaged file', async () => {
    await (await open()).close();
    writeFileSync(file, 'no database at all, but long enough to be looked at '.repeat(20));

    expect(await failureOf(open())).toMatch(
      /found no backup in \/data; where you have one: .* or start with none: known-good versions, cooldowns and episodes/,
    );
  });

  it('tells damage that comes while it is open, and what to do', async () => {
    const journal = await open();
    await decisions(journal, 60);
    await journal.close();
    let database: DatabaseSync | null = null;
    const again = await openJournal({ path: file, clock: new FakeClock(startMs), onDatabase: (raw) => (database = raw) });
    opened.push(again);
    (database as DatabaseSync | null)?.exec('pragma cache_size = 0');
    writeFileSync(file, readFileSync(file).fill(7, 4096));

    expect(await failureOf(again.verify())).toMatch(/the file is damaged; nothing was changed; move rollbackd\.db/);
  });

  it.each([
    ['folder', 0o555, 0o444],
    ['file', 0o755, 0o444],
  ])('refuses a %s that cannot be written, says so, and works once it can', async (_name, folderMode, fileMode) => {
    const journal = await open();
    await decisions(journal, 1);
    await journal.close();
    const data = path.dirname(file);
    const others = readdirSync(data).map((name) => path.join(data, name));
    chmodSync(folder, 0o755);
    for (const name of others) chmodSync(name, fileMode);
    chmodSync(data, folderMode);
    {
      using _rights = withoutRootRights();
      expect(await failureOf(open())).toMatch(/expected a writable (file and )?folder; check|expected a writable file/);
    }
    chmodSync(data, 0o755);
    for (const name of others) chmodSync(name, 0o644);

    expect(await (await open()).verify()).toEqual({ ok: true, events: 1 });
  });
});

describe('openJournalReadOnly', () => {
  it('reads beside the process that writes, and after it', async () => {
    const writer = await open();
    await decisions(writer, 2);
    const reader = await openJournalReadOnly({ path: file });
    opened.push(reader);
    expect(await reader.decisions({})).toHaveLength(2);

    await decisions(await next(writer), 1);

    expect(await reader.decisions({})).toHaveLength(3);
    expect(reader.epoch).toBe(1);
    expect(await failureOf(reader.append([{ type: 'decision', decision: aDecision() }]))).toContain('opened for reading only, cannot append');
    await expect(reader.verify()).resolves.toEqual({ ok: true, events: 3 });

    async function next(journal: SqlJournal): Promise<SqlJournal> {
      await journal.close();
      return await open();
    }
  });

  it('says when there is no file, or gives an empty journal when asked to', async () => {
    expect(await failureOf(openJournalReadOnly({ path: file }))).toMatchInlineSnapshot(
      `"journal /data/rollbackd.db: found no such file, expected the journal of a daemon; see journal.sqlite.path, or start the daemon once"`,
    );
    const empty = await openJournalReadOnly({ path: file, missing: 'empty' });
    opened.push(empty);

    expect(await empty.episodes({})).toEqual([]);
    expect(await failureOf(empty.append([{ type: 'decision', decision: aDecision() }]))).toContain('reading only');
    expect(readdirSync(folder)).toEqual([]);
  });
});

describe('the hash chain', () => {
  it('is what an export can recompute: SHA-256 over the canonical JSON and the hash before', async () => {
    const journal = await open();
    const [event] = await journal.append([{ type: 'resumed', model: null, by: 'ann', atMs: 5 }]);

    expect(event?.hash).toBe(hashOf({ seq: 1, at_ms: startMs, epoch: 1, payload: '{"atMs":5,"by":"ann","model":null,"type":"resumed"}' }, genesisHash));
    expect(event?.hash).toMatchInlineSnapshot(`"70375c5215567bf52e927830e7dd648d9f49acff08c58121632eec2fe0582589"`);
  });

  it.each([
    ['a changed payload', `update events set payload = replace(payload, 'cooldown', 'go') where seq = 3`, 3, 'its content does not fit its hash'],
    ['white space in a payload', `update events set payload = payload || ' ' where seq = 3`, 3, 'its content does not fit its hash'],
    ['a changed time', 'update events set at_ms = at_ms + 1 where seq = 2', 2, 'its content does not fit its hash'],
    ['a changed epoch', 'update events set epoch = 9 where seq = 2', 2, 'its content does not fit its hash'],
    ['a changed type', `update events set type = 'paused' where seq = 2`, 2, 'its type is not the one of its content'],
    ['a removed row', 'delete from events where seq = 3', 3, 'found event 4 after 2: a row is missing'],
    ['a removed first row', 'delete from events where seq = 1', 1, 'a row is missing'],
    ['a cut tail', 'delete from events where seq >= 4', 4, 'found 3 events, expected 5: the newest rows are missing'],
    [
      'swapped rows',
      'update events set seq = 99 where seq = 2; update events set seq = 2 where seq = 3; update events set seq = 3 where seq = 99',
      2,
      'does not carry the hash of the row before it',
    ],
    ['an added row', `insert into events select 6, at_ms, epoch, type, payload, hash, 'x' from events where seq = 5`, 6, 'a row stands behind the newest one'],
    ['another hash', `update events set hash = 'x' where seq = 5`, 5, 'its content does not fit its hash'],
  ])('shows %s', async (_, sql, seq, reason) => {
    const journal = await open();
    await decisions(journal, 5);
    await journal.close();
    tamper(sql);

    const verdict = await (await open()).verify();

    expect(verdict).toMatchObject({ ok: false, seq });
    expect(verdict.ok ? '' : verdict.reason).toContain(reason);
  });
});

describe('the hash chain after old events were removed', () => {
  it.each([
    ['a removed first row', 'delete from events where seq = 4', 4, 'found event 5 after 3: a row is missing'],
    [
      'rows that were removed by hand, and the mark moved',
      `update head set removed_seq = 4, removed_hash = (select hash from events where seq = 4); delete from events where seq = 4`,
      5,
      'the rows up to 4 are gone, and no event says',
    ],
    [
      'a forged event of removal',
      `update events set payload = replace(payload, '"upToSeq":3', '"upToSeq":4') where type = 'events_removed'`,
      7,
      'its content does not fit its hash',
    ],
    ['another hash to go on from', `update head set removed_hash = 'x'`, 4, 'does not carry the hash of the row before it'],
  ])('shows %s', async (_, sql, seq, reason) => {
    const clock = new FakeClock(startMs);
    const journal = await openJournal({ path: file, clock });
    for (let index = 0; index < 6; index += 1) {
      clock.jump(startMs + index);
      await journal.append([{ type: 'decision', decision: aDecision({ id: `d${index}` }) }]);
    }
    await journal.removeEvents(startMs + 3);
    await journal.close();
    tamper(sql);

    expect(await (await open()).verify()).toMatchObject({ ok: false, seq, reason: expect.stringContaining(reason) as string });
  });
});

describe('faults', () => {
  it('a full disk rejects the append, rolls back all of it, and the journal goes on once there is room', async () => {
    let database: DatabaseSync | null = null;
    const journal = await openJournal({ path: file, clock: new FakeClock(startMs), onDatabase: (raw) => (database = raw) });
    opened.push(journal);
    // SQLite's own limit of pages: what a full disk looks like from inside.
    const limitPages = (pages: number): void => database?.exec(`pragma max_page_count = ${pages}`);
    await decisions(journal, 1);
    const before = await journal.projections();
    const big = 'x'.repeat(200_000);
    limitPages(1);

    const message = await failureOf(
      journal.append([
        { type: 'episode_opened', episode: anEpisode() },
        { type: 'decision', decision: aDecision({ id: 'big', detail: big }) },
      ]),
    );

    expect(message).toMatchInlineSnapshot(
      `"journal /data/rollbackd.db: database or disk is full; the disk is full; free space, nothing was written and nothing is lost"`,
    );
    expect(await journal.projections()).toEqual(before);
    expect(await journal.verify()).toEqual({ ok: true, events: 1 });
    limitPages(1_000_000);
    await journal.append([{ type: 'decision', decision: aDecision({ id: 'big', detail: big }) }]);
    expect(await journal.verify()).toEqual({ ok: true, events: 2 });
  });

  it('a journal taken over by a later opening refuses to write', async () => {
    const journal = await open();
    await decisions(journal, 1);
    const other = new DatabaseSync(file);
    other.exec('update head set epoch = epoch + 1');
    other.close();

    expect(await failureOf(decisions(journal, 2))).toContain('found that another process opened it since, expected to be alone (epoch 1)');
  });
});

describe('kill -9', () => {
  it('loses no event that was acknowledged, and the chain holds', async () => {
    for (let round = 1; round <= 3; round += 1) {
      const { child, lines } = start();
      expect((await lines.next()).value).toBe(`epoch ${round * 2 - 1}`);
      let acked = 0;
      for (let count = 0; count < 40 * round; count += 1) acked = Number((await lines.next()).value);
      const exit = kill(child);
      for await (const line of lines) acked = Number(line);
      await exit;

      const journal = await open();
      const verdict = await journal.verify();
      expect(verdict).toMatchObject({ ok: true });
      const events = verdict.ok ? verdict.events : 0;
      expect(events).toBeGreaterThanOrEqual(acked);
      // Both events of an append, or none.
      expect(events % 2).toBe(0);
      const before = await journal.projections();
      await journal.rebuild();
      expect(await journal.projections()).toEqual(before);
      await journal.close();
    }
  }, 60_000);
});

function start(...more: string[]): { child: ChildProcess; lines: AsyncIterableIterator<string> } {
  const child = spawn(process.execPath, [path.join(import.meta.dirname, 'fixtures', 'appender.ts'), file, ...more], { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  return { child, lines: createInterface({ input: child.stdout })[Symbol.asyncIterator]() };
}

async function kill(child: ChildProcess): Promise<void> {
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await gone;
}
