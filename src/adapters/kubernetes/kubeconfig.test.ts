import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import nock from 'nock';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { noNetwork } from '../../../test/support/no-network.ts';
import type { Log } from '../../domain/ports.ts';
import { realClock } from '../clock/real-clock.ts';
import { type KubernetesAccess, kubernetesAccess } from './access.ts';
import { createKubernetesClient, type KubernetesClient } from './client.ts';
import { KubernetesError } from './errors.ts';
import { Kubeconfig } from './kubeconfig.ts';

noNetwork();

const signal = new AbortController().signal;
const host = 'https://api.test:6443';
const path = '/api/v1/namespaces/shop/services/ranker';
const object = { metadata: { name: 'ranker', uid: 'u1', resourceVersion: '1' } };

let folder = '';
let warnings: string[] = [];
const log: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: (_fields, message) => warnings.push(message),
  error: () => undefined,
  child: () => log,
};

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'rollbackd-kubeconfig-'));
  warnings = [];
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

type Parts = { cluster?: Record<string, unknown>; user?: Record<string, unknown> };

function write({ cluster = {}, user = {} }: Parts = {}): string {
  const file = join(folder, 'config');
  const content = {
    apiVersion: 'v1',
    kind: 'Config',
    preferences: {},
    'current-context': 'prod',
    clusters: [{ name: 'c1', cluster: { server: host, ...cluster } }],
    contexts: [
      { name: 'prod', context: { cluster: 'c1', user: 'u1', namespace: 'shop' } },
      { name: 'other', context: { cluster: 'c1', user: 'u1' } },
    ],
    users: [{ name: 'u1', user }],
  };
  writeFileSync(file, stringify(content));
  return file;
}

function clientOf(parts: Parts = {}, access: Partial<KubernetesAccess> = {}, environment: Record<string, string | undefined> = {}): KubernetesClient {
  return createKubernetesClient({ ...kubernetesAccess.parse({ kubeconfig: write(parts) }), ...access }, { clock: realClock, log, environment });
}

/** An exec plugin that counts its runs, and answers as `status` says (an expression; `n` is the run). */
function plugin(status: string, more: Record<string, unknown> = {}): Record<string, unknown> {
  const script = join(folder, 'plugin.mjs');
  writeFileSync(
    script,
    `#!${process.execPath}
import { appendFileSync, readFileSync } from 'node:fs';
appendFileSync(${JSON.stringify(join(folder, 'runs'))}, 'x');
const n = readFileSync(${JSON.stringify(join(folder, 'runs'))}).length;
const info = JSON.parse(process.env.KUBERNETES_EXEC_INFO);
const status = ${status};
if (status !== null) console.log(JSON.stringify({ apiVersion: info.apiVersion, kind: 'ExecCredential', status }));
`,
  );
  chmodSync(script, 0o755);
  return { exec: { apiVersion: 'client.authentication.k8s.io/v1', command: './plugin.mjs', args: null, env: null, provideClusterInfo: false, ...more } };
}

async function failureOf(call: Promise<unknown>): Promise<KubernetesError> {
  const error: unknown = await call.then(
    () => new Error('did not fail'),
    (thrown: unknown) => thrown,
  );
  if (error instanceof KubernetesError) return error;
  throw new Error('not a KubernetesError', { cause: error });
}

