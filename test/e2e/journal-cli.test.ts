import { copyFile, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openJournal } from '../../src/adapters/journal/index.ts';
import { aDecision, startMs } from '../contract/journal-builders.ts';
import { runCli, startDaemonProcess } from '../support/daemon-process.ts';
import { FakeClock } from '../support/fake-clock.ts';

let folder: string;
const at = (name: string): string => join(folder, name);

async function aJournal(name: string, tampering = ''): Promise<string> {
  const journal = await openJournal({ path: at(name), clock: new FakeClock(startMs) });
  for (let index = 0; index < 4; index += 1) await journal.append([{ type: 'decision', decision: aDecision({ id: `d${index}` }) }]);
  await journal.close();
  const database = new DatabaseSync(at(name));
  database.exec(tampering);
  database.close();
  return at(name);
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'rollbackd-journal-cli-'));
});
afterAll(async () => await rm(folder, { recursive: true, force: true }));

it('run refuses a damaged journal, leaves it as it is and names the backup; with that in its place it runs', { timeout: 60_000 }, async () => {
  const own = await mkdtemp(join(folder, 'run-'));
  const file = await aJournal(join(own.slice(folder.length + 1), 'rollbackd.db'));
  await copyFile(file, join(own, 'backup.db'));
  await writeFile(file, (await readFile(file)).fill(0, 8_192, 12_288));
  const damaged = await readFile(file);
  await writeFile(join(own, 'rollbackd.yaml'), 'journal: {sqlite: {path: rollbackd.db}}\n');
  const configFile = join(own, 'rollbackd.yaml');

  const { code, stderr } = await runCli(['run', '--config.file', configFile, '--web.listen-address', '127.0.0.1:0'], own);

  expect(code).toBe(1);
  expect(stderr).toContain(`rollbackd: journal ${file}: `);
  expect(stderr).toContain(`found a backup, ${join(own, 'backup.db')} of `);
  expect(await readFile(file)).toEqual(damaged);

  await rename(file, `${file}.damaged`);
  await copyFile(join(own, 'backup.db'), file);
  const daemon = await startDaemonProcess({ configFile, model: 'none', cwd: own });
  expect(await daemon.api('status')).toMatchObject({ journal: { kind: 'sqlite', up: true, error: null }, config: { last_reload_successful: true } });
  expect((await daemon.metrics()).value('rollbackd_journal_up', {})).toBe(1);
  await daemon.stop();
});

describe.concurrent('rollbackd journal', { timeout: 60_000 }, () => {
  it('verify finds the journal by the settings, and says that its chain is whole', async () => {
    const file = await aJournal('whole.db');
    await writeFile(at('rollbackd.yaml'), 'journal: {sqlite: {path: whole.db}}\n');

    expect(await runCli(['journal', 'verify', '--config.file', at('rollbackd.yaml')], folder)).toEqual({
      code: 0,
      stdout: `journal ${file}: 4 events, the chain is whole\n`,
      stderr: '',
    });
  });

  it.each([['a changed row', `update events set payload = replace(payload, 'cooldown', 'go') where seq = 2`, 'event 2: its content does not fit its hash']])(
    'verify ends with 1 and the place of %s',
    async (what, tampering, words) => {
      const file = await aJournal(`${what.replaceAll(' ', '-')}.db`, tampering);

      const { code, stdout, stderr } = await runCli(['journal', 'verify', '--file', file, '-o', 'json'], folder);

      expect(code).toBe(1);
      expect(stderr).toContain(words);
      expect(JSON.parse(stdout)).toMatchObject({ ok: false, journal: file });
    },
  );

  it('export gives a line of JSON per event; backup a copy that verifies', async () => {
    const file = await aJournal('source.db');

    const exported = await runCli(['journal', 'export', '--file', file], folder);
    expect(exported.code).toBe(0);
    expect(
      exported.stdout
        .trimEnd()
        .split('\n')
        .map((line) => (JSON.parse(line) as { seq: number }).seq),
    ).toEqual([1, 2, 3, 4]);
    expect(await runCli(['journal', 'backup', at('copy.db'), '--file', file], folder)).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/copy\.db: 4 events, verified, \d+ bytes\n$/) as string,
    });
  });
});
