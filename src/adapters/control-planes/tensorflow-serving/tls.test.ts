import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeModelRepository, startTensorFlowServing, type TensorFlowServing } from '../../../../test/support/tensorflow-serving/start.ts';
import type { ControlPlane, Log } from '../../../domain/ports.ts';
import { realClock } from '../../clock/real-clock.ts';
import { controlPlaneKinds } from '../index.ts';

const run = promisify(execFile);
const ever = new AbortController().signal;
const quiet: Log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined, child: () => quiet };
const target = { model: 'fraud', plane: {} };

let dir: string;
let list: string;
const servers: TensorFlowServing[] = [];
const planes: ControlPlane[] = [];

/** A key and a certificate signed by `issuer` (or by itself), for `names`. */
async function issue(name: string, issuer: string | null, names = 'DNS:tfs.internal,DNS:localhost'): Promise<void> {
  const openssl = async (...argv: string[]): Promise<unknown> =>
    run('openssl', argv, { cwd: dir }).catch((cause: NodeJS.ErrnoException) => {
      throw cause.code === 'ENOENT' ? new Error('this test needs openssl on the PATH; apt-get install openssl') : cause;
    });
  await openssl('ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', `${name}.key`);
  if (issuer === null) {
    await openssl('req', '-x509', '-new', '-key', `${name}.key`, '-subj', `/CN=${name}`, '-days', '2', '-out', `${name}.crt`);
    return;
  }
  await writeFile(join(dir, `${name}.ext`), `subjectAltName=${names}\n`);
  await openssl('req', '-new', '-key', `${name}.key`, '-subj', `/CN=${name}`, '-out', `${name}.csr`);
  await openssl(
    'x509',
    '-req',
    '-in',
    `${name}.csr`,
    '-CA',
    `${issuer}.crt`,
    '-CAkey',
    `${issuer}.key`,
    '-CAcreateserial',
    '-days',
    '2',
    '-extfile',
    `${name}.ext`,
    '-out',
    `${name}.crt`,
  );
}

async function serve(name: string, clientVerify: boolean): Promise<TensorFlowServing> {
  const pem = async (file: string): Promise<string> => JSON.stringify(await readFile(join(dir, file), 'utf8'));
  const config = join(dir, `${name}.ssl`);
  await writeFile(
    config,
    `server_key: ${await pem('server.key')}\nserver_cert: ${await pem('server.crt')}\n${clientVerify ? `custom_ca: ${await pem('ca.crt')}\nclient_verify: true\n` : ''}`,
  );
  const server = await startTensorFlowServing({ flags: { model_name: 'fraud', model_base_path: join(dir, 'models', 'fraud'), ssl_config_file: config } });
  servers.push(server);
  return server;
}

async function connect(server: TensorFlowServing, tls: Record<string, unknown> | undefined): Promise<ControlPlane> {
  const kind = controlPlaneKinds.get('tensorflow_serving');
  const plane = await kind?.create(
    kind.config.parse({ endpoints: [server.grpc], model_config_file: list, timeout: '2s', ...(tls === undefined ? {} : { tls_config: tls }) }),
    { clock: realClock, log: quiet, memory: () => ({}), onRequest: () => undefined },
  );
  planes.push(plane as ControlPlane);
  return plane as ControlPlane;
}

const serving = async (plane: ControlPlane): Promise<string | undefined> => (await plane.observe(target, { thorough: false }, ever)).serving[0]?.version;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'tfs-tls-'));
  list = join(dir, 'models.config');
  await makeModelRepository(join(dir, 'models'), { fraud: { 1: {} } });
  await writeFile(list, `model_config_list { config { name: "fraud" base_path: "${join(dir, 'models', 'fraud')}" model_platform: "tensorflow" } }`);
  await issue('ca', null);
  await issue('server', 'ca');
  await issue('client', 'ca');
  await issue('stranger', null);
});
afterAll(async () => {
  await Promise.all(planes.map(async (plane) => plane.close()));
  await Promise.all(servers.map(async (server) => server.kill('SIGKILL')));
  await rm(dir, { recursive: true, force: true });
});

describe('TLS', () => {
  it('reaches a server whose certificate the CA signed for the name', async () => {
    const server = await serve('plain', false);

    expect(await serving(await connect(server, { ca_file: join(dir, 'ca.crt'), server_name: 'tfs.internal' }))).toBe('1');
  });

  it('refuses a wrong name, a wrong CA and a server without TLS, as a matter of credentials or of transport', async () => {
    const [server] = servers;
    const refused = async (tls: Record<string, unknown> | undefined): Promise<unknown> =>
      (await connect(server as TensorFlowServing, tls)).observe(target, { thorough: false }, ever).catch((cause: unknown) => cause);

    expect(await refused({ ca_file: join(dir, 'ca.crt'), server_name: 'other.internal' })).toMatchObject({
      class: 'auth',
      message: expect.stringMatching(/TLS: .*other\.internal/),
    });
    expect(await refused({ ca_file: join(dir, 'stranger.crt'), server_name: 'tfs.internal' })).toMatchObject({ class: 'auth' });
    expect(await refused({ ca_file: join(dir, 'missing.crt') })).toMatchObject({
      class: 'auth',
      message: expect.stringMatching(/missing\.crt cannot be read \(ENOENT\)/),
    });
    expect(await refused(undefined)).toMatchObject({ class: 'transient' });
  });

  it('skips the check only when told to', async () => {
    expect(await serving(await connect(servers[0] as TensorFlowServing, { insecure_skip_verify: true }))).toBe('1');
  });
});

describe('mutual TLS', () => {
  it('shows a client certificate, and takes up a new one without a restart', async () => {
    const server = await serve('mutual', true);
    await writeFile(join(dir, 'mine.crt'), await readFile(join(dir, 'stranger.crt')));
    await writeFile(join(dir, 'mine.key'), await readFile(join(dir, 'stranger.key')));
    const plane = await connect(server, {
      ca_file: join(dir, 'ca.crt'),
      cert_file: join(dir, 'mine.crt'),
      key_file: join(dir, 'mine.key'),
      server_name: 'tfs.internal',
    });

    const error: unknown = await plane.observe(target, { thorough: false }, ever).catch((cause: unknown) => cause);
    for (const part of ['crt', 'key']) {
      await writeFile(join(dir, `next.${part}`), await readFile(join(dir, `client.${part}`)));
      await rename(join(dir, `next.${part}`), join(dir, `mine.${part}`));
    }

    expect(error).toMatchObject({ name: 'PlaneError' });
    expect(String(error)).not.toContain('PRIVATE KEY');
    expect(await serving(plane)).toBe('1');
  });
});

describe('a plane that was closed', () => {
  it('lets the process end', async () => {
    const script = `
      import { controlPlaneKinds } from ${JSON.stringify(new URL('../index.ts', import.meta.url).href)};
      const kind = controlPlaneKinds.get('tensorflow_serving');
      const log = { debug() {}, info() {}, warn() {}, error() {}, child: () => log };
      const config = kind.config.parse({ endpoints: ['${servers[0]?.grpc}'], model_config_file: '${list}', tls_config: { insecure_skip_verify: true } });
      const plane = await kind.create(config, { clock: { nowMs: Date.now, sleep: async () => {} }, log, memory: () => ({}), onRequest() {} });
      const seen = await plane.observe({ model: 'fraud', plane: {} }, { thorough: false }, new AbortController().signal);
      await plane.close();
      console.log(seen.serving[0].version);
    `;

    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script], { timeout: 10_000 });

    expect(stdout.trim()).toBe('1');
  });
});
