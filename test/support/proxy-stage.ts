import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { Agent, createServer, get } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { stringify } from 'yaml';
import { type DaemonProcess, startDaemonProcess } from './daemon-process.ts';

/** A version of the model behind a proxy: answers its name, counts, and can be made to fail. */
export type VersionServer = {
  readonly port: number;
  readonly metricsPort: number;
  readonly version: string;
  failRatio: number;
  readonly close: () => Promise<void>;
  readonly closeMetrics: () => void;
};

/** What clients of the proxy saw. `lost`: no answer, or one of the proxy's own (502, 503, 504); an error of the model is an answer. */
export type LoadReport = { answered: number; lost: string[]; readonly byVersion: Record<string, number> };

export type ProxyStage = {
  readonly folder: string;
  readonly servers: readonly [VersionServer, VersionServer];
  readonly freePort: () => Promise<number>;
  readonly startDaemon: (controlPlane: object, planeKeys: object, proxyPort: number) => Promise<DaemonProcess>;
  /** Requests from now on, `clients` at a time, until `stop`; a connection each, or kept alive. */
  readonly load: (port: number, options: { keepAlive: boolean; clients: number }) => { readonly report: LoadReport; readonly stop: () => Promise<void> };
  readonly defer: (close: () => Promise<unknown> | void) => void;
} & AsyncDisposable;

export const proxiedModel = 'fraud-detector';

async function startVersion(version: string): Promise<VersionServer> {
  const counts: Record<string, number> = { 200: 0, 500: 0 };
  let asked = 0;
  // A port of its own: a version that is down is not the same as one that cannot be measured.
  const metrics = createServer((_request, response) => {
    const lines = Object.entries(counts).map(([code, count]) => `model_requests_total{code="${code}"} ${count}\n`);
    response.writeHead(200, { 'Content-Type': 'text/plain; version=0.0.4' }).end(`# TYPE model_requests_total counter\n${lines.join('')}`);
  });
  metrics.listen(0, '127.0.0.1');
  await once(metrics, 'listening');
  const server = createServer((_request, response) => {
    asked += 1;
    const code = asked % 100 < made.failRatio * 100 ? 500 : 200;
    counts[code] = (counts[code] ?? 0) + 1;
    setTimeout(() => response.writeHead(code, { 'X-Version': version }).end(version), 2);
  });
  server.keepAliveTimeout = 60_000;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const made: VersionServer = {
    port: (server.address() as AddressInfo).port,
    metricsPort: (metrics.address() as AddressInfo).port,
    version,
    failRatio: 0,
    closeMetrics: () => void metrics.close(),
    close: async () => {
      server.closeAllConnections();
      if (server.listening) {
        server.close();
        await once(server, 'close');
      }
    },
  };
  return made;
}

/** Two versions, and what a rollback through a proxy needs around it; the proxy is the test's. */
export async function setProxyStage(): Promise<ProxyStage> {
  const owned = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'rollbackd-proxy-'));
  owned.defer(async () => rm(folder, { recursive: true, force: true, maxRetries: 3 }));
  const servers = [await startVersion('1'), await startVersion('2')] as const;
  for (const server of servers) {
    owned.defer(server.closeMetrics);
    owned.defer(server.close);
  }
  return {
    folder,
    servers,
    freePort,
    load: (port, options) => {
      const load = startLoad(port, options);
      owned.defer(load.stop);
      return load;
    },
    startDaemon: async (controlPlane, plane, proxyPort) => {
      const configFile = await writeFiles(folder, servers, controlPlane, plane, proxyPort);
      const daemon = await startDaemonProcess({ configFile, model: proxiedModel, cwd: folder });
      owned.defer(async () => daemon.kill());
      return daemon;
    },
    defer: (close) => owned.defer(async () => void (await close())),
    [Symbol.asyncDispose]: async () => owned.disposeAsync(),
  };
}

async function freePort(): Promise<number> {
  const server = createTcpServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

function startLoad(port: number, { keepAlive, clients }: { keepAlive: boolean; clients: number }): { report: LoadReport; stop: () => Promise<void> } {
  const report: LoadReport = { answered: 0, lost: [], byVersion: {} };
  const agent = keepAlive ? new Agent({ keepAlive: true, maxSockets: clients }) : false;
  const over = new AbortController();
  const ask = async (): Promise<void> => {
    await new Promise<void>((resolve) => {
      const sent = get({ host: '127.0.0.1', port, path: '/predict', agent }, (answer) => {
        answer.resume();
        answer.once('end', () => {
          const status = answer.statusCode ?? 0;
          if (status > 500) report.lost.push(String(status));
          else {
            report.answered += 1;
            const version = String(answer.headers['x-version']);
            report.byVersion[version] = (report.byVersion[version] ?? 0) + 1;
          }
          resolve();
        });
        answer.once('error', () => resolve());
      });
      sent.once('error', (error: NodeJS.ErrnoException) => {
        report.lost.push(error.code ?? error.message);
        resolve();
      });
    });
  };
  const client = async (): Promise<void> => {
    for (let count = 0; !over.signal.aborted && count < 20_000; count += 1) {
      await ask();
      await sleep(10);
    }
  };
  const done = Promise.all(Array.from({ length: clients }, client));
  return {
    report,
    stop: async () => {
      over.abort();
      await done;
      if (agent !== false) agent.destroy();
    },
  };
}

async function writeFiles(folder: string, servers: readonly VersionServer[], controlPlane: object, plane: object, proxyPort: number): Promise<string> {
  await mkdir(join(folder, 'config'), { recursive: true });
  await mkdir(join(folder, 'rules'), { recursive: true });
  const configFile = join(folder, 'config', 'rollbackd.yaml');
  const rule = {
    alert: 'ModelErrorRatioHigh',
    condition: { error_ratio: { window: '5s', above: '5%', min_requests: 50 } },
    for: '1s',
    rollback: {},
  };
  await writeFile(join(folder, 'rules', 'fraud.yaml'), stringify({ groups: [{ name: proxiedModel, model: proxiedModel, interval: '1s', rules: [rule] }] }));
  const config = {
    global: { evaluation_interval: '1s' },
    rule_files: ['../rules/*.yaml'],
    journal: { sqlite: { path: '../data/rollbackd.db' } },
    sources: [
      {
        name: 'direct',
        scrape: {
          scrape_interval: '500ms',
          static_configs: servers.map(({ metricsPort, version }) => ({ targets: [`127.0.0.1:${metricsPort}`], labels: { model_version: version } })),
        },
      },
    ],
    control_planes: [{ name: 'proxy', ...controlPlane }],
    models: [
      {
        name: proxiedModel,
        source: 'direct',
        control_plane: 'proxy',
        plane,
        version_label: 'model_version',
        observe_interval: '1s',
        signals: { requests: { counter: 'model_requests_total' }, errors: { matchers: ['code=~"5.."'] } },
        rollback: {
          mode: 'enforce',
          known_good: { versions: ['1'], backfill: '0s' },
          converge_timeout: '10s',
          recovery: { within: '30s' },
          stick: '2s',
        },
        smoke_test: {
          timeout: '5s',
          requests: [{ name: 'one known transaction', http: { url: `http://127.0.0.1:${proxyPort}/predict` }, expect: { status: 200 } }],
        },
      },
    ],
  };
  await writeFile(configFile, stringify(config));
  return configFile;
}
