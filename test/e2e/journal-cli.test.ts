import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openJournal } from '../../src/adapters/journal/index.ts';
import { aDecision, startMs } from '../contract/journal-builders.ts';
import { runCli } from '../support/daemon-process.ts';
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
