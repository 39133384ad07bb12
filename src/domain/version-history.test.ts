import { describe, expect, it } from 'vitest';
import { aDecision } from '../../test/contract/journal-builders.ts';
import { anEpisode } from '../../test/support/an-episode.ts';
import { aLedgerEntry, noonMs } from '../../test/support/builders.ts';
import { historyOf, impactOf, type ModelRecords } from './version-history.ts';

const nothing: ModelRecords = { episodes: [], ledger: [], quarantine: [], decisions: [] };
const noLinks = (): Record<string, string> => ({});

describe('impactOf', () => {
  const evidence = { signal: 'error_ratio', value: 0.1, threshold: 0.05, requests: 6000, window: '1m', baseline: null, series: [] };

  it('counts what failed in the window, and as many per time until the switch', () => {
    const episode = anEpisode({ evidence, detectedAtMs: noonMs, switchedAtMs: noonMs + 30_000 });

    // 10 errors a second: 60 s before the detection and 30 s after it.
    expect(impactOf(episode)).toEqual({ durationMs: 30_000, failedRequests: 900 });
  });

  it.each([
    ['another signal', { signal: 'latency' }],
    ['no value', { value: null }],
    ['no count', { requests: null }],
    ['no window', { window: null }],
  ])('knows no number of requests from %s', (_what, changes) => {
    const episode = anEpisode({ evidence: { ...evidence, ...changes }, detectedAtMs: noonMs, switchedAtMs: noonMs + 4_000 });

    expect(impactOf(episode)).toEqual({ durationMs: 4_000, failedRequests: null });
  });

  it('is unknown where no switch was confirmed', () => {
    expect(impactOf(anEpisode({ switchedAtMs: null }))).toBeNull();
  });
});

describe('historyOf', () => {
  it('has every version of ledger, episodes and quarantine, newest first', () => {
    const quarantine = [{ model: 'fraud', version: '5', sinceMs: noonMs - 5000, untilMs: noonMs, reason: 'bad', by: 'cli' }];
    const ledger = [
      aLedgerEntry('9', { firstSeenMs: noonMs - 9000 }),
      aLedgerEntry('10', { firstSeenMs: noonMs - 9000 }),
      aLedgerEntry('2', { firstSeenMs: noonMs }),
    ];
    const episodes = [anEpisode({ from: '8', to: '9', detectedAtMs: noonMs - 100 })];

    const found = historyOf({ ...nothing, ledger, episodes, quarantine }, noLinks);

    expect(found.map(({ version }) => version)).toEqual(['2', '8', '5', '10', '9']);
    expect(found.find(({ version }) => version === '5')?.quarantine?.reason).toBe('bad');
  });

  it('gives each version its side of an episode, with the links of that side', () => {
    const links = { git_tag: 'https://git/v7', git_tag_to: 'https://git/v6', how_to: 'https://wiki/how', runbook: 'https://wiki' };
    const episode = anEpisode({ from: '7', to: '6', links });

    const [bad, good] = historyOf({ ...nothing, episodes: [episode] }, (version) => ({ changelog: `https://git/c${version}` }));

    expect(bad).toMatchObject({ version: '7', returns: [] });
    expect(bad?.departures.map((departure) => departure.episode.id)).toEqual([episode.id]);
    expect(bad?.links).toEqual({ changelog: 'https://git/c7', git_tag: 'https://git/v7', how_to: 'https://wiki/how', runbook: 'https://wiki' });
    expect(good).toMatchObject({ version: '6', departures: [], links: { changelog: 'https://git/c6', git_tag: 'https://git/v6' } });
    expect(good?.returns.map(({ id }) => id)).toEqual([episode.id]);
  });

  it('tells the last decision not to act, not those that led to an episode', () => {
    const decisions = [aDecision({ id: 'd3', version: '7', episode: 'rb_1' }), aDecision({ id: 'd2', version: '7' }), aDecision({ id: 'd1', version: '7' })];

    const [history] = historyOf({ ...nothing, ledger: [aLedgerEntry('7')], decisions }, noLinks);

    expect(history?.held?.id).toBe('d2');
  });
});
