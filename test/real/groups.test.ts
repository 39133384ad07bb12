import { describe, expect, it } from 'vitest';
import { describeDaemon, modelName, served, setStageFromFiles } from '../support/stage-files.ts';
import { until } from '../support/until.ts';

const follower = { name: 'ranker', source: 'metrics', control_plane: 'tfs', plane: { model: 'ranker' }, preset: 'tensorflow-serving', observe_interval: '1s' };

describe('two models of one server that go together', () => {
  it('go back in one list of the server, over a kill -9 while one waits for the other to load', { timeout: 90_000 }, async () => {
    await using stage = await setStageFromFiles({
      otherModels: ['ranker'],
      more: {
        models: [
          {
            ...follower,
            rollback: { mode: 'enforce', known_good: { versions: ['1'], backfill: '0s' }, converge_timeout: '20s', recovery: { within: '30s' }, stick: '2s' },
          },
        ],
      },
      top: { groups: [{ name: 'checkout', together: [modelName, 'ranker'] }] },
    });
    const [server] = stage.servers;
    await stage.repository.setBehaviour('ranker', 2, {});
    await until('version 2 of the follower to serve', async () => (await server!.client.restVersion('ranker')) === '2');
    await stage.repository.setBehaviour('ranker', 1, { load_ms: 2_500 });

    const first = await stage.startDaemon();
    const seen = async (): Promise<string> => await describeDaemon(first);
    const waiting = await until(
      'the leader to wait for the follower',
      async () => (await first.rollbacks()).find(({ model, detail }) => model === modelName && detail.includes('waiting for the others of group checkout')),
      { everyMs: 25, seen },
    );
    await first.kill();
    expect(await server!.client.restVersion(served)).toBe('2');

    const second = await stage.startDaemon();
    await until('both to end', async () => (await second.rollbacks()).every(({ finished_at }) => finished_at !== null), {
      withinMs: 45_000,
      seen: async () => await describeDaemon(second),
    });
    const ended = await second.rollbacks();
    expect(ended.map(({ model, state, from, to }) => `${model} ${state} ${from} ${to}`).toSorted()).toEqual([
      `${modelName} succeeded 2 1`,
      'ranker succeeded 2 1',
    ]);
    expect([await server!.client.restVersion(served), await server!.client.restVersion('ranker')]).toEqual(['1', '1']);
    const { stdout } = await stage.cli('describe', 'rollback', waiting.id, '--url', second.url);
    expect(stdout).toMatch(/^Group: +checkout, together: fraud-detector \(leads\), ranker rb_/m);
    expect(stdout).toMatch(/^Detail: +recovered and still in force.*\. group checkout: ranker \(rb_.*\) went to 1/m);
    await stage.readJournal(async (journal) => expect(await journal.verify()).toMatchObject({ ok: true }));
  });
});
