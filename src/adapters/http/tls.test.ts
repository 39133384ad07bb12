import { execFileSync, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createHttpClient, type HttpClient } from './client.ts';
import type { HttpSettings } from './http-settings.ts';

const hasOpenssl = spawnSync('openssl', ['version']).status === 0;

/** Certificates are made here, with openssl; without it the tests of TLS are left out. */
describe.skipIf(!hasOpenssl)('createHttpClient over TLS', () => {
  let folder: string;
  let server: Server;
  const clients: HttpClient[] = [];
  const file = (name: string): string => join(folder, name);
  const pem = (name: string): string => readFileSync(file(name), 'utf8');

  function openssl(...args: string[]): void {
    execFileSync('openssl', args, { cwd: folder, stdio: 'ignore' });
  }

  function makeCa(name: string): void {
    openssl(
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-keyout',
      `${name}.key`,
      '-out',
      `${name}.pem`,
      '-days',
      '2',
      '-subj',
      `/CN=${name}`,
    );
  }

  function makeCertificate(name: string, ca: string, host: string): void {
    openssl('req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', `${name}.key`, '-out', `${name}.csr`, '-subj', `/CN=${name}`);
    writeFileSync(file(`${name}.ext`), `subjectAltName=DNS:${host}`);
    openssl(
      'x509',
      '-req',
      '-in',
      `${name}.csr`,
      '-CA',
      `${ca}.pem`,
      '-CAkey',
      `${ca}.key`,
      '-CAcreateserial',
      '-out',
      `${name}.pem`,
      '-days',
      '2',
      '-extfile',
      `${name}.ext`,
    );
  }

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'rollbackd-tls-'));
    makeCa('ca1');
    makeCa('ca2');
    makeCertificate('server1', 'ca1', 'prom.internal');
    makeCertificate('server2', 'ca2', 'prom.internal');
    makeCertificate('client', 'ca1', 'rollbackd');
  });
  afterAll(() => rmSync(folder, { recursive: true }));
  beforeEach(async () => {
    server = createServer({ key: pem('server1.key'), cert: pem('server1.pem') }, (_request, response) => response.end('yes'));
    await once(server.listen(0, '127.0.0.1'), 'listening');
  });
  afterEach(() => {
    for (const client of clients.splice(0)) client.close();
    server.closeAllConnections();
    server.close();
  });

  async function ask(settings: HttpSettings['tls_config'], client = createHttpClient({ tls_config: settings })): Promise<string> {
    clients.push(client);
    return await client.request({ method: 'GET', url: `https://127.0.0.1:${(server.address() as AddressInfo).port}/` }).then(
      ({ body }) => body,
      (error: Error) => error.message.replace(/127\.0\.0\.1:\d+/, 'HOST'),
    );
  }

  it('trusts a CA of its own, as file or as text, under the name it is told', async () => {
    expect(await ask({ ca_file: file('ca1.pem'), server_name: 'prom.internal' })).toBe('yes');
    expect(await ask({ ca: pem('ca1.pem'), server_name: 'prom.internal' })).toBe('yes');
  });

  it('refuses an unknown CA, another name, and a version below the lowest', async () => {
    expect(await ask({})).toBe("GET HOST: the server's certificate is signed by an unknown CA; give tls_config.ca_file (UNABLE_TO_VERIFY_LEAF_SIGNATURE)");
    expect(await ask({ ca_file: file('ca2.pem'), server_name: 'prom.internal' })).toMatch(/UNABLE_TO_VERIFY_LEAF_SIGNATURE/);
    expect(await ask({ ca_file: file('ca1.pem'), server_name: 'other.internal' })).toMatch(/ERR_TLS_CERT_ALTNAME_INVALID/);
    server.setSecureContext({ key: pem('server1.key'), cert: pem('server1.pem'), maxVersion: 'TLSv1.2' });
    expect(await ask({ ca_file: file('ca1.pem'), server_name: 'prom.internal', min_version: 'TLS13' })).toMatch(
      /^GET HOST: TLS handshake failed: .*protocol version \(\w+\)$/,
    );
  });

  it('checks nothing when told so', async () => {
    expect(await ask({ insecure_skip_verify: true })).toBe('yes');
  });

  it('shows a certificate of its own where one is asked for', async () => {
    server.close();
    server = createServer(
      { key: pem('server1.key'), cert: pem('server1.pem'), ca: pem('ca1.pem'), requestCert: true, rejectUnauthorized: true },
      (_request, response) => response.end('yes'),
    );
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const tls = { ca_file: file('ca1.pem'), server_name: 'prom.internal' };

    expect(await ask(tls)).toMatch(/^GET HOST: /);
    expect(await ask({ ...tls, cert_file: file('client.pem'), key_file: file('client.key') })).toBe('yes');
  });

  it('takes changed files at the next request', async () => {
    writeFileSync(file('trusted.pem'), pem('ca1.pem'));
    const settings = { ca_file: file('trusted.pem'), server_name: 'prom.internal' };
    const client = createHttpClient({ tls_config: settings });
    expect(await ask(settings, client)).toBe('yes');
    server.setSecureContext({ key: pem('server2.key'), cert: pem('server2.pem') });
    server.closeAllConnections();
    expect(await ask(settings, client)).toMatch(/UNABLE_TO_VERIFY_LEAF_SIGNATURE/);

    writeFileSync(file('trusted.pem'), `${pem('ca2.pem')}\n`);

    expect(await ask(settings, client)).toBe('yes');
  });

  it('says which file cannot be used', async () => {
    writeFileSync(file('broken.pem'), 's3cr3t-planted is no PEM');

    expect(await ask({ ca_file: file('none.pem') })).toBe(`GET HOST: ca_file: cannot read ${file('none.pem')} (ENOENT)`);
    const broken = await ask({ cert_file: file('broken.pem'), key_file: file('broken.pem') });
    expect(broken).toMatch(/^GET HOST: .*PEM/i);
    expect(broken).not.toContain('s3cr3t-planted');
  });
});
