import { once } from 'node:events';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { DaemonProcess } from '../support/daemon-process.ts';
import { startFakePrometheus } from '../support/fake-prometheus.ts';
import { describeDaemon, errorRatioRule, modelName, type Stage, served, setStageFromFiles, untilFinished } from '../support/stage-files.ts';
import { until } from '../support/until.ts';

/** Every planted secret begins so; what follows says which one it is. */
const planted = 's3cr3t-planted-xyz';
const secretOf = (what: string): string => `${planted}-${what}`;
const basic = Buffer.from(`rollbackd:${secretOf('password')}`).toString('base64');
/** A secret, and how basic authentication sends one. */
const needles = [planted, basic.slice(0, 30)];

function findSecrets(where: string, text: string): string[] {
  const at = Math.max(...needles.map((needle) => text.indexOf(needle)));
  return at < 0 ? [] : [`${where}: …${text.slice(Math.max(0, at - 60), at + 40)}…`];
}

type Echo = { readonly host: string; readonly seen: readonly IncomingMessage['headers'][]; readonly answer: (status: number) => void };

/** A server that answers with what it was sent, which is the worst a peer can do. */
async function startEcho(owned: AsyncDisposableStack): Promise<Echo> {
  const seen: IncomingMessage['headers'][] = [];
  let status = 500;
  const server = createServer((request, response) => {
    seen.push(request.headers);
    request.resume();
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify({ you_sent: request.headers }));
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  owned.defer(() => {
    server.closeAllConnections();
    server.close();
  });
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    answer: (next) => {
      status = next;
    },
  };
}

/** Every answer the daemon gives, also those that refuse. */
async function everyAnswer(daemon: DaemonProcess, id: string): Promise<Record<string, string>> {
  const api = ['models', `models/${modelName}`, 'models/none', 'rollbacks', `rollbacks/${id}`, 'rollbacks/none', 'decisions', 'rules', 'alerts', 'status'];
  const pages = ['/', '/status', '/rollbacks', `/rollbacks/${id}`, `/models/${modelName}`];
  const posts = ['/-/reload', `/api/v1/rollbacks/${id}/approve`, `/api/v1/models/${modelName}/pause`, `/api/v1/models/${modelName}/unpin`];
  const answers: Record<string, string> = {};
  for (const path of ['/-/healthy', '/-/ready', '/metrics', '/nowhere', ...pages, ...api.map((name) => `/api/v1/${name}`)])
    answers[path] = await (await fetch(daemon.url + path)).text();
  for (const path of posts) {
    const answer = await fetch(daemon.url + path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"reason": "test"}' });
    answers[`POST ${path}`] = await answer.text();
  }
  return answers;
}

/** What people see at a terminal. */
async function everyCommand(stage: Stage, daemon: DaemonProcess, id: string): Promise<Record<string, string>> {
  const url = ['--url', daemon.url];
  const file = ['--config.file', stage.configFile];
  const commands = [
    ['check', 'config', stage.configFile],
    ['plan', ...file, '-o', 'wide'],
    ['test', 'smoke', modelName, ...file, '-o', 'json'],
    ['get', 'models', '-o', 'yaml', ...url],
    ['get', 'rollbacks', '-o', 'wide', ...url],
    ['describe', 'rollback', id, ...url],
    ['describe', 'rollback', id, '-o', 'json', ...url],
    ['get', 'models', '--url', `http://user:${secretOf('url')}@127.0.0.1:1/`],
    // Refused: the journal is in use.
    ['run', ...file],
  ];
  const shown = await Promise.all(
    commands.map(async (command) => {
      const { stdout, stderr } = await stage.cli(...command);
      return [command.join(' ').replace(secretOf('url'), ''), stdout + stderr] as const;
    }),
  );
  return Object.fromEntries(shown);
}

/** What `check config` says of files whose faults stand right beside a secret: faulty lines are shown. */
async function everyRefusal(stage: Stage): Promise<Record<string, string>> {
  const text = await readFile(stage.configFile, 'utf8');
  const faulty = join(stage.folder, 'config', 'faulty.yaml');
  const changes = {
    'an unknown key': text.replaceAll('http_config:', 'http_konfig:').replaceAll('X-Auth-Token', 'X Auth Token'),
    'broken YAML': text.replace('Authorization:', 'Authorization: ['),
    'two addresses': text.replace('api_url_file: slack-url', `api_url_file: slack-url\n        api_url: https://hooks.slack.com/services/${secretOf('slack')}`),
  };
  const shown: Record<string, string> = {};
  for (const [name, changed] of Object.entries(changes)) {
    expect(changed, name).not.toBe(text);
    await writeFile(faulty, changed);
    const { code, stdout, stderr } = await stage.cli('check', 'config', faulty);
    expect(code, name).toBe(1);
    shown[`check config with ${name}`] = stdout + stderr;
  }
  return shown;
}

async function journalBytes(stage: Stage, when: string): Promise<Record<string, string>> {
  const folder = join(stage.folder, 'data');
  const names = await readdir(folder);
  const bytes = await Promise.all(names.map(async (name) => [`${name} ${when}`, (await readFile(join(folder, name))).toString('latin1')] as const));
  return Object.fromEntries(bytes);
}

