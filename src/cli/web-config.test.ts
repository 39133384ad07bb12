import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import bcrypt from 'bcryptjs';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { aModel, aServer } from '../../test/support/a-web-server.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { recordingLog } from '../../test/support/recording-log.ts';
import { makeTestCertificate } from '../../test/support/tensorflow-serving/test-certificates.ts';
import { until } from '../../test/support/until.ts';
import { Login } from '../web/login.ts';
import { clientFor, type DaemonFlags } from './daemon-flags.ts';
import { loadWebSettings, watchWebConfig } from './web-config.ts';

const folder = mkdtempSync(join(tmpdir(), 'rollbackd-web-'));
const file = (name: string): string => join(folder, name);
const put = (name: string, text: string): void => writeFileSync(file(name), text);
const authority = { ...makeTestCertificate('test authority'), commonName: 'test authority' };
const stranger = { ...makeTestCertificate('stranger'), commonName: 'stranger' };
const putPair = (name: string, issuer = authority): void => {
  const { cert, key } = makeTestCertificate(name, issuer);
  put(`${name}.crt`, cert);
  put(`${name}.key`, key);
};
put('ca.crt', authority.cert);
put('stranger-ca.crt', stranger.cert);
putPair('server');
putPair('client');
putPair('intruder', stranger);
put('password', 'planted-secret\n');
put('wrong', 'guess\n');
const tls = 'cert_file: server.crt, key_file: server.key';
const mutual = `${tls}, client_ca_file: ca.crt, client_auth_type: RequireAndVerifyClientCert`;
const users = `basic_auth_users: {ada: ${bcrypt.hashSync('planted-secret', 4)}}\nroles: {ada: admin}\n`;

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});
afterAll(() => rmSync(folder, { recursive: true }));

async function serve(text: string) {
  put('web.yaml', text);
  const config = await loadWebSettings(file('web.yaml'));
  const login = config.users.size === 0 ? null : new Login(config.users, { nowMs: () => 0 });
  const { web, asked } = aServer({ login, tls: config.tls });
  closing.push(async () => await web.close());
  const { port } = await web.listen('127.0.0.1:0');
  const ask = async (flags: Partial<DaemonFlags> = {}, url = `https://127.0.0.1:${port}`) => {
    const client = clientFor({ url, 'web.caFile': file('ca.crt'), ...flags });
    try {
      return await client.models();
    } finally {
      client.close();
    }
  };
  return { config, login, web, asked, ask, port };
}

const ada = { 'web.user': 'ada', 'web.passwordFile': file('password') };

describe('a daemon with TLS', () => {
  it('is asked by its commands with the authority and a login', async () => {
    const { ask } = await serve(`tls_server_config: {${tls}}\n${users}`);

    expect(await ask(ada)).toEqual([aModel]);
    await expect(ask()).rejects.toThrow('a user name and password are needed (rollbackd: --web.user and --web.password-file)');
    await expect(ask({ ...ada, 'web.passwordFile': file('wrong') })).rejects.toThrow('wrong user name or password');
  });

  it('is not trusted with another authority, nor spoken to without TLS', async () => {
    const { ask, port } = await serve(`tls_server_config: {${tls}}\n`);

    await expect(ask({ 'web.caFile': file('stranger-ca.crt') })).rejects.toThrow(
      /^https:\/\/127\.0\.0\.1:\d+: the server's certificate is signed by an unknown CA; give --web\.ca-file/,
    );
    await expect(ask({}, `http://127.0.0.1:${port}`)).rejects.toThrow('is rollbackd running there?');
  });

  it('lets in who shows a certificate of its authority, and nobody else', async () => {
    const { ask } = await serve(`tls_server_config: {${mutual}}\n`);

    expect(await ask({ 'web.certFile': file('client.crt'), 'web.keyFile': file('client.key') })).toEqual([aModel]);
    await expect(ask()).rejects.toThrow(/127\.0\.0\.1/);
    await expect(ask({ 'web.certFile': file('intruder.crt'), 'web.keyFile': file('intruder.key') })).rejects.toThrow(/127\.0\.0\.1/);
  });

  it('wants no less of who has a certificate: the login stays', async () => {
    const { ask } = await serve(`tls_server_config: {${mutual}}\n${users}`);
    const certificate = { 'web.certFile': file('client.crt'), 'web.keyFile': file('client.key') };

    await expect(ask(certificate)).rejects.toMatchObject({ status: 401 });
    expect(await ask({ ...certificate, ...ada })).toEqual([aModel]);
  });
});

