import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openPostgresJournal, openPostgresLease } from '../../src/adapters/journal/index.ts';
import { describeFaults, limitMs, type Talk } from '../contract/faults.ts';
import { startMs } from '../contract/journal-builders.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { startRealPostgres } from '../support/real-postgres.ts';

/** The lease goes through the same connections as the journal, and its time limit can be set. */
describeFaults('the lease and the journal on PostgreSQL', 'tcp', async () => {
  const postgres = await startRealPostgres();
  const folder = await mkdtemp(join(tmpdir(), 'rollbackd-pg-faults-'));
  const urlFile = join(folder, 'url');
  await writeFile(urlFile, await postgres.createDatabase('faults'), { mode: 0o600 });
  // Makes the tables.
  await (await openPostgresJournal({ urlFile, clock: new FakeClock(startMs) })).close();
  return {
    upstream: `${postgres.host}:${postgres.port}`,
    secret: postgres.password,
    connect: async ({ address }) => {
      const port = Number(address.split(':')[1]);
      await writeFile(urlFile, postgres.address('faults', port).replace(`@${postgres.host}:`, '@localhost:'), { mode: 0o600 });
      const lease = await openPostgresLease({ urlFile, holder: 'one', leaseDurationMs: 15_000, queryTimeoutMs: limitMs });
      const talk = async (): Promise<Talk> => {
        try {
          const answer = await lease.acquire(new AbortController().signal);
          return { well: answer.isHeld, class: 'permanent', words: 'not held', said: answer };
        } catch (error) {
          if (!(error instanceof Error)) throw error;
          return { well: false, class: 'transient', words: error.message, said: error };
        }
      };
      return { talk, close: async () => await lease.close() };
    },
    [Symbol.asyncDispose]: async () => {
      await postgres[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
});
