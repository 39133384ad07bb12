import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { homedir, tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { ownProcess } from '../owned-process.ts';

/** Where scripts/real-parts puts it. */
const bin = path.join(process.env['XDG_CACHE_HOME'] ?? path.join(homedir(), '.cache'), 'rollbackd', 'mlflow', 'bin');

/** The administrator, who is also the one at the client. */
export const administrator = { username: 'admin', password: 'an-administrators-password' };

/** MLflow's server on a free port of loopback, and a person at MLflow's own client. */
export type RealMlflow = AsyncDisposable & {
  readonly url: string;
  /** Has the client do something; rejects with its words. */
  readonly ask: <Answer>(order: Readonly<Record<string, unknown>> & { readonly do: string }) => Promise<Answer>;
};

/**
 * @param options.basicAuth with its basic-auth app: every call then costs the server a slow hash of the password
 * @throws when it is not installed, saying how to get it
 */
export async function startMlflow(options: { basicAuth?: boolean } = {}): Promise<RealMlflow> {
  if (!existsSync(path.join(bin, 'mlflow'))) throw new Error(`${bin}/mlflow is missing; run: npm run real-parts`);
  await using owned = new AsyncDisposableStack();
  const folder = await mkdtemp(path.join(tmpdir(), 'rollbackd-mlflow-'));
  owned.defer(async () => await rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const auth = path.join(folder, 'auth.ini');
  await writeFile(
    auth,
    [
      '[mlflow]',
      'default_permission = READ',
      `database_uri = sqlite:///${folder}/auth.db`,
      `admin_username = ${administrator.username}`,
      `admin_password = ${administrator.password}`,
      'authorization_function = mlflow.server.auth:authenticate_request_basic_auth',
      '',
    ].join('\n'),
  );
  const env = {
    PATH: process.env['PATH'] ?? '',
    HOME: folder,
    GIT_PYTHON_REFRESH: 'quiet',
    MLFLOW_DISABLE_TELEMETRY: 'true',
    DO_NOT_TRACK: 'true',
    MLFLOW_FLASK_SERVER_SECRET_KEY: 'of a test',
    MLFLOW_AUTH_CONFIG_PATH: auth,
    // Its job runner and consumers are five more processes, of no use here.
    MLFLOW_SERVER_ENABLE_JOB_EXECUTION: 'false',
    MLFLOW_TRACKING_URI: url,
    ...(options.basicAuth === true ? { MLFLOW_TRACKING_USERNAME: administrator.username, MLFLOW_TRACKING_PASSWORD: administrator.password } : {}),
  };
  const flags = ['server', '--backend-store-uri', `sqlite:///${folder}/mlflow.db`, '--artifacts-destination', path.join(folder, 'artifacts')];
  const server = start(
    'mlflow',
    [...flags, '--host', '127.0.0.1', '--port', String(port), '--workers', '1', ...(options.basicAuth === true ? ['--app-name', 'basic-auth'] : [])],
    env,
    folder,
  );
  owned.defer(server.stop);
  // Both import for long: at the same time.
  const person = start('python', ['-u', path.join(import.meta.dirname, 'client.py')], env, folder);
  owned.defer(person.stop);
  for (let attempt = 0; ; attempt += 1) {
    if (
      await fetch(`${url}/health`).then(
        ({ ok }) => ok,
        () => false,
      )
    )
      break;
    if (server.hasEnded() || attempt > 600) throw new Error(`MLflow did not become ready:\n${server.said()}`);
    await sleep(200);
  }
  const lines = createInterface({ input: person.child.stdout })[Symbol.asyncIterator]();
  let queue: Promise<unknown> = Promise.resolve();
  const ask = async <Answer>(order: Readonly<Record<string, unknown>>): Promise<Answer> => {
    person.child.stdin.write(`${JSON.stringify(order)}\n`);
    const { value, done } = await lines.next();
    if (done === true) throw new Error(`MLflow's client ended:\n${person.said()}`);
    const answer = JSON.parse(value) as { ok?: Answer; error?: string };
    if (answer.error !== undefined) throw new Error(answer.error);
    return answer.ok as Answer;
  };
  const stack = owned.move();
  return {
    url,
    ask: async <Answer>(order: Readonly<Record<string, unknown>>) => {
      const turn = queue.then(async () => await ask<Answer>(order));
      queue = turn.catch(() => undefined);
      return await turn;
    },
    [Symbol.asyncDispose]: async () => await stack.disposeAsync(),
  };
}

/** In a group of its own: the server's workers are processes of their own. */
function start(program: string, args: readonly string[], env: Readonly<Record<string, string>>, cwd: string) {
  const child = spawn(path.join(bin, program), args, { env: { ...env }, cwd, stdio: ['pipe', 'pipe', 'pipe'], detached: true });
  const disown = ownProcess(-(child.pid ?? 0));
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => (said = `${said}${chunk.toString()}`.slice(-4_000)));
  // A server that nobody listens to would block.
  if (program === 'mlflow') child.stdout.resume();
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const hasEnded = (): boolean => child.exitCode !== null || child.signalCode !== null;
  return {
    child,
    said: () => said,
    hasEnded,
    stop: async () => {
      try {
        process.kill(-(child.pid ?? 0), 'SIGKILL');
      } catch {
        // It is gone.
      }
      if (!hasEnded()) await ended;
      disown();
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