describe('a kubeconfig', () => {
  it('gives server, token and namespace of its current context', async () => {
    nock(host, { reqheaders: { authorization: 'Bearer abc' } })
      .get(path)
      .reply(200, object);
    const client = clientOf({ user: { token: 'abc' } });

    expect(await client.get(path, signal)).toMatchObject(object);
    expect(await client.defaultNamespace(signal)).toBe('shop');
    expect(await clientOf({}, { context: 'other' }).defaultNamespace(signal)).toBe('default');
  });

  it('keeps the path of a server behind a proxy of the cluster', async () => {
    nock('https://rancher.test').get(`/k8s/clusters/c-1${path}`).reply(200, object);

    await clientOf({ cluster: { server: 'https://rancher.test/k8s/clusters/c-1/' } }).get(path, signal);
  });

  it('reads a token file at each request, relative to itself, before a token', async () => {
    nock(host, { reqheaders: { authorization: 'Bearer one' } })
      .get(path)
      .reply(200, object);
    nock(host, { reqheaders: { authorization: 'Bearer two' } })
      .get(path)
      .reply(200, object);
    const client = clientOf({ user: { token: 'stale', tokenFile: 'token' } });

    writeFileSync(join(folder, 'token'), 'one\n');
    await client.get(path, signal);
    writeFileSync(join(folder, 'token'), 'two\n');
    await client.get(path, signal);
  });

  it('is read again when it changes', async () => {
    nock(host, { reqheaders: { authorization: 'Bearer one' } })
      .get(path)
      .reply(200, object);
    nock(host, { reqheaders: { authorization: 'Bearer another' } })
      .get(path)
      .reply(200, object);
    const client = clientOf({ user: { token: 'one' } });

    await client.get(path, signal);
    write({ user: { token: 'another' } });
    await client.get(path, signal);
  });

  it('gives certificates as data or files', async () => {
    const data = (text: string): string => Buffer.from(text).toString('base64');
    const user = { 'client-certificate': 'me.pem', 'client-key-data': data('KEY') };
    const file = write({ cluster: { 'certificate-authority-data': data('CA'), 'tls-server-name': 'kubernetes' }, user });

    const { http } = await new Kubeconfig(file, kubernetesAccess.parse({ kubeconfig: file }), { clock: realClock, log, environment: {} }).connect(null, signal);

    expect(http).toEqual({
      tls_config: { ca: 'CA', cert_file: join(folder, 'me.pem'), key: 'KEY', server_name: 'kubernetes', insecure_skip_verify: false },
      follow_redirects: false,
    });
  });

  it.each<[string, Parts, string]>([
    ['insecure-skip-tls-verify', { cluster: { 'insecure-skip-tls-verify': true } }, 'insecure-skip-tls-verify: anybody between here'],
    ['plain http beyond this machine', { cluster: { server: 'http://api.test:8080' } }, 'without TLS'],
    ['a proxy', { cluster: { 'proxy-url': 'http://proxy:3128' } }, 'names a proxy-url'],
    ['impersonation', { user: { as: 'admin' } }, 'impersonates somebody'],
    ['an auth-provider', { user: { 'auth-provider': { name: 'gcp' } } }, 'which Kubernetes has removed'],
    ['a server with a password', { cluster: { server: 'https://a:b@api.test' } }, 'no plain https URL'],
    [
      'an exec plugin that wants a terminal',
      { user: { exec: { apiVersion: 'client.authentication.k8s.io/v1', command: 'x', interactiveMode: 'Always' } } },
      'wants a terminal',
    ],
    ['an exec plugin of an unknown version', { user: { exec: { apiVersion: 'client.authentication.k8s.io/v1alpha1', command: 'x' } } }, 'found apiVersion'],
  ])('refuses %s', async (_name, parts, words) => {
    const error = await failureOf(clientOf(parts).get(path, signal));

    expect(error.message).toContain(words);
    expect(['permanent', 'auth']).toContain(error.class);
  });

  it('accepts an insecure one only when told so, and says it aloud', async () => {
    nock('http://api.test:8080').get(path).times(2).reply(200, object);
    const client = clientOf({ cluster: { server: 'http://api.test:8080' } }, { allow_insecure: true });

    await client.get(path, signal);
    await client.get(path, signal);

    expect(warnings).toEqual(['kubeconfig is insecure and allow_insecure is set: the API server is not authenticated']);
  });

  it('names what it has when the wished context is not there, and shows no secret of a broken one', async () => {
    expect((await failureOf(clientOf({}, { context: 'staging' }).get(path, signal))).message).toContain('has no context "staging"; it has: prod, other');

    const client = clientOf();
    writeFileSync(join(folder, 'config'), 'users: [{name: u1, user: {token: [planted-t0ken]}}]\n');
    const error = await failureOf(client.get(path, signal));
    expect(error).toMatchObject({ class: 'permanent', message: expect.stringContaining('is no kubeconfig') });
    expect(inspect(error, { depth: 9 })).not.toContain('planted');

    rmSync(join(folder, 'config'));
    expect(await failureOf(client.get(path, signal))).toMatchObject({ class: 'auth', message: expect.stringContaining('cannot be read (ENOENT)') });
  });
});

