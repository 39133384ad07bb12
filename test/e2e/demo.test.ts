import { tmpdir } from 'node:os';
import { expect, it } from 'vitest';
import type { EpisodeView } from '../../src/domain/episode-view.ts';
import { runCli } from '../support/daemon-process.ts';

/** On a machine with time for it it takes 7 s; the promise is 30. */
const promisedS = 30;

it('the demo shows a rollback from end to end, and prints the episode', { timeout: 120_000 }, async () => {
  const { code, stdout, stderr } = await runCli(['demo', '--once', '-o', 'json'], tmpdir());

  expect(code, stderr).toBe(0);
  const episode = JSON.parse(stdout) as EpisodeView;
  expect(episode).toMatchObject({ model: 'fraud-detector', from: '2', to: '1', trigger: 'rule', state: 'succeeded', outcome: 'success' });
  expect(episode.smoke_tests.map(({ outcome }) => outcome)).toEqual(['passed', 'passed']);
  const confirmed = /from fault to rollback confirmed: (\d+\.\d) s/.exec(stderr)?.[1];
  expect(Number(confirmed)).toBeGreaterThan(0);
  expect(Number(confirmed)).toBeLessThan(promisedS);
  expect(stderr).toMatch(/Slack was told: rollback success: fraud-detector 2 -> 1/);
});
