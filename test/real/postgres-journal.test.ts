import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { openPostgresJournal, openPostgresJournalReadOnly, type SqlJournal } from '../../src/adapters/journal/index.ts';
import { JournalError } from '../../src/domain/ports.ts';
import { journalContract } from '../contract/journal.ts';
import { aDecision, anEpisode, startMs } from '../contract/journal-builders.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { type RealPostgres, startRealPostgres } from '../support/real-postgres.ts';

let postgres: RealPostgres;
let folder: string;
let databases = 0;
const opened: SqlJournal[] = [];

beforeAll(async () => {
  postgres = await startRealPostgres();
  folder = await mkdtemp(join(tmpdir(), 'rollbackd-pg-test-'));
});
afterEach(async () => {
  for (const journal of opened.splice(0)) await journal.close();
});
afterAll(async () => {
  await postgres[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

/** A new database and the file with its address. */
async function aDatabase(): Promise<{ name: string; urlFile: string }> {
  databases += 1;
  const name = `journal_${databases}`;
  const urlFile = join(folder, `${name}.url`);
  await writeFile(urlFile, `${await postgres.createDatabase(name)}\n`, { mode: 0o600 });
  return { name, urlFile };
}

async function open(urlFile: string, clock = new FakeClock(startMs)): Promise<SqlJournal> {
  const journal = await openPostgresJournal({ urlFile, clock });
  opened.push(journal);
  return journal;
}

async function openLeading(urlFile: string): Promise<SqlJournal> {
  const journal = await open(urlFile);
  await journal.takeEpoch();
  return journal;
}

async function failureOf(promise: Promise<unknown>): Promise<JournalError> {
  const error = await promise.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(JournalError);
  expect(JSON.stringify([(error as Error).message, error, String((error as Error).cause), (error as Error).cause])).not.toContain(
    postgres.password.slice(3, 12),
  );
  return error as JournalError;
}

const aDecisionEvent = (id: string) => ({ type: 'decision', decision: aDecision({ id }) }) as const;

journalContract('postgres', async (clock) => {
  const journal = await openPostgresJournal({ urlFile: (await aDatabase()).urlFile, clock });
  await journal.takeEpoch();
  return journal;
});

describe('opening', () => {
  it('by five at once makes the schema once', async () => {
    const { urlFile } = await aDatabase();

    const all = await Promise.all(Array.from({ length: 5 }, async () => await open(urlFile)));

    const epochs = await Promise.all(all.map(async (journal) => await journal.takeEpoch()));
    expect(epochs.toSorted((a, b) => a - b)).toEqual([1, 2, 3, 4, 5]);
  });

  it('reads what another replica writes, and writes nothing before it leads', async () => {
    const { urlFile } = await aDatabase();
    const leader = await openLeading(urlFile);
    const follower = await open(urlFile);
    await leader.append([aDecisionEvent('d1')]);

    expect(await follower.decisions({})).toHaveLength(1);
    const refusal = await failureOf(follower.append([aDecisionEvent('d2')]));
    expect([refusal.isFenced, refusal.message]).toEqual([true, expect.stringContaining('this replica does not lead')]);
  });

  it('refuses the schema of a newer rollbackd', async () => {
    const { name, urlFile } = await aDatabase();
    await (await open(urlFile)).close();
    await postgres.sql(name, `insert into rollbackd.kysely_migration values ('0999_later', '2030')`);

    expect((await failureOf(openPostgresJournal({ urlFile, clock: new FakeClock() }))).message).toContain(
      'found the schema of a newer rollbackd ("0999_later")',
    );
  });

  it('says what is wrong with the address, and never shows it', async () => {
    const file = join(folder, 'bad.url');
    const attempt = async (text: string): Promise<string> => {
      await writeFile(file, text);
      return (await failureOf(openPostgresJournal({ urlFile: file, clock: new FakeClock() }))).message
        .replaceAll(folder, '')
        .replaceAll(String(postgres.port), '<port>');
    };

    expect(await attempt('mysql://a:s3cr3t@b/c')).toBe(
      'journal postgres: /bad.url does not hold the address of a database; write postgres://user:password@host:port/database into it',
    );
    expect(await attempt(postgres.address('nowhere'))).toBe(
      'journal postgres 127.0.0.1:<port>/nowhere: database "nowhere" does not exist; expected a database that is there; make it by createdb, or change journal.postgres.url_file',
    );
    expect(await attempt(postgres.address('postgres').replace('pw-', 'xx-'))).toContain(
      'password authentication failed for user "rollbackd"; expected the right password',
    );
    expect(await attempt('postgres://a:s3cr3t@127.0.0.1:1/c')).toMatch(/ECONNREFUSED.*; expected a database that listens there/);
    expect((await failureOf(openPostgresJournal({ urlFile: join(folder, 'none'), clock: new FakeClock() }))).message).toContain('(ENOENT)');
  });

  it('a reader changes nothing, and says when there is no journal', async () => {
    const { name, urlFile } = await aDatabase();
    expect((await failureOf(openPostgresJournalReadOnly({ urlFile }))).message).toContain('found no journal');
    expect(await openPostgresJournalReadOnly({ urlFile, missing: 'empty' })).toBeNull();
    expect(await postgres.sql(name, `select count(*) from pg_namespace where nspname = 'rollbackd'`)).toBe('0');
    await (await openLeading(urlFile)).append([aDecisionEvent('d1')]);

    const reader = (await openPostgresJournalReadOnly({ urlFile }))!;
    opened.push(reader);
    expect(await reader.decisions({})).toHaveLength(1);
    expect((await failureOf(reader.append([aDecisionEvent('d2')]))).message).toContain('opened for reading only');
    expect((await failureOf(reader.takeEpoch())).message).toContain('opened for reading only');
  });
});

describe('the epoch', () => {
  it('of a later leader refuses every append of an earlier one, and none of what it holds is written', async () => {
    const { urlFile } = await aDatabase();
    const first = await openLeading(urlFile);
    const second = await open(urlFile);
    await first.append([aDecisionEvent('d1')]);
    await first.confirmEpoch();

    expect(await second.takeEpoch()).toBe(2);

    const attempts: readonly (() => Promise<unknown>)[] = [
      async () => await first.append([aDecisionEvent('d2'), aDecisionEvent('d3')]),
      async () => await first.confirmEpoch(),
      async () => await first.prune(0),
      async () => await first.removeEvents(startMs + 9),
    ];
    for (const attempt of attempts) {
      const refusal = await failureOf(attempt());
      expect([refusal.isFenced, refusal.message]).toEqual([true, expect.stringContaining('found epoch 2, expected ours, 1: another replica leads since')]);
    }
    await second.append([aDecisionEvent('d4')]);
    expect((await second.events(0, 10)).map(({ seq, epoch }) => [seq, epoch])).toEqual([
      [1, 1],
      [2, 2],
    ]);
    expect(await second.verify()).toEqual({ ok: true, events: 2 });
  });

  it('changes hands between two that append with all their might: the chain holds, and no acknowledged event is lost', async () => {
    const { urlFile } = await aDatabase();
    const replicas = [await open(urlFile), await open(urlFile), await open(urlFile)];
    const acknowledged: string[] = [];
    const stop = new AbortController();
    const writers = replicas.map(async (journal, replica) => {
      for (let index = 0; !stop.signal.aborted; index += 1) {
        const id = `d${replica}-${index}`;
        await journal.append([aDecisionEvent(id), aDecisionEvent(`${id}b`)]).then(
          () => acknowledged.push(id, `${id}b`),
          async (error: unknown) => {
            expect(error).toMatchObject({ isFenced: true });
            await new Promise((resolve) => setTimeout(resolve, 3));
          },
        );
      }
    });
    for (let turn = 0; turn < 30; turn += 1) {
      await replicas[turn % 3]!.takeEpoch();
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    stop.abort();
    await Promise.all(writers);

    const stored = await replicas[0]!.events(0, 100_000);
    const found = stored.map(({ event }) => (event.type === 'decision' ? event.decision.id : ''));
    expect(await replicas[0]!.verify()).toEqual({ ok: true, events: stored.length });
    expect(new Set(stored.map(({ epoch }) => epoch)).size).toBeGreaterThan(10);
    expect(found.toSorted()).toEqual(acknowledged.toSorted());
  });

  it('can be taken while the last leader is stopped in the middle of an append: the server ends its session', async () => {
    const { name, urlFile } = await aDatabase();
    const next = await openLeading(urlFile);
    // What a leader looks like that was stopped (SIGSTOP) between two statements of an append.
    const stopped = postgres
      .sql(name, `begin; set local idle_in_transaction_session_timeout = '1500ms'; select seq from rollbackd.head where id = 1 for update; \\! sleep 8`)
      .catch(() => '');
    await new Promise((resolve) => setTimeout(resolve, 500));
    const startedMs = performance.now();

    await next.takeEpoch();

    expect(performance.now() - startedMs).toBeLessThan(3_000);
    await stopped;
  });
});

describe('the chain', () => {
  it.each([
    ['a changed row', `update rollbackd.events set payload = replace(payload, 'cooldown', 'go') where seq = 3`, 3, 'its content does not fit its hash'],
    ['a removed row', 'delete from rollbackd.events where seq = 3', 3, 'a row is missing'],
    [
      'an inserted row',
      `insert into rollbackd.events select 6, at_ms, epoch, type, payload, hash, 'x' from rollbackd.events where seq = 5`,
      6,
      'a row stands behind',
    ],
    ['a cut tail', 'delete from rollbackd.events where seq >= 4', 4, 'the newest rows are missing'],
  ])('shows %s', async (_, tampering, seq, reason) => {
    const { name, urlFile } = await aDatabase();
    const journal = await openLeading(urlFile);
    for (let index = 0; index < 5; index += 1) await journal.append([aDecisionEvent(`d${index}`)]);
    await postgres.sql(name, tampering);

    expect(await journal.verify()).toMatchObject({ ok: false, seq, reason: expect.stringContaining(reason) as string });
  });
});

describe('a database that goes away', () => {
  it('refuses appends with its reason, loses nothing that was acknowledged, and is taken up again by itself', async () => {
    const { urlFile } = await aDatabase();
    const journal = await openLeading(urlFile);
    await journal.append([{ type: 'episode_opened', episode: anEpisode() }]);

    await postgres.stop('immediate');
    try {
      await failureOf(journal.append([aDecisionEvent('d1')]));
      expect((await failureOf(journal.append([aDecisionEvent('d1')]))).message).toContain('expected a database that listens there');
      await failureOf(journal.episodes({}));
    } finally {
      await postgres.start();
    }

    await journal.append([aDecisionEvent('d1')]);
    expect((await journal.episode('rb_1'))?.model).toBe('fraud');
    expect(await journal.verify()).toEqual({ ok: true, events: 2 });
  });
});
