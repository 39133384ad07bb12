import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmod, chown, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type OwnedProcess, startOwnedProcess } from './owned-process.ts';
import { until } from './until.ts';

const run = promisify(execFile);

/** A PostgreSQL of our own on a free port of loopback, in a folder that goes with it. */
export type RealPostgres = AsyncDisposable & {
  readonly host: string;
  readonly port: number;
  /** What must never be shown. */
  readonly password: string;
  /** Makes an empty database. @returns its address, at another port when given (a proxy's) */
  readonly createDatabase: (name: string) => Promise<string>;
  readonly address: (database: string, port?: number) => string;
  /** Runs SQL as the superuser. @returns the rows, unaligned */
  readonly sql: (database: string, text: string) => Promise<string>;
  readonly stop: (mode: 'fast' | 'immediate') => Promise<void>;
  readonly start: () => Promise<void>;
};

/** Its programs are not on the path of Debian: the newest is taken. */
async function findPrograms(): Promise<string> {
  const { stdout } = await run('sh', ['-c', 'ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1; command -v initdb || true']);
  const [found] = stdout.split('\n').filter((line) => line !== '');
  if (found === undefined) throw new Error('no PostgreSQL here; npm run real-parts installs it');
  return found.endsWith('/initdb') ? found.slice(0, -'/initdb'.length) : found;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** The server refuses to run as root: then it runs as the user that Debian's package makes. */
async function userOf(): Promise<{ wrap: (program: string, args: readonly string[]) => [string, string[]]; ids: { uid: number; gid: number } | null }> {
  if (process.getuid?.() !== 0) return { wrap: (program, args) => [program, [...args]], ids: null };
  const { stdout } = await run('sh', ['-c', 'id -u postgres; id -g postgres']);
  const [uid = 0, gid = 0] = stdout.trim().split('\n').map(Number);
  return { wrap: (program, args) => ['setpriv', [`--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', program, ...args]], ids: { uid, gid } };
}

export async function startRealPostgres(settings: Readonly<Record<string, string>> = {}): Promise<RealPostgres> {
  await using owned = new AsyncDisposableStack();
  const programs = await findPrograms();
  const { wrap, ids } = await userOf();
  const folder = await mkdtemp(join(tmpdir(), 'rollbackd-postgres-'));
  owned.defer(async () => await rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  await chmod(folder, 0o755);
  const data = join(folder, 'data');
  const password = `pw-${randomBytes(9).toString('hex')}/@:`;
  const passwordFile = join(folder, 'password');
  await writeFile(passwordFile, `${password}\n`, { mode: 0o600 });
  if (ids !== null) for (const path of [folder, passwordFile]) await chown(path, ids.uid, ids.gid);
  const [initdb, initArgs] = wrap(join(programs, 'initdb'), [
    ...['-D', data, '-U', 'rollbackd', '--pwfile', passwordFile, '--auth=scram-sha-256', '-E', 'UTF8', '--locale=C', '--no-sync'],
  ]);
  await run(initdb, initArgs, { cwd: folder });
  const port = await freePort();
  let server: OwnedProcess | null = null;
  const start = async (): Promise<void> => {
    const options = {
      ...{ listen_addresses: '127.0.0.1', port: String(port), unix_socket_directories: '', fsync: 'off', shared_buffers: '32MB' },
      ...settings,
    };
    const args = ['-D', data, ...Object.entries(options).flatMap(([key, value]) => ['-c', `${key}=${value}`])];
    const [program, all] = wrap(join(programs, 'postgres'), args);
    const started = startOwnedProcess(program, all, { cwd: folder });
    server = started;
    await until('PostgreSQL to answer', async () => started.hasEnded() || (await sql('postgres', 'select 1')) === '1', { everyMs: 100, seen: started.stderr });
    if (started.hasEnded()) throw new Error(`PostgreSQL ended:\n${started.stderr()}`);
  };
  const sql = async (database: string, text: string): Promise<string> => {
    const { stdout } = await run(
      'psql',
      ['-h', '127.0.0.1', '-p', String(port), '-U', 'rollbackd', '-d', database, '-X', '-A', '-t', '-q', '-v', 'ON_ERROR_STOP=1', '-c', text],
      {
        env: { ...process.env, PGPASSWORD: password, PGCONNECT_TIMEOUT: '5' },
      },
    );
    return stdout.trim();
  };
  const stop = async (mode: 'fast' | 'immediate'): Promise<void> => {
    if (server === null || server.hasEnded()) return;
    server.kill(mode === 'fast' ? 'SIGINT' : 'SIGQUIT');
    await server.ended;
  };
  owned.defer(async () => await stop('immediate'));
  await start();
  const address = (database: string, at = port): string => `postgres://rollbackd:${encodeURIComponent(password)}@127.0.0.1:${at}/${database}`;
  const stack = owned.move();
  return {
    host: '127.0.0.1',
    port,
    password,
    address,
    sql,
    stop,
    start,
    createDatabase: async (name) => {
      await sql('postgres', `create database "${name}"`);
      return address(name);
    },
    [Symbol.asyncDispose]: async () => await stack.disposeAsync(),
  };
}