it('a planted secret appears nowhere but where it is sent', { timeout: 150_000 }, async () => {
  await using owned = new AsyncDisposableStack();
  const prometheus = await startFakePrometheus();
  owned.defer(prometheus.close);
  const echo = await startEcho(owned);
  const headers = { 'X-Api-Key': { secrets: [secretOf('header')] } };
  await using stage = await setStageFromFiles({
    load: 0,
    slackPath: `/services/T000/B000/${secretOf('slack')}`,
    slack: { http_config: { authorization: { credentials: secretOf('slack-token') } } },
    source: () => ({
      prometheus: {
        url: prometheus.url,
        timeout: '2s',
        http_config: { basic_auth: { username: 'rollbackd', password_file: 'password' }, http_headers: headers },
      },
    }),
    more: {
      sources: [{ name: 'other', prometheus: { url: prometheus.url, timeout: '2s', http_config: { authorization: { credentials_file: 'token' } } } }],
      models: [{ name: 'shadow', source: 'other', control_plane: 'tfs', plane: { model: served }, preset: 'tensorflow-serving' }],
      groups: [{ name: 'shadow', model: 'shadow', interval: '1s', rules: [{ ...errorRatioRule, rollback: undefined }] }],
    },
    smokeTest: () => ({
      timeout: '10s',
      retries: 2,
      requests: [
        {
          name: 'asked with a token',
          http: { url: `http://${echo.host}/`, headers: { Authorization: `Bearer ${secretOf('smoke')}`, 'X-Auth-Token': secretOf('smoke-token') } },
          expect: { status: 200 },
        },
      ],
    }),
  });
  await writeFile(join(stage.folder, 'config', 'password'), `${secretOf('password')}\n`);
  await writeFile(join(stage.folder, 'config', 'token'), `${secretOf('token')}\n`);
  const shown: Record<string, string> = {};

  // Both sources refuse, and repeat what they were sent.
  prometheus.answerBy((request, response) =>
    response
      .writeHead(401, { 'content-type': 'application/json' })
      .end(JSON.stringify({ status: 'error', errorType: 'unauthorized', error: `not you: ${JSON.stringify(request.headers)}` })),
  );
  prometheus.fail(200);
  stage.slack.answer({ status: 403, body: `no access to /services/T000/B000/${secretOf('slack')}` });
  const daemon = await stage.startDaemon(['--log.level', 'debug']);
  await until('the refusal to be seen', async () => (await daemon.model()).verdict === 'error', { seen: async () => await describeDaemon(daemon) });
  shown['models while the source refuses'] = JSON.stringify([await daemon.model(), await daemon.api('models'), await daemon.api('rules')]);
  shown['plan while the source refuses'] = Object.values(await stage.cli('plan', '--config.file', stage.configFile, '-o', 'json')).join('');
  // Then they hang up, then they answer; the smoke test fails first, then passes.
  prometheus.answerBy((request) => request.socket.destroy());
  await until('the fault to be seen', async () => !/\b401\b/.test((await daemon.model()).reason ?? ''), {
    seen: async () => await describeDaemon(daemon),
  });
  prometheus.answerBy(null);
  await until('the smoke test to be tried', () => echo.seen.length > 0, { seen: async () => await describeDaemon(daemon) });
  echo.answer(200);
  await until('the switch', async () => (await daemon.rollbacks())[0]?.switched_at, { seen: async () => await describeDaemon(daemon) });
  prometheus.fail(0);
  const { id, outcome } = await untilFinished(daemon);
  await until('Slack to refuse', () => daemon.logLines().some((line) => line.includes('notification dropped')));
  Object.assign(shown, await everyAnswer(daemon, id), await everyCommand(stage, daemon, id), await everyRefusal(stage), await journalBytes(stage, 'in use'));
  await daemon.stop();
  Object.assign(shown, await journalBytes(stage, 'closed'), { log: daemon.process.stderr(), 'standard output': daemon.process.stdout() });

  // They were used: else there would be nothing to hide.
  expect(outcome).toBe('success');
  expect(prometheus.requests).toContainEqual(expect.objectContaining({ authorization: `Basic ${basic}`, 'x-api-key': secretOf('header') }));
  expect(prometheus.requests).toContainEqual(expect.objectContaining({ authorization: `Bearer ${secretOf('token')}` }));
  expect(echo.seen[0]).toMatchObject({ authorization: `Bearer ${secretOf('smoke')}`, 'x-auth-token': secretOf('smoke-token') });
  expect(stage.slack.deliveries).toHaveLength(1);
  expect(Object.keys(shown)).toEqual(expect.arrayContaining(['rollbackd.db in use', 'rollbackd.db-wal in use', 'rollbackd.db closed']));
  shown['the Slack message'] = stage.slack.deliveries[0]?.body ?? '';
  expect(Object.entries(shown).flatMap(([where, text]) => findSecrets(where, text))).toEqual([]);
});
