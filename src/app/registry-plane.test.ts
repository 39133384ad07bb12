import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { aPolicy, aSignature } from '../../test/support/builders.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { FakePlane } from '../../test/support/fake-plane.ts';
import { FakeRegistry } from '../../test/support/fake-registry.ts';
import { FakeSource } from '../../test/support/fake-source.ts';
import { setStage } from '../../test/support/stage.ts';
import { openMemoryJournal } from '../adapters/journal/memory/open.ts';
import type { Episode } from '../domain/episode.ts';
import type { Journal } from '../domain/ports.ts';

const minuteMs = 60_000;
const policy = aPolicy({ knownGood: { minAgeMs: 1, minRequests: 1, backfillMs: 0, versions: ['1'] }, convergeTimeoutMs: 2 * minuteMs });

describe('a registry before the plane that moves the traffic', () => {
  let clock: FakeClock;
  let journal: Journal;
  let source: FakeSource;
  let plane: FakePlane;
  let registry: FakeRegistry;
  let close: () => Promise<void> = async () => undefined;

  beforeEach(async () => {
    clock = new FakeClock();
    journal = await openMemoryJournal({ clock });
    source = new FakeSource();
    source.traffic.set('2', { requests: 100, errorRatio: 0.1 });
    plane = new FakePlane({ clock, serving: '2', loadMs: 5_000 });
    registry = new FakeRegistry(clock, '2');
  });

  afterEach(async () => {
    await close();
    await journal.close();
  });

  async function rollBack(durationMs = 8 * minuteMs): Promise<Episode> {
    const { app } = await setStage({ clock, journal, plane, registry, source, model: { rollback: policy } });
    close = async () => await app.stop(0);
    app.start();
    for (let passedMs = 0; passedMs < durationMs; passedMs += 1_000) {
      await clock.advance(1_000);
      const serving = new Set(plane.serving());
      for (const version of ['1', '2']) source.traffic.set(version, { requests: serving.has(version) ? 100 : 0, errorRatio: version === '1' ? 0 : 0.1 });
    }
    const [episode] = await journal.episodes({});
    if (episode === undefined) throw new Error('no episode');
    return episode;
  }

  const statesOf = (episode: Episode) => episode.steps.map((entry) => [entry.name, entry.state]);

  it('links both versions to their pages', async () => {
    const { model, links } = await rollBack(2 * minuteMs);

    expect(links).toEqual({ registry: `https://registry.example.org/${model}/2`, registry_to: `https://registry.example.org/${model}/1` });
  });

  it('knows before anything is loaded that the target takes other requests', async () => {
    registry.signatureOf.set('2', aSignature(14)).set('1', aSignature(12));

    await expect(rollBack(2 * minuteMs)).rejects.toThrow('no episode');

    expect(await journal.decisions({})).toMatchObject([{ decision: 'hold', reason: 'incompatible_target', target: '1' }]);
    expect(plane.applied).toEqual([]);
  });

  it('holds up no rollback when it cannot tell', async () => {
    registry.signatureOf.set('2', aSignature(14)).set('1', aSignature(12));
    registry.unreachable = 'connection refused';

    expect(await rollBack()).toMatchObject({ state: 'succeeded', to: '1' });
  });

  it('leaves it to the servers to tell of what is staged', async () => {
    plane.signatureOf.set('2', aSignature(14)).set('1', aSignature(12));

    expect(await rollBack(2 * minuteMs)).toMatchObject({ state: 'failed', detail: expect.stringContaining('incompatible_target: version 1') as string });
  });

  it('is told after every replica confirmed', async () => {
    let servedWhenMoved: readonly string[] = [];
    const apply = registry.apply.bind(registry);
    registry.apply = async (...args) => {
      servedWhenMoved = plane.serving();
      return await apply(...args);
    };

    const episode = await rollBack();

    expect(episode).toMatchObject({ state: 'succeeded', outcome: 'success', detail: expect.not.stringContaining('ot recorded') as string });
    expect(statesOf(episode)).toEqual([
      ['stage 1 on a', 'done'],
      ['stage 1 on b', 'done'],
      ['switch 1 on a', 'done'],
      ['switch 1 on b', 'done'],
      ['note 2', 'done'],
      ['move champion', 'done'],
    ]);
    const begun = Object.fromEntries(episode.steps.map(({ name, startedAtMs }) => [name, startedAtMs ?? 0]));
    expect(begun['move champion']).toBeLessThanOrEqual(begun['note 2'] ?? 0);
    expect(servedWhenMoved).toEqual(['1', '1']);
    expect(registry.alias).toBe('1');
    expect(registry.notes.get('2')).toMatch(/^rb_/);
    expect(registry.wishes.at(-1)).toMatchObject({ shares: [{ version: '1' }], reason: expect.stringMatching(/^error ratio 10%/) as string });
  });

  it('keeps what the plane remembers under the name of the plane', async () => {
    await rollBack(2 * minuteMs);

    expect([...(await journal.planeMemory()).keys()]).toEqual(['actuator']);
  });

  it('holds up no rollback while it is away, and what is not written down is told at the end', async () => {
    registry.unreachable = 'registry.test: connection refused';

    const episode = await rollBack();

    expect(plane.serving()).toEqual(['1', '1']);
    expect(episode).toMatchObject({ state: 'succeeded', outcome: 'success' });
    expect(episode.detail).toContain(
      'Not recorded, do it by hand: note 2: registry.test: connection refused; given up after 30s; move champion: registry.test: connection refused',
    );
  });

  it('does not fight over an alias that somebody else has moved', async () => {
    registry.alias = '9';

    const episode = await rollBack();

    expect(registry.alias).toBe('9');
    expect(episode).toMatchObject({ state: 'succeeded', outcome: 'success' });
    expect(episode.detail).toContain('champion points to 9: left alone');
    expect(statesOf(episode).slice(-2)).toEqual([
      ['note 2', 'done'],
      ['move champion', 'failed'],
    ]);
  });

  it('takes what serves from the plane, whatever the alias says', async () => {
    registry.alias = '1';
    source.traffic.set('2', { requests: 100, errorRatio: 0.1 });

    const episode = await rollBack();

    expect(episode).toMatchObject({ from: '2', to: '1', outcome: 'success' });
  });

  it('is told nothing when nothing was moved', async () => {
    plane = new FakePlane({ clock, serving: '2', loadMs: 1_000, broken: { 1: 'corrupt' } });

    const episode = await rollBack(3 * minuteMs);

    expect(episode).toMatchObject({ state: 'failed', outcome: 'failure' });
    expect(registry.alias).toBe('2');
    expect(registry.notes.size).toBe(0);
  });
});
