import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { findProgram } from './find-program.ts';

/** A Prometheus of its own, on a free port of loopback. */
export type RealPrometheus = { readonly url: string; readonly folder: string; stop(): Promise<void> };

/** Path of the binary: `ROLLBACKD_PROMETHEUS`, or `prometheus` on the PATH. @throws when there is none, saying how to get it */
export function prometheusBinary(): string {
  const given = process.env['ROLLBACKD_PROMETHEUS'];
  const found = findProgram('prometheus', given ?? '', ['/usr/bin']);
  if (found === undefined)
    throw new Error(
      `no Prometheus found (looked for ${given ?? 'prometheus on the PATH'}); run \`npm run real-parts\`, or set ROLLBACKD_PROMETHEUS to its binary`,
    );
  return found;
}

/**
 * Starts Prometheus in a folder of its own under the temp folder and waits until it answers queries.
 * @param options.config its configuration as YAML text; default: scrapes nothing
 * @param options.openMetrics samples with timestamps to put into its storage first (promtool), in OpenMetrics
 */
export async function startPrometheus(options: { config?: string; openMetrics?: string; arguments?: readonly string[] } = {}): Promise<RealPrometheus> {
  const binary = prometheusBinary();
  const folder = await mkdtemp(join(tmpdir(), 'rollbackd-prometheus-'));
  const data = join(folder, 'data');
  if (options.openMetrics !== undefined) await backfill(binary, folder, data, options.openMetrics);
  await writeFile(join(folder, 'prometheus.yml'), options.config ?? 'global: {}\n');
  const port = await freePort();
  const flags = [
    `--config.file=${join(folder, 'prometheus.yml')}`,
    `--storage.tsdb.path=${data}`,
    `--web.listen-address=127.0.0.1:${port}`,
    '--storage.tsdb.retention.time=20y',
    '--log.level=warn',
    ...(options.arguments ?? []),
  ];
  const child = spawn(binary, flags, { stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => {
    said = `${said}${chunk.toString()}`.slice(-4000);
  });
  const ended = once(child, 'exit');
  const stop = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGTERM');
      await Promise.race([ended, sleep(5000)]);
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
      await ended;
    }
    await rm(folder, { recursive: true, force: true });
  };
  const url = `http://127.0.0.1:${port}`;
  for (let attempt = 0; ; attempt += 1) {
    const ready = await fetch(`${url}/-/ready`).then(
      ({ ok }) => ok,
      () => false,
    );
    if (ready) return { url, folder, stop };
    if (child.exitCode !== null || attempt > 300) {
      await stop();
      throw new Error(`Prometheus (${binary}) did not become ready:\n${said}`);
    }
    await sleep(100);
  }
}

async function backfill(binary: string, folder: string, data: string, openMetrics: string): Promise<void> {
  const beside = join(dirname(binary), 'promtool');
  const input = join(folder, 'samples.om');
  await writeFile(input, openMetrics);
  await promisify(execFile)(existsSync(beside) ? beside : 'promtool', ['tsdb', 'create-blocks-from', 'openmetrics', input, data], {
    maxBuffer: 64 * 1024 * 1024,
  });
}

/** A port nobody listens on at the moment. */
async function freePort(): Promise<number> {
  const server = createServer();
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
