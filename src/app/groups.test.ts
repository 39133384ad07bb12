import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { silentLog, stopAll } from '../../test/support/stage.ts';
import { StormStage } from '../../test/support/storm-stage.ts';
import { openMemoryJournal } from '../adapters/journal/memory/open.ts';
import { defaultLimits } from '../domain/limits.ts';
import type { ModelGroup } from '../domain/model-group.ts';
import type { Journal } from '../domain/ports.ts';
import { Metrics } from '../telemetry/metrics.ts';
import { AppActions } from './actions.ts';
import type { App } from './app.ts';

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;

let clock: FakeClock;
let journal: Journal;
let apps: App[];
let actions: AppActions;

beforeEach(async () => {
  clock = new FakeClock();
  journal = await openMemoryJournal({ clock });
  apps = [];
});

afterEach(async () => {
  await stopAll(apps);
  await journal.close();
});

function aStage(models: readonly string[]): StormStage {
  return new StormStage({ clock, journal, names: models });
}

function aGroup(kind: ModelGroup['kind'], models: readonly string[], changes: Partial<ModelGroup> = {}): readonly ModelGroup[] {
  return [{ name: 'checkout', kind, models, releasedWithinMs: hourMs, ...changes }];
}

async function started(starting: ReturnType<StormStage['start']>): Promise<App> {
  const { app, teller } = await starting;
  apps.push(app);
  actions = new AppActions(app, { clock, teller, log: silentLog, metrics: new Metrics({ version: 'test' }, { processMetrics: false }) });
  return app;
}

/** `model state from->to`, oldest first. */
async function episodes(): Promise<readonly string[]> {
  return (await journal.episodes({})).map(({ model, state, from, to }) => `${model} ${state} ${from}->${to}`).toReversed();
}

async function episodeOf(model: string) {
  const [found] = (await journal.episodes({})).filter((episode) => episode.model === model);
  if (found === undefined) throw new Error(`no episode of ${model}`);
  return found;
}

/** Of decisions to hold, `model reason: detail`. */
async function held(): Promise<readonly string[]> {
  return (await journal.decisions({})).filter(({ decision }) => decision === 'hold').map(({ model, reason, detail }) => `${model} ${reason}: ${detail}`);
}

