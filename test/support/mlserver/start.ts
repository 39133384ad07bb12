import { existsSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { homedir, tmpdir } from 'node:os';
import path from 'node:path';
import { startOwnedProcess } from '../owned-process.ts';
import { until } from '../until.ts';

/** Where scripts/real-parts puts it. */
const program = path.join(process.env['XDG_CACHE_HOME'] ?? path.join(homedir(), '.cache'), 'rollbackd', 'mlserver', 'bin', 'mlserver');

/** A running MLServer with versions of the model `fraud`. */
export type MlServer = AsyncDisposable & {
  /** `host:port` of the REST API and of the metrics. */
  readonly rest: string;
  readonly metrics: string;
  /** Asks one version, or (`null`) none in particular; the status of the answer. */
  readonly infer: (version: string | null, amount: number) => Promise<{ readonly status: number; readonly version: string | null }>;
  /** Versions in the model repository that can answer. The index says READY of one whose load failed, so each is asked itself. */
  readonly ready: () => Promise<readonly string[]>;
  readonly unload: () => Promise<number>;
  /** Loads what the repository holds now. */
  readonly load: () => Promise<number>;
  /** Puts one more version into the repository. */
  readonly addVersion: (version: string) => Promise<void>;
};

async function freePorts(count: number): Promise<readonly number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise<void>((resolve) => {
        server.listen(0, '127.0.0.1', resolve);
      });
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map(async (server) => await new Promise<void>((resolve) => void server.close(() => resolve()))));
  return ports;
}

/** @throws when it is not installed, or does not come up */
export async function startMlServer(versions: readonly string[]): Promise<MlServer> {
  if (!existsSync(program)) throw new Error(`${program} is missing; run: npm run real-parts`);
  const folder = await mkdtemp(path.join(tmpdir(), 'rollbackd-mlserver-'));
  const [httpPort = 0, grpcPort = 0, metricsPort = 0] = await freePorts(3);
  const addVersion = async (version: string): Promise<void> => {
    await mkdir(path.join(folder, `fraud-${version}`), { recursive: true });
    const settings = { name: 'fraud', implementation: 'fraud_model.FraudModel', parameters: { version } };
    await writeFile(path.join(folder, `fraud-${version}`, 'model-settings.json'), JSON.stringify(settings));
  };
  for (const version of versions) await addVersion(version);
  await copyFile(path.join(import.meta.dirname, 'fraud_model.py'), path.join(folder, 'fraud_model.py'));
  await mkdir(path.join(folder, 'metrics'));
  const settings = {
    host: '127.0.0.1',
    http_port: httpPort,
    grpc_port: grpcPort,
    metrics_port: metricsPort,
    parallel_workers: 0,
    metrics_dir: path.join(folder, 'metrics'),
  };
  await writeFile(path.join(folder, 'settings.json'), JSON.stringify(settings));
  const server = startOwnedProcess(program, ['start', folder], {
    cwd: folder,
    env: { PATH: process.env['PATH'] ?? '', HOME: folder, PYTHONPATH: folder, LANG: 'C.UTF-8' },
  });
  const rest = `127.0.0.1:${httpPort}`;
  const post = async (where: string, body: unknown): Promise<Response> =>
    await fetch(`http://${rest}${where}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(10_000),
    });
  await until('MLServer to be ready', async () => (await fetch(`http://${rest}/v2/health/ready`)).ok, {
    withinMs: 90_000,
    seen: () => server.stderr() + server.stdout(),
  });
  return {
    rest,
    metrics: `127.0.0.1:${metricsPort}`,
    infer: async (version, amount) => {
      const answer = await post(`/v2/models/fraud${version === null ? '' : `/versions/${version}`}/infer`, {
        inputs: [{ name: 'transactions', shape: [1, 2], datatype: 'FP64', data: [amount, 1] }],
      });
      const text = await answer.text();
      return { status: answer.status, version: answer.ok ? (JSON.parse(text) as { model_version: string }).model_version : null };
    },
    ready: async () => {
      const entries = (await (await post('/v2/repository/index', {})).json()) as { version?: string }[];
      const asked = await Promise.all(
        entries.map(async ({ version = '' }) => ({ version, answer: await fetch(`http://${rest}/v2/models/fraud/versions/${version}/ready`) })),
      );
      return asked.filter(({ answer }) => answer.ok).map(({ version }) => version);
    },
    unload: async () => (await post('/v2/repository/models/fraud/unload', {})).status,
    load: async () => (await post('/v2/repository/models/fraud/load', {})).status,
    addVersion,
    [Symbol.asyncDispose]: async () => {
      server.kill('SIGKILL');
      await server.ended;
      await rm(folder, { recursive: true, force: true, maxRetries: 3 });
    },
  };
}
