import { spawn } from 'node:child_process';
import { access, constants, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { environment } from '../../config/env.ts';
import { CommandFailed } from '../exit.ts';

const readyTimeoutMs = 20_000;

/** Starts a real Prometheus that scrapes the targets every second. @param program its path, or `auto` to look in PATH */
export async function startPrometheus(options: {
  program: string;
  folder: string;
  targets: readonly string[];
  metricsPath: string;
}): Promise<{ url: string; stop(): Promise<void> }> {
  const program = options.program === 'auto' ? await findProgram() : options.program;
  const port = await freePort();
  const configFile = join(options.folder, 'prometheus.yml');
  const targets = options.targets.map((target) => `'${target}'`).join(', ');
  await writeFile(
    configFile,
    `global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n- job_name: tensorflow-serving\n  metrics_path: ${options.metricsPath}\n  static_configs: [{targets: [${targets}]}]\n`,
  );
  const child = spawn(
    program,
    [`--config.file=${configFile}`, `--storage.tsdb.path=${join(options.folder, 'prometheus')}`, `--web.listen-address=127.0.0.1:${port}`, '--log.level=error'],
    { stdio: 'ignore' },
  );
  const gone = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('exit', (code) => resolve(`it ended with ${code}`));
  });
  const url = `http://127.0.0.1:${port}`;
  await Promise.race([waitUntilReady(url), gone.then((why) => Promise.reject(new CommandFailed(`rollbackd demo: ${program} did not start: ${why}`)))]);
  return {
    url,
    stop: async () => {
      child.kill('SIGTERM');
      await gone;
    },
  };
}

async function findProgram(): Promise<string> {
  for (const folder of (environment()['PATH'] ?? '').split(delimiter)) {
    const candidate = join(folder, 'prometheus');
    const found = await access(candidate, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (found) return candidate;
  }
  throw new CommandFailed(
    'rollbackd demo: no program "prometheus" in PATH; install it (Debian: apt-get install prometheus), or name it: --prometheus /path/to/prometheus',
  );
}

async function waitUntilReady(url: string): Promise<void> {
  const deadlineMs = Date.now() + readyTimeoutMs;
  while (Date.now() < deadlineMs) {
    const isReady = await fetch(`${url}/-/ready`).then(
      (answer) => answer.ok,
      () => false,
    );
    if (isReady) return;
    await sleep(100);
  }
  throw new CommandFailed(`rollbackd demo: Prometheus was not ready after ${readyTimeoutMs / 1000} s`);
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise<void>((resolve) => server.close(() => resolve()));
  if (address === null || typeof address === 'string') throw new CommandFailed('rollbackd demo: no free port');
  return address.port;
}
