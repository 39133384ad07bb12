import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { aDecision } from '../../test/contract/journal-builders.ts';
import { anEpisode } from '../../test/support/an-episode.ts';
import { aLedgerEntry, noonMs } from '../../test/support/builders.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { openJournal } from '../adapters/journal/index.ts';
import type { Episode } from '../domain/episode.ts';
import type { JournalEvent } from '../domain/event.ts';
import { runProgram } from './program.ts';

let folder: string;
let file: string;
let written: { out: string; err: string };

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'rollbackd-changelog-'));
  file = path.join(folder, 'rollbackd.db');
  written = { out: '', err: '' };
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => (written.out += String(text)) !== '');
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => (written.err += String(text)) !== '');
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true, force: true });
});

/** An episode is journalled open; the end of this one is told by a second event. */
function ended(episode: Episode): JournalEvent[] {
  const { state, detail, switchedAtMs, finishedAtMs } = episode;
  return [
    { type: 'episode_opened', episode: { ...episode, state: 'planned', outcome: null, detail: '', switchedAtMs: null, finishedAtMs: null } },
    { type: 'episode_state', episodeId: episode.id, atMs: finishedAtMs ?? 0, state, detail, changes: { switchedAtMs } },
  ];
}

async function journalled(events: readonly JournalEvent[]): Promise<void> {
  const journal = await openJournal({ path: file, clock: new FakeClock(noonMs) });
  await journal.append(events);
  await journal.close();
}

const run = async (...flags: string[]): Promise<number> => await runProgram(['node', 'rollbackd', 'changelog', ...flags, '--file', file]);

const model = 'fraud-detector';
const episode = anEpisode({ links: { git_tag: 'https://git.example.org/fraud/tags/v7', git_tag_to: 'https://git.example.org/fraud/tags/v6' } });
const hourMs = 3_600_000;

