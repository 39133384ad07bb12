import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { aPolicy, aSignature } from '../../test/support/builders.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { FakePlane } from '../../test/support/fake-plane.ts';
import { FakeSource } from '../../test/support/fake-source.ts';
import { onlyEpisode, passWithTraffic } from '../../test/support/followed-traffic.ts';
import { type StageOptions, setStage } from '../../test/support/stage.ts';
import { openMemoryJournal } from '../adapters/journal/memory/open.ts';
import type { Episode } from '../domain/episode.ts';
import type { Journal, SmokeRunner } from '../domain/ports.ts';
import type { App } from './app.ts';

const minuteMs = 60_000;
const policy = aPolicy({ knownGood: { minAgeMs: 1, minRequests: 1, backfillMs: 0, versions: ['1'] }, convergeTimeoutMs: 2 * minuteMs });

describe('an episode whose target takes other requests', () => {
  let clock: FakeClock;
  let journal: Journal;
  let source: FakeSource;
  let plane: FakePlane;

  beforeEach(async () => {
    clock = new FakeClock();
    journal = await openMemoryJournal({ clock });
    source = new FakeSource();
    source.traffic.set('2', { requests: 100, errorRatio: 0.1 });
    plane = new FakePlane({ clock, serving: '2', loadMs: 5_000 });
    plane.signatureOf.set('2', aSignature(14)).set('1', aSignature(12)).set('0', aSignature(14));
  });

  afterEach(async () => {
    await journal.close();
  });

  async function start(options: Partial<StageOptions> = {}): Promise<{ app: App }> {
    const { app } = await setStage({ clock, journal, plane, source, model: { rollback: policy }, ...options });
    app.start();
    return { app };
  }

  const pass = async (durationMs: number, healthy?: ReadonlySet<string>): Promise<void> => await passWithTraffic({ clock, plane, source }, durationMs, healthy);

  const only = async (): Promise<Episode> => await onlyEpisode(journal);

  async function told(): Promise<readonly string[]> {
    return (await journal.events(0, 1_000)).flatMap(({ event }) => (event.type === 'episode_state' ? [event.detail] : []));
  }

  const words = 'version 1 cannot take the requests that 2 takes: serving_default: input rows is DT_FLOAT [?, 14] in 2, DT_FLOAT [?, 12] in 1';

  it('takes the staging back and moves nothing', async () => {
    const { app } = await start();

    await pass(minuteMs);

    expect(await only()).toMatchObject({
      state: 'failed',
      outcome: 'failure',
      switchedAtMs: null,
      detail: `incompatible_target: ${words}. Nothing moved: 2 still serves. Roll back to a version that takes them, or set rollback.allow_incompatible where the callers can change with it`,
    });
    expect(plane.applied).toEqual(['stage 1 on a', 'stage 1 on b', 'undo stage 1 on b', 'undo stage 1 on a']);
    await app.stop(0);
  });

  it('sends no smoke test to it', async () => {
    const tested: string[] = [];
    const smoke: SmokeRunner = { run: async (_test, { to }) => [{ name: 'one', outcome: 'passed', durationMs: tested.push(to), detail: '' }] };
    const { app } = await start({ smoke, model: { rollback: policy, smokeTest: { timeoutMs: 1, retries: 0, onFailure: 'stop', requests: [] } } });

    await pass(minuteMs);

    expect(tested).toEqual([]);
    await app.stop(0);
  });

  it('takes the next target when the policy says so', async () => {
    const next = { ...policy, knownGood: { ...policy.knownGood, versions: ['1', '0'] } };
    const { app } = await start({ model: { rollback: next, smokeTest: { timeoutMs: 1, retries: 0, onFailure: 'next_target', requests: [] } } });

    await pass(6 * minuteMs, new Set(['0']));

    expect(await only()).toMatchObject({
      state: 'succeeded',
      to: '0',
      triedTargets: ['1'],
      refusedTargets: [{ version: '1', reason: `incompatible_target: ${words}` }],
    });
    await app.stop(0);
  });

  it('goes there all the same with allow_incompatible, and says what differs', async () => {
    const { app } = await start({ model: { rollback: { ...policy, allowIncompatible: true } } });

    await pass(6 * minuteMs);

    expect(await only()).toMatchObject({ state: 'succeeded', to: '1' });
    expect(await told()).toContain(`version 1 is loaded and tested, traffic may move; ${words} (allow_incompatible)`);
    await app.stop(0);
  });

  it('holds before anything is touched where the target is loaded already, and says so once', async () => {
    plane.loadBehindTheBack('1');
    const { app } = await start();

    await pass(minuteMs);

    expect(await journal.episodes({})).toEqual([]);
    expect((await journal.decisions({})).map(({ decision, reason, detail }) => [decision, reason, detail])).toEqual([['hold', 'incompatible_target', words]]);
    expect(plane.applied).toEqual([]);
    await app.stop(0);
  });

  it('chooses the next one at once where it knows so much before', async () => {
    plane.loadBehindTheBack('1');
    const next = { ...policy, knownGood: { ...policy.knownGood, versions: ['1', '0'] } };
    const { app } = await start({ model: { rollback: next, smokeTest: { timeoutMs: 1, retries: 0, onFailure: 'next_target', requests: [] } } });

    await pass(6 * minuteMs, new Set(['0']));

    const episode = await only();
    expect(episode).toMatchObject({ state: 'succeeded', to: '0', triedTargets: [] });
    expect(episode.refusedTargets).toEqual([
      { version: '1', reason: "it cannot take today's requests: serving_default: input rows is DT_FLOAT [?, 14] in 2, DT_FLOAT [?, 12] in 1" },
    ]);
    await app.stop(0);
  });

  it('goes on when the signatures cannot be read, and says so', async () => {
    plane.unsigned = 'a: GetModelMetadata answered INTERNAL';
    const { app } = await start();

    await pass(6 * minuteMs);

    expect(await only()).toMatchObject({ state: 'succeeded', to: '1' });
    expect(await told()).toContainEqual(expect.stringContaining('the signatures could not be compared: a: GetModelMetadata answered INTERNAL'));
    await app.stop(0);
  });

  it('tells answers that differ, and goes on', async () => {
    const { signatures, ...rest } = aSignature(14);
    const scores = { type: 'DT_FLOAT', shape: [-1, 1] };
    plane.signatureOf.set('1', { ...rest, signatures: { serving_default: { inputs: signatures['serving_default']?.inputs ?? {}, outputs: { scores } } } });
    const { app } = await start();

    await pass(6 * minuteMs);

    expect(await only()).toMatchObject({ state: 'succeeded', to: '1' });
    expect(await told()).toContainEqual(
      expect.stringContaining('its answers differ: serving_default: output scores is DT_FLOAT [?, 2] in 2, DT_FLOAT [?, 1] in 1'),
    );
    await app.stop(0);
  });
});