describe('an exec plugin', () => {
  it('is asked once, also by several at once, and again after a 401', async () => {
    nock(host, { reqheaders: { authorization: 'Bearer t1' } })
      .get(path)
      .times(2)
      .reply(200, object);
    nock(host, { reqheaders: { authorization: 'Bearer t1' } })
      .get(path)
      .reply(401, {});
    nock(host, { reqheaders: { authorization: 'Bearer t2' } })
      .get(path)
      .reply(200, object);
    const client = clientOf({ user: plugin('{ token: `t${n}` }') });

    await Promise.all([client.get(path, signal), client.get(path, signal)]);
    await client.get(path, signal);
  });

  it('is asked again when its credential expires', async () => {
    nock(host, { reqheaders: { authorization: 'Bearer t1' } })
      .get(path)
      .reply(200, object);
    nock(host, { reqheaders: { authorization: 'Bearer t2' } })
      .get(path)
      .reply(200, object);
    const client = clientOf({ user: plugin('{ token: `t${n}`, expirationTimestamp: new Date(Date.now() + 5_000).toISOString() }') });

    await client.get(path, signal);
    await client.get(path, signal);
  });

  it('gets its arguments, its environment and, where wanted, the cluster', async () => {
    nock(host, { reqheaders: { authorization: `Bearer a b set from outside ${host}` } })
      .get(path)
      .reply(200, object);
    const status = "{ token: [process.argv[2], process.env.SET, process.env.OUTSIDE, info.spec.cluster.server].join(' ') }";
    const client = clientOf(
      { user: plugin(status, { args: ['a b'], env: [{ name: 'SET', value: 'set' }], provideClusterInfo: true }) },
      {},
      { OUTSIDE: 'from outside' },
    );

    await client.get(path, signal);
  });

  it('may give a client certificate', async () => {
    const file = write({ user: plugin("{ clientCertificateData: 'CERT', clientKeyData: 'KEY' }") });

    const { http } = await new Kubeconfig(file, kubernetesAccess.parse({ kubeconfig: file }), { clock: realClock, log, environment: {} }).connect(null, signal);

    expect(http.tls_config).toMatchObject({ cert: 'CERT', key: 'KEY' });
  });

  it.each([
    ['fails', "(console.error('no login for', process.env.PASSWORD), process.exit(3))", 'ended with exit code 3: no login for <secret>'],
    ['prints nothing', 'null', 'did not print an ExecCredential'],
    ['gives nothing', '{}', 'neither a token nor a client certificate'],
    ['gives a time that is none', "{ token: 'planted-t0ken', expirationTimestamp: 'soon' }", 'no RFC 3339 time'],
    ['hangs', 'await new Promise((resolve) => setTimeout(resolve, 60_000))', 'did not end within 300 ms (exec_timeout)'],
  ])('that %s is told, without its secrets', async (_name, status, words) => {
    const parts = { user: plugin(status, { env: [{ name: 'PASSWORD', value: 'planted-t0ken' }] }) };

    const error = await failureOf(clientOf(parts, { exec_timeout: status.includes('setTimeout') ? 300 : 20_000 }).get(path, signal));

    expect(error.class).toBe('auth');
    expect(error.message).toContain(words);
    expect(inspect(error, { depth: 9 })).not.toContain('planted');
  });

  it('that is not installed says how to install it', async () => {
    const exec = { apiVersion: 'client.authentication.k8s.io/v1', command: 'no-such-plugin', installHint: 'Get it from the platform team.' };

    expect((await failureOf(clientOf({ user: { exec } }).get(path, signal))).message).toContain('is not found; Get it from the platform team.');
  });
});
