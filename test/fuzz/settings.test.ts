import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { JournalPool, readAddress } from '../../src/adapters/journal/postgres/pool.ts';
import { registries } from '../../src/cli/registries.ts';
import type * as Files from '../../src/config/files.ts';
import { loadConfig } from '../../src/config/load.ts';
import { loadWebConfig } from '../../src/config/web-config.ts';
import { JournalError } from '../../src/domain/ports.ts';
import { type Diagnostic, formatDiagnostics, hasErrors } from '../../src/rulefile/diagnostic.ts';
import { anyText, forAll, textOf } from '../support/fuzz.ts';
import { yamlPieces } from '../support/yaml-pieces.ts';

/** What stands in the file under test; set by each case. Other files are those on disk. */
let text = '';
vi.mock('../../src/config/files.ts', async (original) => {
  const files = await original<typeof Files>();
  return { ...files, readBytes: async (path: string) => (path.endsWith('/any.yaml') ? { path, bytes: Buffer.from(text) } : await files.readBytes(path)) };
});

const file = join(import.meta.dirname, '../config/any.yaml');

/** Where a fault is said to be lies in the text, or right behind it. */
function expectPlaces(diagnostics: readonly Diagnostic[]): void {
  formatDiagnostics(diagnostics);
  const rows = text.split('\n');
  for (const { file: of, line, column, endColumn } of diagnostics) {
    if (!of.endsWith('any.yaml')) continue;
    const row = rows[line - 1];
    if (row === undefined || column < 1 || column > row.length + 1 || endColumn <= column)
      throw new Error(`a fault at ${line}:${column} of ${JSON.stringify(text)}`);
  }
}

/** A good text with pieces put in, cut out and doubled. */
function changed(good: string, pieces: readonly string[]): fc.Arbitrary<string> {
  const change = fc.record({ at: fc.nat({ max: good.length }), cut: fc.nat({ max: 12 }), piece: fc.oneof(fc.constantFrom('', ...pieces), anyText) });
  return fc
    .array(change, { minLength: 1, maxLength: 3 })
    .map((changes) => changes.reduce((whole, { at, cut, piece }) => whole.slice(0, at) + piece + whole.slice(at + cut), good));
}

const yaml = [...yamlPieces, 'constructor: '];

describe('the file of the web configuration', () => {
  const planted = `$2b$10$${'plantedHash'.repeat(4)}plantedHa`;
  const lines = [
    'basic_auth_users:\n',
    `  ann: ${planted}\n`,
    `  __proto__: ${planted}\n`,
    `  constructor: ${planted}\n`,
    'roles:\n',
    '  ann: admin\n',
    '  __proto__: admin\n',
    '  bob: viewer\n',
  ];
  const good = `basic_auth_users:\n  ann: ${planted}\n  constructor: ${planted}\nroles:\n  ann: admin\n  constructor: operator\n`;

  it('is read whole', async () => {
    text = good;

    const { config } = await loadWebConfig(file);

    expect([...(config?.users ?? [])]).toEqual([
      ['ann', { hash: planted, role: 'admin' }],
      ['constructor', { hash: planted, role: 'operator' }],
    ]);
  });

  it('gives users that stand in it with roles that are given, or faults with their places and no hash', async () => {
    await forAll(
      fc.oneof(textOf(...lines, ...yaml, 'tls_server_config:\n', '  cert_file: none.pem\n', 'viewer'), changed(good, yaml)),
      2_000,
      async (given) => {
        text = given;
        const { config, diagnostics } = await loadWebConfig(file);

        expectPlaces(diagnostics);
        // Without its head nobody could tell that it is one.
        expect(formatDiagnostics(diagnostics)).not.toContain('$2b$10$planted');
        expect(config === null).toBe(hasErrors(diagnostics));
        for (const [name, { hash, role }] of config?.users ?? []) {
          if (!given.includes(hash) || !given.includes(name) || !['viewer', 'operator', 'admin'].includes(role)) throw new Error(`${name} is ${hash}, ${role}`);
          // Nobody is more than what the text says.
          if (role !== 'viewer' && !given.includes(role)) throw new Error(`${name} is ${role} in ${JSON.stringify(given)}`);
        }
      },
    );
  });
});

describe('the daemon’s file', () => {
  const good = readFileSync(join(import.meta.dirname, '../config/freeze-windows.good.yaml'), 'utf8');

  it('is taken whole, or refused with every fault in its place', async () => {
    text = good;
    expect((await loadConfig(file, registries, { env: {} })).config).not.toBeNull();

    await forAll(changed(good, yaml), 150, async (given) => {
      text = given;
      const { config, diagnostics } = await loadConfig(file, registries, { env: {} });

      expectPlaces(diagnostics);
      expect(config === null).toBe(hasErrors(diagnostics));
    });
  });
});

describe('the address of the journal', () => {
  const folder = mkdtempSync(join(tmpdir(), 'rollbackd-url-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const words = [
    'postgres://',
    'postgresql://',
    'http://',
    'rollbackd',
    ':',
    'pl4nted',
    '%70l4nted',
    '@',
    'db.example',
    '[::1]',
    ':5432',
    '/rollbackd',
    '?sslmode=',
    'disable',
    'no-verify',
    '&sslrootcert=/none',
    '&host=/run/pg',
    '%zz',
    '%',
    '#',
    '\n',
    ' ',
  ];
  const whole = fc
    .tuple(
      textOf('rollbackd', '%zz', '@', ':'),
      textOf('pl4nted', '%', '%zz', '#', '/', '?', '\\'),
      fc.constantFrom('', '/rollbackd', '/rollbackd?sslmode=disable', '/rollbackd?sslrootcert=/none', '/%zz'),
    )
    .map(([user, password, rest]) => `postgres://${user}:${password}pl4nted@db.example${rest}`);

  it('is one, or refused without what the file holds; a password is in no name', async () => {
    const path = join(folder, 'url');
    await forAll(fc.oneof(textOf(...words), whole), 2_000, async (given) => {
      writeFileSync(path, given);
      try {
        const address = await readAddress(path);
        const pool = new JournalPool({ address, max: 1, queryTimeoutMs: 100, applicationName: 'test' });
        await pool.end();

        const [afterScheme = ''] = given.trim().split('://').slice(1);
        // What stands behind the last @ of the authority is no secret.
        const isPlanted = /^[^/?#\\]*pl4nted[^/?#\\]*@/.test(afterScheme);
        expect(address.url.password).toBe('');
        if (isPlanted && !/@.*pl4nted/.test(afterScheme)) expect(address.name).not.toContain('pl4nted');
      } catch (error) {
        if (!(error instanceof JournalError)) throw error;
        expect(error.message).not.toContain('pl4nted');
      }
    });
  });
});
