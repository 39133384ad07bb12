import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hash } from 'bcryptjs';
import { expect, it } from 'vitest';
import { runCli, startDaemonProcess } from '../support/daemon-process.ts';
import { makeTestCertificate } from '../support/tensorflow-serving/test-certificates.ts';

const password = 'planted-passw0rd';

it('a daemon with TLS and users lets in who signs in, lets do what the role allows, and tells nobody the password', { timeout: 60_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'rollbackd-web-config-'));
  const at = (name: string): string => join(folder, name);
  const authority = { ...makeTestCertificate('authority'), commonName: 'authority' };
  const { cert, key } = makeTestCertificate('rollbackd', authority);
  const files = {
    'rollbackd.yaml': '{}',
    'ca.crt': authority.cert,
    'tls.crt': cert,
    'tls.key': key,
    password,
    wrong: 'guess',
    'web.yaml': `tls_server_config: {cert_file: tls.crt, key_file: tls.key}\nbasic_auth_users:\n  ann: ${await hash(password, 4)}\n  eve: ${await hash(password, 4)}\nroles: {ann: operator}\n`,
  };
  for (const [name, text] of Object.entries(files)) await writeFile(at(name), text);
  const daemon = await startDaemonProcess({ configFile: at('rollbackd.yaml'), model: '', cwd: folder, args: ['--web.config.file', at('web.yaml')] });
  const signedIn = (user: string, file = 'password'): string[] => [
    '--url',
    daemon.url,
    '--web.user',
    user,
    '--web.password-file',
    at(file),
    '--web.ca-file',
    at('ca.crt'),
  ];
  const ask = async (...args: string[]) => await runCli(args, folder);
  try {
    expect(daemon.url).toMatch(/^https:/);
    expect(await ask('get', 'models', ...signedIn('eve'))).toMatchObject({ code: 0, stdout: 'No models found.\n' });
    expect(await ask('get', 'models', ...signedIn('eve', 'wrong'))).toMatchObject({ code: 1, stderr: 'rollbackd: wrong user name or password\n' });
    expect(await ask('get', 'models', '--url', daemon.url)).toMatchObject({ code: 1, stderr: expect.stringMatching(/certificate|authority/) });
    expect(await ask('pause', '--all', '--reason', 'night', ...signedIn('eve'))).toMatchObject({ code: 1, stderr: expect.stringContaining('needs the role') });
    expect(await ask('pause', '--all', '--reason', 'night', ...signedIn('ann'))).toMatchObject({ code: 0 });
  } finally {
    await daemon.stop();
    await rm(folder, { recursive: true, force: true });
  }
  expect(daemon.process.stdout() + daemon.process.stderr()).not.toContain(password);
});
