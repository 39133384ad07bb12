import type { LeaseAnswer, LeaseLock } from '../../../domain/ports.ts';
import { schemaName } from './open.ts';
import { JournalPool, readAddress } from './pool.ts';

/** Takes or renews in one statement, by the clock of the database alone: replicas' clocks are never compared. */
const acquireLease = `
  insert into ${schemaName}.lease as held (id, holder, expires_at, transitions)
  values (1, $1, clock_timestamp() + $2 * interval '1 millisecond', 0)
  on conflict (id) do update
    set holder = excluded.holder, expires_at = excluded.expires_at,
        transitions = held.transitions + case when held.holder = excluded.holder then 0 else 1 end
    where held.holder = excluded.holder or held.holder = '' or held.expires_at < clock_timestamp()
  returning holder`;
const readHolder = `select holder from ${schemaName}.lease where id = 1`;
const releaseLease = `update ${schemaName}.lease set holder = '', expires_at = clock_timestamp() where id = 1 and holder = $1`;

/**
 * A row of the journal's database as the lease. It has a connection of its own, with a short patience: a renewal must not wait behind an append.
 * @param options.holder unique per process
 * @throws {JournalError} when the address cannot be read
 */
export async function openPostgresLease(options: { urlFile: string; holder: string; leaseDurationMs: number; queryTimeoutMs: number }): Promise<LeaseLock> {
  const address = await readAddress(options.urlFile);
  const pool = new JournalPool({ address, max: 2, queryTimeoutMs: options.queryTimeoutMs, applicationName: 'rollbackd lease' });
  const ask = async (text: string, values: readonly unknown[]): Promise<readonly { holder?: string }[]> => {
    const client = await pool.connect();
    try {
      return (await client.query<{ holder?: string }>(text, values)).rows;
    } finally {
      client.release();
    }
  };
  return {
    name: `lease in ${address.name}`,
    acquire: async (): Promise<LeaseAnswer> => {
      if ((await ask(acquireLease, [options.holder, options.leaseDurationMs])).length > 0) return { isHeld: true, holder: options.holder };
      const [row] = await ask(readHolder, []);
      return { isHeld: false, holder: row?.holder === undefined || row.holder === '' ? null : row.holder };
    },
    release: async () => void (await ask(releaseLease, [options.holder])),
    close: async () => await pool.end(),
  };
}
