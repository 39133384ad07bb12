import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { openPostgresJournalReadOnly, type SqlJournal } from '../../src/adapters/journal/index.ts';
import type { DaemonProcess } from './daemon-process.ts';
import { setWatchedStage } from './ended-once.ts';
import type { RealPostgres } from './real-postgres.ts';
import type { ServingWatch } from './serving-watch.ts';
import type { StageOptions } from './stage-files.ts';
import { describeDaemon, type Stage } from './stage-files.ts';
import { startTcpProxy, type TcpProxy } from './tcp-proxy.ts';
import { until } from './until.ts';

/** As the tests want them: three seconds, so that a takeover can be waited for. */
export const leaseMs = { duration: 3_000, deadline: 2_000, retry: 500 } as const;
const election = { lease_duration: '3s', renew_deadline: '2s', retry_period: '500ms' } as const;

/** One rollbackd of several, behind a line of its own to the database. */
export type RealReplica = { readonly name: string; readonly daemon: DaemonProcess; readonly line: TcpProxy };

export type RealReplicas = {
  readonly stage: Stage;
  readonly watch: ServingWatch;
  readonly replicas: readonly RealReplica[];
  /** Who says that it leads, other than `not`; waits for it. */
  readonly leader: (options?: { not?: RealReplica; withinMs?: number }) => Promise<RealReplica>;
  readonly readJournal: <Result>(read: (journal: SqlJournal) => Promise<Result>) => Promise<Result>;
};

let databases = 0;

/**
 * Three replicas on one new database; the stage owns all of it.
 * @param options.election keys of `leader_election` beside the times. Default: none, a row of that database
 */
export async function startReplicas(
  postgres: RealPostgres,
  { election: more, ...options }: StageOptions & { readonly election?: Readonly<Record<string, unknown>> } = {},
): Promise<RealReplicas> {
  databases += 1;
  const database = `replicas_${process.pid}_${databases}`;
  const address = await postgres.createDatabase(database);
  const { stage, watch } = await setWatchedStage({
    ...options,
    top: { journal: { postgres: { url_file: 'url-0' } }, leader_election: { ...election, ...more } },
  });
  try {
    const folder = join(stage.folder, 'config');
    const text = await readFile(stage.configFile, 'utf8');
    const start = async (index: number): Promise<RealReplica> => {
      const line = await startTcpProxy(postgres);
      stage.defer(async () => await line[Symbol.asyncDispose]());
      await writeFile(join(folder, `url-${index}`), postgres.address(database, line.port), { mode: 0o600 });
      const configFile = join(folder, `rollbackd-${index}.yaml`);
      await writeFile(configFile, text.replace('url-0', `url-${index}`));
      return { name: `r${index}`, daemon: await stage.startDaemon(['--config.file', configFile]), line };
    };
    const replicas = await Promise.all([0, 1, 2].map(start));
    const directUrl = join(folder, 'url-direct');
    await writeFile(directUrl, address, { mode: 0o600 });
    return {
      stage,
      watch,
      replicas,
      leader: async ({ not, withinMs = 20_000 } = {}) =>
        await until('a replica to lead', () => replicas.find((replica) => replica !== not && leadsByLog(replica.daemon)), {
          withinMs,
          everyMs: 20,
          seen: async () => (await Promise.all(replicas.map(async ({ daemon }) => await describeDaemon(daemon)))).join('\n'),
        }),
      readJournal: async (read) => {
        const journal = await openPostgresJournalReadOnly({ urlFile: directUrl });
        if (journal === null) throw new Error('no journal');
        try {
          return await read(journal);
        } finally {
          await journal.close();
        }
      },
    };
  } catch (error) {
    await stage[Symbol.asyncDispose]();
    throw error;
  }
}

/** What its log said last of leading. */
export function leadsByLog(daemon: DaemonProcess): boolean {
  const lines = daemon.logLines();
  const last = lines.findLast((line) => line.includes('this replica leads'));
  return last !== undefined && !last.includes('leads no more');
}