describe('a group that goes together', () => {
  const limits = { ...defaultLimits, maxConcurrentRollbacks: 1, maxModelsShare: 1 };
  const modelGroups = aGroup('together', ['a', 'b', 'c']);

  it('takes back all that were released together, as one rollback, though only one of them broke a rule', async () => {
    // Were followers taken for breaches, three of seven models would open the breach breaker.
    const stage = aStage(['a', 'b', 'c', 'd', 'e', 'f', 'g']);
    stage.spoil('b');
    await started(stage.start({ modelGroups, limits }));

    await stage.pass(3_000);
    expect(await episodes()).toEqual(['a staging 2->1', 'b staging 2->1', 'c staging 2->1']);
    stage.spoil('d');
    await stage.pass(8_000);
    expect(await held()).toEqual([
      expect.stringMatching(/^d too_many_at_once: 1 rollback is under way: .*a \(rb_.*\).* of group checkout; max_concurrent_rollbacks: 1$/) as string,
    ]);
    await stage.pass(10 * minuteMs);

    expect(await episodes()).toEqual(['a succeeded 2->1', 'b succeeded 2->1', 'c succeeded 2->1', 'd succeeded 2->1']);
    expect(['a', 'b', 'c', 'd'].map((name) => stage.of(name).plane.switches.length)).toEqual([2, 2, 2, 2]);
    const leader = await episodeOf('b');
    expect(await episodeOf('a')).toMatchObject({
      trigger: 'rule',
      rule: 'ErrorsHigh',
      reason: `follows b (group checkout): ${leader.reason}`,
      group: { name: 'checkout', kind: 'together', leader: leader.id, stays: [] },
      detail: expect.stringMatching(/^recovered and still in force after 3m\. group checkout: b \(rb_.*\) went to 1.*, c \(rb_.*\) went to 1/) as string,
    });
    const decided = (await journal.decisions({})).filter(({ decision }) => decision === 'rollback');
    expect(decided.map(({ model, rule }) => `${model} ${rule}`).toSorted()).toEqual(['a ErrorsHigh', 'b ErrorsHigh', 'c ErrorsHigh', 'd ErrorsHigh']);
    expect(await journal.verify()).toMatchObject({ ok: true });
  });

  it('holds as a whole while a guard holds one of them, and names it', async () => {
    const stage = aStage(['a', 'b', 'c']);
    await started(stage.start({ modelGroups, limits }));
    await stage.pass(1_000);
    await actions.pause('c', { forMs: null, by: 'ada', reason: 'an experiment' });
    stage.spoil('b');
    await stage.pass(15_000);

    expect(await held()).toEqual(['b paused: c (group checkout): the model is paused until resumed by ada: an experiment']);
    await actions.resume('c', { by: 'ada', reason: 'over' });
    stage.of('a').plane.unreachable = 'connection refused';
    await stage.pass(10_000);
    expect((await held())[0]).toBe('b version_changed: a (group checkout): what serves now could not be confirmed: connection refused');
    expect(await journal.episodes({})).toEqual([]);

    stage.of('a').plane.unreachable = null;
    await stage.pass(30_000);
    expect(stage.serving('2')).toEqual([]);
  });

  it('leaves what served before the release, with the reason, and what went back already', async () => {
    const stage = aStage(['a', 'b', 'c']);
    for (const name of ['a', 'b']) stage.of(name).plane.switchBehindTheBack('1');
    await started(stage.start({ modelGroups: aGroup('together', ['a', 'b', 'c'], { releasedWithinMs: minuteMs }), limits }));
    await stage.pass(2 * minuteMs);
    stage.of('a').plane.switchBehindTheBack('2');
    await stage.pass(40_000);
    stage.of('b').plane.switchBehindTheBack('2');
    stage.spoil('b');
    await stage.pass(20_000);

    expect(await episodes()).toEqual([expect.stringMatching(/^a /), expect.stringMatching(/^b /)]);
    expect((await episodeOf('b')).group).toMatchObject({
      members: [{ model: 'a' }, { model: 'b' }],
      stays: [{ model: 'c', reason: expect.stringMatching(/^version 2 served before the release, since 2026-11-22T12:00:0/) as string }],
    });
    await stage.pass(10 * minuteMs);
    expect(stage.serving('2')).toEqual(['c']);

    // With b rolled out again, a serves what it went back to.
    stage.of('b').plane.switchBehindTheBack('2');
    await stage.pass(20_000);
    const again = await episodeOf('b');
    expect(again.group).toMatchObject({
      members: [{ model: 'b' }],
      stays: [{ model: 'a', reason: expect.stringMatching(/^version 1 /) as string }, { model: 'c' }],
    });
  });

  it('moves nothing when one of them does not come up: who is ready waits for all, and takes its staging back', async () => {
    const stage = aStage(['a', 'b', 'c']);
    stage.spoil('a');
    const { plane } = stage.of('c');
    let answer: 'busy' | 'no' = 'busy';
    plane.beforeApply = (step, inverse) =>
      inverse || step.phase !== 'stage' ? undefined : { kind: 'rejected', detail: 'out of memory', class: answer === 'busy' ? 'transient' : 'permanent' };
    await started(stage.start({ modelGroups, limits, rollback: { cooldownMs: 30 * minuteMs } }));

    await stage.pass(30_000);
    expect(await episodes()).toEqual(['a staging 2->1', 'b staging 2->1', 'c staging 2->1']);
    expect(await episodeOf('a')).toMatchObject({ detail: 'version 1 is loaded and tested, waiting for the others of group checkout' });
    expect(stage.serving('1')).toEqual([]);
    answer = 'no';
    await stage.pass(20_000);

    expect(await episodes()).toEqual(['a aborted 2->1', 'b aborted 2->1', 'c failed 2->1']);
    expect(await episodeOf('a')).toMatchObject({
      detail: expect.stringMatching(
        /^stopped \(group checkout\): c \(rb_.*\), which moves with it, ended failed: stage 1 on a: out of memory\. Nothing moved: 2 still serves.*\. group checkout: b \(rb_/,
      ) as string,
    });
    expect([...stage.models.values()].flatMap(({ plane: each }) => each.switches)).toEqual([]);
    expect(stage.of('a').plane.applied.slice(-2)).toEqual(['undo stage 1 on b', 'undo stage 1 on a']);
  });

  it('puts nobody back when one fails after the switch of another, and says loudly who is where', async () => {
    const stage = aStage(['a', 'b', 'c']);
    stage.spoil('a');
    const hasSwitched = (name: string): boolean => stage.of(name).plane.switches.length > 0;
    stage.of('c').plane.beforeApply = (step, inverse) =>
      inverse || step.phase !== 'switch'
        ? undefined
        : { kind: 'rejected', detail: 'read-only file system', class: hasSwitched('a') && hasSwitched('b') ? 'permanent' : 'transient' };
    await started(stage.start({ modelGroups, limits, rollback: { cooldownMs: 30 * minuteMs } }));

    await stage.pass(10 * minuteMs);

    expect(await episodes()).toEqual(['a succeeded 2->1', 'b succeeded 2->1', 'c failed 2->1']);
    expect(stage.serving('2')).toEqual(['c']);
    expect((await episodeOf('c')).detail).toMatch(
      /read-only file system\. Nothing moved: 2 still serves.*\. Not in step any more, group checkout: a \(rb_.*\) went to 1, b \(rb_.*\) went to 1\. Nothing is put back: bring the rest/,
    );
    expect((await episodeOf('a')).detail).toMatch(/^recovered .* Not in step any more, group checkout: .*c \(rb_.*\) stays at 2 \(failed\)/);
  });

  it('records in a dry run what each of them would have done, once', async () => {
    const stage = aStage(['a', 'b', 'c']);
    stage.spoil('a', 'b');
    await started(stage.start({ modelGroups, limits, forceDryRun: true }));

    await stage.pass(30_000);

    expect(await episodes()).toEqual(['a recorded 2->1', 'b recorded 2->1', 'c recorded 2->1']);
    expect((await episodeOf('c')).detail).toMatch(/^dry run: would have rolled back 2 to 1 .*\. group checkout: with a \(rb_.*\), b \(rb_.*\) together$/);
    expect(stage.serving('1')).toEqual([]);
  });

  it('asks once for all of them, and a no is a no to all', async () => {
    const stage = aStage(['a', 'b', 'c']);
    stage.spoil('b');
    await started(stage.start({ modelGroups, limits, rollback: { requireApproval: 'always', cooldownMs: minuteMs } }));
    await stage.pass(20_000);
    expect(await episodes()).toEqual(['a planned 2->1', 'b pending_approval 2->1', 'c planned 2->1']);

    await actions.reject((await episodeOf('b')).id, { by: 'ada', reason: 'it is the data' });
    await stage.pass(5_000);
    expect(await episodes()).toEqual(['a rejected 2->1', 'b rejected 2->1', 'c rejected 2->1']);
    expect((await episodeOf('a')).detail).toMatch(/^it would have followed b \(rb_.*\), which was rejected: rejected by ada: it is the data/);

    await stage.pass(minuteMs + 10_000);
    await actions.approve((await episodeOf('b')).id, { by: 'ada', reason: 'it is not' });
    await stage.pass(20_000);
    expect(stage.serving('2')).toEqual([]);
  });

  it('is left alone by a rollback by hand, which says so', async () => {
    const stage = aStage(['a', 'b', 'c']);
    await started(stage.start({ modelGroups, limits }));
    await stage.pass(5_000);

    expect(await actions.rollback('b', { to: null, by: 'ada', reason: 'looks odd' })).toMatchObject({
      detail: 'group checkout: a stays, since a rollback by hand moves one model; c stays, since a rollback by hand moves one model',
    });
    await stage.pass(20_000);

    expect(stage.serving('1')).toEqual(['b']);
    expect(await journal.episodes({})).toHaveLength(1);
  });
});

describe('an ordered group', () => {
  const limits = { ...defaultLimits, maxConcurrentRollbacks: 1, maxModelsShare: 1 };
  const modelGroups = aGroup('ordered', ['c', 'a', 'b']);

  it('moves one after the other in its order, over a restart, whoever breached', async () => {
    const stage = aStage(['a', 'b', 'c']);
    stage.spoil('a');
    const first = await started(stage.start({ modelGroups, limits }));

    await stage.pass(30_000);
    expect(stage.serving('1')).toEqual(['c']);
    expect(await episodes()).toEqual(['c watching 2->1', 'a planned 2->1', 'b planned 2->1']);
    first.hurry();
    await first.stop(0);
    // The files name no group any more: what has begun goes on as it began.
    await started(stage.start({ limits }));
    await stage.pass(4 * minuteMs);
    expect(stage.serving('1')).toEqual(['a', 'c']);
    await stage.pass(10 * minuteMs);

    expect(await episodes()).toEqual(['c succeeded 2->1', 'a succeeded 2->1', 'b succeeded 2->1']);
    const [c, a, b] = [await episodeOf('c'), await episodeOf('a'), await episodeOf('b')];
    expect(a.startedAtMs).toBeGreaterThanOrEqual(c.finishedAtMs ?? Number.POSITIVE_INFINITY);
    expect(b.startedAtMs).toBeGreaterThanOrEqual(a.finishedAtMs ?? Number.POSITIVE_INFINITY);
    expect([...stage.models.values()].map(({ plane }) => plane.switches.length)).toEqual([2, 2, 2]);
    expect(c.detail).toMatch(/^recovered .*\. group checkout: a \(rb_.*\) is at 2 \(planned\), b \(rb_.*\) is at 2 \(planned\)$/);
  });

  it('ends where one fails: what went before stays where it went, the rest stays', async () => {
    const stage = aStage(['a', 'b', 'c']);
    stage.spoil('b');
    stage.of('a').plane.planRefusal = 'the list is not what the server serves';
    await started(stage.start({ modelGroups, limits, rollback: { cooldownMs: 30 * minuteMs } }));

    await stage.pass(10 * minuteMs);

    expect(await episodes()).toEqual(['c succeeded 2->1', 'a failed 2->1', 'b aborted 2->1']);
    expect((await episodeOf('a')).detail).toMatch(
      /Not in step any more, group checkout: c \(rb_.*\) went to 1 and ended succeeded, b \(rb_.*\) is at 2 \(planned\)/,
    );
    expect((await episodeOf('b')).detail).toMatch(
      /^stopped \(group checkout\): a \(rb_.*\), which goes before it, ended failed: .*Nothing moved: 2 still serves/,
    );
    expect(stage.serving('2')).toEqual(['a', 'b']);
  });
});

describe('a group that holds its peers', () => {
  it('rolls back one at a time, also by hand, and the next when that is over', async () => {
    const stage = aStage(['a', 'b', 'c']);
    stage.spoil('a', 'b');
    await started(stage.start({ modelGroups: aGroup('hold_peers', ['a', 'b']), limits: { ...defaultLimits, maxModelsShare: 1 } }));

    await stage.pass(10_000);

    const [open] = await journal.episodes({ open: true });
    const other = open?.model === 'a' ? 'b' : 'a';
    const words = `group checkout holds its peers while one is rolled back: ${open?.model} (${open?.id})`;
    expect(await held()).toEqual([`${other} too_many_at_once: ${words}`]);
    await expect(actions.rollback(other, { to: null, by: 'ada', reason: 'x' })).rejects.toThrow(`not rolled back (too_many_at_once): ${words}`);
    await actions.rollback('c', { to: null, by: 'ada', reason: 'of no group' });

    await stage.pass(10 * minuteMs);
    expect(stage.serving('2')).toEqual([]);
  });
});