describe('the flags of a command', () => {
  it.each([
    [{ 'web.user': 'ada' }, '--web.user (ROLLBACKD_USER) and --web.password-file (ROLLBACKD_PASSWORD_FILE) go together; give both'],
    [{ 'web.keyFile': 'x' }, '--web.cert-file and --web.key-file go together; give both'],
  ])('%j do not stand alone', (flags, message) => {
    expect(() => clientFor({ url: 'http://127.0.0.1:9797', ...flags })).toThrow(message);
  });

  it('name the file that cannot be read, and do not blame the daemon', async () => {
    const client = clientFor({ url: 'http://127.0.0.1:1', 'web.user': 'ada', 'web.passwordFile': file('none') });

    await expect(client.models()).rejects.toThrow(`http://127.0.0.1:1: password_file: cannot read ${file('none')} (ENOENT)`);
    await expect(client.models()).rejects.not.toThrow('is rollbackd running');
  });
});

describe('watchWebConfig', () => {
  it('takes a new certificate and new users, and keeps the old ones when the files are faulty', async () => {
    const { ask, config, login, web } = await serve(`tls_server_config: {${tls}}\n${users}`);
    const [clock, log, stop] = [new FakeClock(), recordingLog(), new AbortController()];
    let applied = 0;
    const watching = watchWebConfig(file('web.yaml'), config, {
      everyMs: 15_000,
      apply: (next) => {
        if (next.tls !== null) web.replaceTls(next.tls);
        login?.replace(next.users);
        applied += 1;
      },
      clock,
      log,
      signal: stop.signal,
    });
    const turn = async (): Promise<void> => {
      await until('the watch sleeps', async () => (clock.sleeping === 1 ? true : null));
      await clock.advance(15_000);
      await until('the watch sleeps again', async () => (clock.sleeping === 1 ? true : null));
    };
    await turn();
    expect(applied).toBe(0);

    put('server.crt', makeTestCertificate('server', stranger).cert);
    await turn();
    await turn();
    expect(applied).toBe(0);
    expect(await ask(ada)).toEqual([aModel]);
    expect(log.text().match(/web configuration refused/g)).toHaveLength(1);

    putPair('server', stranger);
    await turn();
    expect(applied).toBe(1);
    await expect(ask(ada)).rejects.toThrow('unknown CA');
    expect(await ask({ ...ada, 'web.caFile': file('stranger-ca.crt') })).toEqual([aModel]);

    put('web.yaml', `tls_server_config: {${tls}}\n`);
    await turn();
    expect(log.text()).toContain('basic_auth_users cannot come or go while rollbackd runs; start it anew');
    await expect(ask({ 'web.caFile': file('stranger-ca.crt') })).rejects.toMatchObject({ status: 401 });

    put('web.yaml', `tls_server_config: {${tls}}\nbasic_auth_users: {ada: ${bcrypt.hashSync('guess', 4)}}\n`);
    await turn();
    await expect(ask({ ...ada, 'web.caFile': file('stranger-ca.crt') })).rejects.toMatchObject({ status: 401 });
    expect(await ask({ ...ada, 'web.passwordFile': file('wrong'), 'web.caFile': file('stranger-ca.crt') })).toEqual([aModel]);

    expect(log.text()).not.toMatch(/planted-secret|\$2b\$|BEGIN/);
    stop.abort();
    await watching;
    putPair('server');
  });
});
