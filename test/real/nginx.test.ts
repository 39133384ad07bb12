import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { startOwnedProcess } from '../support/owned-process.ts';
import { type ProxyStage, setProxyStage } from '../support/proxy-stage.ts';
import { untilFinished } from '../support/stage-files.ts';
import { until } from '../support/until.ts';

type Nginx = { readonly port: number; readonly file: string; readonly configFile: string; readonly plane: object; readonly keys: object };

/** Debian's NGINX before both versions, in the foreground; the upstream's file is rollbackd's. */
async function startNginx(stage: ProxyStage): Promise<Nginx> {
  const [port, markerPort] = [await stage.freePort(), await stage.freePort()];
  const owned = join(stage.folder, 'owned');
  await mkdir(owned);
  await mkdir(join(stage.folder, 'tmp'));
  const file = join(owned, 'fraud.conf');
  const [one, two] = stage.servers;
  await writeFile(
    file,
    `upstream fraud {\n  server 127.0.0.1:${one.port} down;\n  server 127.0.0.1:${two.port};\n}\nmap $host $rollbackd_fraud { default "deploy-2"; }\n`,
  );
  const configFile = join(stage.folder, 'nginx.conf');
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `  ${name}_temp_path ${join(stage.folder, 'tmp', name)};\n`).join('');
  const pidFile = join(stage.folder, 'nginx.pid');
  await writeFile(
    configFile,
    `daemon off;\nuser root;\nworker_processes 2;\npid ${pidFile};\nerror_log ${join(stage.folder, 'error.log')} notice;\nevents { worker_connections 512; }
http {\n${temporary}  access_log off;\n  include ${owned}/*.conf;
  server {\n    listen 127.0.0.1:${port};\n    location / { proxy_pass http://fraud; proxy_next_upstream off; }\n  }
  server {\n    listen 127.0.0.1:${markerPort};\n    location = /rollbackd_fraud { default_type text/plain; return 200 "$rollbackd_fraud"; }\n  }\n}\n`,
  );
  const child = startOwnedProcess('nginx', ['-c', configFile, '-e', join(stage.folder, 'error.log')], { env: { PATH: '/usr/sbin:/usr/bin:/bin' } });
  stage.defer(async () => {
    child.kill('SIGTERM');
    await child.ended;
  });
  await until('nginx to answer', async () => (await fetch(`http://127.0.0.1:${port}/predict`).catch(() => null))?.ok === true, { seen: () => child.stderr() });
  const node = {
    name: 'edge-0',
    folder: owned,
    url: `http://127.0.0.1:${markerPort}`,
    pid_file: pidFile,
    test_command: ['/usr/sbin/nginx', '-t', '-q', '-c', configFile, '-e', join(stage.folder, 'error.log')],
  };
  const keys = {
    file: 'fraud.conf',
    marker: 'rollbackd_fraud',
    upstream: { name: 'fraud', versions: { 1: [`127.0.0.1:${one.port}`], 2: [`127.0.0.1:${two.port}`] } },
  };
  return { port, file, configFile, plane: { nginx: { nodes: [node] } }, keys };
}

describe('a real NGINX under load, rollbackd by its files', () => {
  it('rolls version 2 back without losing a request of a fresh connection', async () => {
    await using stage = await setProxyStage();
    const nginx = await startNginx(stage);
    const before = await readFile(nginx.file, 'utf8');
    const fresh = stage.load(nginx.port, { keepAlive: false, clients: 8 });
    const kept = stage.load(nginx.port, { keepAlive: true, clients: 8 });
    const daemon = await stage.startDaemon(nginx.plane, nginx.keys, nginx.port);
    await until('version 2 to serve', async () => (await daemon.model()).versions.find(({ version }) => version === '2')?.share === 1);
    stage.servers[1].failRatio = 0.3;

    const episode = await untilFinished(daemon);
    await fresh.stop();
    await kept.stop();

    expect(episode, JSON.stringify(episode)).toMatchObject({ from: '2', to: '1', state: 'succeeded', outcome: 'success' });
    expect(fresh.report.lost).toEqual([]);
    expect(Object.keys(fresh.report.byVersion).toSorted()).toEqual(['1', '2']);
    process.stdout.write(
      `nginx: fresh 0 of ${fresh.report.answered} lost, keep-alive ${kept.report.lost.length} of ${kept.report.answered + kept.report.lost.length} lost (${[...new Set(kept.report.lost)].join()})\n`,
    );
    expect(await readFile(`${nginx.file}.prev`, 'utf8')).toBe(before);
  });

  it('leaves what serves alone when the configuration would not load, and says why', async () => {
    await using stage = await setProxyStage();
    const nginx = await startNginx(stage);
    const before = await readFile(nginx.file, 'utf8');
    // Somebody has broken another part of the configuration: nginx runs on, and no test passes any more.
    await writeFile(nginx.configFile, `${await readFile(nginx.configFile, 'utf8')}nonsense;\n`);
    const fresh = stage.load(nginx.port, { keepAlive: false, clients: 8 });
    const daemon = await stage.startDaemon(nginx.plane, nginx.keys, nginx.port);
    await until('version 2 to serve', async () => (await daemon.model()).versions.find(({ version }) => version === '2')?.share === 1);
    stage.servers[1].failRatio = 0.3;

    const episode = await untilFinished(daemon);
    await fresh.stop();

    expect(episode).toMatchObject({ state: 'failed', outcome: 'failure' });
    expect(JSON.stringify(episode)).toMatch(/former file was put back.*nonsense/);
    expect(await readFile(nginx.file, 'utf8')).toBe(before);
    expect(fresh.report.lost).toEqual([]);
    expect(Object.keys(fresh.report.byVersion)).toEqual(['2']);
  });
});
