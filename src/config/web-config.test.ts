import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import bcrypt from 'bcryptjs';
import { afterAll, describe, expect, it } from 'vitest';
import { makeTestCertificate } from '../../test/support/tensorflow-serving/test-certificates.ts';
import { formatDiagnostics } from '../rulefile/diagnostic.ts';
import { loadWebConfig } from './web-config.ts';

const folder = mkdtempSync(join(tmpdir(), 'rollbackd-web-config-'));
afterAll(() => rmSync(folder, { recursive: true }));
const hash = bcrypt.hashSync('planted-secret', 4);
const pair = makeTestCertificate('server');
const put = (name: string, text: string): void => writeFileSync(join(folder, name), text);
put('server.crt', pair.cert);
put('server.key', pair.key);
put('other.key', makeTestCertificate('other').key);

async function load(text: string) {
  put('web.yaml', text);
  const { config, diagnostics } = await loadWebConfig(join(folder, 'web.yaml'));
  return { config, faults: formatDiagnostics(diagnostics).replaceAll(`${folder}/`, '') };
}

describe('loadWebConfig', () => {
  it('reads TLS files beside it, users and roles; a user without one is a viewer', async () => {
    const { config, faults } = await load(`
tls_server_config: {cert_file: server.crt, key_file: server.key, client_ca_file: server.crt, client_auth_type: RequireAndVerifyClientCert, min_version: TLS13}
basic_auth_users:
  ada: ${hash}
  prometheus: ${hash.replace('$2b$', '$2y$')}
roles: {ada: admin}
`);

    expect(faults).toBe('');
    expect(config?.tls).toEqual({ cert: pair.cert, key: pair.key, clientCa: pair.cert, minVersion: 'TLSv1.3' });
    expect([...(config?.users ?? [])].map(([name, { role }]) => [name, role])).toEqual([
      ['ada', 'admin'],
      ['prometheus', 'viewer'],
    ]);
  });

  it('has another hash when a TLS file changed', async () => {
    const text = 'tls_server_config: {cert_file: a.crt, key_file: a.key}\n';
    put('a.crt', pair.cert);
    put('a.key', pair.key);
    const before = (await load(text)).config?.hash;
    expect((await load(text)).config?.hash).toBe(before);

    const next = makeTestCertificate('server');
    put('a.crt', next.cert);
    put('a.key', next.key);

    expect((await load(text)).config?.hash).not.toBe(before);
  });

  it.each([
    ['an unknown key', 'basic_auth_user: {}\n', 'web.yaml:1:1: basic_auth_user: unknown key; did you mean "basic_auth_users"?'],
    [
      'an unknown key of TLS',
      'tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n  ciphers: []\n',
      'web.yaml:4:3: tls_server_config.ciphers: unknown key',
    ],
    [
      'a password in the place of its hash',
      'basic_auth_users:\n  ada: planted-secret\n',
      'web.yaml:2:8: basic_auth_users.ada: found <secret>, expected a bcrypt hash; write the one that "htpasswd -nBC 10 NAME" prints\n      ada: <secret>',
    ],
    ['a hash that is cut', `basic_auth_users:\n  ada: ${hash.slice(0, -1)}\n`, 'web.yaml:2:8: basic_auth_users.ada: found <secret>, expected a bcrypt hash'],
    [
      'a hash that would stop the daemon for minutes',
      `basic_auth_users:\n  ada: ${hash.replace('$04$', '$20$')}\n`,
      'web.yaml:2:8: basic_auth_users.ada: found <secret>, expected a bcrypt hash of cost 4 to 14',
    ],
    ['a name with a colon', `basic_auth_users:\n  "a:b": ${hash}\n`, 'expected a user name: at most 100 characters, no colon, no blank first'],
    [
      'a role of nobody',
      `basic_auth_users: {ada: ${hash}}\nroles:\n  adda: admin\n`,
      'web.yaml:3:3: roles.adda: is no user of basic_auth_users; did you mean "ada"?',
    ],
    [
      'an unknown role',
      `basic_auth_users: {ada: ${hash}}\nroles:\n  ada: root\n`,
      'web.yaml:3:8: roles.ada: found "root", expected one of viewer, operator, admin',
    ],
    ['no key file', 'tls_server_config: {cert_file: server.crt}\n', 'web.yaml:1:20: tls_server_config.key_file: missing, expected the path of a file'],
    [
      'a certificate that is not there',
      'tls_server_config:\n  cert_file: none.crt\n  key_file: server.key\n',
      'web.yaml:2:14: tls_server_config.cert_file: none.crt cannot be used: no such file',
    ],
    [
      'a key in the place of a certificate',
      'tls_server_config:\n  cert_file: server.key\n  key_file: server.key\n',
      'web.yaml:2:14: tls_server_config.cert_file: server.key cannot be used: it holds no such PEM block',
    ],
    [
      "another certificate's key",
      'tls_server_config:\n  cert_file: server.crt\n  key_file: other.key\n',
      'certificate and key cannot be used together (ERR_OSSL_X509_KEY_VALUES_MISMATCH)',
    ],
    [
      'client certificates of anybody',
      'tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n  client_auth_type: RequireAndVerifyClientCert\n',
      'client_ca_file is missing; whose certificates are taken must be said',
    ],
    [
      'an authority that nobody is asked for',
      'tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n  client_ca_file: server.crt\n',
      'no client certificate is asked for; add client_auth_type: RequireAndVerifyClientCert',
    ],
    ['no YAML', 'basic_auth_users:\n  ada: "planted-secret\n', 'web.yaml:2:23: a quote is not closed'],
    ['a list of users', `basic_auth_users:\n- planted-secret\n`, 'basic_auth_users: found <secret>, expected a map'],
    ['a key that stands twice', `basic_auth_users:\n  ada: ${hash}\n  ada: ${hash}\n`, 'web.yaml:3:3: key stands twice in this map; remove one'],
  ])('refuses %s, and shows no secret', async (_name, text, fault) => {
    const { config, faults } = await load(text);

    expect(config).toBeNull();
    expect(faults).toContain(fault);
    expect(faults.match(/^\S+:\d+:\d+: /gm)).toHaveLength(1);
    for (const secret of ['planted-secret', hash.slice(7, 40), 'BEGIN']) expect(inspect(faults)).not.toContain(secret);
  });
});
