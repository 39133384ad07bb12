import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { aPolicy } from '../../test/support/builders.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { FakePlane, type FakePlaneOptions } from '../../test/support/fake-plane.ts';
import { FakeSource } from '../../test/support/fake-source.ts';
import { onlyEpisode, passWithTraffic } from '../../test/support/followed-traffic.ts';
import { passingSmoke, type StageOptions, setStage } from '../../test/support/stage.ts';
import { openMemoryJournal } from '../adapters/journal/memory/open.ts';
import type { Episode } from '../domain/episode.ts';
import type { Journal, SmokeRunner } from '../domain/ports.ts';
import type { App } from './app.ts';

const minuteMs = 60_000;
const policy = aPolicy({ knownGood: { minAgeMs: 1, minRequests: 1, backfillMs: 0, versions: ['1'] }, convergeTimeoutMs: 2 * minuteMs });

describe('an episode', () => {
  let clock: FakeClock;
  let journal: Journal;
  let source: FakeSource;
  let plane: FakePlane;

  beforeEach(async () => {
    clock = new FakeClock();
    journal = await openMemoryJournal({ clock });
    source = new FakeSource();
    source.traffic.set('2', { requests: 100, errorRatio: 0.1 });
    plane = aPlane();
  });

  afterEach(async () => {
    await journal.close();
  });

  function aPlane(options: Partial<FakePlaneOptions> = {}): FakePlane {
    return new FakePlane({ clock, serving: '2', loadMs: 5_000, ...options });
  }

  async function start(options: Partial<StageOptions> = {}): Promise<{ app: App; finished: Episode[] }> {
    const { app, teller } = await setStage({ clock, journal, plane, source, model: { rollback: policy }, ...options });
    app.start();
    return { app, finished: teller.finished };
  }

  const pass = async (durationMs: number, healthy?: ReadonlySet<string>): Promise<void> => await passWithTraffic({ clock, plane, source }, durationMs, healthy);

  const only = async (): Promise<Episode> => await onlyEpisode(journal);

  it('takes a step back that left nothing serving at all', async () => {
    let isDown = false;
    plane.beforeApply = (step, inverse) => {
      if (step.phase !== 'switch' && !inverse) return undefined;
      isDown = !inverse;
      return inverse ? undefined : { kind: 'rejected', class: 'target_will_not_load', detail: 'no server has room' };
    };
    const observe = plane.observe.bind(plane);
    plane.observe = async (target, options) => {
      const observation = await observe(target, options);
      return isDown ? { ...observation, serving: [], endpoints: observation.endpoints.map((endpoint) => ({ ...endpoint, serving: [] })) } : observation;
    };
    const { app } = await start();

    await pass(2 * minuteMs);

    expect(await only()).toMatchObject({
      state: 'failed',
      outcome: 'failure',
      detail: expect.stringMatching(/no server has room. Nothing moved: 2 still serves/) as string,
    });
    expect(isDown).toBe(false);
    await app.stop(0);
  });

  it('rolls back, recovers, sticks and succeeds', async () => {
    const { app, finished } = await start();

    await pass(6 * minuteMs);

    const episode = await only();
    expect(episode).toMatchObject({ state: 'succeeded', outcome: 'success', from: '2', to: '1', mode: 'enforce', trigger: 'rule', rule: 'ErrorsHigh' });
    expect(episode.reason).toMatch(/^error ratio 10% \(\d+ of \d+\) > 5%/);
    expect(episode.steps.map((step) => [step.name, step.state])).toEqual([
      ['stage 1 on a', 'done'],
      ['stage 1 on b', 'done'],
      ['switch 1 on a', 'done'],
      ['switch 1 on b', 'done'],
    ]);
    expect(plane.switches).toEqual(['a: 2 -> 1', 'b: 2 -> 1']);
    expect(episode.smokeTests).toEqual([]);
    expect(finished).toHaveLength(1);
    expect(await journal.quarantine()).toMatchObject([{ version: '2', by: 'rollbackd' }]);
    expect((await journal.decisions({})).map((decision) => [decision.decision, decision.reason])).toEqual([['rollback', 'go']]);
    expect(await journal.verify()).toMatchObject({ ok: true });
    await app.stop(0);
  });

  it('tests the staged version before traffic moves, and the serving one after', async () => {
    const when: string[] = [];
    const smoke: SmokeRunner = {
      run: async (_test, context) => [
        { name: `asked while ${plane.serving().join()} serve`, outcome: 'passed', durationMs: when.push(context.to), detail: '' },
      ],
    };
    const { app } = await start({ smoke, model: { rollback: policy, smokeTest: { timeoutMs: 1, retries: 0, onFailure: 'stop', requests: [] } } });

    await pass(minuteMs);

    expect((await only()).smokeTests.map((result) => [result.when, result.name])).toEqual([
      ['staged', 'asked while 2,2 serve'],
      ['serving', 'asked while 1,1 serve'],
    ]);
    await app.stop(0);
  });

  it('moves nothing when the staged version fails its smoke test', async () => {
    const smoke: SmokeRunner = { run: async () => [{ name: 'one transaction', outcome: 'failed', durationMs: 5, detail: 'status 500, expected 200' }] };
    const { app } = await start({ smoke, model: { rollback: policy, smokeTest: { timeoutMs: 1, retries: 0, onFailure: 'stop', requests: [] } } });

    await pass(minuteMs);

    const episode = await only();
    expect(episode).toMatchObject({ state: 'failed', outcome: 'failure', switchedAtMs: null });
    expect(episode.detail).toBe(
      'the smoke test failed on the staged version 1: one transaction: status 500, expected 200. Nothing moved: 2 still serves. Look why 1 does not come up, or roll back to another version by hand',
    );
    expect(plane.switches).toEqual([]);
    expect(plane.applied).toEqual(['stage 1 on a', 'stage 1 on b', 'undo stage 1 on b', 'undo stage 1 on a']);
    expect(await journal.quarantine()).toEqual([]);
    await app.stop(0);
  });

  it('takes the next target when the policy says so', async () => {
    plane = aPlane({ broken: { '1': 'no such file' } });
    const next = { ...policy, knownGood: { ...policy.knownGood, versions: ['1', '0'] } };
    const { app } = await start({
      smoke: passingSmoke,
      model: {
        rollback: next,
        smokeTest: { timeoutMs: 1, retries: 0, onFailure: 'next_target', requests: [] },
        links: { git_tag: 'https://git.example.org/v{{ $version }}', runbook: 'https://runbooks.example.org/fraud' },
      },
    });

    await pass(6 * minuteMs, new Set(['0']));

    const episode = await only();
    expect(episode).toMatchObject({ state: 'succeeded', to: '0', triedTargets: ['1'] });
    expect(episode.refusedTargets).toEqual([{ version: '1', reason: 'stage 1 on a: no such file' }]);
    expect(episode.links).toEqual({
      git_tag: 'https://git.example.org/v2',
      git_tag_to: 'https://git.example.org/v0',
      runbook: 'https://runbooks.example.org/fraud',
    });
    expect(plane.switches).toEqual(['a: 2 -> 0', 'b: 2 -> 0']);
    await app.stop(0);
  });

  it('leaves what serves alone when the target will not load', async () => {
    plane = aPlane({ broken: { '1': 'no such file' } });
    const { app } = await start();

    await pass(minuteMs);

    expect(await only()).toMatchObject({
      state: 'failed',
      outcome: 'failure',
      detail: 'stage 1 on a: no such file. Nothing moved: 2 still serves. Look why 1 does not come up, or roll back to another version by hand',
    });
    expect(plane.serving()).toEqual(['2', '2']);
    await app.stop(0);
  });

  it('does nothing in a dry run but record, once a breach', async () => {
    const { app } = await start({ model: { rollback: { ...policy, mode: 'dry_run' } } });

    await pass(2 * minuteMs);

    expect(await only()).toMatchObject({
      state: 'recorded',
      outcome: null,
      mode: 'dry_run',
      detail: 'dry run: would have rolled back 2 to 1 (vouched for in known_good.versions)',
    });
    expect(plane.applied).toEqual([]);
    await app.stop(0);
  });

  it('lets --dry-run beat every mode: enforce', async () => {
    const { app } = await start({ forceDryRun: true });

    await pass(minuteMs);

    expect((await only()).state).toBe('recorded');
    expect(plane.applied).toEqual([]);
    await app.stop(0);
  });

  it('holds when every version with traffic fails alike', async () => {
    const { app } = await start();
    source.traffic.set('1', { requests: 100, errorRatio: 0.1 });

    await clock.advance(minuteMs);

    expect(await journal.episodes({})).toEqual([]);
    expect(await journal.decisions({})).toMatchObject([{ decision: 'notify' }, { decision: 'hold', reason: 'breach_everywhere' }]);
    await app.stop(0);
  });

  it.each([
    ['the source fails', (): void => void (source.failure = 'prometheus answered 503')],
    ['there is no traffic', (): void => void source.traffic.clear()],
    ['traffic is below min_requests', (): void => void source.traffic.set('2', { requests: 1, errorRatio: 1 })],
    ['the plane cannot be observed', (): void => void (plane.unreachable = 'connection refused')],
    ['the plane is not safe to change', (): void => void (plane.refusals = ['the list is not what the server serves'])],
  ])('does nothing when %s', async (_name, spoil) => {
    spoil();
    const { app } = await start();

    await clock.advance(3 * minuteMs);

    expect(await journal.episodes({})).toEqual([]);
    expect(plane.applied).toEqual([]);
    await app.stop(0);
  });

  it('stands down, touching nothing, when someone else switches while it stages', async () => {
    const { app } = await start();
    await clock.advance(2_500);

    plane.switchBehindTheBack('3');
    await pass(minuteMs);

    const episode = await only();
    expect(episode).toMatchObject({ state: 'aborted', outcome: 'failure' });
    expect(episode.detail).toContain('stopped (version_changed): version 3 serves now, not 2');
    expect(plane.switches).toEqual([]);
    expect(plane.serving()).toEqual(['3', '3']);
    await app.stop(0);
  });

  it('corrects a switch that was taken back once, then reports it', async () => {
    const { app } = await start();
    await pass(30_000);
    expect((await only()).state).toBe('watching');

    plane.switchBehindTheBack('2');
    await pass(30_000);
    expect(plane.serving()).toEqual(['1', '1']);
    expect(await only()).toMatchObject({ state: 'watching', corrected: true });

    plane.switchBehindTheBack('2');
    await pass(30_000);
    const episode = await only();
    expect(episode).toMatchObject({ state: 'failed', outcome: 'failure' });
    expect(episode.detail).toContain('the switch was taken back by somebody else: a serves 2, b serves 2. Not fought');
    await app.stop(0);
  });

  it('fails, and never puts the bad version back, when the numbers do not recover', async () => {
    const { app } = await start();

    await pass(8 * minuteMs, new Set());

    const [episode] = await journal.episodes({});
    expect(episode).toMatchObject({ state: 'failed', outcome: 'failure' });
    expect(episode?.detail).toContain('1 serves, but the numbers did not recover within 5m: ErrorsHigh: error ratio 10%');
    expect(plane.serving()).toEqual(['1', '1']);
    await app.stop(0);
  });

  it('ends unknown when nobody can tell whether it helped', async () => {
    const { app } = await start();
    while (plane.switches.length < 2) await clock.advance(250);

    source.failure = 'prometheus answered 503';
    await clock.advance(6 * minuteMs);

    expect(await only()).toMatchObject({
      state: 'failed',
      outcome: 'unknown',
      detail: expect.stringContaining('whether it helped is not known after 5m: ErrorsHigh: prometheus answered 503') as string,
    });
    await app.stop(0);
  });

  it('waits for approval and lets it expire', async () => {
    const { app } = await start({ model: { rollback: { ...policy, requireApproval: 'always' } } });

    await clock.advance(29 * minuteMs);
    expect((await only()).state).toBe('pending_approval');
    await clock.advance(2 * minuteMs);

    const [expired] = (await journal.episodes({})).toReversed();
    expect(expired).toMatchObject({ state: 'rejected', outcome: 'failure', detail: 'nobody approved it within 30m' });
    expect(plane.applied).toEqual([]);
    await app.stop(0);
  });

  it('repeats nothing blind after an answer that may have been carried out', async () => {
    let lost = 1;
    plane.afterApply = () => (lost-- > 0 ? { kind: 'indeterminate', detail: 'connection lost after send', class: 'indeterminate' } : undefined);
    const { app } = await start();

    await pass(6 * minuteMs);

    expect(await only()).toMatchObject({ state: 'succeeded' });
    expect(plane.switches).toEqual(['a: 2 -> 1', 'b: 2 -> 1']);
    await app.stop(0);
  });

  it('obeys a pause before the next mutation and takes the staging back', async () => {
    const { app } = await start();
    await clock.advance(2_500);

    await app.memory.append([{ type: 'paused', pause: { model: null, sinceMs: clock.nowMs(), untilMs: null, reason: 'incident', by: 'ada' } }]);
    await pass(minuteMs);

    expect(await only()).toMatchObject({
      state: 'aborted',
      detail: expect.stringContaining('stopped (paused): all models are paused until resumed by ada: incident. Nothing moved: 2 still serves') as string,
    });
    expect(plane.serving()).toEqual(['2', '2']);
    await app.stop(0);
  });

  it('keeps the cooldown after an episode', async () => {
    const { app } = await start();
    await pass(6 * minuteMs);

    plane.switchBehindTheBack('2');
    await pass(2 * minuteMs);

    expect(await journal.episodes({})).toHaveLength(1);
    expect((await journal.decisions({}))[0]).toMatchObject({ decision: 'hold', reason: 'cooldown' });
    await app.stop(0);
  });
});
