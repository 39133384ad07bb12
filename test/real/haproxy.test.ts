import { readFile, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { startOwnedProcess } from '../support/owned-process.ts';
import { type ProxyStage, setProxyStage } from '../support/proxy-stage.ts';
import { untilFinished } from '../support/stage-files.ts';
import { until } from '../support/until.ts';

type Haproxy = { readonly port: number; readonly socket: string; readonly stateFile: string; readonly start: (more?: readonly string[]) => Promise<number> };

/** Debian's HAProxy before both versions; version 2 has all weight. */
async function startHaproxy(stage: ProxyStage): Promise<Haproxy> {
  const port = await stage.freePort();
  const socket = join(stage.folder, 'admin.sock');
  const stateFile = join(stage.folder, 'server-state');
  const configFile = join(stage.folder, 'haproxy.cfg');
  const [one, two] = stage.servers;
  await writeFile(stateFile, '');
  await writeFile(
    configFile,
    `global
  stats socket ${socket} mode 600 level admin
  server-state-file ${stateFile}
defaults
  mode http
  timeout connect 2s
  timeout client 10s
  timeout server 10s
  load-server-state-from-file global
frontend in
  bind 127.0.0.1:${port}
  default_backend fraud
backend fraud
  balance roundrobin
  server v1 127.0.0.1:${one.port} weight 10 check inter 200ms fall 1
  server v2 127.0.0.1:${two.port} weight 10 check inter 200ms fall 1
`,
  );
  const start = async (more: readonly string[] = []): Promise<number> => {
    const child = startOwnedProcess('haproxy', ['-db', '-f', configFile, ...more], { env: { PATH: '/usr/sbin:/usr/bin:/bin' } });
    stage.defer(async () => {
      child.kill('SIGKILL');
      await child.ended;
    });
    await until('haproxy to answer', async () => (await fetch(`http://127.0.0.1:${port}/predict`).catch(() => null))?.ok === true, {
      seen: () => child.stderr(),
    });
    return child.pid;
  };
  return { port, socket, stateFile, start };
}

const keys = { weights: { backend: 'fraud', versions: { 1: ['v1'], 2: ['v2'] } } };

/** One command, by other means than the adapter's. */
async function tell(socket: string, command: string): Promise<string> {
  return await new Promise((resolve, reject) => {
    let text = '';
    const connection = connect(socket, () => connection.write(`${command}\n`));
    connection.on('data', (chunk) => (text += String(chunk)));
    connection.on('end', () => resolve(text));
    connection.on('error', reject);
  });
}

describe('a real HAProxy under load, rollbackd by its files', () => {
  it('rolls version 2 back without losing a request, and a reload keeps it', async () => {
    await using stage = await setProxyStage();
    const haproxy = await startHaproxy(stage);
    const pid = await haproxy.start();
    await tell(haproxy.socket, 'set server fraud/v1 weight 0%');
    const fresh = stage.load(haproxy.port, { keepAlive: false, clients: 8 });
    const kept = stage.load(haproxy.port, { keepAlive: true, clients: 8 });
    const plane = { haproxy: { endpoints: [{ address: `unix:${haproxy.socket}`, server_state_file: haproxy.stateFile }] } };
    const daemon = await stage.startDaemon(plane, keys, haproxy.port);
    await until('version 2 to serve', async () => (await daemon.model()).versions.find(({ version }) => version === '2')?.share === 1);
    stage.servers[1].failRatio = 0.3;

    const episode = await untilFinished(daemon);
    stage.servers[1].failRatio = 0;
    await fresh.stop();
    await kept.stop();

    expect(episode, JSON.stringify(episode)).toMatchObject({ from: '2', to: '1', state: 'succeeded', outcome: 'success' });
    expect(fresh.report.lost).toEqual([]);
    expect(Object.keys(fresh.report.byVersion).toSorted()).toEqual(['1', '2']);
    process.stdout.write(
      `haproxy: fresh 0 of ${fresh.report.answered} lost, keep-alive ${kept.report.lost.length} of ${kept.report.answered + kept.report.lost.length} lost (${[...new Set(kept.report.lost)].join()})\n`,
    );
    expect(await tell(haproxy.socket, 'get weight fraud/v2')).toContain('0 (initial 10)');
    expect(await readFile(haproxy.stateFile, 'utf8')).toMatch(/ v2 \S+ \d \d 0 10 /);
    await haproxy.start(['-sf', String(pid)]);
    await until('the new process to answer', async () => !(await tell(haproxy.socket, 'show info').catch(() => `Pid: ${pid}`)).includes(`Pid: ${pid}\n`));
    expect(await tell(haproxy.socket, 'get weight fraud/v2')).toContain('0 (initial 10)');
  });

  it('moves nothing to a version whose server is down, and says what to do', async () => {
    await using stage = await setProxyStage();
    const haproxy = await startHaproxy(stage);
    await haproxy.start();
    await tell(haproxy.socket, 'set server fraud/v1 weight 0%');
    const fresh = stage.load(haproxy.port, { keepAlive: false, clients: 8 });
    const daemon = await stage.startDaemon({ haproxy: { endpoints: [{ address: `unix:${haproxy.socket}` }] } }, keys, haproxy.port);
    await until('version 2 to serve', async () => (await daemon.model()).versions.find(({ version }) => version === '2')?.share === 1);
    await stage.servers[0].close();
    stage.servers[1].failRatio = 0.3;

    const episode = await untilFinished(daemon);
    await fresh.stop();

    expect(episode).toMatchObject({ state: 'failed', outcome: 'failure' });
    expect(JSON.stringify(episode)).toMatch(/fraud\/v1 not running/);
    expect(fresh.report.lost).toEqual([]);
    expect(Object.keys(fresh.report.byVersion)).toEqual(['2']);
  });
});