describe('rollbackd changelog', () => {
  it('writes a section per version, newest first', async () => {
    const bad = aLedgerEntry('7', {
      model,
      firstSeenMs: noonMs - hourMs,
      lastServedMs: noonMs,
      servingSinceMs: null,
      healthyMs: 0,
      healthyRequests: 0,
      lastBreachMs: noonMs,
    });
    const good = aLedgerEntry('6', {
      model,
      firstSeenMs: noonMs - 48 * hourMs,
      servingSinceMs: noonMs,
      lastServedMs: noonMs + hourMs,
      healthyMs: 47 * hourMs,
      healthyRequests: 90_000.4,
    });
    const quarantined = { model, version: '7', sinceMs: noonMs, untilMs: noonMs + 168 * hourMs, reason: 'rolled back', by: 'rollbackd' };
    const other = aLedgerEntry('1', { model: 'another' });
    await journalled([...ended(episode), { type: 'ledger', entries: [bad, good, other] }, { type: 'quarantined', entry: quarantined }]);

    expect(await run(model)).toBe(0);

    expect(written.out).toMatchInlineSnapshot(`
      "# Changelog of fraud-detector

      Every version that rollbackd's journal knows, newest first. Times are in UTC.

      ## 7

      * Served: first seen 2026-11-22T11:00:00.000Z, last served 2026-11-22T12:00:00.000Z.
      * In good health: 0s on about 0 requests; last breach 2026-11-22T12:00:00.000Z, health before that does not count.
      * **Rolled back** to 6, switched 2026-11-22T12:00:04.000Z (by rule ModelErrorRatioHigh): \`error ratio 10.2% (588 of 5771) > 5% for 1m12s, for: 1m\`.
        * Impact: about 628 failed requests, an estimate: 10.2% of 5771 requests in 1m, and at that rate until the switch; 4s from detection to the switch.
        * Episode \`rb_01JDEXAMPLE\`, detected 2026-11-22T12:00:00.000Z, success: \`version 6 serves alone and is healthy\`.
      * No target of a rollback until 2026-11-29T12:00:00.000Z: \`rolled back\`.
      * Links: [\`git_tag\`](<https://git.example.org/fraud/tags/v7>)

      ## 6

      * Serves since 2026-11-22T12:00:00.000Z; first seen 2026-11-20T12:00:00.000Z, last seen serving 2026-11-22T13:00:00.000Z.
      * In good health: 1d23h on about 90000 requests.
      * Not rolled back.
      * Restored 2026-11-22T12:00:04.000Z in place of 7 (\`rb_01JDEXAMPLE\`).
      * Links: [\`git_tag\`](<https://git.example.org/fraud/tags/v6>)
      "
    `);
  });

  it('gives the same as JSON', async () => {
    await journalled([...ended(episode), { type: 'decision', decision: aDecision({ model, version: '6', detail: '20m of 30m' }) }]);

    expect(await run(model, '-o', 'json')).toBe(0);

    const { versions } = JSON.parse(written.out);
    expect(versions).toMatchObject([
      // 10.2% of 5771 in 1m, and 4s more of it.
      {
        version: '7',
        first_seen: null,
        rollbacks: [{ impact: { duration_ms: 4000, failed_requests_estimate: 628 }, episode: { id: episode.id, to: '6' } }],
        restored_by: [],
      },
      {
        version: '6',
        rollbacks: [],
        restored_by: [episode.id],
        held: { reason: 'cooldown', detail: '20m of 30m' },
        links: { git_tag: 'https://git.example.org/fraud/tags/v6' },
      },
    ]);
  });

  it('says of a dry run and of a rollback without a switch that nothing was rolled back', async () => {
    const dryRun = anEpisode({ id: 'rb_dry', mode: 'dry_run', state: 'recorded', outcome: null, switchedAtMs: null });
    const failed = anEpisode({ id: 'rb_failed', from: '9', state: 'failed', switchedAtMs: null, detail: 'no such file' });
    await journalled([{ type: 'episode_opened', episode: dryRun }, ...ended(failed)]);

    expect(await run(model)).toBe(0);

    expect(written.out).toContain('* Not rolled back, dry run: would have gone to 6 (by rule ModelErrorRatioHigh)');
    expect(written.out).toContain('* **Not rolled back** to 6, failed, no switch was confirmed (by rule ModelErrorRatioHigh)');
    expect(written.out).not.toContain('Impact');
    // Neither brought 6 back.
    expect(written.out).not.toContain('Restored');
  });

  it('lets no text from outside be Markdown or HTML', async () => {
    const evil = 'x`` ](https://evil.example)\n\n# Owned <img src=x onerror=alert(1)> ![a](b) | **b** www.evil.example \u202e';
    const links = {
      good: 'https://git.example.org/a`b>c?x=1&lt=2',
      [evil]: 'https://git.example.org/',
      bad: 'javascript:alert(1)',
      secret: 'https://user:pass@git.example.org/',
    };
    const changes = { id: evil, from: evil, to: `${evil}6`, rule: evil, reason: evil, detail: evil, links };
    await journalled([...ended(anEpisode(changes)), { type: 'quarantined', entry: { model, version: evil, sinceMs: 0, untilMs: 1, reason: evil, by: evil } }]);

    expect(await run(model)).toBe(0);

    expect(written.out).toContain('Owned');
    expect(written.out).not.toMatch(/javascript|user:pass|\u202e/);
    // Code spans as CommonMark reads them: closed by a run of backticks of the same length.
    const bare = written.out.replaceAll(/(?<!`)(`+)(?!`)[^\n]*?(?<!`)\1(?!`)/g, 'CODE');
    expect(bare).not.toMatch(/Owned|evil|`/);
    expect(bare.match(/^#.*$/gm)).toEqual(['# Changelog of fraud-detector', '## CODE', '## CODE']);
    expect(bare).toContain('* Links: CODE, [CODE](<https://git.example.org/a%60b%3Ec?x=1&amp;lt=2>), CODE, [CODE](<https://git.example.org/>)\n');
  });

  it('says which models there are when it has nothing on this one', async () => {
    await journalled([{ type: 'ledger', entries: [aLedgerEntry('7', { model })] }]);

    expect(await run('frod')).toBe(1);

    expect(written.err).toContain('has no version of model "frod"; it has those of fraud-detector');
    expect(written.out).toBe('');
  });
});
